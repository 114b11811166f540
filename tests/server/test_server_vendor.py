"""The vendor's own Python SDK, unchanged, against the embedded DIS."""

import asyncio
from types import SimpleNamespace

import pytest
from server_caller import calling

from aiodis import DISClient
from aiodis.server import ManualClock

vendor = pytest.importorskip("huaweicloudsdkdis.v2")
core = pytest.importorskip("huaweicloudsdkcore.auth.credentials")
configs = pytest.importorskip("huaweicloudsdkcore.http.http_config")
exceptions = pytest.importorskip("huaweicloudsdkcore.exceptions.exceptions")


def client_of(server, secret_key=None, **http):
    access_key, known = server.credentials.access_key, server.credentials.secret_key
    credentials = core.BasicCredentials(access_key, secret_key or known, server.project_id)
    return (
        vendor.DisClient.new_builder()
        .with_credentials(credentials)
        .with_endpoint(server.endpoint)
        .with_http_config(configs.HttpConfig(**http))
        .build()
    )


def whole_life_of_a_stream(client):
    v = vendor
    body = v.CreateStreamReq(stream_name="s", partition_count=2, data_duration=24)
    client.create_stream(v.CreateStreamRequest(body=body))
    assert client.list_streams(v.ListStreamsRequest()).stream_names == ["s"]
    described = client.show_stream(v.ShowStreamRequest(stream_name="s"))
    assert described.status == "RUNNING"
    assert [p.partition_id for p in described.partitions] == [
        "shardId-0000000000",
        "shardId-0000000001",
    ]
    paged = v.ShowStreamRequest(
        stream_name="s", start_partition_id="shardId-0000000000", limit_partitions=1
    )
    assert len(client.show_stream(paged).partitions) == 1

    entries = [
        v.PutRecordsRequestEntry(data="ZGF0YQ==", partition_id="0"),
        v.PutRecordsRequestEntry(data="ZGF0YTI=", partition_key="k", explicit_hash_key="0"),
    ]
    put = client.send_records(
        v.SendRecordsRequest(body=v.PutRecordsRequest(stream_name="s", records=entries))
    )
    assert put.failed_record_count == 0
    assert [r.sequence_number for r in put.records] == ["0", "1"]

    asked = v.ShowCursorRequest(stream_name="s", partition_id="0", cursor_type="TRIM_HORIZON")
    cursor = client.show_cursor(asked).partition_cursor
    got = client.consume_records(v.ConsumeRecordsRequest(partition_cursor=cursor))
    assert [r.data for r in got.records] == ["ZGF0YQ==", "ZGF0YTI="]
    assert got.records[1].partition_key == "k"
    assert got.next_partition_cursor

    target = v.UpdatePartitionCountReq(stream_name="s", target_partition_count=3)
    client.update_partition_count(v.UpdatePartitionCountRequest(stream_name="s", body=target))
    changed = v.UpdateStreamReq(stream_name="s", data_duration=48)
    client.update_stream(v.UpdateStreamRequest(stream_name="s", body=changed))
    described = client.show_stream(v.ShowStreamRequest(stream_name="s"))
    assert (len(described.partitions), described.retention_period) == (3, 48)


