"""Whatever happens, a partition's records come in order, and none is skipped; no memory leaks."""

import asyncio
import itertools
from collections import defaultdict

import virtual_time
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scripted_service import ScriptedService, Stored, refusal

from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer
from aiodis.errors import ConnectError, DecodeError, HandlerError, RequestTimeoutError
from aiodis.record import partition_name, partition_number

MIB = 1024 * 1024


def error_of(kind: str) -> BaseException:
    match kind:
        case "no route":
            return ConnectError("no route")
        case "lost":
            return RequestTimeoutError("no complete answer")
        case "unreadable":
            return DecodeError("unreadable", status=200, head=b"")
        case "DIS.5000":
            return refusal(kind, 500)
    return refusal(kind)


faults = st.sampled_from(
    ["DIS.4225", "DIS.4226", "DIS.4217", "DIS.4303", "DIS.4205", "DIS.4302", "DIS.4319"]
    + ["DIS.5000", "no route", "lost", "unreadable"]
)
numbers = st.integers(0, 5)
pauses = st.sampled_from([0.0, 0.01, 0.4, 0.4, 5.0, 5.0, 400.0])


def step(name: str, *arguments):
    return st.tuples(st.just(name), *arguments)


def often(times: int, name: str, *arguments):
    """Give a step its weight; one and the same strategy given twice would count once."""
    return [step(name, *arguments) for _ in range(times)]


happenings = [
    *often(8, "add", numbers, st.sampled_from([1, 1, 5, 40])),
    *often(4, "sleep", pauses),
    step("fault", faults, st.sampled_from([1, 3])),
    step("commit_fault", st.sampled_from(["DIS.5000", "lost"])),
    step("trim", numbers, st.integers(0, 50)),
    step("latency", st.sampled_from([0.0, 0.01, 0.3, 2.0])),
    step("scale"),
    step("expire", numbers),
    step("delete", numbers),
    step("clock", st.sampled_from([-3600.0, 200.0, 3600.0])),
    step("pause", numbers),
    *often(3, "resume"),
    step("seek", numbers, numbers),
]
reading = st.one_of(
    *happenings,
    *often(8, "getmany", st.sampled_from([1, 3, 500]), pauses),
    *often(6, "next", st.sampled_from([0.0, 0.3, 2.0])),
    step("commit", st.sampled_from([0.005, 60.0])),
    step("restart"),
    step("crash"),
)
handling = st.one_of(
    *happenings, *often(8, "sleep", pauses), step("again"), step("restart"), step("crash")
)


def scripts(happening):
    """Draw scripts that are long enough for things to meet; left alone, most have five steps."""
    return st.lists(happening, min_size=15, max_size=50)


shapes = st.fixed_dictionaries(
    {
        "prefetch_batches": st.sampled_from([1, 2]),
        "prefetch_bytes": st.sampled_from([MIB, 2 * MIB, 64 * MIB]),
        "auto_commit_interval_ms": st.sampled_from([500, 5_000]),
        "checkpoint_convention": st.sampled_from(["next", "last"]),
        "rate_limit": st.sampled_from(["fixed", "off"]),
        "partition_order": st.sampled_from(["parallel", "parallel", "parent_first"]),
        "wire_format": st.sampled_from(["json", "protobuf"]),
    }
)


