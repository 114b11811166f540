"""What went through a stream, minute by minute: the one source for metrics and scaling on load.

Plain counters, told the time. A minute begins at a whole one of the clock.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

__all__ = ["MINUTE_MS", "Flow", "Minute", "Traffic"]

MINUTE_MS: Final = 60_000

_KEPT_MINUTES: Final = 60


@dataclass(slots=True)
class Flow:
    """What one partition took and gave; bytes are those of raw data.

    `throttled_in` counts records that were refused, `throttled_out` reads.
    """

    records_in: int = 0
    bytes_in: int = 0
    throttled_in: int = 0
    records_out: int = 0
    bytes_out: int = 0
    throttled_out: int = 0


@dataclass(slots=True)
class Minute:
    """One minute of a stream: the flow of each partition that had any, and the requests.

    A put counts as throttled when at least one of its records was, else as carried out.
    """

    flows: defaultdict[int, Flow] = field(default_factory=lambda: defaultdict(Flow))
    puts: int = 0
    puts_throttled: int = 0
    gets: int = 0
    gets_throttled: int = 0


class Traffic:
    """The minutes of one stream in which something happened, the last hour's worth of them."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}
        self._current = (-1, Minute())

    def at(self, now_ms: int) -> Minute:
        """Give the minute to count into."""
        number = now_ms // MINUTE_MS
        if self._current[0] != number:
            self._current = (number, self._minutes.setdefault(number, Minute()))
            while len(self._minutes) > _KEPT_MINUTES:
                del self._minutes[next(iter(self._minutes))]
        return self._current[1]

    def minute(self, start_ms: int) -> Minute | None:
        """Give the minute that began then, without one (or long after it) None."""
        return self._minutes.get(start_ms // MINUTE_MS)
