"""All rows of a catalog as plain values, and their way back."""

import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

__all__ = ["Table", "read_tables", "write_tables"]


class Table(msgspec.Struct, frozen=True, array_like=True):
    """The rows of a table, each with its values in the order of the columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def read_tables(db: sqlite3.Connection, *, but: Collection[str] = ()) -> dict[str, Table]:
    """Read all tables, by name."""
    found = {}
    for name in sorted(_names(db) - set(but)):
        cursor = db.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - a name of our own
        found[name] = Table(_columns(cursor), cursor.fetchall())
    return found


def write_tables(
    db: sqlite3.Connection,
    tables: Mapping[str, Table],
    *,
    keep: bool,
    but: Collection[str] = (),
) -> None:
    """Write rows into the tables of their names, instead of all rows or (`keep`) besides them.

    The tables of `but` stay as they are.

    Raises:
        sqlite3.Error: there is no such table or column, or a row contradicts another.
    """
    names = _names(db) - set(but)
    if not keep:
        for name in names:
            db.execute(f'DELETE FROM "{name}"')  # noqa: S608 - a name of our own
    for name, table in tables.items():
        # What comes from a file is never SQL.
        if name not in names:
            raise sqlite3.OperationalError(f"no such table: {name}")
        known = _columns(db.execute(f'SELECT * FROM "{name}" LIMIT 0'))  # noqa: S608
        if not set(table.columns) <= set(known):
            raise sqlite3.OperationalError(f"no such columns in {name}: {table.columns}")
        columns = ", ".join(f'"{column}"' for column in table.columns)
        values = ", ".join("?" * len(table.columns))
        insert = f'INSERT INTO "{name}" ({columns}) VALUES ({values})'  # noqa: S608
        db.executemany(insert, table.rows)


def _columns(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    return tuple(column[0] for column in cursor.description)


def _names(db: sqlite3.Connection) -> set[str]:
    rows = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    return {name for (name,) in rows}
