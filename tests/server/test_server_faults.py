"""Faults on purpose: who meets which, what they do on the wire, and what clients make of it."""

import asyncio
import json
import logging
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import aiohttp
import pytest
from server_caller import START_MS, Caller, calling, record

from aiodis import (
    Credentials,
    CursorExpiredError,
    DecodeError,
    DISClient,
    Record,
    ServerError,
    ThrottledError,
    TransportError,
)
from aiodis.errors import ConfigError
from aiodis.server import AutoClock, LocalDIS, ManualClock
from aiodis.server.fault import Target
from aiodis.server.fault_actor import FaultActor
from aiodis.server.fault_outcomes import Outcome, Phase
from aiodis.server.faults import (
    Faults,
    Plan,
    bandwidth,
    error,
    expired_cursor,
    expired_token,
    frozen,
    garbage_json,
    gateway_page,
    hang,
    http_status,
    latency,
    reset,
    reset_after,
    reset_before,
    restart,
    skewed_date,
    truncated,
)

PUT = "records.put"
BROKEN = aiohttp.ClientConnectionError, aiohttp.ClientPayloadError


@pytest.fixture
def faults() -> Faults:
    return Faults()


def at(stream: str, *partitions: int) -> Target:
    return Target(stream, frozenset(partitions))


def met(faults: Faults, operation: str = PUT, target: Target | None = None) -> str | None:
    """Make one call, and tell what ends it."""
    if broken := faults.break_connection(operation):
        return broken.name
    plan = faults.plan(operation, lambda: target or at("s", 0))
    return plan.ending and plan.ending.name


# -- Who meets which ----------------------------------------------------------------------


def test_without_faults_nothing_is_armed(faults):
    assert not faults.armed
    assert faults.partials == ()
    assert met(faults) is None
    assert faults.plan(PUT) == Plan()
    assert repr(faults) == "<Faults none>"


def test_scripted_faults_come_in_order_and_once_each(faults):
    faults.push(PUT, error="DIS.5000", times=2)
    faults.push("records.get", error="DIS.4303")
    faults.push(PUT, outcome=http_status(429))
    assert faults.armed
    found = [met(faults) for _ in range(4)]
    assert found == ["error DIS.5000", "error DIS.5000", "http_status 429", None]
    assert [met(faults, "records.get") for _ in range(2)] == ["error DIS.4303", None]
    assert not faults.armed
    faults.assert_exhausted()


def test_patterns_stand_in_one_queue_with_names(faults):
    faults.push("records.*", error="DIS.5001")
    faults.push("*", error="DIS.5002")
    faults.push(PUT, error="DIS.5003")
    calls = "streams.list", PUT, PUT, "apps.list", "records.get"
    found = [met(faults, name) for name in calls]
    assert found == ["error DIS.5002", "error DIS.5001", "error DIS.5003", None, None]


def test_iam_has_to_be_named(faults):
    everywhere = faults.rule("*", error="DIS.5000")
    assert met(faults, "iam.tokens") is met(faults, "iam.projects") is None
    assert everywhere.count == 0
    faults.push("iam.*", error="DIS.5001", times=2)
    assert met(faults, "iam.tokens") == met(faults, "iam.projects") == "error DIS.5001"


def test_a_fault_is_aimed_by_stream_and_partition(faults):
    faults.push(PUT, error="DIS.5001", stream="a")
    faults.push(PUT, error="DIS.5002", partition=1)
    faults.push(PUT, error="DIS.5003", stream="b", partition=2)
    assert met(faults, target=at("b", 0)) is None
    assert met(faults, target=at("b", 0, 1, 2)) == "error DIS.5002"
    assert met(faults, target=at("b", 0, 1, 2)) == "error DIS.5003"
    assert met(faults, target=at("a", 0)) == "error DIS.5001"
    faults.assert_exhausted()


def test_the_target_is_looked_at_only_where_a_fault_is_aimed_closely(faults):
    asked = []

    def target() -> Target:
        asked.append(1)
        return at("s", 0)

    faults.rule(PUT, outcome=latency(1))
    faults.rule("records.get", outcome=latency(1), stream="s")
    faults.plan(PUT, target)
    assert not asked
    faults.rule(PUT, outcome=latency(1), stream="s")
    faults.rule(PUT, outcome=latency(1), partition=0)
    faults.plan(PUT, target)
    assert len(asked) == 1


def _calls_hit(
    seed: int,
    count: int = 300,
    rate: float = 0.1,
    outcome: Outcome | None = None,
    phase: Phase | None = None,
) -> list[int]:
    faults = Faults()
    faults.rule(PUT, outcome=outcome or error("DIS.5000"), rate=rate, seed=seed, phase=phase)
    return [n for n in range(count) if met(faults)]


def test_a_seed_says_which_calls_a_rule_hits():
    assert _calls_hit(7) == _calls_hit(7)
    assert _calls_hit(7) != _calls_hit(8)
    assert _calls_hit(7) != _calls_hit(7, outcome=hang())  # one seed may serve for all rules
    assert _calls_hit(7) == _calls_hit(7, phase="before") != _calls_hit(7, phase="after")
    # Kept for good: a suite's faults are not to move with a new version.
    assert _calls_hit(7, 60) == [4, 6, 22, 25, 28, 36, 37, 42, 43, 58]
    assert 800 < len(_calls_hit(1, 10_000)) < 1200
    assert _calls_hit(1, 50, rate=0) == []
    assert len(_calls_hit(1, 50, rate=1)) == 50


