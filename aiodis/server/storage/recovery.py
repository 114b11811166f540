"""What a start does with the segments it finds: check all, cut a torn tail, refuse the rest.

Only the end of the last segment can be torn by a process that died: bytes that
are no frame, and none behind them. What they held was never acknowledged, unless
the machine itself lost power before a sync. They are cut off, and reported.

Everything else that is wrong (a bad frame before a right one, damage in an earlier
segment, a missing segment, a gap in the sequences) means that acknowledged
records were lost or changed. A start must not paper over that: it refuses.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from aiodis.server.storage.frame import (
    OPENING,
    RECORDS,
    VERSION,
    Frame,
    LogDamagedError,
    Opening,
    decode_opening,
    decode_records,
    encode_opening,
    find_frame,
    payload_offsets,
    read_frame,
)
from aiodis.server.storage.index import LogIndex
from aiodis.server.storage.segment import FileSegment, Segment, find_segments, has_segments

__all__ = ["Recovery", "has_begun", "holds_records", "recover", "replay_whole"]

_BEGUN_BYTES: Final = sum(map(len, encode_opening(Opening(0, 0, ()))))


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start found. `frames` are those of records; `records` are all that can be read."""

    segments: int = 0
    frames: int = 0
    records: int = 0
    checked_bytes: int = 0
    cut_bytes: int = 0
    cut_file: Path | None = None

    @property
    def summary(self) -> str:
        """One line for the operator."""
        found = (
            f"records {self.records}, frames {self.frames}, segments {self.segments}, "
            f"bytes checked {self.checked_bytes}"
        )
        if self.cut_file is None:
            return found
        return f"{found}; cut a torn tail of {self.cut_bytes} bytes off {self.cut_file}"


def recover(folder: Path, index: LogIndex) -> tuple[list[FileSegment], Recovery]:
    """Check the segments of a folder, oldest first, and fill the index from them.

    Raises:
        LogDamagedError: they are not what a log, or a log cut short, looks like.
    """
    segments = find_segments(folder)
    checked = sum(segment.size for segment in segments)
    frames = records = cut = 0
    for segment in segments:
        data = segment.path.read_bytes()
        replayed = _replay(segment, data, index, is_first=segment is segments[0])
        frames += replayed.frames
        records += replayed.records
        if replayed.end < len(data) or not data:
            _refuse_unless_torn(segment, data, replayed.end, is_last=segment is segments[-1])
            cut = len(data) - replayed.end
            _cut(segment, replayed.end, index, is_first=segment is segments[0])
    cut_file = segments[-1].path if cut else None
    return segments, Recovery(len(segments), frames, records, checked, cut, cut_file)


def has_begun(folder: Path) -> bool:
    """Say whether a folder holds a log as far as its first opening."""
    return has_segments(folder, least_bytes=_BEGUN_BYTES)


def holds_records(folder: Path) -> bool:
    """Say whether a folder may hold any: whether there is more than a log's first opening."""
    return has_segments(folder, least_bytes=_BEGUN_BYTES + 1)


def replay_whole(segments: Sequence[Segment], index: LogIndex) -> None:
    """Fill an empty index from segments that nothing can have torn.

    Raises:
        LogDamagedError: they are not what a log looks like.
    """
    for segment in segments:
        data = segment.content()
        end = _replay(segment, data, index, is_first=segment is segments[0]).end
        if end < len(data) or not data:
            raise LogDamagedError(segment.path, end, "no whole, right frame")


class _Replayed(NamedTuple):
    end: int  # of the last right frame
    frames: int
    records: int


def _replay(segment: Segment, data: bytes, index: LogIndex, *, is_first: bool) -> _Replayed:
    view = memoryview(data)
    offset = frames = records = 0
    while (frame := read_frame(view, offset)) is not None:
        try:
            if offset == 0:
                _replay_opening(frame, segment, index, is_first=is_first)
            else:
                records += _replay_records(frame, segment, offset, index)
                frames += 1
        except (ValueError, struct.error) as error:
            raise LogDamagedError(segment.path, offset, str(error)) from error
        offset = frame.end
    return _Replayed(offset, frames, records)


def _replay_opening(frame: Frame, segment: Segment, index: LogIndex, *, is_first: bool) -> None:
    _expect(frame, OPENING)
    opening = decode_opening(frame.body)
    if is_first and opening.serial == segment.serial:
        index.begin(opening)
    elif opening != index.opening(segment.serial):
        raise ValueError("the segment does not follow the one before it")


def _replay_records(frame: Frame, segment: Segment, offset: int, index: LogIndex) -> int:
    _expect(frame, RECORDS)
    time_ms, rows = decode_records(frame.body)
    if time_ms < index.last_ms:
        raise ValueError(f"arrival time {time_ms} after {index.last_ms}")
    index.check(rows)
    index.add(rows, time_ms, segment.serial, payload_offsets(rows, offset))
    segment.newest_ms = time_ms
    return sum(row.records for row in rows)


def _expect(frame: Frame, kind: int) -> None:
    if frame.version != VERSION:
        raise ValueError(f"a frame of version {frame.version}; this program knows {VERSION}")
    if frame.kind != kind:
        raise ValueError(f"a frame of kind {frame.kind} where {kind} belongs")


def _refuse_unless_torn(segment: FileSegment, data: bytes, end: int, *, is_last: bool) -> None:
    if not is_last:
        raise LogDamagedError(segment.path, end, "damaged, and a later segment follows")
    later = find_frame(data, end + 1)
    if later is not None:
        raise LogDamagedError(segment.path, end, f"damaged, and a right frame follows at {later}")


def _cut(segment: FileSegment, end: int, index: LogIndex, *, is_first: bool) -> None:
    if end == 0 and is_first and segment.serial != 0:
        raise LogDamagedError(segment.path, 0, "no opening, and no earlier segment tells of it")
    segment.truncate(end)
    if end == 0:
        segment.append(encode_opening(index.opening(segment.serial)))
