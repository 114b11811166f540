"""Starting and closing, in every unlucky moment."""

import asyncio

import pytest
from consuming import P0, consumer_of, drain, filled, no_task_left, numbered, take
from scripted_service import refusal

from aiodis.client import DISClient
from aiodis.credentials import Credentials
from aiodis.errors import ClosedError, NotFoundError

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


# Start


async def test_two_starts_at_once_are_one():
    service = filled(1, 5)
    consumer = consumer_of(service)
    await asyncio.gather(consumer.start(), consumer.start())
    assert await drain(consumer) == numbered(0, 5)
    await consumer.close()
    assert no_task_left()


async def test_a_start_that_failed_may_be_repeated():
    service = filled(1, 3)
    service.gone = True
    consumer = consumer_of(service)
    with pytest.raises(NotFoundError):
        await consumer.start()
    service.gone = False
    await consumer.start()
    assert await take(consumer, 3) == numbered(0, 3)
    await consumer.close()


async def test_closing_while_it_starts_ends_the_start():
    for delay in (0.5, 1.5, 2.5, 3.5):
        service = filled(1, 5)
        service.latency = 1
        consumer = consumer_of(service)
        starting = asyncio.create_task(consumer.start())
        await asyncio.sleep(delay)
        await consumer.close()
        with pytest.raises(ClosedError):
            await starting
        assert no_task_left()


async def test_a_cancelled_start_leaves_no_task():
    for delay in (0.5, 1.5, 2.5, 3.5, 4.5):
        service = filled(3, 3)
        service.latency = 1
        consumer = consumer_of(service)
        starting = asyncio.create_task(consumer.start())
        await asyncio.sleep(delay)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await consumer.close()
        assert no_task_left()


# Close


async def test_a_handler_that_never_ends_is_cancelled_when_the_time_to_close_is_over():
    service = filled(1, 10)

    async def handler(record):
        if record.data == b"0-3":
            await asyncio.sleep(100_000)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(3)
    before = now()
    await consumer.close(timeout=4)
    assert now() - before == pytest.approx(3, abs=0.1)
    await running
    assert service.checkpoints == {P0: 3}
    assert no_task_left()


async def test_a_handler_that_cleans_up_when_it_is_cancelled_is_waited_for():
    service = filled(1, 10)
    cleaned = []

    async def handler(record):
        try:
            await asyncio.sleep(100_000)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(record.data)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(3)
    await consumer.close(timeout=4)
    assert cleaned == [b"0-0"]
    await running


async def test_a_handler_that_closes_does_not_wait_for_ever_for_one_that_never_ends():
    service = filled(2, 10)
    consumer = consumer_of(service)

    async def handler(record):
        if record.partition_id == P0:
            await asyncio.sleep(100_000)
        elif record.data == b"1-3":
            await consumer.close(timeout=4)

    async with asyncio.timeout(10):
        await consumer.run(handler)
    assert service.checkpoints == {P0: 0, "shardId-0000000001": 4}
    assert no_task_left()


async def test_a_cancelled_close_leaves_the_handlers_to_run_and_another_close_waits_for_them():
    service = filled(1, 10)

    async def handler(record):
        await asyncio.sleep(5)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(3)
    first, second = (asyncio.create_task(consumer.close()) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    await running
    assert service.checkpoints == {P0: 1}
    assert no_task_left()


@pytest.mark.parametrize("turns", range(4))
async def test_closing_in_the_turn_in_which_a_new_partition_fails_does_not_hang(turns):
    service = filled(1, 3)
    consumer = consumer_of(service, partition_refresh_ms=1000, auto_commit=False)
    await consumer.start()
    reached = asyncio.Event()

    async def load(partition_id):
        await reached.wait()
        raise refusal("DIS.5000", 500)

    consumer._keeper.load = load
    service.status[1] = "ACTIVE"
    await asyncio.sleep(5)
    reached.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    before = now()
    await consumer.close()
    assert now() - before < 1
    assert no_task_left()


# The client


async def a_client_with_consumers(service, count: int) -> DISClient:
    client = DISClient(
        endpoint="http://127.0.0.1:1",
        project_id="p" * 32,
        credentials=Credentials.static("a" * 20, "s" * 40),
    )
    client.kept = [consumer_of(service, app=f"app-{i}") for i in range(count)]
    for consumer in client.kept:
        await consumer.start()
        await take(consumer, 2)
        client._made.add(consumer)
    return client


async def test_a_client_closes_all_that_it_made_at_once():
    service = filled(1, 3)
    client = await a_client_with_consumers(service, 4)
    service.latency = 10_000
    before = now()
    await client.close()
    assert now() - before == pytest.approx(30, abs=0.1)
    assert no_task_left()


async def test_a_client_whose_close_is_cancelled_leaves_no_task():
    service = filled(1, 3)
    client = await a_client_with_consumers(service, 2)
    service.latency = 10_000
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await client.close()
    assert no_task_left()