class World:
    """A service, a consumer of it, and what must come next from each partition."""

    consumer: Consumer

    def __init__(self, shape: dict) -> None:
        self.service = ScriptedService(2)
        self.service.checkpoints_delete = self.delete_checkpoint
        self.shape = shape
        self.expected: dict[int, int] = defaultdict(int)
        self.in_hand: dict[int, list[int]] = defaultdict(list)
        self.paused: set[int] = set()

    def delete_checkpoint(self, request):
        self.service.checkpoints.pop(request.partition_id, None)

    async def open(self) -> None:
        self.paused.clear()
        self.in_hand.clear()
        last = self.shape["checkpoint_convention"] == "last"
        for n in self.service.status:
            self.expected[n] = self.service.checkpoints.get(partition_name(n), -last) + last
        self.consumer = Consumer(
            self.service,
            "events",
            ConsumerSettings(
                app="billing",
                offset_reset="earliest",
                partition_refresh_ms=10_000,
                poll_max_ms=5_000,
                **self.shape,
            ),
        )
        await self.consumer.start()

    async def close(self) -> None:
        await self.consumer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def came(self, n: int, number: int) -> None:
        """Check that it is the next one; only what has left the partition may be passed over."""
        assert n not in self.paused
        expected = self.expected[n]
        assert number == expected or expected < number <= self.service.oldest[n]

    def check_marks(self) -> None:
        for pid, reader in self.consumer._shelf.readers.items():
            n = partition_number(pid)
            unfinished = self.in_hand[n] or [max(self.expected[n], self.service.oldest[n])]
            assert (reader.progress.due() or 0) <= unfinished[0]

    def active(self) -> list[int]:
        return [n for n, status in self.service.status.items() if status == "ACTIVE"]

    def choose(self, number: int) -> int:
        return number % len(self.service.status)

    async def settle(self) -> None:
        """Let everything work again."""
        self.service.get_faults.clear()
        self.service.commit_faults.clear()
        self.service.latency = 0.01
        for n in self.service.status:
            self.service.status[n] = "ACTIVE"
        await self.resume_all()
        await asyncio.sleep(30)

    # What may happen

    async def add(self, number, count):
        n = self.choose(number)
        if self.service.status[n] == "ACTIVE":
            self.service.add(n, *[b"x"] * count)

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    async def fault(self, kind, count):
        self.service.get_faults += [error_of(kind)] * count

    async def commit_fault(self, kind):
        self.service.commit_faults.append(error_of(kind))

    async def trim(self, number, count):
        n = self.choose(number)
        count = min(count, len(self.service.stored[n]))
        self.service.oldest[n] += count
        del self.service.stored[n][:count]

    async def latency(self, seconds):
        self.service.latency = seconds

    async def scale(self):
        if len(self.service.status) < 4:
            self.service.status[len(self.service.status)] = "ACTIVE"

    async def delete(self, number):
        n = self.choose(number)
        if self.service.status[n] == "ACTIVE" and len(self.active()) > 1:
            self.service.status[n] = "DELETED"

    async def clock(self, seconds):
        self.service.clock_skew_s += seconds

    async def expire(self, number):
        n = self.choose(number)
        if self.service.status[n] == "ACTIVE":
            await self.trim(n, 1_000_000)
            self.service.status[n] = "EXPIRED"
        else:
            self.service.status[n] = "ACTIVE"

    async def pause(self, number):
        n = self.choose(number)
        if partition_name(n) in self.consumer._shelf.readers:
            self.consumer.pause(partition_name(n))
            self.paused.add(n)

    async def resume(self):
        if self.paused:
            n = min(self.paused)
            self.paused.discard(n)
            self.consumer.resume(partition_name(n))

    async def resume_all(self):
        while self.paused:
            await self.resume()

    async def seek(self, number, where):
        n = self.choose(number)
        if partition_name(n) in self.consumer._following._pollers:
            oldest, end = self.service.oldest[n], self.service.next(n)
            self.expected[n] = oldest + (end - oldest) * where // 5
            self.in_hand[n].clear()
            self.consumer.seek(partition_name(n), self.expected[n])

    async def restart(self):
        await self.close()
        await self.open()

    async def crash(self):
        """Begin anew without an end, as after `kill -9`."""
        await self.consumer._background.end()
        await self.open()


