"""What a partition takes and gives per second, by stream type (facts 3).

*Documented* as 1 MB/s and the like. That a MB has 1,048,576 bytes here is
*guessed*; the client and the embedded DIS share the guess.
"""

from typing import Final, NamedTuple

__all__ = ["MAX_RECORDS_PER_REQUEST", "StreamLimits", "limits_of"]

_MIB: Final = 1024 * 1024

MAX_RECORDS_PER_REQUEST: Final = 10_000
"""*Seen in the SDK*: the vendor's agent never sends more; the reference has no number."""


class StreamLimits(NamedTuple):
    """Per partition and second, and `request_bytes` of data for one PutRecords."""

    write_bytes: int
    write_records: int
    read_bytes: int
    request_bytes: int


_LIMITS: Final = {
    "COMMON": StreamLimits(_MIB, 1_000, 2 * _MIB, _MIB),
    "ADVANCED": StreamLimits(5 * _MIB, 2_000, 10 * _MIB, 5 * _MIB),
}


def limits_of(stream_type: str) -> StreamLimits:
    """Give a stream type's limits; an unknown type gets those of COMMON, which suit any."""
    return _LIMITS.get(stream_type, _LIMITS["COMMON"])