def test_rules_do_not_change_what_others_draw(faults):
    first = faults.rule(PUT, error="DIS.5000", rate=0.3, seed=1)
    faults.rule(PUT, outcome=reset_before(), rate=0.3, seed=2)
    third = faults.rule(PUT, outcome=http_status(429), rate=0.3, seed=3)
    ends = [met(faults) for _ in range(200)]
    early = _calls_hit(2, 200, 0.3, reset_before())
    assert [n for n, end in enumerate(ends) if end == "reset_before"] == early
    others = [end for end in ends if end != "reset_before"]
    own = _calls_hit(1, len(others), 0.3)
    assert [n for n, end in enumerate(others) if end == "error DIS.5000"] == own
    left = sorted(set(_calls_hit(3, len(others), 0.3, http_status(429))) - set(own))
    assert [n for n, end in enumerate(others) if end == "http_status 429"] == left
    assert (first.count, third.count) == (len(own), len(left))  # passed over is not counted


def test_the_script_goes_before_the_rules_and_the_first_rule_before_the_next(faults):
    faults.rule(PUT, error="DIS.5001", times=1)
    faults.rule(PUT, error="DIS.5002")
    faults.push(PUT, error="DIS.5003")
    found = [met(faults) for _ in range(4)]
    assert found == ["error DIS.5003", "error DIS.5001", "error DIS.5002", "error DIS.5002"]


def test_what_does_not_end_a_call_adds_up(faults):
    faults.push(PUT, outcome=latency(10))
    faults.rule(PUT, outcome=latency(5))
    faults.rule(PUT, outcome=latency(7), phase="after")
    faults.rule(PUT, outcome=bandwidth(100))
    faults.rule(PUT, outcome=bandwidth(50))
    faults.rule(PUT, outcome=skewed_date(3))
    faults.rule(PUT, outcome=skewed_date(-1))
    faults.rule(PUT, outcome=error("DIS.5000"), phase="after")
    plan = faults.plan(PUT)
    assert plan == Plan(15, 7, error("DIS.5000"), "after", 50, 2)
    assert sum(faults.counts.values()) == 8


def test_jitter_is_within_its_bounds_and_repeats(faults):
    def pauses() -> list[float]:
        faults.clear()
        faults.rule(PUT, outcome=latency(50, jitter_ms=20), seed=3)
        return [faults.plan(PUT).before_ms for _ in range(100)]

    found = pauses()
    assert found == pauses()
    assert 30 <= min(found) < 35
    assert 65 < max(found) <= 70
    faults.clear()
    faults.rule(PUT, outcome=latency(1, jitter_ms=50))
    assert min(faults.plan(PUT).before_ms for _ in range(50)) == 0


def test_a_scripted_break_waits_until_it_is_in_front(faults):
    faults.push(PUT, error="DIS.5000")
    faults.push(PUT, outcome=reset_before())
    faults.push(PUT, outcome=reset_after(10))
    ends = [met(faults) for _ in range(4)]
    assert ends == ["error DIS.5000", "reset_before", "reset_after", None]
    faults.push(PUT, error="DIS.5000", stream="other")
    faults.push(PUT, outcome=reset_before())
    assert [met(faults) for _ in range(2)] == [None, None]
    with pytest.raises(AssertionError):
        faults.assert_exhausted()


def test_what_is_made_in_a_scope_ends_with_it(faults):
    before = faults.push(PUT, error="DIS.5001", times=9)
    with faults.scope() as same:
        assert same is faults
        faults.rule(PUT, error="DIS.5002")
        with faults.scope():
            faults.push("streams.list", error="DIS.5003")
            faults.partial(PUT)
        assert faults.partials == ()
        assert met(faults, "streams.list") is None
        assert met(faults, "records.get") is None
    assert met(faults) == "error DIS.5001"
    assert before.left == 8
    with suppress(ZeroDivisionError), faults.scope():
        faults.rule("*", error="DIS.5004")
        raise ZeroDivisionError
    assert met(faults, "streams.list") is None


def test_scopes_that_end_out_of_turn_take_only_their_own(faults):
    first, second = faults.scope(), faults.scope()
    first.__enter__()
    faults.rule("streams.list", error="DIS.5001")
    second.__enter__()
    faults.rule("apps.list", error="DIS.5002")
    first.__exit__(None, None, None)
    assert met(faults, "streams.list") is None
    assert met(faults, "apps.list") == "error DIS.5002"
    second.__exit__(None, None, None)
    assert not faults.armed


