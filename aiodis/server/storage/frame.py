"""Frames: what a segment file is made of, and how damage in one is noticed.

```
frame    magic 4s | version u8 | kind u8 | zero u16 | body length u32 | crc u32 | body
opening  arrival time i64 | serial u32 | n u32 | then n of (partition u32, next sequence u64)
records  arrival time i64 | n u32 | n rows | n blocks
row      first sequence u64 | partition u32 | records u32 | payload length u32 | data bytes u32
block    a fragment length u32 a record | a raw size u32 a record | payload
```

All little-endian. The checksum covers the header before it and the body. A
payload is the fragments of consecutive records of one partition, joined by
commas: it can stand inside a JSON list as it is. The two arrays end where the
payload begins, so the payload's place and the count lead to both.

An opening is the first frame of each segment. It carries what the segments
before it established, so that they can be removed.

The magic begins with a byte that UTF-8, and so a fragment, never holds. Hence
a frame found by its magic after damage is a frame, and never somebody's data.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from aiodis.errors import DISError

try:
    from isal.isal_zlib import crc32  # of the extra `speed`; a quarter of the time at 700 KB
except ImportError:
    from zlib import crc32

__all__ = [
    "OPENING",
    "RECORDS",
    "VERSION",
    "BlockRow",
    "Frame",
    "LogDamagedError",
    "Opening",
    "PutBlock",
    "decode_opening",
    "decode_records",
    "encode_opening",
    "encode_records",
    "find_frame",
    "pack_numbers",
    "payload_offsets",
    "read_frame",
    "unpack_numbers",
]

VERSION: Final = 1
OPENING: Final = 1
RECORDS: Final = 2

_MAGIC: Final = b"\xffDIS"
_HEADER: Final = struct.Struct("<4sBBHI")
_CRC: Final = struct.Struct("<I")
_HEADER_BYTES: Final = _HEADER.size + _CRC.size
_OPENING: Final = struct.Struct("<qII")
_NEXT: Final = struct.Struct("<IQ")
_RECORDS: Final = struct.Struct("<qI")
_ROW: Final = struct.Struct("<QIIII")


class LogDamagedError(DISError):
    """A log that cannot be trusted: it is neither whole nor merely torn at its end."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        super().__init__(f"{path}, byte {offset}: {reason}")
        self.path, self.offset, self.reason = path, offset, reason


@dataclass(frozen=True, slots=True)
class PutBlock:
    """Consecutive records of one partition, in wire form.

    Each fragment is the finished JSON object of one record in ASCII, its sequence number
    within. `sizes` are the sizes of the raw data, before base64, in bytes.
    """

    partition: int
    first_sequence: int
    fragments: Sequence[str]
    sizes: Sequence[int]


class BlockRow(NamedTuple):
    """What a frame says about one of its blocks."""

    first_sequence: int
    partition: int
    records: int
    payload_bytes: int
    data_bytes: int


class Opening(NamedTuple):
    """The first frame of a segment: the last arrival time and the next sequences before it."""

    serial: int
    last_ms: int
    next_sequences: tuple[tuple[int, int], ...]


class Frame(NamedTuple):
    """A frame whose checksum is right. `end` is the offset behind it."""

    version: int
    kind: int
    body: memoryview
    end: int


def encode_records(time_ms: int, blocks: Sequence[PutBlock]) -> tuple[list[bytes], list[BlockRow]]:
    """Make the buffers of one frame, to be written in this order, and its rows.

    Raises:
        ValueError: a block is empty, or has not a size for each fragment.
    """
    rows: list[BlockRow] = []
    contents: list[bytes] = []
    for block in blocks:
        payload = ",".join(block.fragments).encode("ascii")
        count = len(block.fragments)
        if not count or count != len(block.sizes):
            raise ValueError(f"a block of {count} fragments with {len(block.sizes)} sizes")
        contents += (pack_numbers(*map(len, block.fragments), *block.sizes), payload)
        rows.append(
            BlockRow(block.first_sequence, block.partition, count, len(payload), sum(block.sizes))
        )
    head = _RECORDS.pack(time_ms, len(rows)) + b"".join(_ROW.pack(*row) for row in rows)
    return _seal(RECORDS, [head, *contents]), rows


def decode_records(body: memoryview) -> tuple[int, list[BlockRow]]:
    """Read a frame's arrival time and rows.

    Raises:
        ValueError: the rows do not add up to the body.
    """
    time_ms, count = _RECORDS.unpack_from(body)
    start = _RECORDS.size + count * _ROW.size
    rows = [BlockRow(*row) for row in _ROW.iter_unpack(body[_RECORDS.size : start])]
    if start + sum(8 * row.records + row.payload_bytes for row in rows) != len(body):
        raise ValueError("the rows of the frame do not add up to its length")
    return time_ms, rows


def encode_opening(opening: Opening) -> list[bytes]:
    """Make the buffers of a segment's first frame."""
    head = _OPENING.pack(opening.last_ms, opening.serial, len(opening.next_sequences))
    return _seal(OPENING, [head, *(_NEXT.pack(*pair) for pair in opening.next_sequences)])


def decode_opening(body: memoryview) -> Opening:
    """Read a segment's first frame."""
    last_ms, serial, count = _OPENING.unpack_from(body)
    pairs = _NEXT.iter_unpack(body[_OPENING.size : _OPENING.size + count * _NEXT.size])
    return Opening(serial, last_ms, tuple((partition, sequence) for partition, sequence in pairs))


def payload_offsets(rows: Sequence[BlockRow], frame_offset: int) -> Iterator[int]:
    """Tell where each payload lies in the file of a frame that begins at `frame_offset`."""
    offset = frame_offset + _HEADER_BYTES + _RECORDS.size + len(rows) * _ROW.size
    for row in rows:
        offset += 8 * row.records
        yield offset
        offset += row.payload_bytes


def pack_numbers(*numbers: int) -> bytes:
    """Pack the lengths and sizes of a block's records."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def unpack_numbers(packed: bytes) -> tuple[int, ...]:
    """Undo `pack_numbers`."""
    return struct.unpack(f"<{len(packed) // 4}I", packed)


def read_frame(data: memoryview, offset: int) -> Frame | None:
    """Read the frame at `offset`, or None when what lies there is not a whole, right frame."""
    start = offset + _HEADER_BYTES
    if start > len(data):
        return None
    magic, version, kind, _, length = _HEADER.unpack_from(data, offset)
    end = start + length
    if magic != _MAGIC or end > len(data):
        return None
    body = data[start:end]
    crc = crc32(body, crc32(data[offset : start - _CRC.size]))
    if _CRC.unpack_from(data, start - _CRC.size) != (crc,):
        return None
    return Frame(version, kind, body, end)


def find_frame(data: bytes, offset: int) -> int | None:
    """Search from `offset` on for a whole, right frame, and tell where it begins."""
    view = memoryview(data)
    while (offset := data.find(_MAGIC, offset)) >= 0:
        if read_frame(view, offset) is not None:
            return offset
        offset += 1
    return None


def _seal(kind: int, body: list[bytes]) -> list[bytes]:
    header = _HEADER.pack(_MAGIC, VERSION, kind, 0, sum(map(len, body)))
    crc = crc32(header)
    for buffer in body:
        crc = crc32(buffer, crc)
    return [header + _CRC.pack(crc), *body]
