"""The ring of requests: what is noted, what can be asked of it, and waiting for one."""

import asyncio
import threading

import aiohttp
import pytest
from server_caller import START_MS, calling, record

from aiodis import DISClient
from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError
from aiodis.server import Account, AutoClock, LocalDIS, User
from aiodis.server.faults import latency, reset, reset_before, truncated
from aiodis.server.requests import Requests, SeenRequest, Wanted


def seen(operation: str = "records.put", **fields) -> SeenRequest:
    return SeenRequest(at_ms=0, method="POST", path="/", operation=operation, **fields)


def ring(*found: SeenRequest, size: int = 100) -> Requests:
    requests = Requests(size)
    for one in found:
        requests.add(one)
    return requests


# -- The ring alone -----------------------------------------------------------------------


def test_requests_are_numbered_and_the_oldest_are_forgotten_but_still_counted():
    requests = ring(*(seen(status=200) for _ in range(5)), size=3)
    assert [one.number for one in requests] == [3, 4, 5]
    assert len(requests) == 3
    assert requests.last.number == 5
    assert requests.totals.requests == requests.totals.answers["records.put", 200] == 5


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"operation": "records.put"}, [1, 2]),
        ({"operation": "records.*"}, [1, 2, 3]),
        ({"operation": "*"}, [1, 2, 3, 4]),
        ({"operation": "records.*", "stream": "a"}, [1, 3]),
        ({"partition": 0}, [1, 3]),
        ({"partition": 1}, [1]),
        ({"status": 400}, [2]),
        ({"error": "DIS.4303"}, [2]),
        ({"fault": "hang"}, [3]),
        ({"user": "shop.ann"}, [4]),
        ({"project": "p"}, [4]),
        ({"after": 2}, [3, 4]),
        ({"stream": "a", "status": 400}, []),
    ],
)
def test_requests_are_chosen_by(wanted, numbers):
    requests = ring(
        seen(stream="a", partitions=(0, 1), status=200),
        seen(stream="b", status=400, error="DIS.4303"),
        seen("records.get", stream="a", partitions=(0,), faults=("latency", "hang")),
        seen("streams.list", user="shop.ann", project="p"),
    )
    assert [one.number for one in requests.of(**wanted)] == numbers


def test_an_operation_that_there_is_not_is_refused_rather_than_never_found():
    with pytest.raises(ConfigError):
        ring().of("record.put")


def test_a_project_sees_and_forgets_its_own_only():
    requests = ring(seen(project="a"), seen(project="b"), seen(project="a"))
    mine = requests.of_project("a")
    assert [one.number for one in mine] == [1, 3]
    with pytest.raises(ConfigError):
        mine.of(project="b")
    mine.clear()
    assert len(mine) == 0
    assert [one.number for one in requests] == [2]
    requests.add(seen(project="a"))
    assert [one.number for one in mine] == [4]


async def test_waiting_ends_with_the_last_request_that_was_missing():
    requests = ring(seen(stream="a"))
    waiting = asyncio.create_task(requests.wait("records.put", stream="a", count=3))
    await asyncio.sleep(0)
    for one in (seen("records.get", stream="a"), seen(stream="b"), seen(stream="a")):
        requests.add(one)
    await asyncio.sleep(0)
    assert not waiting.done()
    requests.add(seen(stream="a"))
    assert [one.number for one in await waiting] == [1, 4, 5]


@pytest.mark.looptime
async def test_waiting_in_vain_tells_what_was_there():
    requests = ring(seen(stream="a", status=200))
    with pytest.raises(TimeoutError, match=r"1 of 2 requests came within 3 s.*records.put a"):
        await requests.wait("records.put", count=2, timeout=3)


