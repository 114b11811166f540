"""A blocked loop, in real time: nothing else shows one."""

import asyncio
import threading
import time

from consuming import consumer_of, filled

from aiodis.consumer.watchdog import watched


def block_here(seconds):
    time.sleep(seconds)


async def test_what_blocks_the_loop_is_reported_once_with_its_stack(caplog):
    with watched(asyncio.get_running_loop(), "this test", longest_s=0.05):
        await asyncio.sleep(0.1)
        assert not caplog.records
        block_here(0.6)
        await asyncio.sleep(0.1)
        (told,) = [record.getMessage() for record in caplog.records]
        assert "this test: the event loop is blocked" in told
        assert "block_here" in told
        block_here(0.6)
        await asyncio.sleep(0.1)
        assert len(caplog.records) == 2


async def test_its_end_waits_for_nothing_and_leaves_no_thread():
    before = threading.active_count()
    begun = time.monotonic()
    for _ in range(50):
        with watched(asyncio.get_running_loop(), "this test"):
            await asyncio.sleep(0)
    assert time.monotonic() - begun < 1
    assert threading.active_count() == before


async def test_a_handler_that_blocks_is_reported(caplog):
    service = filled(1, 3)

    async def handler(record):
        if record.data == b"0-1":
            block_here(2.5)
        if record.data == b"0-2":
            await consumer.close()

    consumer = consumer_of(service)
    await consumer.run(handler)
    (told,) = [r.getMessage() for r in caplog.records if "blocked" in r.getMessage()]
    assert "block_here" in told
    assert "run of events" in told
