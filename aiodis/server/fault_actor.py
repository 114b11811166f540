"""Acts out on a request what `Faults` decided: the pauses, the breaks, the spoilt answers."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from aiodis.clock import Clock
from aiodis.server.fault_outcomes import Frozen, Hang, Reply, Reset, ResetAfter, Restart, Truncated
from aiodis.server.faults import Faults, Plan

__all__ = ["FaultActor"]

_STEP_S: Final = 0.01
_LOOK_S: Final = 0.01
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, no time


class FaultActor:
    """The hand of one server's faults. All that waits here ends with `release`.

    Pauses are by the server's clock. Whether a client still waits is looked at in real time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._released = asyncio.Event()
        self.interrupt: Callable[[float], None] = _cannot_interrupt
        """Breaks all connections, and lets nobody in for so many seconds."""

    def release(self) -> None:
        """Let pauses end, and break the connections of what hangs: the server stops."""
        self._released.set()

    async def breaks(self, faults: Faults, operation: str, request: web.Request) -> str | None:
        """Break the connection of a request that was not read yet, if that is its fault; name it.

        Cancelled, it breaks nothing.
        """
        outcome = faults.break_connection(operation)
        if outcome is None:
            return None
        if isinstance(outcome, ResetAfter):
            await _read(request, outcome.bytes)
        _reset(request)
        return outcome.name

    async def answer(
        self, request: web.Request, plan: Plan, carry_out: Callable[[], web.Response]
    ) -> web.Response:
        """Answer as planned; `carry_out` is called once or never.

        Cancelled, it may have been called already.
        """
        await self._pause(request, plan.before_ms / 1000)
        # A frozen read has an answer of its own kind, which is made where the others are.
        instead = plan.ending_phase == "before" and not isinstance(plan.ending, Frozen | None)
        response = web.Response() if instead else carry_out()
        await self._pause(request, plan.after_ms / 1000)
        match plan.ending:
            case Reply(_, status, headers, body):
                response = web.Response(status=status, headers=headers, body=body)
            case Hang():
                await self._until_client_goes(request)
                _reset(request)
            case Reset():
                _reset(request)
            case Restart(_, down_ms):
                _reset(request)
                self.interrupt(down_ms / 1000)
        if plan.skew_s:
            moment_s = self._clock.now_ms() / 1000 + plan.skew_s
            response.headers[hdrs.DATE] = formatdate(moment_s, usegmt=True)
        if plan.bytes_per_s or isinstance(plan.ending, Truncated):
            return _SpoiltResponse(response, request, plan, partial(self._pause, request))
        return response

    async def _pause(self, request: web.Request, seconds: float) -> None:
        if seconds > 0:
            with self._clock.pausing(partial(_is_awaited, request)), suppress(TimeoutError):
                async with self._clock.timeout(seconds):
                    await self._released.wait()

    async def _until_client_goes(self, request: web.Request) -> None:
        # aiohttp tells a handler that its client went only by cancelling all of them alike.
        with self._clock.pausing(partial(_is_awaited, request)):
            while request.transport is not None and not self._released.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._released.wait()


class _SpoiltResponse(web.Response):
    """An answer whose head is right, and whose body comes slowly or in part."""

    def __init__(
        self,
        response: web.Response,
        request: web.Request,
        plan: Plan,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        super().__init__(status=response.status, headers=response.headers, body=response.body)
        self._request, self._plan, self._pause = request, plan, pause

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the body, as far as it is to come."""
        body = self.body
        if not isinstance(body, bytes) or not body:
            await super().write_eof(data)
            return
        kept = _kept(self._plan, len(body))
        await self._write_slowly(memoryview(body)[:kept])
        if kept < len(body):
            if self._request.transport is not None:
                self._request.transport.close()  # what was written still goes out
            raise ConnectionResetError("the answer was truncated on purpose")
        await web.StreamResponse.write_eof(self)

    async def _write_slowly(self, body: memoryview) -> None:
        await self.write(b"")  # the head goes ahead
        rate = self._plan.bytes_per_s
        step = max(1, round(rate * _STEP_S)) if rate else max(1, len(body))
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            if rate:
                await self._pause(len(piece) / rate)
            await self.write(piece)


def _cannot_interrupt(seconds: float) -> None:
    raise RuntimeError(f"there is nothing to interrupt for {seconds} s")


def _kept(plan: Plan, size: int) -> int:
    match plan.ending:
        case Truncated(_, None):
            return size // 2
        case Truncated(_, int(count)):
            return min(count, size)
    return size


def _is_awaited(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _read(request: web.Request, count: int) -> None:
    """Read that many bytes of the body, or all of it; the client may go meanwhile."""
    with suppress(ConnectionError, web.RequestPayloadError):
        while count > 0 and (piece := await request.content.read(count)):
            count -= len(piece)


def _reset(request: web.Request) -> None:
    """Break the connection with a RST, and drop what was to be written."""
    transport = request.transport
    if transport is None:
        return
    if (sock := transport.get_extra_info("socket")) is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    transport.abort()
