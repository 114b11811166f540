"""Seeks, pauses and resets, while something else is under way."""

import asyncio
from datetime import UTC, datetime

import pytest
from consuming import MIB, P0, P1, consumer_of, drain, filled, numbered, take, trimmed
from scripted_service import ScriptedService, refusal

from aiodis.api.records import Cursor
from aiodis.errors import DecodeError, ParameterError, RequestTimeoutError
from aiodis.wire.message import Empty

pytestmark = pytest.mark.looptime


def hold_back_deletes(service) -> list[str]:
    """Let the service delete checkpoints; give the list of those deleted."""
    deleted = []

    def delete(request):
        deleted.append(request.partition_id)
        del service.checkpoints[request.partition_id]
        return Empty()

    service.checkpoints_delete = delete
    return deleted


# Seek


@pytest.mark.parametrize("number", [-1, True, 2**63, 1.0, "7"])
async def test_a_seek_to_what_is_no_sequence_number_is_refused_at_the_call(number):
    async with consumer_of(filled(1, 3)) as consumer:
        with pytest.raises(ParameterError):
            consumer.seek(P0, number)
        assert await take(consumer, 3) == numbered(0, 3)


@pytest.mark.parametrize("reset", ["earliest", "latest", "error"])
async def test_a_seek_wins_over_the_reset_of_the_place_before_it(reset):
    service = filled(1, 10)
    service.checkpoints[P0] = 50
    service.latency = 1
    async with consumer_of(service, offset_reset=reset) as consumer:
        await asyncio.sleep(0.5)  # the cursor for 50 is asked for
        consumer.seek(P0, 7)
        assert await take(consumer, 1) == [b"0-7"]


async def test_a_seek_while_cursors_are_refused_is_where_reading_goes_on():
    service = filled(1, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 10)
        service.latency = 1
        service.get_faults = [refusal("DIS.4225")] * 3
        await asyncio.sleep(3.3)
        consumer.seek(P0, 4)
        assert await take(consumer, 6) == numbered(0, 10, first=4)


async def test_the_last_of_several_seeks_counts():
    service = filled(1, 10)
    service.latency = 1
    async with consumer_of(service) as consumer:
        for pause, number in [(0.5, 3), (0.9, 5), (1.5, 1), (2.2, 8)]:
            await asyncio.sleep(pause)
            consumer.seek(P0, number)
        assert await take(consumer, 1) == [b"0-8"]


async def test_a_time_that_no_cursor_tells_is_an_error_that_says_so():
    service = filled(1, 10)
    service.records_get_cursor = lambda request: Cursor(partition_cursor="opaque!")
    async with consumer_of(service, auto_commit=False) as consumer:
        with pytest.raises(DecodeError, match=P0):
            await consumer.seek_to(datetime.fromtimestamp(1_700_000_000, UTC))


# Commits around a seek


async def test_a_commit_that_may_have_arrived_is_sent_again_in_the_end():
    service = filled(1, 10)
    ordinary = service.checkpoints_commit

    def lost_reply(request):
        ordinary(request)
        raise RequestTimeoutError("no complete answer")

    async with consumer_of(service, auto_commit=False) as consumer:
        await take(consumer, 6)
        await consumer.commit()
        consumer.seek(P0, 2)
        service.checkpoints_commit = lost_reply
        with pytest.raises(RequestTimeoutError):
            await consumer.commit()
        service.checkpoints_commit = ordinary
        await take(consumer, 4)
        await consumer.commit()  # of 6, which was committed before 2 was
        assert service.checkpoints == {P0: 6}
        before = len(service.commits)
        await consumer.commit()
        assert len(service.commits) == before


async def test_a_seek_back_during_a_commit_is_committed_after_it():
    service = filled(1, 10)
    async with consumer_of(service, auto_commit=False) as consumer:
        await take(consumer, 6)
        service.latency = 1
        committing = asyncio.create_task(consumer.commit())
        await asyncio.sleep(0.5)
        consumer.seek(P0, 2)
        await committing
        await consumer.commit()
        assert service.checkpoints == {P0: 2}


async def test_a_commit_that_was_cancelled_is_made_by_the_next():
    service = filled(1, 10)
    async with consumer_of(service, auto_commit=False) as consumer:
        await take(consumer, 6)
        service.latency = 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await consumer.commit()
        await consumer.commit()
        assert service.checkpoints == {P0: 6}


async def test_with_convention_last_the_first_position_is_committed_by_deleting_the_checkpoint():
    service = filled(1, 10)
    deleted = hold_back_deletes(service)
    async with consumer_of(service, checkpoint_convention="last") as consumer:
        await take(consumer, 6)
        await consumer.commit()
        assert service.checkpoints == {P0: 5}
        consumer.seek(P0, 0)
        await consumer.commit()
        await consumer.commit()
    assert service.checkpoints == {}
    assert deleted == [P0]
    async with consumer_of(service, checkpoint_convention="last") as consumer:
        assert await take(consumer, 1) == [b"0-0"]


