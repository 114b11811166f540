"""Records and cursors: reference, chapter 5.4.

These are the plain calls. The producer and the consumer take the same rows
around the models, since a model per record costs more than all the rest.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator

from aiodis.api.shared import MAX_SEQUENCE, PartitionId, SequenceNumber, StreamName
from aiodis.record import Record, partition_number
from aiodis.wire.codec import GetReply, PutReply
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.message import Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "MAX_RECORD_BYTES",
    "Cursor",
    "GetCursor",
    "GetRecords",
    "PutRecords",
    "Records",
    "check_record",
]

MAX_RECORD_BYTES: Final = 1024 * 1024
"""One record holds at most 1 MB before base64 (facts 3)."""

_JSON = JsonCodec()


def check_record(record: Record) -> None:
    """Check one record as the service would.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(record.data, bytes):
        raise ValueError("data must be bytes")  # noqa: TRY004 - one class for all of them
    if not record.data:
        raise ValueError("data is empty, which the service refuses")
    if len(record.data) > MAX_RECORD_BYTES:
        raise ValueError(f"data has {len(record.data)} bytes, more than {MAX_RECORD_BYTES}")
    if record.partition_key is not None:
        _check_text("partition_key", record.partition_key)
    if record.explicit_hash_key is not None:
        _check_number("explicit_hash_key", record.explicit_hash_key)
    if record.partition_id is not None:
        _check_text("partition_id", record.partition_id)
        partition_number(record.partition_id)
    if record.timestamp_ms is not None:
        _check_number("timestamp_ms", record.timestamp_ms)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be str")  # noqa: TRY004
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, as `os.fsdecode` makes
        raise ValueError(f"{name} is no valid Unicode") from None


def _check_number(name: str, value: object) -> None:
    if type(value) is not int:
        raise ValueError(f"{name} must be int")
    if not 0 <= value <= MAX_SEQUENCE:
        raise ValueError(f"{name} is not between 0 and {MAX_SEQUENCE}")


class PutRecords(Message):
    """Parameters of `records.put`."""

    stream_name: StreamName
    records: Annotated[Sequence[Record], Field(min_length=1)]
    stream_id: str | None = None

    @field_validator("records")
    @classmethod
    def _each(cls, records: Sequence[Record]) -> Sequence[Record]:
        for index, record in enumerate(records):
            try:
                check_record(record)
            except ValueError as exc:
                raise ValueError(f"record {index}: {exc}") from None
        return records

    def body(self, fields: dict[str, Any]) -> bytes:
        """Encode through the record codec."""
        return _JSON.encode_put(fields["stream_name"], self.records, self.stream_id)


class GetRecords(Message):
    """Parameters of `records.get`. A record larger than `max_fetch_bytes` is never returned."""

    partition_cursor: Annotated[
        str, Field(min_length=1, max_length=512), spelled("partition-cursor", "partition_cursor")
    ]
    max_fetch_bytes: Annotated[int, Field(ge=1)] | None = None
    app_name: str | None = None  # seen in the SDK: the service counts reads by app
    # Deprecated and without effect (facts 3), but the vendor's clients still send it.
    limit: Annotated[int, Field(ge=1, le=10_000)] | None = None


CursorType = Literal[
    "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"
]


class GetCursor(Message):
    """Parameters of `records.get_cursor`. `timestamp` is in milliseconds since the epoch."""

    stream_name: Annotated[StreamName, spelled("stream-name", "stream_name")]
    partition_id: Annotated[PartitionId, spelled("partition-id", "partition_id")]
    cursor_type: Annotated[CursorType | None, spelled("cursor-type", "cursor_type")] = None
    starting_sequence_number: Annotated[
        SequenceNumber | None, spelled("starting-sequence-number", "starting_sequence_number")
    ] = None
    timestamp: Annotated[int, Field(ge=0)] | None = None
    stream_id: Annotated[str | None, spelled("stream-id", "stream_id")] = None


class Cursor(Reply):
    """A cursor; it lives five minutes."""

    partition_cursor: str = ""


class Records(Resource):
    """The record operations, in the order of the service's reference."""

    put = Operation("POST /v2/{project_id}/records", PutRecords, PutReply)
    get = Operation("GET /v2/{project_id}/records", GetRecords, GetReply)
    get_cursor = Operation("GET /v2/{project_id}/cursors", GetCursor, Cursor)
