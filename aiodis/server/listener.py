"""The server's sockets: who gets in, how long a connection may keep a place, who goes.

aiohttp bounds lines, headers and the time between requests. It bounds neither the
number of connections, nor a whole head, nor the time that a client takes to read
an answer; and asyncio's own server tells of a TLS connection only after its
handshake. So connections are accepted here.
"""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from aiodis.clock import Clock
from aiodis.server.edge import MAX_LINE_BYTES, EdgeLimits
from aiodis.server.refusal import Refusal

__all__ = ["Listener"]

_BACKLOG: Final = 1024
_READ_BUFFER_BYTES: Final = 1024 * 1024
_LINGER_S: Final = 2.0
_NO_DESCRIPTOR_PAUSE_S: Final = 0.1

logger = logging.getLogger(__name__)


class Listener:
    """Accepts connections for an aiohttp server, and has a place for each.

    The tasks are ended by `close`; connections are the aiohttp server's to end.
    """

    def __init__(
        self,
        server: web.Server,
        limits: EdgeLimits,
        context: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        self._server, self._limits, self._context = server, limits, context
        self._clock = clock
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._interruption: asyncio.Task[None] | None = None
        self._open: dict[_Connection, None] = {}  # longest without an answer first

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; of several addresses of a host's name, the first."""
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    @property
    def open_connections(self) -> int:
        """How many connections have a place."""
        return len(self._open)

    async def open(self, host: str, port: int) -> None:
        """Bind, and accept from now on.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, address in dict.fromkeys((row[0], row[4]) for row in found):
                bound = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
                bound.setblocking(False)
                self._sockets.append(bound)
        except BaseException:
            self._close_sockets()
            raise
        for bound in self._sockets:
            self._start(self._accept(bound))

    def interrupt(self, seconds: float) -> None:
        """Break all connections, and refuse new ones for so long by the clock.

        An interruption that is on goes on.
        """
        if self._interruption is None or self._interruption.done():
            self._interruption = asyncio.create_task(self._interrupt(seconds))

    async def _interrupt(self, seconds: float) -> None:
        host, port = self.address
        await self._stop_accepting()
        for connection in tuple(self._open):
            if connection.transport is not None:
                connection.transport.abort()
        await self._clock.sleep(seconds)
        while not self._sockets:
            try:
                await self.open(host, port)
            except OSError as exc:  # somebody else has taken the port
                logger.warning("%s:%d cannot be had again: %s", host, port, exc)
                await asyncio.sleep(_NO_DESCRIPTOR_PAUSE_S)

    async def close(self) -> None:
        """Accept no more. Connections that have not shaken hands end; others go on.

        Cancelled, it waits no longer, and gives all back nevertheless.
        """
        if self._interruption is not None:
            self._interruption.cancel()
            await asyncio.wait([self._interruption])
        await self._stop_accepting()

    async def _stop_accepting(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            self._close_sockets()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(bound)
            except OSError as exc:  # no descriptor is left, or the client went meanwhile
                logger.warning("a connection could not be accepted: %s", exc)
                await asyncio.sleep(_NO_DESCRIPTOR_PAUSE_S)
                continue
            self._admit(accepted)
            # One that waits is accepted without a pause; the others are to have their turn.
            await asyncio.sleep(0)

    def _admit(self, accepted: socket.socket) -> None:
        if len(self._open) >= self._limits.max_connections and not self._make_room():
            _turn_away(accepted, is_plain=self._context is None)
            return
        connection = _Connection(self, self._server, self._limits)
        self._open[connection] = None
        self._start(self._connect(connection, accepted))

    async def _connect(self, connection: "_Connection", accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        secured: dict[str, Any] = {}
        if self._context is not None:
            secured = {
                "ssl": self._context,
                "ssl_handshake_timeout": self._limits.handshake_timeout_s,
                "ssl_shutdown_timeout": _LINGER_S,
            }
        try:
            await loop.connect_accepted_socket(lambda: connection, accepted, **secured)
        except OSError as exc:  # a handshake that failed, or took too long
            logger.debug("no connection: %s", exc)
            self.forget(connection)
        except BaseException:
            self.forget(connection)
            raise

    def _make_room(self) -> bool:
        """Close the connection that has been longest without a whole request, if any is."""
        for connection in self._open:
            if connection.waits or connection.is_sending:
                connection.force_close()
                self.forget(connection)
                return True
        return False

    def forget(self, connection: "_Connection") -> None:
        """Give a connection's place to others. Repeating it does nothing."""
        self._open.pop(connection, None)

    def waits_anew(self, connection: "_Connection") -> None:
        """Put a connection behind those that wait longer."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._sockets.clear()


class _Connection(web.RequestHandler):
    """aiohttp's side of one connection, within the limits."""

    __hash__ = object.__hash__

    def __init__(self, listener: Listener, server: web.Server, limits: EdgeLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            # A signature covers the bytes as sent, so nothing is unpacked before it is checked.
            auto_decompress=False,
            keepalive_timeout=limits.idle_timeout_s,
            lingering_time=_LINGER_S,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=limits.max_headers,
        )
        self._listener, self._limits = listener, limits
        self._head_bytes = 0
        self._slow_reader: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether no whole head has come since the last answer."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def is_sending(self) -> bool:
        """Whether the body of its request has not come whole."""
        return self._current_request is not None and not self._current_request.content.is_eof()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.waits:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > self._limits.max_head_bytes and self.transport is not None:
            self.transport.write(_answer_of("431 Request Header Fields Too Large", _LARGE_HEAD))
            self.force_close()

    def pause_writing(self) -> None:
        super().pause_writing()
        transport = self.transport
        if transport is not None:
            self._slow_reader = self._loop.call_later(
                self._limits.answer_timeout_s, transport.abort
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_slow_reader()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.forget(self)
        self._forget_slow_reader()
        super().connection_lost(exc)

    def log_access(
        self,
        request: web.BaseRequest,  # noqa: ARG002
        response: web.StreamResponse,  # noqa: ARG002
        time: float | None,  # noqa: ARG002
    ) -> None:
        """Be told that an answer has gone out; there is no access log."""
        self._listener.waits_anew(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP in the service's form, and keep it out of the log."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        logger.debug("no request: %s", exc)
        refusal = Refusal("DIS.4300", "this is no HTTP request")
        response = web.Response(
            status=status, body=refusal.encode(), content_type="application/json"
        )
        response.force_close()
        return response

    def _forget_slow_reader(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None


def _turn_away(accepted: socket.socket, *, is_plain: bool) -> None:
    """Close a connection at once; over plain HTTP the client is told why."""
    with accepted, suppress(OSError):
        if is_plain:
            accepted.setblocking(False)
            accepted.send(_answer_of("503 Service Unavailable", _FULL))
            accepted.shutdown(socket.SHUT_WR)


def _answer_of(status: str, refusal: Refusal) -> bytes:
    body = refusal.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_FULL: Final = Refusal("DIS.5000", "too many connections")
_LARGE_HEAD: Final = Refusal("DIS.4300", "the head of the request is too large")
