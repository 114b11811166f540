"""Every operation of the vendor's current SDK, unchanged, against `aiodis serve`.

One life of a stream, an app and a dump task. A call is a request object; which of the
client's methods it is for follows from its name, and at the end none may be left over.
"""

import asyncio
import inspect
import re
import time
from base64 import b64encode

import pytest
from programs import ACCESS_KEY, PROJECT, SECRET_KEY, ServerProcess

from aiodis import DISClient

v = pytest.importorskip("huaweicloudsdkdis.v2")
core = pytest.importorskip("huaweicloudsdkcore.auth.credentials")
configs = pytest.importorskip("huaweicloudsdkcore.http.http_config")

pytestmark = [
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    pytest.mark.filterwarnings("default::ResourceWarning"),
]

DATA = b64encode(b"data").decode()
AT = {"stream_name": "s", "partition_id": "0", "app_name": "app", "checkpoint_type": "LAST_READ"}


def method_of(request):
    """The client's method that takes a request."""
    name = type(request).__name__.removesuffix("Request")
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def operations():
    """The names of all operations of the client."""
    found = inspect.getmembers(v.DisClient, inspect.isfunction)
    return {name for name, _ in found if f"_{name}_http_info" in vars(v.DisClient)}


def live(client, life):
    """Make the calls of a life; tell which operations they were."""
    done, answer = set(), None
    while True:
        try:
            request = life.send(answer)
        except StopIteration:
            return done
        answer = getattr(client, method_of(request))(request)
        done.add(method_of(request))


def streams():
    body = v.CreateStreamReq(stream_name="s", partition_count=1, data_duration=24)
    yield v.CreateStreamRequest(body=body)
    listed = yield v.ListStreamsRequest()
    assert listed.stream_names == ["s"]
    target = v.UpdatePartitionCountReq(stream_name="s", target_partition_count=2)
    yield v.UpdatePartitionCountRequest(stream_name="s", body=target)
    changed = v.UpdateStreamReq(stream_name="s", data_duration=48)
    yield v.UpdateStreamRequest(stream_name="s", body=changed)
    found = yield v.ShowStreamRequest(stream_name="s", limit_partitions=1)
    assert (found.status, found.retention_period) == ("RUNNING", 48)
    assert [p.partition_id for p in found.partitions] == ["shardId-0000000000"]
    assert found.has_more_partitions is True
    policies = yield v.ListPoliciesRequest(stream_name="s")
    assert policies.rules == []


def records():
    entries = [
        v.PutRecordsRequestEntry(data=DATA, partition_id="0"),
        v.PutRecordsRequestEntry(data=DATA, partition_key="k", explicit_hash_key="0"),
    ]
    body = v.PutRecordsRequest(stream_name="s", records=entries)
    put = yield v.SendRecordsRequest(body=body)
    assert put.failed_record_count == 0
    assert [r.sequence_number for r in put.records] == ["0", "1"]
    asked = {"stream_name": "s", "partition_id": "0", "cursor_type": "TRIM_HORIZON"}
    cursor = yield v.ShowCursorRequest(**asked)
    got = yield v.ConsumeRecordsRequest(partition_cursor=cursor.partition_cursor)
    assert [(r.data, r.partition_key) for r in got.records] == [(DATA, None), (DATA, "k")]
    assert got.next_partition_cursor


def apps():
    yield v.CreateAppRequest(body=v.CreateAppReq(app_name="app"))
    commit = v.CommitCheckpointReq(**AT, sequence_number="1", metadata="m")
    yield v.CommitCheckpointRequest(body=commit)
    found = yield v.ShowCheckpointRequest(**AT)
    assert (found.sequence_number, found.metadata) == ("1", "m")
    state = yield v.ShowConsumerStateRequest(
        app_name="app", stream_name="s", checkpoint_type="LAST_READ"
    )
    assert [s.sequence_number for s in state.partition_consuming_states] == ["1", "-1"]
    listed = yield v.ListAppRequest(stream_name="s")
    assert [app.app_name for app in listed.apps] == ["app"]
    shown = yield v.ShowAppRequest(app_name="app")
    assert shown.commit_checkpoint_stream_names == ["s"]
    yield v.DeleteCheckpointRequest(**AT)
    yield v.DeleteAppRequest(app_name="app")
    listed = yield v.ListAppRequest()
    assert listed.apps == []


def metrics():
    period = {"start_time": int(time.time()) - 600, "end_time": int(time.time())}
    one = "total_put_records_per_stream"
    found = yield v.ShowStreamMetricsRequest(stream_name="s", label=one, **period)
    assert found.metrics.label == one
    assert sum(point.value for point in found.metrics.data_points) == 2
    several = f"{one},total_put_req_suc_per_stream"
    found = yield v.ShowStreamMetricsRequest(stream_name="s", label_list=several, **period)
    assert ",".join(series.label for series in found.metrics_list) == several
    found = yield v.ShowPartitionMetricsRequest(
        stream_name="s", partition_id="0", label="total_get_bytes_per_partition", **period
    )
    assert sum(point.value for point in found.metrics.data_points) == 8


