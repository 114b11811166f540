"""Members that partitions move between: one owner at a time, nothing skipped, little repeated."""

import asyncio
import itertools
from math import inf

import virtual_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_service import ScriptedService, refusal

from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer
from aiodis.errors import HandlerError
from aiodis.record import Fence, partition_name, partition_number

PARTITIONS = 3
MEMBERS = 2


class Seat:
    """A coordinator that the test moves."""

    follows_stream = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.host = None
        self.held: dict[str, float] = {}
        self.generation = 0

    async def open(self, host):
        self.host = host

    def held_until(self, partition_id):
        return self.held.get(partition_id, -inf)

    def fence(self):
        return Fence(self.name, self.generation)

    def fenced(self, fence):
        pass

    async def close(self):
        pass


class Group:
    """A service, its members, and who owns what. `expected` is the next number by partition."""

    def __init__(self, works, concurrency: int, handoff_ms: int) -> None:
        self.service = ScriptedService(PARTITIONS)
        self.ordinary_commit = self.service.checkpoints_commit
        self.service.checkpoints_commit = self.commit
        self.works, self.concurrency = itertools.cycle(works), concurrency
        self.handoff_ms = handoff_ms
        self.owner: dict[int, int | None] = dict.fromkeys(range(PARTITIONS))
        self.expected = dict.fromkeys(range(PARTITIONS), 0)
        self.generation = 0
        self.since = dict.fromkeys(range(PARTITIONS), 0)
        self.at_work: set[int] = set()
        self.moving: set[int] = set()
        self.failed: list[BaseException] = []
        self.calm = False

    def commit(self, request):
        """Take a commit from the owner only, and check that it covers nothing unfinished."""
        n, number = partition_number(request.partition_id), int(request.sequence_number)
        if self.owner[n] is None or request.client_id != f"member-{self.owner[n]}":
            raise refusal("DIS.4702")
        if request.generation_id < self.since[n]:  # on its way since it owned it before
            raise refusal("DIS.4703")
        try:
            assert self.service.checkpoints.get(request.partition_id, 0) <= number
            assert number <= self.expected[n]
        except AssertionError as exc:
            self.failed.append(exc)
        return self.ordinary_commit(request)

    async def play(self, script) -> None:
        self.seats = [Seat(f"member-{m}") for m in range(MEMBERS)]
        self.consumers = [self.consumer(seat) for seat in self.seats]
        self.running = [asyncio.create_task(self.run(m)) for m in range(MEMBERS)]
        await asyncio.sleep(1)
        tasks = []
        for name, *arguments in script:
            done = await getattr(self, name)(*arguments)
            if done is not None:
                tasks.append(done)
            assert not self.failed
        self.calm = True
        self.service.get_faults.clear()
        self.service.commit_faults.clear()
        self.service.latency = 0.01
        await asyncio.gather(*tasks)
        for n in range(PARTITIONS):
            if self.owner[n] is None:
                await self.assign(n, 0)
        await asyncio.sleep(100)
        for consumer in self.consumers:
            await consumer.close()
        await asyncio.gather(*self.running)
        assert not self.failed
        for n in range(PARTITIONS):
            assert self.expected[n] == self.service.next(n)
            assert self.service.checkpoints.get(partition_name(n), 0) == self.service.next(n)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def consumer(self, seat: Seat) -> Consumer:
        return Consumer(
            self.service,
            "events",
            ConsumerSettings(
                app="billing",
                offset_reset="earliest",
                group=lambda _: seat,
                handoff_timeout_ms=self.handoff_ms,
                auto_commit_interval_ms=500,
            ),
        )

    async def run(self, member: int) -> None:
        async with self.consumers[member] as consumer:
            while True:
                try:
                    await consumer.run(
                        lambda record: self.handle(member, record),
                        concurrency=self.concurrency,
                        retries=0,
                    )
                except HandlerError:
                    await asyncio.sleep(0.1)
                    continue
                return

    async def handle(self, member: int, record) -> None:
        n, number = partition_number(record.partition_id), record.sequence_number
        try:
            assert self.owner[n] == member
            assert self.seats[member].held[record.partition_id]  # 0 where it has lapsed
            assert n not in self.at_work
            assert number == self.expected[n]
        except AssertionError as exc:
            self.failed.append(exc)
            raise
        self.at_work.add(n)
        seconds, fails = (0, False) if self.calm else next(self.works)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_work.discard(n)
        if fails:
            raise ValueError
        if self.owner[n] == member:
            self.expected[n] = number + 1

    # What may happen

    async def add(self, n, count):
        self.service.add(n, *[b"x"] * count)

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    async def latency(self, seconds):
        self.service.latency = seconds

    async def fault(self, code):
        self.service.get_faults.append(refusal(code))

    async def commit_fault(self):
        self.service.commit_faults.append(refusal("DIS.4701"))

    async def assign(self, n, member):
        if self.owner[n] is None and n not in self.moving:
            self.owner[n] = member
            self.generation += 1
            self.since[n] = self.seats[member].generation = self.generation
            self.expected[n] = self.service.checkpoints.get(partition_name(n), 0)
            self.seats[member].held[partition_name(n)] = inf
            self.seats[member].host.assigned([partition_name(n)])

    async def revoke(self, n):
        if (member := self.owner[n]) is None or n in self.moving:
            return None
        self.moving.add(n)
        return asyncio.create_task(self.hand_over(n, member))

    async def hand_over(self, n, member):
        await self.seats[member].host.revoke([partition_name(n)])
        if self.owner[n] == member:
            self.take_away(n, member)
            assert n not in self.at_work
        self.moving.discard(n)

    async def lose(self, n):
        if (member := self.owner[n]) is not None:
            self.take_away(n, member)
            self.seats[member].host.lost([partition_name(n)])

    async def lapse(self, n):
        """Let a lease run out, unnoticed for a second."""
        if (member := self.owner[n]) is not None and n not in self.moving:
            self.seats[member].held[partition_name(n)] = 0
            await asyncio.sleep(1)
            if self.owner[n] == member:
                await self.lose(n)

    def take_away(self, n, member):
        self.owner[n] = None
        self.seats[member].held.pop(partition_name(n), None)


def step(name: str, *arguments):
    return st.tuples(st.just(name), *arguments)


def often(times: int, name: str, *arguments):
    """Give a step its weight; one and the same strategy given twice would count once."""
    return [step(name, *arguments) for _ in range(times)]


number = st.integers(0, PARTITIONS - 1)
script = st.lists(
    st.one_of(
        *often(5, "add", number, st.sampled_from([1, 5, 40])),
        *often(8, "sleep", st.sampled_from([0.0, 0.01, 0.4, 5.0, 40.0])),
        *often(6, "assign", number, st.integers(0, MEMBERS - 1)),
        *often(3, "revoke", number),
        *often(2, "lose", number),
        step("lapse", number),
        step("latency", st.sampled_from([0.0, 0.01, 0.3, 2.0])),
        step("fault", st.sampled_from(["DIS.4225", "DIS.5000", "DIS.4303"])),
        step("commit_fault"),
    ),
    min_size=20,  # left alone, most have five, in which nothing meets
    max_size=60,
)
works = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.5, 3.0, 50.0]), st.sampled_from([False] * 9 + [True])),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    script=script,
    works=works,
    concurrency=st.sampled_from([1, 2, 16]),
    handoff_ms=st.sampled_from([500, 10_000]),
)
def test_partitions_that_move_have_one_owner_and_lose_nothing(
    script, works, concurrency, handoff_ms
):
    virtual_time.run(Group(works, concurrency, handoff_ms).play(script))
