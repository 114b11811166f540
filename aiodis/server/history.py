"""What went through the streams in the last seven days, on disk but for the current minute.

A minute is written when it is over, and all of them on a stop. So the end of the
process (`kill -9`) costs the counts of the current minute at most.
"""

from typing import Final

from aiodis.api.metrics import MAX_PERIOD_S
from aiodis.server.storage.minutes import MinuteRow, MinuteTable
from aiodis.server.traffic import MINUTE_MS, Minute

__all__ = ["History"]

_KEPT_MINUTES: Final = MAX_PERIOD_S * 1000 // MINUTE_MS
_FORGET_EVERY_MS: Final = 3_600_000


class History:
    """The minutes of all streams, and the duty to write them.

    Invariant: a minute that is counted into is in memory until it is written, and holds
    all of that minute, what was written of it before a restart included.
    """

    def __init__(self, table: MinuteTable) -> None:
        self._table = table
        self._unwritten: dict[tuple[str, int], Minute] = {}
        self._first: int | None = None
        self._forgot_ms = 0

    def begin(self, stream_id: str, number: int) -> Minute:
        """Give a minute to count into, with what is known of it."""
        found = self._unwritten.get((stream_id, number))
        if found is None:
            found = self._table.load(stream_id, number, number).get(number) or Minute()
            self._unwritten[stream_id, number] = found
            self._first = number if self._first is None else min(self._first, number)
        return found

    def between(self, stream_id: str, first: int, last: int) -> dict[int, Minute]:
        """Give the minutes from `first` to `last`, both included, in which something happened."""
        found = self._table.load(stream_id, first, last)
        for (owner, number), minute in self._unwritten.items():
            if owner == stream_id and first <= number <= last:
                found[number] = minute
        return dict(sorted(found.items()))

    def forget(self, stream_id: str) -> None:
        """Drop what is not written of a stream that is gone."""
        self._keep({key: m for key, m in self._unwritten.items() if key[0] != stream_id})

    def due_ms(self) -> int | None:
        """Tell when the first unwritten minute is over."""
        return None if self._first is None else (self._first + 1) * MINUTE_MS

    def run(self, at_ms: int) -> None:
        """Write the minutes that are over, and forget those that are too old."""
        self._write(before=at_ms // MINUTE_MS)
        if not 0 <= at_ms - self._forgot_ms < _FORGET_EVERY_MS:
            self._forgot_ms = at_ms
            self._table.forget_before(at_ms // MINUTE_MS - _KEPT_MINUTES)

    def write(self) -> None:
        """Write everything so far; counting goes on."""
        self._table.save(MinuteRow(*key, minute) for key, minute in self._unwritten.items())

    def close(self) -> None:
        """Write everything. Repeating it does nothing."""
        if self._first is not None:
            self._write(before=None)

    def _write(self, before: int | None) -> None:
        over = [
            MinuteRow(*key, minute)
            for key, minute in self._unwritten.items()
            if before is None or key[1] < before
        ]
        self._table.save(over)
        written = {row[:2] for row in over}
        self._keep({key: m for key, m in self._unwritten.items() if key not in written})

    def _keep(self, unwritten: dict[tuple[str, int], Minute]) -> None:
        self._unwritten = unwritten
        self._first = min((number for _, number in unwritten), default=None)
