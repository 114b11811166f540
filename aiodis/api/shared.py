"""Fields that several chapters of the reference share."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from aiodis.record import partition_number
from aiodis.wire.message import name_of

__all__ = [
    "MAX_SEQUENCE",
    "AppName",
    "CheckpointType",
    "ClientId",
    "PartitionId",
    "SequenceNumber",
    "StreamName",
    "as_list",
]

MAX_SEQUENCE: Final = 2**63 - 1

StreamName = Annotated[str, name_of(64)]
"""1 to 64 letters, digits, `_`, `-` (reference 5.1.1; older pages say 60)."""

AppName = Annotated[str, name_of(200)]
"""1 to 200 letters, digits, `_`, `-` (reference 5.2.1; 5.3.3 says 50, which is older)."""

CheckpointType = Literal["LAST_READ"]


def as_list(value: object) -> object:
    """Let one thing stand for a list of it, as it does in some of the vendor's examples."""
    return [value] if isinstance(value, dict) else value


def _partition_id(value: str) -> str:
    try:
        partition_number(value)
    except ValueError:
        raise ValueError("a partition id is 0, 1, … or shardId-0000000000") from None
    return value


def _sequence(value: str) -> str:
    short = len(value) <= len(str(MAX_SEQUENCE))
    if not (short and value.isascii() and value.isdigit() and int(value) <= MAX_SEQUENCE):
        raise ValueError(f"a sequence number is a whole number from 0 to {MAX_SEQUENCE}")
    return value


def _client_id(value: str) -> str:
    # "." and ".." would change the path they stand in.
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", value):
        raise ValueError("a client id has letters, digits, _, - and ., which is not the first")
    return value


PartitionId = Annotated[str, Field(max_length=64), AfterValidator(_partition_id)]
"""`0` or `shardId-0000000000`; both name the same partition (reference 5.4.1)."""

SequenceNumber = Annotated[str, AfterValidator(_sequence)]
"""A decimal string, 0 to 2^63-1 (reference 5.4.3)."""

ClientId = Annotated[str, Field(max_length=200), AfterValidator(_client_id)]
"""Names a group's member. The vendor's adapter takes any text; what it may have is *guessed*."""
