"""Partitions that come, go and come back."""

import asyncio

import pytest
from consuming import P0, P1, consumer_of, drain, filled, take
from scripted_service import refusal

pytestmark = pytest.mark.looptime


def fail_for(service, name: str, partition_id: str, error: BaseException) -> None:
    """Let a call fail for one partition."""
    ordinary = getattr(service, name)

    def call(request):
        if request.partition_id == partition_id:
            raise error
        return ordinary(request)

    setattr(service, name, call)


@pytest.mark.parametrize("reset", ["latest", "error"])
async def test_a_partition_that_appeared_while_nobody_read_is_read_from_its_first_record(reset):
    service = filled(1, 3)
    async with consumer_of(service, offset_reset="latest"):
        await asyncio.sleep(10)
    service.status[1] = "ACTIVE"
    service.add(1, b"1-0")
    async with consumer_of(service, offset_reset=reset) as consumer:
        assert await drain(consumer) == [b"1-0"]


async def test_a_new_partition_that_cannot_be_begun_does_not_hold_back_another():
    service = filled(1, 1)
    fail_for(service, "checkpoints_get", P1, refusal("DIS.5000", 500))
    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        await take(consumer, 1)
        service.status[1] = service.status[2] = "ACTIVE"
        service.add(1, b"1-0")
        service.add(2, b"2-0")
        assert await drain(consumer) == [b"2-0"]
        del service.checkpoints_get  # it has recovered
        assert await drain(consumer) == [b"1-0"]


async def test_a_new_partition_whose_range_is_not_known_yet_does_not_hold_back_another():
    service = filled(1, 1)
    ordinary = service.streams_describe

    def scaling(request):
        answer = ordinary(request)
        unknown = {"sequence_number_range": "[]"}
        partitions = [
            one.model_copy(update=unknown) if one.partition_id == P1 else one
            for one in answer.partitions
        ]
        return answer.model_copy(update={"partitions": partitions})

    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        await take(consumer, 1)
        service.streams_describe = scaling
        service.status[1] = service.status[2] = "ACTIVE"
        service.add(1, b"1-0")
        service.add(2, b"2-0")
        assert await drain(consumer) == [b"2-0"]
        service.streams_describe = ordinary
        assert await drain(consumer) == [b"1-0"]


async def test_a_refresh_that_fails_is_repeated_at_the_next():
    service = filled(1, 3)
    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        ordinary = service.streams_describe

        def describe(request):
            raise refusal("DIS.5000", 500)

        service.streams_describe = describe
        await asyncio.sleep(10)
        service.streams_describe = ordinary
        service.status[1] = "ACTIVE"
        service.add(1, b"1-0")
        assert b"1-0" in await take(consumer, 4)


async def test_a_partition_that_vanishes_during_a_reset_ends_alone():
    service = filled(2, 3)
    service.checkpoints = {P0: 99, P1: 0}
    ordinary = service.streams_describe

    def describe(request):
        if service.describes == 1:
            service.status[0] = "EXPIRED"
        return ordinary(request)

    service.streams_describe = describe
    async with consumer_of(service) as consumer:
        await asyncio.sleep(5)
        assert await drain(consumer) == [b"1-0", b"1-1", b"1-2"]


async def test_a_partition_that_comes_back_repeats_nothing():
    service = filled(1, 5)
    async with consumer_of(service, partition_refresh_ms=1000) as consumer:
        await take(consumer, 5)
        service.get_faults = [refusal("DIS.4319")]
        await asyncio.sleep(5)
        service.add(0, b"0-5")
        assert await drain(consumer) == [b"0-5"]


async def test_a_partition_that_comes_back_made_anew_is_read_from_its_first_record():
    service = filled(2, 5)
    service.checkpoints = {P0: 0, P1: 0}
    async with consumer_of(service, offset_reset="latest", partition_refresh_ms=1000) as consumer:
        await take(consumer, 10)
        service.status[1] = "EXPIRED"
        await asyncio.sleep(5)
        service.stored[1].clear()
        service.add(1, b"1-new")
        service.status[1] = "ACTIVE"
        assert await drain(consumer) == [b"1-new"]


async def test_what_was_read_of_an_expired_partition_does_not_fail_the_commits():
    service = filled(2, 3)
    async with consumer_of(service, auto_commit=False) as consumer:
        await take(consumer, 6)
        service.status[1] = "EXPIRED"
        fail_for(service, "checkpoints_commit", P1, refusal("DIS.4319"))
        await consumer.commit()
        await consumer.commit()
        assert service.checkpoints == {P0: 3}
