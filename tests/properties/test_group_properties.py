"""Consumer groups under any order of calls: one owner at most, and nobody left behind unnoticed."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiodis.server.group import SILENCE_MS, Group, Interest, Partition

NAMES = st.sampled_from("abcd")
INTERESTS = st.sampled_from([Interest(("s",)), Interest(("t",)), Interest(("s", "t"))])


class GroupMachine(RuleBasedStateMachine):
    """Members that trust only what they are told, and the time they were told it."""

    def __init__(self):
        super().__init__()
        self.now = 0
        self.group = Group()
        self.counts = {"s": 3, "t": 2}
        self.interests = {}
        self.alive_ms = {}  # the last sign of life of each name
        self.held = {}  # name -> (generation, partitions), by the last sync
        self.owners = {}  # (generation, partition) -> name, for ever
        self.last_generation = 0

    def readable(self, interest):
        return {Partition(s, n) for s in interest.names for n in range(self.counts[s])}

    def settle(self):
        self.group.settle(self.now, self.readable)

    @rule(
        name=NAMES,
        interest=INTERESTS,
        window=st.sampled_from([1, 20_000, 90_000]),
        hurry=st.booleans(),
    )
    def join(self, name, interest, window, hurry):
        self.settle()
        wait = self.group.join(
            name, interest, self.now, self.readable, window_ms=window, accelerates=hurry
        )
        assert wait >= 0
        self.interests[name] = interest
        self.alive_ms[name] = self.now + wait
        self.held.pop(name, None)  # whoever joins has stopped reading

    @rule(name=NAMES)
    def sync(self, name):
        self.settle()
        state, generation, partitions = self.group.sync(name, self.now)
        if state != "REJOIN":
            self.alive_ms[name] = max(self.now, self.alive_ms[name])
        if state != "OK":
            assert not partitions
            return
        for partition in partitions:
            assert partition.stream_id in self.interests[name].names
            # Whoever else had it in this generation would be a second owner.
            assert self.owners.setdefault((generation, partition), name) == name
        self.held[name] = (generation, partitions)
        assert self.group.refuses(name, generation) is None

    @rule(name=NAMES)
    def beat(self, name):
        self.settle()
        generation, _ = self.held.get(name, (-1, ()))
        state = self.group.heartbeat(name, generation, self.now)
        is_of_before = name in self.held and generation != self.group.generation
        if name in self.group.members and not is_of_before:
            self.alive_ms[name] = max(self.now, self.alive_ms[name])
        if state == "STABLE":
            assert generation == self.group.generation
            assert self.group.refuses(name, generation) is None
        elif state == "JOINING":
            self.held.pop(name, None)

    @rule(name=NAMES)
    def leave(self, name):
        self.settle()
        self.group.leave(name, self.now)
        self.held.pop(name, None)
        assert name not in self.group.members
        assert self.group.refuses(name, self.group.generation) == "DIS.4702"

    @rule(ms=st.sampled_from([1, 500, 5_000, 20_000, 59_999, 60_000, 200_000]))
    def wait(self, ms):
        self.now += ms

    @rule(stream=st.sampled_from("st"), count=st.integers(1, 5))
    def scale(self, stream, count):
        self.counts[stream] = count

    @rule()
    def restart(self):
        self.settle()
        self.group = Group(self.group.generation)

    @precondition(lambda self: self.held)
    @rule()
    def everybody_commits(self):
        self.settle()
        may = {
            partition
            for name, (generation, partitions) in self.held.items()
            if self.group.refuses(name, generation) is None
            for partition in partitions
        }
        of_them = sum(
            len(partitions)
            for name, (generation, partitions) in self.held.items()
            if self.group.refuses(name, generation) is None
        )
        assert len(may) == of_them  # no two may commit for the same partition

    @invariant()
    def generations_only_rise(self):
        self.settle()
        assert self.group.generation >= self.last_generation
        self.last_generation = self.group.generation

    @invariant()
    def the_silent_are_dropped(self):
        self.settle()
        for name in self.group.members:
            assert self.now < self.alive_ms[name] + SILENCE_MS

    @invariant()
    def a_stable_group_owns_all_that_it_wants_in_fair_parts(self):
        self.settle()
        if not (self.group.is_stable and self.group.members):
            return
        wanted = set().union(*(self.readable(m.interest) for m in self.group.members.values()))
        owned = [p for name in self.group.members for p in self.group.owned_by(name)]
        assert len(owned) == len(set(owned))
        assert wanted <= set(owned)


TestGroups = GroupMachine.TestCase
