import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.consumer.reader import Reader
from aiodis.record import Batch, ReceivedRecord

NAME = "shardId-0000000000"


def records(*numbers):
    return [ReceivedRecord(sequence_number=number, data=b"x") for number in numbers]


def reader_of(*batches, position=0):
    """A reader with batches of given sequence numbers fetched, of 100 bytes each."""
    reader = Reader(NAME, position, position)
    for numbers in batches:
        fetch(reader, *numbers)
    return reader


def fetch(reader, *numbers, size=100):
    following = numbers[-1] + 1
    reader.cursor.advance(following, f"at-{following}", 0.0)
    reader.add(Batch(NAME, records(*numbers), following), size)


def numbers(batch):
    return [record.sequence_number for record in batch.records]


class TestTaking:
    def test_batches_come_in_the_order_they_were_fetched(self):
        reader = reader_of([0, 1], [2, 3, 4])
        first, size = reader.take()
        assert (numbers(first), first.next_sequence_number, size) == ([0, 1], 2, 100)
        second, size = reader.take()
        assert (numbers(second), second.next_sequence_number, size) == ([2, 3, 4], 5, 100)
        assert not reader.batches

    def test_what_is_taken_is_handed_out_and_not_finished(self):
        reader = reader_of([0, 1, 2])
        reader.take()
        assert reader.progress.handed_out == 3
        assert reader.progress.due() is None

    def test_the_head_of_a_batch_leaves_the_rest_in_front(self):
        reader = reader_of([0, 1, 4], [5])
        head, size = reader.take(2)
        assert (numbers(head), head.next_sequence_number) == ([0, 1], 4)
        assert size == 100
        assert reader.progress.handed_out == 4
        rest, size = reader.take(2)
        assert (numbers(rest), rest.next_sequence_number, size) == ([4], 5, 0)
        assert reader.take()[1] == 100

    @pytest.mark.parametrize("most", [3, 4, None])
    def test_a_batch_within_the_limit_is_given_whole(self, most):
        reader = reader_of([0, 1, 2])
        assert numbers(reader.take(most)[0]) == [0, 1, 2]
        assert not reader.batches

    def test_a_batch_keeps_the_partitions_name(self):
        reader = reader_of([0, 1])
        assert reader.take(1)[0].partition_id == reader.take()[0].partition_id == NAME


class TestPuttingBack:
    def test_the_rest_of_a_batch_is_given_again_first(self):
        reader = reader_of([0, 1, 2], [3])
        batch, _ = reader.take()
        reader.progress.finish(1)
        reader.put_back(batch.records[1:], batch.next_sequence_number)
        assert reader.progress.handed_out == 1
        again, size = reader.take()
        assert (numbers(again), again.next_sequence_number, size) == ([1, 2], 3, 0)
        assert numbers(reader.take()[0]) == [3]

    def test_what_was_put_back_is_not_finished(self):
        reader = reader_of([0, 1, 2])
        batch, _ = reader.take()
        reader.put_back(batch.records[1:], batch.next_sequence_number)
        reader.progress.finish(3)
        assert reader.progress.due() == 1


class TestReadable:
    def test_a_reader_with_a_batch_is_readable(self):
        reader = reader_of([0])
        assert reader.readable
        reader.take()
        assert not reader.readable

    @pytest.mark.parametrize("name", ["paused", "full", "behind", "leaving"])
    def test_one_that_is_withheld_or_full_is_not(self, name):
        reader = reader_of([0])
        setattr(reader, name, True)
        assert not reader.readable
        setattr(reader, name, False)
        assert reader.readable


class TestMoving:
    def test_a_seek_drops_what_was_fetched_and_gives_its_bytes(self):
        reader = reader_of([0, 1], [2])
        generation = reader.cursor.generation
        assert reader.seek(50) == 200
        assert not reader.batches
        assert (reader.cursor.position, reader.progress.due()) == (50, 50)
        assert reader.cursor.generation > generation
        assert reader.cursor.token(0.0, max_age=270) is None

    def test_bytes_of_a_head_that_was_given_are_not_given_twice(self):
        reader = reader_of([0, 1], [2])
        assert reader.take(1)[1] == 100
        assert reader.seek(50) == 100

    def test_unfetched_records_are_fetched_again_and_those_with_the_user_are_not(self):
        reader = reader_of([0, 1], [2, 3])
        reader.take()
        assert reader.unfetch() == 100
        assert reader.cursor.position == 2
        assert reader.progress.handed_out == 2
        reader.progress.finish(2)
        assert reader.progress.due() == 2

    def test_the_rest_of_a_batch_is_unfetched_too(self):
        reader = reader_of([0, 1, 2])
        reader.take(1)
        assert reader.unfetch() == 0
        assert reader.cursor.position == 1

    def test_what_is_unfetched_behind_a_gap_is_fetched_again_from_there(self):
        reader = reader_of([0, 1])
        reader.take()
        reader.reset(9)
        fetch(reader, 9, 10)
        reader.unfetch()
        assert reader.cursor.position == 9

    def test_with_nothing_in_hand_the_marks_follow_a_reset_at_once(self):
        reader = reader_of(position=2)
        reader.reset(9)
        assert (reader.cursor.position, reader.progress.handed_out) == (9, 9)
        assert reader.progress.due() == 9

    @pytest.mark.parametrize("taken", [False, True])
    def test_what_was_fetched_before_a_reset_is_still_to_be_finished(self, taken):
        reader = reader_of([0, 1])
        if taken:
            reader.take()
        reader.reset(9)
        assert reader.cursor.position == 9
        assert bool(reader.batches) is not taken
        assert reader.progress.due() is None

    def test_only_a_seek_counts_as_a_move(self):
        reader = reader_of([0, 1])
        reader.reset(9)
        reader.unfetch()
        assert reader.moves == 0
        reader.seek(3)
        assert reader.moves == 1

    def test_with_nothing_fetched_the_place_is_kept(self):
        reader = reader_of([0, 1])
        reader.take()
        assert reader.unfetch() == 0
        assert reader.cursor.position == 2


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 7), st.integers(0, 7)), min_size=1),
)
def test_every_record_comes_once_in_order_and_every_byte_is_given_back_once(lengths, steps):
    reader = Reader(NAME, 0, 0)
    first = 0
    for length in lengths:
        fetch(reader, *range(first, first + length))
        first += length
    seen, freed, turn = [], 0, 0
    while reader.batches:
        most, back = steps[turn % len(steps)]
        turn += 1
        batch, size = reader.take(most)
        freed += size
        assert 1 <= len(batch.records) <= most
        keep = max(1, len(batch.records) - back)  # the user takes one at least
        seen += numbers(batch)[:keep]
        if rest := batch.records[keep:]:
            reader.put_back(rest, batch.next_sequence_number)
        assert reader.progress.handed_out == seen[-1] + 1
    assert seen == list(range(first))
    assert freed == 100 * len(lengths)
    assert reader.cursor.position == first
