"""What the members of the drill write down, and how: rows in binary, notes as lines of JSON.

Each is one `write` to a file that is only appended to, so that a kill loses none
of what was done. Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

__all__ = ["RECORD", "ROW", "Ledger", "Note", "Row", "What", "read_notes", "read_rows"]

RECORD: Final = Struct("<I96x")
"""A record of the drill: its number, and 96 bytes that cost what data costs."""

ROW: Final = Struct("<IIQqi")

What: TypeAlias = Literal["assigned", "gone", "load", "commit", "refused"]


class Row(NamedTuple):
    """One record that was handled."""

    partition: int
    number: int
    sequence: int
    at_ns: int
    generation: int


class Note(msgspec.Struct, omit_defaults=True):
    """What else befell a member.

    `began_ns` is when a load or a commit was asked for, `at_ns` when it was answered.
    """

    what: What
    at_ns: int
    generation: int
    partitions: list[int]
    position: int = -1
    began_ns: int = -1


class Ledger:
    """The files of one process, to write."""

    def __init__(self, stem: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._rows = os.open(f"{stem}.rows", flags, 0o644)
        self._notes = os.open(f"{stem}.notes", flags, 0o644)

    def handled(self, partition: int, number: int, sequence: int, generation: int) -> None:
        """Write down a record. One write of its own, since a kill may come at any moment."""
        row = ROW.pack(partition, number, sequence, time.monotonic_ns(), generation)
        os.write(self._rows, row)

    def note(self, note: Note) -> None:
        """Write down what befell the member."""
        os.write(self._notes, msgspec.json.encode(note) + b"\n")


def read_rows(file: Path) -> Iterator[Row]:
    """Give the rows of a file, in the order in which they were written."""
    raw = file.read_bytes() if file.exists() else b""
    return map(Row._make, ROW.iter_unpack(raw[: len(raw) // ROW.size * ROW.size]))


def read_notes(file: Path) -> list[Note]:
    """Give the notes of a file; a line that is being written is left out."""
    raw = file.read_bytes() if file.exists() else b""
    whole = raw[: raw.rfind(b"\n") + 1].splitlines()
    return [msgspec.json.decode(line, type=Note) for line in whole]
