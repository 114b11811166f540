"""aioresponses with today's aiohttp, and our client on it."""

import inspect

import aiohttp
import aioresponses as upstream
import pytest

from aiodis import Credentials, DISClient
from aiodis.errors import NotFoundError, TransportError
from aiodis.record import Record
from aiodis.testing.aioresponses import aioresponses

BASE = "https://dis.example.com/v2/p"
NEEDS_HELP = "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters


def client(**changes):
    settings = {
        "endpoint": "https://dis.example.com",
        "project_id": "p",
        "credentials": Credentials.static("ak", "sk"),
        "retry_backoff_ms": 1,
    }
    return DISClient(**settings | changes)


@pytest.mark.skipif(not NEEDS_HELP, reason="this aiohttp is older than the argument")
async def test_without_help_every_request_ends_in_a_type_error():
    """When this fails, aioresponses has caught up, and the help can go."""
    with upstream.aioresponses() as mocked:
        mocked.get(f"{BASE}/streams", payload={"stream_names": ["a"]})
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match="stream_writer"):
                await session.get(f"{BASE}/streams")


async def test_with_help_a_request_is_answered():
    with aioresponses() as mocked:
        mocked.get(f"{BASE}/streams", payload={"stream_names": ["a"]})
        async with client() as dis:
            assert (await dis.streams.list()).stream_names == ["a"]
        mocked.assert_called_once()


async def test_the_services_errors_arrive_as_ours():
    with aioresponses() as mocked:
        error = {"errorCode": "DIS.4301", "message": "The stream does not exist."}
        mocked.get(f"{BASE}/streams/s", status=400, payload=error)
        async with client() as dis:
            with pytest.raises(NotFoundError, match="does not exist"):
                await dis.streams.describe(stream_name="s")


async def test_a_put_is_repeated_after_a_broken_connection_and_its_body_can_be_read():
    place = {"partition_id": "shardId-0000000000", "sequence_number": "4"}
    with aioresponses() as mocked:
        mocked.post(f"{BASE}/records", exception=aiohttp.ServerDisconnectedError())
        mocked.post(f"{BASE}/records", payload={"failed_record_count": 0, "records": [place]})
        async with client() as dis:
            reply = await dis.records.put(stream_name="s", records=[Record(b"x")])
        [calls] = mocked.requests.values()
    assert reply.records[0].sequence_number == "4"
    assert len(calls) == 2
    assert '"stream_name":"s"' in calls[0].kwargs["data"].decode()


async def test_a_connection_that_breaks_after_the_request_leaves_it_open_what_happened():
    with aioresponses() as mocked:
        mocked.post(f"{BASE}/records", exception=aiohttp.ServerDisconnectedError())
        async with client(retries=0) as dis:
            with pytest.raises(TransportError) as caught:
                await dis.records.put(stream_name="s", records=[Record(b"x")])
    assert caught.value.ambiguous


async def test_it_is_a_decorator_too():
    @aioresponses()
    async def list_streams(mocked):
        mocked.get(f"{BASE}/streams", payload={})
        async with client() as dis:
            return (await dis.streams.list()).stream_names

    assert await list_streams() == []
