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

__all__ = [
    "client_of",
    "delivered_of",
    "first_cursor",
    "get",
    "put",
    "read",
    "read_request",
    "send",
    "send_request",
    "take",
]


def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send `batch` records a request; base64 is the caller's work with this SDK."""
    records = zip(cycle(job.payloads()), cycle(job.keys), strict=True)
    client = client_of(job)
    send(client, records, job.batch)
    meter.start()
    delivered = requests = 0
    while meter.running():
        delivered += send(client, records, job.batch)
        requests += 1
    meter.stop(delivered, requests)
    return {}


def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Read one partition on and on; base64 is the caller's work with this SDK."""
    client = client_of(job)
    cursor, _ = read(client, first_cursor(client, job, 0))
    meter.start()
    delivered = requests = 0
    while meter.running():
        cursor, count = read(client, cursor)
        delivered += count
        requests += 1
    meter.stop(delivered, requests)
    return {}


def first_cursor(client: Any, job: Job, partition: int) -> str:
    """Ask for a cursor at a partition's oldest record."""
    request = ShowCursorRequest(
        stream_name=job.backlog, partition_id=str(partition), cursor_type="TRIM_HORIZON"
    )
    cursor: str = client.show_cursor(request).partition_cursor
    return cursor


def read_request(cursor: str) -> Any:
    """Make a request for 1 MiB of records."""
    return ConsumeRecordsRequest(partition_cursor=cursor, max_fetch_bytes=1024 * 1024)


def read(client: Any, cursor: str) -> tuple[str, int]:
    """Read once; give the next cursor, and how many records came."""
    return take(client.consume_records(read_request(cursor)))


def take(answer: Any) -> tuple[str, int]:
    """Decode an answer's data."""
    data = [b64decode(record.data) for record in answer.records]
    return answer.next_partition_cursor, len(data)


def send(client: Any, records: Iterator[tuple[bytes, str]], count: int) -> int:
    """Send so many records in one request; give how many were delivered."""
    return delivered_of(client.send_records(send_request(list(islice(records, count)))))


def send_request(records: list[tuple[bytes, str]]) -> Any:
    """Make a request of records."""
    entries = [
        PutRecordsRequestEntry(data=b64encode(data).decode(), partition_key=key)
        for data, key in records
    ]
    return SendRecordsRequest(body=PutRecordsRequest(stream_name=STREAM, records=entries))


def delivered_of(answer: Any) -> int:
    """Count the records that an answer says are stored."""
    return sum(result.sequence_number is not None for result in answer.records)


def client_of(job: Job, client: Any = DisClient) -> Any:
    """Make a client, or the one called asynchronous."""
    return (
        client.new_builder()
        .with_http_config(HttpConfig(ssl_ca_cert=job.ca_file))
        .with_credentials(BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT))
        .with_endpoint(job.endpoint)
        .build()
    )
