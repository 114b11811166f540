"""One partition's lane: wait, take, pace, hand over, and again what failed.

A lane goes through these one after the other, so a partition has one request in
flight and what is repeated goes before anything newer: order needs no further
bookkeeping. With `ordering="none"` several workers share a lane.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiodis.config import ProducerSettings
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.producer.accumulator import Entry, PartitionQueue
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.ledger import Ledger
from aiodis.producer.outcome import Next
from aiodis.record import partition_name

__all__ = ["Lane"]

# A timer may fire a little before its time; asking it again for so little would spin.
_EARLY_S: Final = 0.001


class Lane:
    """Carries one partition's records from its queue to their outcomes.

    Invariant: every accepted record of the partition is in `queue`, in one of
    the `hands`, or settled.
    """

    def __init__(
        self,
        partition: int,
        settings: ProducerSettings,
        dispatcher: Dispatcher,
        ledger: Ledger,
        *,
        limiter: PartitionLimiter | None,
        batch_bytes: int,
        on_lingered: Callable[[], None],
        reroute: Callable[[list[Entry]], Awaitable[None]],
    ) -> None:
        self.name: Final = partition_name(partition)
        self.queue = PartitionQueue()
        self.hands: dict[int, list[Entry]] = {}
        self.after: set[asyncio.Future[None]] = set()
        """Ends of other lanes' batches that hold older records of keys which are ours now."""
        self._ends: dict[int, asyncio.Future[None]] = {}
        self._settings, self._dispatcher, self._ledger = settings, dispatcher, ledger
        self._limiter = limiter
        self._max_records = settings.batch_max_records
        self._max_bytes = batch_bytes
        if limiter is not None:
            # Batches of one period pass the limiter whole, so records do not age in pieces.
            self._max_records = min(self._max_records, limiter.batch_records or self._max_records)
            self._max_bytes = min(self._max_bytes, limiter.batch_bytes)
        self._on_lingered, self._reroute = on_lingered, reroute
        self._wake = asyncio.Event()

    def append(self, entry: Entry, now: float) -> None:
        """Add a record, and wake the lane when that makes a batch."""
        queue = self.queue
        queue.append(entry, now)
        if (
            len(queue.entries) == 1
            or len(queue.entries) >= self._max_records
            or queue.size >= self._max_bytes
        ):
            self._wake.set()

    def hurry(self) -> None:
        """Send what waits without lingering further."""
        if self.queue.entries:
            self.queue.due = True
            self._wake.set()

    def unsettled(self) -> list[Entry]:
        """Take everything without an outcome; what was in hand may have been written."""
        held = [entry for hand in self.hands.values() for entry in hand if not entry.settled]
        for entry in held:
            entry.ambiguous = True
        return held + self.queue.drain()

    def held(self) -> Iterator[tuple[Entry, asyncio.Future[None]]]:
        """Give what is on its way, with the end of its batch."""
        for worker, hand in self.hands.items():
            for entry in hand:
                yield entry, self._ends[worker]

    async def work(self, worker: int) -> None:
        """Carry batches until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._until_ready()
            if self.after:
                await asyncio.wait(self.after)
                self.after.clear()
                continue
            taken = self.queue.take(
                loop.time(), max_records=self._max_records, max_bytes=self._max_bytes
            )
            self.hands[worker] = taken
            end = self._ends[worker] = loop.create_future()
            await self._carry(taken, worker)
            self.hands[worker] = []
            end.set_result(None)

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at = self.queue.ready_at(
                linger=self._settings.linger_ms / 1000,
                max_records=self._max_records,
                max_bytes=self._max_bytes,
            )
            if at is not None and at <= loop.time() + _EARLY_S:
                if at:
                    self._on_lingered()
                return
            self._wake.clear()
            timer = loop.call_at(at, self._wake.set) if at is not None else None
            try:
                await self._wake.wait()
            finally:
                if timer:
                    timer.cancel()

    async def _carry(self, entries: list[Entry], worker: int) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while entries:
            if self._limiter is not None:
                await self._limiter.acquire(sum(len(e.data) for e in entries), len(entries))
            entries = self._ledger.expire(entries, loop.time())
            if not entries:
                return
            nexts = await self._dispatcher.deliver(entries)
            if nexts.count(Next.DELIVERED) == len(nexts):
                return
            pairs = list(zip(entries, nexts, strict=True))
            moved = [entry for entry, following in pairs if following is Next.REROUTE]
            again = (Next.RETRY, Next.THROTTLED)
            if self._limiter is not None and Next.THROTTLED in nexts:
                self._limiter.throttled()
            entries = [entry for entry, following in pairs if following in again]
            self.hands[worker] = entries + moved
            if moved:
                await self._reroute(moved)
                self.hands[worker] = entries
            if entries or moved:
                await self._pause(tries, entries)
                tries += 1

    async def _pause(self, tries: int, entries: list[Entry]) -> None:
        settings = self._settings
        longest = (
            min(settings.retry_backoff_ms * 2 ** min(tries, 30), settings.retry_backoff_max_ms)
            / 1000
        )
        pause = random.uniform(0, longest)  # noqa: S311 - full jitter, no secret
        if entries:
            pause = min(pause, max(0.0, entries[0].deadline - asyncio.get_running_loop().time()))
        await asyncio.sleep(pause)
