"""The page `reference/cli.md`, made from the commands themselves."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer

from aiodis.cli.app import app
from aiodis.cli.connection import flags
from aiodis.cli.outcome import EXIT_CODES
from aiodis.cli.profile import SECRETS, SETTINGS

__all__ = ["cli_page"]

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]

_HERE = {flag.name for flag in flags()}


def cli_page(mark: str, text: Callable[[str], str], table: Table) -> str:
    """Make the page; the arguments are what all generated pages are written with."""
    root = typer.main.get_command(app)
    parts = [
        mark,
        "# Command line",
        text(
            """
            `aiodis --help` shows the same. The extra `cli` brings the command, and [Use the
            command line](../how-to/use-the-command-line.md) tells how to work with it.
            """
        ),
        "## Exit codes",
        table(("code", "meaning"), [(str(end.code), end.meaning) for end in EXIT_CODES]),
        "## Settings",
        text(
            """
            These stand before or behind the command's name. Only `serve` has its own instead.
            """
        ),
        _options(table, [p for p in root.params if p.name in _HERE]),
        text(
            f"""
            A profile may hold {", ".join(f"`{name}`" for name in SETTINGS)}; and one of these:
            `access_key` with `secret_key` and perhaps `security_token`; `token`; `user_name` with
            `password`, `domain_name` and perhaps `iam_endpoint`.
            """
        ),
        "## Commands",
    ]
    for path, command in _commands(root, ("aiodis",)):
        parts += _command(table, path, command)
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from _commands(command.get_command(None, name), (*path, name))


def _command(table: Table, path: tuple[str, ...], command: Any) -> Iterator[str]:
    yield f"### {' '.join(path)}"
    yield re.sub(r"\s*\n\s*", " ", (command.help or "").strip())
    is_serve = path[-1] == "serve"
    own = [p for p in command.params if p.name != "help" and (is_serve or p.name not in _HERE)]
    arguments = [p for p in own if p.param_type_name == "argument"]
    if arguments:
        rows = [(f"`{_argument(p)}`", p.help or "") for p in arguments]
        yield table(("argument", "meaning"), rows)
    if options := [p for p in own if p.param_type_name == "option"]:
        yield _options(table, options)
    if command.epilog:
        yield f"Example: `{command.epilog.removeprefix('Example: ')}`"


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return f"{name}..." if parameter.nargs == -1 else str(name)


def _options(table: Table, parameters: Sequence[Any]) -> str:
    rows = []
    for parameter in parameters:
        spelled = ", ".join([*parameter.opts, *parameter.secondary_opts])
        shown = f"`{spelled} {parameter.metavar}`" if parameter.metavar else f"`{spelled}`"
        rows.append((shown, (parameter.help or "") + _default(parameter)))
    return table(("option", "meaning"), rows)


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return " Required."
    if parameter.name in SECRETS or isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return f" Default: `{value}`."
