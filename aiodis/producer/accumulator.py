"""Accepted records, waiting by partition.

Plain code: a record's receipt is an object nobody here looks into. Order is the
order of acceptance, kept through everything that is put back.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from aiodis.record import Record

__all__ = ["Entry", "Epoch", "PartitionQueue"]


class Epoch:
    """What was accepted between two flushes, and what became of it."""

    __slots__ = ("accepted", "delivered", "failed")

    def __init__(self) -> None:
        self.accepted = self.delivered = self.failed = 0

    @property
    def pending(self) -> int:
        """How many have no outcome yet."""
        return self.accepted - self.delivered - self.failed


class Entry:
    """One accepted record until its outcome. It stands in for a `Record` when encoded."""

    __slots__ = (
        "ambiguous",
        "attempts",
        "callback",
        "data",
        "deadline",
        "epoch",
        "explicit_hash_key",
        "lane",
        "order",
        "partition_id",
        "partition_key",
        "pinned",
        "receipt",
        "settled",
        "size",
        "spread",
        "timestamp_ms",
    )

    def __init__(
        self,
        record: Record,
        *,
        size: int,
        order: int,
        deadline: float,
        epoch: Epoch,
        receipt: Any,
        callback: Any = None,
    ) -> None:
        self.data = record.data
        self.partition_key = record.partition_key
        self.explicit_hash_key = record.explicit_hash_key
        self.partition_id = record.partition_id
        self.timestamp_ms = record.timestamp_ms
        self.pinned = record.partition_id is not None
        self.spread = (
            record.partition_key is None and record.explicit_hash_key is None and not self.pinned
        )
        self.size, self.order, self.deadline = size, order, deadline
        self.epoch, self.receipt, self.callback = epoch, receipt, callback
        self.attempts = 0
        self.ambiguous = self.settled = False
        self.lane: Any = None


class PartitionQueue:
    """One partition's waiting records, oldest first.

    Invariant: `size` is the sum of the data bytes of `entries`, which are
    sorted by `order`.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.size = 0
        self.since = 0.0
        """When the oldest batch began to linger."""
        self.due = False
        """Whether what waits goes without lingering further."""
        self.highest_delivered = -1

    def append(self, entry: Entry, now: float) -> None:
        """Add the newest record."""
        if not self.entries:
            self.since = now
        self.entries.append(entry)
        self.size += len(entry.data)

    def ready_at(self, *, linger: float, max_records: int, max_bytes: int) -> float | None:
        """Say when a batch may go: None when nothing waits, a past time when it is full or due."""
        if not self.entries:
            return None
        if self.due or len(self.entries) >= max_records or self.size >= max_bytes:
            return 0.0
        return self.since + linger

    def take(self, now: float, *, max_records: int, max_bytes: int) -> list[Entry]:
        """Take a batch off the head: at least one record, then as many as fit."""
        taken: list[Entry] = []
        size = 0
        entries = self.entries
        while entries and len(taken) < max_records:
            more = len(entries[0].data)
            if taken and size + more > max_bytes:
                break
            size += more
            taken.append(entries.popleft())
        self.size -= size
        self.since = now
        if not entries:
            self.due = False
        return taken

    def expire(self, now: float) -> list[Entry]:
        """Take off the records whose time is over; they are the oldest ones."""
        gone: list[Entry] = []
        while self.entries and self.entries[0].deadline <= now:
            gone.append(self.entries.popleft())
        self.size -= sum(len(entry.data) for entry in gone)
        if not self.entries:
            self.due = False
        return gone

    def put_back(self, entries: Iterable[Entry], now: float) -> None:
        """Return records to their place in the order."""
        merged = sorted([*entries, *self.entries], key=lambda entry: entry.order)
        if not self.entries:
            self.since = now
        self.entries = deque(merged)
        self.size = sum(len(entry.data) for entry in merged)
        self.due = True

    def drain(self) -> list[Entry]:
        """Take everything."""
        taken = list(self.entries)
        self.entries.clear()
        self.size, self.due = 0, False
        return taken
