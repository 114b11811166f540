"""Several producers on one partition share its limit, though none knows of the others.

In the suite: `Producer` objects against a scripted service whose partition has the limits of a
COMMON one, on virtual time. The drill: processes against `aiodis serve`, in real seconds.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

import pytest
import steady_writer
from programs import ServerProcess
from scripted_service import ScriptedService
from steady_writer import send_for_ever, settings_of

from aiodis import DISClient
from aiodis.api.limits import limits_of
from aiodis.config import ProducerSettings
from aiodis.producer import Producer, ProducerStats

SETTLING_S = 10
LIMITS = limits_of("COMMON")
BOUND_BY = {"bytes": 16_384, "records": 500}
"""Sizes of a record with which a partition's bytes or its records are what runs out."""


def limit_of(size: int) -> float:
    """Give the records a second that a partition takes."""
    return min(LIMITS.write_records, LIMITS.write_bytes / size)


class Period(NamedTuple):
    """What producers wrote in a time: each one's part of the limit; throttled by delivered."""

    parts: list[float]
    throttled: float

    @classmethod
    def between(
        cls, old: list[ProducerStats], new: list[ProducerStats], seconds: float, size: int
    ) -> "Period":
        done = [after.delivered - before.delivered for before, after in zip(old, new, strict=True)]
        again = [after.throttled - before.throttled for before, after in zip(old, new, strict=True)]
        return cls([n / seconds / limit_of(size) for n in done], sum(again) / sum(done))


async def share(starts_s: Iterable[float], size: int, until_s: Iterable[float]) -> list[Period]:
    """Let producers write to one partition from their starts on, and look at these times."""
    service = ScriptedService(partitions=1, limited=True)
    loop = asyncio.get_running_loop()
    starts_s = list(starts_s)
    producers = [Producer(service, "s", ProducerSettings(**settings_of(size))) for _ in starts_s]

    async def write(producer: Producer, start_s: float) -> None:
        await asyncio.sleep(start_s)
        await producer.start()
        await send_for_ever(producer, size)

    tasks = [asyncio.create_task(write(*pair)) for pair in zip(producers, starts_s, strict=True)]
    periods, since_s = [], 0.0
    before = [producer.stats() for producer in producers]
    for time_s in until_s:
        while loop.time() < time_s:
            await asyncio.sleep(1)
            service.forget()
        now = [producer.stats() for producer in producers]
        periods.append(Period.between(before, now, time_s - since_s, size))
        before, since_s = now, time_s
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for producer in producers:
        await producer.close(timeout=0)
    return periods


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("bound", BOUND_BY)
async def test_two_producers_share_a_partition(bound, seed):
    random.seed(seed)
    minutes = [SETTLING_S + 60 * n for n in range(4 if bound == "bytes" else 2)]
    _, *periods = await share([0, 0], BOUND_BY[bound], minutes)
    for period in periods:
        assert 0.85 <= sum(period.parts) < 1.05
        assert min(period.parts) >= 0.35
        assert period.throttled < 0.05


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize(("count", "most_throttled"), [(3, 0.05), (5, 0.05)])
async def test_more_producers_share_a_partition_too(count, most_throttled):
    random.seed(count)
    starts = [random.uniform(0, 1) for _ in range(count)]
    _, *periods = await share(starts, BOUND_BY["bytes"], [SETTLING_S, 70, 130, 190])
    for period in periods:
        assert sum(period.parts) >= 0.85
        assert min(period.parts) >= 0.5 / count
        assert period.throttled < most_throttled


@pytest.mark.looptime(start=0)
async def test_one_that_joins_a_minute_later_has_its_part_within_a_minute():
    random.seed(6)
    alone, joined, shared = await share([0, 60], BOUND_BY["bytes"], [60, 90, 120])
    assert alone.parts[0] > 0.95
    assert alone.throttled == 0  # a pace below the limit meets no limit
    assert sum(joined.parts) >= 0.85
    assert sum(shared.parts) >= 0.85
    assert min(shared.parts) >= 0.35
    assert shared.throttled < 0.05


@pytest.mark.looptime(start=0)
async def test_one_that_is_left_alone_has_all_of_it_within_a_minute():
    random.seed(7)
    service = ScriptedService(partitions=1, limited=True)
    size = BOUND_BY["bytes"]
    stays, leaves = (Producer(service, "s", ProducerSettings(**settings_of(size))) for _ in "ab")
    await stays.start()
    await leaves.start()
    tasks = [asyncio.create_task(send_for_ever(producer, size)) for producer in (stays, leaves)]
    await asyncio.sleep(60)
    tasks[1].cancel()
    await leaves.close(timeout=0)
    await asyncio.sleep(60)
    before = stays.stats()
    await asyncio.sleep(30)
    period = Period.between([before], [stays.stats()], 30, size)
    assert period.parts[0] > 0.95
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await stays.close(timeout=0)


# -- In real seconds ----------------------------------------------------------------------


@pytest.mark.drill
@pytest.mark.parametrize("bound", BOUND_BY)
async def test_two_processes_share_a_partition_of_the_server(tmp_path, bound):
    size, seconds = BOUND_BY[bound], 40
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        async with DISClient(**server.client_settings) as dis:
            await dis.streams.create(stream_name="events", partition_count=1)
        key = server.client_settings["credentials"]
        job = {
            "client": server.client_settings | {"credentials": [key.access_key, key.secret_key]},
            "stream": "events",
            "size": size,
            "pauses_s": [SETTLING_S, seconds],
        }
        command = [sys.executable, steady_writer.__file__, json.dumps(job)]
        told = [json.loads(out) for out in await asyncio.to_thread(outputs_of, [command] * 2)]
    old, new = ([ProducerStats(**counts[n]) for counts in told] for n in range(2))
    period = Period.between(old, new, seconds, size)
    assert sum(period.parts) >= 0.85
    assert min(period.parts) >= 0.35
    assert period.throttled < 0.05


def outputs_of(commands: list[list[str]]) -> list[str]:
    """Run programs side by side, and give what they print."""
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, text=True) for c in commands]
    return [process.communicate(timeout=120)[0] for process in running]
