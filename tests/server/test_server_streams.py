"""Streams: what is created, told, scaled and removed."""

import pytest
from server_caller import calling, record

from aiodis.wire.routing import even_ranges

DAY_H = 24


async def test_a_new_stream_has_the_services_defaults_and_runs_at_once(dis):
    await dis.create(partitions=2)
    found = await dis.describe()
    assert (
        found.items()
        >= {
            "stream_name": "s",
            "status": "RUNNING",
            "stream_type": "COMMON",
            "data_type": "BLOB",
            "retention_period": 24,
            "create_time": 1_700_000_000_000,
            "last_modified_time": 1_700_000_000_000,
            "writable_partition_count": 2,
            "readable_partition_count": 2,
            "has_more_partitions": False,
            "update_partition_counts": [],
        }.items()
    )
    assert len(found["stream_id"]) == 20
    assert found["stream_id"].isalnum()
    first, second = even_ranges(2)
    assert found["partitions"] == [
        {
            "status": "ACTIVE",
            "partition_id": f"shardId-000000000{number}",
            "hash_range": f"[{hashes.first} : {hashes.last}]",
            "sequence_number_range": "[0 : 0]",
            "parent_partitions": "",
        }
        for number, hashes in enumerate((first, second))
    ]


async def test_what_a_stream_was_created_with_is_told_again(dis):
    await dis.create(
        stream_type="ADVANCED",
        data_type="CSV",
        data_duration=72,
        csv_properties={"delimiter": ","},
        compression_format="gzip",
        data_schema='{"type":"string"}',
        tags=[{"key": "k", "value": "v"}],
        sys_tags=[{"key": "_sys_enterprise_project_id", "value": "0"}],
        auto_scale_enabled=True,
        auto_scale_min_partition_count=1,
        auto_scale_max_partition_count=4,
    )
    told = {
        "stream_type": "ADVANCED",
        "data_type": "CSV",
        "retention_period": 72,
        "tags": [{"key": "k", "value": "v"}],
        "sys_tags": [{"key": "_sys_enterprise_project_id", "value": "0"}],
        "auto_scale_enabled": True,
        "auto_scale_min_partition_count": 1,
        "auto_scale_max_partition_count": 4,
    }
    found = await dis.describe()
    assert found.items() >= told.items()
    assert found["csv_properties"] == {"delimiter": ","}
    assert found["compression_format"] == "gzip"
    assert found["data_schema"] == '{"type":"string"}'
    (listed,) = (await dis.call("GET", "streams"))["stream_info_list"]
    assert listed.items() >= {**told, "partition_count": 1, "status": "RUNNING"}.items()


async def test_a_name_is_taken_once(dis):
    await dis.create()
    fields = {"stream_name": "s", "partition_count": 1}
    await dis.refused("DIS.4307", "POST", "streams", fields)


@pytest.mark.parametrize(("stream_type", "quota"), [("COMMON", 50), ("ADVANCED", 10)])
async def test_partitions_have_a_quota_by_type(stream_type, quota):
    async with calling(limits=True) as dis:
        await dis.create("other", 1, stream_type=stream_type)
        fields = {"stream_name": "s", "partition_count": quota, "stream_type": stream_type}
        await dis.refused("DIS.4308", "POST", "streams", fields)
        await dis.create("s", quota - 1, stream_type=stream_type)
        fields = {"stream_name": "s", "target_partition_count": quota}
        await dis.refused("DIS.4308", "PUT", "streams/s", fields)
        await dis.call("DELETE", "streams/other", status=204)
        await dis.call("PUT", "streams/s", fields)


async def test_without_limits_there_is_no_quota(dis):
    await dis.create(partitions=200)


async def test_streams_are_listed_by_name_in_pages(dis):
    names = [f"s{number:02}" for number in range(23)]
    for name in reversed(names):
        await dis.create(name)
    seen, start = [], None
    while True:
        page = await dis.call("GET", "streams", {"start_stream_name": start})
        assert page["total_number"] == 23
        assert [info["stream_name"] for info in page["stream_info_list"]] == page["stream_names"]
        seen += page["stream_names"]
        if not page["has_more_streams"]:
            break
        assert len(page["stream_names"]) == 10
        start = seen[-1]
    assert seen == names
    page = await dis.call("GET", "streams", {"limit": 23})
    assert (page["stream_names"], page["has_more_streams"]) == (names, False)
    await dis.refused("DIS.4200", "GET", "streams", {"limit": 101})


