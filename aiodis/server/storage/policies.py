"""The policies of streams, in the catalog's database: who of another account may do what."""

import json
from typing import Final, NamedTuple

from aiodis.server.storage.catalog import Catalog

__all__ = ["PolicyRow", "PolicyTable"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS policies (
    stream_id   TEXT NOT NULL REFERENCES streams ON DELETE CASCADE,
    principal   TEXT NOT NULL,  -- account.user or account.*
    action_type TEXT NOT NULL,
    effect      TEXT NOT NULL,
    PRIMARY KEY (stream_id, principal, action_type, effect)
) WITHOUT ROWID
"""


class PolicyRow(NamedTuple):
    """One permission on a stream."""

    principal: str
    action_type: str
    effect: str


class PolicyTable:
    """The policies of one project's streams. They go with their stream."""

    def __init__(self, catalog: Catalog) -> None:
        self._db = catalog.connection
        self._db.execute(_SCHEMA)

    def add(self, stream_id: str, principals: list[str], action_type: str, effect: str) -> None:
        """Write a policy for each principal; one that is there stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO policies SELECT ?, value, ?, ? FROM json_each(?)",
            (stream_id, action_type, effect, json.dumps(principals)),
        )

    def remove(self, stream_id: str, principals: list[str], action_type: str, effect: str) -> None:
        """Remove the policy of each principal."""
        self._db.execute(
            "DELETE FROM policies WHERE stream_id = ? AND action_type = ? AND effect = ?"
            " AND principal IN (SELECT value FROM json_each(?))",
            (stream_id, action_type, effect, json.dumps(principals)),
        )

    def of_stream(self, stream_id: str) -> list[PolicyRow]:
        """Read a stream's policies."""
        rows = self._db.execute(
            "SELECT principal, action_type, effect FROM policies WHERE stream_id = ?", (stream_id,)
        )
        return [PolicyRow(*row) for row in rows]
