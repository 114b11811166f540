"""All that a project holds, as plain values, and the exchange of it for something else.

An exchange writes the new logs into folders of their own, and then, in one transaction of
the catalog, the rows and the folders' names. So the transaction decides: a process that
dies before its end leaves what was, one that dies later leaves what is new, and the next
start removes the folders of the other.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import msgspec

from aiodis.errors import DISError
from aiodis.server.state import State, Stream, new_id
from aiodis.server.storage import LogDamagedError, RecordLog, SegmentContent
from aiodis.server.storage.catalog import CatalogDamagedError
from aiodis.server.storage.log_places import LOG_PLACES, LogPlace
from aiodis.server.storage.tables import Table, read_tables, write_tables
from aiodis.server.storage.transfer_tasks import TaskTable

__all__ = ["Content", "Exchange", "StateError", "content_of"]


# What these say is of the folders, not of the content.
_NO_CONTENT: Final = (LOG_PLACES, "removed_streams")

_UNFIT: Final = (OSError, ValueError, sqlite3.Error, LogDamagedError, CatalogDamagedError)


class StateError(DISError):
    """What was asked of the server's state cannot be done. Nothing was changed."""


class Content(msgspec.Struct, frozen=True):
    """The rows of a catalog, and the segments of the logs by the ids of their streams."""

    tables: dict[str, Table] = {}
    logs: dict[str, list[SegmentContent]] = {}


def content_of(state: State) -> Content:
    """Take all that is there now."""
    state.history.write()
    return Content(
        read_tables(state.catalog.connection, but=_NO_CONTENT),
        {stream.row.stream_id: stream.log.contents() for stream in state.streams()},
    )


class Exchange:
    """A change of all that a state holds, or (`keep`) an addition to it.

    Entered, it is written, so that only `commit` is left; left without that, it is undone.
    """

    def __init__(self, state: State, content: Content, *, keep: bool) -> None:
        self._state, self._content, self._keep = state, content, keep
        self._logs: dict[str, RecordLog] = {}
        self._gone = state.log_folders()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Write everything.

        Raises:
            StateError: it contradicts itself or what is there, or cannot be written.
        """
        try:
            self._write_rows(self._write_logs())
        except BaseException as exc:
            self._undo.close()
            if isinstance(exc, _UNFIT):
                raise StateError(f"the state stays as it was: {exc}") from exc
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def commit(self) -> State:
        """Let it be. Give the state to go on with; with `keep` that is the one there was.

        Raises:
            sqlite3.Error: the system does not take it; nothing was changed.
        """
        self._state.catalog.connection.execute("COMMIT")
        self._undo.pop_all()
        if self._keep:
            self._state.load(self._logs)
            return self._state
        return self._state.successor(self._logs, self._gone)

    def _write_logs(self) -> dict[str, LogPlace]:
        places = {stream_id: self._place(stream_id) for stream_id in self._content.logs}
        if self._state.is_on_disk:
            with self._state.catalog.transaction():
                self._state.catalog.note_removed(place.folder for place in places.values())
        for stream_id, segments in self._content.logs.items():
            place = places[stream_id]
            folder = self._state.path_of(place)
            if folder is not None:
                self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
            log = RecordLog.made_of(folder, segments)
            self._undo.callback(log.close)
            self._logs[stream_id] = log
        return places

    def _place(self, stream_id: str) -> LogPlace:
        if not stream_id.isalnum():  # it becomes the name of a folder
            raise ValueError(f"{stream_id!r} is no stream's id")
        if self._keep:
            return LogPlace(stream_id)
        incarnation = new_id()  # cursors of the log that was there are not this one's
        return LogPlace(f"{stream_id}.{incarnation}", incarnation)

    def _write_rows(self, places: Mapping[str, LogPlace]) -> None:
        catalog = self._state.catalog
        catalog.connection.execute("BEGIN IMMEDIATE")
        self._undo.callback(self._roll_back)
        catalog.connection.execute("PRAGMA defer_foreign_keys = ON")
        write_tables(catalog.connection, self._content.tables, keep=self._keep, but=_NO_CONTENT)
        for stream_id, place in places.items():
            self._state.places.save(stream_id, place)
        if self._state.is_on_disk:
            gone = () if self._keep else self._gone
            mine = [place.folder for place in places.values()]
            catalog.note_removed([folder.name for folder in gone], instead_of=mine)
        # All that is read anew is read now, as nothing may fail once it is committed.
        TaskTable(catalog.connection).load()
        rows = {row.stream_id: row for row in catalog.streams()}
        expected = self._logs.keys() & rows.keys() if self._keep else rows.keys()
        if self._logs.keys() != expected:
            raise ValueError("the streams and their records do not match")
        for stream_id, log in self._logs.items():
            Stream(rows[stream_id], log, self._state.history)

    def _roll_back(self) -> None:
        db = self._state.catalog.connection
        if db.in_transaction:  # the system ends it by itself when the disk is full
            db.execute("ROLLBACK")
