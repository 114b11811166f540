"""Which folder has a stream's log, in the catalog's database.

A log is replaced as a whole (`restore`, `purge`) by writing another folder and then
this one row. So the row decides, whenever the process dies, and the next start removes
the folders that none names.
"""

import sqlite3
from typing import Final, NamedTuple

__all__ = ["LOG_PLACES", "LogPlace", "LogPlaces"]

LOG_PLACES: Final = "log_places"

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS {LOG_PLACES} (
    stream_id   TEXT PRIMARY KEY REFERENCES streams ON DELETE CASCADE,
    folder      TEXT NOT NULL,
    incarnation TEXT NOT NULL
) WITHOUT ROWID
"""


class LogPlace(NamedTuple):
    """Where a log is. Cursors know the incarnation, which changes when a restore replaces it."""

    folder: str
    incarnation: str = ""


class LogPlaces:
    """The places of the logs; one that was never replaced has its stream's id, and no row."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.execute(_SCHEMA)

    def of(self, stream_id: str) -> LogPlace:
        """Give the place of a stream's log."""
        found = self._db.execute(
            f"SELECT folder, incarnation FROM {LOG_PLACES} WHERE stream_id = ?",  # noqa: S608
            (stream_id,),
        ).fetchone()
        return LogPlace(*found) if found else LogPlace(stream_id)

    def save(self, stream_id: str, place: LogPlace) -> None:
        """Write a place over the one before."""
        self._db.execute(
            f"INSERT OR REPLACE INTO {LOG_PLACES} VALUES (?, ?, ?)",  # noqa: S608
            (stream_id, *place),
        )
