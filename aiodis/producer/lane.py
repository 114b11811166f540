"""One partition's lane: wait, take, pace, hand over, and again what failed.

A lane goes through these one after the other, so a partition has one request in
flight and what is repeated goes before anything newer: order needs no further
bookkeeping. With the other orderings several workers share a lane.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from aiodis.clock import Clock
from aiodis.config import ProducerSettings
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.producer.accumulator import Entry, PartitionQueue, Route
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.ledger import Ledger
from aiodis.producer.outcome import Next
from aiodis.record import partition_name

__all__ = ["Lane"]


class Lane:
    """Carries one partition's records from its queue to their outcomes.

    `linger_until` has all lanes hurry at a time. Invariant: every accepted record of the
    partition is in `queue`, in one of the `hands`, or settled.
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
        clock: Clock,
        linger_until: Callable[[float], None],
        reroute: Callable[[list[Entry]], Awaitable[None]],
    ) -> None:
        self.name: Final = partition_name(partition)
        self.queue = PartitionQueue()
        self.spread: Route | None = None
        """The route of records without a key, once there is one."""
        self.hands: dict[int, list[Entry]] = {}
        self.after: set[asyncio.Future[None]] = set()
        """Ends of other lanes' batches that hold older records of keys which are ours now."""
        self._ends: dict[int, asyncio.Future[None]] = {}
        self._loop, self._clock = asyncio.get_running_loop(), clock
        self._settings, self._dispatcher, self._ledger = settings, dispatcher, ledger
        self._limiter = limiter
        self._told_share = 1.0
        self._linger = settings.linger_ms / 1000
        self._max_records = settings.batch_max_records
        self._max_bytes = batch_bytes
        if limiter is not None:
            # Batches of one period pass the limiter whole, so records do not age in pieces.
            self._max_records = min(self._max_records, limiter.batch_records or self._max_records)
            self._max_bytes = min(self._max_bytes, limiter.batch_bytes)
        self._linger_until, self._reroute = linger_until, reroute
        self._wake = asyncio.Event()
        self._is_idle = False

    def append(self, entry: Entry) -> None:
        """Add a record, and look; `Producer.send` does the same in place."""
        queue = self.queue
        queue.entries.append(entry)
        queue.size += len(entry.data)
        if len(queue.entries) >= queue.look_count or queue.size >= queue.look_size:
            self.look()

    def look(self) -> None:
        """Wake the lane if what was added is what it waits for."""
        queue = self.queue
        if queue.size < self._max_bytes and len(queue.entries) < self._max_records and self._linger:
            if self._is_idle:
                self._is_idle = False
                queue.since = self._clock.now()
                self._linger_until(queue.since + self._linger)
            queue.watch(self._max_records, self._max_bytes)
            return
        self._is_idle = False
        queue.unwatch()
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
        loop = self._loop
        while True:
            await self._until_ready()
            if self.after:
                await asyncio.wait(self.after)
                self.after.clear()
                continue
            # A smaller share has smaller batches, so that fewer records meet one refusal.
            share = 1.0 if self._limiter is None else self._limiter.share
            taken, size = self.queue.take(
                self._clock.now(),
                max_records=max(1, int(self._max_records * share)),
                max_bytes=max(1, int(self._max_bytes * share)),
            )
            self.hands[worker] = taken
            end = self._ends[worker] = loop.create_future()
            await self._carry(taken, size, worker)
            self.hands[worker] = []
            end.set_result(None)

    async def _until_ready(self) -> None:
        queue = self.queue
        while True:
            at = queue.ready_at(
                linger=self._linger, max_records=self._max_records, max_bytes=self._max_bytes
            )
            if at:
                self._linger_until(at)
            if at is not None and at <= self._clock.now():
                return
            self._wake.clear()
            self._is_idle = at is None
            queue.watch(1, 1)
            try:
                await self._wake.wait()
            finally:
                queue.unwatch()

    async def _carry(self, entries: list[Entry], size: int, worker: int) -> None:
        """Send a batch, and again what is to be sent again, until each record has an outcome."""
        tries = 0
        while entries:
            if self._limiter is not None:
                await self._limiter.acquire(size, len(entries))
                self._tell_pace(self._limiter.share)
            kept = self._ledger.expire(entries, self._clock.now())
            if kept is not entries:
                entries, size = kept, _size_of(kept)
                self.hands[worker] = entries
            if not entries:
                return
            nexts = await self._dispatcher.deliver(entries, size, is_fresh=tries == 0)
            if nexts is None:
                return
            if Next.THROTTLED in nexts:
                self.slow_down()
            moved = [e for e, n in zip(entries, nexts, strict=True) if n is Next.REROUTE]
            again = (Next.RETRY, Next.THROTTLED)
            entries = [e for e, n in zip(entries, nexts, strict=True) if n in again]
            size = _size_of(entries)
            self.hands[worker] = entries + moved
            if moved:
                await self._reroute(moved)
                self.hands[worker] = entries
            if entries or moved:
                await self._pause(tries, entries)
                tries += 1

    def slow_down(self) -> None:
        """Take in that the service found this partition's pace too fast."""
        if self._limiter is not None:
            self._limiter.throttled()

    def _tell_pace(self, share: float) -> None:
        if share != self._told_share:
            self._told_share = share
            self._ledger.meter.pace(self.name, share)

    async def _pause(self, tries: int, entries: list[Entry]) -> None:
        settings = self._settings
        longest = min(
            settings.retry_backoff_ms * 2 ** min(tries, 30), settings.retry_backoff_max_ms
        )
        pause = random.uniform(0, longest / 1000)  # noqa: S311 - full jitter, no secret
        if entries:
            pause = min(pause, max(0.0, entries[0].deadline - self._clock.now()))
        await self._clock.sleep(pause)


def _size_of(entries: list[Entry]) -> int:
    return sum([len(entry.data) for entry in entries])
