"""Which partition a record goes to, as the service decides it.

The rule is *seen in the SDK* (its hash and its ranges, facts 4). The service
always decides itself: what is computed here serves batching, pacing and order.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import md5
from typing import Final, NamedTuple

__all__ = ["MAX_HASH", "HashRange", "PartitionMap", "even_ranges", "hash_key", "parse_range"]

MAX_HASH: Final = 2**63 - 1

_RANGE = re.compile(r"^\s*\[\s*(-?\d+)\s*:\s*(-?\d+)\s*\]\s*$")


class HashRange(NamedTuple):
    """Both ends belong to the range."""

    first: int
    last: int


def hash_key(partition_key: str) -> int:
    """Hash a partition key: the first 8 bytes of its MD5, big-endian, without the sign bit."""
    digest = md5(partition_key.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") & MAX_HASH


def even_ranges(count: int) -> list[HashRange]:
    """Divide all hashes over `count` partitions: [0, a], [a+1, 2a], …; the last takes the rest."""
    step = MAX_HASH // count
    firsts = [0, *(step * index + 1 for index in range(1, count))]
    lasts = [*(step * index for index in range(1, count)), MAX_HASH]
    return [HashRange(*pair) for pair in zip(firsts, lasts, strict=True)]


def parse_range(text: str | None) -> tuple[int, int] | None:
    """Read `"[0 : 42]"`; None where the service has no range to tell (facts 4)."""
    match = _RANGE.match(text or "")
    return (int(match[1]), int(match[2])) if match else None


class PartitionMap:
    """The ACTIVE partitions and their hash ranges, to look hashes up in."""

    def __init__(self, ranges: Iterable[tuple[int, HashRange]]) -> None:
        ordered = sorted(ranges, key=lambda pair: pair[1].last)
        self.partitions: Sequence[int] = [number for number, _ in ordered]
        self._lasts = [span.last for _, span in ordered]

    def find(self, hashed: int) -> int:
        """Give the partition whose range holds the hash."""
        index = bisect_left(self._lasts, hashed)
        return self.partitions[min(index, len(self.partitions) - 1)]