async def test_partitions_are_described_in_pages(dis):
    await dis.create(partitions=7)
    page = await dis.describe(limit_partitions=3)
    assert page["has_more_partitions"] is True
    assert len(page["partitions"]) == 3
    for spelling in ("start_partitionId", "start_partition_id"):
        for start in ("2", "shardId-0000000002"):
            page = await dis.describe(limit_partitions=4, **{spelling: start})
            assert page["partitions"][0]["partition_id"] == "shardId-0000000003"
            assert page["has_more_partitions"] is False
    await dis.refused("DIS.4201", "GET", "streams/s?start_partitionId=x")


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", "streams/s", {}),
        ("DELETE", "streams/s", {}),
        ("PUT", "streams/s", {"target_partition_count": 2}),
        ("POST", "records", {"stream_name": "s", "records": [record()]}),
        ("GET", "cursors", {"stream-name": "s", "partition-id": "0"}),
        ("GET", "apps", {"stream_name": "s"}),
    ],
)
async def test_a_stream_that_is_not_there_is_said_so(dis, method, path, fields):
    assert "[s]" in await dis.refused("DIS.4301", method, path, fields)


async def test_a_deleted_stream_is_gone_with_its_records_and_checkpoints(dis):
    await dis.create()
    await dis.put([record()])
    await dis.call("POST", "apps", {"app_name": "a"}, status=201)
    checkpoint = {"app_name": "a", "stream_name": "s", "partition_id": "0"}
    await dis.call("POST", "checkpoints", {**checkpoint, "sequence_number": "1"}, status=201)
    old = await dis.cursor()
    await dis.call("DELETE", "streams/s", status=204)
    await dis.refused("DIS.4301", "GET", "streams/s")
    await dis.refused("DIS.4301", "GET", "records", {"partition-cursor": old})
    await dis.create()
    assert await dis.read_all() == []
    assert (await dis.call("GET", "checkpoints", checkpoint))["sequence_number"] == "-1"
    assert (await dis.call("GET", "apps/a"))["commit_checkpoint_stream_names"] == []
    # A cursor of the old stream does not read the new one of the same name.
    await dis.refused("DIS.4226", "GET", "records", {"partition-cursor": old})


async def scale(dis, target):
    fields = {"stream_name": "s", "target_partition_count": target}
    return await dis.call("PUT", "streams/s", fields)


async def statuses(dis):
    found = await dis.describe()
    return [partition["status"][0] for partition in found["partitions"]]


async def test_scaling_down_deletes_the_highest_and_up_brings_them_back(dis, clock):
    await dis.create(partitions=4)
    assert await scale(dis, 2) == {
        "stream_name": "s",
        "current_partition_count": 4,
        "target_partition_count": 2,
    }
    assert await statuses(dis) == ["A", "A", "D", "D"]
    found = await dis.describe()
    assert found["writable_partition_count"] == 2
    assert found["readable_partition_count"] == 4
    assert "hash_range" not in found["partitions"][2]
    assert found["partitions"][2]["sequence_number_range"] == "[0 : 0]"
    assert found["partitions"][1]["hash_range"].endswith(" : 9223372036854775807]")

    clock.advance(hours=DAY_H)
    assert await statuses(dis) == ["A", "A", "E", "E"]
    found = await dis.describe()
    assert found["readable_partition_count"] == 2
    assert "sequence_number_range" not in found["partitions"][2]

    await scale(dis, 1)
    assert await statuses(dis) == ["A", "D", "E", "E"]
    await scale(dis, 2)  # DELETED before EXPIRED
    assert await statuses(dis) == ["A", "A", "E", "E"]
    await scale(dis, 3)  # EXPIRED before new ones, lowest first
    assert await statuses(dis) == ["A", "A", "A", "E"]
    await scale(dis, 6)
    assert await statuses(dis) == ["A"] * 6
    changes = (await dis.describe())["update_partition_counts"]
    assert [(c["src_partition_count"], c["target_partition_count"]) for c in changes] == [
        (4, 2),
        (2, 1),
        (1, 2),
        (2, 3),
        (3, 6),
    ]
    assert changes[0]["create_timestamp"] + DAY_H * 3_600_000 == changes[1]["create_timestamp"]
    assert {change["result_code"] for change in changes} == {1}


async def test_scaling_to_the_same_count_is_refused(dis):
    await dis.create(partitions=2)
    fields = {"stream_name": "s", "target_partition_count": 2}
    await dis.refused("DIS.4200", "PUT", "streams/s", fields)
    await dis.refused("DIS.4200", "PUT", "streams/s", {"target_partition_count": 0})


