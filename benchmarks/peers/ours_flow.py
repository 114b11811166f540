"""aiodis from end to end: a producer and a consumer in one process, on a stream that is there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any, Final

from aiodis import Consumer, DISClient, Producer, ReceivedRecord
from benchmarks.job import Job, Meter, resident_bytes
from benchmarks.latency import summary
from benchmarks.peers.ours import client_of, producer_settings, records_of
from benchmarks.peers.timetable import due_of, send_by_timetable

__all__ = ["latency", "memory", "read", "write"]

_WARM_UP_S: Final = 1.0
_LATE_S: Final = 30.0
"""How long is waited for records that are on their way when all are sent."""
_SAMPLE_S: Final = 0.1
_READS: Final = 8


async def latency(job: Job, meter: Meter) -> dict[str, Any]:
    """Put by a timetable, and handle what comes: how late are receipts, how late is the handler?"""
    handled = _Handled()
    async with _both(job) as (producer, consumer):
        reading = asyncio.create_task(consumer.run(handled.handle))
        records = records_of(job)
        await send_by_timetable(producer, records, job.rate, _WARM_UP_S, stamped=True)
        before = producer.stats()
        await handled.until(before.delivered)
        handled.latencies.clear()
        meter.start()
        receipts = await send_by_timetable(producer, records, job.rate, job.seconds, stamped=True)
        after = producer.stats()
        delivered = after.delivered - before.delivered
        await handled.until(delivered)
        meter.stop(delivered, after.requests - before.requests)
        consumer.stop()
        await reading
    return {
        "latency": summary(receipts),
        "handler": summary(handled.latencies),
        "failed": after.failed,
        "throttled": after.throttled,
        "lost": max(0, delivered - len(handled.latencies)),
    }


async def memory(job: Job, meter: Meter) -> dict[str, Any]:
    """Put and handle by a timetable, whatever the service does; note memory as time goes by."""
    loop = asyncio.get_running_loop()
    samples: list[tuple[float, int, int]] = []
    handled = 0

    async def watch() -> None:
        begun = loop.time()
        while True:
            samples.append((round(loop.time() - begun, 2), resident_bytes(), handled))
            await asyncio.sleep(_SAMPLE_S)

    async def handler(_: ReceivedRecord) -> None:
        nonlocal handled
        handled += 1

    async with _both(job) as (producer, consumer):
        reading = asyncio.create_task(consumer.run(handler))
        records = records_of(job)
        # Stamped, so that each record's bytes are its own, as a program's are.
        await send_by_timetable(producer, records, job.rate, _WARM_UP_S, stamped=True)
        before = producer.stats()
        meter.start()
        watching = asyncio.create_task(watch())
        await send_by_timetable(producer, records, job.rate, job.seconds, stamped=True)
        after = producer.stats()
        meter.stop(after.delivered - before.delivered, after.requests - before.requests)
        watching.cancel()
        consumer.stop()
        await reading
    return {"samples": samples, "failed": after.failed}


async def write(job: Job, meter: Meter) -> dict[str, Any]:
    """Put so many records, as fast as it goes."""
    records = records_of(job)
    async with (
        client_of(job) as dis,
        dis.producer(job.stream, **producer_settings(job)) as producer,
    ):
        meter.start()
        for data, key in islice(records, job.count):
            await producer.send(data, partition_key=key)
        await producer.flush()
        stats = producer.stats()
        meter.stop(stats.delivered, stats.requests)
    return {"failed": stats.failed}


async def read(job: Job, meter: Meter) -> dict[str, Any]:
    """Read what partitions hold, again and again, without a consumer."""
    async with client_of(job) as dis:
        tasks = [_read_round(dis, job, meter, number) for number in range(_READS)]
        meter.start()
        found = await asyncio.gather(*tasks)
        meter.stop(sum(count for count, _ in found), sum(count for _, count in found))
    return {}


async def _read_round(dis: DISClient, job: Job, meter: Meter, number: int) -> tuple[int, int]:
    partition = str(number % job.partitions)
    delivered = requests = 0
    cursor = ""
    while meter.running():
        if not cursor:
            first = await dis.records.get_cursor(
                stream_name=job.stream, partition_id=partition, cursor_type="TRIM_HORIZON"
            )
            cursor = first.partition_cursor
        reply = await dis.records.get(partition_cursor=cursor)
        delivered += len(reply.records)
        requests += 1
        cursor = reply.next_partition_cursor if reply.records else ""
    return delivered, requests


@contextlib.asynccontextmanager
async def _both(job: Job) -> AsyncIterator[tuple[Producer, Consumer]]:
    settings = producer_settings(job)
    if job.buffer_memory:
        settings["buffer_memory"] = job.buffer_memory
    async with (
        client_of(job) as dis,
        dis.consumer(job.stream, app=job.app, offset_reset="latest") as consumer,
        dis.producer(job.stream, **settings) as producer,
    ):
        yield producer, consumer


class _Handled:
    """The latencies of what was handled."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._more = asyncio.Event()

    async def handle(self, record: ReceivedRecord) -> None:
        """Note how late a stamped record comes."""
        self.latencies.append(asyncio.get_running_loop().time() - due_of(record.data))
        self._more.set()

    async def until(self, count: int) -> None:
        """Wait until so many records were handled, or it is too late."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LATE_S):
                while len(self.latencies) < count:
                    self._more.clear()
                    await self._more.wait()
