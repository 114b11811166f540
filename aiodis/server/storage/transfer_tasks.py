"""The dump tasks of all streams: in the catalog's database, and at hand in memory."""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from aiodis.server import guesses
from aiodis.server.storage.catalog import CatalogDamagedError
from aiodis.server.storage.transaction import transaction

__all__ = ["PartitionDump", "TaskTable", "TransferTaskRow"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transfer_tasks (
    task_id    TEXT PRIMARY KEY,
    stream_id  TEXT NOT NULL REFERENCES streams ON DELETE CASCADE,
    definition BLOB NOT NULL  -- a TransferTaskRow as JSON
) WITHOUT ROWID;
"""


class PartitionDump(msgspec.Struct, frozen=True):
    """How far a task is in one partition: all before `next_sequence` is done."""

    next_sequence: int = 0
    last_ms: int = 0
    discarded: int = 0


class TransferTaskRow(msgspec.Struct, frozen=True):
    """A task. Deliveries are due at `since_ms` plus whole intervals."""

    task_id: str
    task_name: str
    stream_id: str
    destination_type: str
    descriptor: dict[str, Any]
    create_ms: int
    since_ms: int
    partitions: dict[int, PartitionDump]
    paused: bool = False
    failing: bool = False

    @property
    def is_simulated(self) -> bool:
        """Whether this task's records are really carried anywhere."""
        file_type = self.descriptor.get("destination_file_type", "text")
        return self.destination_type == "OBS" and file_type == "text"

    @property
    def state(self) -> str:
        """The state in the service's words."""
        if self.paused:
            return "PAUSED"
        if not self.is_simulated:
            return guesses.NOT_SIMULATED_STATE
        return "ABNORMAL" if self.failing else "RUNNING"

    @property
    def last_ms(self) -> int:
        """The time of the last delivery; 0 before the first."""
        return max((dump.last_ms for dump in self.partitions.values()), default=0)


class TaskTable:
    """All tasks, by id. A change is one transaction, and is in memory afterwards."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._rows: dict[str, TransferTaskRow] = {}
        connection.execute(_SCHEMA)

    def load(self) -> None:
        """Read all tasks.

        Raises:
            CatalogDamagedError: a row cannot be read.
        """
        try:
            found = self._db.execute("SELECT definition FROM transfer_tasks").fetchall()
            rows = [msgspec.json.decode(text, type=TransferTaskRow) for (text,) in found]
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as exc:
            raise CatalogDamagedError(f"the catalog's dump tasks cannot be read: {exc}") from exc
        self._rows = {row.task_id: row for row in rows}

    def __iter__(self) -> Iterator[TransferTaskRow]:
        return iter(self._rows.values())

    def get(self, task_id: str) -> TransferTaskRow | None:
        """Give a task as it is now."""
        return self._rows.get(task_id)

    def of(self, stream_id: str) -> list[TransferTaskRow]:
        """Give a stream's tasks, by name."""
        rows = (row for row in self._rows.values() if row.stream_id == stream_id)
        return sorted(rows, key=lambda row: row.task_name)

    def save(self, *rows: TransferTaskRow) -> None:
        """Write tasks, new or changed: all or none."""
        with transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO transfer_tasks VALUES (?, ?, ?)",
                [(row.task_id, row.stream_id, msgspec.json.encode(row)) for row in rows],
            )
        self._rows.update((row.task_id, row) for row in rows)

    def remove(self, task_id: str) -> None:
        """Remove a task."""
        self._db.execute("DELETE FROM transfer_tasks WHERE task_id = ?", (task_id,))
        del self._rows[task_id]

    def forget(self, stream_id: str) -> None:
        """Drop the tasks of a stream that the catalog has removed, and them with it."""
        for row in self.of(stream_id):
            del self._rows[row.task_id]
