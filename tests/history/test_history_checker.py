"""The checker takes histories that can have been, and refuses each that breaks one promise."""

import random
from dataclasses import replace
from itertools import permutations

import pytest
from checker import _State, _step, check
from history import Commit, History, Load, Read, Register, Sync, Write
from linear import first_stuck

FENCED, FREE = Register("grouped", 0), Register("free", 0)


def good() -> History:
    """Two partitions, three writers, a fault or two, a rebalance: all as promised."""
    return History(
        writes=[
            Write("w1", 0, 10, b"a", "ok", 0, 0),
            Write("w2", 5, 20, b"b", "ok", 0, 1),
            Write("w1", 12, 15, b"refused", "fail"),
            Write("w2", 22, 30, b"there", "ambiguous"),
            Write("w1", 22, 30, b"not there", "ambiguous"),
            Write("w3", 31, 40, b"c", "ok", 0, 3),
            Write("w3", 31, 60, b"tried", "ok", 1, 1, tries=2),
        ],
        reads=[
            Read("r1", 0, 3, 0, 0, ()),
            Read("r1", 8, 9, 0, 0, ((0, b"a"),)),  # before its write was acknowledged
            Read("r1", 21, 23, 0, 1, ((1, b"b"),)),
            Read("r2", 50, 55, 0, 1, ((1, b"b"), (2, b"there"), (3, b"c"))),
            Read("r2", 56, 57, 0, 4, ()),
            Read("r2", 61, 62, 1, 0, ((0, b"tried"),)),
        ],
        commits=[
            Commit("m1", 10, 20, FENCED, "m1-1", "ok", 1),
            Commit("m1", 21, 30, FENCED, "m1-2", "ambiguous", 1),
            Commit("m1", 31, 40, FENCED, "unseen", "ambiguous", 1),
            Commit("m2", 50, 60, FENCED, "m2-1", "ok", 2),
            Commit("m1", 61, 65, FENCED, "late", "fail", 1, "DIS.4703"),
            Commit("m1", 66, 67, FENCED, "later", "fail", 1, "DIS.4702"),
            Commit("c1", 0, 10, FREE, "x", "ok"),
            Commit("c2", 5, 15, FREE, "y", "ok"),
            Commit("c1", 20, 21, FREE, "down", "fail"),
        ],
        loads=[
            Load("m2", 0, 5, FENCED, None),
            Load("m2", 22, 24, FENCED, "m1-1"),
            Load("m2", 45, 46, FENCED, "m1-2"),
            Load("m2", 70, 75, FENCED, "m2-1"),
            Load("c3", 6, 7, FREE, "y"),
            Load("c3", 8, 18, FREE, "x"),
        ],
        syncs=[
            Sync("m1", 1, 2, "grouped", 1, frozenset({0, 1})),
            Sync("m1", 3, 4, "grouped", 1, frozenset({0, 1})),
            Sync("m2", 41, 44, "grouped", 2, frozenset({0})),
            Sync("m3", 41, 45, "grouped", 2, frozenset({1})),
        ],
        stored={
            0: [(0, b"a"), (1, b"b"), (2, b"there"), (3, b"c")],
            1: [(0, b"tried"), (1, b"tried")],
        },
    )


def write(history: History, data: bytes) -> int:
    return [w.data for w in history.writes].index(data)


def commit(history: History, value: str) -> int:
    return [c.value for c in history.commits].index(value)


def drop_tail(h):
    h.stored[0].pop()


def drop_first(h):
    h.stored[0] = h.stored[0][1:]


def swap(h):
    h.stored[0][0], h.stored[0][1] = (0, b"b"), (1, b"a")


def add_unknown(h):
    h.stored[1].append((2, b"nobody's"))


def store_a_failed_one(h):
    h.stored[1].append((2, b"refused"))


def store_one_twice(h):
    h.stored[0].append((4, b"c"))


def store_an_ambiguous_one_twice(h):
    h.stored[0].append((4, b"there"))


def store_a_retried_one_thrice(h):
    h.stored[1].append((2, b"tried"))