async def test_a_deleted_partition_is_read_but_not_written_until_it_expires(dis, clock):
    await dis.create(partitions=2)
    await dis.put([record(b"kept", partition_id="1")])
    await scale(dis, 1)
    (refused,) = (await dis.put([record(partition_id="1")]))["records"]
    assert refused["error_code"] == "DIS.4302"
    assert [r["data"] for r in await dis.read_all(partition_id="1")] == ["a2VwdA=="]
    cursor = await dis.cursor(partition_id="1")

    clock.advance(hours=DAY_H, milliseconds=-1)
    assert [r["data"] for r in await dis.read_all(partition_id="1")] == ["a2VwdA=="]
    cursor = await dis.cursor(partition_id="1")
    clock.advance(milliseconds=1)
    (refused,) = (await dis.put([record(partition_id="1")]))["records"]
    assert refused["error_code"] == "DIS.4319"
    asked = {"stream-name": "s", "partition-id": "1"}
    message = await dis.refused("DIS.4319", "GET", "cursors", asked)
    assert message == "Partition is expired. [s][shardId-0000000001]"
    await dis.refused("DIS.4319", "GET", "records", {"partition-cursor": cursor})

    await scale(dis, 2)  # sequences go on where they ended
    (placed,) = (await dis.put([record(partition_id="1")]))["records"]
    assert placed == {"partition_id": "shardId-0000000001", "sequence_number": "1"}


async def test_keys_go_to_other_partitions_after_scaling(dis):
    await dis.create(partitions=1)
    (before,) = (await dis.put([record(partition_key="hello")]))["records"]
    await scale(dis, 5)
    (after,) = (await dis.put([record(partition_key="hello")]))["records"]
    assert before["partition_id"] == "shardId-0000000000"
    assert after["partition_id"] == "shardId-0000000003"  # facts 4


async def test_an_update_changes_what_it_names_only(dis, clock):
    await dis.create(tags=[{"key": "k", "value": "v"}])
    clock.advance(seconds=5)
    path = f"/v3/{dis.server.project_id}/streams/s"
    await dis.call("PUT", path, {"stream_name": "s", "data_duration": 48}, status=204)
    found = await dis.describe()
    assert found["retention_period"] == 48
    assert found["data_type"] == "BLOB"
    assert found["tags"] == [{"key": "k", "value": "v"}]
    assert found["last_modified_time"] == found["create_time"] + 5000
    fields = {"data_type": "JSON", "auto_scale_enabled": True, "data_schema": "[]"}
    await dis.call("PUT", path, fields, status=204)
    found = await dis.describe()
    assert (found["data_type"], found["data_schema"]) == ("JSON", "[]")
    assert (found["auto_scale_enabled"], found["retention_period"]) == (True, 48)
    await dis.refused("DIS.4200", "PUT", path, {"data_duration": 23})


@pytest.mark.parametrize(
    "schema",
    [
        "{}",
        "no json",
        '"strng"',
        '{"type":"record","name":"r","fields":[{"name":"a","type":"strng"}]}',
        {"type": "strng"},
        5,
    ],
)
async def test_a_schema_that_is_none_is_refused(dis, schema):
    fields = {"stream_name": "s", "partition_count": 1, "data_schema": schema}
    assert "data_schema" in await dis.refused("DIS.4360", "POST", "streams", fields)
    await dis.create()
    path = f"/v3/{dis.server.project_id}/streams/s"
    await dis.refused("DIS.4360", "PUT", path, {"data_schema": schema})
    await dis.refused("DIS.4360", "PUT", "streams/s/update", {"data_schema": schema})


@pytest.mark.parametrize(
    ("field", "tags"),
    [
        ("tags", [{"key": "k"}, {"key": "k", "value": "other"}]),
        ("tags", [{"key": ""}]),
        ("tags", [{"key": "a b"}]),
        ("tags", [{"key": f"k{number}"} for number in range(11)]),
        ("sys_tags", [{"key": "_sys_enterprise_project_id", "value": "mine"}]),
        ("sys_tags", [{"key": "_sys_enterprise_project_id"}]),
        ("sys_tags", [{"key": "project", "value": "0"}]),
        ("sys_tags", [{"key": "_sys_enterprise_project_id", "value": "0"}] * 2),
    ],
)
async def test_tags_that_break_a_rule_are_refused(dis, field, tags):
    fields = {"stream_name": "s", "partition_count": 1, field: tags}
    await dis.refused("DIS.4200", "POST", "streams", fields)


@pytest.mark.parametrize("project", ["0", "0aad99bc-f5f6-4f78-8404-c598d76b0ed2"])
async def test_a_stream_belongs_to_an_enterprise_project(dis, project):
    tags = [{"key": "_sys_enterprise_project_id", "value": project}]
    await dis.create(sys_tags=tags)
    assert (await dis.describe())["sys_tags"] == tags