def tags():
    stream = yield v.ShowStreamRequest(stream_name="s")
    place = {"stream_id": stream.stream_id}
    yield v.CreateTagRequest(**place, body=v.CreateTagReq(tag=v.Tag(key="a", value="1")))
    several = [v.Tag(key="b", value="2"), v.Tag(key="c", value="3")]
    body = v.BatchCreateTagsReq(action="create", tags=several)
    yield v.BatchCreateTagsRequest(**place, body=body)
    found = yield v.ShowStreamTagsRequest(**place)
    assert {tag.key: tag.value for tag in found.tags} == {"a": "1", "b": "2", "c": "3"}
    yield v.DeleteTagRequest(**place, key="a")
    body = v.BatchDeleteTagsReq(action="delete", tags=several[:1])
    yield v.BatchDeleteTagsRequest(**place, body=body)
    found = yield v.ListTagsRequest()
    assert [(tag.key, tag.values) for tag in found.tags] == [("c", ["3"])]
    asked = v.ListResourceInstancesReq(
        action="filter", limit="10", offset="0", tags=[v.Tags(key="c", values=["3"])]
    )
    found = yield v.ListResourcesByTagsRequest(body=asked)
    [resource] = found.resources
    assert (resource.resource_name, resource.tags[0].key) == ("s", "c")
    counted = v.ListResourceInstancesReq(action="count")
    found = yield v.ListResourcesByTagsRequest(body=counted)
    assert found.total_count == 1


def the_end():
    yield v.DeleteStreamRequest(stream_name="s")
    listed = yield v.ListStreamsRequest()
    assert listed.stream_names == []


def dump_tasks(id_of_task):
    target = v.OBSDestinationDescriptorRequest(
        task_name="task",
        agency_name="dis_admin_agency",
        deliver_time_interval=30,
        consumer_strategy="TRIM_HORIZON",
        file_prefix="",
        partition_format="yyyy/MM/dd",
        obs_bucket_path="bucket",
        destination_file_type="text",
        record_delimiter="|",
    )
    body = v.CreateTransferTaskReq(destination_type="OBS", obs_destination_descriptor=target)
    yield v.CreateObsTransferTaskRequest(stream_name="s", body=body)
    listed = yield v.ListTransferTasksRequest(stream_name="s")
    [task] = listed.tasks
    assert (task.task_name, task.destination_type) == ("task", "OBS")
    # The ids of tasks are not in this SDK's replies, only in its requests.
    which = [v.BatchTransferTask(id=id_of_task("task"))]
    body = v.BatchStopTransferTaskReq(action="stop", tasks=which)
    yield v.BatchStopTransferTaskRequest(stream_name="s", body=body)
    shown = yield v.ShowTransferTaskRequest(stream_name="s", task_name="task")
    assert (shown.state, shown.obs_destination_description.obs_bucket_path) == ("PAUSED", "bucket")
    body = v.BatchStartTransferTaskReq(action="start", tasks=which)
    yield v.BatchStartTransferTaskRequest(stream_name="s", body=body)
    shown = yield v.ShowTransferTaskRequest(stream_name="s", task_name="task")
    assert shown.state in {"RUNNING", "STARTING"}
    yield v.DeleteTransferTaskRequest(stream_name="s", task_name="task")
    listed = yield v.ListTransferTasksRequest(stream_name="s")
    assert listed.tasks == []


def lives(id_of_task):
    yield from (streams(), records(), apps(), metrics(), tags(), dump_tasks(id_of_task), the_end())


def client_of(server, scheme, **http):
    credentials = core.BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT)
    return (
        v.DisClient.new_builder()
        .with_credentials(credentials)
        .with_endpoint(f"{scheme}://127.0.0.1:{server.port}")
        .with_http_config(configs.HttpConfig(**http))
        .build()
    )


async def task_id(server, name, scheme, ssl_ca_cert=None):
    settings = {**server.client_settings, "endpoint": f"{scheme}://127.0.0.1:{server.port}"}
    async with DISClient(**settings, ca_file=ssl_ca_cert) as dis:
        return (await dis.transfer_tasks.describe(stream_name="s", task_name=name)).task_id


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_operation_of_the_vendors_sdk_works(tmp_path, scheme):
    data = tmp_path / "data"
    options, http = (), {}
    if scheme == "https":
        options, http = ("--tls",), {"ssl_ca_cert": str(data / "tls" / "ca.pem")}
    with ServerProcess(data, *options) as server:
        server.start()
        client = client_of(server, scheme, **http)

        def id_of_task(name):
            return asyncio.run(task_id(server, name, scheme, **http))

        done = set().union(*(live(client, life) for life in lives(id_of_task)))
        assert server.stop() == 0
    assert done == operations()
    assert len(done) == 33
