"""What a partition takes and gives in a second: token buckets, told the time.

The rates are those of `aiodis.api.limits`. A bucket holds one second's worth,
which is guessed (`guesses.BURST_MS`).
"""

from collections.abc import Sequence

from aiodis.api.limits import StreamLimits
from aiodis.server import guesses

__all__ = ["Bucket", "PartitionLimits"]


class Bucket:
    """A level that rises by `rate` each second up to the burst. It may be taken below zero."""

    __slots__ = ("_at_ms", "_most", "_rate", "level")

    def __init__(self, rate: int, now_ms: int) -> None:
        self._rate = rate
        self._most = rate * guesses.BURST_MS / 1000
        self._at_ms = now_ms
        self.level = self._most

    def settle(self, now_ms: int) -> float:
        """Bring the level up to now, and tell it. A clock that went back adds nothing."""
        passed = now_ms - self._at_ms
        if passed:
            self._at_ms = now_ms
            if passed > 0:
                self.level = min(self._most, self.level + passed * self._rate / 1000)
        return self.level


class PartitionLimits:
    """The three buckets of one partition."""

    __slots__ = ("_read", "_write_bytes", "_write_records")

    def __init__(self, rates: StreamLimits, now_ms: int) -> None:
        self._write_bytes = Bucket(rates.write_bytes, now_ms)
        self._write_records = Bucket(rates.write_records, now_ms)
        self._read = Bucket(rates.read_bytes, now_ms)

    def admit(self, sizes: Sequence[int], now_ms: int) -> int:
        """Take the first records of a request that fit, and tell how many these are."""
        room, places = self._write_bytes.settle(now_ms), self._write_records.settle(now_ms)
        total, admitted = sum(sizes), len(sizes)
        if total > room or admitted > places:
            total = admitted = 0
            for size in sizes:
                if total + size > room or admitted + 1 > places:
                    break  # guesses.THROTTLES_THE_REST
                total += size
                admitted += 1
        self._write_bytes.level -= total
        self._write_records.level -= admitted
        return admitted

    def may_read(self, now_ms: int) -> bool:
        """Say whether the reads before this one are paid for."""
        return self._read.settle(now_ms) > 0

    def take_read(self, data_bytes: int) -> None:
        """Charge what a read delivered."""
        self._read.level -= data_bytes
