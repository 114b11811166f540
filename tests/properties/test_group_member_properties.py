"""Whatever happens to the members of a group and their lines, no partition is held by two at once.

The members keep their places against the embedded DIS's engine, on virtual time.
"""

import asyncio

import virtual_time
from engine_service import EngineService
from group_member import Member
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

NAMES = ["a", "b", "c"]

names = st.sampled_from(NAMES)
steps = st.one_of(
    *[st.tuples(st.just("come"), names)] * 2,
    st.tuples(st.just("leave"), names),
    st.tuples(st.just("crash"), names),
    st.tuples(st.just("outage"), names, st.sampled_from(["refused", "silent"])),
    st.tuples(st.just("deaf"), names),
    st.tuples(st.just("slow"), names, st.sampled_from([0.01, 2.0, 4.9])),
    st.tuples(st.just("mend"), names),
    st.tuples(st.just("busy"), names, st.sampled_from([0.0, 8.0, 1000.0])),
    st.tuples(st.just("scale"), st.integers(1, 6)),
    *[st.tuples(st.just("wait"), st.sampled_from([1, 7, 20, 45, 70]))] * 4,
)


class World:
    def __init__(self) -> None:
        self.service = EngineService()
        self.members: dict[str, Member] = {}

    async def do(self, word, *rest) -> None:
        if word == "wait":
            await self.watch(*rest)
        elif word == "scale":
            self.scale(*rest)
        elif word == "come":
            await self.come(*rest)
        elif member := self.members.get(rest[0]):
            await self.happen_to(member, word, *rest[1:])

    async def come(self, name: str) -> None:
        if name not in self.members:
            self.members[name] = await Member(self.service, name).open()

    async def happen_to(self, member: Member, word: str, *rest) -> None:
        match word:
            case "leave":
                await self.members.pop(member.name).place.close()
            case "crash":
                await self.members.pop(member.name).crash()
            case "outage":
                (member.line.down,) = rest
            case "deaf":
                member.line.deaf = True
            case "slow":
                (member.line.latency,) = rest
            case "busy":
                (member.host.handing_over_takes,) = rest
            case "mend":
                self.mend(member)

    def scale(self, count: int) -> None:
        if count != len(self.service.partitions("ACTIVE")):
            self.service.scale(count)

    @staticmethod
    def mend(member: Member) -> None:
        member.line.down, member.line.deaf, member.line.latency = None, False, 0.01
        member.host.handing_over_takes = 0.0

    async def watch(self, seconds: int) -> None:
        """Let time pass, and see at every second who holds what."""
        for _ in range(seconds):
            await asyncio.sleep(1)
            held = [n for member in self.members.values() for n in member.holds()]
            assert len(held) == len(set(held)), {k: m.holds() for k, m in self.members.items()}

    async def end(self) -> None:
        """Mend everything: soon each partition is somebody's."""
        for member in self.members.values():
            self.mend(member)
        await self.watch(120)
        if self.members:
            held = sorted(n for member in self.members.values() for n in member.holds())
            assert held == self.service.partitions("ACTIVE", "DELETED")
            loads = [len(member.holds()) for member in self.members.values()]
            assert max(loads) - min(loads) <= 1
            fences = {member.place.fence().generation_id for member in self.members.values()}
            assert len(fences) == 1
        for member in self.members.values():
            assert member.host.error is None
            await member.place.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def play(script) -> None:
    world = World()
    for step in [("come", "a"), ("come", "b"), ("wait", 45), *script]:
        await world.do(*step)
    await world.end()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(script=[("outage", "a", "silent"), ("come", "c"), ("wait", 45)])
@example(script=[("deaf", "b"), ("come", "c"), ("wait", 45)])
@example(script=[("busy", "a", 1000.0), ("slow", "a", 4.9), ("come", "c"), ("wait", 45)])
@example(script=[("outage", "a", "refused"), ("wait", 70), ("mend", "a"), ("wait", 7)])
@given(script=st.lists(steps, min_size=3, max_size=12))
def test_no_partition_is_held_by_two_members_and_in_the_end_each_by_one(script):
    virtual_time.run(play(script))
