"""One partition's rate, in bytes and in records, on aiolimiter.

aiolimiter serves its waiters by amount, not in order, and refuses more than
its capacity at once. So a limiter here has one waiter at a time, which asks once
per batch and takes it in pieces. A full bucket at the start would double the
first second, so the period is a quarter of one.
"""

from typing import Final

from aiolimiter import AsyncLimiter

__all__ = ["PERIOD_S", "PartitionLimiter"]

PERIOD_S: Final = 0.25

# A hair below the limit: no rounding, here or at the service, makes it look exceeded.
_MARGIN: Final = 0.999


class PartitionLimiter:
    """Lets bytes and records of one partition pass at a rate. One waiter at a time."""

    def __init__(self, *, bytes_per_s: float, records_per_s: float | None = None) -> None:
        self._bytes = _limiter(bytes_per_s)
        self._records = _limiter(records_per_s) if records_per_s else None
        self.batch_bytes = int(self._bytes.max_rate)
        """What passes in one period: batches no larger than this are not cut into pieces."""
        self.batch_records = int(self._records.max_rate) if self._records else None

    async def acquire(self, size: int, count: int = 0) -> None:
        """Wait until `size` bytes and `count` records may pass.

        Cancelled while it waits, what was taken so far stays taken: the rate
        is kept, at the cost of a part of one batch.
        """
        if self._records is not None:
            await _take(self._records, count)
        await _take(self._bytes, size)


def _limiter(per_s: float) -> AsyncLimiter:
    # A rate too low for one whole unit a period has a longer one.
    period_s = max(PERIOD_S, 1 / (per_s * _MARGIN))
    return AsyncLimiter(per_s * period_s * _MARGIN, period_s)


async def _take(limiter: AsyncLimiter, amount: int) -> None:
    while amount > 0:
        piece = min(amount, max(1, int(limiter.max_rate)))
        await limiter.acquire(piece)
        amount -= piece
