"""Which codec reads or writes a body, and what the chosen forms need to be installed."""

from functools import cache
from typing import Final, Literal, assert_never

from aiodis.errors import ConfigError
from aiodis.wire.codec import RecordCodec
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.compression import Compression, require_compression

__all__ = ["WireFormat", "codec_for", "codec_of", "require_wire"]

WireFormat = Literal["json", "protobuf"]

_JSON: Final = JsonCodec()


def codec_of(wire_format: WireFormat) -> RecordCodec:
    """Give the codec of a setting.

    Raises:
        ConfigError: its library is not installed.
    """
    match wire_format:
        case "json":
            return _JSON
        case "protobuf":
            return _protobuf()
        case _:
            assert_never(wire_format)


def codec_for(content_type: str) -> RecordCodec:
    """Give the codec of a `Content-Type` header, whatever its parameters: JSON unless protobuf.

    Raises:
        ConfigError: its library is not installed.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    return _protobuf() if media_type == "application/x-protobuf" else _JSON


def require_wire(wire_format: WireFormat, compression: Compression) -> None:
    """See that bodies can be written so, before there are any.

    Raises:
        ConfigError: a library is not installed; the message names the extra.
    """
    codec_of(wire_format)
    require_compression(compression)


@cache
def _protobuf() -> RecordCodec:
    try:
        from aiodis.wire.codec_protobuf import ProtobufCodec  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ConfigError("protobuf bodies need protobuf: install aiodis[protobuf]") from exc
    return ProtobufCodec()
