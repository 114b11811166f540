"""The vendor's current SDK, synchronous, in 16 threads that share a client."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any, Final

from benchmarks.job import Job, Meter
from benchmarks.peers.v3_sync import client_of, first_cursor, read, send

__all__ = ["get", "put"]

_THREADS: Final = 16

Step = Callable[[], int]


def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send `batch` records a request in each thread."""
    client = client_of(job)

    def sender() -> Step:
        records: Iterator[tuple[bytes, str]] = zip(
            cycle(job.payloads()), cycle(job.keys), strict=True
        )
        return lambda: send(client, records, job.batch)

    return _in_threads([sender() for _ in range(_THREADS)], meter)


def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Read a partition on and on in each thread."""
    client = client_of(job)

    def reader(partition: int) -> Step:
        cursor = first_cursor(client, job, partition)

        def step() -> int:
            nonlocal cursor
            cursor, count = read(client, cursor)
            return count

        return step

    return _in_threads([reader(number % job.partitions) for number in range(_THREADS)], meter)


def _in_threads(steps: list[Step], meter: Meter) -> dict[str, Any]:
    """Repeat each step in a thread of its own; once before the watch starts."""

    def work(step: Step) -> tuple[int, int]:
        delivered = requests = 0
        while meter.running():
            delivered += step()
            requests += 1
        return delivered, requests

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda step: step(), steps))
        meter.start()
        done = list(pool.map(work, steps))
    meter.stop(sum(count for count, _ in done), sum(count for _, count in done))
    return {}
