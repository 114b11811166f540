"""A consumer group as a plain state machine, with numbers for time."""

import pytest

from aiodis.server.group import SILENCE_MS, Group, Interest, Partition, share_out

STREAM = Interest(names=("s",))
WINDOW = 20_000


class Topology:
    """The partitions of streams whose id is their name in capitals; any may be added."""

    def __init__(self, **counts):
        self.counts = counts

    def __call__(self, interest):
        return {
            Partition(name.upper(), number)
            for name in interest.names
            for number in range(self.counts.get(name, 0))
        }


class Scene:
    """A group that is settled before each call, as its server does."""

    def __init__(self, partitions=4, generation=0):
        self.topology = Topology(s=partitions)
        self.group = Group(generation)
        self.now = 1_000_000

    def settle(self):
        self.group.settle(self.now, self.topology)
        return self.group

    def after(self, ms):
        self.now += ms
        return self

    def join(self, *names, interest=STREAM, **options):
        for name in names:
            wait = self.settle().join(name, interest, self.now, self.topology, **options)
        return wait

    def sync(self, name):
        return self.settle().sync(name, self.now)

    def beat(self, name, generation=None):
        group = self.settle()
        return group.heartbeat(
            name, group.generation if generation is None else generation, self.now
        )

    def leave(self, name):
        self.settle().leave(name, self.now)

    def numbers(self, name):
        return [partition.number for partition in self.sync(name).partitions]

    def formed(self, *names):
        """Bring a group to its next generation."""
        self.after(self.join(*names))
        return [self.numbers(name) for name in names]


@pytest.fixture
def scene():
    return Scene()


def test_the_first_member_waits_the_window_out_and_gets_everything(scene):
    assert scene.join("a") == WINDOW
    assert scene.sync("a").state == "WAITING"
    scene.after(WINDOW - 1)
    assert scene.sync("a").state == "WAITING"
    scene.after(1)
    state, generation, partitions = scene.sync("a")
    assert (state, generation) == ("OK", 1)
    assert [p.number for p in partitions] == [0, 1, 2, 3]
    assert scene.beat("a") == "STABLE"


def test_members_that_join_in_one_window_share_one_generation(scene):
    scene.join("a")
    scene.after(5_000)
    assert scene.join("b") == WINDOW - 5_000
    scene.after(WINDOW - 5_000)
    assert scene.sync("a").generation == scene.sync("b").generation == 1
    assert scene.numbers("a") == [0, 2]
    assert scene.numbers("b") == [1, 3]


def test_the_longest_window_that_a_member_asked_for_counts(scene):
    assert scene.formed("a") == [[0, 1, 2, 3]]
    scene.join("a", window_ms=50_000)
    assert scene.join("b", window_ms=5_000) == 50_000


def test_a_newcomer_opens_a_window_in_which_the_others_join_again(scene):
    scene.formed("a")
    scene.join("b")
    assert scene.beat("a") == "JOINING"
    assert scene.sync("a").state == "REJOIN"
    scene.after(10_000)
    assert scene.join("a") == 10_000
    assert scene.beat("a") == "SYNCING"
    scene.after(10_000)
    assert scene.group.generation == 1
    assert scene.numbers("a") == [0, 1]  # of the four it had
    assert scene.numbers("b") == [2, 3]
    assert scene.group.generation == 2
    assert scene.group.is_stable


def test_a_member_that_has_joined_again_has_to_sync_with_the_new_generation(scene):
    scene.formed("a")
    scene.after(scene.join("a"))
    assert scene.beat("a", generation=1) == "SYNCING"
    assert scene.group.refuses("a", 2) == "DIS.4701"
    scene.sync("a")
    assert scene.beat("a", generation=2) == "STABLE"


def test_a_member_that_did_not_join_again_is_out_when_the_window_closes(scene):
    scene.formed("a")
    scene.join("b")
    scene.after(WINDOW)
    assert scene.beat("a") == "JOINING"
    assert scene.sync("a").state == "REJOIN"
    assert scene.group.refuses("a", 1) == "DIS.4702"
    assert scene.numbers("b") == [0, 1, 2, 3]


def test_a_member_is_dropped_after_a_minute_of_silence_and_not_before(scene):
    scene.formed("a", "b")
    scene.after(SILENCE_MS - 1)
    assert scene.beat("a") == "STABLE"
    scene.after(1)
    assert scene.beat("a") == "JOINING"
    assert set(scene.group.members) == {"a"}
    scene.after(scene.join("a"))
    assert scene.numbers("a") == [0, 1, 2, 3]


def test_a_member_that_waits_for_a_long_window_is_not_silent(scene):
    wait = scene.join("a", window_ms=300_000)
    scene.after(wait + SILENCE_MS - 1)
    assert scene.sync("a").state == "OK"


def test_what_nobody_watched_happened_all_the_same(scene):
    scene.formed("a")
    scene.join("b")  # and then nobody calls for an hour
    scene.after(3_600_000)
    assert scene.beat("a") == scene.beat("b") == "JOINING"
    assert not scene.group.members
    assert scene.group.generation == 2  # b alone was one, for a minute


def test_a_member_that_leaves_makes_the_others_join_again(scene):
    scene.formed("a", "b")
    scene.leave("b")
    assert scene.beat("a") == "JOINING"
    scene.after(scene.join("a"))
    assert scene.numbers("a") == [0, 1, 2, 3]
    scene.leave("a")
    assert not scene.group.members


