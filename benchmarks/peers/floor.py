"""What no client can do without: the bytes through asyncio's TLS, their SHA-256, and base64.

No client library, no signature, no records: one connection, one request after the
other, and the answer is read but not looked into.
"""

import asyncio
import json
import ssl
from hashlib import sha256
from itertools import cycle, islice
from typing import Any, Final
from urllib.parse import urlsplit

from pybase64 import b64decode, b64encode

from benchmarks.job import PROJECT, STREAM, Job, Meter

__all__ = ["get", "put"]

_SLICE: Final = 128 * 1024


async def put(job: Job, meter: Meter) -> dict[str, Any]:
    """Send the same bytes as the others, again and again."""
    data, body = _bytes_of(job)
    connection = await _connect(job)
    await _send(connection, data, body)
    meter.start()
    requests = 0
    while meter.running():
        for _ in range(8):
            await _send(connection, data, body)
        requests += 8
    meter.stop(requests * job.batch, requests)
    connection.close()
    return {}


async def get(job: Job, meter: Meter) -> dict[str, Any]:
    """Read the same answers, and decode as much base64 as is in each."""
    text = b64encode(b"".join(islice(cycle(job.payloads()), job.batch)))
    head = (
        f"GET /v2/{PROJECT}/records?partition-cursor={job.size}.{job.batch}.0000.00000000"
        " HTTP/1.1\r\nHost: floor\r\n\r\n"
    ).encode()
    connection = await _connect(job)
    await connection.exchange(head)
    meter.start()
    requests = 0
    while meter.running():
        for _ in range(8):
            await connection.exchange(head)
            b64decode(text)
        requests += 8
    meter.stop(requests * job.batch, requests)
    connection.close()
    return {}


def _bytes_of(job: Job) -> tuple[bytes, bytes]:
    """Give a request's data, and its body as a client would make it."""
    payloads = list(islice(cycle(job.payloads()), job.batch))
    entries = [
        {"data": b64encode(data).decode(), "partition_key": key}
        for data, key in zip(payloads, cycle(job.keys), strict=False)
    ]
    body = json.dumps({"stream_name": STREAM, "records": entries}, separators=(",", ":"))
    return b"".join(payloads), body.encode()


async def _send(connection: "_Connection", data: bytes, body: bytes) -> None:
    b64encode(data)
    head = (
        f"POST /v2/{PROJECT}/records HTTP/1.1\r\nHost: floor\r\n"
        f"X-Body: {sha256(body).hexdigest()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await connection.exchange(head.encode(), body)


async def _connect(job: Job) -> "_Connection":
    url = urlsplit(job.endpoint)
    context = ssl.create_default_context(cafile=job.ca_file) if url.scheme == "https" else None
    assert url.hostname is not None
    assert url.port is not None
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, url.hostname, url.port, ssl=context)
    return connection


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._received = bytearray()
        self._whole: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(exc or ConnectionResetError("closed by the answerer"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._received.index(b"Content-Length: ") + 16
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) >= end + 4 + length and self._whole is not None:
            self._received.clear()
            self._whole.set_result(None)

    async def exchange(self, head: bytes, body: bytes = b"") -> None:
        """Send a request, and wait for the whole answer."""
        assert self._transport is not None
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(view), _SLICE):
            self._transport.write(view[start : start + _SLICE])
            await self._writable.wait()
        await self._whole

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
