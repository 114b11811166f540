"""One partition's rate, in bytes and in records, on aiolimiter.

aiolimiter serves its waiters by amount, not in order, and refuses more than
its capacity at once. So a limiter here lets one waiter in at a time, which asks
once per batch and takes it in pieces. A full bucket at the start would double the
first second, so the period is a quarter of one.
"""

import asyncio
from functools import cached_property
from typing import Final

from aiolimiter import AsyncLimiter

from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.pacing.adaptive import Share

__all__ = ["PERIOD_S", "PartitionLimiter"]

PERIOD_S: Final = 0.25

# A hair below the limit: no rounding, here or at the service, makes it look exceeded.
_MARGIN: Final = 0.999


class PartitionLimiter:
    """Lets bytes and records of one partition pass at a rate, or at a share of it."""

    def __init__(
        self,
        *,
        bytes_per_s: float,
        records_per_s: float | None = None,
        adaptive: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._bytes = _limiter(bytes_per_s, clock)
        self._records = _limiter(records_per_s, clock) if records_per_s else None
        self._share = Share() if adaptive else None
        self._turn = asyncio.Lock()
        self.batch_bytes = max(1, int(self._bytes.max_rate))
        """What passes in one period: batches no larger than this are not cut into pieces."""
        self.batch_records = max(1, int(self._records.max_rate)) if self._records else None

    async def acquire(self, size: int, count: int = 0) -> None:
        """Wait until `size` bytes and `count` records may pass.

        Cancelled while it waits, what was taken so far stays taken: the rate
        is kept, at the cost of a part of one batch.
        """
        async with self._turn:
            share = self.share
            if self._records is not None:
                await _take(self._records, count / share)
            await _take(self._bytes, size / share)

    def throttled(self) -> None:
        """Take in that the service found this too fast."""
        if self._share is not None:
            self._share.throttled(self._clock.now())

    @property
    def share(self) -> float:
        """The part of the rate in use now, up to 1."""
        return 1.0 if self._share is None else self._share.at(self._clock.now())


class _ClockLoop:
    """The running loop with the time of a clock: all that aiolimiter asks of a loop."""

    def __init__(self, clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        self.time, self.call_at = clock.now, clock.call_at
        self.create_future, self.call_soon = loop.create_future, loop.call_soon


class _ClockLimiter(AsyncLimiter):
    """A limiter that counts by a clock. aiolimiter has no setting for that."""

    def __init__(self, max_rate: float, time_period: float, clock: Clock) -> None:
        super().__init__(max_rate, time_period)
        self._clock = clock

    @cached_property
    def _loop(self) -> _ClockLoop:  # type: ignore[override]
        return _ClockLoop(self._clock)


def _limiter(per_s: float, clock: Clock) -> AsyncLimiter:
    # A rate too low for one whole unit a period has a longer one.
    period_s = max(PERIOD_S, 1 / (per_s * _MARGIN))
    rate = per_s * period_s * _MARGIN
    if clock.kind == "real":
        return AsyncLimiter(rate, period_s)
    return _ClockLimiter(rate, period_s, clock)


async def _take(limiter: AsyncLimiter, amount: float) -> None:
    most = max(1, int(limiter.max_rate))
    while amount > 0:
        piece = min(amount, most)
        await limiter.acquire(piece)
        amount -= piece
