"""The consumer under a coordinator whose assignments change, by a script."""

import asyncio
from math import inf

import pytest
from consuming import P0, P1, consumer_of, drain, filled, no_task_left, numbered, only, take
from scripted_service import ScriptedService, refusal

from aiodis.clock import SYSTEM_CLOCK
from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer
from aiodis.consumer.coordinator import Fence
from aiodis.errors import ClosedError, ConfigError, DISError, FencedError

pytestmark = pytest.mark.looptime


class Script:
    """A coordinator that does what the test says."""

    follows_stream = False

    def __init__(self) -> None:
        self.host = None
        self.held: dict[str, float] = {}
        self.generation = 1
        self.fences: list[Fence] = []
        self.closed = False

    async def open(self, host) -> None:
        self.host = host

    def held_until(self, partition_id):
        return self.held.get(partition_id, -inf)

    def fence(self):
        return Fence("me", self.generation)

    def fenced(self, fence):
        self.fences.append(fence)

    async def close(self):
        self.closed = True

    def assign(self, *partition_ids, until=inf):
        self.held |= dict.fromkeys(partition_ids, until)
        self.host.assigned(partition_ids)

    async def revoke(self, *partition_ids):
        await self.host.revoke(partition_ids)
        self.take_away(*partition_ids)

    def lose(self, *partition_ids):
        self.take_away(*partition_ids)
        self.host.lost(partition_ids)

    def take_away(self, *partition_ids):
        for pid in partition_ids:
            self.held.pop(pid, None)


def grouped(service, **settings) -> tuple[Consumer, Script]:
    script = Script()
    return consumer_of(service, group=lambda seat: script, **settings), script


def now() -> float:
    return asyncio.get_running_loop().time()


# Assigned


async def test_nothing_is_read_before_it_is_assigned():
    consumer, script = grouped(filled(2, 3))
    async with consumer:
        assert await drain(consumer, 10) == []
        script.assign(P1)
        assert await drain(consumer) == numbered(1, 3)
        assert list(consumer.position()) == [P1]
    assert script.closed
    assert no_task_left()


async def test_wait_ready_waits_for_the_first_assignment():
    consumer, script = grouped(filled(2, 3))
    with pytest.raises(ClosedError):
        await consumer.wait_ready()
    async with consumer:
        with pytest.raises(TimeoutError):
            await consumer.wait_ready(timeout=5)
        waiting = asyncio.create_task(consumer.wait_ready())
        await asyncio.sleep(1)
        script.assign(P0)
        await waiting
        assert list(consumer.position()) == [P0]


async def test_wait_ready_ends_when_nothing_is_left_for_this_member():
    consumer, script = grouped(filled(1, 3))
    async with consumer:
        script.host.assigned([])
        await consumer.wait_ready(timeout=0)


async def test_wait_ready_raises_what_ended_the_consumer():
    consumer, script = grouped(filled(1, 3))
    async with consumer:
        waiting = asyncio.create_task(consumer.wait_ready())
        await asyncio.sleep(0)
        script.host.failed(refusal("DIS.4301"))
        with pytest.raises(DISError, match="4301"):
            await waiting
        with pytest.raises(DISError, match="4301"):
            await anext(consumer)
    consumer, _ = grouped(filled(1, 3))
    await consumer.start()
    waiting = asyncio.create_task(consumer.wait_ready())
    await asyncio.sleep(0)
    await consumer.close()
    with pytest.raises(ClosedError):
        await waiting


async def test_on_assigned_comes_before_the_first_record_and_may_seek():
    told = []

    async def on_assigned(partition_ids):
        told.append(partition_ids)
        await asyncio.sleep(3)
        consumer.seek(P0, 7)
        assert consumer.position() == {P0: 7, P1: 0}
        await consumer.commit()

    service = filled(2, 10)
    consumer, script = grouped(service, on_assigned=on_assigned)
    async with consumer:
        script.assign(P0, P1)
        data = await drain(consumer)
    assert told == [{P0, P1}]
    assert only(data, 0) == numbered(0, 10, first=7)
    assert only(data, 1) == numbered(1, 10)


async def test_an_on_assigned_that_fails_ends_reading_with_its_error():
    def on_assigned(partition_ids):
        raise LookupError("mine")

    consumer, script = grouped(filled(1, 3), on_assigned=on_assigned)
    async with consumer:
        script.assign(P0)
        with pytest.raises(LookupError):
            await anext(consumer)
    with pytest.raises(LookupError):
        await consumer_of(filled(1, 3), on_assigned=on_assigned).start()


