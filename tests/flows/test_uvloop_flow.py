"""Client and embedded DIS on uvloop, whose timers are not quite asyncio's."""

import asyncio

import pytest

from aiodis import DISClient, Record
from aiodis.server import LocalDIS

uvloop = pytest.importorskip("uvloop", reason="uvloop is not there for Windows")

_KEYS = [f"k{number}" for number in range(50)]


async def _send_and_read(rounds: list[list[bytes]]) -> list[bytes]:
    """Send one round after the other, and read as many records as were sent."""
    read: list[bytes] = []
    async with (
        asyncio.timeout(30),
        LocalDIS(limits=False) as server,
        DISClient(**server.client_settings) as dis,
    ):
        await dis.streams.create(stream_name="events", partition_count=4)
        async with dis.producer("events", linger_ms=1) as producer:
            for data in rounds:
                # Each round finds its lanes back at work, with a linger that is just over.
                records = map(Record, data, _KEYS)
                receipts = await producer.send_many(records)
                await receipts[0]
        async with dis.consumer("events", app="app", offset_reset="earliest") as consumer:
            while len(read) < sum(map(len, rounds)):
                batches = await consumer.getmany(timeout=1)
                read += [record.data for batch in batches for record in batch.records]
    return read


def test_what_was_sent_is_read_on_uvloop():
    rounds = [[b"%d %d" % (number, place) for place in range(len(_KEYS))] for number in range(40)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        read = runner.run(_send_and_read(rounds))
    assert sorted(read) == sorted(data for each in rounds for data in each)