async def test_with_convention_last_no_checkpoint_is_deleted_where_there_was_none():
    service = filled(1, 10)
    deleted = hold_back_deletes(service)
    async with consumer_of(service, checkpoint_convention="last") as consumer:
        await asyncio.sleep(20)
        await consumer.commit()
    assert not deleted


# Resets


async def test_a_failure_while_resetting_is_waited_out():
    service = trimmed()
    ordinary = service.streams_describe
    answers = iter([None, refusal("DIS.4305", 429), refusal("DIS.5000", 500)])

    def describe(request):
        if error := next(answers, None):
            raise error
        return ordinary(request)

    service.streams_describe = describe
    async with consumer_of(service) as consumer:
        assert await take(consumer, 1) == [b"0-5"]
        assert consumer.stats().resets == 1


async def test_after_a_reset_the_position_and_the_lag_are_of_the_new_place():
    service = trimmed()
    service.oldest[0] = 9
    service.stored[0].clear()
    async with consumer_of(service) as consumer:
        await asyncio.sleep(5)
        assert consumer.position() == {P0: 9}
        assert await consumer.lag() == {P0: (0, 0)}


async def test_a_pause_after_a_reset_to_latest_loses_nothing():
    service = trimmed()
    async with consumer_of(service, offset_reset="latest") as consumer:
        await asyncio.sleep(5)
        service.add(0, b"0-9")
        await asyncio.sleep(5)
        assert consumer.stats().records == 1  # fetched, not handed out
        consumer.pause()
        await asyncio.sleep(5)
        consumer.resume()
        service.add(0, b"0-10")
        assert await drain(consumer) == [b"0-9", b"0-10"]


async def test_a_restart_after_a_reset_to_latest_loses_nothing():
    service = trimmed()
    async with consumer_of(service, offset_reset="latest"):
        await asyncio.sleep(60)
    service.add(0, b"0-9")
    async with consumer_of(service, offset_reset="latest") as consumer:
        await asyncio.sleep(5)
        service.add(0, b"0-10")
        assert await drain(consumer) == [b"0-9", b"0-10"]


async def test_what_was_fetched_before_it_left_the_partition_is_still_handed_out():
    service = filled(1, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 3)
        service.oldest[0] = 20
        service.stored[0].clear()
        service.add(0, *numbered(0, 25, first=20))
        await asyncio.sleep(30)
        assert await drain(consumer) == numbered(0, 10, first=3) + numbered(0, 25, first=20)


async def test_a_reset_while_a_handler_works_is_committed_when_it_has_ended():
    service = filled(1, 3)

    async def handler(record):
        await asyncio.sleep(20)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(5)
    service.oldest[0] = 9  # all is gone, and nothing new has come
    service.stored[0].clear()
    await asyncio.sleep(200)
    assert service.checkpoints == {P0: 9}
    await consumer.close()
    await running


# Pause


def two_full_partitions() -> ScriptedService:
    """Partitions whose records fill the least memory there may be, each."""
    service = ScriptedService(2)
    for n in range(2):
        service.add(n, *(b"%d-" % n + b"x" * (MIB - 1000) for _ in range(4)))
    return service


async def test_a_partition_that_is_paused_while_it_waits_for_room_takes_none():
    async with consumer_of(two_full_partitions(), prefetch_bytes=MIB, rate_limit="off") as consumer:
        await asyncio.sleep(1)
        (fetched,) = [pid for pid, reader in consumer._shelf.readers.items() if reader.batches]
        consumer.pause(P1 if fetched == P0 else P0)
        given = []
        while batches := await consumer.getmany(timeout=30):
            given += [batch.partition_id for batch in batches]
        assert given == [fetched] * 4


async def test_resume_hands_out_what_was_put_back_into_a_paused_partition():
    service = filled(1, 5)

    async def handler(record):
        await asyncio.sleep(10)

    async with consumer_of(service) as consumer:
        running = asyncio.create_task(consumer.run(handler))
        await asyncio.sleep(5)
        consumer.pause()
        await asyncio.sleep(10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await consumer.getmany(timeout=5) == []
        consumer.resume()
        assert await drain(consumer) == numbered(0, 5, first=1)


async def test_a_pause_keeps_what_was_fetched_of_an_expired_partition():
    service = filled(2, 3)
    async with consumer_of(service) as consumer:
        await asyncio.sleep(5)
        service.status[1] = "EXPIRED"
        await asyncio.sleep(5)
        consumer.pause()
        await asyncio.sleep(1)
        consumer.resume()
        assert sorted(await drain(consumer)) == numbered(0, 3) + numbered(1, 3)
