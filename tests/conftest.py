"""What several test modules share."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A script of answers, and `benchmarks`, are importable from wherever a test lies.
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent))

# An environment that was made before the plugin was one loads it thus.
pytest_plugins = ["pytest_aiodis"]

# On Python 3.11 looptime's plugin asks for "the" loop in sync tests too; unless somebody has
# set one, or none, asyncio makes one then that nobody closes.
asyncio.set_event_loop(None)

# A shell's background job ignores SIGINT, and what it starts inherits that: tests that interrupt
# a program would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite tries the same examples each time, so that it says something about a change.
# HYPOTHESIS_PROFILE=search looks for new ones; what it finds becomes an example in its test.
settings.register_profile("suite", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let virtual time move at once, unless a test says otherwise."""
    from virtual_time import AT_ONCE

    for item in items:
        marks = list(item.iter_markers("looptime"))
        if marks and not any(mark.kwargs.keys() & AT_ONCE.keys() for mark in marks):
            item.add_marker(pytest.mark.looptime(**AT_ONCE))
