"""The embedded DIS as a process to measure, or to measure against: `python -m benchmarks.embedded`.

It prints its endpoint, then its CPU time and memory for each line it reads, and ends with
its standard input. A line `advance HOURS` moves its clock first, if that is moved by hand.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from aiodis.clock import ManualClock
from aiodis.server import LocalDIS
from aiodis.server.fault_outcomes import latency
from benchmarks.child import pin
from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, resident_bytes

__all__: list[str] = []

_SLOWED = ("records.put", "records.get", "records.get_cursor", "checkpoints.commit")


def _main(
    data: Annotated[Path | None, typer.Option()] = None,
    core: Annotated[int | None, typer.Option()] = None,
    certificate: Annotated[Path | None, typer.Option()] = None,
    latency_ms: Annotated[float, typer.Option()] = 0.0,
    limits: Annotated[bool, typer.Option("--limits/--no-limits")] = True,
    by_hand: Annotated[bool, typer.Option("--by-hand")] = False,
) -> None:
    pin(core)
    clock = ManualClock() if by_hand else None
    server = LocalDIS(
        data,
        project_id=PROJECT,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        anonymous=by_hand,  # signatures have the time of this world
        limits=limits,
        tls_cert=certificate,
        clock=clock,
    )
    if latency_ms:
        for operation in _SLOWED:
            server.faults.rule(operation, outcome=latency(latency_ms))
    asyncio.run(_serve(server, clock))


async def _serve(server: LocalDIS, clock: ManualClock | None) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def obey() -> None:
        for line in sys.stdin:
            command, _, argument = line.strip().partition(" ")
            if command == "advance" and clock is not None:
                moving = asyncio.run_coroutine_threadsafe(_advance(clock, float(argument)), loop)
                moving.result()
            found = {"cpu_s": time.process_time(), "rss_bytes": resident_bytes()}
            print(json.dumps(found), flush=True)
        loop.call_soon_threadsafe(ended.set)

    async with server:
        print(server.endpoint, flush=True)
        threading.Thread(target=obey, daemon=True).start()
        await ended.wait()


async def _advance(clock: ManualClock, hours: float) -> None:
    clock.advance(hours=hours)


if __name__ == "__main__":
    typer.run(_main)
