"""From credentials to the headers that prove who calls."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Protocol

import orjson

from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import AuthError, ConfigError, DISError, ServiceError
from aiodis.transport.session import Answer
from aiodis.transport.shared_call import SharedCall
from aiodis.wire.signing import Scheme, Unsigned, payload_hash, sign

__all__ = [
    "Anonymous",
    "Identity",
    "KeyIdentity",
    "Outgoing",
    "PasswordIdentity",
    "TokenIdentity",
]

_LOG = logging.getLogger("aiodis.transport")
_TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 - a header's name


@dataclass(slots=True, eq=False)
class Outgoing:
    """A request before it is signed. `headers` are those that a signature covers."""

    operation: str
    method: str
    path: str
    query: str = field(default="", repr=False)  # a cursor, which is payload
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    _hash: str = field(default="", init=False, repr=False)

    @property
    def payload_hash(self) -> str:
        """The body's hash: made once, since each try signs again."""
        if not self._hash:
            self._hash = payload_hash(self.body or b"")
        return self._hash


class Identity(Protocol):
    """Who calls."""

    signs: ClassVar[bool]
    """Whether the proof bears the time."""
    renews: ClassVar[bool]
    """Whether a refused proof can be replaced by a new one."""

    async def prove(
        self, request: Outgoing, path: str, headers: Mapping[str, str], now: float
    ) -> dict[str, str]:
        """Give the headers to add to a request, whose path and headers are as on the wire."""

    def refused(self, headers: Mapping[str, str]) -> None:
        """Take in that these headers were refused, so that the next proof is a new one."""

    async def close(self) -> None:
        """Stop what runs."""


class _Steady:
    """An identity with nothing to renew and nothing that runs."""

    signs: ClassVar[bool] = False
    renews: ClassVar[bool] = False

    def refused(self, headers: Mapping[str, str]) -> None:
        """Pass over it: there is no other proof."""

    async def close(self) -> None:
        """Do nothing."""


class Anonymous(_Steady):
    """Proves nothing; only IAM's token call takes that."""

    async def prove(
        self,
        request: Outgoing,  # noqa: ARG002 - the protocol's
        path: str,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> dict[str, str]:
        """Give no headers."""
        return {}


class TokenIdentity(_Steady):
    """Sends a token that someone else renews."""

    def __init__(self, credentials: StaticToken) -> None:
        self._headers = {_TOKEN_HEADER: credentials.token}

    async def prove(
        self,
        request: Outgoing,  # noqa: ARG002 - the protocol's
        path: str,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> dict[str, str]:
        """Give the token's header."""
        return self._headers


class KeyIdentity(_Steady):
    """Signs with an access key pair."""

    signs: ClassVar[bool] = True

    def __init__(self, key: AccessKey, scheme: Scheme, region: str | None) -> None:
        self._key, self._scheme, self._region = key, scheme, region

    async def prove(
        self, request: Outgoing, path: str, headers: Mapping[str, str], now: float
    ) -> dict[str, str]:
        """Sign for that time."""
        unsigned = Unsigned(request.method, path, request.query, headers, request.payload_hash)
        return sign(unsigned, self._key, scheme=self._scheme, region=self._region, now=now)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    renew_at: float
    expires_at: float


class PasswordIdentity:
    """Fetches tokens from IAM for a password, and renews them before they end.

    All who need a token while one is fetched wait for that one fetch. A token
    that is only due for renewal is still used, and one fetch runs beside.
    `now` is in unix seconds, by the service's clock.
    """

    signs: ClassVar[bool] = False
    renews: ClassVar[bool] = True
    LIFE_S: Final = 24 * 3600.0  # reference, chapter 3.2
    RENEW_AT: Final = 0.9
    RENEWAL_RETRY_S: Final = 60.0

    def __init__(
        self,
        credentials: IAMPassword,
        settings: ClientSettings,
        *,
        carry: Callable[[Outgoing], Awaitable[Answer]],
        clock: Callable[[], float],
    ) -> None:
        self._credentials = credentials
        self._scope = _scope(settings)
        self._carry = carry
        self._clock = clock
        self._token: _Token | None = None
        self._fetching = SharedCall(self._fetch)
        self._renew_not_before = 0.0

    async def prove(
        self,
        request: Outgoing,  # noqa: ARG002 - the protocol's
        path: str,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        now: float,
    ) -> dict[str, str]:
        """Give the token's header, waiting for the token where there is none.

        Raises:
            AuthError: IAM gives no token for this password.
            TransportError: IAM did not answer.
        """
        token = self._token
        if token is None or now >= token.expires_at:
            token = await self._fetching.result()
        elif now >= max(token.renew_at, self._renew_not_before):
            self._renew_not_before = now + self.RENEWAL_RETRY_S
            self._fetching.start()
        return {_TOKEN_HEADER: token.text}

    def refused(self, headers: Mapping[str, str]) -> None:
        """Drop the token, unless it is a newer one than was refused."""
        if self._token is not None and headers.get(_TOKEN_HEADER) == self._token.text:
            self._token = None

    async def close(self) -> None:
        """Stop a fetch under way."""
        await self._fetching.close()

    async def _fetch(self) -> _Token:
        try:
            answer = await self._carry(self._request())
        except ServiceError as exc:
            _LOG.warning("IAM gives no token: %s", exc)
            raise _refused_by_iam(exc) from exc
        except DISError as exc:
            _LOG.warning("IAM gives no token: %s", exc)
            raise
        self._token = token = _read_token(answer, self._clock())
        return token

    def _request(self) -> Outgoing:
        user = {
            "name": self._credentials.user_name,
            "password": self._credentials.password,
            "domain": {"name": self._credentials.domain_name},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        body = orjson.dumps({"auth": {"identity": identity, "scope": {"project": self._scope}}})
        headers = {"Content-Type": "application/json"}
        return Outgoing("iam.token", "POST", "/v3/auth/tokens", body=body, headers=headers)


def _scope(settings: ClientSettings) -> dict[str, str]:
    if settings.project_id:
        return {"id": settings.project_id}
    if settings.region:
        return {"name": settings.region}
    raise ConfigError("a password needs a project_id or a region: tokens are made for a project")


def _refused_by_iam(exc: ServiceError) -> ServiceError:
    """Call a refusal by IAM an AuthError, whatever its status; failures stay what they are."""
    if exc.retryable or isinstance(exc, AuthError):
        return exc
    return AuthError(
        exc.message,
        status=exc.status,
        code=exc.code,
        request_id=exc.request_id,
        operation=exc.operation,
    )


def _read_token(answer: Answer, now: float) -> _Token:
    text = answer.headers.get("X-Subject-Token", "").strip()
    if not text:
        raise AuthError(
            "the answer has no X-Subject-Token",
            status=answer.status,
            code=f"HTTP.{answer.status}",
            operation="iam.token",
        )
    # At least a minute, so that a clock far off does not fetch a token for each call.
    life = max(60.0, _expires_at(answer.body, now + PasswordIdentity.LIFE_S) - now)
    return _Token(text, now + life * PasswordIdentity.RENEW_AT, now + life)


def _expires_at(body: bytes, default: float) -> float:
    try:
        found: Any = orjson.loads(body)
        moment = datetime.fromisoformat(found["token"]["expires_at"])
    except (ValueError, TypeError, KeyError):
        return default
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
