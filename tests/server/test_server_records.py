"""Records: where they go, what their answers say, and what comes back."""

from base64 import b64decode, b64encode

import pytest
from server_caller import calling, record

from aiodis.wire.routing import MAX_HASH, PartitionMap, even_ranges, hash_key

MIB = 1024 * 1024


def places(reply):
    return [(r["partition_id"][-1], r["sequence_number"]) for r in reply["records"]]


async def test_results_come_in_the_order_of_the_request_with_dense_sequences(dis):
    await dis.create(partitions=3)
    reply = await dis.put([record(partition_id=p) for p in ("2", "0", "2", "shardId-0000000000")])
    assert reply["failed_record_count"] == 0
    assert places(reply) == [("2", "0"), ("0", "0"), ("2", "1"), ("0", "1")]
    assert reply["records"][0] == {"partition_id": "shardId-0000000002", "sequence_number": "0"}
    assert places(await dis.put([record(partition_id="2")])) == [("2", "2")]


async def test_partition_id_beats_hash_key_which_beats_partition_key(dis):
    await dis.create(partitions=3)
    key = {"partition_key": "a"}  # to 0 of 3, facts 4
    reply = await dis.put(
        [
            record(**key),
            record(**key, explicit_hash_key=str(MAX_HASH)),
            record(**key, explicit_hash_key=str(MAX_HASH), partition_id="1"),
            record(**key, explicit_hash_key="", partition_id=""),
            record(**key, explicit_hash_key="no number"),
            record(**key, explicit_hash_key=str(MAX_HASH + 1)),
        ]
    )
    assert [partition for partition, _ in places(reply)] == ["0", "2", "1", "0", "0", "0"]


async def test_keys_are_routed_by_their_hash(dis):
    await dis.create(partitions=5)
    keys = ["a", "k", "0", "key-1", "hello", "用户", "x" * 1000]
    router = PartitionMap(enumerate(even_ranges(5)))
    reply = await dis.put([record(partition_key=key) for key in keys])
    assert [int(p) for p, _ in places(reply)] == [router.find(hash_key(key)) for key in keys]


async def test_records_without_a_key_are_spread(dis):
    await dis.create(partitions=4)
    reply = await dis.put([record() for _ in range(40)])
    partitions = [partition for partition, _ in places(reply)]
    assert {partition: partitions.count(partition) for partition in "0123"} == dict.fromkeys(
        "0123", 10
    )


async def test_a_record_for_no_partition_fails_alone(dis):
    await dis.create()
    reply = await dis.put([record(partition_id="7"), record(b"x"), record(partition_id="nonsense")])
    assert reply["failed_record_count"] == 2
    failed, placed, broken = reply["records"]
    assert failed == {
        "error_code": "DIS.4302",
        "error_message": "Partition does not exist. [s][7]",
    }
    assert placed == {"partition_id": "shardId-0000000000", "sequence_number": "0"}
    assert broken["error_code"] == "DIS.4302"
    assert [r["data"] for r in await dis.read_all()] == ["eA=="]


@pytest.mark.parametrize("records", [[], [record(b"")], [record(b"x"), record(b"")]])
async def test_no_records_or_one_without_data_fail_the_whole_request(dis, records):
    await dis.create()
    fields = {"stream_name": "s", "records": records}
    await dis.refused("DIS.4200", "POST", "records", fields)
    assert await dis.read_all() == []


async def test_more_than_10000_records_fail_the_whole_request(dis):
    await dis.create()
    assert len((await dis.put([record(b"x")] * 10_000))["records"]) == 10_000
    fields = {"stream_name": "s", "records": [record(b"x")] * 10_001}
    await dis.refused("DIS.4200", "POST", "records", fields)


