"""A server on a manual clock, with a caller."""

from collections.abc import AsyncIterator

import pytest
from server_caller import START_MS, Caller, calling

from aiodis.server import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_MS)


@pytest.fixture
async def dis(clock: ManualClock) -> AsyncIterator[Caller]:
    async with calling(clock=clock, limits=False) as caller:
        yield caller
