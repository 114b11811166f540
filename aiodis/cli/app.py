"""The command `aiodis` and its subcommands, made with typer."""

from importlib.metadata import version
from typing import Annotated

import typer

from aiodis.cli.serve import serve

__all__ = ["app"]

app = typer.Typer(
    name="aiodis",
    help="The asyncio toolkit for Huawei Cloud DIS, with an embedded local DIS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aiodis {version('aiodis')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hold the options of the command itself."""