@pytest.mark.parametrize(("stream_type", "most"), [("COMMON", MIB), ("ADVANCED", 5 * MIB)])
async def test_a_requests_data_has_a_limit_by_type(dis, stream_type, most):
    await dis.create(stream_type=stream_type)
    fitting = [record(bytes(MIB // 4))] * (most // (MIB // 4))
    assert (await dis.put(fitting))["failed_record_count"] == 0
    fields = {"stream_name": "s", "records": [*fitting, record(b"x")]}
    await dis.refused("DIS.4200", "POST", "records", fields, status=413)


async def test_a_record_has_at_most_one_mib(dis):
    await dis.create(stream_type="ADVANCED")
    assert (await dis.put([record(bytes(MIB))]))["failed_record_count"] == 0
    fields = {"stream_name": "s", "records": [record(b"x"), record(bytes(MIB + 1))]}
    assert "records.1" in await dis.refused("DIS.4200", "POST", "records", fields)


async def test_data_that_is_no_base64_fails_the_whole_request(dis):
    await dis.create()
    fields = {"stream_name": "s", "records": [record(b"x"), {"data": "no base64"}]}
    assert "records.1" in await dis.refused("DIS.4200", "POST", "records", fields)
    assert await dis.read_all() == []


async def test_a_record_comes_back_as_it_was_put(dis, clock):
    await dis.create()
    data = bytes(range(256)) * 3
    reply = await dis.put([record(data, partition_key='k"\\ 用户\n')])
    assert reply["failed_record_count"] == 0
    (found,) = await dis.read_all()
    assert found == {
        "partition_key": 'k"\\ 用户\n',
        "sequence_number": "0",
        "data": b64encode(data).decode(),
        "timestamp": clock.now_ms(),
        "timestamp_type": "CreateTime",
    }


async def test_the_key_is_left_out_when_the_partition_was_named(dis):
    await dis.create()
    await dis.put([record(partition_key="k", partition_id="0"), record()])
    assert ["partition_key" in found for found in await dis.read_all()] == [False, False]


async def test_the_producers_timestamp_is_shown(dis, clock):
    await dis.create()
    await dis.put([record(timestamp=5), record(timestamp=None), record(timestamp=0)])
    assert [r["timestamp"] for r in await dis.read_all()] == [5, clock.now_ms(), 0]


async def test_what_was_put_during_failures_reads_without_gaps(dis):
    await dis.create(partitions=2)
    sent = []
    for number in range(20):
        data = b"%d" % number
        sent.append(data)
        await dis.put([record(partition_id="9"), record(data, partition_id="1")])
    found = await dis.read_all(partition_id="1")
    assert [b64decode(r["data"]) for r in found] == sent
    assert [r["sequence_number"] for r in found] == [str(n) for n in range(20)]


async def test_a_large_read_is_one_answer():
    async with calling(limits=False) as dis:
        await dis.create(stream_type="ADVANCED")
        await dis.put([record(bytes(MIB - 1))] * 5)
        page = await dis.get(await dis.cursor(), max_fetch_bytes=100 * MIB)
        assert len(page["records"]) == 5
        await dis.put([record(b"123456")])
        page = await dis.get(await dis.cursor(), max_fetch_bytes=100 * MIB)
        assert len(page["records"]) == 5  # 5 MiB are the most
        page = await dis.get(await dis.cursor())
        assert len(page["records"]) == 1  # 1 MiB is the default


async def test_max_fetch_bytes_counts_data_and_never_cuts_a_record(dis):
    await dis.create()
    await dis.put([record(b"12345")] * 4)
    for most, count in [(4, 0), (5, 1), (9, 1), (10, 2), (20, 4), (21, 4)]:
        page = await dis.get(await dis.cursor(), max_fetch_bytes=most)
        assert len(page["records"]) == count
    page = await dis.get(await dis.cursor(), max_fetch_bytes=10, limit=1)
    assert len(page["records"]) == 2  # limit has no effect
    page = await dis.get(page["next_partition_cursor"], max_fetch_bytes=10)
    assert [r["sequence_number"] for r in page["records"]] == ["2", "3"]
    page = await dis.get(page["next_partition_cursor"], app_name="a")
    assert page["records"] == []
