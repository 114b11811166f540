import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiodis.errors import ClosedError
from aiodis.server.storage import PutBlock, RecordLog, Recovery


def fragment(partition, sequence):
    return f'{{"p":{partition},"s":{sequence}}}'


def block(log, partition, records, size=10):
    first = log.next_sequence(partition)
    fragments = [fragment(partition, first + number) for number in range(records)]
    return PutBlock(partition, first, fragments, [size] * records)


def put(log, partition, records, now_ms, size=10):
    log.append([block(log, partition, records, size)], now_ms)


def take(log, partition, sequence, *, max_bytes=10_000, max_records=1000):
    return log.read(partition, sequence, max_bytes=max_bytes, max_records=max_records)


def expected(partition, start, stop):
    return ",".join(fragment(partition, sequence) for sequence in range(start, stop)).encode()


@contextmanager
def files_end_at(size):
    """Let the system write no file beyond `size`, as if the disk were full there."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def descriptors(folder):
    """Count our open files in a folder."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += entry.readlink().is_relative_to(folder)
        except FileNotFoundError:  # the listing's own
            continue
    return count


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    return tmp_path / "stream" if request.param == "disk" else None


@pytest.fixture
def log(folder):
    log = RecordLog.open(folder)
    yield log
    log.close()


@pytest.fixture
def small(folder):
    """A log whose segments take one frame each."""
    log = RecordLog.open(folder, segment_bytes=1)
    yield log
    log.close()


# --- append and read


def test_a_new_log_is_empty(log):
    assert log.recovery == Recovery()
    assert log.next_sequence(0) == 0
    assert log.sequence_at(0, 0) == 0
    assert log.oldest_time(0, 0) is None
    assert take(log, 0, 0).payload == b""
    assert take(log, 0, 0).next_sequence == 0


def test_records_come_back_as_a_json_list_without_its_brackets(log):
    put(log, 0, 3, 1000)
    put(log, 1, 1, 1000)
    put(log, 0, 2, 1001)
    got = take(log, 0, 0)
    assert got.payload == expected(0, 0, 5)
    assert (got.count, got.next_sequence, got.data_bytes) == (5, 5, 50)
    assert take(log, 1, 0).payload == expected(1, 0, 1)


def test_one_append_takes_blocks_of_many_partitions(log):
    log.append([block(log, partition, 2) for partition in range(700)], 5)
    assert all(log.next_sequence(partition) == 2 for partition in range(700))
    assert take(log, 699, 0).payload == expected(699, 0, 2)


def test_two_blocks_of_one_partition_in_one_append(log):
    first = block(log, 0, 2)
    log.append([first, PutBlock(0, 2, [fragment(0, 2)], [10])], 5)
    assert take(log, 0, 0).payload == expected(0, 0, 3)


def test_an_append_of_nothing_writes_nothing(log):
    before = log.disk_bytes
    log.append([], 99)
    assert log.disk_bytes == before


@pytest.mark.parametrize("first", [0, 2, 4])
def test_a_block_out_of_sequence_is_refused_and_nothing_of_its_append_stored(log, first):
    put(log, 0, 3, 1)
    before = log.disk_bytes
    with pytest.raises(ValueError, match=f"sequence {first} instead of 3"):
        log.append([block(log, 1, 1), PutBlock(0, first, ["{}"], [1])], 2)
    assert log.disk_bytes == before
    assert (log.next_sequence(0), log.next_sequence(1)) == (3, 0)


@pytest.mark.parametrize("start", range(8))
@pytest.mark.parametrize("most", range(9))
def test_max_records_cuts_blocks_anywhere(log, start, most):
    for records in (3, 1, 4):
        put(log, 0, records, 1)
    got = take(log, 0, start, max_records=most)
    stop = min(8, start + most)
    assert got.payload == expected(0, start, stop)
    assert (got.count, got.next_sequence) == (stop - start, stop)
    assert got.data_bytes == 10 * (stop - start)


@pytest.mark.parametrize(
    ("max_bytes", "count"), [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3), (35, 3), (39, 3), (40, 4)]
)
def test_max_bytes_stops_before_the_record_that_would_go_over(log, max_bytes, count):
    put(log, 0, 3, 1)
    put(log, 0, 3, 2)
    got = take(log, 0, 0, max_bytes=max_bytes)
    assert (got.count, got.data_bytes) == (count, 10 * count)
    assert got.payload == expected(0, 0, count)


def test_max_bytes_counts_raw_sizes_and_not_fragments(log):
    log.append([PutBlock(0, 0, ["{}" * 1000, "{}"], [0, 1])], 1)
    assert take(log, 0, 0, max_bytes=0).count == 1
    assert take(log, 0, 0, max_bytes=1).count == 2


