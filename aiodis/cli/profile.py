"""The profile file: named sets of settings and credentials, in TOML.

```toml
[default]
region = "cn-north-4"
access_key = "…"
secret_key = "…"

[local]
endpoint = "http://127.0.0.1:8080"
```
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import ConfigError

__all__ = ["DEFAULT", "SECRETS", "SETTINGS", "Profile", "profile_path", "read_profiles"]

DEFAULT: Final = "default"

SETTINGS: Final = tuple(name for name in ClientSettings.model_fields if name != "credentials")
"""The settings that a profile may hold: all of the client's."""

SECRETS: Final = frozenset({"secret_key", "security_token", "token", "password"})

_CREDENTIALS: Final = {
    "access_key": (AccessKey, ("access_key", "secret_key", "security_token")),
    "token": (StaticToken, ("token",)),
    "user_name": (IAMPassword, ("user_name", "password", "domain_name", "iam_endpoint")),
}
"""Each kind of credentials by the key that shows it, with the keys that belong to it."""


class Profile(NamedTuple):
    """One set: what a `ClientSettings` takes, and who calls."""

    settings: dict[str, Any]
    credentials: AccessKey | StaticToken | IAMPassword | None


def profile_path(environ: Mapping[str, str]) -> Path:
    """Say where the file is: `AIODIS_CONFIG`, or `aiodis/config.toml` in the user's settings."""
    if named := environ.get("AIODIS_CONFIG"):
        return Path(named).expanduser()
    base = environ.get("XDG_CONFIG_HOME")
    folder = Path(base) if base else Path(environ.get("HOME") or Path.home(), ".config")
    return folder / "aiodis" / "config.toml"


def read_profiles(path: Path) -> tuple[dict[str, Profile], list[str]]:
    """Read the file's profiles, and what is to be warned of; a file that is not there has none.

    Raises:
        ConfigError: the file cannot be read, or holds what no profile has.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            tables = tomllib.load(file)
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ConfigError(f"the profile file {path} cannot be read: {reason}") from exc
    profiles = {name: _profile(path, name, table) for name, table in tables.items()}
    holds_secrets = any(SECRETS & table.keys() for table in tables.values())
    if holds_secrets and mode & (stat.S_IRGRP | stat.S_IROTH):
        return profiles, [f"{path} holds secrets and others may read it: chmod 600 {path}"]
    return profiles, []


def _profile(path: Path, name: str, table: object) -> Profile:
    where = f"profile {name} in {path}"
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} stands outside of a profile such as [{DEFAULT}]")
    kinds = [kind for kind in _CREDENTIALS if kind in table]
    if len(kinds) > 1:
        raise ConfigError(f"{where} has both {kinds[0]} and {kinds[1]}")
    make, own = _CREDENTIALS[kinds[0]] if kinds else (None, ())
    for key in table.keys() - set(own) - set(SETTINGS):
        belongs = next((kind for kind, (_, keys) in _CREDENTIALS.items() if key in keys), None)
        rule = f"needs {belongs} beside it" if belongs else "is no setting"
        raise ConfigError(f"{where}: {key} {rule}")
    credentials = None
    if make is not None:
        values = {key: table[key] for key in own if key in table}
        try:
            credentials = make(**values)
        except TypeError:  # a key of the kind is missing; the values must not be shown
            needed = ", ".join(own)
            raise ConfigError(f"{where}: credentials of this kind have {needed}") from None
        except ConfigError as exc:
            raise ConfigError(f"{where}: {exc}") from None
    return Profile({key: table[key] for key in table if key in SETTINGS}, credentials)
