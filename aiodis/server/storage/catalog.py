"""What the embedded DIS knows besides records: streams, apps, checkpoints; in SQLite.

The catalog says what exists; the logs say which sequences are taken. A change is
one transaction. With WAL and `synchronous=NORMAL` a change is with the operating
system before its answer goes out, so it survives the end of the process
(`kill -9`). A loss of power may cost the last changes, never the catalog, unless a
`sync` came between.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from aiodis.errors import DISError
from aiodis.server.storage.segment import sync_file
from aiodis.server.storage.transaction import transaction

__all__ = [
    "AppRow",
    "Catalog",
    "CatalogDamagedError",
    "ChangeRow",
    "CheckpointRow",
    "PartitionRow",
    "PartitionStatus",
    "ScalingRow",
    "StreamRow",
]

VERSION: Final = 1

# A stream that was removed stays here until its log is gone too, so that a start can tell what
# is left of a removal from a log whose stream the catalog has lost. What is here is the name of
# the log's folder, which is the stream's id unless the log was replaced.
_REMOVED: Final = """
CREATE TABLE IF NOT EXISTS removed_streams (stream_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_SCHEMA: Final = """
CREATE TABLE streams (
    stream_id   TEXT PRIMARY KEY,
    stream_name TEXT NOT NULL UNIQUE,
    definition  BLOB NOT NULL  -- a StreamRow as JSON
) WITHOUT ROWID;
CREATE TABLE apps (
    app_name  TEXT PRIMARY KEY,
    app_id    TEXT NOT NULL,
    create_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE checkpoints (
    app_name  TEXT NOT NULL REFERENCES apps ON DELETE CASCADE,
    stream_id TEXT NOT NULL REFERENCES streams ON DELETE CASCADE,
    partition INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    metadata  TEXT,
    PRIMARY KEY (app_name, stream_id, partition)
) WITHOUT ROWID;
CREATE INDEX checkpoints_of_stream ON checkpoints (stream_id);
"""

PartitionStatus = Literal["ACTIVE", "DELETED", "EXPIRED"]


_LOST: Final = "it is missing or empty, but the logs of streams are there"


class CatalogDamagedError(DISError):
    """The catalog of a data folder cannot be read, or is of a later version of aiodis."""


class PartitionRow(msgspec.Struct, frozen=True):
    """A partition; its number is its place in the stream's list."""

    status: PartitionStatus = "ACTIVE"
    deleted_ms: int = 0


class ScalingRow(msgspec.Struct, frozen=True):
    """One change of a stream's number of partitions."""

    at_ms: int
    source: int
    target: int
    is_auto: bool = False
    is_done: bool = True
    message: str | None = None


class ChangeRow(msgspec.Struct, frozen=True):
    """A change of a stream that is under way: its making, or (with a target) a scaling."""

    since_ms: int
    target: int | None = None
    is_auto: bool = False


class StreamRow(msgspec.Struct, frozen=True):
    """A stream, but for its records."""

    stream_name: str
    stream_id: str
    create_ms: int
    modified_ms: int
    stream_type: str
    data_type: str
    retention_hours: int
    partitions: tuple[PartitionRow, ...]
    scalings: tuple[ScalingRow, ...] = ()
    change: ChangeRow | None = None
    extra: dict[str, Any] = {}
    """What is only told again: the fields of `streams.create` that change nothing here."""


class AppRow(NamedTuple):
    """An app."""

    app_name: str
    app_id: str
    create_ms: int


class CheckpointRow(NamedTuple):
    """How far an app is in a partition."""

    sequence: int
    metadata: str | None


class Catalog:
    """The one connection to the catalog's database. Each method is one transaction."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._db = connection
        self._write_ahead = None if path is None else path.with_name(f"{path.name}-wal")
        self._synced_changes = 0
        self._sync_failure: OSError | None = None

    @classmethod
    def open(cls, path: Path | None, *, may_begin: bool = True) -> "Catalog":
        """Open the catalog, made if need be and if it may be; None keeps it in memory.

        Raises:
            CatalogDamagedError: the file is no catalog that this version can read, or
                there is none and there should be.
        """
        if path and not may_begin and not path.exists():
            raise CatalogDamagedError(f"the catalog {path} cannot be used: {_LOST}")
        # The engine has one thread at a time, which need not be the one that opened it.
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            _prepare(db, may_begin=may_begin)
        except (sqlite3.DatabaseError, CatalogDamagedError) as exc:
            db.close()
            raise CatalogDamagedError(f"the catalog {path} cannot be used: {exc}") from exc
        return cls(db, path)

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, for modules that keep tables of their own in it."""
        return self._db

    @property
    def is_dirty(self) -> bool:
        """Whether rows were changed that no `sync` has brought to the disk."""
        return self._write_ahead is not None and self._db.total_changes != self._synced_changes

    def sync(self) -> None:
        """Bring every change before the call to the disk. May run in another thread.

        That is what `synchronous=FULL` does, but in the thread of the caller, and once
        for many changes: they are in the write-ahead log, or in the database already,
        which SQLite syncs itself.

        Raises:
            OSError: it failed, and so does each `sync` after it: what is lost is not known.
        """
        if (failure := self._sync_failure) is not None:
            raise OSError(failure.errno, f"an earlier sync failed: {failure.strerror}")
        if self._write_ahead is None:
            return
        # Closed meanwhile, or there is no log of changes: SQLite has synced the database.
        with suppress(sqlite3.ProgrammingError, FileNotFoundError):
            changes = self._db.total_changes
            try:
                sync_file(self._write_ahead)
            except FileNotFoundError:
                raise
            except OSError as exc:
                self._sync_failure = exc
                raise
            self._synced_changes = changes

    def close(self) -> None:
        """Close the database. Repeating it does nothing."""
        self._db.close()

    def streams(self) -> list[StreamRow]:
        """Read all streams.

        Raises:
            CatalogDamagedError: a row cannot be read.
        """
        try:
            rows = self._db.execute("SELECT definition FROM streams").fetchall()
            return [msgspec.json.decode(definition, type=StreamRow) for (definition,) in rows]
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as exc:
            raise CatalogDamagedError(f"the catalog's streams cannot be read: {exc}") from exc

    def save_stream(self, row: StreamRow) -> None:
        """Write a stream, new or changed, and bring it to the disk: its log depends on it."""
        with self._lasting():
            self._db.execute(
                "INSERT INTO streams VALUES (?, ?, ?)"
                " ON CONFLICT (stream_id) DO UPDATE SET definition = excluded.definition",
                (row.stream_id, row.stream_name, msgspec.json.encode(row)),
            )

    def remove_stream(self, stream_id: str, folder: str) -> None:
        """Remove a stream and all checkpoints in it, for good, and note its log's folder.

        `forget_removed` comes later.
        """
        with self._lasting():
            self._db.execute("DELETE FROM streams WHERE stream_id = ?", (stream_id,))
            self.note_removed([folder])

    def removed_streams(self) -> frozenset[str]:
        """Name the folders that may still be there of logs whose streams have them no more."""
        rows = self._db.execute("SELECT stream_id FROM removed_streams")
        return frozenset(stream_id for (stream_id,) in rows)

    def note_removed(self, names: Iterable[str], *, instead_of: Iterable[str] = ()) -> None:
        """Note that the folders of logs are to be removed, and that others are not after all.

        It is no transaction of its own.
        """
        for name in instead_of:
            self.forget_removed(name)
        rows = [(name,) for name in names]
        self._db.executemany("INSERT OR IGNORE INTO removed_streams VALUES (?)", rows)

    def forget_removed(self, name: str) -> None:
        """Note that a folder is gone."""
        self._db.execute("DELETE FROM removed_streams WHERE stream_id = ?", (name,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one transaction of the block."""
        with transaction(self._db):
            yield

    def add_app(self, row: AppRow) -> None:
        """Write a new app."""
        self._db.execute("INSERT INTO apps VALUES (?, ?, ?)", row)

    def remove_app(self, app_name: str) -> None:
        """Remove an app and its checkpoints."""
        self._db.execute("DELETE FROM apps WHERE app_name = ?", (app_name,))

    def app(self, app_name: str) -> AppRow | None:
        """Find an app."""
        found = self._db.execute("SELECT * FROM apps WHERE app_name = ?", (app_name,)).fetchone()
        return AppRow(*found) if found else None

    def apps(self, stream_id: str | None = None) -> list[AppRow]:
        """Read all apps by name, or those that committed in a stream."""
        if stream_id is None:
            rows = self._db.execute("SELECT * FROM apps ORDER BY app_name")
        else:
            rows = self._db.execute(
                "SELECT * FROM apps WHERE app_name IN"
                " (SELECT app_name FROM checkpoints WHERE stream_id = ?) ORDER BY app_name",
                (stream_id,),
            )
        return [AppRow(*row) for row in rows]

    def streams_of_app(self, app_name: str) -> list[str]:
        """Name the streams that an app committed in."""
        rows = self._db.execute(
            "SELECT DISTINCT stream_name FROM checkpoints JOIN streams USING (stream_id)"
            " WHERE app_name = ? ORDER BY stream_name",
            (app_name,),
        )
        return [name for (name,) in rows]

    def commit(self, app_name: str, stream_id: str, partition: int, row: CheckpointRow) -> None:
        """Write a checkpoint over the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?)",
            (app_name, stream_id, partition, *row),
        )

    def checkpoints(self, app_name: str, stream_id: str) -> dict[int, CheckpointRow]:
        """Read an app's checkpoints in a stream, by partition."""
        rows = self._db.execute(
            "SELECT partition, sequence, metadata FROM checkpoints"
            " WHERE app_name = ? AND stream_id = ?",
            (app_name, stream_id),
        )
        return {partition: CheckpointRow(*rest) for partition, *rest in rows}

    def remove_checkpoints(self, app_name: str, stream_id: str, partition: int | None) -> None:
        """Remove one checkpoint, or all of an app in a stream."""
        self._db.execute(
            "DELETE FROM checkpoints WHERE app_name = ? AND stream_id = ?"
            " AND partition = COALESCE(?, partition)",
            (app_name, stream_id, partition),
        )

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        """Make one transaction of the block, on the disk at its end, with all that came before."""
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            with self.transaction():
                yield
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")


def _prepare(db: sqlite3.Connection, *, may_begin: bool) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise CatalogDamagedError(f"it is of version {version}, later than {VERSION}")
    # SQLite finds damage where it comes across it, which may be long after the start.
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise CatalogDamagedError(found)
    if version == 0 and not may_begin:
        raise CatalogDamagedError(_LOST)
    if version == 0:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    db.execute(_REMOVED)
