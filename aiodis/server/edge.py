"""What one client may cost the others: the bounds at the server's sockets.

They are this server's own, not the service's, and go by real time, also where the
server's clock is moved by hand. Where there is no room, what has been the slowest
makes it: the connection that has been longest without a whole request, the body that
has been arriving longest. So whoever trickles is the first to go, and others get in.
"""

import asyncio
from dataclasses import dataclass, fields
from typing import Final

from aiohttp import web

from aiodis.errors import ConfigError
from aiodis.server.refusal import Refusal

__all__ = ["MAX_BODY_BYTES", "MAX_LINE_BYTES", "Bodies", "EdgeLimits"]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""A body at most, as it is sent and as it is unpacked."""

MAX_LINE_BYTES: Final = 32 * 1024
"""A line of a head at most: real tokens are longer than the framework's 8 KB."""


@dataclass(frozen=True)
class EdgeLimits:
    """The bounds that can be set; each is more than 0.

    Raises:
        ConfigError: one is not, or has no room for a single request.
    """

    max_connections: int = 512
    """Connections open at once, those that still shake hands included."""
    max_head_bytes: int = 256 * 1024
    """A request line with all its headers."""
    max_headers: int = 64
    idle_timeout_s: float = 60.0
    """How long a connection may take to bring a whole head, from its beginning or last answer."""
    handshake_timeout_s: float = 10.0
    """How long TLS may take to begin."""
    body_timeout_s: float = 30.0
    """How long a body may take to arrive."""
    answer_timeout_s: float = 30.0
    """How long a client may take to read what an answer has in the server's buffer."""
    max_arriving_bytes: int = 256 * 1024 * 1024
    """All bodies that have begun to arrive and are not whole yet; at least one of the largest."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(f"{field.name} is {getattr(self, field.name)}, not above 0")
        if self.max_arriving_bytes < MAX_BODY_BYTES:
            raise ConfigError(f"max_arriving_bytes is less than a body, {MAX_BODY_BYTES}")


class _Arrival:
    """One body on its way."""

    __slots__ = ("deadline", "is_crowded_out", "size")

    def __init__(self, timeout_s: float) -> None:
        self.deadline = asyncio.timeout(timeout_s)
        self.size = 0
        self.is_crowded_out = False


class Bodies:
    """Reads the bodies of requests: bounded each, and all together while they arrive."""

    def __init__(self, limits: EdgeLimits) -> None:
        self._timeout_s, self._most = limits.body_timeout_s, limits.max_arriving_bytes
        self._arriving: dict[_Arrival, None] = {}  # oldest first
        self.held = 0
        """Bytes of all that arrive now."""

    @property
    def count(self) -> int:
        """How many bodies arrive now."""
        return len(self._arriving)

    async def read(self, request: web.BaseRequest) -> bytes:
        """Read a request's body, once. Cancelled, it drops what had come.

        Raises:
            Refusal: it came too slowly (408), or had to make room for others (503).
            HTTPRequestEntityTooLarge: it has more than `MAX_BODY_BYTES`.
        """
        _check_size(request.content_length or 0)
        if not request.can_read_body:
            return b""
        arrival = _Arrival(self._timeout_s)
        self._arriving[arrival] = None
        try:
            async with arrival.deadline:
                return await self._collect(request, arrival)
        except TimeoutError:
            if arrival.is_crowded_out:
                raise Refusal("DIS.5000", "too many bodies arrive at once", status=503) from None
            raise Refusal("DIS.4300", "the body did not arrive in time", status=408) from None
        finally:
            del self._arriving[arrival]
            self.held -= arrival.size

    async def _collect(self, request: web.BaseRequest, arrival: _Arrival) -> bytes:
        body = bytearray()
        while piece := await request.content.readany():
            body += piece
            _check_size(len(body))
            arrival.size += len(piece)
            self.held += len(piece)
            if self.held > self._most:
                self._make_room()
        return bytes(body)

    def _make_room(self) -> None:
        oldest = next((one for one in self._arriving if one.size), None)
        if oldest is not None:
            # It is told in the next round of the loop, and lets go of what it has then.
            self.held -= oldest.size
            oldest.size = 0
            oldest.is_crowded_out = True
            oldest.deadline.reschedule(0)


def _check_size(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY_BYTES, actual_size=size)
