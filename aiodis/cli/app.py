"""The command `aiodis` and its subcommands, made with typer."""

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from aiodis import __version__
from aiodis.cli import places
from aiodis.cli.connection import Connection, connected, flags
from aiodis.cli.put import put
from aiodis.cli.rows import chapter, chapters, group_of
from aiodis.cli.tail import tail

__all__ = ["app"]


class _Root(TyperGroup):
    """Makes the chapters, and loads `serve` with its server, for those who ask for them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *chapters(), "serve"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "serve":
            made = _serve()
        elif cmd_name in chapters():
            made = chapter(cmd_name)
        else:
            return super().get_command(ctx, cmd_name)
        command = typer.main.get_command(made)
        command.name = cmd_name
        return command


def _serve() -> typer.Typer:
    from aiodis.cli.serve import serve  # noqa: PLC0415 - it brings the whole server

    alone = group_of("")
    alone.command()(serve)
    return alone


app = group_of(
    "The asyncio toolkit for Huawei Cloud DIS, with an embedded local DIS. Each command has"
    " --help with an example. Where to call, and as whom, comes from flags, from AIODIS_… and"
    " HUAWEICLOUD_SDK_… variables, or from a profile file.",
    is_root=True,
    cls=_Root,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aiodis {__version__}")
        raise typer.Exit


def _root(
    *,
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    **given: Any,
) -> None:
    """Keep the flags that stand before the command for it."""
    context.obj = Connection(**given)


_own = [p for p in inspect.signature(_root).parameters.values() if p.kind != p.VAR_KEYWORD]
_root.__signature__ = inspect.Signature([*_own, *flags()])  # type: ignore[attr-defined]
_root.__annotations__ = {p.name: p.annotation for p in [*_own, *flags()]}
app.callback()(_root)

app.command(epilog="Example: cat log.jsonl | aiodis put events --key-field user.id")(connected(put))
app.command(epilog="Example: aiodis tail events --from 15m --json | jq .data")(connected(tail))
app.command(epilog="Example: aiodis lag events --app billing")(connected(places.lag))

checkpoint = group_of("Where apps are in a stream: show it, set it, reset it.")
checkpoint.command(epilog="Example: aiodis checkpoint show events --app billing")(
    connected(places.show)
)
checkpoint.command(
    "set", epilog="Example: aiodis checkpoint set events 42 --app billing --partition-id 0"
)(connected(places.set_))
checkpoint.command(
    epilog="Example: aiodis checkpoint reset events --app billing --to earliest --yes"
)(connected(places.reset))
app.add_typer(checkpoint, name="checkpoint")
