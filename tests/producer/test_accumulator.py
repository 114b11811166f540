from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.producer.accumulator import Entry, PartitionQueue, Route
from aiodis.record import Record

LIMITS = {"linger": 5.0, "max_records": 3, "max_bytes": 100}


def entry(order, size=10, *, deadline=1000.0, **fields):
    record = Record(b"x" * size, **fields)
    lane = SimpleNamespace(name="shardId-0000000007", queue=PartitionQueue())
    return Entry(record.data, Route(record, lane=lane, weight=0), order, deadline)


def add(queue, added, now):
    """Add the newest record, as a lane does it."""
    if not queue.entries:
        queue.since = now
    queue.entries.append(added)
    queue.size += len(added.data)


def queue_of(*entries, now=0.0):
    queue = PartitionQueue()
    for each in entries:
        add(queue, each, now)
    return queue


def orders(entries):
    return [each.order for each in entries]


def take(queue, now=0.0, *, max_records=3, max_bytes=100):
    return orders(queue.take(now, max_records=max_records, max_bytes=max_bytes)[0])


class TestReadiness:
    def test_an_empty_queue_is_never_ready(self):
        assert PartitionQueue().ready_at(**LIMITS) is None

    def test_a_record_is_ready_when_it_has_lingered(self):
        assert queue_of(entry(0), now=7.0).ready_at(**LIMITS) == 12.0

    def test_the_oldest_record_counts(self):
        queue = queue_of(entry(0), now=7.0)
        add(queue, entry(1), 9.0)
        assert queue.ready_at(**LIMITS) == 12.0

    def test_enough_records_are_ready_at_once(self):
        queue = queue_of(entry(0), entry(1), now=7.0)
        assert queue.ready_at(**LIMITS) == 12.0
        add(queue, entry(2), 7.0)
        assert queue.ready_at(**LIMITS) == 0.0

    def test_enough_bytes_are_ready_at_once(self):
        queue = queue_of(entry(0, 99), now=7.0)
        assert queue.ready_at(**LIMITS) == 12.0
        add(queue, entry(1, 1), 7.0)
        assert queue.ready_at(**LIMITS) == 0.0

    def test_what_is_due_is_ready_at_once(self):
        queue = queue_of(entry(0), now=7.0)
        queue.due = True
        assert queue.ready_at(**LIMITS) == 0.0

    def test_what_a_full_batch_leaves_behind_lingers_from_then_on(self):
        queue = queue_of(*(entry(order) for order in range(4)), now=7.0)
        assert take(queue, 8.0) == [0, 1, 2]
        assert queue.ready_at(**LIMITS) == 13.0

    def test_what_is_due_stays_so_until_the_queue_is_empty(self):
        queue = queue_of(*(entry(order) for order in range(4)))
        queue.due = True
        take(queue, 1.0)
        assert queue.ready_at(**LIMITS) == 0.0
        take(queue, 2.0)
        add(queue, entry(4), 3.0)
        assert queue.ready_at(**LIMITS) == 8.0


class TestTaking:
    def test_a_batch_is_the_oldest_records_that_fit(self):
        queue = queue_of(entry(0, 40), entry(1, 60), entry(2, 1))
        assert take(queue) == [0, 1]
        assert take(queue) == [2]
        assert take(queue) == []

    def test_a_batch_has_no_more_than_the_records_allowed(self):
        queue = queue_of(*(entry(order, 1) for order in range(5)))
        assert take(queue) == [0, 1, 2]
        assert take(queue) == [3, 4]

    def test_a_record_larger_than_a_batch_goes_alone(self):
        queue = queue_of(entry(0, 10), entry(1, 500), entry(2, 10))
        assert take(queue) == [0]
        assert take(queue) == [1]
        assert take(queue) == [2]

    def test_a_small_record_does_not_overtake_a_large_one(self):
        queue = queue_of(entry(0, 60), entry(1, 60), entry(2, 1))
        assert take(queue) == [0]
        assert take(queue) == [1, 2]

    def test_everything_may_be_drained(self):
        queue = queue_of(entry(0), entry(1))
        queue.due = True
        assert orders(queue.drain()) == [0, 1]
        assert (queue.size, queue.due, queue.ready_at(**LIMITS)) == (0, False, None)


class TestPuttingBack:
    def test_what_is_put_back_stands_before_what_came_later(self):
        queue = queue_of(*(entry(order) for order in range(4)))
        taken, _ = queue.take(1.0, max_records=2, max_bytes=100)
        add(queue, entry(4), 1.0)
        queue.put_back(taken, 2.0)
        assert orders(queue.entries) == [0, 1, 2, 3, 4]
        assert queue.size == 50

    def test_what_is_put_back_goes_without_lingering_again(self):
        queue = queue_of(entry(0))
        taken, _ = queue.take(1.0, max_records=2, max_bytes=100)
        queue.put_back(taken, 2.0)
        assert queue.ready_at(**LIMITS) == 0.0

    def test_two_batches_that_come_back_in_the_wrong_order_are_sorted(self):
        queue = queue_of(*(entry(order) for order in range(4)))
        first, _ = queue.take(1.0, max_records=2, max_bytes=100)
        second, _ = queue.take(1.0, max_records=2, max_bytes=100)
        queue.put_back(second, 2.0)
        queue.put_back(first, 2.0)
        assert orders(queue.entries) == [0, 1, 2, 3]


