"""Dump tasks over sockets, on a clock moved by hand: what was put is what the files hold."""

import logging
from contextlib import asynccontextmanager

import pytest
from server_caller import START_MS, calling, record

from aiodis.server import LocalDIS, ManualClock, guesses
from aiodis.server.dump.buckets import MemoryBuckets

AGENCY = {"agency_name": "dis_admin_agency", "deliver_time_interval": 60}
OBS = AGENCY | {"obs_bucket_path": "bucket"}
UUID = "f8123fa6-99f1-4ed9-83f4-c827c7277d41"
OTHERS = {
    "DWS": OBS
    | {"dws_cluster_name": "c", "dws_cluster_id": UUID, "dws_database_name": "d"}
    | {"dws_schema": "s", "dws_table_name": "t", "dws_delimiter": "|"}
    | {"user_name": "u", "user_password": "hush", "kms_user_key_name": "k"}
    | {"kms_user_key_id": "i"},
    "MRS": OBS | {"mrs_cluster_name": "c", "mrs_cluster_id": UUID, "mrs_hdfs_path": "/user"},
    "DLI": OBS | {"dli_database_name": "d", "dli_table_name": "t"},
    "CLOUDTABLE": AGENCY
    | {"cloudtable_cluster_name": "c", "cloudtable_cluster_id": UUID}
    | {"cloudtable_table_name": "t", "obs_backup_bucket_path": "backup"}
    | {
        "cloudtable_schema": {
            "row_key": [{"value": "v", "type": "String"}],
            "columns": [
                {"column_family_name": "f", "column_name": "c", "value": "v", "type": "Bigint"}
            ],
        }
    },
}
TASKS = "streams/s/transfer-tasks"


def body(name="t", kind="OBS", **changes):
    fields = {**(OBS if kind == "OBS" else OTHERS[kind]), "task_name": name, **changes}
    descriptor = f"{kind.lower()}_destination_descriptor"
    return {
        "destination_type": kind,
        descriptor: {k: v for k, v in fields.items() if v is not None},
    }


async def add(dis, *args, path=TASKS, **changes):
    await dis.call("POST", path, body(*args, **changes), status=201)


async def put(dis, *data, partition=0, at=None):
    records = [record(d, partition_id=str(partition)) for d in data]
    assert (await dis.put(records))["failed_record_count"] == 0


async def describe(dis, name="t"):
    return await dis.call("GET", f"{TASKS}/{name}")


async def act(dis, action, *names, **options):
    listed = (await dis.call("GET", TASKS))["tasks"]
    ids = {task["task_name"]: task["task_id"] for task in listed}
    tasks = [{"id": ids.get(name, name)} for name in names]
    return await dis.call("POST", f"{TASKS}/action", {"action": action, "tasks": tasks}, **options)


def files(dis, bucket="bucket"):
    buckets = dis.server.buckets
    return {name: buckets.read(bucket, name) for name in buckets.files(bucket)}


def delivered(dis, partition=0, bucket="bucket"):
    """Everything of a partition, in the order of the files' names."""
    part = f"_shardId-{partition:010d}_"
    named = sorted(
        (name.rpartition("_")[2], text) for name, text in files(dis, bucket).items() if part in name
    )
    return b"".join(text for _, text in named)


@pytest.fixture
async def dis(dis):
    await dis.create(partitions=2)
    return dis


@asynccontextmanager
async def running(path, clock):
    async with calling(path, clock=clock, limits=False) as caller:
        yield caller


