"""The reading process of the main job: writes down each event's number, then moves on.

`python -m benchmarks.flow.reader FILE`, with the service in the environment. A
batch is finished, and may be committed, when the next one is asked for; its
numbers are in the file by then, so that a kill at any moment loses none.
"""

import asyncio
import os
import signal
import sys
from array import array

import orjson

from aiodis import DISClient

APP = "main-job"
STREAM = "flights"


async def read(file: str) -> None:
    """Read until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    async with (
        DISClient.from_env() as dis,
        dis.consumer(
            STREAM, app=APP, offset_reset="earliest", auto_commit_interval_ms=1_000
        ) as consumer,
    ):
        while not stop.is_set():
            for batch in await consumer.getmany(max_records=20_000, timeout=0.2):
                numbers = array("I", [orjson.loads(record.data)["n"] for record in batch.records])
                os.write(descriptor, numbers.tobytes())
        await consumer.commit()
    os.close(descriptor)


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1]))