def leave_a_gap(h):
    h.stored[1] = [(0, b"tried"), (2, b"tried")]
    h.writes[write(h, b"tried")] = replace(h.writes[write(h, b"tried")], sequence=2)


def number_twice(h):
    h.stored[1] = [(0, b"tried"), (0, b"tried")]
    h.writes[write(h, b"tried")] = replace(h.writes[write(h, b"tried")], sequence=0)


def acknowledge_another_place(h):
    h.writes[0] = replace(h.writes[0], partition=1)


def write_behind_a_later_one(h):
    """A record that was begun after the next one had been acknowledged."""
    h.writes[write(h, b"b")] = replace(h.writes[write(h, b"b")], invoked=41, ended=44)


def send_an_ambiguous_one_late(h):
    h.writes[write(h, b"there")] = replace(h.writes[write(h, b"there")], invoked=41, ended=44)


def skip_in_a_read(h):
    h.reads[3] = replace(h.reads[3], records=((1, b"b"), (3, b"c")))


def begin_a_read_late(h):
    h.reads[3] = replace(h.reads[3], records=((2, b"there"), (3, b"c")))


def read_something_else(h):
    h.reads[2] = replace(h.reads[2], records=((1, b"c"),))


def read_what_is_gone(h):
    h.reads[4] = replace(h.reads[4], records=((4, b"not there"),))


def read_nothing_late(h):
    h.reads[3] = replace(h.reads[3], records=())


def read_early(h):
    h.reads[3] = replace(h.reads[3], invoked=19, ended=21)


def lose_a_commit(h):
    h.loads[1] = replace(h.loads[1], value=None)


def go_back(h):
    h.loads[3] = replace(h.loads[3], value="m1-2")


def see_a_commit_and_then_not(h):
    h.loads.append(Load("m2", 47, 48, FENCED, "m1-1"))


def see_a_refused_commit(h):
    h.loads.append(Load("m2", 80, 81, FENCED, "late"))


def see_an_unknown_commit(h):
    h.loads.append(Load("m2", 80, 81, FENCED, "nobody's"))


def see_a_commit_before_it_was_made(h):
    h.loads[0] = replace(h.loads[0], value="m1-1")


def see_both_orders(h):
    h.loads.append(Load("c4", 19, 20, FREE, "y"))
    h.loads.append(Load("c4", 21, 22, FREE, "x"))


def take_an_old_commit(h):
    at = commit(h, "late")
    h.commits[at] = replace(h.commits[at], outcome="ok", code=None)


def take_an_old_commit_that_was_ambiguous(h):
    """A commit of before the rebalance, seen once a newer one had been."""
    h.loads.append(Load("m2", 76, 77, FENCED, "unseen"))


def take_a_commit_after_its_refusal(h):
    h.commits.append(Commit("m2", 80, 81, FENCED, "over", "fail", 2, "DIS.4703"))
    h.commits.append(Commit("m2", 82, 83, FENCED, "again", "ok", 2))


def take_a_commit_of_no_member(h):
    h.commits.append(Commit("m2", 80, 81, FENCED, "out", "fail", 2, "DIS.4702"))
    h.commits.append(Commit("m2", 82, 83, FENCED, "in", "ok", 2))


def let_the_generation_go_back(h):
    h.syncs.append(Sync("m1", 80, 81, "grouped", 1, frozenset({0, 1})))


def share_a_partition(h):
    h.syncs[3] = replace(h.syncs[3], partitions=frozenset({0, 1}))


def tell_another_share(h):
    h.syncs[1] = replace(h.syncs[1], partitions=frozenset({0}))


