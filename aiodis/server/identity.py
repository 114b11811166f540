"""IAM as far as clients of DIS use it: a token for a password, and the list of projects.

Tokens are stateless: what they say is signed with a key made of the user's password,
so they outlive a restart, but not the password. IAM's errors have Keystone's form, not
that of DIS.
"""

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Final

import msgspec
import orjson

from aiodis.server.accounts import Account, Accounts, Caller, User
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


class _Named(msgspec.Struct):
    id: str | None = None
    name: str | None = None


class _User(msgspec.Struct):
    password: str
    name: str = ""
    domain: _Named = msgspec.field(default_factory=_Named)


class _Password(msgspec.Struct):
    user: _User


class _Methods(msgspec.Struct):
    methods: list[str]
    password: _Password | None = None


class _Scope(msgspec.Struct):
    project: _Named | None = None
    domain: _Named | None = None


class _Auth(msgspec.Struct):
    identity: _Methods
    scope: _Scope | None = None


class _TokenRequest(msgspec.Struct):
    auth: _Auth


class Identity:
    """IAM for the users of some accounts. A project bears the region's name, as IAM's do."""

    def __init__(self, accounts: Accounts, region: str) -> None:
        self._accounts, self._region = accounts, region

    def create_token(self, body: bytes, now_ms: int) -> tuple[str, bytes, str]:
        """Answer POST /v3/auth/tokens: the token for the header, the body, and whose project's.

        Raises:
            IdentityRefusal: the request is none, the user or the password is another, or
                the scope is no project of the user's.
        """
        try:
            auth = msgspec.json.decode(body, type=_TokenRequest).auth
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise IdentityRefusal(400, "Bad Request", "The request body is invalid.") from None
        if auth.identity.methods != ["password"] or auth.identity.password is None:
            raise IdentityRefusal(400, "Bad Request", "The auth method is not supported.")
        user = auth.identity.password.user
        caller = self._accounts.named(user.domain.name or user.domain.id, user.name)
        password = caller.user.password if caller else None
        if caller is None or password is None or not _is_same(user.password, password):
            raise IdentityRefusal(401, "Unauthorized", "The username or password is wrong.")
        if self._accounts.is_strict:
            self._check_scope(auth.scope, caller.account)
        expires_ms = now_ms + TOKEN_LIFE_MS
        domain_name = user.domain.name or caller.account.name
        body = self._token_body(caller, domain_name, now_ms, expires_ms)
        return self.issue(caller, expires_ms), body, caller.account.project_id

    def issue(self, caller: Caller, expires_ms: int) -> str:
        """Make a token for a user with a password that is valid until a time."""
        claim = _Claim(caller.user.id, caller.account.project_id, expires_ms)
        said = urlsafe_b64encode(msgspec.json.encode(claim))
        return f"{said.decode()}.{_seal(caller.user, said)}"

    def check_token(self, token: str, now_ms: int) -> Caller:
        """See that a token is ours and still valid; give whose it is.

        Raises:
            Refusal: it is not.
        """
        said, _, seal = token.strip().partition(".")
        if not said:
            raise Refusal("DIS.4113")
        try:
            claim = msgspec.json.decode(urlsafe_b64decode(said), type=_Claim)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Refusal("DIS.4114") from None
        caller = self._accounts.of_id(claim.user)
        if caller is None or not _is_same(seal, _seal(caller.user, said.encode())):
            raise Refusal("DIS.4114")
        if claim.project_id != caller.account.project_id or now_ms >= claim.expires_ms:
            raise Refusal("DIS.4114")
        return caller

    def projects(self, caller: Caller | None, name: str | None) -> bytes:
        """Answer GET /v3/projects: the one project of the caller's account, or of the first."""
        account = (caller or self._accounts.first).account
        project = {
            "id": account.project_id,
            "name": self._region,
            "domain_id": account.id,
            "parent_id": account.id,
            "is_domain": False,
            "enabled": True,
            "description": "",
            "links": {},
        }
        shown = [project] if name in {None, "", self._region} else []
        return orjson.dumps({"projects": shown, "links": {"next": None, "previous": None}})

    def _check_scope(self, scope: _Scope | None, account: Account) -> None:
        """See that a token is asked for the account's project, or for none in particular."""
        if scope is None:
            return
        project = scope.project
        if project is None:
            raise IdentityRefusal(400, "Bad Request", "The scope is not a project.")
        wrong_id = project.id is not None and project.id != account.project_id
        wrong_name = project.id is None and project.name != self._region
        if wrong_id or wrong_name:
            raise IdentityRefusal(401, "Unauthorized", "The project is not one of the user's.")

    def _token_body(self, caller: Caller, domain_name: str, now_ms: int, expires_ms: int) -> bytes:
        domain = {"id": caller.account.id, "name": domain_name}
        project = {"id": caller.account.project_id, "name": self._region, "domain": domain}
        token = {
            "methods": ["password"],
            "issued_at": _iso(now_ms),
            "expires_at": _iso(expires_ms),
            "user": {"id": caller.user.id, "name": caller.user.name, "domain": domain},
            "project": project,
            "roles": [],
            "catalog": [],
        }
        return orjson.dumps({"token": token})


def _seal(user: User, said: bytes) -> str:
    # Without a password there are no tokens, so nobody can know this key.
    secret = (user.password or os.urandom(32).hex()).encode()
    token_key = hmac.digest(secret, b"aiodis token 1", "sha256")
    return hmac.new(token_key, said, hashlib.sha256).hexdigest()


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
