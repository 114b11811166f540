"""What is waited out, what ends reading, and what is held meanwhile."""

import asyncio
import gc
import tracemalloc

import pytest
from consuming import MIB, P0, consumer_of, drain, filled, no_task_left, numbered, take
from scripted_service import ScriptedService, refusal

from aiodis.api.records import Cursor
from aiodis.errors import DISError, NotFoundError

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize("code", ["DIS.4205", "DIS.4302"])
async def test_a_refusal_that_a_scaling_explains_is_waited_out(code):
    service = filled(1, 3)
    service.get_faults = [refusal(code)] * 5
    async with consumer_of(service) as consumer:
        assert await take(consumer, 3) == numbered(0, 3)


@pytest.mark.parametrize("code", ["DIS.4205", "DIS.4302"])
async def test_a_refusal_that_stays_ends_reading(code):
    service = filled(1, 3)
    service.get_faults = [refusal(code)] * 100
    async with consumer_of(service) as consumer:
        with pytest.raises(DISError, match=code):
            await take(consumer, 3)


async def test_an_empty_cursor_is_asked_for_again_after_a_pause():
    service = filled(1, 3)
    ordinary = service.records_get_cursor
    asked: list[float] = []

    def get_cursor(request):
        asked.append(asyncio.get_running_loop().time())
        return Cursor(partition_cursor="") if len(asked) < 4 else ordinary(request)

    service.records_get_cursor = get_cursor
    async with consumer_of(service, retry_backoff_ms=1000) as consumer:
        assert await take(consumer, 3) == numbered(0, 3)
        assert consumer.stats().fetches == 1
    assert len(asked) == len(set(asked)) == 4


async def test_cursors_that_are_refused_again_and_again_are_asked_for_slowly():
    service = filled(1, 3)
    service.get_faults = [refusal("DIS.4225")] * 100_000
    async with consumer_of(service) as consumer:
        await asyncio.sleep(600)
        assert consumer.stats().cursors < 300


async def test_what_was_fetched_is_handed_out_before_the_failure_is_raised():
    service = filled(2, 3)
    async with consumer_of(service) as consumer:
        await asyncio.sleep(3)
        service.gone = True
        await asyncio.sleep(3)
        assert sorted(await take(consumer, 6)) == numbered(0, 3) + numbered(1, 3)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await anext(consumer)


async def test_a_failure_is_not_put_off_by_what_other_partitions_could_still_fetch():
    service = filled(2, 3)
    async with consumer_of(service, auto_commit_interval_ms=100) as consumer:
        await take(consumer, 6)
        service.get_faults = [refusal("DIS.4301")]

        async def read_on():
            while True:
                service.add(0, b"0-more")
                service.add(1, b"1-more")
                await anext(consumer)

        with pytest.raises(NotFoundError):
            await read_on()
        before = len(service.commits)
        await asyncio.sleep(1)
        assert len(service.commits) > before  # the finished part is committed all the same


async def test_a_failure_in_the_very_moment_of_the_timeout_is_raised_as_it_is():
    async with consumer_of(ScriptedService(1)) as consumer:
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(consumer.getmany(timeout=5))
        await asyncio.sleep(0)

        def fail():
            consumer._shelf.failure = refusal("DIS.4301")
            consumer._shelf.wake()

        loop.call_at(loop.time() + 5, fail)
        with pytest.raises(NotFoundError):
            await waiting


async def test_an_error_that_is_not_ours_is_raised_as_it_is():
    class OddError(Exception):
        def __init__(self, one, two):  # which copy() cannot make again
            super().__init__(f"{one}{two}")

    service = filled(1, 1)
    async with consumer_of(service) as consumer:
        await take(consumer, 1)
        service.get_faults = [OddError(1, 2)]
        for _ in range(2):
            with pytest.raises(OddError):
                await anext(consumer)


async def test_a_second_task_that_reads_is_refused_and_the_first_loses_nothing():
    service = ScriptedService(2)
    got: list[bytes] = []

    async def read(consumer):
        async for record in consumer:
            got.append(record.data)
            await asyncio.sleep(0.01)

    async with consumer_of(service) as consumer:
        reading = asyncio.create_task(read(consumer))
        await asyncio.sleep(1)
        with pytest.raises(DISError, match="another task"):
            await anext(consumer)
        with pytest.raises(DISError, match="another task"):
            await consumer.getmany(timeout=1)
        for n in range(2):
            service.add(n, *numbered(n, 5))
        await asyncio.sleep(20)
    await reading
    assert sorted(got) == numbered(0, 5) + numbered(1, 5)
    assert no_task_left()


async def test_small_records_count_what_they_hold():
    service = ScriptedService(1)
    service.add(0, *(b"%d" % i for i in range(30_000)))
    async with consumer_of(service, prefetch_bytes=MIB, prefetch_batches=1) as consumer:
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await asyncio.sleep(5)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        counted = consumer._shelf.budget.limit - consumer._shelf.budget.free
        assert 0.5 < held / counted < 1.5
        assert await drain(consumer) == [b"%d" % i for i in range(30_000)]
        consumer.pause()  # so that no fetch is under way
        await asyncio.sleep(1)
        assert consumer._shelf.budget.free == consumer._shelf.budget.limit


async def test_what_is_ready_is_listed_once_however_often_it_is_fetched():
    service = ScriptedService(1)
    service.add(0, *(b"x" * MIB for _ in range(30)))
    async with consumer_of(service, rate_limit="off") as consumer:
        for _ in range(30):
            await anext(consumer)
            await asyncio.sleep(0.1)
            assert len(consumer._shelf._turns) <= 1


async def test_all_memory_is_free_again_after_seeks_and_pauses():
    service = ScriptedService(3)
    for n in range(3):
        service.add(n, *(b"x" * 100_000 for _ in range(100)))
    async with consumer_of(service, prefetch_bytes=3 * MIB, rate_limit="off") as consumer:
        for i in range(60):
            if i % 7 == 0:
                consumer.pause(P0)
            if i % 7 == 3:
                consumer.resume(P0)
            if i % 11 == 0:
                consumer.seek("1", i % 50)
            await consumer.getmany(max_records=3, timeout=1)
            if i % 5 == 0:
                await anext(consumer)
        consumer.resume()
        await drain(consumer)
        consumer.pause()
        await asyncio.sleep(60)
        assert consumer._shelf.budget.free == consumer._shelf.budget.limit
