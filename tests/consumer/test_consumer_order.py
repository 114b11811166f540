"""`partition_order="parent_first"`: what was written before a scaling is read before the rest."""

import asyncio

import pytest
from consuming import P0, P1, P2, consumer_of, drain, filled, numbered, only, take
from scripted_service import ScriptedService, refusal

from aiodis.config import Static

pytestmark = pytest.mark.looptime


def scaled_down() -> ScriptedService:
    """Three partitions, the last of which is DELETED, with 20 records each."""
    service = filled(3, 20)
    service.status[2] = "DELETED"
    return service


def ordered(service, **settings):
    return consumer_of(service, partition_order="parent_first", **settings)


def partitions_of(data: list[bytes]) -> list[int]:
    return [int(item[:1]) for item in data]


async def test_a_deleted_partition_is_drained_before_any_other_is_read():
    async with ordered(scaled_down()) as consumer:
        data = await take(consumer, 60)
    assert partitions_of(data[:20]) == [2] * 20
    assert set(partitions_of(data[20:])) == {0, 1}
    for n in range(3):
        assert only(data, n) == numbered(n, 20)


async def test_the_last_record_of_a_deleted_partition_has_to_be_finished_first():
    service = scaled_down()
    begun = []

    async def handler(record):
        begun.append(record.data)
        if record.data == b"2-19":
            await asyncio.sleep(100)

    consumer = ordered(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(50)
    assert set(partitions_of(begun)) == {2}
    await asyncio.sleep(100)
    assert len(begun) == 60
    await consumer.close()
    await running


async def test_in_parallel_nobody_waits():
    async with consumer_of(scaled_down()) as consumer:
        data = await take(consumer, 60)
    assert set(partitions_of(data[:41])) == {0, 1, 2}
    assert partitions_of(data[:20]) != [2] * 20


async def test_partitions_that_are_deleted_while_they_are_read_hold_back_the_others():
    service = filled(3, 5)
    async with ordered(service, partition_refresh_ms=1000) as consumer:
        await take(consumer, 15)
        consumer.pause(P2)
        service.add(2, *numbered(2, 10, first=5))
        service.status[2] = "DELETED"
        await asyncio.sleep(3)
        service.add(0, *numbered(0, 10, first=5))
        assert await consumer.getmany(timeout=20) == []
        consumer.resume(P2)
        data = await take(consumer, 10)
    assert data == numbered(2, 10, first=5) + numbered(0, 10, first=5)


async def test_a_loop_in_the_middle_of_a_batch_stops_when_its_partition_is_held_back():
    service = filled(2, 100)
    got = []
    async with ordered(service, partition_refresh_ms=5000) as consumer:
        consumer.pause(P1)
        async for record in consumer:
            got.append(record.data)
            await asyncio.sleep(1)
            if len(got) == 3:
                service.status[1] = "DELETED"
                consumer.resume(P1)
            if len(got) == 110:
                break
    first = partitions_of(got).index(1)
    assert first < 8
    assert partitions_of(got[first : first + 100]) == [1] * 100
    assert only(got, 0) == numbered(0, len(only(got, 0)))


async def test_a_new_partition_waits_for_what_was_written_before_it_was_found():
    service = filled(1, 5)
    async with ordered(service, partition_refresh_ms=1000) as consumer:
        await take(consumer, 4)
        service.status[1] = "ACTIVE"
        service.add(1, *numbered(1, 3))
        await asyncio.sleep(5)
        service.add(0, *numbered(0, 8, first=5))
        data = await take(consumer, 7)
    assert data[0] == b"0-4"
    assert only(data, 1) == numbered(1, 3)


async def test_what_expires_is_waited_for_no_longer():
    service = scaled_down()
    async with ordered(service, partition_refresh_ms=1000) as consumer:
        assert partitions_of(await take(consumer, 3)) == [2] * 3
        consumer.pause(P2)
        await asyncio.sleep(3)
        service.status[2] = "EXPIRED"
        data = await drain(consumer)
    assert sorted(data) == sorted(numbered(0, 20) + numbered(1, 20))


async def test_a_deleted_partition_of_another_member_is_drained_when_its_checkpoint_says_so():
    service = scaled_down()
    async with ordered(service, group=Static(1, 2)) as consumer:  # P1 alone; P2 is member 0's
        assert await drain(consumer, 30) == []
        ordinary = service.checkpoints_get

        def fail(request):
            raise refusal("DIS.5000", 500)

        service.checkpoints_get = fail
        service.checkpoints[P2] = 20
        assert await drain(consumer, 30) == []
        service.checkpoints_get = ordinary
        assert await drain(consumer, 30) == numbered(1, 20)


async def test_a_drained_stream_starts_again_where_it_was():
    service = scaled_down()
    async with ordered(service) as consumer:
        await take(consumer, 60)
        await consumer.commit()
    assert service.checkpoints == {P0: 20, P1: 20, P2: 20}
    service.add(0, b"0-20")
    async with ordered(service) as consumer:
        assert await drain(consumer) == [b"0-20"]
