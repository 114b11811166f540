"""Where reading starts, as a person writes it. Plain code."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from aiodis.api.shared import MAX_SEQUENCE
from aiodis.errors import DISError, ServiceError

__all__ = ["Start", "Where", "is_before_oldest", "read_start"]

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Where = Literal["earliest", "latest", "sequence", "time"]


class Start(NamedTuple):
    """A place in a partition; `number` is a sequence number, or milliseconds since the epoch."""

    where: Where
    number: int = 0


def read_start(text: str, now: datetime) -> Start:
    """Read `earliest`, `latest`, a sequence number, a time, or how long ago such as `15m`.

    A time without a zone is the machine's own.

    Raises:
        ValueError: it is none of these.
    """
    match text:
        case "earliest" | "latest":
            return Start(text)
    if text.isascii() and text.isdigit() and int(text) <= MAX_SEQUENCE:
        return Start("sequence", int(text))
    if match := _AGO.fullmatch(text):
        ago = timedelta(seconds=float(match[1]) * _SECONDS[match[2].lower()])
        return _at(now - ago)
    try:
        return _at(datetime.fromisoformat(text))
    except ValueError:
        raise ValueError(
            f"{text!r} is not earliest, latest, a sequence number, a time such as"
            " 2026-11-24T08:00, or how long ago such as 15m"
        ) from None


def is_before_oldest(error: DISError) -> bool:
    """Whether a cursor was refused since its time is before the oldest record.

    The message is *seen in the SDK*, which reads it too (facts 6.1).
    """
    return isinstance(error, ServiceError) and "timestamp is expired" in error.message


def _at(time: datetime) -> Start:
    return Start("time", max(0, int(time.astimezone(UTC).timestamp() * 1000)))
