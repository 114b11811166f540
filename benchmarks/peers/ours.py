"""aiodis itself, through its public face, with its promises on."""

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from aiodis import Credentials, DISClient, Producer, Receipt
from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM, TOKEN, Job, Meter
from benchmarks.latency import summary

__all__ = ["client_of", "paced", "put"]

_MAX_BATCH_BYTES: Final = 5 * 1024 * 1024
_TICK_S: Final = 0.005
_WARM_UP_S: Final = 1.0

Records = Iterator[tuple[bytes, str]]


async def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send windows of records by key, each with its receipt, and flush after each window."""
    records = list(islice(_records(job), job.window))
    batch_bytes = min(job.batch * job.size, _MAX_BATCH_BYTES)  # a request is full at `batch`
    async with (
        client_of(job) as dis,
        dis.producer(STREAM, batch_max_bytes=batch_bytes, **_settings(job)) as producer,
    ):
        await _window(producer, records)
        before = producer.stats().requests
        meter.start()
        delivered = 0
        while meter.running():
            delivered += await _window(producer, records)
        meter.stop(delivered, producer.stats().requests - before)
    return {}


async def paced(job: Job, meter: Meter) -> dict[str, Any]:
    """Send by a timetable, and time records from when they should have been accepted.

    A late send does not move the timetable, so a stall counts for every record
    it delays (no coordinated omission).
    """
    records = _records(job)
    async with client_of(job) as dis, dis.producer(STREAM, **_settings(job)) as producer:
        await _by_timetable(producer, records, job, _WARM_UP_S)
        before = producer.stats()
        meter.start()
        latencies = await _by_timetable(producer, records, job, job.seconds)
        after = producer.stats()
        meter.stop(after.delivered - before.delivered, after.requests - before.requests)
    return {"latency": summary(latencies), "failed": after.failed, "throttled": after.throttled}


async def _window(producer: Producer, records: list[tuple[bytes, str]]) -> int:
    """Send records, each with its receipt; give how many were delivered."""
    receipts = [await producer.send(data, partition_key=key) for data, key in records]
    delivered = (await producer.flush()).delivered
    # The flush has counted them; looking into each would be work of the harness.
    return delivered if receipts[-1].done() else 0


async def _by_timetable(
    producer: Producer, records: Records, job: Job, seconds: float
) -> list[float]:
    """Send `rate` records a second; give the latency of every `sample`-th, in seconds."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    def note(due: float, receipt: Receipt) -> None:
        if receipt.exception() is None:
            latencies.append(loop.time() - due)

    total = int(job.rate * seconds)
    start, sent = loop.time(), 0
    while sent < total:
        due = min(total, int((loop.time() - start) * job.rate) + 1)
        for data, key in islice(records, due - sent):
            receipt = await producer.send(data, partition_key=key)
            if sent % job.sample == 0:
                receipt.add_done_callback(partial(note, start + sent / job.rate))
            sent += 1
        await asyncio.sleep(_TICK_S)
    await producer.flush()
    return latencies


def _records(job: Job) -> Records:
    return zip(cycle(job.payloads()), cycle(job.keys), strict=True)


def _settings(job: Job) -> dict[str, Any]:
    return {
        "rate_limit": job.rate_limit,
        "wire_format": job.wire,
        "compression": job.compression,
        "ordering": job.ordering,
    }


def client_of(job: Job) -> DISClient:
    """Make a client of the answerer."""
    keys = Credentials.static(ACCESS_KEY, SECRET_KEY)
    return DISClient(
        endpoint=job.endpoint,
        project_id=PROJECT,
        credentials=keys if job.auth == "aksk" else Credentials.token(TOKEN),
        ca_file=Path(job.ca_file) if job.ca_file else None,
    )
