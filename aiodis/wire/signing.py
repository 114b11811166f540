"""Sign requests with an access key pair, and tell whose signature a request bears.

Four schemes are in the field. All of them hash one text, the canonical request (method,
URI, query, a line for each signed header, an empty line, the headers' names, the body's
hash), and sign the lines of algorithm, date, scope and that hash. They differ in the key:

| scheme | the header begins with                                   | key               |
|--------|----------------------------------------------------------|-------------------|
| scoped | SDK-HMAC-SHA256 Credential=AK/day/region/dis/sdk_request | chain("SDK" + SK) |
| v11    | V11-HMAC-SHA256 Credential=AK/day/region/dis/sdk_request | chain("SDK" + D)  |
| v3     | SDK-HMAC-SHA256 Access=AK (no scope)                     | SK                |
| v11-v3 | V11-HMAC-SHA256 Credential=AK/day/region/dis             | D                 |

D is the hex of HKDF(AK, SK, "day/region/dis"); a chain is HMAC after HMAC over day, region,
"dis" and "sdk_request". The clients also disagree on how URI and query are spelled: `sign`
writes one spelling, `verify` tries those of `DIALECTS`, one row a client. J, K, P2, GO and
V3 are the clients that docs/service names so.

No message holds a secret or an expected signature.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError, DISError
from aiodis.wire.canonical import DIALECTS, Dialect, encode

__all__ = [
    "REFUSALS",
    "UNSIGNED_PAYLOAD",
    "Identified",
    "Scheme",
    "SignatureError",
    "Unsigned",
    "payload_hash",
    "sign",
    "verify",
]

# *documented* (DIS server error codes): all of these come with HTTP 441. Which defect
# gets which code is *guessed* from the texts.
REFUSALS: Final[dict[str, str]] = {
    "DIS.4100": "Authorization error",  # the signature is another one
    "DIS.4101": "Authorization header cannot be empty",
    "DIS.4102": "Incorrectly parsed authorization header",
    "DIS.4103": "Empty X-Sdk-Date header",
    "DIS.4104": "Error parsing X-Sdk-Date header",
    "DIS.4105": "Invalid X-Sdk-Date header",  # outside the skew, or another day than the scope
    "DIS.4106": "Empty AccessKey header",
    "DIS.4107": "Invalid AccessKey header",  # unknown, or its security token is another one
    "DIS.4108": "Empty ServiceName header",
    "DIS.4109": "The Authorization header must contain the following field: "
    "{Credential,SignedHeaders,Signature;}",
    "DIS.4110": "Empty Signature header",
    "DIS.4111": "Invalid Region header",
    "DIS.4112": "Invalid authorization request",  # too large, or it lacks a signed header
}

# *seen in the SDK* (V3): the hash that stands for a body it does not hash.
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"

_EMPTY_HASH: Final = hashlib.sha256(b"").hexdigest()
_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"
# *guessed*: room for every request a client of DIS sends. They bound the work of `verify`.
_MAX_AUTHORIZATION: Final = 8_192
_MAX_TARGET: Final = 16_384
_MAX_HEADERS: Final = 65_536


class Scheme(StrEnum):
    """How the key is made and what the string to sign holds."""

    SCOPED = "scoped"
    V11 = "v11"
    V3 = "v3"
    V11_V3 = "v11-v3"


class _Rule(NamedTuple):
    """One row of the table above; the scope ends in `/sdk_request` where a chain is made."""

    algorithm: str
    scope: str
    derives: bool
    chains: bool


_RULES: Final = {
    Scheme.SCOPED: _Rule("SDK-HMAC-SHA256", "{}/{}/dis/sdk_request", derives=False, chains=True),
    Scheme.V11: _Rule("V11-HMAC-SHA256", "{}/{}/dis/sdk_request", derives=True, chains=True),
    Scheme.V3: _Rule("SDK-HMAC-SHA256", "", derives=False, chains=False),
    Scheme.V11_V3: _Rule("V11-HMAC-SHA256", "{}/{}/dis", derives=True, chains=False),
}


class SignatureError(DISError):
    """A request whose signature is refused; `code` is a row of `REFUSALS`."""

    status: ClassVar[int] = 441

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.message = f"{REFUSALS[code]}: {detail}" if detail else REFUSALS[code]
        super().__init__(f"{code}: {self.message}")


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What a signature covers, spelled as on the wire.

    `path` is percent-encoded and may lack its last slash, `query` comes without
    the question mark, and `payload_hash` is the hex SHA-256 of the body as sent.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    payload_hash: str


@dataclass(frozen=True, slots=True)
class Identified:
    """Who signed a request, and how."""

    access_key: str
    scheme: Scheme


def payload_hash(body: bytes | bytearray | memoryview) -> str:
    """Hash a body as it goes over the wire, so after compression; in hex."""
    return hashlib.sha256(body).hexdigest() if len(body) else _EMPTY_HASH


def sign(
    request: Unsigned, key: AccessKey, *, scheme: Scheme, region: str | None, now: float
) -> dict[str, str]:
    """Give the headers to add: X-Sdk-Date, Authorization, X-Security-Token if the key has one.

    Signed are these and the headers of `request` whose name has no underscore
    (*seen in the SDK*, V3), so they must be sent as they are. `now` is in unix seconds.

    Raises:
        ConfigError: `host` is not among the headers, or the scheme needs a region.
    """
    if scheme is not Scheme.V3 and not region:
        raise ConfigError(f"the signing scheme {scheme} needs a region")
    date = _date(int(now))
    added = {"X-Sdk-Date": date}
    if key.security_token is not None:
        # *seen in the SDK*: J and V3 sign it, P2 sends it unsigned. All verify what is listed.
        added["X-Security-Token"] = key.security_token
    headers = {name.lower(): value.strip() for name, value in request.headers.items()}
    headers |= {name.lower(): value.strip() for name, value in added.items()}
    if "host" not in headers:
        raise ConfigError("a signed request needs its host header")
    names = sorted(name for name in headers if "_" not in name and name != "authorization")
    canonical = _canonical_request(request, DIALECTS[0], names, headers, request.payload_hash)
    scope = _RULES[scheme].scope.format(date[:8], region)
    signature = _signature(canonical, scheme, date, scope, _signing_key(key, scheme, scope))
    identity = f"Credential={key.access_key}/{scope}" if scope else f"Access={key.access_key}"
    added["Authorization"] = (
        f"{_RULES[scheme].algorithm} {identity}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return added


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(_DATE_FORMAT)


def verify(
    request: Unsigned,
    authorization: str | None,
    *,
    find_key: Callable[[str], AccessKey | None],
    region: str | None,
    now: float,
    max_skew_s: float = 900.0,
) -> Identified:
    """Tell who signed a request, from what arrived of it; header names are in any case.

    With a `region` of None the signer's region is taken. The skew of 15 minutes is
    *guessed*: it is the usual one of Huawei's services.

    Raises:
        SignatureError: whatever is wrong with the request; only `find_key` raises else.
    """
    claim = _read_claim(authorization)
    headers = _arrived(request)
    date = _check_date(headers.get("x-sdk-date", ""), now, max_skew_s)
    _check_scope(claim, date, region)
    if missing := [name for name in claim.signed_headers if name not in headers]:
        raise SignatureError("DIS.4112", f"the signed header {missing[0][:60]!r} did not arrive")
    key = find_key(claim.access_key)
    if key is None:
        raise SignatureError("DIS.4107", "the access key is unknown")
    _check_token(key, headers.get("x-security-token", ""))
    if not _is_signed_by(key, request, claim, date, headers):
        raise SignatureError("DIS.4100", "the signature does not match the request")
    return Identified(claim.access_key, claim.scheme)


@dataclass(frozen=True, slots=True)
class _Claim:
    """An Authorization header, taken apart. `scope` is as sent, and empty in V3."""

    scheme: Scheme
    access_key: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str


def _read_claim(authorization: str | None) -> _Claim:
    text = (authorization or "").strip()
    if not text:
        raise SignatureError("DIS.4101")
    if len(text) > _MAX_AUTHORIZATION or not text.isascii():
        raise SignatureError("DIS.4102")
    algorithm, _, rest = text.partition(" ")
    fields = {}
    for part in rest.split(","):
        name, _, value = part.partition("=")
        fields[name.strip()] = value.strip()
    scheme, access_key, scope = _read_identity(algorithm, fields)
    if not fields.get("SignedHeaders") or "Signature" not in fields:
        raise SignatureError("DIS.4109")
    if not fields["Signature"]:
        raise SignatureError("DIS.4110")
    names = tuple(fields["SignedHeaders"].lower().split(";"))
    if len(set(names)) < len(names):  # it would make little input into much text to hash
        raise SignatureError("DIS.4102", "a signed header is named twice")
    return _Claim(scheme, access_key, scope, names, fields["Signature"])


def _read_identity(algorithm: str, fields: dict[str, str]) -> tuple[Scheme, str, str]:
    """Give the scheme, the access key and the scope of an Authorization header."""
    if algorithm not in (rule.algorithm for rule in _RULES.values()):
        raise SignatureError("DIS.4102", "the algorithm is unknown")
    if "Credential" in fields:
        access_key, *parts = fields["Credential"].split("/")
    elif algorithm == _RULES[Scheme.V3].algorithm and "Access" in fields:
        access_key, parts = fields["Access"], []
    else:
        raise SignatureError("DIS.4109")
    match algorithm, parts:
        case "SDK-HMAC-SHA256", []:
            scheme = Scheme.V3
        case "SDK-HMAC-SHA256", [_, _, _, "sdk_request"]:
            scheme = Scheme.SCOPED
        case "V11-HMAC-SHA256", [_, _, _, "sdk_request"]:
            scheme = Scheme.V11
        case "V11-HMAC-SHA256", [_, _, _]:
            scheme = Scheme.V11_V3
        case _:
            raise SignatureError("DIS.4102", "the credential is not AK/day/region/dis/sdk_request")
    if not access_key:
        raise SignatureError("DIS.4106")
    return scheme, access_key, "/".join(parts)


def _arrived(request: Unsigned) -> dict[str, str]:
    """Give the headers by lower-case name; a name that came twice has both values.

    So one of the two values alone never passes for the signed one.
    """
    if len(request.method) + len(request.path) + len(request.query) > _MAX_TARGET:
        raise SignatureError("DIS.4112", "the URI is too long")
    headers: dict[str, str] = {}
    size = 0
    for given, value in request.headers.items():
        name = given.lower()
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
        size += len(name) + len(value)
        if size > _MAX_HEADERS:
            raise SignatureError("DIS.4112", "the headers are too large")
    return headers


def _check_date(text: str, now: float, max_skew_s: float) -> str:
    if not text:
        raise SignatureError("DIS.4103")
    try:
        moment = datetime.fromisoformat(text if text.isascii() else "")
    except ValueError:
        raise SignatureError("DIS.4104") from None
    # fromisoformat reads more spellings than the service's one.
    if moment.strftime(_DATE_FORMAT) != text:
        raise SignatureError("DIS.4104")
    skew_s = abs(moment.timestamp() - now)
    if not skew_s <= max_skew_s:
        raise SignatureError("DIS.4105", f"it is {skew_s:.0f} s away from the server's clock")
    return text


def _check_scope(claim: _Claim, date: str, region: str | None) -> None:
    if claim.scheme is Scheme.V3:
        return
    day, claimed_region, service = claim.scope.split("/")[:3]
    if not service:
        raise SignatureError("DIS.4108")
    if service != "dis":
        raise SignatureError("DIS.4112", "it is signed for another service than dis")
    # GO writes its local day here and signs with the UTC day of X-Sdk-Date (*seen in the
    # SDK*), so off UTC it is refused for some hours of a day. Whether the service does so
    # too is *guessed*.
    if day != date[:8]:
        raise SignatureError("DIS.4105", "the credential's scope names another day")
    if not claimed_region or (region is not None and claimed_region != region):
        raise SignatureError("DIS.4111")


def _check_token(key: AccessKey, sent: str) -> None:
    # *guessed*: a token that came with a permanent key is refused like a wrong one.
    expected = (key.security_token or "").strip()
    if not hmac.compare_digest(encode(sent), encode(expected)):
        raise SignatureError("DIS.4107", "the security token is not the access key's")


def _is_signed_by(
    key: AccessKey, request: Unsigned, claim: _Claim, date: str, headers: dict[str, str]
) -> bool:
    signing_key = _signing_key(key, claim.scheme, claim.scope)
    given = claim.signature.encode()
    return any(
        hmac.compare_digest(
            _signature(canonical, claim.scheme, date, claim.scope, signing_key).encode(), given
        )
        for canonical in _candidates(request, claim.signed_headers, headers)
    )


def _candidates(
    request: Unsigned, names: tuple[str, ...], headers: dict[str, str]
) -> Iterator[str]:
    """Spell the canonical request in each way a client may have signed."""
    hashes = [request.payload_hash]
    # *seen in the SDK*: V3 signs the word in place of the hash, but hashes an empty body. GO
    # sends the hash of nothing here and signs the body's. Any other value is the body's own
    # hash (J, P2) or a lie, so the body's hash is what counts.
    if headers.get("x-sdk-content-sha256") == UNSIGNED_PAYLOAD:
        hashes.append(UNSIGNED_PAYLOAD)
    for dialect in DIALECTS:
        for body_hash in hashes:
            canonical = _canonical_request(request, dialect, names, headers, body_hash)
            # A line feed inside a value could pass for another request's lines.
            if canonical.count("\n") == len(names) + 5:
                yield canonical


def _canonical_request(
    request: Unsigned,
    dialect: Dialect,
    names: Sequence[str],
    headers: Mapping[str, str],
    body_hash: str,
) -> str:
    method, path, query = request.method.upper(), request.path, request.query
    lines = [f"{name}:{dialect.value(name, headers[name])}" for name in names]
    parts = (method, dialect.path(path), dialect.query(query), *lines, "", ";".join(names))
    return "\n".join((*parts, body_hash))


def _signature(canonical: str, scheme: Scheme, date: str, scope: str, key: bytes) -> str:
    digest = hashlib.sha256(encode(canonical)).hexdigest()
    lines = [_RULES[scheme].algorithm, date, *([scope] if scope else []), digest]
    return hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()


@lru_cache(maxsize=64)
def _signing_key(key: AccessKey, scheme: Scheme, scope: str) -> bytes:
    info = scope.removesuffix("/sdk_request")
    secret = _derived_secret(key, info) if _RULES[scheme].derives else key.secret_key
    if not _RULES[scheme].chains:
        return secret.encode()
    mac = f"SDK{secret}".encode()
    for part in (*info.split("/"), "sdk_request"):
        mac = hmac.digest(mac, part.encode(), "sha256")
    return mac


def _derived_secret(key: AccessKey, info: str) -> str:
    """Derive D: one round of HKDF, salted with the access key."""
    extracted = hmac.digest(key.access_key.encode(), key.secret_key.encode(), "sha256")
    return hmac.digest(extracted, f"{info}\x01".encode(), "sha256").hex()
