"""Consumers that share a stream through the service's groups, on virtual time.

The embedded DIS's engine answers; each consumer has a line of its own, which can be cut.
"""

import asyncio
from collections import Counter

import pytest
from consuming import no_task_left
from engine_service import APP, STREAM, EngineService, Line
from group_member import now

from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer, DISGroup
from aiodis.errors import FencedError, NotFoundError
from aiodis.record import partition_name, partition_number

pytestmark = pytest.mark.looptime


class Reading:
    """A consumer in a group, and what its handler was given: partition, data, and when."""

    def __init__(self, service: EngineService, name: str, **settings) -> None:
        self.line: Line = service.line(name)
        self.got: list[tuple[int, bytes, float]] = []
        self.done: list[tuple[int, bytes]] = []
        self.takes = 0.0
        self.told: list[tuple[str, frozenset[int], float]] = []
        self.changed = asyncio.Event()
        settings = {"app": APP, "offset_reset": "earliest", "poll_max_ms": 500, **settings}
        callbacks = {f"on_{word}": self._note(word) for word in ("assigned", "revoked", "lost")}
        group = DISGroup(client_id=name)
        self.consumer = Consumer(
            self.line, STREAM, ConsumerSettings(group=group, **callbacks, **settings)
        )
        self.task: asyncio.Task | None = None

    def start(self):
        self.task = asyncio.create_task(self.consumer.run(self.handle))
        return self

    async def handle(self, record):
        partition = partition_number(record.partition_id)
        self.got.append((partition, record.data, now()))
        if self.takes:
            await asyncio.sleep(self.takes)
        self.done.append((partition, record.data))

    def of(self, partition: int) -> list[bytes]:
        return [data for n, data, _ in self.got if n == partition]

    async def until(self, word: str, count: int = 1):
        while len(found := [told for told in self.told if told[0] == word]) < count:
            self.changed.clear()
            await self.changed.wait()
        return found[count - 1]

    async def stop(self):
        await self.consumer.close()
        await self.task

    async def kill(self):
        """End as a killed process does: without a commit, without a word."""
        self.line.down = "refused"
        self.consumer._coordinator._task.cancel()
        self.task.cancel()
        await asyncio.wait([self.task])

    def _note(self, word):
        def note(ids):
            self.told.append((word, frozenset(map(partition_number, ids)), now()))
            self.changed.set()

        return note


@pytest.fixture
async def service():
    return EngineService(4)


def fill(service, records=5, first=0):
    for n in range(4):
        service.put(n, *[b"%d-%d" % (n, i) for i in range(first, first + records)])


def every(records, first=0):
    return sorted(b"%d-%d" % (n, i) for n in range(4) for i in range(first, first + records))


async def test_one_consumer_reads_all_and_commits_in_the_name_of_its_generation(service):
    fill(service)
    a = Reading(service, "a").start()
    await asyncio.sleep(30)
    await a.stop()
    assert sorted(data for _, data, _ in a.got) == every(5)
    assert {number for _, _, number in service.commits} == {5}
    assert service.of("a", "groups.leave")
    assert [word for word, _, _ in a.told] == ["assigned", "revoked"]
    assert no_task_left()


async def test_a_second_consumer_takes_over_where_the_first_was(service):
    fill(service)
    a = Reading(service, "a").start()
    await asyncio.sleep(30)
    b = Reading(service, "b").start()
    await b.until("assigned")
    fill(service, first=5)
    await asyncio.sleep(10)
    assert sorted(data for r in (a, b) for _, data, _ in r.got) == every(10)  # each record once
    assert {n for n, _, _ in b.got}
    assert a.told[1][:2] == ("revoked", frozenset({0, 1, 2, 3}))
    await a.stop()
    await b.stop()
    assert no_task_left()


async def test_a_consumer_that_leaves_hands_its_work_over_without_a_repeat(service):
    fill(service)
    a, b = Reading(service, "a").start(), Reading(service, "b").start()
    await asyncio.sleep(40)
    await a.stop()
    left = now()
    fill(service, first=5)
    await b.until("assigned", 2)
    assert now() < left + 31
    await asyncio.sleep(5)
    assert sorted(data for r in (a, b) for _, data, _ in r.got) == every(10)
    await b.stop()


async def test_a_slow_handler_ends_its_record_before_another_member_begins(service):
    fill(service, records=2)
    a = Reading(service, "a")
    a.takes = 6
    a.start()
    await a.until("assigned")
    b = Reading(service, "b").start()
    await b.until("assigned")
    await asyncio.sleep(60)
    assert Counter(data for _, data, _ in a.got + b.got) == Counter(every(2))
    await a.stop()
    await b.stop()


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_record_comes_again(service):
    fill(service, records=1)
    a = Reading(service, "a")
    a.takes = 1000
    a.start()
    await a.until("assigned")
    b = Reading(service, "b").start()
    _, theirs, began = await b.until("assigned")
    _, _, handed_over = await a.until("revoked")
    assert handed_over < began
    await asyncio.sleep(5)
    assert {n for n, _, _ in b.got} == theirs
    assert a.done == []
    a.takes = 0
    await a.kill()
    await b.stop()


