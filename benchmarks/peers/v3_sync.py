"""The vendor's current SDK (`huaweicloudsdkdis`), synchronous, one thread."""

from base64 import b64encode
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from huaweicloudsdkcore.auth.credentials import BasicCredentials  # type: ignore[import-untyped]
from huaweicloudsdkcore.http.http_config import HttpConfig  # type: ignore[import-untyped]
from huaweicloudsdkdis.v2 import (  # type: ignore[import-untyped]
    DisClient,
    PutRecordsRequest,
    PutRecordsRequestEntry,
    SendRecordsRequest,
)

from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM, Job, Meter

__all__ = ["put"]


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
