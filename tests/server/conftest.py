"""A server on a manual clock, with a caller."""

from collections.abc import AsyncIterator

import pytest
from server_caller import Caller, calling

from aiodis.server import ManualClock

START_MS = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_MS)


@pytest.fixture
async def dis(clock: ManualClock) -> AsyncIterator[Caller]:
    async with calling(clock=clock, limits=False) as caller:
        yield caller
