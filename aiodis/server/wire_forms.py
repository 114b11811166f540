"""The forms of bodies at the server's edge: compressed or not, JSON or protobuf.

The order is fixed: a signature covers the body as it was sent, so that is checked
first; then the body is unpacked; then it is read in the form its type names. Answers
have the request's form, but are never compressed (guesses.ANSWERS_ARE_PLAIN), and
errors are always JSON.
"""

from collections.abc import Mapping

import msgspec

from aiodis.errors import ConfigError
from aiodis.server import guesses
from aiodis.server.handlers.records import RecordSlice
from aiodis.server.refusal import Refusal
from aiodis.wire.codec import PutBody, PutReply, RecordCodec
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.compression import BodyTooLargeError, decompress
from aiodis.wire.forms import codec_for
from aiodis.wire.operation import Encodable

__all__ = ["encode_reply", "read_put", "record_codec", "unpack"]


def unpack(body: bytes, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """Give a request's body as it was before it was compressed.

    Raises:
        Refusal: it is not of the form its headers tell, or it is too large.
    """
    if not body:
        return body  # said to be empty by who reads it
    try:
        return decompress(body, headers, max_bytes)
    except BodyTooLargeError as exc:
        raise Refusal("DIS.4200", exc, status=guesses.TOO_LARGE_STATUS) from None
    except ValueError as exc:  # a library that is missing too
        raise Refusal(guesses.UNPACKABLE_CODE, exc) from None


def record_codec(headers: Mapping[str, str]) -> RecordCodec:
    """Give the codec of a request to put or to get records.

    Raises:
        Refusal: it is protobuf's, and that is not installed here.
    """
    try:
        return codec_for(headers.get("Content-Type", ""))
    except ConfigError as exc:
        raise Refusal("DIS.4200", f"Content-Type: {exc}") from None


def read_put(codec: RecordCodec, body: bytes) -> PutBody:
    """Read the body of PutRecords.

    Raises:
        Refusal: it is none.
    """
    if not body:
        raise Refusal("DIS.4202")
    try:
        return codec.decode_put(body)
    except msgspec.ValidationError as exc:
        raise Refusal("DIS.4200", exc) from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Refusal("DIS.4300", f"the body is no {codec.name}") from None


def encode_reply(codec: RecordCodec, reply: Encodable) -> bytes:
    """Write an answer in the request's form.

    The log keeps JSON. To answer a read in protobuf, all of it is decoded first: 1.4 ms
    for 500 records of 1 KB, where a slice takes 0.04 ms.
    """
    match reply:
        case RecordSlice() if not isinstance(codec, JsonCodec):
            return codec.encode_get_reply(reply.read())
        case PutReply():
            return codec.encode_put_reply(reply)
    return reply.encode()
