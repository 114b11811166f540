"""What went through a stream, minute by minute: the one source for metrics and scaling on load.

Plain counters, told the time. A minute begins at a whole one of the clock.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

__all__ = ["MINUTE_MS", "Flow", "Minute", "Traffic"]

MINUTE_MS: Final = 60_000

_KEPT_MINUTES: Final = 60


class Flow(Struct, array_like=True):
    """What one partition took and gave; bytes are those of raw data.

    `throttled_in` counts records that were refused, `throttled_out` reads.
    """

    records_in: int = 0
    bytes_in: int = 0
    throttled_in: int = 0
    records_out: int = 0
    bytes_out: int = 0
    throttled_out: int = 0


def _flows() -> dict[int, Flow]:
    return defaultdict(Flow)


class Minute(Struct, array_like=True):
    """One minute of a stream: the flow of each partition that had any, and the requests.

    A put counts as throttled when at least one of its records was, else as carried out.
    The microseconds are those that the requests took, refused ones aside.

    New fields go to the end, and have a default: minutes are kept on disk.
    """

    flows: dict[int, Flow] = field(default_factory=_flows)
    """Has a `Flow` for every partition that is asked for."""
    puts: int = 0
    puts_throttled: int = 0
    gets: int = 0
    gets_throttled: int = 0
    put_us: int = 0
    get_us: int = 0


class Traffic:
    """The minutes of one stream in which something happened, the last hour's worth of them.

    `begin` is asked for the minute of a number whenever counting turns to it; it may
    know of one already. Without it, nothing is known beyond that hour.
    """

    def __init__(self, begin: Callable[[int], Minute] | None = None) -> None:
        self._begin = begin or self._known
        self._minutes: dict[int, Minute] = {}
        self._current = (-1, Minute())

    def at(self, now_ms: int) -> Minute:
        """Give the minute to count into."""
        number = now_ms // MINUTE_MS
        if self._current[0] != number:
            self._current = (number, self._begin(number))
            self._minutes[number] = self._current[1]
            while len(self._minutes) > _KEPT_MINUTES:
                del self._minutes[next(iter(self._minutes))]
        return self._current[1]

    def _known(self, number: int) -> Minute:
        return self._minutes.get(number) or Minute()

    def minute(self, start_ms: int) -> Minute | None:
        """Give the minute that began then, without one (or long after it) None."""
        return self._minutes.get(start_ms // MINUTE_MS)
