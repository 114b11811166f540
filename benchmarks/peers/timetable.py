"""A load that keeps its timetable: what is late is sent at once, and was due all the same."""

import asyncio
import struct
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from aiodis import Producer, Receipt

__all__ = ["due_of", "send_by_timetable"]

Records = Iterator[tuple[bytes, str]]

_TICK_S: Final = 0.005
_STAMP: Final = struct.Struct(">d")


async def send_by_timetable(
    producer: Producer,
    records: Records,
    rate: int,
    seconds: float,
    *,
    sample: int = 1,
    stamped: bool = False,
) -> list[float]:
    """Send `rate` records a second; give the latency of every `sample`-th, in seconds.

    It runs from the time at which a record should have been accepted to its receipt: a late
    send does not move the timetable, so a stall counts for every record it delays (no
    coordinated omission). `stamped` records begin with that time, for `due_of`.
    """
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    def note(due: float, receipt: Receipt) -> None:
        if receipt.exception() is None:
            latencies.append(loop.time() - due)

    assert sample == 1 or not stamped
    total, send = int(rate * seconds), producer.send
    start, sent, next_sample = loop.time(), 0, 0
    while sent < total:
        due = min(total, int((loop.time() - start) * rate) + 1)
        while sent < due:
            if sent == next_sample:
                data, key = next(records)
                due_at = start + sent / rate
                content = _STAMP.pack(due_at) + data[_STAMP.size :] if stamped else data
                receipt = await send(content, partition_key=key)
                receipt.add_done_callback(partial(note, due_at))
                sent, next_sample = sent + 1, next_sample + sample
            # Nothing but sends: whatever else is done for each record counts as the client's.
            count = min(due, next_sample) - sent
            for data, key in islice(records, count):
                await send(data, partition_key=key)
            sent += count
        await asyncio.sleep(_TICK_S)
    await producer.flush()
    return latencies


def due_of(data: bytes) -> float:
    """Give the time, by the loop's clock, at which a stamped record should have been accepted."""
    due: float = _STAMP.unpack_from(data)[0]
    return due
