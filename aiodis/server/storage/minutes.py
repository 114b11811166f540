"""What went through the streams minute by minute, in the catalog's database."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from aiodis.server.storage.transaction import transaction
from aiodis.server.traffic import Flow, Minute

__all__ = ["MinuteRow", "MinuteTable"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS minutes (
    stream_id TEXT NOT NULL REFERENCES streams ON DELETE CASCADE,
    number    INTEGER NOT NULL,  -- whole minutes since the epoch
    counts    BLOB NOT NULL,     -- a Minute as MessagePack
    PRIMARY KEY (stream_id, number)
) WITHOUT ROWID;
"""


class MinuteRow(NamedTuple):
    """One minute of a stream. `number` is in minutes since the epoch."""

    stream_id: str
    number: int
    minute: Minute


class MinuteTable:
    """Reads and writes minutes. Each method is one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.execute(_SCHEMA)

    def save(self, rows: Iterable[MinuteRow]) -> None:
        """Write minutes over what was written of them before."""
        encoded = [(*row[:2], msgspec.msgpack.encode(row.minute)) for row in rows]
        with transaction(self._db):
            self._db.executemany("INSERT OR REPLACE INTO minutes VALUES (?, ?, ?)", encoded)

    def load(self, stream_id: str, first: int, last: int) -> dict[int, Minute]:
        """Read a stream's minutes from the first to the last, both included, by number."""
        rows = self._db.execute(
            "SELECT number, counts FROM minutes WHERE stream_id = ? AND number BETWEEN ? AND ?"
            " ORDER BY number",
            (stream_id, first, last),
        )
        return {number: _decode(counts) for number, counts in rows}

    def forget_before(self, number: int) -> None:
        """Remove all older minutes."""
        self._db.execute("DELETE FROM minutes WHERE number < ?", (number,))


def _decode(counts: bytes) -> Minute:
    # A row that cannot be read costs its minute, not the server.
    with suppress(msgspec.MsgspecError):
        minute = msgspec.msgpack.decode(counts, type=Minute)
        minute.flows = defaultdict(Flow, minute.flows)
        return minute
    return Minute()