def test_counts_are_kept_by_operation_and_outcome_until_cleared(faults):
    rule = faults.rule("records.*", error="DIS.5000")
    for name in (PUT, PUT, "records.get"):
        met(faults, name)
    faults.push(PUT, outcome=reset_before())
    met(faults)
    assert rule.count == 3
    assert faults.counts == {
        (PUT, "error DIS.5000"): 2,
        ("records.get", "error DIS.5000"): 1,
        (PUT, "reset_before"): 1,
    }
    assert faults.counts["apps.list", "hang"] == 0
    faults.counts.clear()  # a copy
    assert faults.counts
    faults.clear()
    assert not faults.counts
    assert not faults.armed
    assert rule.count == 3


def test_what_is_still_to_come_is_told(faults):
    faults.rule(PUT, error="DIS.5000")  # without a bound it is never due
    faults.assert_exhausted()
    faults.push(PUT, outcome=hang(), times=2, stream="a", partition=1)
    faults.rule("apps.*", outcome=gateway_page(), times=3)
    faults.partial(PUT, times=4)
    met(faults, "apps.list")
    with pytest.raises(AssertionError) as caught:
        faults.assert_exhausted()
    assert str(caught.value) == (
        "faults that are still to come: "
        "<records.put: hang, stream a, partition 1, came 0 of 2>, "
        "<apps.*: gateway_page 502, came 1 of 3>, "
        "<records.put: partial DIS.4303, came 0 of 4>"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.push("records.puts", error="DIS.5000"),
        lambda f: f.push("record.*", error="DIS.5000"),
        lambda f: f.push("rec*", error="DIS.5000"),
        lambda f: f.push("iam.users", error="DIS.5000"),
        lambda f: f.push(PUT),
        lambda f: f.push(PUT, error="DIS.5000", outcome=hang()),
        lambda f: f.push(PUT, error="DIS.5000", times=0),
        lambda f: f.rule(PUT, error="DIS.5000", rate=1.1),
        lambda f: f.rule(PUT, error="DIS.5000", rate=-0.1),
        lambda f: f.rule(PUT, error="DIS.5000", rate=float("nan")),
        lambda f: f.rule(PUT, error="DIS.5000", phase="between"),
        lambda f: f.push(PUT, outcome=reset_before(), phase="after"),
        lambda f: f.push(PUT, outcome=reset_after(1), phase="after"),
        lambda f: f.push(PUT, outcome=truncated(), phase="before"),
        lambda f: f.push(PUT, outcome=reset_before(), stream="s"),
        lambda f: f.rule(PUT, outcome=reset_after(1), partition=0),
        lambda f: f.partial("records.get"),
        lambda f: f.partial(PUT, times=0),
        lambda f: http_status(99),
        lambda f: gateway_page(500),
        lambda f: latency(-1),
        lambda f: latency(1, jitter_ms=-1),
        lambda f: bandwidth(0),
        lambda f: reset_after(-1),
        lambda f: truncated(-1),
    ],
)
def test_a_fault_that_could_never_come_is_refused_at_once(faults, make):
    with pytest.raises(ConfigError):
        make(faults)
    assert not faults.armed
    assert faults.partials == ()


# -- What they do on the wire -------------------------------------------------------------


class Raw(NamedTuple):
    status: int
    content_type: str
    body: bytes


async def raw(caller: Caller, name: str = "s") -> Raw:
    """Put one record, and give the answer as it is."""
    path = f"/v2/{caller.server.project_id}/records"
    body = {"stream_name": name, "records": [record(b"data", partition_id="0")]}
    async with caller.session.post(path, json=body) as response:
        return Raw(response.status, response.content_type, await response.read())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - the server is not to tell tests apart from users
        await asyncio.sleep(0)


async def stored(caller: Caller, partition: int = 0) -> int:
    with caller.server.faults.scope():
        found = await caller.read_all(partition_id=str(partition))
    return len(found)


@pytest.fixture
def clock():
    return AutoClock(START_MS)  # so that latency takes the test no time


@pytest.fixture
async def faulty(dis):
    """A caller with a stream of three partitions, and the server's faults."""
    await dis.create(partitions=3)
    return dis, dis.server.faults


async def test_an_error_has_the_services_form_and_nothing_is_carried_out(faulty):
    dis, faults = faulty
    faults.push(PUT, error="DIS.5000", times=2)
    for _ in range(2):
        assert await dis.refused("DIS.5000", "POST", "records", status=500, **_body())
    assert await stored(dis) == 0
    assert (await raw(dis)).status == 200
    assert await stored(dis) == 1
    faults.assert_exhausted()


def _body() -> dict[str, object]:
    return {"json": {"stream_name": "s", "records": [record(partition_id="0")]}}


async def test_an_error_may_have_a_code_message_and_status_that_the_server_does_not_know(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=error("DIS.4999", "not today", status=418))
    faults.push(PUT, error="DIS.5250")
    faults.push(PUT, error="DIS.4999")
    said = await dis.refused("DIS.4999", "POST", "records", status=418, **_body())
    assert said == "not today"
    await dis.refused("DIS.5250", "POST", "records", status=500, **_body())
    await dis.refused("DIS.4999", "POST", "records", **_body())


async def test_an_error_after_the_effect_hides_that_it_went_well(faulty):
    dis, faults = faulty
    faults.push(PUT, error="DIS.5000", phase="after")
    await dis.refused("DIS.5000", "POST", "records", status=500, **_body())
    assert await stored(dis) == 1


