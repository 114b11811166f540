"""Client and embedded DIS on uvloop, whose timers are not quite asyncio's."""

import asyncio
import sys

import pytest

from aiodis import DISClient, Record
from aiodis.server import LocalDIS

if sys.platform == "win32":
    pytest.skip("uvloop does not run on Windows", allow_module_level=True)

import uvloop

_ROUNDS, _EACH = 40, 50


async def _send_and_read() -> None:
    async with (
        LocalDIS(limits=False) as server,
        DISClient(**server.client_settings) as dis,
    ):
        await dis.streams.create(stream_name="events", partition_count=4)
        sent = []
        async with dis.producer("events", linger_ms=1) as producer:
            for number in range(_ROUNDS):
                # Each round finds its lanes back at work, with a linger that is just over.
                records = [
                    Record(b"%d" % (number * _EACH + i), partition_key=f"k{i}")
                    for i in range(_EACH)
                ]
                receipts = await producer.send_many(records)
                sent += [record.data for record in records]
                await receipts[0]
        read: list[bytes] = []
        async with dis.consumer("events", app="app", offset_reset="earliest") as consumer:
            async with asyncio.timeout(20):
                while len(read) < len(sent):
                    read += [
                        record.data
                        for batch in await consumer.getmany(timeout=1)
                        for record in batch.records
                    ]
            await consumer.commit()
    assert sorted(read) == sorted(sent)


def test_what_was_sent_is_read_on_uvloop():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_send_and_read())
