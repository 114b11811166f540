"""The one clock of an embedded DIS: the system's, or one that a test moves by hand."""

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Tells the time in whole milliseconds since the epoch."""

    def now_ms(self) -> int: ...

    def when_moved(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` each time the clock was moved by hand; the result takes that back."""


class SystemClock:
    """The system's time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def when_moved(self, listener: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002
        """Do nothing: nobody moves this clock by hand."""
        return lambda: None

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A time that stands still until it is moved. It begins now, or at `start_ms`."""

    def __init__(self, start_ms: int | None = None) -> None:
        self._now_ms = SystemClock().now_ms() if start_ms is None else start_ms
        self._listeners: list[Callable[[], None]] = []

    def now_ms(self) -> int:
        return self._now_ms

    def advance(
        self, *, milliseconds: int = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Move the time forward by the sum of all; what is due by then happens before this returns.

        Raises:
            ValueError: the sum is negative.
        """
        step = milliseconds + round((seconds + 60 * minutes + 3600 * hours) * 1000)
        if step < 0:
            raise ValueError("a clock only goes forward")
        self._now_ms += step
        for listener in tuple(self._listeners):
            listener()

    def when_moved(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def __repr__(self) -> str:
        return f"ManualClock(now_ms={self._now_ms})"
