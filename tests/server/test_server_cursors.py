"""Cursors: where each type points, how long it lives, and what retention does to it."""

import json
from base64 import urlsafe_b64decode

import pytest
from server_caller import record

from aiodis.wire.cursor import CursorContent, encode_cursor

HOUR_MS = 3_600_000


def content(cursor):
    return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


def sequence(cursor):
    return content(cursor)["getIteratorParam"]["starting-sequence-number"]


async def fill(dis, clock, count=10, *, every_ms=1000):
    await dis.create()
    for number in range(count):
        await dis.put([record(b"%d" % number)])
        clock.advance(milliseconds=every_ms)


async def first(dis, cursor):
    records = (await dis.get(cursor))["records"]
    return records[0]["sequence_number"] if records else None


async def test_a_cursor_is_readable_as_the_kafka_adapter_reads_it(dis, clock):
    await dis.create()
    cursor = await dis.cursor("TRIM_HORIZON")
    found = content(cursor)
    assert found["generateTimestamp"] == clock.now_ms()
    assert (
        found["getIteratorParam"].items()
        >= {
            "stream-name": "s",
            "partition-id": "0",
            "cursor-type": "TRIM_HORIZON",
            "starting-sequence-number": "0",
        }.items()
    )
    assert not set(cursor) & set("=+/")


async def test_the_partition_is_echoed_as_it_was_written(dis):
    await dis.create()
    for spelling in ("0", "shardId-0000000000"):
        cursor = await dis.cursor(partition_id=spelling)
        assert content(cursor)["getIteratorParam"]["partition-id"] == spelling
        following = (await dis.get(cursor))["next_partition_cursor"]
        assert content(following)["getIteratorParam"]["partition-id"] == spelling
        assert content(following)["getIteratorParam"]["cursor-type"] == "AT_SEQUENCE_NUMBER"


async def test_the_default_is_at_sequence_number_zero(dis):
    await dis.create()
    found = content(await dis.cursor(None))["getIteratorParam"]
    assert found["cursor-type"] == "AT_SEQUENCE_NUMBER"
    assert found["starting-sequence-number"] == "0"


async def test_the_longest_names_fit_into_a_cursor(dis):
    await dis.create("s" * 64)
    fields = {"stream_name": "s" * 64, "partition_id": "shardId-0000000000"}
    assert len(await dis.cursor("TRIM_HORIZON", **fields)) <= 512
    longest = CursorContent(
        "s" * 64, "shardId-0000000000", "AFTER_SEQUENCE_NUMBER", 2**63 - 1, 10**14, "i" * 20
    )
    assert len(encode_cursor(longest)) <= 512


async def test_each_type_points_where_the_reference_says(dis, clock):
    await fill(dis, clock)
    assert await first(dis, await dis.cursor("TRIM_HORIZON")) == "0"
    assert await first(dis, await dis.cursor("LATEST")) is None
    at, after = "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"
    assert await first(dis, await dis.cursor(at, starting_sequence_number="4")) == "4"
    assert await first(dis, await dis.cursor(after, starting_sequence_number="4")) == "5"
    assert await first(dis, await dis.cursor(after)) == "1"


async def test_latest_gives_only_what_comes_later(dis, clock):
    await fill(dis, clock)
    cursor = await dis.cursor("LATEST")
    await dis.put([record(b"new")])
    assert await first(dis, cursor) == "10"


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [("AT_SEQUENCE_NUMBER", 4, 10), ("AFTER_SEQUENCE_NUMBER", 3, 9)],
)
async def test_sequence_numbers_out_of_the_partition_are_refused(dis, clock, kind, lowest, highest):
    await fill(dis, clock, every_ms=HOUR_MS)
    clock.advance(hours=18)  # the first four are past retention: the partition is [4, 10)
    for number in (lowest, highest):
        await dis.cursor(kind, starting_sequence_number=str(number))
    for number in (lowest - 1, highest + 1):
        asked = {
            "stream-name": "s",
            "partition-id": "0",
            "cursor-type": kind,
            "starting-sequence-number": str(number),
        }
        assert await dis.refused("DIS.4224", "GET", "cursors", asked) == (
            f"Sequence_number out of range. [{number}][ should be within ][4][ ][10]"
        )


async def test_after_in_an_empty_partition_is_out_of_range(dis):
    await dis.create()
    asked = {"stream-name": "s", "partition-id": "0", "cursor-type": "AFTER_SEQUENCE_NUMBER"}
    message = await dis.refused("DIS.4224", "GET", "cursors", asked)
    assert message == "Sequence_number out of range. [0][ should be within ][0][ ][0]"


async def test_a_time_is_resolved_to_a_number(dis, clock):
    start_ms = clock.now_ms()
    await fill(dis, clock)
    for offset_ms, expected in [(0, "0"), (1, "1"), (4000, "4"), (4001, "5"), (9001, "10")]:
        cursor = await dis.cursor("AT_TIMESTAMP", timestamp=start_ms + offset_ms)
        assert sequence(cursor) == expected


