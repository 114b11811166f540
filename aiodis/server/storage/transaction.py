"""One transaction of several statements, whatever becomes of it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["transaction"]


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Make one transaction of the block: all of it is kept, or nothing.

    None is left open, also where the commit itself fails: what came later would be in
    it, and never be kept. On a full disk SQLite ends it by itself.
    """
    db.execute("BEGIN")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
