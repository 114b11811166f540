"""What became of a request's records, and what to do next. The table of `docs/explanation`."""

from collections.abc import Sequence
from enum import Enum

from aiodis.errors import (
    CircuitOpenError,
    DecodeError,
    DISError,
    InvalidRequestError,
    NotFoundError,
    RecordError,
    ServiceError,
)
from aiodis.producer.accumulator import Entry
from aiodis.record import RecordMetadata
from aiodis.wire.codec import RecordResult

__all__ = ["Next", "Verdict", "after_error", "after_result", "record_error"]

_THROTTLED = "DIS.4303"
_MOVED = frozenset({"DIS.4302", "DIS.4319"})
_STREAM_GONE = "DIS.4301"


class Next(Enum):
    """What happens to a record after an answer."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"  # again, after a pause of its partition
    RETRY = "retry"  # again, after a pause of its partition
    REROUTE = "reroute"  # the partition is gone: with a fresh map
    FAILED = "failed"


class Verdict(Enum):
    """What happens to a whole request after an error."""

    RETRY = "retry"
    REROUTE = "reroute"  # one of its partitions is gone
    SPLIT = "split"  # one of its records may be at fault: find it, spare the rest
    STREAM_GONE = "stream_gone"  # all that waits fails
    FAILED = "failed"


def after_result(result: RecordResult) -> Next:
    """Decide by one record's result."""
    if isinstance(result, RecordMetadata) or result.error_code is None:
        return Next.DELIVERED
    code = result.error_code
    if _THROTTLED in code:
        return Next.THROTTLED
    if "DIS.5" in code:
        return Next.RETRY
    return Next.REROUTE if code in _MOVED else Next.FAILED


def after_error(error: DISError, entries: Sequence[Entry]) -> Verdict:
    """Decide by the error of a whole request, which the HTTP core has already repeated."""
    if isinstance(error, CircuitOpenError) and error.refused:
        return Verdict.FAILED
    if error.retryable or isinstance(error, DecodeError):
        return Verdict.RETRY
    if isinstance(error, ServiceError) and error.code in _MOVED:
        return Verdict.REROUTE
    if isinstance(error, NotFoundError) and (
        error.code == _STREAM_GONE or error.status in {404, 410}
    ):
        return Verdict.STREAM_GONE
    if isinstance(error, InvalidRequestError) and len(entries) > 1:
        return Verdict.SPLIT
    return Verdict.FAILED


def record_error(error: DISError, *, ambiguous: bool) -> RecordError:
    """Make one record's own error from what its request met."""
    code = error.code if isinstance(error, ServiceError) else None
    made = RecordError(f"not delivered: {error}", code=code, ambiguous=ambiguous)
    made.__cause__ = error
    return made
