"""The scripted session: what a client makes of answers that are written down."""

import asyncio

import pytest

from aiodis.api.streams import StreamList, Streams, Tag
from aiodis.api.tags import DoomedTag
from aiodis.errors import (
    ConfigError,
    ConnectError,
    NotFoundError,
    RequestTimeoutError,
    ThrottledError,
)
from aiodis.record import Record
from aiodis.testing import Hang, ScriptedSession, Slow, answer, refusal


def listed(*names):
    return StreamList(stream_names=list(names), total_number=len(names))


async def test_each_operation_has_its_steps_and_the_last_is_repeated():
    session = ScriptedSession().on("streams.list", listed("a"), listed("b"))
    session.on(Streams.describe, refusal("DIS.4301"))
    async with session.client() as client:
        names = [(await client.streams.list()).stream_names for _ in range(3)]
        with pytest.raises(NotFoundError, match="does not exist"):
            await client.streams.describe(stream_name="a")
    assert names == [["a"], ["b"], ["b"]]
    assert [sent.operation for sent in session.requests] == ["streams.list"] * 3 + [
        "streams.describe"
    ]
    assert (session.opened, session.closed) == (1, 1)


async def test_the_steps_without_an_operation_are_for_all_others():
    session = ScriptedSession(ConnectError("down"), answer(body={"total_number": 7}))
    async with session.client(retry_backoff_ms=1) as client:
        assert (await client.streams.list()).total_number == 7
    assert len(session.requests) == 2


async def test_a_request_without_a_step_fails_the_test_at_once():
    session = ScriptedSession().on("streams.list", listed())
    async with session.client() as client:
        with pytest.raises(AssertionError, match=r"no answer to streams\.describe.*streams\.list"):
            await client.streams.describe(stream_name="a")
    assert len(session.requests) == 1


async def test_what_was_sent_can_be_looked_at():
    def echo(sent):
        assert sent.json()["stream_name"] == "s"
        place = {"partition_id": "shardId-0000000000", "sequence_number": "0"}
        return answer(body={"failed_record_count": 0, "records": [place]})

    session = ScriptedSession().on("records.put", refusal("DIS.4303"), echo)
    async with session.client(retries=0) as client:
        put = {"stream_name": "s", "records": [Record(b"x")]}
        with pytest.raises(ThrottledError):
            await client.records.put(**put)
        assert (await client.records.put(**put)).records[0].sequence_number == "0"
    [first, second] = session.sent("records.put")
    assert first.body == second.body
    assert first.at <= second.at
    assert "Authorization" in first.headers


@pytest.mark.looptime
async def test_a_slow_answer_and_none_take_the_loops_time():
    loop = asyncio.get_running_loop()
    session = ScriptedSession().on("streams.list", Slow(5, listed("a")), Hang())
    async with session.client(request_timeout_ms=7_000, retries=0) as client:
        began = loop.time()
        await client.streams.list()
        assert loop.time() - began == pytest.approx(5)
        with pytest.raises(RequestTimeoutError):
            await client.streams.list()
        assert loop.time() - began == pytest.approx(12)


async def test_operations_that_share_a_route_are_told_apart_by_their_body():
    session = ScriptedSession()
    session.on("tags.add_batch", answer(204, b"")).on("tags.delete_batch", answer(204, b""))
    async with session.client() as client:
        await client.tags.add_batch(stream_id="i", tags=[Tag(key="a", value="b")])
        await client.tags.delete_batch(stream_id="i", tags=[DoomedTag(key="a")])
    assert [sent.operation for sent in session.requests] == [
        "tags.add_batch",
        "tags.delete_batch",
    ]


def test_what_is_no_operation_or_no_step_or_no_code_is_refused():
    with pytest.raises(ConfigError, match=r"no operation 'stream\.list'"):
        ScriptedSession().on("stream.list", listed())
    with pytest.raises(ConfigError, match="no step"):
        ScriptedSession().on("streams.list")
    with pytest.raises(ConfigError, match=r"'DIS\.9999' is not known"):
        refusal("DIS.9999")
    assert refusal("DIS.9999", "new", status=418).status == 418
