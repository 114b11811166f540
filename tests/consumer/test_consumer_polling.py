"""When a partition is read, and how much of it; and clocks that jump."""

import asyncio

import pytest
from consuming import MIB, P0, P1, consumer_of, drain, filled, numbered, take
from scripted_service import ScriptedService

from aiodis.consumer import ConsumerStats
from aiodis.errors import DISError

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_backlog_of_small_records_is_read_without_pauses():
    service = ScriptedService(1)
    service.add(0, *(b"x" for _ in range(100_000)))
    ordinary = service._get

    def few(query):  # a service that gives a hundred records at most
        return ordinary({**query, "max_fetch_bytes": "100"})

    service._get = few
    async with consumer_of(service, rate_limit="off") as consumer:
        before = now()
        await take(consumer, 10_000)
        assert now() - before < 100 * 0.02  # a hundred reads, without a pause between


async def test_a_trickle_is_not_polled_at_once_again_and_again():
    service = ScriptedService(1)
    async with consumer_of(service, poll_min_ms=200) as consumer:
        for n in range(1000):
            service.add(0, b"%d" % n)
            await asyncio.sleep(0.01)
        assert consumer.stats().fetches < 10 / 0.2 + 10


async def test_a_record_that_does_not_fit_as_the_service_counts_it_is_asked_for_with_more_room():
    service = ScriptedService(1)
    service.overhead = 0.4  # base64, and what is around it
    service.add(0, b"a", b"b" * MIB, b"c")
    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        data = await take(consumer, 3)
    assert [item[:1] for item in data] == [b"a", b"b", b"c"]


async def test_a_seek_is_not_slept_over():
    service = filled(1, 5)
    async with consumer_of(service, poll_min_ms=60_000, poll_max_ms=60_000) as consumer:
        await take(consumer, 5)
        await asyncio.sleep(1)
        consumer.seek(P0, 2)
        before = now()
        assert await take(consumer, 3) == numbered(0, 5, first=2)
        assert now() - before < 1


async def test_a_resume_is_not_slept_over():
    service = filled(1, 5)
    async with consumer_of(service, poll_min_ms=60_000, poll_max_ms=60_000) as consumer:
        await take(consumer, 2)
        consumer.pause()
        await asyncio.sleep(1)
        consumer.resume()
        before = now()
        assert await take(consumer, 3) == numbered(0, 5, first=2)
        assert now() - before < 1


async def test_a_pause_of_all_covers_partitions_that_appear_later():
    service = filled(1, 3)
    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        consumer.pause()
        service.status[1] = "ACTIVE"
        service.add(1, *numbered(1, 3))
        assert await drain(consumer, 10) == []
        consumer.resume(P1)
        assert await drain(consumer, 10) == numbered(1, 3)
        consumer.resume()
        service.status[2] = "ACTIVE"
        service.add(2, b"2-0")
        assert await drain(consumer, 10) == [*numbered(0, 3), b"2-0"]


async def test_an_expired_partition_leaves_the_position_when_it_is_handed_out():
    service = filled(2, 3)
    async with consumer_of(service) as consumer:
        await asyncio.sleep(3)
        service.status[1] = "EXPIRED"
        await asyncio.sleep(5)
        assert consumer.position() == {P0: 0, P1: 0}
        await take(consumer, 6)
        assert consumer.position() == {P0: 3}
        assert list(await consumer.lag()) == [P0]


# Clocks


async def test_a_laptop_that_slept_neither_skips_nor_repeats():
    service = filled(1, 5)
    async with consumer_of(service) as consumer:
        assert await take(consumer, 5) == numbered(0, 5)
        for hours in (1, 10):
            service.clock_skew_s += 3600 * hours  # this machine's monotonic clock stood still
            service.add(0, b"0-%d" % service.next(0))
            assert await take(consumer, 1) == [b"0-%d" % (service.next(0) - 1)]
        assert consumer.stats().resets == 0


async def test_a_service_whose_clock_goes_back_neither_skips_nor_repeats():
    service = filled(1, 5)
    async with consumer_of(service) as consumer:
        await take(consumer, 5)
        service.clock_skew_s = -86_400
        await asyncio.sleep(1000)
        service.add(0, b"0-5")
        assert await take(consumer, 1) == [b"0-5"]


