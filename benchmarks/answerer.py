"""The canned answerer: `python -m benchmarks.answerer`, a process of its own.

A hand-written minimum of HTTP/1.1 with TLS, so that it costs less than any client:
bodies with a Content-Length, one request after the other on a connection.

It prints its port, then its counts for each line it reads, and ends with its
standard input, so it cannot outlive the harness.
"""

import asyncio
import email.utils
import json
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from multidict import CIMultiDict

from benchmarks.canned import Answer, CannedService
from benchmarks.child import pin

__all__: list[str] = []

_FIRST_BUFFER: Final = 64 * 1024
_REASONS: Final = {200: "OK", 201: "Created", 404: "Not Found", 411: "Length Required"}


class _Connection(asyncio.BufferedProtocol):
    """Receives into one buffer.

    Invariant: the first `_filled` bytes of `_buffer` are what was received and not
    answered yet; it has room for `_wanted` bytes.
    """

    def __init__(self, service: CannedService) -> None:
        self._service = service
        self._buffer = bytearray(_FIRST_BUFFER)
        self._filled, self._wanted = 0, 1
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint  # it is the most that may come, not what does
        room = max(self._wanted, self._filled + 1)
        if room > len(self._buffer):
            larger = bytearray(max(room, 2 * len(self._buffer)))
            larger[: self._filled] = self._buffer[: self._filled]
            self._buffer = larger
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        while self._filled >= self._wanted and self._answer_one():
            pass

    def _answer_one(self) -> bool:
        """Answer the request at the start of the buffer, if it is whole."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled) + 4
        if end < 4:
            self._wanted = self._filled + 1
            return False
        head = bytes(self._buffer[:end])
        self._wanted = end + _content_length(head)
        if self._filled < self._wanted:
            return False
        body = bytes(memoryview(self._buffer)[end : self._wanted])
        left = bytes(self._buffer[self._wanted : self._filled])
        self._buffer[: len(left)] = left
        self._filled, self._wanted = len(left), 1
        self._reply(head, body)
        return True

    def _reply(self, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        if b"\r\ntransfer-encoding:" in head.lower():
            answer = Answer(411, b"")
        else:
            headers = _headers(head)
            answer = self._service.answer(method.decode(), target.decode(), body, headers)
        assert self._transport is not None
        self._transport.writelines((_head(answer), answer.body))
        if answer.status == 411:
            self._transport.close()


def _content_length(head: bytes) -> int:
    """Read the one header that tells where a request ends; without it there is no body."""
    name = b"\r\ncontent-length:"
    at = head.lower().find(name)
    return int(head[at + len(name) : head.index(b"\r\n", at + 2)]) if at >= 0 else 0


def _headers(head: bytes) -> CIMultiDict[str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return CIMultiDict((name, value.strip()) for name, found, value in lines if found)


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nDate: {_date()}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        "X-Request-Id: 0123456789abcdef0123456789abcdef\r\n"
        f"Content-Length: {len(answer.body)}\r\n\r\n"
    ).encode()


class _Date:
    """The Date header, made once a second."""

    second, text = 0, ""


def _date() -> str:
    now = int(time.time())
    if now != _Date.second:
        _Date.second, _Date.text = now, email.utils.formatdate(now, usegmt=True)
    return _Date.text


def _main(
    partitions: int,
    core: Annotated[int | None, typer.Option()] = None,
    certificate: Annotated[Path | None, typer.Option()] = None,
) -> None:
    pin(core)
    asyncio.run(_serve(CannedService(partitions), certificate))


async def _serve(service: CannedService, certificate: Path | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", 0, ssl=context)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        threading.Thread(target=_obey, args=(service, loop, ended), daemon=True).start()
        await ended.wait()


def _obey(service: CannedService, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    for _ in sys.stdin:
        counts = {
            "requests": service.requests,
            "records": service.records,
            "cpu_s": time.process_time(),
        }
        print(json.dumps(counts), flush=True)
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    typer.run(_main)
