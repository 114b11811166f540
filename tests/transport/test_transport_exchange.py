import asyncio
import gc
import logging

import pytest
from scripted import (
    EPOCH,
    KEY,
    ScriptedSession,
    Slow,
    answer,
    client,
    refusal,
)

from aiodis.api import Checkpoints, Records, Streams
from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey
from aiodis.errors import (
    AuthError,
    ClosedError,
    ConnectError,
    DecodeError,
    NotFoundError,
    RequestTimeoutError,
)
from aiodis.transport.exchange import Exchange
from aiodis.wire.signing import Scheme, Unsigned, payload_hash, verify

pytestmark = pytest.mark.looptime

OK = answer(body=b'{"failed_record_count":0,"records":[]}')


def put(exchange, **more):
    return exchange.send(Records.put, body=b'{"records":[]}', **more)


async def test_a_raw_body_goes_out_as_it_is_and_the_raw_answer_comes_back():
    exchange, session = client(OK)
    done = await put(exchange, content_type="application/x-protobuf")
    (sent,) = session.requests
    assert (sent.method, sent.url) == ("POST", "https://dis.example.com/v2/the-project/records")
    assert sent.body == b'{"records":[]}'
    assert sent.headers["Content-Type"] == "application/x-protobuf"
    assert sent.headers["Accept"] == "*/*"
    assert sent.headers["X-Project-Id"] == "the-project"
    assert sent.headers["Host"] == "dis.example.com"
    assert sent.headers["User-Agent"].startswith("aiodis/")
    assert sent.timeout_s == 30.0
    assert (done.answer, done.attempts, done.ambiguous) == (OK, 1, False)


async def test_a_row_is_encoded_and_its_reply_decoded():
    exchange, session = client(answer(body=b'{"partition_cursor":"abc"}'))
    request = Records.get_cursor.build(stream_name="s", partition_id="0")
    reply = await exchange.call(Records.get_cursor, request)
    assert reply.partition_cursor == "abc"
    (sent,) = session.requests
    assert sent.body is None
    assert sent.url == (
        "https://dis.example.com/v2/the-project/cursors?stream-name=s&partition-id=0"
    )


async def test_an_answer_that_cannot_be_read_is_a_decode_error():
    exchange, _ = client(answer(body=b"<html>"))
    with pytest.raises(DecodeError, match=r"records\.get_cursor"):
        await exchange.call(
            Records.get_cursor, Records.get_cursor.build(stream_name="s", partition_id="0")
        )


@pytest.mark.parametrize("scheme", list(Scheme))
@pytest.mark.parametrize("endpoint", ["https://dis.example.com", "http://127.0.0.1:8080/under"])
async def test_what_is_signed_is_what_is_sent(scheme, endpoint):
    exchange, session = client(OK, endpoint=endpoint, region="r1", signing=scheme.value)
    await put(exchange)
    await exchange.send(Records.get, query="partition-cursor=a%2Bb%3D")
    more = {"Content-Encoding": "lz4", "x-dis-lz4-content-length": "14"}
    await put(exchange, content_type="application/x-protobuf", headers=more)
    for sent in session.requests:
        path, _, query = sent.url.removeprefix(endpoint.removesuffix("/under")).partition("?")
        seen = Unsigned(sent.method, path, query, sent.headers, payload_hash(sent.body or b""))
        found = verify(
            seen,
            sent.headers["Authorization"],
            find_key=lambda _: KEY,
            region="r1",
            now=EPOCH,
        )
        assert found.scheme is scheme
        assert "x-project-id" in sent.headers["Authorization"]
    last = session.requests[-1].headers
    assert more.items() <= last.items()
    for name in ("accept", "content-encoding", "content-type", "x-dis-lz4-content-length"):
        assert name in last["Authorization"]


