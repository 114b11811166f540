import resource
from contextlib import contextmanager

import pytest

from aiodis.server.storage.frame import LogDamagedError
from aiodis.server.storage.segment import FileSegment, MemorySegment, find_segments, sync_folder


@contextmanager
def files_end_at(size):
    """Let the system write no file beyond `size`, as if the disk were full there."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@pytest.fixture(params=["file", "memory"])
def segment(request, tmp_path):
    made = FileSegment.create(tmp_path, 7) if request.param == "file" else MemorySegment(7)
    yield made
    made.rest()


def test_what_was_appended_can_be_read(segment):
    segment.append([b"abc", b"defgh"])
    segment.append([b"ij"])
    assert (segment.serial, segment.size) == (7, 10)
    assert segment.read(0, 3) == b"abc"
    assert segment.read(4, 3) == b"efg"
    assert segment.read(8, 2) == b"ij"


def test_more_buffers_than_one_write_takes_are_written(segment):
    segment.append([b"%04d" % number for number in range(3000)])
    assert segment.size == 12_000
    assert segment.read(11_996, 4) == b"2999"


def test_a_segment_at_rest_takes_its_file_again(tmp_path):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"one"])
    segment.rest()
    assert segment.rests
    assert segment.read(0, 3) == b"one"
    segment.rest()
    segment.append([b"two"])
    assert segment.read(3, 3) == b"two"
    segment.rest()
    segment.rest()


@pytest.mark.parametrize("limit", [3, 5, 9])
def test_a_short_write_leaves_the_segment_as_it_was(tmp_path, limit):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"abc"])
    with files_end_at(limit), pytest.raises(OSError):
        segment.append([b"defg", b"hijk"])
    assert segment.size == 3
    assert segment.path.read_bytes() == b"abc"
    segment.append([b"xyz"])
    assert segment.path.read_bytes() == b"abcxyz"
    segment.rest()


def test_what_a_failed_write_left_is_cut_before_the_next(tmp_path):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"abc"])
    with segment.path.open("ab") as file:
        file.write(b"left behind")
    segment._torn = True
    segment.append([b"xyz"])
    assert segment.path.read_bytes() == b"abcxyz"
    segment.rest()


def test_sync_takes_the_mark_away(tmp_path):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"abc"])
    assert segment.dirty
    segment.sync()
    assert not segment.dirty
    segment.rest()
    sync_folder(tmp_path)


def test_a_failed_sync_keeps_the_mark(tmp_path):
    segment = FileSegment(tmp_path / "file" / "0000000000.log", 0, 0)
    (tmp_path / "file").touch()
    segment.dirty = True
    with pytest.raises(NotADirectoryError):
        segment.sync()
    assert segment.dirty


def test_a_removed_segment_needs_no_sync(tmp_path):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"abc"])
    segment.remove()
    segment.remove()
    segment.sync()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_is_damage_and_not_fewer_bytes(tmp_path):
    segment = FileSegment.create(tmp_path, 0)
    segment.append([b"abc"])
    with pytest.raises(LogDamagedError, match=r"0000000000\.log, byte 1: 2 of 5 bytes"):
        segment.read(1, 5)
    segment.rest()


def test_segments_are_found_in_order_and_foreign_names_ignored(tmp_path):
    for name in ("0000000009.log", "0000000010.log", "0000000008.log"):
        (tmp_path / name).write_bytes(name.encode())
    for name in ("7.log", "0000000005.log.bak", "x0000000001.log", ".lock", "catalog.sqlite"):
        (tmp_path / name).touch()
    (tmp_path / "0000000002").mkdir()
    found = find_segments(tmp_path)
    assert [(segment.serial, segment.size) for segment in found] == [(8, 14), (9, 14), (10, 14)]


def test_a_missing_segment_is_named(tmp_path):
    for serial in (3, 5):
        (tmp_path / f"{serial:010d}.log").touch()
    with pytest.raises(LogDamagedError, match=r"0000000004\.log.*missing"):
        find_segments(tmp_path)


def test_an_existing_file_is_never_taken_for_a_new_segment(tmp_path):
    (tmp_path / "0000000001.log").touch()
    with pytest.raises(FileExistsError):
        FileSegment.create(tmp_path, 1)
