"""Records as JSON with base64, the service's default form."""

from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import ClassVar

import msgspec
from pybase64 import b64encode

from aiodis.wire.codec import GetReply, PutBody, PutReply, RecordLike

__all__ = ["JsonCodec", "fragment"]


class JsonCodec:
    """`application/json`: data in base64, everything else as text."""

    name: ClassVar[str] = "JSON"
    content_type: ClassVar[str] = "application/json"

    def __init__(self) -> None:
        self._put_body = msgspec.json.Decoder(PutBody)
        self._put_reply = msgspec.json.Decoder(PutReply)
        self._get_reply = msgspec.json.Decoder(GetReply, strict=False)

    def encode_put(
        self, stream_name: str, records: Sequence[RecordLike], stream_id: str | None = None
    ) -> bytes:
        """Encode a PutRecords body in one pass over the records."""
        head = f'{{"stream_name":{encode_basestring_ascii(stream_name)},'
        if stream_id:
            head += f'"stream_id":{encode_basestring_ascii(stream_id)},'
        out = bytearray(head.encode())
        out += b'"records":['
        for record in records:
            out += b'{"data":"'
            out += b64encode(record.data)
            out += _routing(record)
        out[-1:] = b"]}"  # the last record's comma
        return bytes(out)

    def decode_put(self, body: bytes) -> PutBody:
        """Decode a PutRecords body.

        Raises:
            msgspec.MsgspecError: it is not one.
        """
        return self._put_body.decode(body)

    def encode_put_reply(self, reply: PutReply) -> bytes:
        """Encode the answer to PutRecords."""
        return reply.encode()

    def decode_put_reply(self, body: bytes) -> PutReply:
        """Decode the answer to PutRecords.

        Raises:
            msgspec.MsgspecError: it is not one.
        """
        return self._put_reply.decode(body)

    def encode_get_reply(self, reply: GetReply) -> bytes:
        """Encode the answer to GetRecords."""
        return reply.encode()

    def decode_get_reply(self, body: bytes) -> GetReply:
        """Decode the answer to GetRecords.

        Raises:
            msgspec.MsgspecError: it is not one.
        """
        return self._get_reply.decode(body)


def _routing(record: RecordLike) -> bytes:
    """Write what follows a record's data, up to the comma before the next record."""
    text = '"'
    if record.partition_key is not None:
        text += f',"partition_key":{encode_basestring_ascii(record.partition_key)}'
    if record.explicit_hash_key is not None:
        # A string on the wire: the service refuses a JSON number here (facts 2.1).
        text += f',"explicit_hash_key":"{record.explicit_hash_key}"'
    if record.partition_id is not None:
        text += f',"partition_id":{encode_basestring_ascii(record.partition_id)}'
    if record.timestamp_ms is not None:
        text += f',"timestamp":{record.timestamp_ms}'
    return (text + "},").encode()


def fragment(sequence: int, data: bytes, partition_key: str | None, timestamp_ms: int) -> bytes:
    """Write one record as GetRecords answers it; the embedded DIS stores it in this form."""
    key = (
        ""
        if partition_key is None
        else f'"partition_key":{encode_basestring_ascii(partition_key)},'
    )
    return (
        b'{%b"sequence_number":"%d","data":"%b","timestamp":%d,"timestamp_type":"CreateTime"}'
        % (
            key.encode(),
            sequence,
            b64encode(data),
            timestamp_ms,
        )
    )
