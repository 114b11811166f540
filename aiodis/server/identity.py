"""IAM as far as clients of DIS use it: a token for a password, and the list of projects.

Tokens are stateless: what they say is signed with the secret key, so they outlive
a restart. IAM's errors have Keystone's form, not that of DIS.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson

from aiodis.credentials import AccessKey
from aiodis.server.refusal import Refusal

__all__ = ["TOKEN_LIFE_MS", "Identity", "IdentityRefusal"]

TOKEN_LIFE_MS: Final = 24 * 3_600_000
"""IAM's tokens are valid for 24 hours."""


class IdentityRefusal(Exception):  # noqa: N818 - an answer of the server, not a failure of it
    """IAM's answer that says no."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status, self.title, self.message = status, title, message

    def encode(self) -> bytes:
        """Write Keystone's body."""
        error = {"code": self.status, "message": self.message, "title": self.title}
        return orjson.dumps({"error": error})


class _Claim(msgspec.Struct):
    """What a token says."""

    user: str
    project_id: str
    expires_ms: int


class _User(msgspec.Struct):
    password: str
    name: str = ""
    domain: dict[str, Any] = {}


class _Password(msgspec.Struct):
    user: _User


class _Methods(msgspec.Struct):
    methods: list[str]
    password: _Password | None = None


class _Auth(msgspec.Struct):
    identity: _Methods


class _TokenRequest(msgspec.Struct):
    auth: _Auth


class Identity:
    """The one user and the one project. The user is the access key, the password the secret."""

    def __init__(self, key: AccessKey, project_id: str, region: str) -> None:
        self._key = key
        self._project_id, self._region = project_id, region
        self._token_key = hmac.digest(key.secret_key.encode(), b"aiodis token 1", "sha256")

    def create_token(self, body: bytes, now_ms: int) -> tuple[str, bytes]:
        """Answer POST /v3/auth/tokens: the token for the header, and the body.

        Raises:
            IdentityRefusal: the request is none, or the user or the password is another.
        """
        try:
            identity = msgspec.json.decode(body, type=_TokenRequest).auth.identity
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise IdentityRefusal(400, "Bad Request", "The request body is invalid.") from None
        if identity.methods != ["password"] or identity.password is None:
            raise IdentityRefusal(400, "Bad Request", "The auth method is not supported.")
        user = identity.password.user
        is_known = _is_same(user.name, self._key.access_key)
        if not (_is_same(user.password, self._key.secret_key) and is_known):
            raise IdentityRefusal(401, "Unauthorized", "The username or password is wrong.")
        expires_ms = now_ms + TOKEN_LIFE_MS
        return self.issue(expires_ms), self._token_body(user, now_ms, expires_ms)

    def issue(self, expires_ms: int) -> str:
        """Make a token that is valid until a time."""
        claim = _Claim(self._key.access_key, self._project_id, expires_ms)
        said = urlsafe_b64encode(msgspec.json.encode(claim))
        return f"{said.decode()}.{self._seal(said)}"

    def check_token(self, token: str, now_ms: int) -> None:
        """See that a token is ours and still valid.

        Raises:
            Refusal: it is not.
        """
        said, _, seal = token.strip().partition(".")
        if not said:
            raise Refusal("DIS.4113")
        if not _is_same(seal, self._seal(said.encode("utf-8", "replace"))):
            raise Refusal("DIS.4114")
        claim = msgspec.json.decode(urlsafe_b64decode(said), type=_Claim)
        if claim.project_id != self._project_id or now_ms >= claim.expires_ms:
            raise Refusal("DIS.4114")

    def projects(self, name: str | None) -> bytes:
        """Answer GET /v3/projects: the one project bears the region's name, as IAM's do."""
        project = {
            "id": self._project_id,
            "name": self._region,
            "domain_id": self._project_id,
            "parent_id": self._project_id,
            "is_domain": False,
            "enabled": True,
            "description": "",
            "links": {},
        }
        shown = [project] if name in {None, "", self._region} else []
        return orjson.dumps({"projects": shown, "links": {"next": None, "previous": None}})

    def _seal(self, said: bytes) -> str:
        return hmac.new(self._token_key, said, hashlib.sha256).hexdigest()

    def _token_body(self, user: _User, now_ms: int, expires_ms: int) -> bytes:
        domain = {"id": self._project_id, "name": str(user.domain.get("name", "local"))}
        token = {
            "methods": ["password"],
            "issued_at": _iso(now_ms),
            "expires_at": _iso(expires_ms),
            "user": {"id": self._key.access_key, "name": user.name, "domain": domain},
            "project": {"id": self._project_id, "name": self._region, "domain": domain},
            "roles": [],
            "catalog": [],
        }
        return orjson.dumps({"token": token})


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