async def test_json_is_asked_for_unless_another_form_is_sent():
    exchange, session = client(OK)
    await put(exchange)
    assert session.requests[0].headers["Content-Type"] == "application/json"
    assert session.requests[0].headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://dis.example.com:443", "dis.example.com"),
        ("https://DIS.example.com:8443", "dis.example.com:8443"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://[::1]:81", "[::1]:81"),
    ],
)
async def test_the_host_header_bears_the_port_only_where_it_is_not_the_default(endpoint, host):
    exchange, session = client(OK, endpoint=endpoint)
    await put(exchange)
    assert session.requests[0].headers["Host"] == host


# Opening, closing, cancelling


async def test_it_opens_and_closes_as_often_as_asked():
    exchange, session = client(OK)
    await exchange.open()
    await exchange.open()
    await put(exchange)
    await exchange.close()
    await exchange.close()
    assert session.closed >= 1


async def test_after_close_nothing_works_and_nothing_is_sent():
    exchange, session = client(OK)
    await exchange.close()
    with pytest.raises(ClosedError):
        await put(exchange)
    with pytest.raises(ClosedError):
        await exchange.call(Streams.list, Streams.list.build())
    with pytest.raises(ClosedError):
        await exchange.open()
    with pytest.raises(ClosedError):
        await exchange.sleep(1)
    assert session.requests == []


async def test_close_ends_what_waits_at_once(looptime):
    exchange, _ = client(ConnectError("x"), retry_backoff_ms=5000, breaker_failures=2)
    waiting = [asyncio.create_task(put(exchange)) for _ in range(5)]
    waiting.append(asyncio.create_task(exchange.sleep(100)))
    await asyncio.sleep(1)
    await exchange.close()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in ended} == {ClosedError}
    assert looptime == 1.0


@pytest.mark.parametrize(
    "steps",
    [(Slow(50, OK),), (ConnectError("x"),), (refusal(429, Retry_After="50"),)],
    ids=["in the request", "behind the breaker", "in the pause"],
)
async def test_a_cancelled_call_leaves_nothing_behind(steps):
    exchange, session = client(*steps, breaker_failures=1)
    task = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert session.under_way == 0
    await exchange.close()


async def test_sleep_sleeps(looptime):
    exchange, _ = client(OK)
    await exchange.sleep(3)
    assert looptime == pytest.approx(3.0)


async def test_calls_leave_no_objects_behind():
    exchange, _ = client(ConnectError("x"), OK)
    for _ in range(3):
        await put(exchange)
    gc.collect()
    before = len(gc.get_objects())
    exchange._session.requests.clear()
    for _ in range(200):
        await put(exchange)
        exchange._session.requests.clear()
    gc.collect()
    assert len(gc.get_objects()) - before < 50


# The project


def projects(*names):
    listed = ",".join(f'{{"id":"id-{n}-{i}","name":"{n}"}}' for i, n in enumerate(names))
    return answer(body=f'{{"projects":[{listed}]}}'.encode())


async def test_projects_are_listed_as_iam_has_them():
    exchange, session = client(projects("r", "s"), projects("a&b"))
    assert [project.name for project in await exchange.projects()] == ["r", "s"]
    assert [project.name for project in await exchange.projects("a&b")] == ["a&b"]
    all_of_them, named = session.requests
    assert all_of_them.url.endswith("/v3/projects")
    assert named.url.endswith("/v3/projects?name=a%26b")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"projects":[{}]}', b"<html>"])
async def test_what_is_no_list_of_projects_is_said_to_be_none(body):
    exchange, _ = client(answer(body=body))
    with pytest.raises(DecodeError, match=r"iam\.projects"):
        await exchange.projects()


