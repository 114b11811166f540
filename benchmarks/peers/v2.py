"""The vendor's older SDK (`huaweicloud-sdk-python-dis`), which verifies no certificate
and opens a connection for each request.

It runs in an environment of its own: nothing else may be imported here.
"""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from dis_sdk_python.com.huaweicloud.dis.sdk.python.client.disclient import (  # type: ignore[import-not-found]
    disclient,
)

from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM, Job, Meter

__all__ = ["get", "put"]


def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send `batch` records a call; this SDK takes text, and encodes it itself."""
    texts = [data.decode() for data in job.payloads()]
    records = zip(cycle(texts), cycle(job.keys), strict=True)
    client = _client(job)
    _send(client, records, job.batch)
    meter.start()
    delivered = requests = 0
    while meter.running():
        delivered += _send(client, records, job.batch)
        requests += 1
    meter.stop(delivered, requests)
    return {}


def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Read one partition on and on; this SDK decodes base64 itself, and tries to make text."""
    client = _client(job)
    cursor = client.getCursor(job.backlog, "0", "TRIM_HORIZON").cursor
    cursor, _ = _read(client, cursor, job.batch)
    meter.start()
    delivered = requests = 0
    while meter.running():
        cursor, count = _read(client, cursor, job.batch)
        delivered += count
        requests += 1
    meter.stop(delivered, requests)
    return {}


def _client(job: Job) -> Any:
    return disclient(
        endpoint=job.endpoint, ak=ACCESS_KEY, sk=SECRET_KEY, projectid=PROJECT, region="bench"
    )


def _read(client: Any, cursor: str, limit: int) -> tuple[str, int]:
    answer = client.getRecords(cursor, limit)
    return answer.nextPartitionCursor, len(answer.recordResult)


def _send(client: Any, records: Iterator[tuple[str, str]], count: int) -> int:
    entries = [{"data": text, "partition_key": key} for text, key in islice(records, count)]
    answer = client.putRecords(STREAM, entries)
    return sum("sequence_number" in result for result in answer.recordResult)
