"""The command line. Needs the extra `cli`."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command `aiodis`, and exit as `aiodis.cli.outcome.EXIT_CODES` says."""
    try:
        from aiodis.cli.app import app  # noqa: PLC0415 - typer may be missing
    except ModuleNotFoundError as exc:
        sys.exit(f"aiodis: the command line needs {exc.name}: install aiodis[cli]")
    from aiodis.cli.outcome import exit_of  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter
    sys.exit(exit_of(lambda: app(arguments, prog_name="aiodis", standalone_mode=False)))
