"""The nouns both paths share: what goes in, its receipt, and what comes out."""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "Batch",
    "Fence",
    "ReceivedRecord",
    "Record",
    "RecordMetadata",
    "partition_name",
    "partition_number",
]

_PREFIX: Final = "shardId-"


def partition_name(number: int) -> str:
    """Spell a partition's number as the service does: `shardId-0000000000`."""
    return f"{_PREFIX}{number:010d}"


def partition_number(partition_id: str) -> int:
    """Read a partition id in either of its two forms, `0` or `shardId-0000000000`.

    Raises:
        ValueError: it is neither.
    """
    digits = partition_id.removeprefix(_PREFIX)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        raise ValueError(f"not a partition id: {partition_id[:40]!r}")
    return int(digits)


@dataclass(frozen=True, slots=True)
class Record:
    """One record to put.

    `partition_id` beats `explicit_hash_key`, which beats `partition_key`; with
    none of them the records are spread over the partitions. `timestamp_ms` is
    *seen in the SDK*, not in the reference; without it the service sets its own.
    """

    data: bytes = field(repr=False)
    partition_key: str | None = None
    explicit_hash_key: int | None = None
    partition_id: str | None = None
    timestamp_ms: int | None = None


class RecordMetadata(msgspec.Struct, frozen=True, gc=False):
    """Where a record went.

    `sequence_number` is -1 where the service named none. `attempts` counts the tries
    of its request. `reordered` says that a record accepted later for the same
    partition was written before this one.
    """

    partition_id: str
    sequence_number: int
    attempts: int = 1
    reordered: bool = False


class ReceivedRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """One record as read. `timestamp` is in milliseconds since the epoch."""

    sequence_number: int
    data: bytes
    partition_key: str | None = None
    timestamp: int = 0
    timestamp_type: str = "CreateTime"
    partition_id: str = ""
    # Not of the wire, hence its name there, which no answer has; and `Any`, as msgspec asks for.
    deserializer: Any = msgspec.field(default=None, name="aiodis.deserializer")

    @property
    def value(self) -> Any:
        """What the consumer's `deserializer` makes of the data, anew at each access.

        It is made where it is used, so that what it raises is a failure of this
        record alone. Without a deserializer it is the data.
        """
        return self.data if self.deserializer is None else self.deserializer(self.data)


class Batch(NamedTuple):
    """Consecutive records of one partition, oldest first."""

    partition_id: str
    records: list[ReceivedRecord]
    next_sequence_number: int


class Fence(NamedTuple):
    """What a commit carries, so that the service refuses it from a member that lost its place."""

    client_id: str
    generation_id: int
