"""Virtual time where `@pytest.mark.looptime` does not reach: in a loop that a test itself makes."""

import asyncio
from collections.abc import Coroutine
from functools import partial

import looptime

__all__ = ["AT_ONCE", "run"]

# looptime polls this often for input and output before it moves the time, which is most of what
# a long time costs. Who has only its own loop needs none: what is ready is found before that.
AT_ONCE = {"noop_cycles": 0}


def run(work: Coroutine) -> None:
    """Run to the end in a loop of its own, whose time passes at once."""
    with asyncio.Runner(loop_factory=partial(looptime.new_event_loop, **AT_ONCE)) as runner:
        runner.run(work)