async def test_a_static_share_is_assigned_at_the_start_and_revoked_on_close():
    told = []
    service = filled(1, 3)
    consumer = consumer_of(
        service,
        on_assigned=lambda ids: told.append(("assigned", ids)),
        on_revoked=lambda ids: told.append(("revoked", ids)),
    )
    async with consumer:
        assert told == [("assigned", {P0})]
        service.status[1] = "ACTIVE"
        service.add(1, b"1-0")
        assert b"1-0" in await take(consumer, 4)
    assert told == [("assigned", {P0}), ("assigned", {P1}), ("revoked", {P0, P1})]


async def test_where_no_partition_of_this_member_has_a_checkpoint_the_whole_stream_decides():
    service = filled(2, 3)
    service.checkpoints[P0] = 1  # another member's: the app was here before P1 appeared
    consumer, script = grouped(service, offset_reset="latest")
    async with consumer:
        script.assign(P1)
        assert await drain(consumer) == numbered(1, 3)


async def test_a_new_app_begins_at_the_latest_record_in_a_group_too():
    service = filled(2, 3)
    consumer, script = grouped(service, offset_reset="latest")
    async with consumer:
        script.assign(P1)
        await consumer.wait_ready()
        service.add(1, b"1-new")
        assert await drain(consumer) == [b"1-new"]


async def test_an_assignment_that_cannot_be_begun_is_tried_again_soon():
    service = filled(1, 3)
    consumer, script = grouped(service)
    async with consumer:
        ordinary = service.checkpoints_get

        def fail(request):
            raise refusal("DIS.5000", 500)

        service.checkpoints_get = fail
        script.assign(P0)
        await asyncio.sleep(3)
        service.checkpoints_get = ordinary
        before = now()
        assert await take(consumer, 3) == numbered(0, 3)
        assert now() - before < 5


async def test_a_look_at_the_partitions_alone_makes_nobody_ready():
    consumer, _ = grouped(filled(1, 3), partition_refresh_ms=1000)
    async with consumer:
        with pytest.raises(TimeoutError):
            await consumer.wait_ready(timeout=10)


async def test_a_partition_that_expired_and_came_back_goes_on_where_it_was():
    told = []
    service = filled(1, 5)
    consumer, script = grouped(service, partition_refresh_ms=1000, on_assigned=told.append)
    async with consumer:
        script.assign(P0)
        await take(consumer, 4)
        service.get_faults = [refusal("DIS.4319")]
        await asyncio.sleep(5)
        service.add(0, b"0-5")
        assert await drain(consumer) == [b"0-4", b"0-5"]
        consumer.pause()
        await asyncio.sleep(60)
        assert consumer._shelf.budget.free == consumer._shelf.budget.limit
    assert told == [{P0}]


# Revoked


async def test_after_a_hand_over_nothing_of_the_partition_is_delivered_or_committed():
    service = filled(2, 100)
    consumer, script = grouped(service, auto_commit_interval_ms=500)
    async with consumer:
        script.assign(P0, P1)
        first = await take(consumer, 3)
        assert only(first, 0) == first
        handing_over = asyncio.create_task(script.revoke(P0))
        await asyncio.sleep(0)
        second = await take(consumer, 1)
        assert only(second, 1) == second
        await handing_over
        assert service.checkpoints[P0] == 3
        rest = await drain(consumer)
        assert only(rest, 0) == []
        with pytest.raises(ConfigError):
            consumer.seek(P0, 0)
    assert service.checkpoints == {P0: 3, P1: 100}


async def test_a_hand_over_waits_for_the_record_in_hand_and_commits_it():
    service = filled(2, 10)

    async def read():
        async for record in consumer:
            if record.partition_id == P0:
                await asyncio.sleep(10)

    consumer, script = grouped(service)
    async with consumer:
        script.assign(P0, P1)
        reading = asyncio.create_task(read())
        await asyncio.sleep(15)
        before = now()
        await script.revoke(P0)
        assert 0 < now() - before < 10
        assert service.checkpoints[P0] == 2
    await reading


