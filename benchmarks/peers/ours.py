"""aiodis itself, through its public face, with its promises on."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from aiodis import Credentials, DISClient, Producer
from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, TOKEN, Job, Meter
from benchmarks.latency import summary
from benchmarks.peers.timetable import send_by_timetable

__all__ = ["client_of", "paced", "producer_settings", "put", "records_of"]

_MAX_BATCH_BYTES: Final = 5 * 1024 * 1024
_WARM_UP_S: Final = 1.0

Records = Iterator[tuple[bytes, str]]


async def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send windows of records by key, each with its receipt, and flush after each window."""
    records = list(islice(records_of(job), job.window))
    batch_bytes = min(job.batch * job.size, _MAX_BATCH_BYTES)  # a request is full at `batch`
    async with (
        client_of(job) as dis,
        dis.producer(job.stream, batch_max_bytes=batch_bytes, **producer_settings(job)) as producer,
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
    """Send by a timetable, and time records from when they should have been accepted."""
    records = records_of(job)
    async with (
        client_of(job) as dis,
        dis.producer(job.stream, **producer_settings(job)) as producer,
    ):
        await send_by_timetable(producer, records, job.rate, _WARM_UP_S, sample=job.sample)
        before = producer.stats()
        meter.start()
        latencies = await send_by_timetable(
            producer, records, job.rate, job.seconds, sample=job.sample
        )
        after = producer.stats()
        meter.stop(after.delivered - before.delivered, after.requests - before.requests)
    return {"latency": summary(latencies), "failed": after.failed, "throttled": after.throttled}


async def _window(producer: Producer, records: list[tuple[bytes, str]]) -> int:
    """Send records, each with its receipt; give how many were delivered."""
    receipts = [await producer.send(data, partition_key=key) for data, key in records]
    delivered = (await producer.flush()).delivered
    # The flush has counted them; looking into each would be work of the harness.
    return delivered if receipts[-1].done() else 0


def records_of(job: Job) -> Records:
    """Give data and keys without end."""
    return zip(cycle(job.payloads()), cycle(job.keys), strict=True)


def producer_settings(job: Job) -> dict[str, Any]:
    """Give what a job sets of a producer."""
    return {
        "rate_limit": job.rate_limit,
        "wire_format": job.wire,
        "compression": job.compression,
        "ordering": job.ordering,
        "linger_ms": job.linger_ms,
    }


def client_of(job: Job) -> DISClient:
    """Make a client of the service under test; with `auth` of "env", of the user's own."""
    if job.auth == "env":
        return DISClient.from_env()
    keys = Credentials.static(ACCESS_KEY, SECRET_KEY)
    return DISClient(
        endpoint=job.endpoint,
        project_id=PROJECT,
        credentials=keys if job.auth == "aksk" else Credentials.token(TOKEN),
        ca_file=Path(job.ca_file) if job.ca_file else None,
    )
