"""Whatever comes, the server answers, soon, and never with a failure of its own."""

import asyncio
import json
import logging
from contextlib import contextmanager

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_requests import NOW_MS, anything, nearly_right
from server_caller import record
from yarl import URL

from aiodis.api import OPERATIONS
from aiodis.server import LocalDIS, ManualClock

SOON_S = 10
IAM = ("/v3/auth", "/v3/projects")  # these have a form of their own
KEYS = {"errorCode", "message", "error_code", "error_msg"}

each_row = pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
fuzz = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@settings(fuzz, max_examples=15)
@given(calls=st.lists(anything(), min_size=10, max_size=30))
def test_no_request_makes_the_server_fail(calls):
    asyncio.run(send_all(calls))


@each_row
def test_no_request_that_is_nearly_right_makes_the_server_fail(row):
    meet(row, examples=2)


@pytest.mark.drill
@each_row
def test_thousands_that_are_nearly_right_do_not_either(row):
    meet(row, examples=60)


def meet(row, *, examples):
    @settings(fuzz, max_examples=examples)
    @given(calls=st.lists(nearly_right(row), min_size=15, max_size=40))
    def run(calls):
        asyncio.run(send_all(calls))

    run()


async def send_all(calls):
    clock = ManualClock(NOW_MS)
    async with (
        LocalDIS(anonymous=True, clock=clock) as open_server,
        LocalDIS(clock=clock) as guarded,
        aiohttp.ClientSession() as session,
    ):
        await prepare(session, open_server)
        for call in calls:
            await send(session, open_server, call)
        await send(session, guarded, calls[-1])
        # It still does its work.
        async with session.get(f"{open_server.endpoint}/v2/p/streams") as response:
            assert response.status == 200
            assert "stream_names" in await response.json()


async def send(session, server, call):
    """See that the answer comes soon, is not the server's failure, and has the service's form."""
    url = URL(f"{server.endpoint}{call.path}" + (call.query and f"?{call.query}"), encoded=True)
    sent = {"data": call.body, "headers": call.headers}
    with nothing_logged(call):
        async with (
            asyncio.timeout(SOON_S),
            session.request(call.method, url, **sent) as response,
        ):
            answer = await response.read()
    assert response.status < 500, (call, answer)
    if response.status >= 400 and not call.path.startswith(IAM):
        assert set(json.loads(answer)) == KEYS, (call, answer)
    elif answer and response.content_type == "application/json":
        json.loads(answer)


@contextmanager
def nothing_logged(call):
    """See that the server finds nothing worth an error line, such as a traceback."""
    lines = []

    class Lines(logging.Handler):
        def emit(self, found):
            lines.append(found.getMessage())

    handler = Lines(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("aiodis", "aiohttp", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert not lines, (call, lines)


# What the words of `odd_requests` mean.
PREPARED = [
    ("streams", {"stream_name": "s", "partition_count": 2, "tags": [{"key": "k"}]}),
    ("apps", {"app_name": "app"}),
    ("records", {"stream_name": "s", "records": [record()]}),
    (
        "streams/s/transfer-tasks",
        {
            "destination_type": "OBS",
            "obs_destination_descriptor": {
                "task_name": "task",
                "agency_name": "a",
                "deliver_time_interval": 30,
                "obs_bucket_path": "bucket",
                "consumer_strategy": "TRIM_HORIZON",
                "partition_format": "yyyy",
                "processing_schema": {"timestamp_name": "at", "timestamp_type": "Timestamp"},
            },
        },
    ),
    ("apps/app/consumers", {"groupId": "app", "clientId": "c.1", "interestedStream": ["s"]}),
]


async def prepare(session, server):
    for path, body in PREPARED:
        async with session.post(f"{server.endpoint}/v2/p/{path}", json=body) as response:
            assert response.status < 300, await response.read()