async def test_a_hand_over_waits_for_a_handler_and_commits_its_record():
    service = filled(2, 10)
    seen = []

    async def handler(record):
        seen.append(record.data)
        if record.partition_id == P0:
            await asyncio.sleep(10)

    consumer, script = grouped(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(1)
    script.assign(P0, P1)
    await asyncio.sleep(15)
    await script.revoke(P0)
    assert only(seen, 0) == numbered(0, 2)
    assert service.checkpoints[P0] == 2
    await consumer.close()
    await running
    assert only(seen, 0) == numbered(0, 2)


@pytest.mark.parametrize("by", ["partition", "key"])
async def test_a_handler_that_outlives_the_hand_over_is_cancelled_and_its_record_not_finished(by):
    service = filled(2, 10)
    cancelled, handled = [], []

    async def handler(record):
        if record.data == b"0-2":
            try:
                await asyncio.sleep(10_000)
            except asyncio.CancelledError:
                cancelled.append(record.data)
                raise
        handled.append(record.data)

    consumer, script = grouped(service, handoff_timeout_ms=8_000)
    running = asyncio.create_task(consumer.run(handler, concurrency=1, concurrency_by=by))
    await asyncio.sleep(1)
    script.assign(P0)
    await asyncio.sleep(5)
    before = now()
    await script.revoke(P0)
    assert now() - before == pytest.approx(6, abs=0.1)
    assert cancelled == [b"0-2"]
    assert service.checkpoints[P0] == 2
    script.assign(P1)  # the run goes on with the others
    await asyncio.sleep(5)
    assert only(handled, 1) == numbered(1, 10)
    await consumer.close()
    await running


async def test_a_user_who_keeps_a_record_longer_than_the_hand_over_does_not_commit_it():
    service = filled(1, 10)
    consumer, script = grouped(service, handoff_timeout_ms=4_000)
    async with consumer:
        script.assign(P0)
        await take(consumer, 3)
        before = now()
        await script.revoke(P0)
        assert now() - before == pytest.approx(3, abs=0.1)
        assert service.checkpoints[P0] == 2
        with pytest.raises(FencedError):
            await consumer.commit()
        await consumer.commit()  # it was told once
        assert service.checkpoints[P0] == 2


async def test_on_revoked_comes_before_the_commit_and_may_commit_and_ask_for_the_position():
    service = filled(1, 10)
    told = []

    async def on_revoked(partition_ids):
        told.append((partition_ids, consumer.position(), dict(service.checkpoints)))
        await consumer.commit()
        told.append(dict(service.checkpoints))

    consumer, script = grouped(service, on_revoked=on_revoked, auto_commit=False)
    async with consumer:
        script.assign(P0)
        await consumer.getmany(max_records=4, timeout=10)
        await consumer.getmany(max_records=1, timeout=10)
        handing_over = asyncio.create_task(script.revoke(P0))
        await asyncio.sleep(0.1)
        assert await consumer.getmany(timeout=1) == []
        await handing_over
    assert told == [({P0}, {P0: 5}, {}), {P0: 5}]


async def test_an_on_revoked_that_fails_or_hangs_does_not_stop_the_hand_over():
    async def on_revoked(partition_ids):
        if partition_ids == {P0}:
            raise LookupError
        await asyncio.sleep(10_000)

    service = filled(2, 3)
    consumer, script = grouped(service, on_revoked=on_revoked, handoff_timeout_ms=8_000)
    async with consumer:
        script.assign(P0, P1)
        await take(consumer, 6)
        await consumer.commit()
        before = now()
        await script.revoke(P0)
        assert now() - before < 1
        await script.revoke(P1)
        assert now() - before < 9
        assert consumer.position() == {}


async def test_a_hand_over_while_the_service_is_down_ends_in_its_time():
    service = filled(1, 10)
    consumer, script = grouped(service, handoff_timeout_ms=5_000)
    async with consumer:
        script.assign(P0)
        await take(consumer, 3)
        service.latency = 10_000
        before = now()
        reading = asyncio.create_task(anext(consumer))
        await script.revoke(P0)
        assert now() - before <= 5.1
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        service.latency = 0.01


async def test_a_partition_that_is_revoked_before_it_was_begun_is_not_begun():
    service = filled(1, 3)
    service.latency = 1
    consumer, script = grouped(service)
    async with consumer:
        script.assign(P0)
        await asyncio.sleep(1.5)  # its checkpoint is being read
        await script.revoke(P0)
        assert await drain(consumer) == []
        assert consumer.position() == {}


async def test_a_partition_that_comes_back_goes_on_at_its_checkpoint():
    service = filled(1, 10)
    consumer, script = grouped(service)
    async with consumer:
        script.assign(P0)
        assert await take(consumer, 4) == numbered(0, 4)
        await consumer.commit()
        await script.revoke(P0)
        service.checkpoints[P0] = 6  # the other member's work
        script.assign(P0)
        assert await drain(consumer) == numbered(0, 10, first=6)


# Lost


@pytest.mark.parametrize("by", ["partition", "key"])
async def test_what_is_lost_is_neither_handled_nor_committed_and_its_handler_is_cancelled(by):
    service = filled(2, 10)
    begun, cancelled = [], []

    async def handler(record):
        begun.append(record.data)
        if record.data == b"0-3":
            try:
                await asyncio.sleep(10_000)
            except asyncio.CancelledError:
                cancelled.append(record.data)
                raise

    told = []
    consumer, script = grouped(service, on_lost=told.append, auto_commit_interval_ms=100_000)
    running = asyncio.create_task(consumer.run(handler, concurrency=1, concurrency_by=by))
    await asyncio.sleep(1)
    script.assign(P0)
    await asyncio.sleep(5)
    script.lose(P0)
    script.assign(P1)
    await asyncio.sleep(5)
    assert told == [{P0}]
    assert cancelled == [b"0-3"]
    assert only(begun, 0) == numbered(0, 4)
    assert only(begun, 1) == numbered(1, 10)
    with pytest.raises(FencedError):
        await consumer.commit()
    await consumer.close()
    await running
    assert P0 not in service.checkpoints
    assert service.checkpoints[P1] == 10


async def test_a_loss_during_a_hand_over_ends_it_without_a_commit():
    service = filled(1, 10)
    told = []
    consumer, script = grouped(
        service, on_lost=lambda ids: told.append("lost"), on_revoked=lambda ids: told.append("gone")
    )
    async with consumer:
        script.assign(P0)
        await take(consumer, 3)
        handing_over = asyncio.create_task(script.revoke(P0))
        await asyncio.sleep(1)
        script.lose(P0)
        await asyncio.sleep(0.1)
        assert handing_over.done()
        assert told == ["lost"]
    assert service.commits == []


async def test_a_member_whose_ownership_has_lapsed_unnoticed_delivers_nothing_more():
    service = filled(1, 100)
    consumer, script = grouped(service)
    async with consumer:
        script.assign(P0, until=now() + 60)
        got = await take(consumer, 3)
        script.held[P0] = now() - 1  # the process was stopped; nothing has told it yet
        waiting = asyncio.create_task(anext(consumer))
        await asyncio.sleep(30)
        assert not waiting.done()
        script.assign(P0)  # nobody else had it
        got.append((await waiting).data)
        got += await take(consumer, 5)
    assert got == numbered(0, 9)


@pytest.mark.parametrize("by", ["partition", "key"])
async def test_a_handler_gets_nothing_more_once_the_ownership_has_lapsed(by):
    service = filled(1, 10)
    seen = []

    async def handler(record):
        seen.append(record.data)
        if record.data == b"0-4":
            script.held[P0] = now() - 1

    consumer, script = grouped(service)
    running = asyncio.create_task(consumer.run(handler, concurrency=1, concurrency_by=by))
    await asyncio.sleep(1)
    script.assign(P0)
    await asyncio.sleep(20)
    assert seen == numbered(0, 5)
    script.assign(P0)
    await asyncio.sleep(5)
    assert seen == numbered(0, 10)
    await consumer.close()
    await running


# Commits


async def test_commits_carry_the_fence_and_a_refused_one_is_told_to_the_coordinator():
    service = filled(1, 10)
    carried = []
    ordinary = service.checkpoints_commit

    def commit(request):
        carried.append((request.client_id, request.generation_id))
        if request.generation_id == 1:
            raise refusal("DIS.4703")
        return ordinary(request)

    service.checkpoints_commit = commit
    consumer, script = grouped(service, auto_commit=False)
    async with consumer:
        script.assign(P0)
        await take(consumer, 3)
        with pytest.raises(FencedError):
            await consumer.commit()
        assert script.fences == [Fence("me", 1)]
        script.generation = 2
        await consumer.commit()
    assert carried == [("me", 1), ("me", 2)]
    assert service.checkpoints == {P0: 3}


async def test_closing_commits_calls_back_and_leaves_in_this_order():
    service = filled(1, 10)
    order = []
    ordinary = service.checkpoints_commit

    def commit(request):
        order.append("commit")
        return ordinary(request)

    service.checkpoints_commit = commit
    consumer, script = grouped(service, on_revoked=lambda ids: order.append("revoked"))

    async def leave():
        order.append("leave")

    script.close = leave
    async with consumer:
        script.assign(P0)
        await take(consumer, 3)
    assert order == ["revoked", "commit", "leave"]


async def test_a_callback_may_close_the_consumer():
    async def on_assigned(partition_ids):
        await consumer.close()

    consumer, script = grouped(filled(1, 3), on_assigned=on_assigned)
    await consumer.start()
    script.assign(P0)
    await asyncio.sleep(5)
    assert [record async for record in consumer] == []
    await consumer.close()
    assert no_task_left()


async def test_an_assignment_after_the_close_begins_nothing():
    service = filled(1, 3)
    consumer, script = grouped(service)
    await consumer.start()
    await consumer.close()
    script.assign(P0)
    await script.host.revoke([P0])
    script.host.lost([P0])
    await asyncio.sleep(5)
    assert no_task_left()


def test_a_group_may_be_anything_that_makes_a_coordinator():
    seats = []

    def group(seat):
        seats.append(seat)
        return Script()

    settings = ConsumerSettings(app="billing", group=group)
    service = ScriptedService(1)
    Consumer(service, "events", settings)
    assert seats == [(service, "events", settings, SYSTEM_CLOCK)]