def test_a_read_at_or_behind_the_end_is_empty_and_stays_where_it_is(log):
    put(log, 0, 3, 1)
    for sequence in (3, 4, 1000):
        got = take(log, 0, sequence)
        assert (got.payload, got.count, got.next_sequence) == (b"", 0, sequence)


# --- times


def test_times_lead_to_sequences(log):
    put(log, 0, 3, 100)
    put(log, 0, 2, 200)
    put(log, 1, 1, 250)
    put(log, 0, 1, 300)
    at = {ms: log.sequence_at(0, ms) for ms in (0, 100, 101, 200, 201, 300, 301)}
    assert at == {0: 0, 100: 0, 101: 3, 200: 3, 201: 5, 300: 5, 301: 6}
    oldest = [log.oldest_time(0, ms) for ms in (0, 100, 101, 201, 301)]
    assert oldest == [100, 100, 200, 300, None]
    assert log.sequence_at(9, 0) == 0


def test_a_clock_that_goes_back_does_not_take_arrival_times_along(log):
    put(log, 0, 1, 500)
    put(log, 0, 1, 200)
    put(log, 0, 1, 501)
    assert log.sequence_at(0, 500) == 0
    assert log.sequence_at(0, 501) == 2
    assert log.oldest_time(0, 0) == 500


# --- rolling and expiry


def test_a_read_goes_on_over_segments(small):
    for time in range(5):
        put(small, 0, 3, time)
    assert take(small, 0, 1).payload == expected(0, 1, 15)


def test_expiry_removes_whole_segments_and_keeps_the_sequences(small):
    for time in range(5):
        put(small, 0, 3, time)
    before = small.disk_bytes
    freed = small.expire(3)
    assert freed > 0
    assert small.disk_bytes == before - freed
    assert small.sequence_at(0, 0) == 9
    assert take(small, 0, 9).payload == expected(0, 9, 15)
    assert small.next_sequence(0) == 15
    assert small.expire(3) == 0


def test_expiry_spares_a_segment_with_one_young_frame(log):
    put(log, 0, 3, 1)
    put(log, 0, 3, 9)
    assert log.expire(9) == 0
    assert take(log, 0, 0).count == 6


def test_expiry_takes_the_active_segment_when_all_of_it_is_old(log):
    put(log, 0, 3, 1)
    put(log, 1, 2, 5)
    assert log.expire(6) > 0
    assert (log.next_sequence(0), log.next_sequence(1)) == (3, 2)
    assert log.sequence_at(0, 0) == 3
    put(log, 0, 1, 7)
    assert take(log, 0, 3).payload == expected(0, 3, 4)


def test_expiry_of_an_empty_log_frees_nothing(log):
    before = log.disk_bytes
    assert log.expire(10**15) == 0
    put(log, 0, 1, 1)
    log.expire(2)
    assert log.expire(10**15) == 0
    assert log.disk_bytes < before + 100


def test_a_read_before_the_first_kept_record_says_so(small):
    for time in range(3):
        put(small, 0, 2, time)
    small.expire(2)
    with pytest.raises(ValueError, match="sequence 3 is gone; 4 is the first kept"):
        take(small, 0, 3)
    small.expire(9)
    with pytest.raises(ValueError, match="sequence 5 is gone; 6 is the first kept"):
        take(small, 0, 5)
    assert take(small, 0, 6).count == 0


def test_the_index_does_not_grow_with_what_has_passed_through(folder):
    log = RecordLog.open(folder, segment_bytes=2000, sync_rolls=False)
    for time in range(3000):
        put(log, 0, 1, time)
        log.expire(time - 50)
    assert len(log._index.partition(0).sequences) < 150
    assert log.disk_bytes < 20_000
    log.close()


# --- closing


def test_a_closed_log_refuses(log):
    put(log, 0, 1, 1)
    log.close()
    log.close()
    for call in (lambda: put(log, 0, 1, 1), lambda: take(log, 0, 0), lambda: log.expire(5)):
        with pytest.raises(ClosedError):
            call()


# --- on disk


def test_a_log_opened_again_knows_everything(tmp_path):
    log = RecordLog.open(tmp_path, segment_bytes=300)
    for time in range(20):
        log.append([block(log, 0, 2), block(log, time % 3 + 1, 1)], time)
    log.expire(4)
    old = (log.disk_bytes, log.sequence_at(0, 0), log.oldest_time(1, 0))
    log.sync()
    log.close()
    log = RecordLog.open(tmp_path, segment_bytes=300)
    assert (log.disk_bytes, log.sequence_at(0, 0), log.oldest_time(1, 0)) == old
    assert take(log, 0, old[1]).payload == expected(0, old[1], 40)
    assert log.recovery.checked_bytes == old[0]
    assert log.recovery.cut_bytes == 0
    put(log, 0, 1, 3)
    assert log.sequence_at(0, 19) == 38
    log.close()


