import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from aiodis.server.storage import LogDamagedError, PutBlock, RecordLog, Recovery


def put(log, now_ms):
    blocks = []
    for partition in (0, 3):
        first = log.next_sequence(partition)
        fragments = [f'{{"p":{partition},"s":{first + number}}}' for number in range(2)]
        blocks.append(PutBlock(partition, first, fragments, [7, 8]))
    log.append(blocks, now_ms)


def contents(log):
    return {
        partition: log.read(
            partition, log.sequence_at(partition, 0), max_bytes=10**6, max_records=10**6
        )
        for partition in (0, 3)
    }


def opened(folder):
    log = RecordLog.open(folder, sync_rolls=False)
    found = contents(log)
    log.close()
    return log.recovery, found


class Written:
    """A log of frames in one folder: its files, the frames' edges, what each prefix holds."""

    def __init__(self, folder, frames, segment_bytes=10**6):
        self.folder = folder
        log = RecordLog.open(folder, segment_bytes=segment_bytes, sync_rolls=False)
        self.edges = [log.disk_bytes]
        self.held = [contents(log)]
        for time in range(frames):
            put(log, time)
            self.edges.append(log.disk_bytes)
            self.held.append(contents(log))
        log.close()
        self.paths = sorted(folder.iterdir())
        self.data = [path.read_bytes() for path in self.paths]

    def restore(self, *, instead):
        """Put the files back, but the last one with other bytes."""
        for path, data in zip(self.paths, [*self.data[:-1], instead], strict=True):
            path.write_bytes(data)


@pytest.fixture
def three(tmp_path):
    return Written(tmp_path, 3)


@pytest.fixture
def rolled(tmp_path):
    """Three frames, each in a segment of its own."""
    return Written(tmp_path, 3, segment_bytes=1)


# --- torn tails are cut


def test_a_tail_torn_at_any_byte_is_cut_and_reported(three):
    for length in range(three.edges[2] + 1, three.edges[3]):
        three.restore(instead=three.data[0][:length])
        recovery, found = opened(three.folder)
        assert found == three.held[2]
        assert recovery.cut_bytes == length - three.edges[2]
        assert recovery.cut_file == three.paths[0]
        assert three.paths[0].read_bytes() == three.data[0][: three.edges[2]]


def test_a_log_with_a_cut_tail_goes_on_as_if_the_frame_had_never_been(three):
    three.restore(instead=three.data[0][:-1])
    log = RecordLog.open(three.folder)
    put(log, 2)
    log.close()
    assert three.paths[0].read_bytes() == three.data[0]


@pytest.mark.parametrize("junk", [b"\0" * 5000, b"\xffDIS" * 100, b"x", b"\xffDIS\x01\x02\0\0"])
def test_junk_behind_the_last_frame_is_cut(three, junk):
    three.restore(instead=three.data[0] + junk)
    recovery, found = opened(three.folder)
    assert found == three.held[3]
    assert recovery.cut_bytes == len(junk)


def test_the_last_frame_with_any_byte_changed_is_cut_and_reported(three):
    for place in range(three.edges[2], three.edges[3]):
        for mask in (0x01, 0x80, 0xFF):
            data = bytearray(three.data[0])
            data[place] ^= mask
            three.restore(instead=data)
            recovery, found = opened(three.folder)
            assert found == three.held[2]
            assert recovery.cut_bytes == three.edges[3] - three.edges[2]


def test_a_second_start_finds_nothing_to_cut(three):
    three.restore(instead=three.data[0][:-1])
    opened(three.folder)
    recovery, found = opened(three.folder)
    assert recovery.cut_bytes == 0
    assert found == three.held[2]


def test_an_opening_torn_at_any_byte_is_written_again_with_the_sequences(rolled):
    opening = len(rolled.data[0]) - (rolled.edges[1] - rolled.edges[0])
    assert opening == rolled.edges[0]
    begun = len(rolled.data[2]) - (rolled.edges[1] - rolled.edges[0])
    for length in range(begun):
        rolled.restore(instead=rolled.data[2][:length])
        recovery, found = opened(rolled.folder)
        assert found == rolled.held[2]
        assert recovery.cut_bytes == length
        assert rolled.paths[2].read_bytes() == rolled.data[2][:begun]


def test_the_opening_of_a_log_that_never_began_is_written_again(tmp_path):
    path = tmp_path / "0000000000.log"
    path.touch()
    recovery, _ = opened(tmp_path)
    begun = path.read_bytes()
    assert begun
    assert recovery == Recovery(segments=1)
    for length in range(1, len(begun)):
        path.write_bytes(begun[:length])
        recovery, _ = opened(tmp_path)
        assert recovery.cut_bytes == length
        assert path.read_bytes() == begun


# --- everything else is refused


