"""All calls of the vendor's older SDK; runs in an environment that has it.

python vendor_v2.py ENDPOINT ACCESS_KEY SECRET_KEY PROJECT DERIVES, prints the calls it made.
"""

import inspect
import json
import sys
import time

from dis_sdk_python import disclient

# What sets something up and calls nobody.
NO_CALLS = {"updateAuthInfo", "setUserAgent"}


def calls_of(client):
    """Each call that `life` makes is noted by its name."""
    done = set()

    def call(name, *arguments, **keywords):
        done.add(name)
        return getattr(client, name)(*arguments, **keywords)

    return call, done


def life(call):
    call("createStream", "s", 2, "BLOB", "COMMON")
    assert call("listStream").stream_names == ["s"]
    stream = call("describeStream", "s")
    assert (stream.statusCode, len(stream.partitions)) == (200, 2)

    put = call("putRecords", "s", [{"data": "one", "partition_id": "shardId-0000000000"}])
    assert put.failedRecordCount == 0
    put = call("put_records", "", stream.body["stream_id"], [{"data": "two", "partition_id": "0"}])
    assert put.failedRecordCount == 0
    cursor = call("getCursor", "s", "0", "TRIM_HORIZON").cursor
    assert len(call("getRecords", cursor).recordResult) == 2

    call("createApp", "app")
    assert call("describeApp", "app").body["app_name"] == "app"
    call("commitCheckpoint", "s", "app", "0", "2")
    assert call("getCheckpoint", "s", "app", "0").seqNumber == "2"
    # By default it asks for the partitions after 0, which is then left out (reference 5.2.5).
    state = call("streamConsume", "s", "app", start_partition_id="")
    assert len(state.partition_consuming_states) == 2
    call("deleteCheckpoint", "s", "app")
    assert call("listApp", "").body["total_number"] == 1
    call("deleteApp", "app")

    now = int(time.time())
    label = "total_put_records_per_stream"
    points = call("streamMonitor", "s", label, now - 60, now).dataPoints
    assert sum(point["value"] for point in points) == 2
    label = "total_get_bytes_per_partition"
    points = call("partitionMonitor", "s", "0", label, now - 60, now).dataPoints
    assert sum(point["value"] for point in points) == 6

    target = {
        "agency_name": "dis_admin_agency",
        "deliver_time_interval": 30,
        "consumer_strategy": "LATEST",
        "obs_bucket_path": "bucket",
        "destination_file_type": "text",
        "record_delimiter": "|",
    }
    call("add_dump_task", "s", "task", "OBS", target)
    [task] = call("list_dump_task", "s").tasks
    assert task["task_name"] == "task"
    assert call("describe_dump_task", "s", "task").body["destination_type"] == "OBS"
    call("delete_dump_task", "s", "task")

    call("changepartitionQuantity", "s", 3)
    assert len(call("describeStream", "s").partitions) == 3
    call("deleteStream", "s")
    assert call("listStream").stream_names == []


def main():
    endpoint, access_key, secret_key, project, derives = sys.argv[1:]
    client = disclient(
        endpoint=endpoint,
        ak=access_key,
        sk=secret_key,
        projectid=project,
        region="cn-north-4",
        derivationKeySwitch=derives == "derives",
    )
    call, done = calls_of(client)
    life(call)
    public = {name for name, _ in inspect.getmembers(client, inspect.ismethod) if name[0] != "_"}
    missing = sorted(public - NO_CALLS - done)
    sys.stdout.write(json.dumps({"done": sorted(done), "missing": missing}))


if __name__ == "__main__":
    main()