async def test_lag_says_how_old_the_next_record_is():
    service = filled(1, 5)
    service.clock_skew_s = 100
    service.written_ms = 50_000
    async with consumer_of(service) as consumer:
        await asyncio.sleep(3)
        lag = (await consumer.lag())[P0]
        assert lag.records == 5
        assert lag.milliseconds == pytest.approx(1000 * (100 + now() - 50), abs=10)
        await take(consumer, 5)
        assert (await consumer.lag())[P0] == (0, 0)
        consumer.pause()
        service.add(0, b"0-5")
        assert (await consumer.lag())[P0].milliseconds > 50_000  # that of the record before


async def test_lag_does_not_guess_an_age():
    service = filled(1, 5)
    service.latency = 5
    async with consumer_of(service) as consumer:
        consumer.pause()
        assert await consumer.lag() == {P0: (5, None)}


# Forms


async def test_records_come_as_protobuf():
    service = filled(2, 50)
    async with consumer_of(service, wire_format="protobuf") as consumer:
        assert sorted(await take(consumer, 100)) == sorted(numbered(0, 50) + numbered(1, 50))


async def test_a_deserializer_makes_the_value():
    service = filled(1, 2)
    async with consumer_of(service, deserializer=lambda data: int(data[2:])) as consumer:
        assert [(await anext(consumer)).value for _ in range(2)] == [0, 1]


# Who reads


async def test_two_tasks_that_take_turns_are_found_out():
    service = filled(1, 100)
    refused = []

    async def read(consumer):
        try:
            async for _ in consumer:
                await asyncio.sleep(1)
        except DISError as exc:
            refused.append(str(exc))

    async with consumer_of(service) as consumer:
        await asyncio.sleep(5)
        reading = [asyncio.create_task(read(consumer)) for _ in range(2)]
        await asyncio.sleep(10)
        assert len(refused) == 1
        assert "two tasks" in refused[0]
    await asyncio.gather(*reading)


async def test_one_task_may_read_through_others_that_it_waits_for():
    service = filled(1, 100)
    data = []
    async with consumer_of(service) as consumer:
        for _ in range(20):
            data.append((await anext(consumer)).data)
            data.append((await asyncio.wait_for(anext(consumer), 5)).data)
            async for record in consumer:
                data.append(record.data)
                break
            (batch,) = await asyncio.create_task(consumer.getmany(max_records=1))
            data += [record.data for record in batch.records]
    assert data == numbered(0, 80)


async def test_a_loop_inside_a_loop_goes_on_where_the_other_stopped():
    service = filled(1, 30)
    data = []
    async with consumer_of(service) as consumer:
        async for record in consumer:
            data.append(record.data)
            data += await take(consumer, 2)
            if len(data) == 30:
                break
    assert data == numbered(0, 30)


# Stop


async def test_stop_ends_the_loop_behind_the_record_in_hand_which_is_then_finished():
    service = filled(1, 10)
    got = []
    async with consumer_of(service) as consumer:
        asyncio.get_running_loop().call_later(5, consumer.stop)
        async for record in consumer:
            got.append(record.data)
            await asyncio.sleep(2)
    assert len(got) == 3
    assert service.checkpoints == {P0: 3}


async def test_stop_ends_a_loop_that_waits():
    async with consumer_of(ScriptedService(1)) as consumer:
        asyncio.get_running_loop().call_later(5, consumer.stop)
        assert [record async for record in consumer] == []
        assert await consumer.getmany() == []


@pytest.mark.parametrize("by", ["partition", "key"])
async def test_stop_ends_run_behind_the_records_in_hand(by):
    service = filled(1, 10)

    async def handler(record):
        await asyncio.sleep(2)

    consumer = consumer_of(service)
    asyncio.get_running_loop().call_later(5, consumer.stop)
    before = now()
    await consumer.run(handler, concurrency=1, concurrency_by=by)
    assert now() - before < 7
    assert service.checkpoints == {P0: 3}


async def test_stop_cancels_handlers_that_never_end():
    service = filled(1, 10)

    async def handler(record):
        await asyncio.sleep(100_000)

    consumer = consumer_of(service, close_timeout_ms=4_000)
    asyncio.get_running_loop().call_later(5, consumer.stop)
    before = now()
    await consumer.run(handler)
    assert now() - before < 9


# Stats


async def test_stats_count_what_happened():
    service = filled(2, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 20)
        await consumer.commit()
        stats = consumer.stats()
    assert (stats.records, stats.bytes, stats.assigned, stats.commits) == (20, 60, 2, 2)
    assert stats != ConsumerStats()
