"""The live producer of the drill: so many records a second until SIGTERM.

`python -m benchmarks.flow.drill_writer FILE RATE BREAKER_OPEN_MS`, with the service in the
environment. Writes its figures to the file at the end.
"""

import asyncio
import contextlib
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from aiodis import BufferFullError, DISClient
from benchmarks.flow.drill_member import STREAM
from benchmarks.flow.ledger import RECORD

__all__ = ["Written"]

_TICK_S: Final = 0.02
_KEYS: Final = 1_000


class Written(msgspec.Struct):
    """What was sent: the records with the numbers from 0 to `sent`."""

    sent: int
    delivered: int
    failed: int
    seconds: float


async def _write(rate: int, breaker_open_ms: int) -> Written:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    keys = [f"key-{number}" for number in range(_KEYS)]
    choose = random.Random(7).choice  # noqa: S311 - nothing secret
    sent, began = 0, time.monotonic()
    async with (
        DISClient.from_env(breaker_open_ms=breaker_open_ms) as dis,
        dis.producer(STREAM, rate_limit="off", metadata_max_age_ms=2_000) as producer,
    ):
        while not stopped.is_set():
            # What a full buffer held up is sent as soon as it can be.
            with contextlib.suppress(BufferFullError):
                for _ in range(int((time.monotonic() - began) * rate) - sent):
                    producer.post(RECORD.pack(sent), partition_key=choose(keys))
                    sent += 1
            await asyncio.sleep(_TICK_S)
        seconds = time.monotonic() - began
        report = await producer.flush(60)
    return Written(sent, report.delivered, report.failed + report.pending, seconds)


if __name__ == "__main__":
    written = asyncio.run(_write(*map(int, sys.argv[2:])))
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(written))
