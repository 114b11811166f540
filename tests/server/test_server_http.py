"""The front: routes, forms that are put up with, forms that are refused."""

import asyncio
import logging
from io import BytesIO
from pathlib import Path

import pytest
from server_caller import calling, record

from aiodis.api import OPERATIONS
from aiodis.server import guesses
from aiodis.server.engine import Engine
from aiodis.server.projects import Projects
from aiodis.server.refusal import CODES, Refusal


def test_every_row_of_the_table_has_a_handler():
    engine = Engine.open(None)
    assert [row.name for row in OPERATIONS if not engine.handles(row)] == []
    engine.close()


def test_the_table_of_codes_has_the_documented_ones_and_those_of_authentication_and_groups():
    told = {code for code, row in CODES.items() if row.status in {400, 403, 500}}
    of_groups = {"DIS.4701", "DIS.4702", "DIS.4703"}
    assert of_groups < told
    assert len(told - of_groups) == 45
    assert [code for code, row in CODES.items() if row.status == 403] == ["DIS.4116"]
    assert [code for code, row in CODES.items() if row.status == 500] == ["DIS.5000"]
    assert {code for code, row in CODES.items() if row.status == 441} == {
        f"DIS.{number}" for number in range(4100, 4115)
    }


def test_each_guess_is_named_by_the_code_that_follows_it():
    sources = [p.read_text() for p in Path(guesses.__file__).parent.rglob("*.py")]
    names = [name for name in vars(guesses) if not name.startswith("_")]
    for name in set(names) - {"Final", "MIB"}:
        assert any(f"guesses.{name}" in text for text in sources), name


def test_details_of_a_refusal_stand_in_brackets():
    refusal = Refusal("DIS.4224", 5280, " should be within ", 0, " ", 617)
    assert refusal.message == (
        "Sequence_number out of range. [5280][ should be within ][0][ ][617]"
    )
    assert Refusal("DIS.4307").message == "The stream already exists."


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
@pytest.mark.parametrize("end", ["", "/", "?", "?&", "/?a=&b&c=1&"])
async def test_each_route_is_there_with_and_without_its_last_slash(dis, row, end):
    for path in (row.path, *row.also_at):
        url = path.format_map(dict.fromkeys(row.path_names, "none")) + end
        async with dis.session.request(row.method, url) as response:
            assert response.status in {200, 400}
            assert response.content_type == "application/json"


async def test_an_unknown_route_is_404_with_the_four_keys(dis):
    for path in ("/", "/v2", "streams/a/b/c", "/v9/p/streams", "/v2//streams"):
        await dis.refused("APIGW.0101", "GET", path, status=404)


async def test_a_wrong_method_is_405_and_tells_the_right_ones(dis):
    await dis.refused("APIGW.0101", "PATCH", "streams", status=405)
    assert dis.last.headers["Allow"] == "GET,POST"


async def test_empty_answers_have_no_body_at_all(dis):
    await dis.create()
    assert dis.last.headers["Content-Length"] == "0"
    assert "Content-Type" not in dis.last.headers
    assert "Transfer-Encoding" not in dis.last.headers
    await dis.call("DELETE", "streams/s", status=204)
    # RFC 9110 forbids the length in a 204; there is no body, nor chunks of one.
    assert "Transfer-Encoding" not in dis.last.headers


async def test_the_date_follows_the_servers_clock(dis, clock):
    await dis.call("GET", "streams")
    assert dis.last.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    clock.advance(minutes=1)
    await dis.call("GET", "streams")
    assert dis.last.headers["Date"] == "Tue, 14 Nov 2023 22:14:20 GMT"


async def test_each_answer_has_its_own_request_id(dis):
    ids = set()
    for _ in range(3):
        await dis.call("GET", "streams")
        ids.add(dis.last.headers["X-Request-Id"])
    assert len(ids) == 3


async def test_bodies_of_get_and_delete_are_passed_over(dis):
    await dis.create()
    assert (await dis.call("GET", "streams", data=b"{nonsense"))["total_number"] == 1
    await dis.call("DELETE", "streams/s", status=204, data=b'{"stream_name":"other"}')


async def test_unknown_and_empty_parameters_are_passed_over(dis):
    await dis.create(partitions=2, unknown={"a": 1})
    found = await dis.call("GET", "streams/s/?stream_name=s&start_partitionId=&limit_partitions=1&")
    assert found["partitions"][0]["partition_id"] == "shardId-0000000000"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "DIS.4202"),
        (b"{", "DIS.4300"),
        (b"\xff\xfe", "DIS.4300"),
        (b'{"stream_name":"\xff"}', "DIS.4300"),
        (b'{"stream_name":"\\ud800"}', "DIS.4300"),
        (b"[" * 100_000, "DIS.4300"),
        (b"[1]", "DIS.4200"),
        (b'"text"', "DIS.4200"),
        (b"null", "DIS.4200"),
        (b"{}", "DIS.4200"),
        (b'{"stream_name":1,"partition_count":1}', "DIS.4200"),
        (b'{"stream_name":"s","partition_count":0}', "DIS.4200"),
        (b'{"stream_name":"s","partition_count":99999999999999999999999999999999}', "DIS.4200"),
        (b'{"stream_name":"s","partition_count":1e300}', "DIS.4200"),
        (b'{"stream_name":"s s","partition_count":1}', "DIS.4200"),
        (b'{"stream_name":"s","partition_count":1,"data_duration":1}', "DIS.4200"),
    ],
)
async def test_a_body_that_is_none_gets_the_codes_of_the_service(dis, body, code):
    await dis.refused(code, "POST", "streams", data=body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "DIS.4202"),
        (b"{", "DIS.4300"),
        (b"\xff", "DIS.4300"),
        (b"[]", "DIS.4200"),
        (b'{"stream_name":"\xff","records":[]}', "DIS.4300"),
        (b'{"stream_name":"s","records":[{"data":"!"}]}', "DIS.4200"),
        (b'{"stream_name":"s","records":[{"partition_key":"a"}]}', "DIS.4200"),
        (b'{"stream_name":"s","records":[{"data":"YQ==","partition_id":0}]}', "DIS.4200"),
        (b'{"stream_name":"s","records":[{"data":"YQ==","explicit_hash_key":7}]}', "DIS.4200"),
        (b'{"stream_name":"s","records":[{"data":"YQ==","timestamp":%d}]}' % 10**40, "DIS.4200"),
        (b'{"stream_name":"s","records":[{"data":"YQ==","timestamp":-1}]}', "DIS.4200"),
        (b'{"stream_name":"s","records":[],"x":' + b"[" * 100_000, "DIS.4300"),
    ],
)
async def test_a_body_of_records_that_is_none_gets_them_too(dis, body, code):
    await dis.create()
    await dis.refused(code, "POST", "records", data=body)