def whole_life_of_an_app(client):
    v = vendor
    client.create_app(v.CreateAppRequest(body=v.CreateAppReq(app_name="app")))
    commit = v.CommitCheckpointReq(
        app_name="app",
        checkpoint_type="LAST_READ",
        stream_name="s",
        partition_id="0",
        sequence_number="1",
        metadata="m",
    )
    client.commit_checkpoint(v.CommitCheckpointRequest(body=commit))
    asked = {
        "stream_name": "s",
        "partition_id": "0",
        "checkpoint_type": "LAST_READ",
        "app_name": "app",
    }
    found = client.show_checkpoint(v.ShowCheckpointRequest(**asked))
    assert (found.sequence_number, found.metadata) == ("1", "m")
    state = client.show_consumer_state(
        v.ShowConsumerStateRequest(app_name="app", stream_name="s", checkpoint_type="LAST_READ")
    )
    assert len(state.partition_consuming_states) == 3
    assert client.list_app(v.ListAppRequest()).apps[0].app_name == "app"
    shown = client.show_app(v.ShowAppRequest(app_name="app"))
    assert shown.commit_checkpoint_stream_names == ["s"]
    client.delete_checkpoint(v.DeleteCheckpointRequest(**asked))
    assert client.show_checkpoint(v.ShowCheckpointRequest(**asked)).sequence_number == "-1"
    client.delete_app(v.DeleteAppRequest(app_name="app"))
    client.delete_stream(v.DeleteStreamRequest(stream_name="s"))


def whole_life_of_a_dump_task(client, clock, buckets):
    v = vendor
    client.create_stream(
        v.CreateStreamRequest(body=v.CreateStreamReq(stream_name="d", partition_count=1))
    )
    descriptor = v.OBSDestinationDescriptorRequest(
        task_name="t",
        agency_name="dis_admin_agency",
        deliver_time_interval=30,
        obs_bucket_path="bucket",
        consumer_strategy="LATEST",
        file_prefix="",
        partition_format="yyyy/MM/dd",
        record_delimiter="|",
    )
    asked = v.CreateTransferTaskReq(destination_type="OBS", obs_destination_descriptor=descriptor)
    client.create_obs_transfer_task(v.CreateObsTransferTaskRequest(stream_name="d", body=asked))
    listed = client.list_transfer_tasks(v.ListTransferTasksRequest(stream_name="d"))
    assert listed.total_number == 1
    [task] = listed.tasks
    assert (task.task_name, task.state, task.destination_type) == ("t", "RUNNING", "OBS")

    entries = [v.PutRecordsRequestEntry(data="ZGF0YQ==", partition_id="0")]
    client.send_records(
        v.SendRecordsRequest(body=v.PutRecordsRequest(stream_name="d", records=entries))
    )
    clock.advance(seconds=30)
    # The server's own loop delivers, and has by the time that it answers the next call.
    shown = client.show_transfer_task(v.ShowTransferTaskRequest(stream_name="d", task_name="t"))
    assert (shown.stream_name, shown.last_transfer_timestamp) == ("d", clock.now_ms())
    assert shown.obs_destination_description.record_delimiter == "|"
    assert [p.status for p in shown.partitions] == ["ACTIVE"]
    [name] = buckets.files("bucket")
    assert buckets.read("bucket", name) == b"data|"


def a_dump_task_stops_starts_and_goes(client, task_id):
    v = vendor

    def state():
        [task] = client.list_transfer_tasks(v.ListTransferTasksRequest(stream_name="d")).tasks
        return task.state

    tasks = [v.BatchTransferTask(id=task_id)]
    client.batch_stop_transfer_task(
        v.BatchStopTransferTaskRequest(
            stream_name="d", body=v.BatchStopTransferTaskReq(action="stop", tasks=tasks)
        )
    )
    assert state() == "PAUSED"
    client.batch_start_transfer_task(
        v.BatchStartTransferTaskRequest(
            stream_name="d", body=v.BatchStartTransferTaskReq(action="start", tasks=tasks)
        )
    )
    assert state() == "RUNNING"
    gone = v.DeleteTransferTaskRequest(stream_name="d", task_name="t")
    client.delete_transfer_task(gone)
    with pytest.raises(exceptions.ClientRequestException) as caught:
        client.delete_transfer_task(gone)
    assert caught.value.error_code == "DIS.4354"