class TestDeliveries:
    async def test_what_came_within_an_interval_is_one_file_of_each_partition(self, dis, clock):
        await add(dis, record_delimiter=";", file_prefix="a/b", partition_format="yyyy/MM/dd/HH/mm")
        await put(dis, b"one", b"two")
        await put(dis, b"three")
        await put(dis, b"\x00\xff;", partition=1)
        clock.advance(seconds=59)
        assert files(dis) == {}

        clock.advance(seconds=1)

        [task] = (await dis.call("GET", TASKS))["tasks"]
        start = f"a/b/2023/11/14/22/14/{task['task_id']}"
        assert files(dis) == {
            f"{start}_shardId-0000000000_0000000000000000000": b"one;two;three;",
            f"{start}_shardId-0000000001_0000000000000000000": b"\x00\xff;;",
        }

    async def test_an_interval_in_which_nothing_came_makes_no_file(self, dis, clock):
        await add(dis)
        clock.advance(hours=1)
        assert files(dis) == {}
        await put(dis, b"one")
        clock.advance(seconds=60)
        clock.advance(hours=1)
        assert list(files(dis).values()) == [b"one\n"]

    async def test_each_interval_continues_where_the_last_one_ended(self, dis, clock):
        await add(dis)
        for number in range(10):
            await put(dis, b"%d" % number)
            clock.advance(seconds=20)
        clock.advance(minutes=1)
        assert delivered(dis) == b"".join(b"%d\n" % number for number in range(10))
        assert sorted(files(dis).values()) == [b"0\n1\n2\n", b"3\n4\n5\n", b"6\n7\n8\n", b"9\n"]

    async def test_a_record_of_the_very_time_of_a_delivery_is_in_the_next(self, dis, clock):
        await add(dis)
        await put(dis, b"before")
        clock.advance(seconds=60)
        await put(dis, b"at")
        assert list(files(dis).values()) == [b"before\n"]
        clock.advance(seconds=60)
        assert delivered(dis) == b"before\nat\n"

    async def test_an_hour_that_passes_at_once_leaves_the_directories_of_its_minutes(
        self, dis, clock
    ):
        await add(dis, partition_format="yyyy/MM/dd/HH/mm")
        await put(dis, b"one")
        clock.advance(hours=1)
        assert [name[:16] for name in files(dis)] == ["2023/11/14/22/14"]

    async def test_latest_begins_with_what_comes_after_it_and_trim_horizon_with_what_is_there(
        self, dis, clock
    ):
        await put(dis, b"before")
        await add(dis, "latest", obs_bucket_path="latest")
        await add(dis, "all", obs_bucket_path="all-there-is", consumer_strategy="TRIM_HORIZON")
        await put(dis, b"after")
        clock.advance(seconds=60)
        assert delivered(dis, bucket="latest") == b"after\n"
        assert delivered(dis, bucket="all-there-is") == b"before\nafter\n"

    async def test_trim_horizon_begins_with_what_retention_leaves(self, dis, clock):
        await put(dis, b"gone")
        clock.advance(hours=20)
        await put(dis, b"kept")
        clock.advance(hours=5)
        await add(dis, consumer_strategy="TRIM_HORIZON")
        clock.advance(seconds=60)
        assert delivered(dis) == b"kept\n"
        assert (await describe(dis))["partitions"][0]["discard"] == 0

    async def test_a_large_delivery_is_several_files(self, dis, clock, monkeypatch):
        monkeypatch.setattr(guesses, "DUMP_FILE_BYTES", 1_000_000)
        await add(dis)
        for number in range(5):
            await put(dis, bytes([number]) * 400_000)
        clock.advance(seconds=60)
        assert [len(text) for text in files(dis).values()] == [800_002, 800_002, 400_001]
        assert delivered(dis) == b"".join(bytes([n]) * 400_000 + b"\n" for n in range(5))

    async def test_records_go_by_their_own_times_where_a_schema_says_so(self, dis, clock):
        schema = {"timestamp_name": "at", "timestamp_type": "Timestamp"}
        await add(dis, partition_format="yyyy", processing_schema=schema)
        await put(dis, b'{"at":0}', b"none", b'{"at":%d}' % START_MS)
        clock.advance(seconds=60)
        assert {name[:5]: text for name, text in files(dis).items()} == {
            "1970/": b'{"at":0}\n',
            "2023/": b'none\n{"at":%d}\n' % START_MS,
        }

    async def test_a_partition_scaled_away_is_emptied_and_a_new_one_begun(self, dis, clock):
        await add(dis)
        await put(dis, b"old", partition=1)
        await dis.call("PUT", "streams/s", {"target_partition_count": 1})
        clock.advance(seconds=60)
        assert delivered(dis, 1) == b"old\n"
        await dis.call("PUT", "streams/s", {"target_partition_count": 3})
        await put(dis, b"back", partition=1)
        await put(dis, b"new", partition=2)
        clock.advance(seconds=60)
        assert (delivered(dis, 1), delivered(dis, 2)) == (b"old\nback\n", b"new\n")

    async def test_two_tasks_of_a_bucket_do_not_mix(self, dis, clock):
        await add(dis, "one")
        await add(dis, "two", deliver_time_interval=90)
        await put(dis, b"data")
        clock.advance(seconds=60)
        assert len(files(dis)) == 1
        clock.advance(seconds=30)
        assert list(files(dis).values()) == [b"data\n", b"data\n"]

    async def test_a_stream_made_anew_has_no_tasks_and_leaves_the_old_files(self, dis, clock):
        await add(dis)
        await put(dis, b"old")
        clock.advance(seconds=60)
        await put(dis, b"lost with its stream")
        await dis.call("DELETE", "streams/s", status=204)
        await dis.create()
        await put(dis, b"new")
        clock.advance(hours=1)
        assert (await dis.call("GET", TASKS))["total_number"] == 0
        assert list(files(dis).values()) == [b"old\n"]

    async def test_a_deleted_task_delivers_no_more(self, dis, clock):
        await add(dis)
        await put(dis, b"data")
        await dis.call("DELETE", f"{TASKS}/t", status=204)
        clock.advance(hours=1)
        assert files(dis) == {}
        await add(dis)
        clock.advance(hours=1)
        assert files(dis) == {}