async def test_what_is_wrong_is_told_by_field_and_rule_without_the_value(dis):
    body = {"stream_name": "s", "partition_count": "secret value"}
    message = await dis.refused("DIS.4200", "POST", "streams", body)
    assert "partition_count: " in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("partition-id", "x", "DIS.4201"),
        ("cursor-type", "x", "DIS.4215"),
        ("starting-sequence-number", "x", "DIS.4216"),
        ("starting-sequence-number", "9" * 30, "DIS.4216"),
        ("timestamp", "x", "DIS.4200"),
        ("stream-name", "a/b", "DIS.4200"),
    ],
)
async def test_a_bad_parameter_has_its_own_code(dis, field, value, code):
    await dis.create()
    fields = {"stream-name": "s", "partition-id": "0", field: value}
    await dis.refused(code, "GET", "cursors", fields)


async def test_a_missing_parameter_is_an_invalid_request(dis):
    assert "partition-id: Field required" in await dis.refused(
        "DIS.4200", "GET", "cursors", {"stream-name": "s"}
    )


async def test_a_body_over_16_mib_is_413(dis):
    await dis.refused(
        "DIS.4200", "POST", "records", data=BytesIO(bytes(16 * 1024**2 + 1)), status=413
    )
    assert (await dis.call("GET", "streams"))["total_number"] == 0


async def test_a_stream_is_found_by_its_id_wherever_it_stands(dis):
    await dis.create("a")
    await dis.create("s")
    stream_id = (await dis.describe("s"))["stream_id"]
    assert (await dis.describe(stream_id))["stream_name"] == "s"
    assert (await dis.describe("gone", stream_id=stream_id))["stream_name"] == "s"
    assert (await dis.describe("a", stream_id=stream_id))["stream_name"] == "a"
    await dis.call("POST", "records", {"stream_id": stream_id, "records": [record()]})
    await dis.call("GET", "cursors", {"stream-id": stream_id, "partition-id": "0"})
    await dis.call(
        "GET", "cursors", {"stream-name": "x", "stream_id": stream_id, "partition-id": "0"}
    )
    await dis.call("POST", "apps", {"app_name": "app"}, status=201)
    asked = {"app_name": "app", "stream_id": stream_id, "partition_id": "0"}
    await dis.call("POST", "checkpoints", {**asked, "sequence_number": "1"}, status=201)
    assert (await dis.call("GET", "checkpoints", asked))["sequence_number"] == "1"
    await dis.refused("DIS.4301", "GET", "checkpoints", {**asked, "stream_id": "nobody"})
    await dis.call("DELETE", f"streams/{stream_id}", status=204)
    await dis.refused("DIS.4301", "GET", "streams/s")


async def test_a_failure_of_the_server_is_500_and_tells_the_log_only(dis, caplog):
    def fail(*_):
        raise RuntimeError("secret inside")

    dis_engine = _engine_of(dis)
    dis_engine._handlers["streams.list"] = fail
    with caplog.at_level(logging.ERROR, logger="aiodis.server.app"):
        found = await dis.call("GET", "streams", status=500, code="DIS.5000")
    assert found["message"] == "System error."
    assert "secret inside" in caplog.text
    assert dis.last.headers["X-Request-Id"] in caplog.text


def _engine_of(dis):
    (callback,) = [
        callback
        for _, callback in dis.server._running._exit_callbacks
        if isinstance(_owner(callback), Projects)
    ]
    return _owner(callback).home(dis.server.project_id)


def _owner(callback):
    return getattr(getattr(callback, "__wrapped__", None), "__self__", None)


async def test_a_client_that_hangs_up_inside_its_body_harms_nobody(dis, caplog):
    host, port = dis.server._address
    _, writer = await asyncio.open_connection(host, port)
    head = "POST /v2/p/streams HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    writer.write(head.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await dis.call("GET", "streams"))["total_number"] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_broken_chunks_are_a_bad_request(dis, caplog):
    host, port = dis.server._address
    reader, writer = await asyncio.open_connection(host, port)
    head = "POST /v2/p/streams HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    writer.write(b"zz\r\n")
    await writer.drain()
    assert b" 400 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert not [r for r in caplog.records if r.name.startswith("aiodis")]


async def test_a_manual_clock_gives_creation_times():
    async with calling() as caller:
        await caller.create()
        assert (await caller.describe())["create_time"] > 1_700_000_000_000