class Reading(World):
    """With `getmany` and `async for`, in turns."""

    async def play(self, script) -> None:
        await self.open()
        for name, *arguments in script:
            await getattr(self, name)(*arguments)
            self.check_marks()
        await self.settle()
        while await self.getmany(500, 30):
            self.check_marks()
        self.in_hand.clear()
        await self.consumer.commit()
        for n in self.service.status:
            end = self.service.next(n)
            assert self.expected[n] == end or self.service.oldest[n] == end
        self.consumer.pause()  # so that no fetch is under way
        await asyncio.sleep(60)
        assert self.consumer._shelf.budget.free == self.consumer._shelf.budget.limit
        await self.close()

    def given(self, partition_id: str, number: int) -> None:
        n = partition_number(partition_id)
        self.came(n, number)
        self.expected[n] = number + 1
        self.in_hand[n].append(number)

    async def getmany(self, most, timeout) -> int:
        self.in_hand.clear()
        batches = await self.consumer.getmany(max_records=most, timeout=timeout)
        for batch in batches:
            for record in batch.records:
                self.given(batch.partition_id, record.sequence_number)
        return len(batches)

    async def next(self, seconds):
        """Ask for one record, and give up after a while."""
        self.in_hand.clear()
        asking = asyncio.create_task(anext(self.consumer))
        await asyncio.wait([asking], timeout=seconds)
        asking.cancel()
        (got,) = await asyncio.gather(asking, return_exceptions=True)
        if not isinstance(got, asyncio.CancelledError):
            self.given(got.partition_id, got.sequence_number)

    async def commit(self, seconds):
        """Commit, and give up after a while."""
        self.in_hand.clear()
        committing = asyncio.create_task(self.consumer.commit())
        await asyncio.wait([committing], timeout=seconds)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)


class Handling(World):
    """With runs that fail, are cancelled and begun again."""

    running: asyncio.Task

    def __init__(self, shape, concurrency: int, works: list[tuple[float, bool]]) -> None:
        super().__init__(shape)
        self.concurrency = concurrency
        self.works = itertools.cycle(works)
        self.at_work: set[int] = set()
        self.calm = False
        self.failed: list[BaseException] = []

    async def play(self, script) -> None:
        await self.open()
        self.begin()
        for name, *arguments in script:
            await getattr(self, name)(*arguments)
            self.check_marks()
            if self.running.done():
                await self.again()
            assert not self.failed
        self.calm = True
        await self.again()
        await self.settle()
        await asyncio.sleep(60)
        await self.close()
        await self.running
        assert not self.failed
        self.check_end()

    def check_end(self) -> None:
        for n in self.service.status:
            end = self.service.next(n)
            assert self.expected[n] == end or self.service.oldest[n] == end
            self.check_committed(n)

    def check_committed(self, n: int) -> None:
        last = self.shape["checkpoint_convention"] == "last"
        end = self.service.next(n)
        assert self.service.checkpoints.get(partition_name(n), -last) == end - last

    def begin(self) -> None:
        self.running = asyncio.create_task(
            self.consumer.run(self.handle, concurrency=self.concurrency, retries=0)
        )

    async def end(self) -> None:
        self.running.cancel()
        (ended,) = await asyncio.gather(self.running, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError | HandlerError)

    async def again(self):
        await self.end()
        self.begin()

    async def restart(self):
        await self.end()
        await super().restart()
        self.begin()

    async def crash(self):
        await self.end()
        await super().crash()
        self.begin()

    async def handle(self, record) -> None:
        n = partition_number(record.partition_id)
        try:
            assert n not in self.at_work
            self.came(n, record.sequence_number)
        except AssertionError as exc:
            self.failed.append(exc)
            raise
        self.at_work.add(n)
        self.expected[n] = record.sequence_number
        moves = self.consumer._shelf.readers[record.partition_id].moves
        seconds, fails = (0, False) if self.calm else next(self.works)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_work.discard(n)
        if fails:
            raise ValueError
        if self.consumer._shelf.readers[record.partition_id].moves == moves:
            self.expected[n] = record.sequence_number + 1