class TestPauses:
    async def test_what_came_in_a_pause_is_delivered_an_interval_after_the_start(self, dis, clock):
        await add(dis)
        await put(dis, b"one")
        await act(dis, "stop", "t")
        clock.advance(hours=2)
        await put(dis, b"two")
        assert ((await describe(dis))["state"], files(dis)) == ("PAUSED", {})

        await act(dis, "start", "t")
        clock.advance(seconds=59)
        assert files(dis) == {}
        clock.advance(seconds=1)
        assert delivered(dis) == b"one\ntwo\n"
        assert (await describe(dis))["state"] == "RUNNING"

    async def test_what_retention_takes_in_a_pause_is_counted_as_discarded(self, dis, clock):
        await add(dis)
        await put(dis, b"one", b"two")
        await act(dis, "stop", "t")
        clock.advance(hours=25)
        await put(dis, b"three")
        await act(dis, "start", "t")
        clock.advance(seconds=60)
        assert delivered(dis) == b"three\n"
        first, second = (await describe(dis))["partitions"]
        assert (first["discard"], first["last_transfer_offset"]) == (2, 3)
        assert second["discard"] == 0

    async def test_what_retention_took_is_no_reason_to_deliver_again_and_again(
        self, dis, clock, caplog
    ):
        await add(dis)
        await put(dis, b"one")
        await act(dis, "stop", "t")
        clock.advance(hours=25)
        await act(dis, "start", "t")
        with caplog.at_level(logging.ERROR):
            clock.advance(hours=1)
        assert (files(dis), caplog.text) == ({}, "")

    async def test_a_start_of_a_running_task_and_a_pause_of_a_paused_one_change_nothing(
        self, dis, clock
    ):
        await add(dis)
        await put(dis, b"one")
        clock.advance(seconds=30)
        await act(dis, "start", "t")
        clock.advance(seconds=30)
        assert delivered(dis) == b"one\n"
        await act(dis, "stop", "t")
        await act(dis, "stop", "t")
        assert (await describe(dis))["state"] == "PAUSED"

    async def test_a_batch_is_all_or_nothing(self, dis):
        await add(dis, "one")
        await add(dis, "two")
        await act(dis, "stop", "one", "none", "two", status=400, code="DIS.4354")
        assert [t["state"] for t in (await dis.call("GET", TASKS))["tasks"]] == ["RUNNING"] * 2
        await act(dis, "stop", "one", "two", "one")
        assert dis.last.headers["Content-Length"] == "0"
        assert [t["state"] for t in (await dis.call("GET", TASKS))["tasks"]] == ["PAUSED"] * 2

    async def test_another_action_is_refused(self, dis):
        await add(dis)
        for action in ("delete", None, 5, ["start"]):
            message = await dis.refused(
                guesses.NO_ACTION_CODE,
                "POST",
                f"{TASKS}/action",
                {"action": action, "tasks": [{"id": "x"}]},
            )
            assert "start, stop" in message


