"""The vendor's current SDK (`huaweicloudsdkdis`), synchronous, one thread."""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.http.http_config import HttpConfig  # type: ignore[import-untyped]
from huaweicloudsdkdis.v2 import (  # type: ignore[import-untyped]
    ConsumeRecordsRequest,
    DisClient,
    PutRecordsRequest,
    PutRecordsRequestEntry,
    SendRecordsRequest,
    ShowCursorRequest,
)

from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM, Job, Meter

__all__ = ["get", "put"]


def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send `batch` records a request; base64 is the caller's work with this SDK."""
    records = zip(cycle(job.payloads()), cycle(job.keys), strict=True)
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
    """Read one partition on and on; base64 is the caller's work with this SDK."""
    client = _client(job)
    first = ShowCursorRequest(stream_name=job.backlog, partition_id="0", cursor_type="TRIM_HORIZON")
    cursor = client.show_cursor(first).partition_cursor
    cursor, _ = _read(client, cursor)
    meter.start()
    delivered = requests = 0
    while meter.running():
        cursor, count = _read(client, cursor)
        delivered += count
        requests += 1
    meter.stop(delivered, requests)
    return {}


def _read(client: Any, cursor: str) -> tuple[str, int]:
    request = ConsumeRecordsRequest(partition_cursor=cursor, max_fetch_bytes=1024 * 1024)
    answer = client.consume_records(request)
    data = [b64decode(record.data) for record in answer.records]
    return answer.next_partition_cursor, len(data)


def _send(client: Any, records: Iterator[tuple[bytes, str]], count: int) -> int:
    entries = [
        PutRecordsRequestEntry(data=b64encode(data).decode(), partition_key=key)
        for data, key in islice(records, count)
    ]
    body = PutRecordsRequest(stream_name=STREAM, records=entries)
    answer = client.send_records(SendRecordsRequest(body=body))
    return sum(result.sequence_number is not None for result in answer.records)


def _client(job: Job) -> Any:
    return (
        DisClient.new_builder()
        .with_http_config(HttpConfig(ssl_ca_cert=job.ca_file))
        .with_credentials(BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT))
        .with_endpoint(job.endpoint)
        .build()
    )
