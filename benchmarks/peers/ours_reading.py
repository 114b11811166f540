"""aiodis's consumer, through its public face, on a backlog without end."""

import time
from typing import Any, Final

from aiodis import Consumer, DISClient, Static
from benchmarks.job import Job, Meter
from benchmarks.peers.ours import client_of

__all__ = ["get", "get_each", "paced"]

_WARM_UP_S: Final = 0.5  # twice what the pacing lets go at once
_LOOK: Final = 1024
"""Records between two looks at the watch: a look costs as much as several of them."""
_LONGEST: Final = 1.5
"""How many times as long as asked for it goes on, to stop where as much is ahead as before."""


async def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Read batches, and look at each of their records."""
    async with client_of(job) as dis, _consumer(dis, job) as consumer:
        watch = _Watch(consumer, job, meter)
        delivered = 0
        while watch.goes_on(delivered):
            for batch in await consumer.getmany(max_records=job.batch):
                for _record in batch.records:
                    delivered += 1
    return {}


async def get_each(job: Job, meter: Meter) -> dict[str, Any]:
    """Read record by record, with `async for`."""
    async with client_of(job) as dis, _consumer(dis, job) as consumer:
        watch = _Watch(consumer, job, meter)
        delivered = 0
        async for _record in consumer:
            delivered += 1
            if not delivered % _LOOK and not watch.goes_on(delivered):
                break
    return {}


async def paced(job: Job, meter: Meter) -> dict[str, Any]:
    """Read batches as fast as the service's limits let: the consumer's pacing is the timetable."""
    async with client_of(job) as dis, _consumer(dis, job) as consumer:
        await _for(consumer, job, _WARM_UP_S)
        before = consumer.stats()
        meter.start()
        delivered = await _for(consumer, job, job.seconds)
        after = consumer.stats()
        ahead = abs(after.records - before.records - delivered)
        meter.stop(delivered, slack=ahead + 2 * job.partitions * job.batch)
    return {"retried": after.retries - before.retries}


async def _for(consumer: Consumer, job: Job, seconds: float) -> int:
    """Read for so long; give how many records came."""
    until = time.perf_counter() + seconds
    delivered = 0
    while time.perf_counter() < until:
        batches = await consumer.getmany(max_records=job.batch, timeout=0.1)
        delivered += sum([len(batch.records) for batch in batches])
    return delivered


class _Watch:
    """Starts and stops the meter where about as much is fetched ahead.

    What is ahead is paid for and not delivered: with nothing ahead at the start and a
    prefetch full at the stop, or the other way round, short runs would mean nothing.
    """

    def __init__(self, consumer: Consumer, job: Job, meter: Meter) -> None:
        self._consumer, self._job, self._meter = consumer, job, meter
        self._begun: tuple[int, int] | None = None
        self._over = 0

    def goes_on(self, delivered: int) -> bool:
        """Say whether to read on, after so many records."""
        batch = self._job.batch
        if self._begun is None:
            ahead = self._ahead(delivered)
            warm = self._job.window
            if delivered >= warm and (ahead <= batch or delivered >= 2 * warm):
                self._begun = delivered, ahead
                self._meter.start()
            return True
        if self._meter.running():
            return True
        began, ahead_then = self._begun
        self._over = self._over or delivered
        ahead = self._ahead(delivered)
        if ahead > ahead_then + batch and delivered - began < _LONGEST * (self._over - began):
            return True
        slack = abs(ahead - ahead_then) + 2 * self._job.partitions * batch
        self._meter.stop(delivered - began, slack=slack)
        return False

    def _ahead(self, delivered: int) -> int:
        return self._consumer.stats().records - delivered


def _consumer(dis: DISClient, job: Job) -> Consumer:
    settings: dict[str, Any] = {"rate_limit": job.rate_limit, "wire_format": job.wire}
    stream = job.stream if job.members else job.backlog
    group = Static(job.member, job.members or 1)
    return dis.consumer(stream, app=job.app, offset_reset="earliest", group=group, **settings)
