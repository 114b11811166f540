"""Events and subscriptions to them, in the catalog's database."""

import sqlite3

import msgspec

__all__ = ["EventRow", "EventStore", "SubscriptionRow"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    event  BLOB NOT NULL  -- an EventRow as JSON
);
CREATE TABLE IF NOT EXISTS event_subscriptions (
    subscription_id TEXT PRIMARY KEY,
    definition      BLOB NOT NULL  -- a SubscriptionRow as JSON
) WITHOUT ROWID;
"""


class EventRow(msgspec.Struct, frozen=True):
    """Something that happened."""

    event_id: str
    type_id: str
    at_ms: int
    description: str
    source_name: str
    source_id: str


class SubscriptionRow(msgspec.Struct, frozen=True):
    """Who wants to be told of what."""

    subscription_id: str
    name: str
    topic_name: str
    topic_type: int = 0
    topic_urn: str | None = None
    enable: bool = False
    event_ids: tuple[str, ...] = ()
    stream_ids: tuple[str, ...] = ()


class EventStore:
    """Reads and writes both. Each method is one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.executescript(_SCHEMA)

    def add(self, row: EventRow) -> None:
        """Write an event."""
        self._db.execute(
            "INSERT INTO events (at_ms, event) VALUES (?, ?)", (row.at_ms, msgspec.json.encode(row))
        )

    def trim(self, before_ms: int, most: int) -> None:
        """Remove what happened before a time, and all but the last `most` events."""
        self._db.execute(
            "DELETE FROM events WHERE at_ms < ? OR number <= (SELECT MAX(number) FROM events) - ?",
            (before_ms, most),
        )

    def events(self, since_ms: int) -> list[EventRow]:
        """Read what happened since a time, the last event first."""
        rows = self._db.execute(
            "SELECT event FROM events WHERE at_ms >= ? ORDER BY number DESC", (since_ms,)
        )
        return [msgspec.json.decode(event, type=EventRow) for (event,) in rows]

    def save_subscription(self, row: SubscriptionRow) -> None:
        """Write a subscription, new or changed."""
        self._db.execute(
            "INSERT OR REPLACE INTO event_subscriptions VALUES (?, ?)",
            (row.subscription_id, msgspec.json.encode(row)),
        )

    def remove_subscription(self, subscription_id: str) -> None:
        """Remove a subscription."""
        self._db.execute(
            "DELETE FROM event_subscriptions WHERE subscription_id = ?", (subscription_id,)
        )

    def subscriptions(self) -> list[SubscriptionRow]:
        """Read all subscriptions, by name."""
        rows = self._db.execute("SELECT definition FROM event_subscriptions")
        found = [msgspec.json.decode(definition, type=SubscriptionRow) for (definition,) in rows]
        return sorted(found, key=lambda row: row.name)