async def test_a_restart_breaks_all_connections_and_lets_nobody_in_for_a_while(faulty, clock):
    dis, faults = faulty
    host, port = dis.server.endpoint.removeprefix("http://").split(":")
    _, idle = await asyncio.open_connection(host, port)
    reader, writer = await asyncio.open_connection(host, port)
    faults.push("streams.list", outcome=restart(down_ms=150))
    with clock.busy():  # so that it is not over at once
        with pytest.raises(BROKEN):
            await dis.call("GET", "streams")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        with pytest.raises(aiohttp.ClientConnectionError):
            await dis.call("GET", "streams")
    while True:
        with suppress(aiohttp.ClientConnectionError):
            assert (await dis.call("GET", "streams"))["stream_names"] == ["s"]
            break
        await asyncio.sleep(0.01)
    for one in (idle, writer):
        one.close()


async def test_a_server_that_stops_while_it_is_down_stays_down(faulty):
    dis, faults = faulty
    faults.push("records.put", outcome=restart(down_ms=60_000), phase="after")
    with pytest.raises(BROKEN):
        await raw(dis)
    await dis.server.stop()
    assert faults.counts["records.put", "restart"] == 1
    await dis.server.start()


def test_only_reads_can_stand_still(faults):
    for operation in ("records.put", "records.*", "*"):
        with pytest.raises(ConfigError):
            faults.push(operation, outcome=frozen())


async def test_a_status_has_the_headers_and_the_body_that_were_given(faulty):
    dis, faults = faulty
    url = f"/v2/{dis.server.project_id}/streams"
    faults.push("streams.list", outcome=http_status(429, headers={"Retry-After": "1"}))
    faults.push("streams.list", outcome=http_status(503, body="busy"))
    faults.push("streams.list", outcome=http_status(200, body={"total_number": 7}))
    faults.push("streams.list", outcome=http_status(200, body=b"\xff"))
    typed = {"content-type": "application/xml"}
    faults.push("streams.list", outcome=http_status(500, headers=typed, body="<a/>"))
    found = []
    for _ in range(5):
        async with dis.session.get(url) as response:
            found.append((response.status, response.content_type, await response.read()))
            assert len(response.headers["X-Request-Id"]) == 32
            if response.status == 429:
                assert response.headers["Retry-After"] == "1"
                assert response.headers["Content-Length"] == "0"
    assert found[1:] == [
        (503, "text/plain", b"busy"),
        (200, "application/json", b'{"total_number":7}'),
        (200, "application/octet-stream", b"\xff"),
        (500, "application/xml", b"<a/>"),
    ]
    assert await dis.call("GET", "streams")


@pytest.mark.parametrize("status", [502, 504])
async def test_a_gateways_page_is_html(faulty, status):
    dis, faults = faulty
    faults.push(PUT, outcome=gateway_page(status))
    response = await raw(dis)
    assert (response.status, response.content_type) == (status, "text/html")
    assert b"Gateway" in response.body


@pytest.mark.parametrize("phase", ["before", "after"])
async def test_latency_holds_up_the_call_or_its_answer(faulty, clock, phase):
    dis, faults = faulty
    faults.push(PUT, outcome=latency(30), phase=phase)
    assert (await raw(dis)).status == 200
    assert clock.now_ms() == START_MS + 30
    assert await stored(dis) == 1


async def test_latency_is_by_a_clock_that_is_moved_by_hand():
    clock = ManualClock()
    async with calling(clock=clock, limits=False) as dis:
        await dis.create()
        dis.server.faults.push(PUT, outcome=latency(60_000))
        waiting = asyncio.create_task(raw(dis))
        await until(lambda: not dis.server.faults.armed)
        clock.advance(seconds=59)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        clock.advance(seconds=1)
        assert (await waiting).status == 200


async def test_bandwidth_slows_the_body_which_is_complete(faulty, clock):
    dis, faults = faulty
    whole = await dis.describe()
    size = int(dis.last.headers["Content-Length"])
    assert size > 400
    faults.push("streams.describe", outcome=bandwidth(20_000))
    assert await dis.describe() == whole
    assert clock.now() == pytest.approx(size / 20_000)


async def test_a_hang_lasts_until_the_client_goes_or_the_server_stops(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=hang(), times=2)
    impatient = asyncio.create_task(raw(dis))
    await until(lambda: faults.counts[PUT, "hang"] == 1)
    impatient.cancel()
    hanging = asyncio.create_task(raw(dis))
    await until(lambda: faults.counts[PUT, "hang"] == 2)
    began = time.monotonic()
    await dis.server.stop()
    assert time.monotonic() - began < 1
    with pytest.raises(BROKEN):
        await hanging


async def test_a_hang_ends_with_its_connection():
    class Gone:
        transport = None

    actor = FaultActor(ManualClock())
    answer = actor.answer(Gone(), Plan(ending=hang()), lambda: pytest.fail("carried out"))
    assert (await answer).status == 200


