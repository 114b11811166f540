"""The wait in front of a breaker, and the report of what each admitted try met."""

import asyncio
import logging
from types import TracebackType
from typing import Self, assert_never

from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.errors import CircuitOpenError, ClosedError
from aiodis.transport.breaker import Admitted, Breaker, Refused, WaitForProbe, WaitUntil

__all__ = ["Gate", "Permit"]

_LOG = logging.getLogger("aiodis.transport")


class Permit:
    """The right to one try. Leaving it without a report gives a probe back."""

    __slots__ = ("_gate", "_probe")

    def __init__(self, gate: "Gate", probe: int) -> None:
        self._gate, self._probe = gate, probe

    def answered(self) -> None:
        """Report that the endpoint works."""
        if self._gate.breaker.answered(self._probe):
            _LOG.info("%s: it answers again", self._gate.name)
            self._gate.wake()

    def failed(self, reason: str) -> None:
        """Report a 5xx, or that no complete answer came."""
        if self._gate.breaker.failed(self._probe, self._gate.now(), reason):
            _LOG.warning("%s: only probes go out for now: %s", self._gate.name, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._probe:
            self._gate.breaker.abandoned(self._probe)
            self._gate.wake()


class Gate:
    """Lets calls through as the breaker says. Closing it turns all who wait away."""

    def __init__(self, name: str, breaker: Breaker, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self.breaker = breaker
        self._clock = clock
        self._changed = asyncio.Event()
        self._closed = False

    def now(self) -> float:
        """Give the time by which this gate and its breaker count."""
        return self._clock.now()

    async def enter(self, deadline: float) -> Permit:
        """Wait for the right to one try; cancelling the wait leaves nothing behind.

        Raises:
            CircuitOpenError: it opens after the deadline, or not by waiting.
            ClosedError: the gate was closed.
        """
        now = self.now()
        while True:
            self.check_open()
            admission = self.breaker.admit(now)
            match admission:
                case Admitted(probe):
                    return Permit(self, probe)
                case WaitUntil(at, _) if at < deadline:
                    now = await self._change(at)
                case WaitForProbe(_) if now < deadline:
                    now = await self._change(deadline)
                case Refused(_, reason) | WaitUntil(_, reason) | WaitForProbe(reason):
                    raise CircuitOpenError(f"{self.name}: nothing is sent for now: {reason}")
                case _:
                    assert_never(admission)

    async def pause(self, seconds: float) -> None:
        """Sleep.

        Raises:
            ClosedError: the gate was closed before or meanwhile.
        """
        now = self.now()
        until = now + seconds
        self.check_open()
        while now < until:
            now = await self._change(until)
            self.check_open()

    def refuse(self, reason: str) -> None:
        """Let nothing out for a while: the credentials are refused."""
        _LOG.warning("%s: nothing goes out for now: %s", self.name, reason)
        self.breaker.refused(self.now(), reason)
        self.wake()

    def check_open(self) -> None:
        """Raise ClosedError once the gate is closed."""
        if self._closed:
            raise ClosedError("the client is closed")

    def wake(self) -> None:
        """Let all who wait ask the breaker again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Turn away all who wait or come."""
        self._closed = True
        self.wake()

    async def _change(self, until: float) -> float:
        """Wait for a change, at most until then; give the time afterwards.

        A timer may fire earlier by the clock's resolution, so the clock is not asked then.
        """
        try:
            async with self._clock.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return until
        return self.now()
