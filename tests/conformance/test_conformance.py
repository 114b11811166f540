"""What the service does, as far as we know or guess it: one check a rule, with its source."""

import time
from uuid import uuid4

import aiohttp
import pytest

from aiodis import Record
from aiodis.api.records import MAX_RECORD_BYTES
from aiodis.errors import ServiceError
from aiodis.wire.cursor import CursorContent, encode_cursor
from aiodis.wire.routing import hash_key

conformance = pytest.mark.conformance


def documented(source):
    return conformance("documented", source)


def seen(source):
    return conformance("seen in the SDK", source)


def guessed(source):
    return conformance("guessed", source)


async def code_of(call):
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value.code


async def put(client, stream, *records):
    reply = await client.records.put(stream_name=stream, records=list(records))
    assert reply.failed_record_count == 0, reply
    return reply.records


async def cursor(client, stream, kind, partition="0", **fields):
    found = await client.records.get_cursor(
        stream_name=stream, partition_id=partition, cursor_type=kind, **fields
    )
    return found.partition_cursor


async def read(client, at):
    return (await client.records.get(partition_cursor=at)).records


# -- Streams ------------------------------------------------------------------------------


@documented("reference 5.1")
async def test_a_stream_is_made_described_listed_and_deleted(client):
    name = f"aiodis-{uuid4().hex}"
    await client.streams.create(stream_name=name, partition_count=1)
    try:
        await client.streams.wait_until_running(stream_name=name)
        found = await client.streams.describe(stream_name=name)
        assert (found.stream_name, found.status, len(found.partitions)) == (name, "RUNNING", 1)
        assert name in [each.stream_name async for each in client.streams.list_all()]
        assert await code_of(client.streams.create(stream_name=name, partition_count=1)) == (
            "DIS.4307"
        )
    finally:
        await client.streams.delete(stream_name=name)
    assert await code_of(client.streams.describe(stream_name=name)) == "DIS.4301"


@documented("reference 7.1, DIS.4301")
async def test_a_stream_that_is_not_there_cannot_be_put_to(client):
    call = client.records.put(stream_name=f"aiodis-{uuid4().hex}", records=[Record(b"x")])
    assert await code_of(call) == "DIS.4301"


@seen("ids in the vendor's samples")
async def test_a_stream_has_an_id_of_20_letters_and_digits(client, stream):
    found = await client.streams.describe(stream_name=stream)
    assert len(found.stream_id) == 20
    assert found.stream_id.isalnum()


@documented("reference 5.1.5")
async def test_a_stream_is_scaled(client, stream, pytestconfig):
    if pytestconfig.getoption("--dis-endpoint") and not pytestconfig.getoption(
        "--dis-scaling", default=False
    ):
        pytest.skip("slow on the service: --dis-scaling")
    name = f"aiodis-{uuid4().hex}"
    await client.streams.create(stream_name=name, partition_count=1)
    try:
        await client.streams.wait_until_running(stream_name=name)
        await client.streams.scale(stream_name=name, target_partition_count=2)
        await client.streams.wait_until_running(stream_name=name, partition_count=2)
        found = await client.streams.describe(stream_name=name)
        assert [each.status for each in found.partitions] == ["ACTIVE", "ACTIVE"]
    finally:
        await client.streams.delete(stream_name=name)


# -- Records ------------------------------------------------------------------------------


@documented("reference 5.4.1, 5.4.2")
async def test_what_was_put_can_be_got_in_order(client, stream):
    results = await put(client, stream, *(Record(b"%d" % n, partition_id="0") for n in range(3)))
    first = int(results[0].sequence_number)
    assert [int(each.sequence_number) for each in results] == [first, first + 1, first + 2]
    at = await cursor(client, stream, "AT_SEQUENCE_NUMBER", starting_sequence_number=str(first))
    assert [record.data for record in await read(client, at)][:3] == [b"0", b"1", b"2"]


@seen("routing of the vendor's clients")
async def test_a_key_goes_where_its_hash_says(client, stream):
    keys = [f"key-{n}" for n in range(16)]
    results = await put(client, stream, *(Record(b"x", partition_key=key) for key in keys))
    found = await client.streams.describe(stream_name=stream)
    expected = []
    for key in keys:
        for each in found.partitions:
            low, high = (int(text) for text in each.hash_range.strip("[]").split(":"))
            if low <= hash_key(key) <= high:
                expected.append(each.partition_id)
    assert [each.partition_id for each in results] == expected


@documented("reference 5.4.1, explicit_hash_key")
async def test_an_explicit_hash_beats_the_key(client, stream):
    records = [Record(b"x", partition_key="k", explicit_hash_key=n) for n in (0, 2**63 - 1)]
    assert [each.partition_id[-1] for each in await put(client, stream, *records)] == ["0", "1"]


@documented("reference 7.1, DIS.4302")
async def test_a_record_for_no_partition_fails_alone(client, stream):
    records = [Record(b"bad", partition_id="99"), Record(b"good", partition_id="0")]
    reply = await client.records.put(stream_name=stream, records=records)
    assert reply.failed_record_count == 1
    assert [each.error_code for each in reply.records] == ["DIS.4302", None]