async def test_a_pause_ends_when_the_server_stops_and_the_call_is_answered():
    async with calling(clock=ManualClock(), limits=False) as dis:
        await dis.create()
        dis.server.faults.push(PUT, outcome=latency(60_000))
        waiting = asyncio.create_task(raw(dis))
        await until(lambda: not dis.server.faults.armed)
        began = time.monotonic()
        await dis.server.stop()
        assert time.monotonic() - began < 1
        assert (await waiting).status == 200


async def send_in_part(caller: Caller, sent: bytes, length: int):
    """Begin a put, and give the streams of its connection."""
    host, _, port = caller.server.endpoint.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v2/{caller.server.project_id}/records HTTP/1.1\r\nHost: {host}\r\n"
    writer.write(f"{head}Content-Length: {length}\r\n\r\n".encode() + sent)
    return reader, writer


async def test_a_reset_before_the_body_waits_for_none_of_it(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=reset_before())
    reader, writer = await send_in_part(dis, b"", 1000)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    faults.assert_exhausted()
    assert (await raw(dis)).status == 200


async def test_a_reset_after_some_bytes_waits_for_these(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=reset_after(100))
    reader, writer = await send_in_part(dis, b"x" * 99, 1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await reader.read()
    writer.write(b"x")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_reset_after_more_bytes_than_there_are_comes_at_the_end(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=reset_after(10_000_000))
    with pytest.raises(BROKEN):
        await raw(dis)
    assert await stored(dis) == 0


async def test_a_client_that_goes_while_the_bytes_are_counted_hurts_nobody(faulty, caplog):
    dis, faults = faulty
    faults.push(PUT, outcome=reset_after(100))
    _, writer = await send_in_part(dis, b"x", 1000)
    await until(lambda: not faults.armed)
    writer.close()
    await writer.wait_closed()
    assert (await raw(dis)).status == 200
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize(("phase", "kept"), [("before", 0), ("after", 1)])
async def test_a_reset_comes_in_place_of_the_answer(faulty, caplog, phase, kept):
    dis, faults = faulty
    faults.push(PUT, outcome=reset(), phase=phase, partition=0)
    with pytest.raises(BROKEN):
        await raw(dis)
    assert await stored(dis) == kept
    assert (await raw(dis)).status == 200
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("bytes_sent", [None, 0, 1])
async def test_a_truncated_answer_breaks_off_after_its_effect(faulty, bytes_sent):
    dis, faults = faulty
    faults.push(PUT, outcome=truncated(bytes_sent))
    url = f"/v2/{dis.server.project_id}/records"
    async with dis.session.post(url, **_body()) as response:
        assert response.status == 200
        whole = int(response.headers["Content-Length"])
        found = b""
        with suppress(aiohttp.ClientPayloadError):
            while piece := await response.content.readany():
                found += piece
            pytest.fail("the answer is whole")
    assert len(found) == (whole // 2 if bytes_sent is None else bytes_sent)
    assert await stored(dis) == 1
    assert (await raw(dis)).status == 200


async def test_an_answer_that_is_shorter_or_empty_is_not_truncated(faulty):
    dis, faults = faulty
    faults.push("*", outcome=truncated(1_000_000), times=2)
    assert await dis.describe()
    await dis.create("other")
    faults.assert_exhausted()


async def test_a_slow_answer_may_break_off_too(faulty):
    dis, faults = faulty
    faults.rule("streams.*", outcome=bandwidth(10_000))
    faults.rule("streams.*", outcome=truncated(100))
    with pytest.raises(aiohttp.ClientPayloadError):
        await dis.describe()


@pytest.mark.parametrize(("phase", "kept"), [("before", 0), ("after", 1)])
async def test_garbage_calls_itself_json(faulty, phase, kept):
    dis, faults = faulty
    faults.push(PUT, outcome=garbage_json(), phase=phase)
    response = await raw(dis)
    assert (response.status, response.content_type) == (200, "application/json")
    with pytest.raises(ValueError):
        json.loads(response.body)
    assert await stored(dis) == kept


async def test_cursors_and_tokens_expire_on_demand(faulty):
    dis, faults = faulty
    cursor = await dis.cursor()
    faults.push("records.get", outcome=expired_cursor(), stream="s", partition=0)
    faults.push("records.get", outcome=expired_token())
    asked = {"partition-cursor": cursor}
    await dis.refused("DIS.4225", "GET", "records", asked)
    await dis.refused("DIS.4114", "GET", "records", asked, status=441)
    assert await dis.get(cursor)


async def test_the_date_is_off_as_far_as_told(faulty):
    dis, faults = faulty
    faults.push("streams.list", outcome=skewed_date(-3600))
    await dis.call("GET", "streams")
    assert dis.last.headers["Date"] == "Tue, 14 Nov 2023 21:13:20 GMT"
    await dis.call("GET", "streams")
    assert dis.last.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"


async def test_a_refusal_is_an_answer_that_a_fault_may_spoil(faulty):
    dis, faults = faulty
    faults.push(PUT, outcome=latency(1))
    await dis.refused("DIS.4301", "POST", "records", json={"stream_name": "no", "records": []})
    faults.push(PUT, outcome=garbage_json(), phase="after")
    assert (await raw(dis, "no")).status == 200


# -- Who they are aimed at ----------------------------------------------------------------


async def test_a_put_is_aimed_at_if_any_record_goes_there(faulty):
    dis, faults = faulty
    rule = faults.rule(PUT, error="DIS.5000", partition=1)
    await dis.put([record(partition_id="0"), record(partition_id="shardId-0000000002")])
    await dis.put([record(explicit_hash_key="0")])
    assert rule.count == 0
    for records in (
        [record(partition_id="0"), record(partition_id="1")],
        [record(explicit_hash_key=str(2**62))],
    ):
        await dis.put(records, status=500)
    faults.clear()
    for n in range(20):
        records = [record(partition_key=f"key {n}")]
        where = (await dis.put(records))["records"][0]["partition_id"]
        with faults.scope():
            faults.rule(PUT, error="DIS.5000", partition=1)
            await dis.put(records, status=500 if where.endswith("1") else 200)


async def test_looking_where_a_put_goes_uses_up_no_turn(faulty):
    dis, faults = faulty
    faults.rule(PUT, error="DIS.5000", stream="other", partition=0)
    found = []
    for _ in range(4):
        reply = await dis.put([record(), record()])
        found += [r["partition_id"][-1] for r in reply["records"]]
    assert found == list("01201201")
    faults.rule(PUT, error="DIS.5000", partition=2)
    await dis.put([record(), record()], status=500)
    assert await dis.put([record(partition_id="0")])


async def test_reads_cursors_and_checkpoints_are_aimed_at_by_what_they_name(faulty):
    dis, faults = faulty
    await dis.create("t")
    await dis.call("POST", "apps", {"app_name": "a"}, status=201)
    rule = faults.rule("*", error="DIS.5000", stream="s", partition=1)
    zero = await dis.cursor(partition_id="0")
    other = await dis.cursor(stream_name="t")
    with faults.scope():
        faults.clear()
        one = await dis.cursor(partition_id="1")
    rule = faults.rule("*", error="DIS.5000", stream="s", partition=1)
    await dis.get(zero)
    await dis.get(other)
    assert rule.count == 0
    await dis.call("GET", "records", {"partition-cursor": one}, status=500)
    fields = {"app_name": "a", "stream_name": "s", "checkpoint_type": "LAST_READ"}
    commit = {**fields, "sequence_number": "0"}
    await dis.call("POST", "checkpoints", {**commit, "partition_id": "0"}, status=201)
    await dis.call("POST", "checkpoints", {**commit, "partition_id": "1"}, status=500)
    await dis.refused("DIS.4217", "GET", "records", {"partition-cursor": "none"})
    assert rule.count == 2


async def test_a_stream_is_known_by_its_id_too(faulty):
    dis, faults = faulty
    stream_id = (await dis.describe())["stream_id"]
    faults.push(PUT, error="DIS.5000", stream="s", times=2)
    body = {"stream_name": "", "stream_id": stream_id, "records": [record()]}
    await dis.call("POST", "records", body, status=500)
    await dis.call("POST", "records", {**body, "stream_name": stream_id}, status=500)


async def test_no_fault_lets_past_the_gate():
    async with calling(anonymous=False) as caller:
        faults = caller.server.faults
        fault = faults.push("streams.list", outcome=http_status(200, body={"streams": []}))
        tokens = faults.push("iam.tokens", outcome=http_status(201), phase="before")
        await caller.call("GET", "streams", status=441)
        async with caller.session.post("/v3/auth/tokens", json={"auth": {}}) as response:
            assert response.status == 400
        assert (fault.count, tokens.count) == (0, 0)
        faults.clear()
        faults.push("apps.create", outcome=reset_before())  # a connection has no gate
        with pytest.raises(BROKEN):
            await caller.call("POST", "apps", {"app_name": "a"})


async def test_a_request_that_cannot_be_read_meets_none(faulty):
    dis, faults = faulty
    fault = faults.push(PUT, outcome=http_status(200))
    await dis.refused("DIS.4300", "POST", "records", data=b"{")
    assert fault.count == 0


async def test_faults_outlast_a_restart():
    server = LocalDIS(anonymous=True)
    fault = server.faults.push("streams.list", error="DIS.5000", times=2)
    for _ in range(2):
        async with server, aiohttp.ClientSession(server.endpoint) as session:
            await Caller(server, session).call("GET", "streams", status=500)
    assert fault.left == 0


# -- Partial failures ---------------------------------------------------------------------


def _codes(reply) -> list[str | None]:
    return [r.get("error_code") for r in reply["records"]]


async def test_records_of_one_partition_fail_and_the_others_are_stored(faulty):
    dis, faults = faulty
    fault = faults.partial(PUT, partition=1)
    sent = [record(b"%d" % n, partition_id=str(n % 3)) for n in range(6)]
    reply = await dis.put(sent)
    assert _codes(reply) == [None, "DIS.4303", None] * 2
    assert reply["failed_record_count"] == 2
    assert reply["records"][1] == {
        "error_code": "DIS.4303",
        "error_message": "Exceeded traffic control limit.",
    }
    assert [r.get("sequence_number") for r in reply["records"]] == ["0", None, "0", "1", None, "1"]
    assert fault.count == 2
    assert faults.counts == {(PUT, "partial DIS.4303"): 2}
    assert [await stored(dis, n) for n in range(3)] == [2, 0, 2]


async def test_only_some_records_fail_up_to_a_number_of_them(faulty):
    dis, faults = faulty

    async def failing() -> list[int]:
        with faults.scope():
            faults.partial(PUT, code="DIS.5250", message="lost", rate=0.5, seed=4, times=6)
            reply = await dis.put([record(partition_id="0") for _ in range(40)])
        return [n for n, code in enumerate(_codes(reply)) if code == "DIS.5250"]

    found = await failing()
    assert len(found) == 6
    assert found != list(range(6))
    assert found == await failing()
    assert await stored(dis) == 2 * 34


async def test_partial_failures_are_aimed_by_stream_and_by_where_keys_go(faulty):
    dis, faults = faulty
    await dis.create("t")
    faults.partial(PUT, stream="t", times=1)
    assert _codes(await dis.put([record()])) == [None]
    assert _codes(await dis.put([record(), record()], "t")) == ["DIS.4303", None]
    faults.assert_exhausted()
    where = (await dis.put([record(partition_key="k")]))["records"][0]["partition_id"]
    faults.partial(PUT, partition=int(where[-1]), code="DIS.5000")
    assert _codes(await dis.put([record(partition_key="k")])) == ["DIS.5000"]


async def test_the_first_partial_failure_counts_where_several_hit(faulty):
    dis, faults = faulty
    first = faults.partial(PUT, code="DIS.5001", times=1)
    second = faults.partial(PUT, code="DIS.5002")
    reply = await dis.put([record(partition_id="0") for _ in range(3)])
    assert _codes(reply) == ["DIS.5001", "DIS.5002", "DIS.5002"]
    assert (first.count, second.count) == (1, 2)


async def test_failed_records_use_up_no_traffic():
    async with calling(clock=ManualClock()) as caller:  # with limits: 1000 records a second
        await caller.create()
        caller.server.faults.partial(PUT, code="DIS.5000", times=500)
        reply = await caller.put([record() for _ in range(1000)])
        assert reply["failed_record_count"] == 500
        reply = await caller.put([record() for _ in range(600)])
        assert _codes(reply).count("DIS.4303") == 100


async def test_the_same_calls_meet_the_same_faults():
    async def history() -> list[object]:
        async with calling(limits=False) as caller:
            await caller.create(partitions=3)
            faults = caller.server.faults
            faults.rule("records.*", error="DIS.5000", rate=0.2, seed=1)
            faults.rule(PUT, outcome=http_status(429), rate=0.2, seed=2, phase="after")
            faults.rule("*", outcome=reset(), rate=0.1, seed=3, stream="s")
            faults.partial(PUT, rate=0.3, seed=4, partition=2)
            found: list[object] = []
            for _ in range(60):
                path = f"/v2/{caller.server.project_id}/records"
                body = {"stream_name": "s", "records": [record() for _ in range(4)]}
                try:
                    async with caller.session.post(path, json=body) as response:
                        found.append((response.status, (await response.json()) or None))
                except BROKEN:
                    found.append("reset")
                except aiohttp.ContentTypeError:
                    found.append(response.status)
            return [*found, dict(faults.counts)]

    first = await history()
    assert first == await history()
    assert "reset" in first
    assert len(first[-1]) == 4


# -- What the client makes of them --------------------------------------------------------


@pytest.fixture
async def pair():
    """A client that tries quickly, with a stream, and the server's faults."""
    async with LocalDIS(limits=False) as server, client_of(server) as client:
        await client.streams.create(stream_name="s", partition_count=3)
        yield client, server.faults


def client_of(server: LocalDIS, **changes) -> DISClient:
    quick = {
        "endpoint": server.endpoint,
        "project_id": server.project_id,
        "credentials": server.credentials,
        "retry_backoff_ms": 1,
        "retry_backoff_max_ms": 2,
        "retry_budget": 1.0,
        "breaker_failures": 1000,
    }
    return DISClient(**quick | changes)


ONE = [Record(b"data", partition_id="0")]


@pytest.mark.parametrize(
    "outcome",
    [
        error("DIS.5000"),
        http_status(429),
        gateway_page(502),
        gateway_page(504),
        reset(),
        reset_before(),
        reset_after(20),
        truncated(),
    ],
    ids=lambda outcome: outcome.name,
)
async def test_the_client_gets_over_what_passes(pair, outcome):
    client, faults = pair
    faults.push(PUT, outcome=outcome, times=2)
    reply = await client.records.put(stream_name="s", records=ONE)
    assert reply.failed_record_count == 0
    faults.assert_exhausted()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (error("DIS.5000"), ServerError),
        (gateway_page(), ServerError),
        (http_status(429), ThrottledError),
        (reset(), TransportError),
        (hang(), TransportError),
        (expired_cursor(), CursorExpiredError),
        (garbage_json(), DecodeError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_each_outcome_that_stays_is_one_of_the_clients_errors(pair, outcome, expected):
    client, faults = pair
    faults.rule(PUT, outcome=outcome)
    timeout_ms = 50 if outcome == hang() else 30_000
    async with DISClient(client.settings, retries=0, request_timeout_ms=timeout_ms) as impatient:
        with pytest.raises(expected):
            await impatient.records.put(stream_name="s", records=ONE)


async def test_an_answer_lost_after_the_effect_leaves_a_duplicate_that_is_marked(pair):
    client, faults = pair
    faults.push(PUT, outcome=reset(), phase="after")
    reply = await client.records.put(stream_name="s", records=ONE)
    assert reply.records[0].sequence_number == "1"  # number 0 is the try whose answer was lost
    faults.push(PUT, outcome=reset(), phase="after")
    faults.push(PUT, error="DIS.4200")
    with pytest.raises(Exception, match=r"DIS\.4200") as caught:
        await client.records.put(stream_name="s", records=ONE)
    assert caught.value.ambiguous


async def test_a_token_that_is_refused_is_fetched_anew():
    async with LocalDIS(limits=False) as server:
        key = server.credentials
        password = Credentials.password(
            key.access_key,
            key.secret_key,
            domain_name="local",
            iam_endpoint=server.endpoint,
        )
        async with client_of(server, credentials=password) as client:
            tokens = server.faults.rule("iam.tokens", outcome=latency(1))
            await client.streams.list()
            server.faults.push("iam.tokens", outcome=http_status(503))
            server.faults.push("streams.list", outcome=expired_token())
            await client.streams.list()
            server.faults.assert_exhausted()
            assert tokens.count == 3


async def test_a_consumer_reads_on_through_expired_cursors_and_errors(pair):
    client, faults = pair
    sent = [b"%d" % n for n in range(60)]
    records = [Record(data, partition_id=str(n % 3)) for n, data in enumerate(sent)]
    await client.records.put(stream_name="s", records=records)
    faults.push("records.get", outcome=expired_cursor(), partition=0)
    faults.push("records.get", outcome=truncated(), partition=1)
    faults.push("records.get", outcome=garbage_json(), partition=2)
    faults.rule("records.get", error="DIS.5000", rate=0.3, seed=5)
    options = {"poll_min_ms": 1, "retry_backoff_ms": 1, "retry_backoff_max_ms": 2}
    found = []
    async with (
        asyncio.timeout(20),
        client.consumer("s", app="a", offset_reset="earliest", **options) as c,
    ):
        async for got in c:
            found.append(got.data)
            if len(found) == len(sent):
                break
    assert sorted(found) == sorted(sent)
    faults.assert_exhausted()


async def test_a_producer_keeps_its_promises_while_everything_fails_now_and_then():
    async with LocalDIS(limits=False) as server, client_of(server) as client:
        await client.streams.create(stream_name="s", partition_count=3)
        faults = server.faults
        faults.rule(PUT, error="DIS.5000", rate=0.1, seed=1)
        faults.rule(PUT, outcome=reset(), rate=0.1, seed=2, phase="after")
        faults.rule(PUT, outcome=reset_before(), rate=0.1, seed=3)
        faults.rule(PUT, outcome=reset_after(200), rate=0.1, seed=4)
        faults.rule(PUT, outcome=http_status(429), rate=0.1, seed=5)
        faults.rule(PUT, outcome=gateway_page(), rate=0.1, seed=6, phase="after")
        faults.rule(PUT, outcome=latency(2, jitter_ms=2), rate=0.5, seed=7)
        faults.rule(PUT, outcome=truncated(), rate=0.1, seed=8)
        faults.rule(PUT, outcome=bandwidth(1_000_000), rate=0.5, seed=9)
        faults.partial(PUT, rate=0.02, seed=10)
        faults.partial(PUT, code="DIS.5000", rate=0.02, seed=11, partition=1)
        sent = [b"%d" % n for n in range(2000)]
        options = {"linger_ms": 0, "batch_max_records": 20, "rate_limit": "off"}
        options |= {"retry_backoff_ms": 1, "retry_backoff_max_ms": 2}
        async with asyncio.timeout(60), client.producer("s", **options) as producer:
            receipts = [
                await producer.send(data, partition_key=str(n % 50)) for n, data in enumerate(sent)
            ]
            places = [await receipt for receipt in receipts]
        assert len({name for _, name in faults.counts}) == 11
        faults.clear()
        kept = {}
        for number in range(3):
            for sequence, data in enumerate(await _all_of(client, number)):
                kept[f"shardId-{number:010d}", sequence] = data
    for data, place in zip(sent, places, strict=True):
        assert kept[place.partition_id, int(place.sequence_number)] == data
    assert set(kept.values()) == set(sent)


async def _all_of(client: DISClient, partition: int) -> list[bytes]:
    cursor = (
        await client.records.get_cursor(
            stream_name="s", partition_id=str(partition), cursor_type="TRIM_HORIZON"
        )
    ).partition_cursor
    found: list[bytes] = []
    while True:
        page = await client.records.get(partition_cursor=cursor)
        if not page.records:
            return found
        found += [r.data if isinstance(r.data, bytes) else b64decode(r.data) for r in page.records]
        cursor = page.next_partition_cursor
