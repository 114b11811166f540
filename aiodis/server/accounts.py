"""Who there is: accounts with their project, users with passwords, keys and permissions.

Plain values, and the reading of the file that names them. The file is JSON or TOML:

    [[accounts]]
    name = "shop"                            # the account, which IAM calls a domain
    project_id = "5f0c0ffee0"
    users = [
      { name = "writer", password = "…", actions = ["dis:records:write", "dis:streams:*"] },
      { name = "admin", keys = [{ access_key = "…", secret_key = "…" }] },
    ]

Ids of accounts and users are made from their names, so they are the same at each start.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from aiodis.api.actions import ACTIONS
from aiodis.credentials import AccessKey, IAMPassword
from aiodis.errors import ConfigError

__all__ = [
    "Account",
    "Accounts",
    "Caller",
    "User",
    "check_project_id",
    "credentials_of",
    "read_accounts",
]

# Without the marks of a principal, `account.user`, and of a list of them.
_ACCOUNT_NAME: Final = re.compile(r"[^\s.,*]{1,64}")
_USER_NAME: Final = re.compile(r"(?! )[^,*\x00-\x1f\x7f]{1,64}(?<! )")
_PROJECT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class User:
    """A user. Without a password IAM gives no token; `actions` None allows everything.

    An action may be a pattern, such as `dis:streams:*`.
    """

    name: str
    password: str | None = field(default=None, repr=False)
    keys: Sequence[AccessKey] = ()
    actions: Collection[str] | None = None
    id: str = ""

    def __post_init__(self) -> None:
        _check("a user's name", self.name, _USER_NAME, "1 to 64 characters, no comma or star")
        if not (self.keys or self.password):
            raise ConfigError(f"user {self.name!r} has neither a password nor keys")
        for pattern in sorted(self.actions or ()):
            if not any(fnmatchcase(action, pattern) for action in ACTIONS.values()):
                raise ConfigError(f"user {self.name!r}: there is no action {pattern!r}")

    def may(self, action: str) -> bool:
        """Say whether the user has a permission."""
        return self.actions is None or any(fnmatchcase(action, given) for given in self.actions)


@dataclass(frozen=True, slots=True)
class Account:
    """An account, which IAM calls a domain, with its one project."""

    name: str
    project_id: str
    users: Sequence[User]
    id: str = ""

    def __post_init__(self) -> None:
        _check("an account's name", self.name, _ACCOUNT_NAME, "1 to 64 characters, no space . , *")
        check_project_id(self.project_id)
        if not self.users:
            raise ConfigError(f"account {self.name!r} has no users")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a request."""

    account: Account
    user: User

    @property
    def principals(self) -> tuple[str, str]:
        """What a policy may call the caller."""
        return f"{self.account.name}.{self.user.name}", f"{self.account.name}.*"