async def test_a_wait_that_is_cancelled_leaves_nothing_behind():
    requests = ring()
    waiting = asyncio.create_task(requests.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    requests.add(seen())
    assert requests._ring._waiters == []


def test_another_thread_can_wait_without_a_loop():
    requests = ring()
    late = threading.Timer(0.01, requests.add, [seen()])
    late.start()
    assert [one.number for one in requests.wait_blocking()] == [1]
    with pytest.raises(TimeoutError):
        requests.wait_blocking(count=2, timeout=0)
    late.join()


def test_bodies_are_kept_up_to_a_bound_and_the_latest_stay():
    requests = ring()
    for _ in range(5):
        requests.add(seen(body=b"x" * (20 * 1024 * 1024)))
    assert [one.body is not None for one in requests] == [False, False, True, True, True]


def test_a_request_shows_in_one_line():
    one = seen(stream="s", partitions=(0, 1), status=200, records=3, failed=1, faults=("latency",))
    assert repr(one) == ("<#0 records.put s[0,1] -> 200 3 records 1 failed met latency 0.0 ms>")
    broken = SeenRequest(at_ms=0, method="GET", path="/x")
    assert repr(broken) == "<#0 GET /x -> no answer 0.0 ms>"


def test_what_is_wanted_compares_by_value():
    assert Wanted("records.put") == Wanted("records.put")


# -- What a server notes ------------------------------------------------------------------


async def test_a_put_and_a_read_tell_what_they_were_for(dis):
    await dis.create(partitions=3)
    await dis.put([record(b"12345", partition_id="0"), record(b"678", partition_id="2")])
    await dis.get(await dis.cursor(partition_id="2"))
    create, put, cursor, get = dis.server.requests
    assert (create.operation, create.status, create.stream) == ("streams.create", 201, "s")
    assert (create.method, create.path) == ("POST", f"/v2/{dis.server.project_id}/streams")
    assert (put.operation, put.stream, put.partitions) == ("records.put", "s", (0, 2))
    assert (put.records, put.failed, put.data_bytes) == (2, 0, 8)
    assert put.bytes_in > 8
    assert put.bytes_out > 8
    assert put.at_ms == START_MS
    assert 0 < put.duration_ms < 5000
    assert (cursor.operation, cursor.partitions) == ("records.get_cursor", (2,))
    assert (get.operation, get.stream, get.partitions) == ("records.get", "s", (2,))
    assert (get.records, get.data_bytes) == (1, 3)
    assert get.project == dis.server.project_id
    assert [one.number for one in (create, put, cursor, get)] == [1, 2, 3, 4]
    totals = dis.server.requests.totals
    assert (totals.records_in, totals.records_out) == (2, 1)
    assert (totals.data_bytes_in, totals.data_bytes_out) == (8, 3)


async def test_a_refusal_has_its_code_and_what_it_was_for(dis):
    await dis.create(partitions=2)
    await dis.refused("DIS.4301", "POST", "records", {"stream_name": "x", "records": [record()]})
    await dis.refused("DIS.4225", "GET", "records", {"partition-cursor": await _old_cursor(dis)})
    await dis.put([record(partition_id="0"), record(partition_id="9")])
    await dis.call("GET", "/nowhere", status=404)
    missing, _, old, partly, nowhere = list(dis.server.requests)[1:]
    assert (missing.stream, missing.status, missing.error) == ("x", 400, "DIS.4301")
    assert (old.stream, old.partitions, old.error) == ("s", (0,), "DIS.4225")
    assert (partly.status, partly.error, partly.records, partly.failed) == (200, None, 2, 1)
    assert (nowhere.operation, nowhere.status) == (None, 404)
    assert nowhere.error == "APIGW.0101"


async def _old_cursor(dis) -> str:
    cursor = await dis.cursor()
    dis.server.clock.advance(minutes=6)
    return cursor


@pytest.mark.parametrize("clock", [AutoClock()])
async def test_a_fault_that_was_met_is_named_and_a_broken_connection_has_no_status(dis):
    await dis.create()
    faults = dis.server.faults
    faults.push("records.put", outcome=reset_before())
    faults.push("records.put", outcome=reset(), phase="after")
    faults.push("records.put", error="DIS.4303")
    faults.rule("records.put", outcome=latency(1), times=1)
    faults.partial("records.put", times=1)
    faults.push("records.get", outcome=truncated())
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectionError):
            await dis.put([record()])
    await dis.put([record()], status=400)
    await dis.put([record()])
    with pytest.raises(aiohttp.ClientPayloadError):
        await dis.get(await dis.cursor())
    found = [
        (one.status, one.faults, one.failed, one.stream)
        for one in dis.server.requests.of("records.*")
        if one.operation != "records.get_cursor"
    ]
    assert found == [
        (None, ("reset_before",), 0, None),
        (None, ("reset", "latency", "partial DIS.4303"), 1, "s"),
        (400, ("error DIS.4303",), 0, "s"),
        (200, (), 0, "s"),
        (200, ("truncated",), 0, "s"),
    ]


async def test_who_asked_is_told_and_nothing_secret(caplog):
    def account(name: str, key: str) -> Account:
        user = User("ann", password="pass-word-1", keys=[AccessKey(key, f"secret-of-{key}")])
        return Account(name, f"{name}-project", [user])

    async with LocalDIS(accounts=[account("shop", "AK1"), account("mill", "AK2")]) as server:
        server.requests.keep_bodies = True
        for name in ("shop", "mill"):
            async with DISClient(**server.settings_of(name, "ann")) as client:
                await client.streams.list()
        async with aiohttp.ClientSession(server.endpoint) as session:
            body = {"auth": {"identity": {"password": {"user": {"password": "pass-word-1"}}}}}
            async with session.post("/v3/auth/tokens", json=body) as response:
                assert response.status >= 400
            async with session.get("/v2/shop-project/streams") as response:
                assert response.status == 441
        shop, mill, token, unknown = server.requests
    assert (shop.user, shop.project) == ("shop.ann", "shop-project")
    assert (mill.user, mill.project) == ("mill.ann", "mill-project")
    assert (token.operation, token.body, token.user) == ("iam.tokens", None, None)
    assert (unknown.user, unknown.project) == (None, "shop-project")
    shown = repr([(one, one.body) for one in server.requests])
    assert "secret-of" not in shown
    assert "pass-word-1" not in shown


async def test_bodies_are_kept_when_asked_for(dis):
    await dis.create()
    dis.server.requests.keep_bodies = True
    await dis.put([record(b"once")])
    create, put = dis.server.requests
    assert create.body is None
    assert b"b25jZQ==" in put.body


async def test_a_test_can_wait_for_a_request_of_a_program_that_runs_beside_it(dis):
    await dis.create()
    waiting = asyncio.create_task(dis.server.requests.wait("records.put", stream="s", count=2))
    for _ in range(2):
        await dis.put([record()])
    assert [one.status for one in await waiting] == [200, 200]


async def test_a_server_that_keeps_no_requests_still_counts_them():
    async with calling(keep_requests=0) as dis:
        await dis.create()
        assert len(dis.server.requests) == 0
        assert dis.server.requests.totals.requests == 1


async def test_requests_stay_when_the_server_starts_anew():
    server = LocalDIS(anonymous=True)
    for _ in range(2):
        async with (
            server,
            aiohttp.ClientSession(server.endpoint) as session,
            session.get(f"/v2/{server.project_id}/streams") as response,
        ):
            assert response.status == 200
    assert [one.number for one in server.requests] == [1, 2]
