import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodis.consumer.progress import Progress, from_checkpoint, to_checkpoint


class TestDue:
    def test_a_partition_at_its_checkpoint_has_nothing_due(self):
        assert Progress(5, 5).due() is None

    def test_a_partition_without_a_checkpoint_has_its_start_due(self):
        # So that a restart before the first record goes on here, wherever "latest" is by then.
        progress = Progress(5, None)
        assert progress.due() == 5
        progress.commit(5)
        assert progress.due() is None

    def test_what_is_handed_out_is_not_due_before_it_is_finished(self):
        progress = Progress(5, 5)
        progress.hand_out(5, 8)
        assert progress.due() is None
        progress.finish(7)
        assert progress.due() == 7
        progress.finish(8)
        assert progress.due() == 8

    def test_what_is_committed_is_not_due_again(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 3)
        progress.finish(3)
        progress.commit(3)
        assert progress.due() is None

    def test_what_was_finished_during_a_commit_is_due_after_it(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 5)
        progress.finish(3)
        number = progress.due()
        progress.finish(5)
        progress.commit(number)
        assert progress.due() == 5

    def test_nobody_finishes_more_than_was_handed_out(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 3)
        progress.finish(100)
        assert progress.due() == 3

    def test_finishing_never_goes_backwards(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 5)
        progress.finish(5)
        progress.finish(2)
        assert progress.due() == 5

    def test_what_was_taken_back_is_not_finished_by_a_later_mark(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 10)
        progress.take_back(4)
        progress.finish(10)
        assert progress.due() == 4

    def test_a_commit_back_that_may_have_arrived_makes_the_number_before_it_due_again(self):
        progress = Progress(6, 6)
        progress.seek(2)
        progress.doubt()  # and no answer
        assert progress.due() == 2
        progress.hand_out(2, 6)
        progress.finish(6)
        assert progress.due() == 6
        progress.commit(6)
        assert progress.due() is None

    def test_what_was_handed_out_is_uncommitted_until_a_commit_covers_it(self):
        progress = Progress(5, None)
        assert not progress.is_uncommitted
        progress.hand_out(5, 8)
        progress.finish(8)
        assert progress.is_uncommitted
        progress.commit(8)
        assert not progress.is_uncommitted

    def test_records_that_aged_out_are_passed_over(self):
        progress = Progress(0, 0)
        progress.hand_out(50, 60)  # the oldest was 50 by the time it was fetched
        assert progress.due() is None
        progress.finish(60)
        assert progress.due() == 60


class TestSeeking:
    def test_a_seek_back_is_due_at_once(self):
        progress = Progress(9, 9)
        progress.seek(2)
        assert progress.due() == 2

    def test_a_seek_forward_is_due_at_once(self):
        progress = Progress(2, 2)
        progress.seek(9)
        assert progress.due() == 9

    def test_a_seek_to_the_checkpoint_is_not_due(self):
        progress = Progress(5, 5)
        progress.seek(5)
        assert progress.due() is None

    def test_after_its_commit_the_marks_only_rise_again(self):
        progress = Progress(9, 9)
        progress.seek(2)
        progress.commit(2)
        progress.hand_out(2, 6)
        assert progress.due() is None
        progress.finish(4)
        assert progress.due() == 4

    def test_a_seek_back_during_a_commit_is_due_after_it(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 10)
        progress.finish(10)
        on_its_way = progress.due()
        progress.seek(3)
        progress.commit(on_its_way)
        assert progress.due() == 3
        progress.hand_out(3, 5)
        progress.finish(5)
        assert progress.due() == 5
        progress.commit(5)
        assert progress.due() is None

    def test_a_seek_forward_during_a_commit_is_due_after_it(self):
        progress = Progress(0, 0)
        progress.hand_out(0, 10)
        progress.finish(10)
        on_its_way = progress.due()
        progress.seek(50)
        progress.commit(on_its_way)
        assert progress.due() == 50

    def test_records_from_before_the_position_take_the_marks_back(self):
        # A stream that was made anew begins at 0 again.
        progress = Progress(100, 100)
        progress.hand_out(0, 10)
        assert progress.due() == 0
        progress.finish(10)
        assert progress.due() == 10


