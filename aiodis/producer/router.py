"""Where a record will go: the service's own rule.

The answer of the service is checked against this prediction; a mismatch means
that the map is old.
"""

from collections.abc import Sequence
from typing import Final

from aiodis.api.streams import Partition
from aiodis.record import partition_name, partition_number
from aiodis.wire.routing import HashRange, PartitionMap, even_ranges, hash_key, parse_range

__all__ = ["Router"]


class Router:
    """Looks up partitions; made anew with each description of the stream."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        active = sorted(
            (partition_number(p.partition_id), parse_range(p.hash_range))
            for p in partitions
            if p.status == "ACTIVE"
        )
        if not active:
            raise ValueError("the stream has no ACTIVE partition")
        # An unreadable range ("scaling in progress", facts 4) falls back on the service's rule.
        spans = [HashRange(*span) for _, span in active if span is not None]
        if len(spans) != len(active):
            spans = even_ranges(len(active))
        self.active: Final = [number for number, _ in active]
        self.names: Final = {number: partition_name(number) for number in self.active}
        self._map = PartitionMap(zip(self.active, spans, strict=True))
        self._turn = 0

    def route(
        self,
        partition_key: str | None,
        explicit_hash_key: int | None,
        partition_id: str | None,
    ) -> int:
        """Give the partition's number: id beats hash beats key; with none, each in turn."""
        if partition_id is not None:
            return partition_number(partition_id)
        if explicit_hash_key is not None:
            return self._map.find(explicit_hash_key)
        if partition_key is None:
            self._turn = (self._turn + 1) % len(self.active)
            return self.active[self._turn]
        return self._map.find(hash_key(partition_key))
