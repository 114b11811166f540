"""Limits: what a partition takes and gives in a second."""

import pytest
from server_caller import calling, record

from aiodis.api.limits import limits_of
from aiodis.server.limits import Bucket, PartitionLimits

MIB = 1024 * 1024
KIB = 1024


@pytest.fixture
async def strict(clock):
    async with calling(clock=clock) as caller:
        yield caller


def test_a_bucket_holds_a_second_and_fills_by_its_rate():
    bucket = Bucket(1000, now_ms=0)
    bucket.level -= 1500
    assert bucket.settle(0) == -500
    assert bucket.settle(500) == 0
    assert bucket.settle(501) == 1
    assert bucket.settle(60_000) == 1000


def test_a_clock_that_goes_back_gives_nothing():
    bucket = Bucket(1000, now_ms=10_000)
    bucket.level -= 1000
    assert bucket.settle(9_000) == 0
    assert bucket.settle(9_500) == 500


def test_the_first_records_that_fit_are_admitted():
    limits = PartitionLimits(limits_of("COMMON"), now_ms=0)
    assert limits.admit([MIB - 10, 5, 6, 1], 0) == 2  # the last one would fit, but comes later
    assert limits.admit([5], 0) == 1
    assert limits.admit([1], 0) == 0
    assert limits.admit([KIB, KIB], 1) == 1


async def test_a_partition_takes_1000_records_in_a_second(strict, clock):
    await strict.create()
    reply = await strict.put([record(b"%d" % n) for n in range(1002)])
    assert reply["failed_record_count"] == 2
    assert reply["records"][999]["sequence_number"] == "999"
    assert (
        reply["records"][1000:]
        == [{"error_code": "DIS.4303", "error_message": "Exceeded traffic control limit."}] * 2
    )
    assert (await strict.put([record(b"a")]))["failed_record_count"] == 1
    clock.advance(milliseconds=2)
    reply = await strict.put([record(b"a")] * 3)
    assert [r.get("sequence_number") for r in reply["records"]] == ["1000", "1001", None]
    assert len(await strict.read_all()) == 1002  # throttled records are not stored


async def test_a_partition_takes_its_bytes_in_a_second(strict, clock):
    await strict.create()
    assert (await strict.put([record(bytes(KIB))] * 1000))["failed_record_count"] == 0
    clock.advance(seconds=1)
    records = [record(bytes(300 * KIB)), record(bytes(724 * KIB))]
    assert (await strict.put(records))["failed_record_count"] == 0
    assert (await strict.put([record(b"x")]))["failed_record_count"] == 1
    clock.advance(milliseconds=500)
    reply = await strict.put([record(bytes(512 * KIB)), record(b"x")])
    assert reply["failed_record_count"] == 1


async def test_an_advanced_partition_takes_more(strict, clock):
    await strict.create(stream_type="ADVANCED")
    assert (await strict.put([record(bytes(MIB))] * 5))["failed_record_count"] == 0
    clock.advance(seconds=1)
    assert (await strict.put([record(b"x")] * 2001))["failed_record_count"] == 1


async def test_one_partitions_limit_is_not_anothers(strict):
    await strict.create(partitions=2)
    await strict.put([record(b"x", partition_id="0")] * 1000)
    reply = await strict.put([record(b"x", partition_id=p) for p in "0101"])
    assert ["error_code" in r for r in reply["records"]] == [True, False, True, False]


async def test_reads_go_into_debt_and_wait_until_it_is_paid(strict, clock):
    await strict.create(data_duration=24)
    for _ in range(4):
        await strict.put([record(bytes(MIB))])
        clock.advance(seconds=1)
    cursor = await strict.cursor()
    assert len((await strict.get(cursor, max_fetch_bytes=3 * MIB))["records"]) == 3
    message = await strict.refused("DIS.4303", "GET", "records", {"partition-cursor": cursor})
    assert message == "Exceeded traffic control limit."
    clock.advance(milliseconds=500)
    await strict.refused("DIS.4303", "GET", "records", {"partition-cursor": cursor})
    clock.advance(milliseconds=1)
    assert len((await strict.get(cursor))["records"]) == 1


async def test_an_advanced_partition_gives_more(strict, clock):
    await strict.create(stream_type="ADVANCED")
    await strict.put([record(bytes(MIB))] * 5)
    cursor = await strict.cursor()
    for _ in range(2):
        page = await strict.get(cursor, max_fetch_bytes=5 * MIB)
        assert len(page["records"]) == 5
    await strict.refused("DIS.4303", "GET", "records", {"partition-cursor": cursor})


async def test_reads_that_find_nothing_cost_nothing(strict):
    await strict.create()
    cursor = await strict.cursor()
    for _ in range(100):
        await strict.get(cursor)


async def test_without_limits_nothing_is_throttled(dis):
    await dis.create()
    for _ in range(5):
        assert (await dis.put([record(bytes(MIB))]))["failed_record_count"] == 0
    cursor = await dis.cursor()
    for _ in range(5):
        await dis.get(cursor, max_fetch_bytes=5 * MIB)