async def test_a_time_before_the_oldest_record_is_refused_with_the_time_to_ask_for(dis, clock):
    start_ms = clock.now_ms()
    await fill(dis, clock)
    asked = {"stream-name": "s", "partition-id": "0", "cursor-type": "AT_TIMESTAMP"}
    message = await dis.refused("DIS.4300", "GET", "cursors", {**asked, "timestamp": start_ms - 1})
    assert message == (
        f"Request error. [timestamp is expired, timestamp should be larger than {start_ms}]"
    )
    assert sequence(await dis.cursor("AT_TIMESTAMP", timestamp=start_ms)) == "0"
    await dis.refused("DIS.4200", "GET", "cursors", asked)


async def test_any_time_in_an_empty_partition_is_its_end(dis):
    await dis.create()
    assert sequence(await dis.cursor("AT_TIMESTAMP", timestamp=1)) == "0"


async def test_lookups_by_time_go_by_the_arrival_not_by_the_producers_timestamp(dis, clock):
    start_ms = clock.now_ms()
    await dis.create()
    await dis.put([record(timestamp=start_ms + HOUR_MS)])
    clock.advance(seconds=1)
    await dis.put([record(timestamp=1)])
    assert sequence(await dis.cursor("AT_TIMESTAMP", timestamp=start_ms + 500)) == "1"


async def test_a_cursor_lives_five_minutes(dis, clock):
    await dis.create()
    cursor = await dis.cursor()
    clock.advance(minutes=5)
    following = (await dis.get(cursor))["next_partition_cursor"]
    clock.advance(milliseconds=1)
    await dis.refused("DIS.4225", "GET", "records", {"partition-cursor": cursor})
    assert (await dis.get(following))["records"] == []


async def test_a_cursor_of_the_far_future_has_expired(dis, clock):
    await dis.create()
    for ahead_ms, code in [(300_000, None), (300_001, "DIS.4225")]:
        made = CursorContent("s", "0", "AT_SEQUENCE_NUMBER", 0, clock.now_ms() + ahead_ms)
        asked = {"partition-cursor": encode_cursor(made)}
        await dis.call("GET", "records", asked, status=400 if code else 200, code=code)


@pytest.mark.parametrize("cursor", ["x", "====", "e30", "é", "!" * 512, "a" * 513])
async def test_what_is_no_cursor_is_refused(dis, cursor):
    await dis.refused("DIS.4217", "GET", "records", {"partition-cursor": cursor})


async def test_a_missing_cursor_is_an_invalid_request(dis):
    await dis.refused("DIS.4200", "GET", "records")
    await dis.refused("DIS.4200", "GET", "records?partition-cursor=")


async def test_a_cursor_into_nowhere_is_refused_by_what_is_missing(dis, clock):
    await dis.create()

    def made(stream="s", partition="0", sequence=0, stream_id=None):
        now_ms = clock.now_ms()
        return encode_cursor(
            CursorContent(stream, partition, "AT_SEQUENCE_NUMBER", sequence, now_ms, stream_id)
        )

    for cursor, code in [
        (made(stream="none"), "DIS.4301"),
        (made(partition="1"), "DIS.4302"),
        (made(partition="what"), "DIS.4302"),
        (made(sequence=1), "DIS.4226"),
        (made(sequence=2**62), "DIS.4226"),
        (made(stream_id="another"), "DIS.4226"),
    ]:
        await dis.refused(code, "GET", "records", {"partition-cursor": cursor})
    assert (await dis.get(made()))["records"] == []


async def test_a_partition_that_is_not_there_has_no_cursor(dis):
    await dis.create()
    asked = {"stream-name": "s", "partition-id": "1", "cursor-type": "LATEST"}
    assert "[s][1]" in await dis.refused("DIS.4302", "GET", "cursors", asked)


async def test_records_are_visible_for_exactly_the_retention(dis, clock):
    await fill(dis, clock, 3)  # at 0, 1 and 2 s; the time is 3 s now
    clock.advance(hours=24, seconds=-3)
    assert [r["sequence_number"] for r in await dis.read_all()] == ["0", "1", "2"]
    cursor = await dis.cursor()
    clock.advance(milliseconds=1)
    assert [r["sequence_number"] for r in await dis.read_all()] == ["1", "2"]
    assert (await dis.describe())["partitions"][0]["sequence_number_range"] == "[1 : 3]"
    await dis.refused("DIS.4226", "GET", "records", {"partition-cursor": cursor})
    clock.advance(seconds=2)
    assert await dis.read_all() == []
    assert (await dis.describe())["partitions"][0]["sequence_number_range"] == "[3 : 3]"
    (placed,) = (await dis.put([record()]))["records"]
    assert placed["sequence_number"] == "3"


async def test_a_longer_retention_shows_again_what_is_still_there(dis, clock):
    await fill(dis, clock, 1)
    clock.advance(hours=25)
    assert await dis.read_all() == []
