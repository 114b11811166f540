"""What a member of a group does next, with numbers for time."""

from math import inf

import pytest

from aiodis.consumer.coordinator.membership import (
    Assigned,
    HandOver,
    Impossible,
    Lost,
    Membership,
)

IDS = ("p0", "p1")


@pytest.fixture
def member():
    return Membership(interval_s=10, window_s=20)


def stable(member, began=100.0):
    """Bring a member to where it holds IDS, by a heartbeat that began at `began`."""
    member.joined("OK", 20, began - 20)
    member.synced("OK", 3, IDS, began)
    assert member.beaten("STABLE", began, began + 0.1) == Assigned(IDS)
    return member


def test_it_joins_waits_syncs_and_holds_what_a_heartbeat_confirms(member):
    assert (member.step, member.due) == ("join", -inf)
    assert member.joined("OK", 20, 5) is None
    assert (member.step, member.due) == ("sync", 25)
    assert member.synced("WAITING", -1, (), 25) is None
    assert (member.step, member.due) == ("sync", 25.5)
    assert member.synced("OK", 3, reversed(IDS), 25.5) is None
    assert (member.step, member.due, member.generation) == ("beat", 25.5, 3)
    assert not member.held
    assert member.beaten("STABLE", 25.5, 25.6) == Assigned(IDS)
    assert (member.held, member.held_until, member.lost_at) == (IDS, 25.5 + 18, 25.5 + 54)
    assert (member.step, member.due) == ("beat", 35.5)


def test_what_is_held_counts_from_the_start_of_the_heartbeat(member):
    stable(member)
    assert member.beaten("STABLE", 110, 114) is None  # nothing new
    assert (member.held_until, member.lost_at, member.due) == (128, 164, 120)


def test_past_what_is_held_a_heartbeat_confirms_it_anew(member):
    stable(member)
    assert member.expire(118) is None
    assert member.beaten("STABLE", 130, 130.1) == Assigned(IDS)
    assert member.held_until == 148


def test_an_answer_that_was_read_late_holds_nothing(member):
    stable(member)
    assert member.beaten("STABLE", 110, 200) is None
    assert member.held_until < 200
    assert member.expire(200) == Lost(IDS)


def test_after_most_of_a_minute_without_an_answer_all_is_lost(member):
    stable(member)
    assert member.expire(153.9) is None
    assert member.expire(154) == Lost(IDS)
    assert (member.held, member.held_until, member.lost_at) == ((), -inf, inf)
    assert (member.step, member.due) == ("join", 154)
    assert member.expire(1000) is None


def test_in_a_rebalance_it_hands_over_before_anybody_else_may_begin(member):
    stable(member)
    assert member.beaten("JOINING", 110, 110.1) == HandOver(IDS, 118)
    assert member.held == IDS  # until it has
    member.released(115)
    assert (member.held, member.step, member.due) == ((), "join", 115)


def test_in_a_rebalance_that_may_be_over_already_all_is_lost(member):
    stable(member)
    assert member.beaten("JOINING", 117, 118) == Lost(IDS)
    assert (member.held, member.step, member.due) == ((), "join", 118)


def test_what_was_shared_out_without_it_is_lost(member):
    stable(member)
    assert member.beaten("SYNCING", 110, 110.1) == Lost(IDS)
    assert (member.step, member.due) == ("sync", 110.1)


def test_a_refused_commit_of_this_generation_loses_all(member):
    stable(member)
    assert member.fenced(2, 105) is None
    assert member.fenced(3, 105) == Lost(IDS)
    assert (member.step, member.due) == ("join", 105)
    assert member.fenced(3, 106) is None


def test_a_member_that_has_nothing_is_asked_to_join_again_without_ado(member):
    member.joined("OK", 0, 0)
    member.synced("OK", 3, (), 0)
    assert member.beaten("STABLE", 0, 0.1) == Assigned(())
    assert member.beaten("STABLE", 10, 10.1) is None
    assert member.expire(1000) is None
    assert member.beaten("JOINING", 10, 10.1) is None
    assert (member.step, member.due) == ("join", 10.1)


def test_a_sync_that_comes_late_joins_again(member):
    member.joined("OK", 20, 0)
    assert member.synced("REJOIN", -1, (), 20) is None
    assert (member.step, member.due) == ("join", 20)


def test_a_heartbeat_that_says_to_sync_before_anything_is_held_does_so_soon(member):
    member.joined("OK", 20, 0)
    member.synced("OK", 3, IDS, 20)
    assert member.beaten("SYNCING", 20, 20.1) is None
    assert (member.step, member.due) == ("sync", 20.6)


def test_steps_without_an_answer_are_tried_again_ever_later_and_often_enough(member):
    stable(member)
    pauses = []
    for _ in range(6):
        member.failed(200)
        pauses.append(member.due - 200)
    assert pauses == [1, 2, 4, 5, 5, 5]
    assert member.step == "beat"
    member.beaten("STABLE", 210, 210)
    member.failed(220)
    assert member.due == 221


@pytest.mark.parametrize("state", ["REJOIN", "ERROR", "NEW"])
def test_a_join_that_did_not_work_is_tried_again(member, state):
    assert member.joined(state, 0, 7) is None
    assert (member.step, member.due) == ("join", 8)


@pytest.mark.parametrize("state", ["ERROR", "NEW"])
def test_a_sync_that_did_not_work_joins_again(member, state):
    member.joined("OK", 0, 0)
    assert member.synced(state, -1, (), 7) is None
    assert (member.step, member.due) == ("join", 8)


@pytest.mark.parametrize("state", ["ERROR", "", "NEW"])
def test_a_heartbeat_with_an_unknown_answer_holds_nothing_longer(member, state):
    stable(member)
    assert member.beaten(state, 110, 110.1) is None
    assert (member.held, member.held_until) == (IDS, 118)
    assert (member.step, member.due) == ("beat", 111.1)


def test_without_an_app_or_a_stream_there_is_no_going_on(member):
    for effect, code in [
        (member.joined("GROUP_NOT_EXIST", 0, 0), "DIS.4332"),
        (member.joined("ERR_SUBSCRIPTION", 0, 0), "DIS.4301"),
        (member.synced("GROUP_NOT_EXIST", -1, (), 0), "DIS.4332"),
        (member.beaten("GROUP_NOT_EXIST", 0, 0), "DIS.4332"),
    ]:
        assert isinstance(effect, Impossible)
        assert effect.error.code == code


def test_a_window_longer_than_the_service_waits_for_a_member_holds_no_longer_than_that():
    member = stable(Membership(interval_s=10, window_s=300))
    assert member.held_until == member.lost_at == 154
