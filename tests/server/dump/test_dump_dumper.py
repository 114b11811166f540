"""When deliveries are due and what they take, on the engine alone."""

import pytest

from aiodis.api import Records, Streams, TransferTasks
from aiodis.api.destinations import ObsDestination
from aiodis.server.dump.buckets import MemoryBuckets
from aiodis.server.dump.dumper import Dumper
from aiodis.server.engine import Engine
from aiodis.wire.codec import PutBody, PutEntry

MINUTE = 60_000


class Bench:
    """An engine with a stream and a task, told each time."""

    def __init__(self):
        self.buckets = MemoryBuckets()
        self.engine = Engine.open(None, limited=False, buckets=self.buckets)
        self.call(Streams.create, stream_name="s", partition_count=1)
        bucket = ObsDestination(
            task_name="t", agency_name="a", deliver_time_interval=60, obs_bucket_path="bucket"
        )
        self.call(TransferTasks.create, stream_name="s", destination=bucket)

    def call(self, row, now_ms=0, /, **fields):
        return self.engine.handle(row, row.build(**fields), now_ms)

    def put(self, data, now_ms):
        self.engine.handle(Records.put, PutBody([PutEntry.of(data)], "s"), now_ms)

    @property
    def due_ms(self):
        return Dumper(self.engine._state, self.buckets).due_ms()

    @property
    def files(self):
        return [self.buckets.read("bucket", name) for name in self.buckets.files("bucket")]


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.engine.close()


@pytest.mark.parametrize(
    ("arrival", "due"),
    [(0, 1), (1, 1), (MINUTE - 1, 1), (MINUTE, 2), (MINUTE + 1, 2), (10 * MINUTE, 11)],
)
def test_a_delivery_is_due_at_the_first_whole_interval_after_what_waits(bench, arrival, due):
    assert bench.due_ms is None
    bench.put(b"one", arrival)
    assert bench.due_ms == due * MINUTE
    bench.put(b"two", arrival + 1)
    assert bench.due_ms == due * MINUTE


def test_a_delivery_that_comes_late_takes_what_had_arrived_by_its_time(bench):
    bench.put(b"one", MINUTE - 1)
    bench.put(b"two", MINUTE)
    bench.engine.agenda.run_until(MINUTE + 5_000)
    assert bench.files == [b"one\n"]
    assert bench.due_ms == 2 * MINUTE
    bench.engine.agenda.run_until(2 * MINUTE)
    assert bench.files == [b"one\n", b"two\n"]
    assert bench.due_ms is None


def test_nothing_is_due_for_a_task_or_a_stream_that_is_gone(bench):
    bench.put(b"one", 1)
    bench.call(TransferTasks.delete, 2, stream_name="s", task_name="t")
    assert bench.due_ms is None
    other = Bench()
    other.put(b"one", 1)
    other.call(Streams.delete, 2, stream_name="s")
    assert other.due_ms is None
    assert list(other.engine._state.tasks) == []
    other.engine.close()
