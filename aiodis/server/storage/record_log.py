"""The durable log of one stream: records in wire form, appended, read in slices, expired.

A record is kept as the JSON fragment that an answer carries. So a put is one
write of joined fragments, and a get is a few slices of a file, joined again.
Nothing is parsed, and nothing is kept in memory but an index of the blocks.

The log knows arrival times, but no clock and no retention: the caller says what
the time is, and since when records are visible. It is plain synchronous code for
one thread, but for `sync`, which may run in another beside it.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

from aiodis.errors import ClosedError
from aiodis.server.storage.frame import (
    LogDamagedError,
    PutBlock,
    encode_opening,
    encode_records,
    payload_offsets,
    unpack_numbers,
)
from aiodis.server.storage.index import LogIndex, PartitionIndex
from aiodis.server.storage.recovery import Recovery, has_begun, recover, replay_whole
from aiodis.server.storage.segment import FileSegment, MemorySegment, Segment, sync_folder

__all__ = ["RecordLog", "SegmentContent", "Slice"]

SEGMENT_BYTES: Final = 64 * 1024 * 1024

_OPEN_SEALED: Final = 8
"""How many segments besides the active one keep a file descriptor."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive records of one partition.

    `payload` is their fragments joined by commas, ready to stand inside a JSON
    list. `data_bytes` is the sum of their raw sizes.
    """

    payload: bytes
    count: int
    next_sequence: int
    data_bytes: int


class SegmentContent(NamedTuple):
    """One segment as a whole, with the number that its file bears."""

    serial: int
    content: bytes


class RecordLog:
    """The records of one stream, in order of arrival within each partition.

    Sequences are dense, from 0, and never used again, whatever expires. Arrival
    times never go back. One process at a time may have a folder open.
    """

    def __init__(self, folder: Path | None, *, segment_bytes: int, sync_rolls: bool) -> None:
        self.recovery = Recovery()
        """What the start found."""
        self.appends = 0
        """How often records were appended since the start: tells whether there are new ones."""
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._sync_rolls = sync_rolls
        self._index = LogIndex()
        self._segments: dict[int, Segment] = {}  # by serial, oldest first; the last is active
        self._awake: deque[Segment] = deque()  # sealed ones with a file descriptor
        self._folder_dirty = False
        self._sync_failure: OSError | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync_rolls: bool = True,
        may_begin: bool = True,
    ) -> "RecordLog":
        """Open the log of a folder, made if need be and if it may be; None keeps all in memory.

        `sync_rolls` brings each full segment to the disk before the next one begins.
        Without it, a loss of power may tear an earlier segment than the last, and the
        next start refuses.

        Raises:
            LogDamagedError: the folder holds a log that cannot be trusted, or none and
                there should be one.
        """
        log = cls(folder, segment_bytes=segment_bytes, sync_rolls=sync_rolls)
        if folder is not None:
            log._load(folder, may_begin=may_begin)
        if not log._segments:
            log._begin_segment(0, sync=sync_rolls)
        return log

    @classmethod
    def made_of(
        cls,
        folder: Path | None,
        contents: Sequence[SegmentContent],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        sync_rolls: bool = True,
    ) -> "RecordLog":
        """Make a log of what `contents` gave, in a folder that is not there yet, or in memory.

        Nothing is brought to the disk: that is for `sync`.

        Raises:
            LogDamagedError: they are no log. A folder is left as far as it was written.
            OSError: they could not be written; likewise.
        """
        log = cls(folder, segment_bytes=segment_bytes, sync_rolls=sync_rolls)
        if folder is not None:
            folder.mkdir(parents=True)
        try:
            for serial, content in contents:
                log._make_segment(serial).append([content])
            replay_whole(list(log._segments.values()), log._index)
        except BaseException:
            log.close()
            raise
        for segment in list(log._segments.values())[:-1]:
            log._note_awake(segment)
        return log

    def contents(self) -> list[SegmentContent]:
        """Give all segments, for `made_of`."""
        self._check_open()
        return [SegmentContent(s.serial, s.content()) for s in self._segments.values()]

    def emptied(self) -> list[SegmentContent]:
        """Give the segments of this log without its records; the sequences go on."""
        return [SegmentContent(0, b"".join(encode_opening(self._index.opening(0))))]

    @property
    def partitions(self) -> int:
        """How many partitions there are at least: one more than the highest number in use."""
        return self._index.partitions

    @property
    def disk_bytes(self) -> int:
        """The size of all segments."""
        return sum(segment.size for segment in self._segments.values())

    @property
    def is_dirty(self) -> bool:
        """Whether something was appended that no `sync` has brought to the disk."""
        return self._folder_dirty or any(segment.dirty for segment in self._segments.values())

    def append(self, blocks: Sequence[PutBlock], now_ms: int) -> None:
        """Store blocks in one frame: all, or none when it raises.

        When it returns, the operating system has them: they survive the end of the
        process, and with a `sync` that of the machine.

        Raises:
            ValueError: a block does not begin at its partition's `next_sequence`.
            OSError: they could not be written, as on a full disk; or a `sync` has failed.
        """
        self._check_open()
        self._check_synced()
        if not blocks:
            return
        time_ms = max(now_ms, self._index.last_ms)
        frame, rows = encode_records(time_ms, blocks)
        self._index.check(rows)
        segment = self._segment_for(sum(map(len, frame)))
        offset = segment.size
        segment.append(frame)
        segment.newest_ms = time_ms
        self._index.add(rows, time_ms, segment.serial, payload_offsets(rows, offset))
        self.appends += 1

    def next_sequence(self, partition: int) -> int:
        """Tell the sequence of the partition's next record; 0 for a new partition."""
        return self._index.next_sequence(partition)

    def sequence_at(self, partition: int, time_ms: int) -> int:
        """Find the first record that arrived at this time or later; without one, the next."""
        index = self._index.partition(partition)
        return index.start(index.block_since(time_ms))

    def oldest_time(self, partition: int, since_ms: int) -> int | None:
        """Tell the arrival time of the first record since a time, None without one."""
        index = self._index.partition(partition)
        block = index.block_since(since_ms)
        return index.times[block] if block < len(index.times) else None

    def arrival_of(self, partition: int, sequence: int) -> int | None:
        """Tell when a record arrived, or the first kept after it; None where there is none yet."""
        index = self._index.partition(partition)
        block = max(index.block_of(sequence), 0)
        if sequence >= index.next_sequence or block >= len(index.times):
            return None
        return index.times[block]

    def read(self, partition: int, sequence: int, *, max_bytes: int, max_records: int) -> Slice:
        """Read records from a sequence on.

        It stops before the record that would bring the raw sizes over `max_bytes`, so
        the slice is empty when the first one does. At the partition's end it is empty.

        Raises:
            ValueError: the sequence has expired from the log.
        """
        self._check_open()
        index = self._index.partition(partition)
        if sequence < index.start(0):
            raise ValueError(f"sequence {sequence} is gone; {index.start(0)} is the first kept")
        stop = min(sequence + max_records, index.next_sequence)
        pieces: list[bytes] = []
        at, room = sequence, max_bytes
        block = index.block_of(sequence)
        while at < stop:
            piece, reached, size = self._read_block(index, block, at, stop, room)
            if reached > at:
                pieces.append(piece)
            at, room = reached, room - size
            block += 1
            if at < index.start(block):
                break
        return Slice(b",".join(pieces), at - sequence, at, max_bytes - room)

    def expire(self, before_ms: int) -> int:
        """Remove the segments all of whose records arrived before a time; tell the bytes freed.

        The active segment goes too when it has nothing younger. Sequences stay.
        """
        self._check_open()
        before = self.disk_bytes
        active = self._active
        while (oldest := next(iter(self._segments.values()))) is not active:
            if not _is_older(oldest, before_ms):
                return before - self.disk_bytes
            self._remove(oldest)
        if _is_older(active, before_ms):
            # Now only the new segment knows the sequences: it must be on the disk first.
            self._begin_segment(active.serial + 1, sync=True)
            self._remove(active)
        return before - self.disk_bytes

    def sync(self) -> None:
        """Bring everything appended before the call to the disk.

        May run in another thread, beside any other call. Nothing is left to do once
        the log is closed.

        Raises:
            OSError: it failed. The system may have dropped what it could not write, and
                would not say so again: this log takes no more records, and its next start
                tells what is left.
        """
        self._check_synced()
        try:
            for segment in list(self._segments.values()):
                if segment.dirty:
                    segment.sync()
            self._sync_folder()
        except OSError as exc:
            if not self._closed:  # else the stream was removed meanwhile
                self._sync_failure = exc
                raise

    def close(self) -> None:
        """Give all files back. Repeating it does nothing. It does not `sync`."""
        self._closed = True
        for segment in self._segments.values():
            segment.rest()

    @property
    def _active(self) -> Segment:
        return next(reversed(self._segments.values()))

    def _load(self, folder: Path, *, may_begin: bool) -> None:
        if not may_begin and not has_begun(folder):
            raise LogDamagedError(folder, 0, "the log is missing")
        if not folder.exists():
            folder.mkdir(parents=True)
            sync_folder(folder.parent)
        segments, self.recovery = recover(folder, self._index)
        self._segments.update((segment.serial, segment) for segment in segments)

    def _segment_for(self, length: int) -> Segment:
        active = self._active
        if active.newest_ms is None or active.size + length <= self._segment_bytes:
            return active
        if self._sync_rolls:
            self._sync_segment(active)
        begun = self._begin_segment(active.serial + 1, sync=self._sync_rolls)
        self._note_awake(active)
        return begun

    def _sync_segment(self, segment: Segment) -> None:
        try:
            segment.sync()
        except OSError as exc:
            self._sync_failure = exc
            raise

    def _begin_segment(self, serial: int, *, sync: bool) -> Segment:
        segment = self._make_segment(serial)
        try:
            segment.append(encode_opening(self._index.opening(serial)))
            if sync:
                segment.sync()
        except BaseException:
            del self._segments[serial]
            segment.remove()
            raise
        if sync:
            self._sync_folder()
        return segment

    def _make_segment(self, serial: int) -> Segment:
        """Make a segment without anything in it, not even its opening."""
        segment: Segment
        if self._folder is None:
            segment = MemorySegment(serial)
        else:
            segment = FileSegment.create(self._folder, serial)
        self._segments[serial] = segment
        self._folder_dirty = True
        return segment

    def _sync_folder(self) -> None:
        if self._folder is None or not self._folder_dirty:
            return
        self._folder_dirty = False  # first, as a segment may begin during the call
        try:
            sync_folder(self._folder)
        except OSError:
            self._folder_dirty = True
            raise

    def _remove(self, oldest: Segment) -> None:
        oldest.remove()
        del self._segments[oldest.serial]
        self._index.drop_before(oldest.serial + 1)

    def _read_block(
        self, index: PartitionIndex, block: int, at: int, stop: int, room: int
    ) -> tuple[bytes, int, int]:
        """Read of one block what lies from `at` up to `stop` and fits into `room`.

        Returns the fragments, the sequence behind them and the sum of their raw sizes.
        """
        segment = self._awaken(index.segments[block])
        offset = index.offsets[block]
        start, end, size = index.start(block), index.start(block + 1), index.data_bytes[block]
        if at == start and end <= stop and size <= room:
            return segment.read(offset, index.payload_bytes[block]), end, size
        count = end - start
        numbers = unpack_numbers(segment.read(offset - 8 * count, 8 * count))
        skip = at - start
        sums = list(accumulate(numbers[count + skip : count + min(stop, end) - start]))
        taken = bisect_right(sums, room)
        if not taken:
            return b"", at, 0
        offset += sum(numbers[:skip]) + skip  # each fragment before has a comma behind it
        length = sum(numbers[skip : skip + taken]) + taken - 1
        return segment.read(offset, length), at + taken, sums[taken - 1]

    def _awaken(self, serial: int) -> Segment:
        segment = self._segments[serial]
        if segment.rests:
            self._note_awake(segment)
        return segment

    def _note_awake(self, segment: Segment) -> None:
        """Count a segment among those with a descriptor; let the first of them rest instead."""
        self._awake.append(segment)
        if len(self._awake) > _OPEN_SEALED:
            self._awake.popleft().rest()

    def _check_synced(self) -> None:
        if (failure := self._sync_failure) is not None:
            raise OSError(failure.errno, f"an earlier sync failed: {failure.strerror}")

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the record log is closed")


def _is_older(segment: Segment, time_ms: int) -> bool:
    return segment.newest_ms is not None and segment.newest_ms < time_ms
