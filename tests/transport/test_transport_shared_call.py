import asyncio

import pytest

from aiodis.errors import AuthError, ConfigError, RequestTimeoutError
from aiodis.transport.shared_call import SharedCall

pytestmark = pytest.mark.looptime


@pytest.mark.parametrize(
    "error",
    [
        RequestTimeoutError("host: slow", ambiguous=False, attempts=("a", "b")),
        AuthError("no", status=401, code="X", request_id="r", operation="o"),
        ConfigError("set it"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_each_waiter_gets_an_equal_error_of_its_own(error):
    async def fail():
        await asyncio.sleep(1)
        raise error

    shared = SharedCall(fail)
    got = await asyncio.gather(*(shared.result() for _ in range(3)), return_exceptions=True)
    assert len({id(one) for one in got} | {id(error)}) == 4
    for one in got:
        assert (type(one), str(one), vars(one)) == (type(error), str(error), vars(error))
        assert one.__cause__ is error


async def test_a_run_started_for_its_own_sake_outlives_its_waiters():
    done = []

    async def work():
        await asyncio.sleep(2)
        done.append(True)

    shared = SharedCall(work)
    shared.start()
    waiter = asyncio.create_task(shared.result())
    await asyncio.sleep(1)
    waiter.cancel()
    await asyncio.sleep(2)
    assert done == [True]


async def test_who_comes_while_a_stopped_run_is_ending_gets_a_new_one():
    runs = []

    async def work():
        runs.append(len(runs))
        await asyncio.sleep(1)
        return runs[-1]

    shared = SharedCall(work)
    first = asyncio.create_task(shared.result())
    await asyncio.sleep(0.5)
    first.cancel()
    await asyncio.sleep(0)
    assert await shared.result() == 1
    await shared.close()


async def test_an_error_nobody_waits_for_is_not_reported_as_unseen():
    async def fail():
        raise ConfigError("set it")

    shared = SharedCall(fail)
    shared.start()
    await asyncio.sleep(1)  # pytest fails on asyncio's report
    await shared.close()