class TestRestarts:
    async def test_the_position_survives_and_the_files_hold_each_record_once(self, tmp_path):
        clock = ManualClock(START_MS)
        for number in range(4):
            async with running(tmp_path, clock) as dis:
                if not number:
                    await dis.create(partitions=2)
                    await add(dis)
                await put(dis, b"a%d" % number)
                clock.advance(seconds=90)
                await put(dis, b"b%d" % number, partition=1)
                clock.advance(seconds=10)
        async with running(tmp_path, clock) as dis:
            clock.advance(seconds=60)
            assert delivered(dis) == b"a0\na1\na2\na3\n"
            assert delivered(dis, 1) == b"b0\nb1\nb2\nb3\n"
        assert sorted(path.name for path in (tmp_path / "obs").iterdir()) == ["bucket"]

    async def test_what_was_due_while_the_server_was_down_is_delivered_at_its_start(self, tmp_path):
        clock = ManualClock(START_MS)
        async with running(tmp_path, clock) as dis:
            await dis.create()
            await add(dis, partition_format="yyyy/MM/dd/HH/mm")
            await put(dis, b"one")
        clock.advance(hours=5)
        async with running(tmp_path, clock) as dis:
            await describe(dis)
            assert [(name[:16], text) for name, text in files(dis).items()] == [
                ("2023/11/14/22/14", b"one\n")
            ]

    async def test_a_pause_survives(self, tmp_path):
        clock = ManualClock(START_MS)
        async with running(tmp_path, clock) as dis:
            await dis.create()
            await add(dis)
            await put(dis, b"one")
            await act(dis, "stop", "t")
        async with running(tmp_path, clock) as dis:
            clock.advance(hours=1)
            assert ((await describe(dis))["state"], files(dis)) == ("PAUSED", {})
            await act(dis, "start", "t")
            clock.advance(minutes=1)
            assert delivered(dis) == b"one\n"

    async def test_a_crash_between_a_file_and_its_position_writes_the_same_file_again(
        self, tmp_path, monkeypatch
    ):
        clock = ManualClock(START_MS)
        async with running(tmp_path, clock) as dis:
            await dis.create(partitions=2)
            await add(dis, partition_format="yyyy/MM/dd/HH/mm")
            await put(dis, b"one", b"two")
            await put(dis, b"three", partition=1)
        with monkeypatch.context() as patch:
            # The process ends here: nothing of what follows the file happens.
            def die(*args, **kwargs):
                raise KeyboardInterrupt

            patch.setattr("aiodis.server.storage.transfer_tasks.TaskTable.save", die)
            engine = open_engine(tmp_path)
            with pytest.raises(KeyboardInterrupt):
                engine.agenda.run_until(START_MS + 60_000)
            engine.close()
        assert len(list((tmp_path / "obs/bucket").rglob("*_shardId-0000000000_*"))) == 1

        clock.advance(hours=2)
        async with running(tmp_path, clock) as dis:
            clock.advance(minutes=5)
            assert (delivered(dis), delivered(dis, 1)) == (b"one\ntwo\n", b"three\n")
            assert len(files(dis)) == 2

    async def test_buckets_in_memory_outlive_a_stop(self):
        clock = ManualClock(START_MS)
        server = LocalDIS(clock=clock)
        server.buckets.write("bucket", "a", b"1")
        async with server:
            assert server.buckets.read("bucket", "a") == b"1"
        assert isinstance(server.buckets, MemoryBuckets)


def open_engine(path):
    from aiodis.server.dump.buckets import FolderBuckets
    from aiodis.server.engine import Engine

    return Engine.open(path, buckets=FolderBuckets(path / "obs"))


class TestFailures:
    async def test_a_task_that_cannot_write_is_abnormal_until_it_can(self, tmp_path, caplog):
        clock = ManualClock(START_MS)
        async with running(tmp_path, clock) as dis:
            await dis.create(partitions=2)
            await add(dis, file_prefix="dir")
            await add(dis, "well", obs_bucket_path="well")
            await put(dis, b"one")
            (tmp_path / "obs/bucket/dir").write_bytes(b"in the way")
            with caplog.at_level(logging.ERROR):
                clock.advance(seconds=60)
            assert "dump task t failed" in caplog.text
            assert (await describe(dis))["state"] == "ABNORMAL"
            assert (await describe(dis, "well"))["state"] == "RUNNING"
            assert delivered(dis, bucket="well") == b"one\n"

            (tmp_path / "obs/bucket/dir").unlink()
            await put(dis, b"two")
            clock.advance(seconds=60)
            assert (await describe(dis))["state"] == "RUNNING"
            assert delivered(dis) == b"one\ntwo\n"


