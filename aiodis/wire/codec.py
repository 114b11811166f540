"""The seam between records and their form on the wire.

These structs are the record path's own: pydantic costs six times as much here.
There is a codec for JSON and one for protobuf; `aiodis.wire.forms` chooses between them.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import ClassVar, Protocol, Self

import msgspec
from pybase64 import b64decode, b64encode_as_string

from aiodis.record import ReceivedRecord, RecordMetadata

__all__ = [
    "GetReply",
    "PutBody",
    "PutEntry",
    "PutReply",
    "PutResult",
    "RecordCodec",
    "RecordLike",
    "RecordResult",
    "RoutedRecord",
    "TailedRouting",
    "WrittenResult",
]


class PutEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """One record of a PutRecords request as a server reads it. `timestamp`: *seen in the SDK*.

    Its data stays as `text`, in base64: so it is stored, and so an answer carries it.
    """

    text: str = msgspec.field(name="data")
    explicit_hash_key: str | None = None
    partition_id: str | None = None
    partition_key: str | None = None
    timestamp: int | None = None

    @classmethod
    def of(
        cls,
        data: bytes,
        explicit_hash_key: str | None = None,
        partition_id: str | None = None,
        partition_key: str | None = None,
        timestamp: int | None = None,
    ) -> Self:
        """Make one of its data as they are."""
        text = b64encode_as_string(data)
        return cls(text, explicit_hash_key, partition_id, partition_key, timestamp)


class PutBody(msgspec.Struct):
    """A PutRecords request as a server reads it."""

    records: list[PutEntry]
    stream_name: str | None = None
    stream_id: str | None = None

    def sizes(self) -> list[int]:
        """Give the size of each record's data, in bytes.

        Raises:
            ValueError: a record's text is no base64.
        """
        texts = [record.text for record in self.records]
        try:
            return list(map(len, map(b64decode, texts, repeat(None), repeat(True))))
        except ValueError as exc:
            place = next(index for index, text in enumerate(texts) if not _is_base64(text))
            raise ValueError(f"records.{place}: data is no base64: {exc}") from exc


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, None, True)
    except ValueError:
        return False
    return True


class PutResult(msgspec.Struct, omit_defaults=True, gc=False):
    """What became of one record: a place, or an error; never a null of the other (facts 2.1)."""

    partition_id: str | None = None
    sequence_number: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class WrittenResult(msgspec.Struct, gc=False):
    """What became of one record as the producer reads it, with the number as one."""

    partition_id: str | None = None
    sequence_number: int | None = None
    error_code: str | None = None
    error_message: str | None = None


_ENCODER = msgspec.json.Encoder()


class PutReply(msgspec.Struct):
    """The answer to PutRecords: results in the order of the request's records."""

    failed_record_count: int
    records: list[PutResult]

    @classmethod
    def decode(cls, body: bytes, /) -> Self:
        """Read the JSON form."""
        return msgspec.json.decode(body, type=cls)

    def encode(self) -> bytes:
        """Write the JSON form."""
        return _ENCODER.encode(self)


class GetReply(msgspec.Struct):
    """The answer to GetRecords."""

    next_partition_cursor: str
    records: list[ReceivedRecord] = msgspec.field(default_factory=list)

    @classmethod
    def decode(cls, body: bytes, /) -> Self:
        """Read the JSON form; sequence numbers are strings there."""
        return msgspec.json.decode(body, type=cls, strict=False)

    def encode(self) -> bytes:
        """Write the JSON form."""
        return _ENCODER.encode(self)


class Routing(Protocol):
    """What a codec reads of where a record goes."""

    @property
    def partition_key(self) -> str | None: ...
    @property
    def explicit_hash_key(self) -> int | None: ...
    @property
    def partition_id(self) -> str | None: ...
    @property
    def timestamp_ms(self) -> int | None: ...


class RecordLike(Routing, Protocol):
    """What a codec reads of a record: `Record` has it, and so has the producer's own entry."""

    @property
    def data(self) -> bytes: ...


class TailedRouting(Routing, Protocol):
    """A routing with its encoding."""

    @property
    def tail(self) -> bytes: ...


class RoutedRecord(RecordLike, Protocol):
    """A record with its routing encoded before: the producer's own entry."""

    @property
    def route(self) -> TailedRouting: ...


RecordResult = RecordMetadata | WrittenResult
"""A record's result as the producer reads it: its place alone in an answer without failures."""


class RecordCodec(Protocol):
    """One form of records on the wire.

    Each `decode` raises msgspec.MsgspecError where the body is not what it should be.
    """

    name: ClassVar[str]
    """What it is called in messages."""
    content_type: ClassVar[str]

    def encode_put(
        self, stream_name: str, records: Sequence[RecordLike], stream_id: str | None = None
    ) -> bytes: ...

    def tail(self, routing: Routing) -> bytes:
        """Encode a record's routing, once for all records that are routed alike."""

    def encode_batches(self, stream_name: str, batches: Sequence[Sequence[RoutedRecord]]) -> bytes:
        """Encode a PutRecords body of records with their tails: the producer's path."""

    def decode_put(self, body: bytes) -> PutBody: ...

    def encode_put_reply(self, reply: PutReply) -> bytes: ...

    def decode_put_reply(self, body: bytes) -> PutReply: ...

    def decode_results(self, body: bytes) -> Sequence[RecordResult]:
        """Decode an answer to PutRecords; places only if every record was written."""

    def encode_get_reply(self, reply: GetReply) -> bytes: ...

    def decode_get_reply(self, body: bytes) -> GetReply: ...
