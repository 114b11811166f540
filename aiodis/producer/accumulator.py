"""Accepted records, waiting by partition.

Plain code. Order is the order of acceptance, kept through everything that is put
back.
"""

import sys
from collections.abc import Iterable
from typing import Any

from aiodis.producer.receipt import Receipt
from aiodis.record import Record

__all__ = ["Entry", "PartitionQueue", "Route"]


class Route:
    """Where records go that are routed alike; made once a key, shared by all its records.

    `tail` is the codec's encoding of it. `lane` is the lane it was assigned to.
    `spread` records have no key, and `pinned` ones a partition of the user's choice.
    """

    __slots__ = (
        "explicit_hash_key",
        "lane",
        "partition_id",
        "partition_key",
        "pinned",
        "queue",
        "spread",
        "tail",
        "timestamp_ms",
        "weight",
    )

    def __init__(self, record: Record, *, lane: Any, weight: int) -> None:
        self.partition_key = record.partition_key
        self.explicit_hash_key = record.explicit_hash_key
        self.timestamp_ms = record.timestamp_ms
        self.partition_id = record.partition_id
        self.pinned = record.partition_id is not None
        self.spread = (
            record.partition_key is None and record.explicit_hash_key is None and not self.pinned
        )
        if self.spread:
            self.partition_id = lane.name  # spread by us: the service is told where
        self.lane = lane
        self.queue: PartitionQueue = lane.queue
        self.weight = weight
        self.tail = b""

    def record(self, data: bytes) -> Record:
        """Make the record as it was given, to be routed anew."""
        return Record(
            data,
            self.partition_key,
            self.explicit_hash_key,
            self.partition_id if self.pinned else None,
            self.timestamp_ms,
        )


class Entry(Receipt, gc=False, eq=False):
    """One accepted record until its outcome, and its receipt.

    One object, since a second one is 4 % of a record's time. It stands in for a
    `Record` when encoded, and lets go of the data when it has its outcome. A struct
    without garbage collection: there are as many as records wait, and none is part of
    a cycle once it left its queue.
    """

    data: bytes
    route: Any
    order: int
    deadline: float
    attempts: int = 0
    ambiguous: bool = False
    admitted: bool = True

    @property
    def settled(self) -> bool:
        """Whether it has its outcome."""
        return self._outcome is not None

    @property
    def partition_key(self) -> str | None:
        """The record's key."""
        key: str | None = self.route.partition_key
        return key

    @property
    def explicit_hash_key(self) -> int | None:
        """The record's hash."""
        hashed: int | None = self.route.explicit_hash_key
        return hashed

    @property
    def partition_id(self) -> str | None:
        """The partition the service is told, if it is."""
        partition_id: str | None = self.route.partition_id
        return partition_id

    @property
    def timestamp_ms(self) -> int | None:
        """The record's own time."""
        timestamp: int | None = self.route.timestamp_ms
        return timestamp


class PartitionQueue:
    """One partition's waiting records, oldest first.

    Invariant: `size` is the sum of the data bytes of `entries`, which are
    sorted by `order`.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.size = 0
        self.since = 0.0
        """When the oldest batch began to linger."""
        self.due = False
        """Whether what waits goes without lingering further."""
        self.look_count = self.look_size = sys.maxsize
        """From how many records on, or bytes, the lane wants to look when one is added."""
        self.highest_delivered = -1

    def watch(self, count: int, size: int) -> None:
        """Have the lane look when a record is added from this on."""
        self.look_count, self.look_size = count, size

    def unwatch(self) -> None:
        """Have it look no more."""
        self.watch(sys.maxsize, sys.maxsize)

    def ready_at(self, *, linger: float, max_records: int, max_bytes: int) -> float | None:
        """Say when a batch may go: None when nothing waits, a past time when it is full or due."""
        if not self.entries:
            return None
        if self.due or len(self.entries) >= max_records or self.size >= max_bytes:
            return 0.0
        return self.since + linger

    def take(self, now: float, *, max_records: int, max_bytes: int) -> tuple[list[Entry], int]:
        """Take a batch off the head, and say its bytes of data.

        It holds at least one record, then as many as fit.
        """
        self.since = now
        entries = self.entries
        if len(entries) <= max_records and self.size <= max_bytes:
            size, self.size = self.size, 0
            self.entries, self.due = [], False
            return entries, size
        count = size = 0
        for entry in entries[:max_records]:
            more = len(entry.data)
            if count and size + more > max_bytes:
                break
            count += 1
            size += more
        taken = entries[:count]
        del entries[:count]
        self.size -= size
        if not entries:
            self.due = False
        return taken, size

    def expire(self, now: float) -> list[Entry]:
        """Take off the records whose time is over; they are the oldest ones."""
        count = 0
        for entry in self.entries:
            if entry.deadline > now:
                break
            count += 1
        gone = self.entries[:count]
        del self.entries[:count]
        self.size -= sum(len(entry.data) for entry in gone)
        if not self.entries:
            self.due = False
        return gone

    def put_back(self, entries: Iterable[Entry], now: float) -> None:
        """Return records to their place in the order."""
        if not self.entries:
            self.since = now
        self.entries = sorted([*entries, *self.entries], key=lambda entry: entry.order)
        self.size = sum(len(entry.data) for entry in self.entries)
        self.due = True

    def drain(self) -> list[Entry]:
        """Take everything."""
        taken, self.entries = self.entries, []
        self.size, self.due = 0, False
        return taken
