"""Which DIS a command calls, and as whom: from flags, the environment and the profile file.

Flags beat all else, a setting at a time. A profile that was named beats the
environment; the profile `default` does not, and says nothing about where when the
environment does. Secrets are no flags: everyone on a machine can read a command's
arguments.
"""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from aiodis.cli.outcome import outcomes, warn
from aiodis.cli.profile import DEFAULT, Profile, profile_path, read_profiles
from aiodis.client import DISClient
from aiodis.config import ClientSettings
from aiodis.credentials import Credentials
from aiodis.errors import ConfigError

__all__ = ["Connection", "Found", "connected", "find", "flags"]

# A person waits for the answer: less patience than the client's own defaults have.
_RETRIES: Final = 3
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Connection:
    """The flags that all commands have; None where one was not given."""

    endpoint: str | None = None
    region: str | None = None
    project_id: str | None = None
    profile: str | None = None
    ca_file: Path | None = None
    local: bool | None = None
    timeout: float | None = None
    retries: int | None = None
    json: bool | None = None
    debug: bool | None = None

    def over(self, other: "Connection") -> "Connection":
        """Take what was not given here from flags that stand further left."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: value for name, value in mine.items() if value is not None})

    @property
    def is_debugged(self) -> bool:
        """Whether tracebacks and the library's log are shown."""
        return bool(self.debug) or os.environ.get("AIODIS_DEBUG", "") not in {"", "0"}

    def client(self, **changes: Any) -> DISClient:
        """Make the client.

        Raises:
            ConfigError: settings that cannot work, or none at all.
        """
        found = find(self, os.environ)
        for line in found.warnings:
            warn(line)
        return DISClient(**found.settings | changes)


_FLAGS: Final = {
    "endpoint": Annotated[
        str | None,
        typer.Option(help="URL of DIS (or AIODIS_ENDPOINT).", metavar="URL"),
    ],
    "region": Annotated[
        str | None,
        typer.Option(
            help="Region, which implies an endpoint (or AIODIS_REGION).",
            metavar="NAME",
        ),
    ],
    "project_id": Annotated[
        str | None,
        typer.Option(
            help="Project; looked up by the region if not given (or AIODIS_PROJECT_ID).",
            metavar="ID",
        ),
    ],
    "profile": Annotated[
        str | None,
        typer.Option(
            help="Profile of the profile file (or AIODIS_PROFILE).",
            metavar="NAME",
        ),
    ],
    "ca_file": Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the only authorities to trust (or AIODIS_CA_FILE).", metavar="FILE"
        ),
    ],
    "local": Annotated[
        bool | None,
        typer.Option(
            "--local", help="Call an aiodis serve on this machine, with its built-in keys."
        ),
    ],
    "timeout": Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help=f"The most that one call may take, with its retries; {_TIMEOUT_S:g} if not given.",
        ),
    ],
    "retries": Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help=f"Repeats of a call at most; {_RETRIES} if not given."
        ),
    ],
    "json": Annotated[bool | None, typer.Option("--json", help="Print JSON, for programs.")],
    "debug": Annotated[
        bool | None,
        typer.Option("--debug", help="Show tracebacks and logs (or AIODIS_DEBUG=1)."),
    ],
}


def flags(without: frozenset[str] = frozenset()) -> list[inspect.Parameter]:
    """Give the flags as parameters of a command."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _FLAGS.items()
        if name not in without
    ]


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of a `Connection`, which it gets as its first argument.

    What the command raises becomes a line on stderr and an exit code. A parameter
    of its own with a flag's name hides the flag.
    """
    first, *own = inspect.signature(command).parameters.values()
    del first
    added = flags(frozenset(parameter.name for parameter in own))
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(p.replace(kind=p.KEYWORD_ONLY) for p in own), *added]

    @functools.wraps(command)
    def run(*, context: typer.Context, **values: Any) -> None:
        given = Connection(**{flag.name: values.pop(flag.name) for flag in added})
        connection = given.over(context.obj or Connection())
        with outcomes(debug=connection.is_debugged):
            command(connection, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


class Found(NamedTuple):
    """What a `DISClient` takes, and what the user is to be told."""

    settings: dict[str, Any]
    warnings: list[str]


def find(connection: Connection, environ: Mapping[str, str]) -> Found:
    """Put the settings together.

    Raises:
        ConfigError: nothing says where, or as whom.
    """
    path = profile_path(environ)
    named = connection.profile or environ.get("AIODIS_PROFILE")
    settings: dict[str, Any] = {"retries": _RETRIES, "call_timeout_ms": int(_TIMEOUT_S * 1000)}
    warnings: list[str] = []
    profile = Profile({}, None)
    if not connection.local:
        profiles, warnings = read_profiles(path)
        if named and named not in profiles:
            known = ", ".join(profiles) or "none"
            raise ConfigError(f"no profile {named} in {path}; there are: {known}")
        profile = profiles.get(named or DEFAULT, profile)
        settings |= _layers(profile.settings, ClientSettings.from_env(environ), bool(named))
    settings |= _given(connection)
    if not ("endpoint" in settings or "region" in settings):
        raise ConfigError(
            "nothing says which DIS to call: give --endpoint or --region, set AIODIS_ENDPOINT or"
            f" AIODIS_REGION, or write a profile into {path} (an aiodis serve here: --local)"
        )
    if "credentials" not in settings:
        settings["credentials"] = _credentials(profile, environ, path, named=bool(named))
    return Found(settings, warnings)


def _layers(profile: dict[str, Any], env: dict[str, Any], is_named: bool) -> dict[str, Any]:
    if is_named:
        return env | profile if not _says_where(profile) else profile
    if _says_where(env):
        # The endpoint of one beside the region of another would be a third place.
        profile = {k: v for k, v in profile.items() if k not in {"endpoint", "region"}}
    return profile | env


def _says_where(settings: Mapping[str, Any]) -> bool:
    return "endpoint" in settings or "region" in settings


def _given(connection: Connection) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if connection.local:
        from aiodis.server import local  # noqa: PLC0415 - only those who use it pay for it

        given = {
            "endpoint": "http://127.0.0.1:8080",
            "project_id": local.DEFAULT_PROJECT_ID,
            "credentials": Credentials.static(local.DEFAULT_ACCESS_KEY, local.DEFAULT_SECRET_KEY),
        }
    for name in ("endpoint", "region", "project_id", "ca_file", "retries"):
        if (value := getattr(connection, name)) is not None:
            given[name] = value
    if connection.timeout is not None:
        given["call_timeout_ms"] = max(1, int(connection.timeout * 1000))
    return given


def _credentials(
    profile: Profile, environ: Mapping[str, str], path: Path, *, named: bool
) -> Credentials.Any:
    if named and profile.credentials is not None:
        return profile.credentials
    has_env = any(environ.get(f"HUAWEICLOUD_SDK_{name}") for name in _CREDENTIAL_NAMES)
    if profile.credentials is not None and not has_env:
        return profile.credentials
    try:
        return Credentials.from_env(environ)
    except ConfigError as exc:
        if has_env and "lacks" in str(exc):
            raise
        raise ConfigError(
            "no credentials: set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or write access_key"
            f" and secret_key into {path} (they are never flags; an aiodis serve here: --local)"
        ) from None


_CREDENTIAL_NAMES: Final = ("AK", "SK", "AUTH_TOKEN", "USER_NAME")