class Keyed(Handling):
    """With runs by key: each key in its order, and each record once in a consumer's life."""

    KEYS = 3

    def __init__(self, shape, concurrency: int, works: list[tuple[float, bool]]) -> None:
        super().__init__(shape, concurrency, works)
        self.done: dict[int, set[int]] = defaultdict(set)
        self.again_too: dict[int, set[int]] = defaultdict(set)

    async def open(self) -> None:
        await super().open()
        self.done = defaultdict(set)
        self.again_too.clear()
        for n, position in self.expected.items():
            self.done[n] = set(range(position))

    def begin(self) -> None:
        self.running = asyncio.create_task(
            self.consumer.run(
                self.handle, concurrency=self.concurrency, concurrency_by="key", retries=0
            )
        )

    async def add(self, number, count):
        n = self.choose(number)
        if self.service.status[n] == "ACTIVE":
            for _ in range(count):
                sequence = self.service.next(n)
                key = None if sequence % 7 == 0 else f"{sequence * sequence % self.KEYS}"
                self.service.stored[n].append(Stored(b"x", key, sequence))

    async def seek(self, number, where):
        n = self.choose(number)
        await super().seek(number, where)
        if partition_name(n) in self.consumer._following._pollers:
            self.done[n] = set(range(self.expected[n]))

    async def pause(self, number):
        """Drop what was fetched: it is fetched again from the first undone record on."""
        await super().pause(number)
        n = self.choose(number)
        self.again_too[n] |= {i for i in self.done[n] if i > self.first_undone(n)}

    def first_undone(self, n: int) -> int:
        return next(i for i in itertools.count(self.service.oldest[n]) if i not in self.done[n])

    def check_marks(self) -> None:
        for pid, reader in self.consumer._shelf.readers.items():
            n = partition_number(pid)
            assert (reader.progress.due() or 0) <= self.first_undone(n)

    def check_end(self) -> None:
        for n in self.service.status:
            assert self.first_undone(n) == self.service.next(n)
            self.check_committed(n)

    async def handle(self, record) -> None:
        n, number = partition_number(record.partition_id), record.sequence_number
        unit = (n, record.partition_key if record.partition_key is not None else number)
        reader = self.consumer._shelf.readers[record.partition_id]
        moves, done = reader.moves, self.done[n]
        try:
            assert n not in self.paused
            assert unit not in self.at_work
            assert number not in done or number in self.again_too[n]
            earlier = [s for s in self.service.stored[n] if s.sequence < number]
            assert all(s.sequence in done for s in earlier if s.key and s.key == unit[1])
        except AssertionError as exc:
            self.failed.append(exc)
            raise
        self.at_work.add(unit)
        seconds, fails = (0, False) if self.calm else next(self.works)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.at_work.discard(unit)
        if fails:
            raise ValueError
        if reader.moves == moves:
            done.add(number)


few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(shape=shapes, script=scripts(reading))
def test_reading_skips_nothing_and_repeats_nothing(shape, script):
    virtual_time.run(Reading(shape).play(script))


works = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.5, 3.0]), st.sampled_from([False] * 9 + [True])),
    min_size=1,
    max_size=20,
)
concurrencies = st.sampled_from([1, 2, 16])


@few
@given(shape=shapes, concurrency=concurrencies, works=works, script=scripts(handling))
def test_handling_finishes_each_record_once_and_in_order(shape, concurrency, works, script):
    virtual_time.run(Handling(shape, concurrency, works).play(script))


# A later batch is all done when a record of the one before fails.
DONE_BEHIND_A_FAILURE = {
    "shape": {
        "prefetch_batches": 1,
        "prefetch_bytes": 1 << 20,
        "auto_commit_interval_ms": 500,
        "checkpoint_convention": "next",
        "rate_limit": "fixed",
        "partition_order": "parallel",
        "wire_format": "json",
    },
    "concurrency": 16,
    "works": [(0.0, False), (0.0, False), (0.0, True), (0.0, False)],
    "script": [
        *[("add", 0, 1), ("add", 0, 1), ("add", 1, 5), ("add", 3, 1), ("add", 3, 40)],
        *[("add", 3, 40), ("latency", 0.0), ("add", 1, 5), ("sleep", 0.4), ("add", 3, 1)],
        *[("scale",), ("sleep", 0.0), ("again",), ("sleep", 0.0), ("sleep", 0.0)],
    ],
}


@few
@example(**DONE_BEHIND_A_FAILURE)
@given(shape=shapes, concurrency=concurrencies, works=works, script=scripts(handling))
def test_handling_by_key_finishes_each_record_once_and_a_key_in_order(
    shape, concurrency, works, script
):
    virtual_time.run(Keyed(shape, concurrency, works).play(script))
