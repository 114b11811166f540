"""`run`: no record is lost between the handlers, the retries and the end of a run."""

import asyncio
import collections

import pytest
from consuming import P0, P1, consumer_of, drain, filled, no_task_left, numbered, take
from scripted_service import ScriptedService, refusal

from aiodis.errors import BufferFullError, DISError, HandlerError, NotFoundError

pytestmark = pytest.mark.looptime


async def test_a_cancellation_that_the_handler_let_out_is_a_failure_of_the_record():
    service = filled(1, 10)
    tries = 0

    async def handler(record):
        nonlocal tries
        if record.data == b"0-3":
            tries += 1
            inner = asyncio.create_task(asyncio.sleep(1))
            inner.cancel()
            await inner

    with pytest.raises(HandlerError) as caught:
        await consumer_of(service).run(handler, retries=1)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert tries == 2
    assert service.checkpoints == {P0: 3}


async def test_a_run_after_a_failed_one_begins_with_the_record_that_failed():
    service = filled(1, 5)
    seen: list[bytes] = []
    bad = True

    async def handler(record):
        if bad and record.data == b"0-2":
            raise LookupError
        seen.append(record.data)

    async with consumer_of(service) as consumer:
        with pytest.raises(HandlerError):
            await consumer.run(handler, retries=0)
        bad = False
        service.add(0, b"0-5")
        running = asyncio.create_task(consumer.run(handler))
        await asyncio.sleep(10)
        await consumer.close()
        await running
    assert seen == numbered(0, 6)
    assert service.checkpoints == {P0: 6}


async def test_what_a_cancelled_run_did_not_finish_comes_from_getmany():
    service = filled(1, 5)

    async def handler(record):
        if record.data == b"0-2":
            await asyncio.sleep(1000)

    async with consumer_of(service) as consumer:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await consumer.run(handler)
        service.add(0, b"0-5")
        assert await drain(consumer) == numbered(0, 6, first=2)


async def test_a_handler_that_is_cancelled_before_it_began_leaves_its_partition_free():
    # P1's batch comes in the very turn in which P0's handler fails and ends the run.
    service = ScriptedService(2)
    service.add(0, b"0-0")
    reached = asyncio.Event()

    async def handler(record):
        if record.partition_id == P0:
            await reached.wait()
            raise LookupError

    async with consumer_of(service) as consumer:
        ordinary = consumer._shelf.offer

        def arrived(reader):
            if reader.partition_id == P1:
                reached.set()
            ordinary(reader)

        for poller in consumer._following._pollers.values():
            poller._on_batch = arrived
        running = asyncio.create_task(consumer.run(handler, retries=0))
        await asyncio.sleep(5)
        service.add(1, b"1-0")
        with pytest.raises(HandlerError):
            await running
        service.add(1, b"1-1")
        assert sorted(await drain(consumer)) == [b"0-0", b"1-0", b"1-1"]


async def test_run_goes_on_where_async_for_stopped():
    service = filled(1, 5)
    seen: list[bytes] = []

    async def handler(record):
        seen.append(record.data)

    async with consumer_of(service) as consumer:
        seen += await take(consumer, 2)
        running = asyncio.create_task(consumer.run(handler))
        await asyncio.sleep(5)
        await consumer.close()
        await running
    assert seen == numbered(0, 5)
    assert service.checkpoints == {P0: 5}


@pytest.mark.parametrize("what", ["pause", "seek"])
async def test_a_run_obeys_a_pause_or_a_seek_behind_the_record_in_hand(what):
    service = filled(1, 100)
    seen: list[int] = []

    async def handler(record):
        seen.append(record.sequence_number)
        await asyncio.sleep(1)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(4.5)
    before = len(seen)
    if what == "pause":
        consumer.pause()
        await asyncio.sleep(30)
        assert len(seen) == before
        consumer.resume()
    else:
        consumer.seek(P0, 90)
    await asyncio.sleep(3)
    assert seen[before:] == list(range(*((before, before + 3) if what == "pause" else (90, 93))))
    await consumer.close()
    await running
    assert service.checkpoints == {P0: seen[-1] + 1}


async def test_what_leaves_the_partition_while_handlers_work_is_passed_over():
    service = filled(1, 10)
    seen: list[int] = []

    async def handler(record):
        await asyncio.sleep(10)
        seen.append(record.sequence_number)
        assert service.checkpoints.get(P0, 0) <= record.sequence_number

    consumer = consumer_of(service, auto_commit_interval_ms=100)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(15)
    service.oldest[0] = 20
    service.stored[0].clear()
    service.add(0, *numbered(0, 23, first=20))
    await asyncio.sleep(200)
    await consumer.close()
    await running
    assert seen == [*range(10), 20, 21, 22]
    assert service.checkpoints == {P0: 23}


async def test_handlers_end_and_fetched_records_are_handled_before_run_raises_a_failure():
    service = filled(2, 2)
    ended: list[bytes] = []

    async def handler(record):
        await asyncio.sleep(5)
        ended.append(record.data)

    running = asyncio.create_task(consumer_of(service).run(handler))
    await asyncio.sleep(1)
    service.get_faults = [refusal("DIS.4301")]
    with pytest.raises(NotFoundError):
        await running
    assert len(ended) == 4
    assert sum(service.checkpoints.values()) == 4
    assert no_task_left()


async def test_a_second_run_is_refused_at_once_and_the_first_goes_on():
    service = filled(2, 3)
    seen: list[bytes] = []

    async def handler(record):
        await asyncio.sleep(1)
        seen.append(record.data)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    for _ in range(2):  # before it has started, and after
        await asyncio.sleep(0)
        with pytest.raises(DISError, match="another task"):
            await consumer.run(handler)
        await asyncio.sleep(1)
    with pytest.raises(DISError, match="another task"):
        await anext(consumer)
    await asyncio.sleep(10)
    await consumer.close()
    await running
    assert sorted(seen) == numbered(0, 3) + numbered(1, 3)


async def test_dead_letters_that_fail_raise_their_error_with_the_handler_s_behind_it():
    service = filled(1, 3)

    class Letters:
        async def send_and_wait(self, data, *, partition_key=None):
            raise BufferFullError("no room")

    async def handler(record):
        if record.data == b"0-1":
            raise ValueError("mine")

    with pytest.raises(BufferFullError) as caught:
        await consumer_of(service).run(handler, retries=0, dead_letter=Letters())
    assert isinstance(caught.value.__context__, ValueError)
    assert not caught.value.__suppress_context__
    assert service.checkpoints == {P0: 1}


async def test_handlers_of_other_partitions_go_on_while_one_never_ends():
    service = filled(2, 10)
    seen: collections.Counter[str] = collections.Counter()

    async def handler(record):
        seen[record.partition_id] += 1
        if record.partition_id == P0:
            await asyncio.sleep(100_000)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(60)
    assert seen == {P0: 1, P1: 10}
    await consumer.close(timeout=1)
    await running
