"""`aiodis serve`: the embedded DIS as a program of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from aiodis.clock import CLOCKS, ClockKind
from aiodis.errors import ConfigError, DISError
from aiodis.server import EdgeLimits, LocalDIS, Transitions
from aiodis.server.durability import Fsync
from aiodis.server.local import (
    DEFAULT_ACCESS_KEY,
    DEFAULT_PROJECT_ID,
    DEFAULT_SECRET_KEY,
    AdminAccess,
)

__all__ = ["serve"]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder for the data. Without it, all is in memory and ends with us."),
    ] = None,
    project_id: Annotated[str, typer.Option(help="The project served.")] = DEFAULT_PROJECT_ID,
    access_key: Annotated[
        str, typer.Option(help="Throwaway access key (AK) to accept.")
    ] = DEFAULT_ACCESS_KEY,
    secret_key: Annotated[
        str, typer.Option(help="Throwaway secret key (SK) to accept.", show_default=False)
    ] = DEFAULT_SECRET_KEY,
    accounts: Annotated[
        Path | None,
        typer.Option(help="File (JSON or TOML) of accounts, instead of one project and one key."),
    ] = None,
    seed: Annotated[
        Path | None,
        typer.Option(help="File (JSON, TOML, JSON lines) of what to begin with where nothing is."),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Region that signatures must name; any, if not given.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Ask nobody for credentials.")
    ] = False,
    no_limits: Annotated[
        bool,
        typer.Option("--no-limits", help="Lift the limits of traffic and scaling, and the quotas."),
    ] = False,
    quota: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COUNT",
            help="Another quota: common_partition, advanced_partition, app or subscription.",
        ),
    ] = None,
    transition_ms: Annotated[
        int, typer.Option(min=0, help="How long a new stream is CREATING, and a scaling takes.")
    ] = 0,
    clock: Annotated[
        ClockKind,
        typer.Option(help="The time: the system's, moved by hand, or by itself past all waits."),
    ] = "real",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be reachable by other machines.")
    ] = False,
    fsync: Annotated[
        Fsync, typer.Option(help="When what is acknowledged comes to the disk.")
    ] = "never",
    max_connections: Annotated[
        int, typer.Option(min=1, help="Connections at once; the excess is turned away.")
    ] = EdgeLimits.max_connections,
    admin: Annotated[
        AdminAccess,
        typer.Option(help="Who may use the admin routes: this machine, others too, or nobody."),
    ] = "local",
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https, with an authority made for the data folder.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Serve https with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="The key of --tls-cert, where it is in another file.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write the endpoint to when ready.")
    ] = None,
) -> None:
    """Run an embedded DIS until SIGTERM or Ctrl-C.

    Prints `aiodis: listening on http://HOST:PORT` (or https) when it is ready. What it
    acknowledged survives `kill -9`, and with `--fsync always` a loss of power. Without keys
    of your own it accepts a built-in pair that everyone knows.
    """
    try:
        server = LocalDIS(
            data,
            host=host,
            port=port,
            project_id=project_id,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            anonymous=anonymous,
            limits=not no_limits,
            quotas=_quotas(quota or []),
            transitions=Transitions(after_ms=transition_ms),
            allow_remote=allow_remote,
            admin=admin,
            accounts=accounts,
            fsync=fsync,
            seed=seed,
            edge=EdgeLimits(max_connections=max_connections),
            tls=tls,
            tls_cert=tls_cert,
            tls_key=tls_key,
            clock=CLOCKS[clock](),
        )
        show_keys = accounts is None and secret_key == DEFAULT_SECRET_KEY
        asyncio.run(_serve(server, ready_file, show_keys=show_keys))
    except DISError as exc:
        sys.exit(f"aiodis: {exc}")


def _quotas(given: list[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, count = text.partition("=")
        if not (count.isascii() and count.isdigit()):
            raise ConfigError(f"--quota {text!r} is not NAME=COUNT")
        found[name] = int(count)
    return found


async def _serve(server: LocalDIS, ready_file: Path | None, *, show_keys: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server, contextlib.AsyncExitStack() as stack:
        for line in server.recovery:
            _say(line)
        if ready_file is not None:
            _write_whole(ready_file, server.endpoint + os.linesep)
            stack.callback(ready_file.unlink, missing_ok=True)
        typer.echo(f"aiodis: listening on {server.endpoint}")
        sys.stdout.flush()
        if server.ca_file is not None:
            _say("clients trust this server by the authority in")
            _say(f"  AIODIS_CA_FILE={server.ca_file}")
        if show_keys:
            _say("the built-in keys are in use; a client reads them from")
            _say(f"  AIODIS_ENDPOINT={server.endpoint} AIODIS_PROJECT_ID={server.project_id}")
            _say(
                f"  HUAWEICLOUD_SDK_AK={DEFAULT_ACCESS_KEY} HUAWEICLOUD_SDK_SK={DEFAULT_SECRET_KEY}"
            )
        await stop.wait()
    _say("stopped")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that no one reads half of it."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    part.replace(path)


def _say(line: str) -> None:
    typer.echo(f"aiodis: {line}", err=True)