@documented("reference 5.4.1: 1 MB a record")
async def test_the_largest_record_is_taken(client, stream):
    await put(client, stream, Record(bytes(MAX_RECORD_BYTES), partition_id="1"))


# -- Cursors ------------------------------------------------------------------------------


@documented("reference 5.4.3")
async def test_a_cursor_begins_where_its_type_says(client, stream):
    begun_ms = int(time.time() * 1000)
    results = await put(client, stream, *(Record(b"%d" % n, partition_id="0") for n in range(2)))
    first = int(results[0].sequence_number)

    async def begins(kind, **fields):
        found = await read(client, await cursor(client, stream, kind, **fields))
        return int(found[0].sequence_number) if found else None

    assert await begins("AT_SEQUENCE_NUMBER", starting_sequence_number=str(first)) == first
    assert await begins("AFTER_SEQUENCE_NUMBER", starting_sequence_number=str(first)) == first + 1
    assert await begins("LATEST") is None
    assert await begins("TRIM_HORIZON") <= first
    assert await begins("AT_TIMESTAMP", timestamp=begun_ms) <= first


@documented("reference 7.1, DIS.4224")
async def test_a_cursor_beyond_the_range_is_refused(client, stream):
    call = cursor(client, stream, "AT_SEQUENCE_NUMBER", starting_sequence_number=str(2**62))
    assert await code_of(call) == "DIS.4224"


@documented("reference 7.1, DIS.4217")
async def test_a_cursor_that_is_none_is_refused(client):
    assert await code_of(client.records.get(partition_cursor="no-cursor")) == "DIS.4217"


@seen("form of cursors, decoded by the Kafka adapter")
async def test_a_cursor_of_six_minutes_ago_has_expired(client, stream):
    old_ms = int(time.time() * 1000) - 360_000
    content = CursorContent(stream, "0", "AT_SEQUENCE_NUMBER", 0, old_ms)
    call = client.records.get(partition_cursor=encode_cursor(content))
    assert await code_of(call) == "DIS.4225"


# -- Apps and checkpoints -----------------------------------------------------------------


@documented("reference 5.2")
async def test_an_app_is_made_described_and_deleted(client, app):
    assert (await client.apps.describe(app_name=app)).app_name == app
    assert await code_of(client.apps.create(app_name=app)) == "DIS.4330"
    await client.apps.delete(app_name=app)
    assert await code_of(client.apps.describe(app_name=app)) == "DIS.4332"


@documented("reference 5.3")
async def test_a_checkpoint_is_kept_as_it_came(client, stream, app):
    asked = {"app_name": app, "stream_name": stream, "partition_id": "0"}
    await client.checkpoints.commit(**asked, sequence_number="1", metadata="m")
    found = await client.checkpoints.get(**asked)
    assert (found.sequence_number, found.metadata) == (1, "m")
    await client.checkpoints.delete(**asked)


@seen("the Kafka adapter")
async def test_a_checkpoint_that_was_never_committed_is_minus_one(client, stream, app):
    found = await client.checkpoints.get(app_name=app, stream_name=stream, partition_id="0")
    assert found.sequence_number == -1


@guessed("guesses.CHECKPOINTS_MAY_GO_BACK")
async def test_a_checkpoint_may_go_back(client, stream, app):
    asked = {"app_name": app, "stream_name": stream, "partition_id": "0"}
    for sequence in (2, 1):
        await client.checkpoints.commit(**asked, sequence_number=str(sequence))
    assert (await client.checkpoints.get(**asked)).sequence_number == 1


# -- Tags, groups, errors -----------------------------------------------------------------


@documented("reference 5.7")
async def test_a_tag_is_added_listed_and_deleted(client, stream):
    stream_id = (await client.streams.describe(stream_name=stream)).stream_id
    await client.tags.add(stream_id=stream_id, tag={"key": "aiodis", "value": "1"})
    found = await client.tags.list(stream_id=stream_id)
    assert ("aiodis", "1") in [(tag.key, tag.value) for tag in found.tags]
    await client.tags.delete(stream_id=stream_id, key="aiodis")
    assert "aiodis" not in [tag.key for tag in (await client.tags.list(stream_id=stream_id)).tags]


@seen("the Kafka adapter's groups")
async def test_a_member_may_join_and_leave_a_group_and_a_stranger_has_no_heart(client, stream, app):
    joined = await client.groups.join(app_name=app, client_id="m", stream_names=[stream])
    assert (joined.state, joined.subscription) == ("OK", [stream])
    await client.groups.leave(app_name=app, client_id="m")
    asked = {"app_name": app, "stream_name": stream, "partition_id": "0", "sequence_number": "1"}
    call = client.checkpoints.commit(**asked, client_id="stranger", generation_id=1)
    assert await code_of(call) == "DIS.4702"


@seen("error bodies that the SDKs read")
async def test_an_error_has_its_code_and_message_in_a_json_body(sandbox):
    url = f"{sandbox.endpoint}/v2/{sandbox.project_id}/streams"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        body = await response.json(content_type=None)
    assert response.status in {401, 441}
    assert body.get("error_code") or body.get("errorCode")
    assert body.get("error_msg") or body.get("message")