class TestDescriptions:
    async def test_a_task_tells_its_destination_and_how_far_each_partition_is(self, dis, clock):
        await add(dis, consumer_strategy="LATEST")
        await put(dis, b"a", b"b")
        clock.advance(seconds=60)
        found = await describe(dis)
        stream_id, task_id = found.pop("stream_id"), found.pop("task_id")
        assert len(stream_id) == len(task_id) == 20
        done = {"state": "RUNNING", "status": "ACTIVE", "discard": 0}
        assert found == {
            "stream_name": "s",
            "task_name": "t",
            "state": "RUNNING",
            "destination_type": "OBS",
            "create_time": START_MS,
            "last_transfer_timestamp": START_MS + 60_000,
            "partitions": [
                done
                | {"partitionId": "shardId-0000000000", "last_transfer_offset": 2}
                | {"last_transfer_timestamp": START_MS + 60_000},
                done
                | {"partitionId": "shardId-0000000001", "last_transfer_offset": 0}
                | {"last_transfer_timestamp": 0},
            ],
            "obs_destination_description": {
                **OBS,
                "task_name": "t",
                "consumer_strategy": "LATEST",
                "destination_file_type": "text",
                "record_delimiter": "\n",
            },
        }
        listed = await dis.call("GET", TASKS)
        assert listed == {
            "total_number": 1,
            "quota": 5,
            "has_more_tasks": False,
            "tasks": [
                {
                    "task_id": task_id,
                    "task_name": "t",
                    "state": "RUNNING",
                    "destination_type": "OBS",
                    "create_time": START_MS,
                    "last_transfer_timestamp": START_MS + 60_000,
                }
            ],
        }

    async def test_tasks_are_listed_by_name_in_pages_of_ten(self, dis):
        for number in range(11):
            await add(dis, f"t{number:02d}")
        page = await dis.call("GET", TASKS)
        assert (page["total_number"], len(page["tasks"]), page["has_more_tasks"]) == (11, 10, True)
        last = page["tasks"][-1]["task_name"]
        page = await dis.call("GET", TASKS, {"start_task_name": last, "limit": 5})
        assert [task["task_name"] for task in page["tasks"]] == ["t10"]
        assert page["has_more_tasks"] is False

    async def test_the_vendors_other_route_creates_and_describes_too(self, dis):
        await add(dis, path="stream/s/transfer-tasks/")
        found = await dis.call("GET", "stream/s/transfer-tasks/t")
        assert found == await describe(dis)

    @pytest.mark.parametrize("kind", OTHERS)
    async def test_the_other_destinations_are_kept_and_say_that_they_carry_nothing(
        self, dis, clock, kind, caplog
    ):
        with caplog.at_level(logging.WARNING):
            await add(dis, "t", kind, retry_duration=1800)
        assert f"carries nothing: {kind} is not simulated" in caplog.text
        await put(dis, b"data")
        clock.advance(hours=1)
        found = await describe(dis)
        assert found["state"] == found["partitions"][0]["state"] == "ABNORMAL"
        assert found["partitions"][0]["last_transfer_offset"] == 0
        described = found[f"{kind.lower()}_destination_description"]
        expected = {k: v for k, v in OTHERS[kind].items() if k != "user_password"}
        assert described.items() >= expected.items()
        assert described["retry_duration"] == 1800
        assert not dis.server.buckets.files("bucket")

    async def test_a_password_is_neither_told_nor_kept(self, tmp_path):
        async with running(tmp_path, ManualClock(START_MS)) as dis:
            await dis.create()
            await add(dis, "t", "DWS", user_password="very-secret-text")
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert b"kms_user_key_name" in kept
        assert b"very-secret-text" not in kept

    @pytest.mark.parametrize("kind", ["parquet", "carbon"])
    async def test_another_file_type_is_for_json_and_says_that_it_carries_nothing(
        self, dis, clock, kind, caplog
    ):
        wrong = body(destination_file_type=kind)
        message = await dis.refused("DIS.4200", "POST", TASKS, wrong)
        assert message.endswith(f"[destination_file_type: {kind} needs a stream of JSON]")
        await dis.create("json", data_type="JSON")
        await add(dis, path="streams/json/transfer-tasks", destination_file_type=kind)
        assert f"OBS as {kind} is not simulated" in caplog.text
        await dis.put([record(b"{}")], "json")
        clock.advance(hours=1)
        found = await dis.call("GET", "streams/json/transfer-tasks/t")
        assert (found["state"], files(dis)) == ("ABNORMAL", {})


