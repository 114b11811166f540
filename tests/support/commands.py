"""The command line in this process: what it printed, and how it ended."""

import json
from typing import NamedTuple

import pytest

from aiodis.cli import main

__all__ = ["Command", "Ended", "commands_of"]


class Ended(NamedTuple):
    """A command that ran to its end."""

    code: int
    out: bytes
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out.decode()


class Command:
    """Runs `aiodis` with arguments, as the installed program does."""

    def __init__(self, capture) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Ended:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = self._capture.readouterr()
        return Ended(exit_.value.code or 0, out, err.decode())

    def ok(self, *arguments: object) -> Ended:
        """Run what has to succeed."""
        ended = self(*arguments)
        assert ended.code == 0, ended.err
        return ended


def commands_of(app):
    """Give each command by its words, as typer made it."""
    import typer

    def walk(command, path):
        if not hasattr(command, "list_commands"):
            yield path, command
            return
        for name in command.list_commands(None):
            yield from walk(command.get_command(None, name), (*path, name))

    return dict(walk(typer.main.get_command(app), ()))
