"""The admin routes over real sockets: who is let in, what each does, and what it refuses."""

import asyncio
import json
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from server_caller import START_MS, Caller, calling, record

from aiodis.clock import AutoClock
from aiodis.server.admin import ROUTES
from aiodis.server.admin.guard import refusal_of
from aiodis.server.admin.outcomes import MADE_BY, OutcomeModel, encode_outcome
from aiodis.server.fault_outcomes import error, latency

PUT = "records.put"
ANN = [{"name": "ann", "password": "a"}]


class Door:
    """The side door of a caller's server."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def ask(
        self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any
    ) -> Any:
        """Ask, expect a status, and give what was told."""
        if body is not None:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            options["data"] = BytesIO(sent)
        url = f"/_aiodis/v1/{path}"
        async with self.caller.session.request(method, url, **options) as response:
            text = await response.read()
        assert response.status == status, text
        assert response.content_type == "application/json"
        told = json.loads(text)
        if status >= 400 and status != 503:
            assert set(told) == {"error"}
            assert told["error"]
            assert "\n" not in told["error"]
        return told

    async def refused(self, method: str, path: str, body: Any = None, **options: Any) -> str:
        options.setdefault("status", 400)
        return (await self.ask(method, path, body, **options))["error"]


@pytest.fixture
async def door(dis):
    return Door(dis)


async def put(dis: Caller, **options: Any) -> Any:
    return await dis.put([record(b"data", partition_id="0")], **options)


# -- Who is let in ------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:9", "dis.localhost:1"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"])
def test_this_machine_is_let_in(host, peer):
    assert refusal_of(peer, {"Host": host}, scheme="http") is None
    own_page = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert refusal_of(peer, own_page, scheme="http") is None


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {"Host": "127.0.0.1"}),
        ("::ffff:10.0.0.7", {"Host": "127.0.0.1"}),
        ("fe80::1%eth0", {"Host": "localhost"}),
        (None, {"Host": "localhost"}),
        ("", {"Host": "localhost"}),
        ("127.0.0.1", {}),
        ("127.0.0.1", {"Host": "evil.example"}),
        ("127.0.0.1", {"Host": "evil.example:8080"}),
        ("127.0.0.1", {"Host": "localhost.evil.example"}),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.example"}),
        ("127.0.0.1", {"Host": "10.0.0.7:8080"}),
        ("127.0.0.1", {"Host": "localhost", "Origin": "https://evil.example"}),
        ("127.0.0.1", {"Host": "localhost", "Origin": "null"}),
        ("127.0.0.1", {"Host": "localhost:1", "Origin": "http://localhost:2"}),
        ("127.0.0.1", {"Host": "localhost", "Origin": "https://localhost"}),
        ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "cross-site"}),
        ("127.0.0.1", {"Host": "localhost", "Sec-Fetch-Site": "same-site"}),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "10.0.0.7"}),
        ("127.0.0.1", {"Host": "localhost", "Forwarded": "for=10.0.0.7"}),
    ],
)
def test_other_machines_pages_of_the_web_and_proxies_are_not(peer, headers):
    assert refusal_of(peer, headers, scheme="http")


@pytest.mark.parametrize("host", ["10.0.0.7:8080", "dis:8080", "localhost", "[fd00::7]"])
def test_where_other_machines_may_ask_pages_of_the_web_still_may_not(host):
    def asked(**headers: str) -> str | None:
        return refusal_of("10.0.0.9", headers, scheme="http", is_remote_allowed=True)

    assert asked(Host=host) is None
    assert asked(Host="evil.example")
    assert asked(Host="")
    assert asked(Host=host, Origin="https://evil.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_every_route_is_guarded(door, headers):
    for route in ROUTES:
        path = route.path.replace("{", "").replace("}", "")
        await door.ask(route.method, path, status=403, headers=headers)
    for path in ("/_aiodis", "/_aiodis/", "/_aiodis/nothing"):
        async with door.caller.session.get(path, headers=headers) as response:
            assert response.status == 403


async def test_a_server_may_have_no_side_door():
    async with calling(admin="off") as dis:
        for path in ("/_aiodis/", "/_aiodis/v1/health"):
            async with dis.session.get(path) as response:
                assert response.status == 404


async def test_nobody_is_asked_for_a_signature_and_nothing_is_noted_or_faulted():
    async with calling(anonymous=False) as dis:
        door = Door(dis)
        dis.server.faults.rule("*", error="DIS.5000")
        dis.server.faults.rule("iam.*", error="DIS.5000")
        assert (await door.ask("GET", "health"))["status"] == "ready"
        assert len(dis.server.requests) == 0
        assert dis.server.requests.totals.requests == 0


# -- Health -------------------------------------------------------------------------------


async def test_a_server_is_ready_until_it_begins_to_stop(door):
    server = door.caller.server
    told = await door.ask("GET", "health")
    assert told["status"] == "ready"
    assert told["clock"] == "manual"
    assert told["now_ms"] == START_MS
    assert told["projects"] == [server.project_id]
    assert told["is_durable"] is False
    server.faults.push("streams.list", outcome=latency(300))
    await asyncio.gather(*(door.ask("GET", "health") for _ in range(2)))  # two connections
    slow = asyncio.create_task(door.caller.call("GET", "streams"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    assert (await door.ask("GET", "health", status=503))["status"] == "stopping"
    await asyncio.gather(slow, stopping)


# -- Requests -----------------------------------------------------------------------------


async def test_requests_are_listed_chosen_and_cleared(door):
    dis = door.caller
    await dis.create()
    await put(dis)
    await put(dis, name="other", status=400)
    told = (await door.ask("GET", "requests"))["requests"]
    assert [one["operation"] for one in told] == ["streams.create", PUT, PUT]
    assert told[1]["records"] == 1
    assert told[1]["partitions"] == [0]
    assert told[2]["error"] == "DIS.4301"
    for query, numbers in (
        ({"operation": PUT}, [2, 3]),
        ({"operation": "records.*", "status": 400}, [3]),
        ({"stream": "s", "after": 1}, [2]),
        ({"partition": 0}, [2]),
        ({"limit": 1}, [3]),
        ({"project": "other"}, []),
    ):
        told = await door.ask("GET", "requests", params=query)
        assert [one["number"] for one in told["requests"]] == numbers, query
    await door.ask("DELETE", "requests", params={"project": "other"})
    assert len(dis.server.requests) == 3
    await door.ask("DELETE", "requests")
    assert len(dis.server.requests) == 0


async def test_a_request_can_be_waited_for(door):
    dis = door.caller
    await dis.create()
    query = {"operation": PUT, "count": 2, "wait_s": 20}
    waiting = asyncio.create_task(door.ask("GET", "requests", params=query))
    await put(dis)
    await put(dis)
    assert len((await waiting)["requests"]) == 2
    query = {"operation": "records.get", "wait_s": 0.01}
    assert (await door.ask("GET", "requests", params=query))["requests"] == []


async def test_a_wait_does_not_hold_up_a_stop():
    async with calling() as dis:
        query = {"operation": PUT, "wait_s": 30}
        waiting = asyncio.create_task(Door(dis).ask("GET", "requests", params=query))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(4):
            await dis.server.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await waiting


# -- Faults -------------------------------------------------------------------------------


async def test_scripted_faults_come_and_are_counted(door):
    dis = door.caller
    await dis.create()
    made = await door.ask(
        "POST", "faults", {"kind": "push", "operation": PUT, "error": "DIS.5000", "times": 2}
    )
    assert made["name"] == "error DIS.5000"
    assert (made["count"], made["left"], made["phase"]) == (0, 2, "before")
    await put(dis, status=500)
    said = await door.refused("GET", "faults/exhausted", status=409)
    assert "came 1 of 2" in said
    await put(dis, status=500)
    await door.ask("GET", "faults/exhausted")
    assert (await door.ask("GET", f"faults/{made['number']}"))["count"] == 2
    told = await door.ask("GET", "faults")
    assert told["faults"] == []
    assert told["counts"] == [{"operation": PUT, "name": "error DIS.5000", "count": 2}]
    await door.ask("DELETE", "faults")
    assert (await door.ask("GET", "faults"))["counts"] == []


async def test_rules_and_partial_failures_have_every_aim(door):
    dis = door.caller
    await dis.create(partitions=2)
    await dis.create("t")
    rule = {"kind": "rule", "operation": "records.*", "error": "DIS.5000", "rate": 1.0, "seed": 3}
    await door.ask("POST", "faults", {**rule, "stream": "t", "times": 1, "phase": "after"})
    await put(dis)
    await put(dis, name="t", status=500)
    assert len(await dis.read_all(stream_name="t")) == 1
    partial = {"kind": "partial", "code": "DIS.4999", "message": "no", "partition": 1, "times": 1}
    made = await door.ask("POST", "faults", partial)
    assert made["phase"] is None
    told = await dis.put([record(partition_id="0"), record(partition_id="1")])
    assert told["failed_record_count"] == 1
    assert told["records"][1]["error_code"] == "DIS.4999"
    assert told["records"][1]["error_message"] == "no"
    other = {"kind": "push", "operation": "streams.list", "error": "DIS.5000", "project": "other"}
    await door.ask("POST", "faults", other)
    await dis.call("GET", "streams")
    mine = {**other, "project": dis.server.project_id}
    await door.ask("POST", "faults", mine)
    await dis.call("GET", "streams", status=500)
    left = await door.ask("GET", "faults", params={"project": "other"})
    assert [fault["project"] for fault in left["faults"]] == ["other"]
    await door.ask("DELETE", "faults", params={"project": "other"})
    assert list(dis.server.faults) == []


async def test_a_scope_and_a_single_fault_are_ended_without_touching_others(door):
    faults = door.caller.server.faults
    push = {"kind": "push", "operation": PUT, "error": "DIS.5000"}
    first = await door.ask("POST", "faults", {**push, "scope": "mine"})
    second = await door.ask("POST", "faults", {**push, "scope": "mine"})
    other = await door.ask("POST", "faults", {**push, "scope": "other"})
    alone = await door.ask("POST", "faults", push)
    await door.ask("DELETE", f"faults/{first['number']}")
    assert [fault.number for fault in faults] == [
        second["number"],
        other["number"],
        alone["number"],
    ]
    await door.ask("DELETE", "faults", params={"scope": "mine"})
    assert [fault.number for fault in faults] == [other["number"], alone["number"]]
    await door.ask("DELETE", "faults", params={"scope": "unknown"})
    await door.refused("GET", "faults/999999999", status=404)
    await door.refused("DELETE", "faults/999999999", status=404)


ANSWERS = [
    ({"type": "error", "code": "DIS.4303"}, 400, b"DIS.4303"),
    ({"type": "error", "code": "DIS.4999", "message": "not today", "status": 418}, 418, b"not tod"),
    ({"type": "expired_cursor"}, 400, b"DIS.4225"),
    ({"type": "expired_token"}, 441, b"DIS.4114"),
    ({"type": "http_status", "status": 429, "headers": {"Retry-After": "1"}}, 429, b""),
    ({"type": "http_status", "status": 503, "body": "busy"}, 503, b"busy"),
    ({"type": "http_status", "status": 503, "body": {"a": [1]}}, 503, b'{"a":[1]}'),
    ({"type": "gateway_page"}, 502, b"<html>"),
    ({"type": "gateway_page", "status": 504}, 504, b"504 Gateway"),
    ({"type": "garbage_json"}, 200, b"\xff\xfe"),
    ({"type": "latency", "ms": 1, "jitter_ms": 1}, 200, b"partition_id"),
    ({"type": "bandwidth", "bytes_per_s": 100_000}, 200, b"partition_id"),
    (
        {"type": "reply", "name": "x", "status": 200, "headers": [["X-A", "b"]], "body": "AP8="},
        200,
        b"\x00\xff",
    ),
]


@pytest.mark.parametrize("clock", [AutoClock()])  # it goes over latency by itself
@pytest.mark.parametrize(("outcome", "status", "part"), ANSWERS)
async def test_an_outcome_made_over_http_really_is_the_answer(door, outcome, status, part):
    await door.caller.create()
    await door.ask("POST", "faults", {"kind": "push", "operation": PUT, "outcome": outcome})
    answer = await raw_put(door.caller)
    assert answer.status == status
    assert part in await answer.read()
    if "headers" in outcome:
        name, value = next(iter(dict(outcome["headers"]).items()))
        assert answer.headers[name] == value
    assert door.caller.server.requests.last.faults
    door.caller.server.faults.assert_exhausted()


@pytest.mark.parametrize(
    "outcome",
    [
        {"type": "hang"},
        {"type": "restart", "down_ms": 1},
        {"type": "reset"},
        {"type": "reset_before"},
        {"type": "reset_after", "bytes": 3},
        {"type": "truncated"},
        {"type": "truncated", "bytes": 2},
    ],
)
async def test_an_outcome_made_over_http_really_breaks_the_connection(door, outcome):
    await door.caller.create()
    await door.ask("POST", "faults", {"kind": "push", "operation": PUT, "outcome": outcome})
    with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)):
        async with asyncio.timeout(0.3 if outcome["type"] == "hang" else 20):
            await (await raw_put(door.caller)).read()
    door.caller.server.faults.assert_exhausted()


async def test_a_skewed_date_made_over_http_really_is_in_the_answer(door):
    await door.caller.create()
    skewed = {"type": "skewed_date", "seconds": -3600}
    await door.ask("POST", "faults", {"kind": "push", "operation": PUT, "outcome": skewed})
    assert (await raw_put(door.caller)).headers["Date"] == "Tue, 14 Nov 2023 21:13:20 GMT"


async def test_a_frozen_partition_made_over_http_really_stands_still(door):
    dis = door.caller
    await dis.create(partitions=2)
    await dis.put([record(partition_id="0"), record(partition_id="1")])
    frozen = {"kind": "rule", "operation": "records.get", "outcome": {"type": "frozen"}}
    made = await door.ask("POST", "faults", {**frozen, "stream": "s", "partition": 1})
    assert len(await dis.read_all()) == 1
    cursor = await dis.cursor(partition_id="1")
    assert await dis.get(cursor) == {"next_partition_cursor": cursor, "records": []}
    await door.ask("DELETE", f"faults/{made['number']}")
    assert len((await dis.get(cursor))["records"]) == 1


async def raw_put(dis: Caller) -> aiohttp.ClientResponse:
    body = {"stream_name": "s", "records": [record(partition_id="0")]}
    response = await dis.session.post(f"/v2/{dis.server.project_id}/records", json=body)
    await response.read()
    return response


def test_every_outcome_is_tried_over_http_and_survives_the_way_there_and_back():
    tried = {outcome["type"] for outcome, _, _ in ANSWERS}
    tried |= {"hang", "reset", "reset_before", "reset_after", "truncated", "skewed_date"}
    tried |= {"restart", "frozen"}
    assert tried == {function.__name__ for function in MADE_BY} | {"reply"}
    from pydantic import TypeAdapter

    adapter = TypeAdapter(OutcomeModel)
    arguments = {
        "error": ("DIS.5000",),
        "http_status": (429,),
        "latency": (5,),
        "reset_after": (7,),
        "bandwidth": (10,),
        "skewed_date": (9.5,),
    }
    for function in MADE_BY:
        outcome = function(*arguments.get(function.__name__, ()))
        sent = json.dumps(encode_outcome(outcome))
        assert adapter.validate_json(sent, strict=True).make() == outcome
    assert encode_outcome(error("DIS.5000"))["name"] == "error DIS.5000"


# -- The clock ----------------------------------------------------------------------------


async def test_the_clock_is_moved_for_all(door):
    dis = door.caller
    told = await door.ask("GET", "clock")
    assert told == {"kind": "manual", "now_ms": START_MS, "time": "2023-11-14T22:13:20.000+00:00"}
    await dis.create()
    cursor = await dis.cursor()
    told = await door.ask("POST", "clock", {"minutes": 5, "seconds": 1, "milliseconds": 5})
    assert told["now_ms"] == dis.server.clock.now_ms() == START_MS + 301_005
    await dis.refused("DIS.4225", "GET", "records", {"partition-cursor": cursor})


async def test_the_systems_clock_cannot_be_moved():
    async with calling() as dis:
        assert (await Door(dis).ask("GET", "clock"))["kind"] == "real"
        said = await Door(dis).refused("POST", "clock", {"hours": 1}, status=409)
        assert "system's clock" in said


# -- Metrics and the page -----------------------------------------------------------------


async def test_metrics_tell_what_was_counted(door):
    dis = door.caller
    await dis.create(partitions=3)
    await dis.put([record(b"12345", partition_id="0"), record(b"678", partition_id="1")])
    await dis.read_all()
    dis.server.faults.push(PUT, error="DIS.5000")
    await put(dis, status=500)
    text = await metrics(dis)
    for line in (
        'aiodis_server_requests_total{operation="records.put",status="200"} 1.0',
        'aiodis_server_requests_total{operation="records.put",status="500"} 1.0',
        'aiodis_server_faults_total{fault="error DIS.5000",operation="records.put"} 1.0',
        'aiodis_server_records_total{direction="in"} 2.0',
        'aiodis_server_records_total{direction="out"} 1.0',
        'aiodis_server_record_bytes_total{direction="in"} 8.0',
        'aiodis_server_record_bytes_total{direction="out"} 5.0',
        "aiodis_server_open_connections 1.0",
        f'aiodis_server_streams{{project="{dis.server.project_id}"}} 1.0',
        f'aiodis_server_partitions{{project="{dis.server.project_id}"}} 3.0',
        "process_resident_memory_bytes ",
        "aiodis_server_log_bytes{",
    ):
        assert line in text, text


async def metrics(dis: Caller) -> str:
    async with dis.session.get("/_aiodis/v1/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return await response.text()


async def test_the_page_shows_what_is_inside_and_loads_nothing(door):
    dis = door.caller
    await dis.create("orders")
    await dis.put([record(b"data", partition_id="0")], "orders")
    await dis.call("POST", "apps", {"app_name": "bill"}, status=201)
    commit = {
        "app_name": "bill",
        "stream_name": "orders",
        "partition_id": "0",
        "sequence_number": "1",
        "checkpoint_type": "LAST_READ",
    }
    await dis.call("POST", "checkpoints", commit, status=201)
    join = {"groupId": "bill", "clientId": "member-1", "interestedStream": ["orders"]}
    await dis.call("POST", "apps/bill/consumers/", join)
    dis.server.faults.rule(PUT, error="DIS.4303")
    await dis.call("GET", "/<script>alert(1)</script>", status=404)
    async with dis.session.get("/_aiodis/") as response:
        text = await response.text()
    assert response.status == 200
    assert response.content_type == "text/html"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    for part in ("orders", "shardId-0000000000", "bill", "error DIS.4303", "checkpoints.commit"):
        assert part in text
    assert "member-1" in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "http://" not in text.replace(dis.server.endpoint, "")


# -- What is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "faults", None),
        ("POST", "faults", b"{"),
        ("POST", "faults", b"\xff\xfe"),
        ("POST", "faults", []),
        ("POST", "faults", {}),
        ("POST", "faults", {"kind": "pull"}),
        ("POST", "faults", {"kind": "push"}),
        ("POST", "faults", {"kind": "push", "operation": PUT}),
        ("POST", "faults", {"kind": "push", "operation": "record.put", "error": "DIS.5000"}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": "DIS.5000", "timse": 2}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": "DIS.5000", "times": "2"}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": "DIS.5000", "times": 0}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": 5}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": "E", "partition": -1}),
        ("POST", "faults", {"kind": "push", "operation": PUT, "error": "E", "phase": "during"}),
        ("POST", "faults", {"kind": "rule", "operation": PUT, "error": "E", "rate": 2}),
        ("POST", "faults", b'{"kind": "rule", "operation": "*", "error": "E", "rate": NaN}'),
        ("POST", "faults", {"kind": "rule", "operation": PUT, "error": "E", "seed": 10**400}),
        ("POST", "faults", {"kind": "partial", "operation": "records.get"}),
        ("POST", "faults", {"kind": "partial", "phase": "after"}),
        ("POST", "seed", {}),
        ("POST", "seed", {"seed": 5}),
        ("POST", "seed", {"seed": "/etc/passwd"}),
        ("POST", "seed", {"seed": {"streams": 5}}),
        ("POST", "seed", {"seed": {"stream": []}}),
        ("POST", "seed", {"seed": {"streams": [{"stream_name": "a b"}]}}),
        ("PUT", "state", None),
        ("PUT", "state", b"{}"),
        ("PUT", "state", b"aiodis snapshot 1\n0000"),
        ("PUT", "state", b"aiodis snapshot 1\n" + zlib.crc32(b"\xc1").to_bytes(4) + b"\xc1"),
        ("PUT", "state?data=x", b""),
        ("POST", "streams/s/purge", {"stream": "x"}),
        ("POST", "accounts", {"name": "a", "project_id": "p", "users": []}),
        ("POST", "accounts", {"name": "a,b", "project_id": "p", "users": [{"name": "u"}]}),
        ("POST", "accounts", {"name": "a", "project_id": "../p", "users": ANN}),
        ("POST", "accounts", {"name": "a", "project_id": "p", "users": ANN, "quotas": {"x": 1}}),
        ("POST", "clock", {"hours": -1}),
        ("POST", "clock", {"hours": 1e300}),
        ("POST", "clock", {"days": 1}),
        ("POST", "clock", b"[" * 100_000),
        ("GET", "requests?operation=record.put", None),
        ("GET", "requests?wait_s=1e9", None),
        ("GET", "requests?wait_s=nan", None),
        ("GET", "requests?count=0", None),
        ("GET", "requests?limit=x", None),
        ("GET", "requests?strem=s", None),
        ("GET", "health?verbose=1", None),
        ("GET", "faults/x", None),
        ("DELETE", "faults?scope=", None),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_in_one_line(door, method, path, body):
    await door.refused(method, path, body)
    assert list(door.caller.server.faults) == []


@pytest.mark.parametrize(
    "outcome",
    [
        {},
        {"type": "latency"},
        {"type": "latency", "ms": -1},
        {"type": "latency", "ms": 1, "jitter_ms": -1},
        {"type": "latency", "ms": "1"},
        {"type": "latency", "ms": 1, "bytes": 1},
        {"type": "make"},
        {"type": "_reply", "status": 200},
        {"type": "error", "code": "E", "status": 99},
        {"type": "http_status", "status": 600},
        {"type": "http_status", "status": 200, "headers": {"X-A": "a\r\nX-B: b"}},
        {"type": "http_status", "status": 200, "headers": {"X A": "a"}},
        {"type": "http_status", "status": 200, "headers": {"Content-Length": "5"}},
        {"type": "http_status", "status": 200, "headers": {"Transfer-Encoding": "chunked"}},
        {"type": "http_status", "status": 200, "body": 5},
        {"type": "gateway_page", "status": 500},
        {"type": "bandwidth", "bytes_per_s": 0},
        {"type": "skewed_date", "seconds": 1e18},
        {"type": "reset_after", "bytes": -1},
        {"type": "truncated", "bytes": -1},
        {"type": "reply", "name": "x", "status": 200, "body": "no base64!"},
        {"type": "reply", "name": "x", "status": 200, "body": "é"},
        {"type": "reply", "name": "x", "status": 200, "body": 5},
        {"type": "reply", "name": "x", "status": 200, "headers": [["a"]]},
    ],
)
async def test_an_outcome_that_could_never_come_is_refused_in_one_line(door, outcome):
    push = {"kind": "push", "operation": PUT, "outcome": outcome}
    await door.refused("POST", "faults", push)
    assert list(door.caller.server.faults) == []


async def test_what_there_is_not_is_told(door):
    assert "/_aiodis/v1/" in await door.refused("GET", "nothing", status=404)
    assert "GET, POST" in await door.refused("PUT", "clock", status=405)
    await door.refused("POST", "clock", b"x" * 2_000_000, status=413)
    await door.refused("POST", "streams/x/purge", status=409)
    await door.refused("DELETE", "state", status=409, params={"project": "x"})
    await door.refused("POST", "seed", {"project": "x", "seed": {}}, status=409)
    await door.refused("GET", "streams/x/records", status=404)
    async with door.caller.session.get("/_aiodisx") as response:
        assert response.status == 404
        assert "error_code" in await response.json()


# -- The docs -----------------------------------------------------------------------------


def test_what_the_docs_send_with_curl_is_understood():
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "inject-faults.md").read_text()
    route = next(r for r in ROUTES if (r.method, r.path) == ("POST", "faults"))
    bodies = re.findall(r"curl -d '(\{.*\})' \$door/faults", text)
    outcomes = re.findall(r"^push '(\{.*\})'$", text, re.MULTILINE)
    bodies += [
        f'{{"kind": "push", "operation": "records.put", "outcome": {outcome}}}'
        for outcome in outcomes
    ]
    for body in bodies:
        asked = route.read({}, {}, body.encode())
        if getattr(asked, "outcome", None):
            asked.outcome.make()
    told = {json.loads(outcome)["type"] for outcome in outcomes} | {"frozen"}
    assert told == {function.__name__ for function in MADE_BY}
    assert len(bodies) > len(outcomes) + 4
