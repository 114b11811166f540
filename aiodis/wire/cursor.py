"""What a partition cursor says: base64url, unpadded, of JSON (facts 2.4, from real answers).

The reference calls cursors opaque, yet the vendor's Kafka adapter decodes them,
so the embedded DIS writes this very form.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import msgspec
import orjson

__all__ = ["CURSOR_LIFE_MS", "CursorContent", "decode_cursor", "encode_cursor"]

CURSOR_LIFE_MS = 300_000
"""A cursor lives 5 minutes (reference, chapter 5.4.3)."""

_LONGEST_NUMBER = len(str(2**63 - 1))


class CursorContent(NamedTuple):
    """Where a cursor points. `partition_id` is in the form the client wrote.

    `incarnation` is the embedded DIS's own: it tells the logs of a stream apart that was
    restored. A stream that never was has none.
    """

    stream_name: str
    partition_id: str
    cursor_type: str
    sequence_number: int
    issued_ms: int
    stream_id: str | None = None
    incarnation: str = ""


class _Param(msgspec.Struct, rename="kebab"):
    stream_name: str
    partition_id: str
    cursor_type: str
    starting_sequence_number: str
    stream_id: str | None = None
    incarnation: str = ""


class _Cursor(msgspec.Struct, rename="camel"):
    get_iterator_param: _Param
    generate_timestamp: int


_DECODER = msgspec.json.Decoder(_Cursor)


def encode_cursor(content: CursorContent) -> str:
    """Write a cursor."""
    param = {
        "stream-name": content.stream_name,
        "partition-id": content.partition_id,
        "cursor-type": content.cursor_type,
        "starting-sequence-number": str(content.sequence_number),
    }
    if content.stream_id:
        param["stream-id"] = content.stream_id
    if content.incarnation:
        param["incarnation"] = content.incarnation
    raw = orjson.dumps({"getIteratorParam": param, "generateTimestamp": content.issued_ms})
    return urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str) -> CursorContent:
    """Read a cursor.

    Raises:
        ValueError: it is not one.
    """
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = _DECODER.decode(raw)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise ValueError("not a partition cursor") from exc
    param = found.get_iterator_param
    number = param.starting_sequence_number
    if not (number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER):
        raise ValueError("not a partition cursor")
    return CursorContent(
        param.stream_name,
        param.partition_id,
        param.cursor_type,
        int(number),
        found.generate_timestamp,
        param.stream_id,
        param.incarnation,
    )