def test_one_that_is_no_member_may_leave(scene):
    scene.formed("a")
    scene.leave("b")
    assert scene.beat("a") == "STABLE"


def test_a_lone_member_that_accelerates_does_not_wait(scene):
    assert scene.join("a", accelerates=True) == 0
    assert scene.numbers("a") == [0, 1, 2, 3]


def test_a_window_closes_when_the_last_of_those_that_accelerate_has_joined(scene):
    scene.join("a", accelerates=True)
    assert scene.join("b", accelerates=True) == WINDOW
    scene.after(3_000)
    assert scene.join("a", accelerates=True) == 0
    assert len(scene.numbers("a")) == len(scene.numbers("b")) == 2


def test_after_a_restart_the_first_window_is_full_and_generations_go_on():
    scene = Scene(generation=7)
    assert scene.beat("a", 7) == "JOINING"
    assert scene.group.refuses("a", 7) == "DIS.4702"
    assert scene.join("b", accelerates=True) == WINDOW  # a may still be at work
    scene.after(WINDOW)
    assert scene.sync("b").generation == 8
    assert scene.join("b", accelerates=True) == 0


def test_a_scaling_opens_a_window(scene):
    scene.formed("a")
    scene.topology.counts["s"] = 6
    assert scene.beat("a") == "JOINING"
    scene.after(scene.join("a"))
    assert scene.numbers("a") == [0, 1, 2, 3, 4, 5]


def test_a_partition_that_goes_away_opens_none(scene):
    scene.formed("a")
    scene.topology.counts["s"] = 3
    assert scene.beat("a") == "STABLE"


def test_a_heartbeat_of_an_old_generation_is_no_sign_of_life(scene):
    scene.formed("a")
    scene.formed("a")
    scene.after(SILENCE_MS - 1)
    assert scene.beat("a", generation=1) == "JOINING"
    scene.after(1)
    scene.settle()
    assert "a" not in scene.group.members


class TestCommits:
    def test_a_member_of_the_generation_may(self, scene):
        scene.formed("a")
        assert scene.group.refuses("a", 1) is None
        assert scene.group.refuses("a", None) is None

    def test_a_stranger_may_not(self, scene):
        scene.formed("a")
        assert scene.group.refuses("b", 1) == "DIS.4702"
        assert scene.group.refuses(None, 1) == "DIS.4702"

    def test_another_generation_may_not(self, scene):
        scene.formed("a")
        scene.formed("a")
        assert scene.group.refuses("a", 1) == "DIS.4703"
        assert scene.group.refuses("a", 3) == "DIS.4703"

    def test_the_ending_generation_may_until_the_window_closes(self, scene):
        scene.formed("a")
        scene.join("b")
        assert scene.group.refuses("a", 1) is None
        scene.join("a")
        assert scene.group.refuses("a", 1) is None
        assert scene.group.refuses("b", 1) == "DIS.4701"
        scene.after(WINDOW).settle()
        assert scene.group.refuses("a", 1) == "DIS.4703"

    def test_a_member_may_not_before_it_synced(self, scene):
        scene.after(scene.join("a")).settle()
        assert scene.group.refuses("a", 1) == "DIS.4701"
        scene.sync("a")
        assert scene.group.refuses("a", 1) is None


class TestSharing:
    def test_members_that_want_different_streams_get_what_they_want(self):
        scene = Scene()
        scene.topology = Topology(s=3, t=3)
        both, only = Interest(names=("s", "t")), Interest(names=("t",))
        scene.join("a", interest=both)
        scene.after(scene.join("b", interest=only))
        assert {p.stream_id for p in scene.sync("b").partitions} == {"T"}
        assert len(scene.sync("a").partitions) == len(scene.sync("b").partitions) == 3

    def test_a_name_and_an_id_are_one_stream(self):
        group = Group()
        every = {Partition("S", n) for n in range(2)}
        readable = lambda interest: every  # noqa: E731
        for name, interest in [("a", Interest(names=("s",))), ("b", Interest(ids=("S",)))]:
            wait = group.join(name, interest, 0, readable)
        group.settle(wait, readable)
        owned = [group.sync(name, wait).partitions for name in "ab"]
        assert sorted(p for part in owned for p in part) == sorted(every)

    def test_owners_keep_what_balance_leaves_them(self):
        every = [Partition("S", n) for n in range(9)]
        first = share_out({"a": every, "b": every}, {})
        grown = share_out({"a": every, "b": every, "c": every}, first)
        kept = [p for p in every if grown[p] == first[p]]
        assert len(kept) == 6  # c got three, and nothing else moved
        assert share_out({"a": every, "b": every, "c": every}, grown) == grown

    def test_the_order_in_which_members_come_does_not_matter(self):
        every = [Partition("S", n) for n in range(7)]
        there = share_out({"a": every, "b": every[::-1], "c": every}, {})
        back = share_out({"c": every[::-1], "b": every, "a": every}, {})
        assert there == back

    def test_more_members_than_partitions_leaves_some_without(self):
        shared = share_out({name: [Partition("S", 0)] for name in "abc"}, {})
        assert shared == {Partition("S", 0): "a"}