class TestExpiring:
    def test_records_past_their_deadline_leave_and_the_others_stay(self):
        queue = queue_of(entry(0, deadline=5.0), entry(1, deadline=6.0), entry(2, deadline=7.0))
        assert queue.expire(4.9) == []
        assert orders(queue.expire(6.0)) == [0, 1]
        assert (orders(queue.entries), queue.size) == ([2], 10)

    def test_a_queue_that_expired_whole_lets_the_next_record_linger(self):
        queue = queue_of(entry(0, deadline=5.0))
        queue.due = True
        queue.expire(5.0)
        add(queue, entry(1), 6.0)
        assert queue.ready_at(**LIMITS) == 11.0


sizes = st.lists(st.integers(0, 120), max_size=30)
batches = st.tuples(st.integers(1, 5), st.integers(1, 150))


@given(sizes, st.lists(batches, min_size=1))
def test_every_record_is_taken_once_in_order_and_within_the_limits(sizes, limits):
    queue = queue_of(*(entry(order, size) for order, size in enumerate(sizes)))
    seen = []
    turn = 0
    while queue.entries:
        max_records, max_bytes = limits[turn % len(limits)]
        turn += 1
        taken, size = queue.take(0.0, max_records=max_records, max_bytes=max_bytes)
        assert size == sum(len(each.data) for each in taken)
        assert 1 <= len(taken) <= max_records
        assert len(taken) == 1 or size <= max_bytes
        assert queue.size == sum(len(each.data) for each in queue.entries)
        seen += taken
    assert orders(seen) == list(range(len(sizes)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 50)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("back"), st.integers(0, 9)),
        st.tuples(st.just("expire"), st.integers(0, 60)),
        st.tuples(st.just("drain"), st.just(0)),
    )
)


class Model:
    """A queue with what was taken from it and has no outcome yet."""

    def __init__(self):
        self.queue = PartitionQueue()
        self.now = self.count = 0
        self.out = []
        self.gone = []

    def append(self, size):
        add(self.queue, entry(self.count, size, deadline=self.now + 50.0), self.now)
        self.count += 1

    def take(self, most):
        taken, _ = self.queue.take(self.now, max_records=most, max_bytes=100)
        if taken:
            self.out.append(taken)

    def back(self, which):
        if self.out:
            self.queue.put_back(self.out.pop(which % len(self.out)), self.now)

    def expire(self, later):
        self.now += later
        gone = self.queue.expire(self.now)
        assert all(each.deadline <= self.now for each in gone)
        assert all(each.deadline > self.now for each in self.queue.entries)
        self.gone += gone

    def drain(self, _):
        self.gone += self.queue.drain()

    def check(self):
        waiting = orders(self.queue.entries)
        assert waiting == sorted(waiting)
        assert self.queue.size == sum(len(each.data) for each in self.queue.entries)
        everywhere = waiting + orders(self.gone) + [o for hand in self.out for o in orders(hand)]
        assert sorted(everywhere) == list(range(self.count))


@given(STEPS)
def test_through_everything_each_record_is_in_one_place_and_the_order_is_kept(steps):
    model = Model()
    for name, number in steps:
        getattr(model, name)(number)
        model.check()


class TestEntries:
    def test_an_entry_stands_in_for_its_record(self):
        record = Record(b"data", "k", 5, "0", 7)
        made = entry(0, 4, partition_key="k", explicit_hash_key=5, partition_id="0", timestamp_ms=7)
        for name in ("partition_key", "explicit_hash_key", "partition_id", "timestamp_ms"):
            assert getattr(made, name) == getattr(record, name)

    @pytest.mark.parametrize(
        ("fields", "pinned", "spread"),
        [
            ({}, False, True),
            ({"partition_key": "k"}, False, False),
            ({"explicit_hash_key": 0}, False, False),
            ({"partition_id": "0"}, True, False),
        ],
    )
    def test_a_route_knows_whose_choice_the_partition_is(self, fields, pinned, spread):
        route = entry(0, **fields).route
        assert (route.pinned, route.spread) == (pinned, spread)
        assert (route.partition_id == "shardId-0000000007") == spread

    def test_a_route_gives_the_record_back_as_it_was(self):
        record = Record(b"data", "k", 5, "0", 7)
        assert (
            Route(record, lane=SimpleNamespace(name="", queue=None), weight=0).record(b"data")
            == record
        )
        assert entry(0).route.record(b"") == Record(b"")