async def test_a_killed_consumer_is_followed_and_only_what_it_did_not_commit_repeats(service):
    fill(service)
    a, b = Reading(service, "a").start(), Reading(service, "b").start()
    await asyncio.sleep(40)  # all is read and committed
    fill(service, first=5)
    await asyncio.sleep(1)  # read, and not committed yet
    await a.kill()
    await b.until("assigned", 2)
    await asyncio.sleep(5)
    mine = {n for n, _, _ in a.got}
    assert sorted({data for r in (a, b) for _, data, _ in r.got}) == every(10)
    for n in mine:
        again = [data for data in b.of(n) if data in a.of(n)]
        assert again == [b"%d-%d" % (n, i) for i in range(5, 10)]
    await b.stop()


async def test_new_partitions_are_read_from_their_first_record_by_one_member(service):
    a = Reading(service, "a", offset_reset="latest").start()
    b = Reading(service, "b", offset_reset="latest").start()
    await asyncio.sleep(40)
    service.put(0, b"0-0")
    await asyncio.sleep(10)
    service.scale(6)
    service.put(4, b"4-0", b"4-1")
    service.put(5, b"5-0")
    await asyncio.sleep(60)
    read = sorted(data for r in (a, b) for _, data, _ in r.got)
    assert read == [b"0-0", b"4-0", b"4-1", b"5-0"]
    await a.stop()
    await b.stop()


@pytest.mark.parametrize("outage", ["refused", "silent"])
async def test_a_member_that_is_cut_off_delivers_nothing_once_another_took_over(service, outage):
    a = Reading(service, "a", prefetch_batches=8)
    a.takes = 0.5
    fill(service, records=500)  # more than it can handle before it is cut off
    a.start()
    await a.until("assigned")
    await asyncio.sleep(3)
    a.line.down = outage
    b = Reading(service, "b").start()
    _, theirs, began = await b.until("assigned")
    assert theirs == {0, 1, 2, 3}
    await asyncio.sleep(30)
    assert max(at for _, _, at in a.got) < began
    _, lost, _ = await a.until("lost")
    assert lost == {0, 1, 2, 3}
    commits = [pid for who, pid, _ in service.commits if who == "a"]
    a.line.down = None
    await asyncio.sleep(15)
    assert [pid for who, pid, _ in service.commits if who == "a"] == commits
    await a.stop()
    await b.stop()
    assert no_task_left()


async def test_a_commit_after_the_loss_raises_and_the_member_joins_again(service):
    fill(service)
    a = Reading(service, "a", auto_commit=False)
    async with a.consumer:
        await a.consumer.wait_ready()
        assert await a.consumer.getmany(timeout=30)
        await a.consumer._coordinator._groups.leave(app_name=APP, client_id="a")
        with pytest.raises(FencedError):
            await a.consumer.commit()
        await a.until("lost")
        await a.until("assigned", 2)
        assert await a.consumer.getmany(timeout=30)  # they come again
        await a.consumer.commit()
    assert no_task_left()


async def test_a_short_outage_neither_repeats_nor_loses_anything(service):
    fill(service)
    a = Reading(service, "a").start()
    await asyncio.sleep(30)
    a.line.down = "refused"
    await asyncio.sleep(25)
    fill(service, first=5)
    a.line.down = None
    await asyncio.sleep(20)
    assert sorted(data for _, data, _ in a.got) == every(10)
    assert [word for word, _, _ in a.told] == ["assigned"]
    await a.stop()


async def test_a_member_without_partitions_is_ready_and_waits_for_its_turn(service):
    service.scale(1)
    consumers = [Reading(service, name).start() for name in "abcde"]
    await asyncio.gather(*(r.until("assigned") for r in consumers[:4]))
    await consumers[4].consumer.wait_ready(timeout=10)
    assert consumers[4].consumer.position() == {}
    await consumers[0].stop()
    await consumers[4].until("assigned")
    for reading in consumers[1:]:
        await reading.stop()
    assert no_task_left()


@pytest.mark.parametrize("outage", ["refused", "silent"])
async def test_closing_while_the_service_is_down_ends_in_time_and_leaves_no_task(service, outage):
    fill(service)
    a = Reading(service, "a").start()
    await asyncio.sleep(25)
    a.line.down = outage
    began = now()
    await a.consumer.close(timeout=10)
    assert now() - began <= 10
    await a.task
    assert no_task_left()


async def test_a_cancelled_close_leaves_no_task(service):
    fill(service)
    a = Reading(service, "a").start()
    await asyncio.sleep(25)
    a.line.down = "silent"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await a.consumer.close()
    await a.task
    await asyncio.sleep(0.1)
    assert no_task_left()


async def test_an_app_that_is_deleted_ends_the_run_with_an_error(service):
    a = Reading(service, "a").start()
    await asyncio.sleep(25)
    service.delete_app()
    with pytest.raises(NotFoundError):
        await a.task
    assert no_task_left()


async def test_callbacks_may_ask_the_consumer_and_commit(service):
    fill(service)
    positions = []

    async def on_revoked(ids):
        await reading.consumer.commit()
        positions.append((ids, reading.consumer.position()))

    reading = Reading(service, "a")
    reading.consumer = Consumer(
        reading.line,
        STREAM,
        ConsumerSettings(app=APP, offset_reset="earliest", group=DISGroup(), on_revoked=on_revoked),
    )
    reading.start()
    await asyncio.sleep(30)
    await reading.stop()
    [(ids, position)] = positions
    assert position == dict.fromkeys(sorted(ids), 5)
    assert len(ids) == 4
    assert partition_name(0) in ids