def test_any_byte_changed_before_the_last_frame_refuses_to_start(three):
    starts = [0, *three.edges[:3]]
    for start, end in pairwise(starts):
        for place in range(start, end):
            data = bytearray(three.data[0])
            data[place] ^= 0x10
            three.restore(instead=data)
            with pytest.raises(LogDamagedError, match="a right frame follows") as refusal:
                RecordLog.open(three.folder)
            assert (refusal.value.path, refusal.value.offset) == (three.paths[0], start)
            assert three.paths[0].read_bytes() == data


def test_any_byte_changed_in_an_earlier_segment_refuses_to_start(rolled):
    for place in range(len(rolled.data[1])):
        data = bytearray(rolled.data[1])
        data[place] ^= 0x10
        rolled.paths[1].write_bytes(data)
        with pytest.raises(LogDamagedError, match="a later segment follows") as refusal:
            RecordLog.open(rolled.folder)
        assert refusal.value.path == rolled.paths[1]


@pytest.mark.parametrize("length", [0, 1, 50, -1])
def test_an_earlier_segment_that_ends_early_refuses_to_start(rolled, length):
    rolled.paths[1].write_bytes(rolled.data[1][:length])
    with pytest.raises(LogDamagedError, match="a later segment follows"):
        RecordLog.open(rolled.folder)


def test_an_earlier_segment_cut_between_frames_refuses_to_start(tmp_path):
    written = Written(tmp_path, 5, segment_bytes=500)
    assert len(written.paths) > 1
    written.paths[0].write_bytes(written.data[0][: written.edges[1]])
    with pytest.raises(LogDamagedError, match="does not follow") as refusal:
        RecordLog.open(tmp_path)
    assert refusal.value.path == written.paths[1]


def test_a_missing_segment_refuses_to_start(rolled):
    rolled.paths[1].unlink()
    with pytest.raises(LogDamagedError, match=r"0000000001\.log.*missing"):
        RecordLog.open(rolled.folder)


def test_the_oldest_segments_may_be_gone(rolled):
    rolled.paths[0].unlink()
    recovery, found = opened(rolled.folder)
    assert recovery.records == 8
    assert {slice_.next_sequence for slice_ in found.values()} == {6}


def test_a_segment_under_the_name_of_another_refuses_to_start(rolled):
    rolled.paths[2].write_bytes(rolled.data[1])
    with pytest.raises(LogDamagedError, match="does not follow"):
        RecordLog.open(rolled.folder)


def test_an_only_segment_without_its_opening_refuses_as_it_alone_knew_the_sequences(rolled):
    for path in rolled.paths[:2]:
        path.unlink()
    rolled.paths[2].write_bytes(rolled.data[2][:10])
    with pytest.raises(LogDamagedError, match="no earlier segment"):
        RecordLog.open(rolled.folder)


def test_a_frame_taken_out_refuses_to_start(three):
    start, end = three.edges[1:3]
    three.restore(instead=three.data[0][:start] + three.data[0][end:])
    with pytest.raises(LogDamagedError, match="sequence 4 instead of 2"):
        RecordLog.open(three.folder)


def test_a_frame_repeated_refuses_to_start(three):
    three.restore(instead=three.data[0] + three.data[0][three.edges[2] :])
    with pytest.raises(LogDamagedError, match="sequence 4 instead of 6") as refusal:
        RecordLog.open(three.folder)
    assert refusal.value.offset == three.edges[3]


def test_a_second_opening_refuses_to_start(three):
    three.restore(instead=three.data[0] + three.data[0][: three.edges[0]])
    with pytest.raises(LogDamagedError, match="a frame of kind 1 where 2 belongs"):
        RecordLog.open(three.folder)


def test_a_file_that_begins_with_records_refuses_to_start(three):
    three.restore(instead=three.data[0][three.edges[0] :])
    with pytest.raises(LogDamagedError, match="a frame of kind 2 where 1 belongs"):
        RecordLog.open(three.folder)


def test_a_frame_of_a_later_version_is_not_mistaken_for_a_torn_tail(three):
    start = three.edges[2]
    frame = bytearray(three.data[0][start:])
    frame[4] = 2
    crc = zlib.crc32(frame[16:], zlib.crc32(frame[:12]))
    frame[12:16] = crc.to_bytes(4, "little")
    three.restore(instead=three.data[0][:start] + frame)
    with pytest.raises(LogDamagedError, match="version 2; this program knows 1"):
        RecordLog.open(three.folder)


# --- the report


def test_the_report_counts_what_was_found(rolled):
    recovery, _ = opened(rolled.folder)
    size = sum(map(len, rolled.data))
    assert recovery == Recovery(segments=3, frames=3, records=12, checked_bytes=size)
    assert recovery.summary == f"records 12, frames 3, segments 3, bytes checked {size}"


def test_the_report_tells_the_operator_what_was_cut():
    recovery = Recovery(1, 2, 3, 400, 55, Path("data/0000000000.log"))
    assert recovery.summary == (
        "records 3, frames 2, segments 1, bytes checked 400; "
        "cut a torn tail of 55 bytes off data/0000000000.log"
    )