def test_sequences_and_time_survive_when_all_records_are_gone(tmp_path):
    log = RecordLog.open(tmp_path)
    put(log, 0, 5, 1000)
    log.expire(2000)
    log.close()
    log = RecordLog.open(tmp_path)
    assert log.next_sequence(0) == 5
    assert log.recovery.records == 0
    put(log, 0, 1, 10)
    assert log.oldest_time(0, 0) == 1000
    log.close()


def test_what_an_append_returned_for_survives_kill_9(tmp_path):
    program = """
import os, signal, sys
from pathlib import Path
from aiodis.server.storage import PutBlock, RecordLog
log = RecordLog.open(Path(sys.argv[1]), segment_bytes=2000)
for number in range(100):
    log.append([PutBlock(0, number, [f'{{"p":0,"s":{number}}}'], [10])], number)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    log = RecordLog.open(tmp_path)
    assert take(log, 0, 0).payload == expected(0, 0, 100)
    log.close()


@pytest.mark.parametrize("written", [0, 1, 15, 16, 40, 80])
def test_a_failed_write_stores_nothing(tmp_path, written):
    log = RecordLog.open(tmp_path)
    put(log, 0, 2, 1)
    before = log.disk_bytes
    with files_end_at(before + written), pytest.raises(OSError):
        put(log, 0, 3, 2)
    assert (log.disk_bytes, log.next_sequence(0)) == (before, 2)
    assert (tmp_path / "0000000000.log").stat().st_size == before
    put(log, 0, 1, 3)
    log.close()
    log = RecordLog.open(tmp_path)
    assert log.recovery.cut_bytes == 0
    assert take(log, 0, 0).payload == expected(0, 0, 3)
    log.close()


@pytest.mark.parametrize("limit", [0, 10])
def test_a_segment_that_cannot_begin_leaves_the_log_as_it_was(tmp_path, limit):
    log = RecordLog.open(tmp_path, segment_bytes=1)
    put(log, 0, 2, 1)
    with files_end_at(limit), pytest.raises(OSError):
        put(log, 0, 1, 2)
    assert names(tmp_path) == ["0000000000.log"]
    assert log.next_sequence(0) == 2
    put(log, 0, 1, 3)
    assert take(log, 0, 0).payload == expected(0, 0, 3)
    log.close()


def test_a_full_disk_does_not_keep_expiry_from_freeing_sealed_segments(tmp_path):
    log = RecordLog.open(tmp_path, segment_bytes=1)
    for time in range(4):
        put(log, 0, 1, time)
    with files_end_at(0), pytest.raises(OSError):
        log.expire(100)
    assert names(tmp_path) == ["0000000003.log"]
    assert log.sequence_at(0, 0) == 3
    assert take(log, 0, 3).payload == expected(0, 3, 4)
    log.close()


def test_foreign_files_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    log = RecordLog.open(tmp_path)
    put(log, 0, 1, 1)
    log.expire(2)
    log.close()
    assert names(tmp_path) == ["0000000001.log", "notes.txt"]


def test_many_segments_share_few_descriptors(tmp_path):
    log = RecordLog.open(tmp_path, segment_bytes=1, sync_rolls=False)
    for time in range(40):
        put(log, 0, 1, time)
    assert take(log, 0, 0).payload == expected(0, 0, 40)
    if sys.platform == "linux":
        assert descriptors(tmp_path) < 12
    log.sync()
    log.close()
    if sys.platform == "linux":
        assert descriptors(tmp_path) == 0


def test_sync_runs_beside_appends_and_expiry(tmp_path):
    log = RecordLog.open(tmp_path, segment_bytes=200, sync_rolls=False)
    done = threading.Event()
    failures = []

    def sync():
        try:
            while not done.is_set():
                log.sync()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    for time in range(1500):
        put(log, 0, 2, time)
        log.expire(time - 20)
    done.set()
    thread.join()
    assert failures == []
    log.sync()
    assert not any(segment.dirty for segment in log._segments.values())
    log.close()


def test_the_arrival_of_a_record_is_told_by_its_sequence(tmp_path):
    folder = tmp_path / "stream"
    for log in (RecordLog.open(None), RecordLog.open(folder)):
        assert log.arrival_of(0, 0) is None
        put(log, 0, 3, 100)
        put(log, 1, 1, 150)
        put(log, 0, 2, 200)
        assert [log.arrival_of(0, n) for n in range(6)] == [100, 100, 100, 200, 200, None]
        assert log.arrival_of(1, 0) == 150
        assert log.appends == 3
        log.close()
    again = RecordLog.open(folder)
    assert (again.arrival_of(0, 4), again.appends) == (200, 0)
    again.expire(1000)
    assert again.arrival_of(0, 0) is None  # all are gone
    put(again, 0, 1, 300)
    assert [again.arrival_of(0, n) for n in (0, 5, 6)] == [300, 300, None]
    again.close()
