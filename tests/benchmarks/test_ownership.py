"""What the group drill calls a broken promise, in the smallest ledgers that show it."""

import pytest

from benchmarks.flow.ledger import Ledger, Note, Row, read_notes, read_rows
from benchmarks.flow.ownership import Pause, examine


def rows(*sequences, at, generation=1):
    """Records of partition 0, one a nanosecond; a record's number is its sequence number."""
    return [Row(0, n, n, at + i, generation) for i, n in enumerate(sequences)]


def commit(position, at, generation=1):
    return Note("commit", at + 1, generation, [0], position, at)


def load(position, at, generation=2):
    return Note("load", at + 1, generation, [0], position, at)


A = rows(0, 1, 2, 3, at=100)


def test_a_hand_over_in_peace_breaks_nothing():
    found = examine(
        {"a": A, "b": rows(4, 5, at=200, generation=2)},
        {"a": [load(0, 90, 1), commit(4, 110)], "b": [load(4, 120), commit(6, 210, 2)]},
        sent=6,
    )
    assert found.broken == []
    assert (found.handled, found.repeats) == (6, {})


def test_what_was_not_committed_may_come_again():
    found = examine(
        {"a": A, "b": rows(2, 3, 4, at=200, generation=2)},
        {"a": [commit(2, 110)], "b": [load(2, 120)]},
        sent=5,
    )
    assert found.broken == []
    assert found.repeats == {"a": 2}


BROKEN = {
    "missing": ({"a": A}, {}, 5),
    "skipped": ({"a": A, "b": rows(6, at=200, generation=2)}, {"b": [load(4, 120)]}, 7),
    "repeats_of_committed": (
        {"a": A, "b": rows(2, 3, at=200, generation=2)},
        {"a": [commit(3, 110)], "b": [load(2, 120)]},
        4,
    ),
    "stale_commits": (
        {"a": A, "b": rows(4, at=200, generation=2)},
        {"a": [commit(4, 210)], "b": [load(4, 120)]},
        5,
    ),
    "early_commits": ({"a": A}, {"a": [commit(4, 101)]}, 4),
    "overlaps": (
        {"a": A, "b": rows(2, 3, 4, at=102, generation=2)},
        {"a": [commit(2, 101)], "b": [load(2, 102)]},
        5,
    ),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_each_broken_promise_is_named(promise):
    assert promise in examine(*BROKEN[promise]).broken


def test_a_gap_within_the_work_of_one_member_is_a_skip():
    found = examine({"a": rows(0, 1, 3, at=100)}, {}, sent=4)
    assert {"missing", "skipped"} <= set(found.broken)


def test_a_repeat_by_the_same_member_without_asking_is_one_too_many():
    found = examine({"a": rows(0, 1, 1, at=100)}, {}, sent=2)
    assert found.broken == ["repeats_of_committed"]


@pytest.mark.parametrize(("late", "broken"), [(0, []), (1, []), (2, ["after_waking", "overlaps"])])
def test_a_paused_member_finishes_the_record_in_its_hand_and_no_other(late, broken):
    woken = rows(*range(4, 4 + late), at=900)
    found = examine(
        {"a": A + woken, "b": rows(4, 5, at=200, generation=2)},
        {"a": [commit(4, 105)], "b": [load(4, 150)]},
        6,
        Pause("a", began_ns=110, ended_ns=800),
    )
    assert found.after_waking == late
    assert found.broken == broken


def test_a_ledger_that_a_kill_cut_is_read_up_to_there(tmp_path):
    ledger = Ledger(str(tmp_path / "a.1"))
    ledger.handled(3, 7, 11, 2)
    ledger.note(Note("assigned", 5, 2, [3]))
    with (tmp_path / "a.1.rows").open("ab") as file:
        file.write(b"cut")
    with (tmp_path / "a.1.notes").open("ab") as file:
        file.write(b'{"what": "lo')
    [row] = read_rows(tmp_path / "a.1.rows")
    assert (row.partition, row.number, row.sequence, row.generation) == (3, 7, 11, 2)
    assert read_notes(tmp_path / "a.1.notes") == [Note("assigned", 5, 2, [3])]
    assert list(read_rows(tmp_path / "nobody.rows")) == []