class TestUpdates:
    async def test_an_update_changes_where_records_go_and_keeps_the_position(self, dis, clock):
        await add(dis)
        await put(dis, b"one")
        clock.advance(seconds=60)
        changed = body(
            obs_bucket_path="other", deliver_time_interval=30, consumer_strategy="TRIM_HORIZON"
        )
        await dis.call("PUT", TASKS, changed, status=204)
        await put(dis, b"two")
        clock.advance(seconds=30)
        assert (delivered(dis), delivered(dis, bucket="other")) == (b"one\n", b"two\n")
        shown = (await describe(dis))["obs_destination_description"]
        assert (shown["obs_bucket_path"], shown["deliver_time_interval"]) == ("other", 30)

    async def test_an_update_is_refused_where_there_is_no_task_or_one_of_another_kind(self, dis):
        await dis.refused("DIS.4354", "PUT", TASKS, body())
        await add(dis)
        message = await dis.refused("DIS.4200", "PUT", TASKS, body("t", "DLI"))
        assert "it is OBS, and stays so" in message
        await dis.refused("DIS.4306", "PUT", TASKS, body(obs_bucket_path="No_Bucket"))


class TestRefusals:
    async def test_a_stream_has_five_tasks_at_most(self):
        async with calling() as dis:
            await dis.create()
            for number in range(5):
                await add(dis, f"t{number}")
            message = await dis.refused("DIS.4357", "POST", TASKS, body("sixth"))
            assert message == "Exceeded transfer task quota. [5 tasks]"
            await dis.call("DELETE", f"{TASKS}/t3", status=204)
            await add(dis, "sixth")

    async def test_a_name_is_taken_once_in_a_stream(self, dis):
        await add(dis)
        await dis.refused("DIS.4355", "POST", TASKS, body(deliver_time_interval=30))
        await dis.create("other")
        await add(dis, path="streams/other/transfer-tasks")

    async def test_what_does_not_exist_is_told(self, dis):
        await dis.refused("DIS.4354", "GET", f"{TASKS}/none")
        await dis.refused("DIS.4354", "DELETE", f"{TASKS}/none")
        for method, path, sent in [
            ("GET", "transfer-tasks", None),
            ("GET", "transfer-tasks/t", None),
            ("DELETE", "transfer-tasks/t", None),
            ("POST", "transfer-tasks", body()),
            ("PUT", "transfer-tasks", body()),
            ("POST", "transfer-tasks/action", {"action": "stop", "tasks": [{"id": "x"}]}),
        ]:
            await dis.refused("DIS.4301", method, f"streams/none/{path}", sent)

    @pytest.mark.parametrize(
        ("code", "kind", "wrong"),
        [
            ("DIS.4306", "OBS", {"obs_bucket_path": "No_Bucket"}),
            ("DIS.4306", "DLI", {"obs_bucket_path": "../../up"}),
            ("DIS.4306", "CLOUDTABLE", {"obs_backup_bucket_path": "b"}),
            ("DIS.4335", "OBS", {"agency_name": ""}),
            ("DIS.4335", "MRS", {"agency_name": "x" * 65}),
            ("DIS.4336", "MRS", {"mrs_hdfs_path": "user"}),
            ("DIS.4208", "MRS", {"mrs_cluster_id": "none"}),
            ("DIS.4200", "OBS", {"agency_name": None}),
            ("DIS.4200", "OBS", {"deliver_time_interval": 29}),
            ("DIS.4200", "OBS", {"file_prefix": "/a"}),
            ("DIS.4200", "CLOUDTABLE", {"cloudtable_table_name": None}),
        ],
    )
    async def test_a_wrong_destination_gets_its_code_and_its_field_and_leaves_nothing(
        self, dis, code, kind, wrong
    ):
        message = await dis.refused(code, "POST", TASKS, body("t", kind, **wrong))
        if code in {"DIS.4200", "DIS.4335"}:
            [field] = wrong
            assert field in message
        assert (await dis.call("GET", TASKS))["tasks"] == []

    async def test_a_bucket_that_cannot_be_made_is_an_access_error(self, tmp_path):
        async with running(tmp_path, ManualClock(START_MS)) as dis:
            await dis.create()
            (tmp_path / "obs").mkdir()
            (tmp_path / "obs/bucket").write_bytes(b"")
            await dis.refused("DIS.4310", "POST", TASKS, body())
            assert (await dis.call("GET", TASKS))["total_number"] == 0

    async def test_a_server_that_forgot_its_tasks_does_not_start(self, tmp_path):
        import sqlite3

        from aiodis.server import CatalogDamagedError

        async with running(tmp_path, ManualClock(START_MS)) as dis:
            await dis.create()
            await add(dis)
        with sqlite3.connect(tmp_path / "catalog.db") as db:
            db.execute("UPDATE transfer_tasks SET definition = '{}'")
        db.close()
        with pytest.raises(CatalogDamagedError, match="dump tasks"):
            await LocalDIS(tmp_path).start()
