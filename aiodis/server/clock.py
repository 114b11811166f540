"""The one clock of an embedded DIS: the system's, or one that a test moves by hand."""

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Tells the time in whole milliseconds since the epoch."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The system's time."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def __repr__(self) -> str:
        return "SystemClock()"


class ManualClock:
    """A time that stands still until it is moved. It begins now, or at `start_ms`."""

    def __init__(self, start_ms: int | None = None) -> None:
        self._now_ms = SystemClock().now_ms() if start_ms is None else start_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(
        self, *, milliseconds: int = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Move the time forward by the sum of all.

        Raises:
            ValueError: the sum is negative.
        """
        step = milliseconds + round((seconds + 60 * minutes + 3600 * hours) * 1000)
        if step < 0:
            raise ValueError("a clock only goes forward")
        self._now_ms += step

    def __repr__(self) -> str:
        return f"ManualClock(now_ms={self._now_ms})"
