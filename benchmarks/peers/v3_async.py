"""The vendor's current SDK by the client it calls asynchronous: futures of 8 threads.

16 requests are in flight, as with aiodis.
"""

from collections import deque
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any, Final

from huaweicloudsdkdis.v2 import DisAsyncClient  # type: ignore[import-untyped]

from benchmarks.job import Job, Meter
from benchmarks.peers.v3_sync import (
    client_of,
    delivered_of,
    first_cursor,
    read_request,
    send_request,
    take,
)

__all__ = ["get", "put"]

_IN_FLIGHT: Final = 16


def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Keep requests of `batch` records in flight."""
    client = client_of(job, DisAsyncClient)
    records = zip(cycle(job.payloads()), cycle(job.keys), strict=True)

    def begin(place: int) -> Any:
        del place
        return client.send_records_async(send_request(list(islice(records, job.batch))))

    return _keep_in_flight(begin, lambda _, answer: delivered_of(answer), meter)


def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Keep a read of each of several partitions in flight."""
    client = client_of(job, DisAsyncClient)
    sync = client_of(job)
    cursors = [first_cursor(sync, job, place % job.partitions) for place in range(_IN_FLIGHT)]

    def begin(place: int) -> Any:
        return client.consume_records_async(read_request(cursors[place]))

    def end(place: int, answer: Any) -> int:
        cursors[place], count = take(answer)
        return count

    return _keep_in_flight(begin, end, meter)


def _keep_in_flight(
    begin: Callable[[int], Any], end: Callable[[int, Any], int], meter: Meter
) -> dict[str, Any]:
    """Begin a request for each that ends; all before the watch starts have ended."""
    for place in range(_IN_FLIGHT):
        end(place, begin(place).result())
    meter.start()
    flying = deque((place, begin(place)) for place in range(_IN_FLIGHT))
    delivered = requests = 0
    while flying:
        place, future = flying.popleft()
        delivered += end(place, future.result())
        requests += 1
        if meter.running():
            flying.append((place, begin(place)))
    meter.stop(delivered, requests)
    return {}