async def test_the_project_is_looked_up_once_for_all_who_wait():
    exchange, session = client(
        Slow(1, projects("cn-north-1", "cn-north-4")), OK, project_id=None, region="cn-north-4"
    )
    await asyncio.gather(*(put(exchange) for _ in range(5)))
    look_up, *puts = session.requests
    assert look_up.url == "https://iam.cn-north-4.myhuaweicloud.com/v3/projects?name=cn-north-4"
    assert look_up.headers["Host"] == "iam.cn-north-4.myhuaweicloud.com"
    assert look_up.headers["Authorization"].startswith("SDK-HMAC-SHA256 Access=")
    assert len(puts) == 5
    assert all("/v2/id-cn-north-4-1/records" in sent.url for sent in puts)
    assert await exchange.project_id() == "id-cn-north-4-1"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_given_project_is_not_looked_up():
    exchange, session = client(OK)
    assert await exchange.project_id() == "the-project"
    assert session.requests == []


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (projects("cn-north-1"), "no project of the name 'cn-north-4'"),
        (projects("cn-north-4", "cn-north-4"), "2 projects of the name 'cn-north-4'"),
        (answer(body=b"[]"), "could not be read"),
        (answer(body=b"<html>"), "could not be read"),
    ],
)
async def test_a_project_that_is_not_plain_is_a_matter_of_settings(listed, words):
    exchange, _ = client(listed, project_id=None, region="cn-north-4")
    with pytest.raises(ValueError, match=words):
        await put(exchange)


async def test_a_look_up_that_failed_is_made_again_and_each_waiter_has_its_own_error():
    exchange, _ = client(Slow(1, refusal(404)), projects("r"), project_id=None, region="r")
    errors = await asyncio.gather(*(put(exchange) for _ in range(3)), return_exceptions=True)
    assert {type(error) for error in errors} == {NotFoundError}
    assert len({id(error) for error in errors}) == 3
    assert errors[0].code == "X.404"
    assert errors[0].operation == "iam.projects"
    assert await exchange.project_id() == "id-r-0"


async def test_a_cancelled_waiter_does_not_stop_the_look_up_of_the_others():
    exchange, session = client(Slow(5, projects("r")), project_id=None, region="r")
    first = asyncio.create_task(exchange.project_id())
    second = asyncio.create_task(exchange.project_id())
    await asyncio.sleep(1)
    first.cancel()
    assert await second == "id-r-0"
    assert first.cancelled()
    assert len(session.requests) == 1


async def test_the_last_waiter_that_is_cancelled_stops_the_look_up():
    exchange, session = client(Slow(5, projects("r")), project_id=None, region="r")
    only = asyncio.create_task(exchange.project_id())
    await asyncio.sleep(1)
    only.cancel()
    await asyncio.wait((only,))
    await asyncio.sleep(0)
    assert session.under_way == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await exchange.project_id() == "id-r-0"


async def test_close_ends_a_look_up(looptime):
    exchange, session = client(Slow(50, projects("r")), project_id=None, region="r")
    waiting = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    await exchange.close()
    with pytest.raises(ClosedError):
        await waiting
    assert session.under_way == 0
    assert looptime == 1.0


# Secrets


async def test_no_secret_shows_anywhere(caplog):
    caplog.set_level(logging.DEBUG)
    key = AccessKey("AK", "SECRET-sk", "SECRET-security-token")
    exchange, session = client(
        refusal(503), RequestTimeoutError("host: slow"), refusal(441, "DIS.4100"), credentials=key
    )
    with pytest.raises(AuthError) as caught:
        await exchange.send(
            Records.put, body=b"SECRET-payload", query="partition-cursor=SECRET-cursor"
        )
    signature = session.requests[0].headers["Authorization"].rpartition("=")[2]
    shown = "\n".join(
        [
            repr(exchange),
            str(exchange),
            repr(exchange._settings),
            repr(exchange._identity),
            repr(exchange._dis),
            repr(exchange._dis.gate),
            repr(caught.value),
            str(caught.value),
            repr(vars(caught.value)),
            *(record.getMessage() for record in caplog.records),
        ]
    )
    assert "SECRET" not in shown
    assert signature not in shown
    assert caplog.records


def test_a_client_is_made_outside_of_any_loop():
    settings = ClientSettings(region="cn-north-4")
    exchange = Exchange(settings, KEY, session=ScriptedSession(OK))
    assert "dis.cn-north-4" in repr(exchange)


async def test_a_row_of_another_chapter_goes_the_same_way():
    exchange, session = client(answer(201, b""))
    request = Checkpoints.commit.build(
        app_name="app", stream_name="s", partition_id="0", sequence_number="5"
    )
    await exchange.call(Checkpoints.commit, request)
    assert session.requests[0].url.endswith("/checkpoints")
