"""What follows a read or a cursor that failed. Plain code: the table of `docs/explanation`."""

from enum import Enum
from typing import Final, Literal

from aiodis.errors import (
    CircuitOpenError,
    CursorExpiredError,
    DecodeError,
    DISError,
    PartitionExpiredError,
    SequenceOutOfRangeError,
    ServiceError,
)

__all__ = ["Remedy", "is_passing", "remedy"]

# Around a scaling, parts of the service may not know of it yet: the stream is "not running"
# (4205), a partition "does not exist" (4302). Both may also be for good.
_PASSING: Final = frozenset({"DIS.4205", "DIS.4302"})
_PATIENCE: Final = 8


class Remedy(Enum):
    """What is done before the next try."""

    RENEW = "renew"  # a new cursor for the same number
    RESET = "reset"  # the number is gone: go where `offset_reset` says
    WAIT = "wait"
    LEAVE = "leave"  # the partition has expired: no further try
    FAIL = "fail"  # no retry mends it: reading ends


def is_passing(error: DISError) -> bool:
    """Say whether this refusal may pass by itself."""
    return isinstance(error, ServiceError) and error.code in _PASSING


def remedy(
    error: DISError, refusals: int, offset_reset: Literal["earliest", "latest", "error"]
) -> Remedy:
    """Decide by the error; `refusals` is how many passing refusals came in a row, with this one."""
    if isinstance(error, PartitionExpiredError):
        return Remedy.LEAVE
    if isinstance(error, CursorExpiredError):
        return Remedy.RENEW
    if isinstance(error, SequenceOutOfRangeError):
        return Remedy.FAIL if offset_reset == "error" else Remedy.RESET
    if isinstance(error, CircuitOpenError) and error.refused:
        return Remedy.FAIL
    if error.retryable or isinstance(error, DecodeError):
        return Remedy.WAIT
    return Remedy.WAIT if is_passing(error) and refusals <= _PATIENCE else Remedy.FAIL
