"""How far this machine's clock is off, learned from the answers' Date header.

A signature bears the time and is refused when that is too far from the
service's (facts 1), so signing uses the service's clock where the two differ.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["Skew", "parse_http_date"]


class Skew:
    """The offset to add to this machine's clock, in seconds.

    An offset that the Date header's resolution and the round trip explain counts
    as none, so a right clock is never "corrected".
    """

    RESOLUTION_S: Final = 1.0
    MATTERS_S: Final = 60.0
    """An offset below this is no reason for a refusal."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._last = ""

    def learn(self, date: str, *, sent: float, received: float) -> None:
        """Take in one answer's Date header; `sent` and `received` are unix seconds here."""
        if date == self._last:
            return  # the same second as the answer before
        self._last = date
        served = parse_http_date(date)
        if served is None:
            return
        # Date is cut to whole seconds: on average the answer left half a second later.
        offset = served + self.RESOLUTION_S / 2 - (sent + received) / 2
        explained = self.RESOLUTION_S + max(0.0, received - sent)
        self.offset = offset if abs(offset) > explained else 0.0

    def explains(self, signed_with: float) -> bool:
        """Say whether a signature made with that offset was refused for its time."""
        return abs(self.offset - signed_with) > self.MATTERS_S


def parse_http_date(text: str) -> float | None:
    """Read an HTTP date as unix seconds; None if it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = datetime.combine(moment.date(), moment.time(), UTC)
    return moment.timestamp()