class Accounts:
    """All accounts of a server, the first of which is the one its own settings are of.

    `strict=False` is for a server with one built-in account: a password's domain and
    scope may then say what they like.

    Raises:
        ConfigError: a name, a key or a project is there twice, or there is nobody.
    """

    def __init__(self, accounts: Iterable[Account], *, strict: bool = True) -> None:
        self.is_strict = strict
        found = tuple(_with_ids(account) for account in accounts)
        if not found:
            raise ConfigError("there are no accounts")
        self._take(found)

    def add(self, account: Account) -> Account:
        """Take one more in, and give it with its ids.

        Raises:
            ConfigError: a name, a key or the project is there already.
        """
        added = _with_ids(account)
        self._take((*self.all, added))
        return added

    def remove(self, name: str) -> Account:
        """Take one out, and give it: nobody knows its users and keys any more.

        Raises:
            KeyError: there is none of that name, or it is the first, whose the settings are.
        """
        for account in self.all[1:]:
            if account.name == name:
                self._take(tuple(kept for kept in self.all if kept is not account))
                return account
        raise KeyError(name)

    def _take(self, accounts: tuple[Account, ...]) -> None:
        callers = [Caller(account, user) for account in accounts for user in account.users]
        _check_once("project_id", [account.project_id for account in accounts])
        _check_once("account", [account.name for account in accounts])
        _check_once("user", [c.principals[0] for c in callers])
        _check_once("access key", [key.access_key for c in callers for key in c.user.keys])
        self.all, self._callers = accounts, callers
        self._by_key = {k.access_key: (c, k) for c in callers for k in c.user.keys}
        self._by_id = {caller.user.id: caller for caller in callers}

    @classmethod
    def of_one(cls, key: AccessKey, project_id: str) -> Self:
        """Make the one account of a server without others: the key is also the user."""
        user = User(key.access_key, key.secret_key, (key,), id=key.access_key)
        return cls([Account("local", project_id, (user,), id=project_id)], strict=False)

    @property
    def first(self) -> Caller:
        """The first user of the first account."""
        return self._callers[0]

    def have_secret(self, secret_key: str) -> bool:
        """Say whether anyone has that secret key."""
        return any(key.secret_key == secret_key for _, key in self._by_key.values())

    def key(self, access_key: str) -> AccessKey | None:
        """Give the whole key pair, or None."""
        found = self._by_key.get(access_key)
        return found and found[1]

    def of_key(self, access_key: str) -> Caller:
        """Give whose key that is; it is somebody's."""
        return self._by_key[access_key][0]

    def of_id(self, user_id: str) -> Caller | None:
        """Give the user of an id, or None."""
        return self._by_id.get(user_id)

    def named(self, domain: str | None, user_name: str) -> Caller | None:
        """Give the user of a name in the account of a name or id, or None."""
        found = [caller for caller in self._callers if caller.user.name == user_name]
        for caller in found:
            if domain in {caller.account.name, caller.account.id}:
                return caller
        return None if self.is_strict or not found else found[0]

    def in_ids(self, principal: str) -> str:
        """Write a principal in ids, as far as its names are known here."""
        account_name, _, user_name = principal.partition(".")
        for account in self.all:
            if account.name == account_name:
                ids = {user.name: user.id for user in account.users}
                return f"{account.id}.{ids.get(user_name, user_name)}"
        return principal

    def __repr__(self) -> str:
        return f"<Accounts {', '.join(account.name for account in self.all)}>"


def check_project_id(project_id: str) -> None:
    """See that a project's id can be one, and the name of a folder.

    Raises:
        ConfigError: it cannot.
    """
    _check("project_id", project_id, _PROJECT_ID, "1 to 64 letters, digits, _ or -")


def credentials_of(caller: Caller) -> AccessKey | IAMPassword:
    """Give a user's first access key, or else the password."""
    account, user = caller.account, caller.user
    if user.keys or user.password is None:
        return user.keys[0]
    return IAMPassword(user.name, user.password, account.name)


def read_accounts(path: Path | str) -> Accounts:
    """Read a file of accounts, TOML if its name ends so, else JSON.

    Raises:
        ConfigError: it cannot be read, or says what cannot be; one line.
    """
    path = Path(path)
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        found: _File = decode(path.read_bytes(), type=_File)
        return Accounts(_account(account) for account in found.accounts)
    except OSError as exc:
        raise ConfigError(f"the accounts file {path}: {exc.strerror or exc}") from exc
    except (ConfigError, ValueError, RecursionError) as exc:
        line = " ".join(str(exc).split()) or "it cannot be read"
        raise ConfigError(f"the accounts file {path}: {line}") from None


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    access_key: str
    secret_key: str


class _User(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    password: str | None = None
    keys: list[_Key] = []
    actions: list[str] | None = None


class _Account(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    project_id: str
    users: list[_User]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    accounts: list[_Account]


def _account(given: _Account) -> Account:
    users = (
        User(
            user.name,
            user.password,
            tuple(AccessKey(key.access_key, key.secret_key) for key in user.keys),
            None if user.actions is None else frozenset(user.actions),
        )
        for user in given.users
    )
    return Account(given.name, given.project_id, tuple(users))


def _with_ids(account: Account) -> Account:
    account_id = account.id or _made_id("account", account.name)
    users = (
        User(u.name, u.password, u.keys, u.actions, u.id or _made_id(account.name, u.name))
        for u in account.users
    )
    return Account(account.name, account.project_id, tuple(users), account_id)


def _made_id(*names: str) -> str:
    return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()[:32]


def _check(what: str, value: Any, pattern: re.Pattern[str], rule: str) -> None:
    if not (isinstance(value, str) and pattern.fullmatch(value)):
        raise ConfigError(f"{what} is {value!r}, not {rule}")


def _check_once(what: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"{what} {value!r} is there twice")