class TestConventions:
    @pytest.mark.parametrize(
        ("position", "convention", "stored"),
        [(0, "next", 0), (5, "next", 5), (5, "last", 4), (1, "last", 0), (0, "last", None)],
    )
    def test_a_position_is_stored_as_the_convention_says(self, position, convention, stored):
        assert to_checkpoint(position, convention) == stored

    @pytest.mark.parametrize(
        ("stored", "convention", "position"),
        [(0, "next", 0), (5, "next", 5), (4, "last", 5), (-1, "next", None), (-1, "last", None)],
    )
    def test_a_checkpoint_is_read_as_the_convention_says(self, stored, convention, position):
        assert from_checkpoint(stored, convention) == position

    @given(st.integers(1, 2**63 - 1), st.sampled_from(["next", "last"]))
    def test_a_position_is_read_back_as_stored(self, position, convention):
        assert from_checkpoint(to_checkpoint(position, convention), convention) == position


class Model:
    """A reader that finishes records in any order, as handlers that run side by side do.

    Only what is finished without a gap is told to the marks.
    """

    def __init__(self, position, committed):
        self.progress = Progress(position, committed)
        self.start = self.next = position
        self.done = set()
        self.on_its_way = None

    @property
    def first_unfinished(self):
        first = self.start
        while first in self.done:
            first += 1
        return first

    def hand_out(self, count):
        self.progress.hand_out(self.next, self.next + count)
        self.next += count

    def finish(self, which):
        open_ones = sorted(set(range(self.start, self.next)) - self.done)
        if open_ones:
            self.done.add(open_ones[which % len(open_ones)])
            self.progress.finish(self.first_unfinished)

    def take_back(self, count):
        first = max(self.first_unfinished, self.next - count)
        first = max([first, *(number + 1 for number in self.done)])
        self.progress.take_back(first)
        self.next = min(self.next, first)

    def seek(self, position):
        self.start = self.next = position
        self.done.clear()
        self.progress.seek(position)

    def ask(self, _=0):
        """Send a commit, unless one is on its way."""
        if self.on_its_way is None:
            self.on_its_way = self.progress.due()
            if self.on_its_way is not None:
                self.progress.doubt()

    def answer(self, _=0):
        """The commit on its way has arrived."""
        if self.on_its_way is not None:
            self.progress.commit(self.on_its_way)
            self.on_its_way = None


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["hand_out", "finish", "finish", "take_back", "seek", "ask", "answer"]),
        st.integers(1, 20),
    )
)


@given(st.integers(0, 20), st.none() | st.integers(0, 20), STEPS)
def test_what_is_due_never_passes_the_first_unfinished_record(position, committed, steps):
    model = Model(position, committed)
    for name, number in steps:
        getattr(model, name)(number)
        progress = model.progress
        assert progress.finished <= progress.handed_out
        assert progress.finished == model.first_unfinished
        assert progress.due() in (None, model.first_unfinished)


@given(st.integers(0, 20), STEPS)
def test_a_commit_goes_backwards_after_a_seek_only(position, steps):
    model = Model(position, position)
    for name, number in steps:
        if name == "seek":
            continue
        getattr(model, name)(number)
        due = model.progress.due()
        assert due is None or due > model.progress.committed


@given(st.integers(0, 20), st.none() | st.integers(0, 20), STEPS)
@example(20, None, [("ask", 1), ("seek", 3), ("answer", 1)])
def test_everything_that_is_finished_is_committed_in_the_end(position, committed, steps):
    model = Model(position, committed)
    moved = committed is None
    for name, number in steps:
        getattr(model, name)(number)
        moved = moved or name == "seek"
    model.answer()
    model.ask()
    model.answer()
    assert model.progress.due() is None
    # A checkpoint that lay ahead of the start is left alone until the reader has passed it.
    ahead = not moved and committed > model.first_unfinished
    assert model.progress.committed == (committed if ahead else model.first_unfinished)
