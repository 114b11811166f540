"""The command line. Needs the extra `cli`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command `aiodis`."""
    try:
        from aiodis.cli.app import app  # noqa: PLC0415 - typer may be missing
    except ModuleNotFoundError as exc:
        sys.exit(f"aiodis: the command line needs {exc.name}: install aiodis[cli]")
    app(prog_name="aiodis")