@pytest.mark.parametrize(
    ("mutate", "kinds"),
    [
        (drop_tail, {"lost", "changed"}),
        (drop_first, {"lost", "gap", "changed"}),
        (swap, {"lost", "changed"}),
        (add_unknown, {"invented"}),
        (store_a_failed_one, {"invented"}),
        (store_one_twice, {"invented"}),
        (store_an_ambiguous_one_twice, {"invented"}),
        (store_a_retried_one_thrice, {"invented"}),
        (leave_a_gap, {"gap"}),
        (number_twice, {"gap"}),
        (acknowledge_another_place, {"lost"}),
        (write_behind_a_later_one, {"order", "early"}),
        (send_an_ambiguous_one_late, {"order"}),
        (skip_in_a_read, {"gap"}),
        (begin_a_read_late, {"gap"}),
        (read_something_else, {"changed"}),
        (read_what_is_gone, {"changed"}),
        (read_nothing_late, {"stale"}),
        (read_early, {"early"}),
        (lose_a_commit, {"checkpoint"}),
        (go_back, {"checkpoint"}),
        (see_a_commit_and_then_not, {"checkpoint"}),
        (see_a_refused_commit, {"checkpoint"}),
        (see_an_unknown_commit, {"checkpoint"}),
        (see_a_commit_before_it_was_made, {"checkpoint"}),
        (see_both_orders, {"checkpoint"}),
        (take_an_old_commit, {"checkpoint"}),
        (take_an_old_commit_that_was_ambiguous, {"checkpoint"}),
        (take_a_commit_after_its_refusal, {"checkpoint"}),
        (take_a_commit_of_no_member, {"fence"}),
        (let_the_generation_go_back, {"checkpoint"}),
        (share_a_partition, {"ownership"}),
        (tell_another_share, {"ownership"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_history_that_cannot_have_been_is_refused(mutate, kinds):
    history = good()
    mutate(history)
    assert {violation.kind for violation in check(history)} == kinds


def test_a_history_that_can_have_been_is_taken():
    assert check(good()) == []
    assert check(History()) == []


# --- the search


def can_have_been(events) -> bool:
    """Try every order: what the search has to come to as well."""
    for order in permutations(events):
        if any(later.ended < before.invoked for before, later in pairs(order)):
            continue
        state = _State()
        for event in order:
            state = None if state is None else _step(state, event)
        if state is not None:
            return True
    return not events


def pairs(order):
    return [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]


def some_events(chance: random.Random):
    events = []
    for number in range(chance.randint(2, 5)):
        invoked = chance.randint(0, 12)
        ended = invoked + chance.randint(0, 8)
        value, generation = f"v{number}", chance.choice([None, 1, 2, 3])
        match chance.randint(0, 3):
            case 0:
                events.append(Load("l", invoked, ended, FREE, f"v{chance.randint(0, number)}"))
            case 1:
                known = generation or 1
                events.append(Sync("s", invoked, ended, "free", known, frozenset()))
            case 2 if generation:
                refused = ("fail", generation, "DIS.4703")
                events.append(Commit("c", invoked, ended, FREE, value, *refused))
            case _:
                events.append(Commit("c", invoked, ended, FREE, value, "ok", generation))
    return events


def test_the_search_finds_an_order_wherever_trying_all_of_them_does():
    chance = random.Random(8)
    found = {True: 0, False: 0}
    for _ in range(1_000):
        events = some_events(chance)
        expected = can_have_been(events)
        assert (first_stuck(events, _State(), _step) is None) == expected, events
        found[expected] += 1
    assert min(found.values()) > 150


def test_what_a_real_register_answers_is_taken_and_one_answer_of_another_is_not():
    """Two thousand operations, about six at once, each at an instant between its ends."""
    chance = random.Random(3)
    instants = sorted(chance.sample(range(200_000), 2_000))
    value, events = None, []
    for number, instant in enumerate(instants):
        before, after = (chance.randint(0, 300) for _ in range(2))
        ends = (instant - before, instant + after)
        if chance.random() < 0.5:
            value = f"v{number}"
            events.append(Commit("c", *ends, FREE, value, "ok"))
        else:
            events.append(Load("l", *ends, FREE, value))
    assert first_stuck(events, _State(), _step) is None
    at, load = next((n, e) for n, e in enumerate(events) if n > 1_000 and isinstance(e, Load))
    events[at] = replace(load, value=events[at // 2].value)
    stuck = first_stuck(events, _State(), _step)
    assert stuck is not None
    assert events[at] in stuck
