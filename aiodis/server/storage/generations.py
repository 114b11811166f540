"""The last generation of each consumer group, in the catalog's database."""

import sqlite3

__all__ = ["Generations"]

# A row outlives its app: a group made anew under the name goes on counting, so that nobody
# of the group before it can pass for a member.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS group_generations (
    app_name   TEXT PRIMARY KEY,
    generation INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Generations:
    """Reads and writes generations. Each method is one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.execute(_SCHEMA)

    def load(self, app_name: str) -> int:
        """Give the last generation of an app's group; 0 before the first."""
        found = self._db.execute(
            "SELECT generation FROM group_generations WHERE app_name = ?", (app_name,)
        ).fetchone()
        return int(found[0]) if found else 0

    def save(self, app_name: str, generation: int) -> None:
        """Write an app's generation over the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO group_generations VALUES (?, ?)", (app_name, generation)
        )
