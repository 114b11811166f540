"""One measurement in a fresh interpreter, so that imports and the garbage collector's state
are the same for all: `python -m benchmarks.child`.

Reads a job from standard input, warms up, says `ready`, waits for a line, works,
and writes what it measured. Under a profiler, put both lines into a file.
"""

import asyncio
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, cast

from benchmarks.job import Job, Meter

__all__ = ["pin"]


def pin(core: int | None) -> None:
    """Stay on one core, where the operating system lets us choose."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def _main() -> None:
    # What libraries print goes where errors go: the answers have the channel to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job.read(sys.stdin.readline())
    pin(job.core)
    work = getattr(importlib.import_module(f"benchmarks.peers.{job.client}"), job.work)
    meter = Meter(job.seconds, sys.stdin, answers)
    if inspect.iscoroutinefunction(work):
        meter.report(_run(work(job, meter), job.loop))
    else:
        meter.report(work(job, meter))


def _run(work: Coroutine[Any, Any, dict[str, Any]], loop: str) -> dict[str, Any]:
    factory = None
    if loop == "uvloop":
        # By name: it is an extra, and does not exist on Windows.
        uvloop = importlib.import_module("uvloop")
        factory = cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


if __name__ == "__main__":
    _main()