def errors_are_understood(client):
    with pytest.raises(exceptions.ClientRequestException) as caught:
        client.show_stream(vendor.ShowStreamRequest(stream_name="s"))
    assert caught.value.status_code == 400
    assert caught.value.error_code == "DIS.4301"
    assert caught.value.error_msg == "The stream does not exist. [s]"
    assert len(caught.value.request_id) == 32


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_the_vendors_sdk_works_unchanged():
    async with calling(anonymous=False) as dis:
        client = client_of(dis.server)
        await asyncio.to_thread(whole_life_of_a_stream, client)
        await asyncio.to_thread(whole_life_of_an_app, client)
        await asyncio.to_thread(errors_are_understood, client)


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_the_vendors_sdk_dumps_a_stream():
    clock = ManualClock()
    async with calling(anonymous=False, clock=clock) as dis:
        client = client_of(dis.server)
        await asyncio.to_thread(whole_life_of_a_dump_task, client, clock, dis.server.buckets)
        # The SDK has no field for the id, which its own batches need; a plain call tells it.
        async with DISClient(**dis.server.client_settings) as ours:
            [task] = [found async for found in ours.transfer_tasks.list_all("d")]
        await asyncio.to_thread(a_dump_task_stops_starts_and_goes, client, task.task_id)


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_the_vendors_sdk_understands_a_refused_signature():
    async with calling(anonymous=False, secret_key="right") as dis:
        client = client_of(dis.server, "another")

        def refused():
            with pytest.raises(exceptions.ClientRequestException) as caught:
                client.list_streams(vendor.ListStreamsRequest())
            assert (caught.value.status_code, caught.value.error_code) == (441, "DIS.4100")

        await asyncio.to_thread(refused)


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_the_vendors_sdk_verifies_the_servers_certificate():
    async with calling(anonymous=False, tls=True) as dis:
        server = dis.server
        trusting = client_of(server, ssl_ca_cert=str(server.ca_file))
        await asyncio.to_thread(whole_life_of_a_stream, trusting)
        stranger = client_of(server)

        def refused():
            with pytest.raises(exceptions.SdkException, match=r"(?i)certificate"):
                stranger.list_streams(vendor.ListStreamsRequest())

        await asyncio.to_thread(refused)


@pytest.mark.filterwarnings("default::DeprecationWarning")
@pytest.mark.filterwarnings("default::ResourceWarning")
async def test_the_vendors_sdk_lists_policies_and_understands_a_lacking_permission(tmp_path):
    file = tmp_path / "accounts.json"
    file.write_text(ACCOUNTS, "utf-8")
    async with calling(anonymous=False, accounts=file) as dis:
        async with DISClient(**dis.server.settings_of("shop", "owner")) as ours:
            await ours.streams.create(stream_name="s", partition_count=1)
            stream_id = (await ours.streams.describe(stream_name="s")).stream_id
            policy = {"stream_name": "s", "stream_id": stream_id, "action_type": "getRecords"}
            await ours.policies.create(**policy, principal_name="mill.bob")
        owner, reader = (client_of(as_user(dis.server, user)) for user in ("owner", "reader"))

        def calls():
            v = vendor
            found = owner.list_policies(v.ListPoliciesRequest(stream_name="s"))
            assert found.stream_id == stream_id
            [rule] = found.rules
            assert (rule.principal_name, rule.action_type) == ("mill.bob", "getRecords")
            with pytest.raises(exceptions.ClientRequestException) as caught:
                reader.list_streams(v.ListStreamsRequest())
            assert (caught.value.status_code, caught.value.error_code) == (403, "DIS.4116")

        await asyncio.to_thread(calls)


ACCOUNTS = """{"accounts": [{"name": "shop", "project_id": "p", "users": [
  {"name": "owner", "keys": [{"access_key": "AK1", "secret_key": "SK1"}]},
  {"name": "reader", "keys": [{"access_key": "AK2", "secret_key": "SK2"}],
   "actions": ["dis:records:read", "dis:streams:get"]}
]}]}"""


def as_user(server, name):
    settings = server.settings_of("shop", name)
    return SimpleNamespace(
        endpoint=settings["endpoint"],
        credentials=settings["credentials"],
        project_id=settings["project_id"],
    )
