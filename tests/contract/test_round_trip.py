"""Every row over a socket: client, embedded DIS, and back; and how each one says no."""

import pytest
from test_table import BUCKET, LEAST

from aiodis import DISClient
from aiodis.api import OPERATIONS
from aiodis.errors import ServiceError, error_class
from aiodis.record import Record
from aiodis.server import LocalDIS

ROWS = {row.name: row for row in OPERATIONS}

# What a row without anything to work on is refused with; those that are not here list nothing.
REFUSED = {
    **dict.fromkeys(
        (
            "streams.delete",
            "streams.describe",
            "streams.scale",
            "streams.update",
            "streams.update_v2",
            "streams.scaling_log",
            "policies.create",
            "policies.list",
            "policies.delete",
            "records.put",
            "records.get_cursor",
            "transfer_tasks.create",
            "transfer_tasks.list",
            "transfer_tasks.delete",
            "transfer_tasks.describe",
            "transfer_tasks.start",
            "transfer_tasks.pause",
            "transfer_tasks.update",
            "metrics.of_stream",
            "metrics.of_partition",
        ),
        "DIS.4301",
    ),
    **dict.fromkeys(
        (
            "apps.delete",
            "apps.describe",
            "apps.describe_state",
            "checkpoints.commit",
            "checkpoints.get",
            "checkpoints.delete",
            "groups.leave",
        ),
        "DIS.4332",
    ),
    **dict.fromkeys(
        ("tags.add", "tags.list", "tags.delete", "tags.add_batch", "tags.delete_batch"), "DIS.4603"
    ),
    "records.get": "DIS.4217",
    "events.update_subscription": "DIS.4603",
    "events.delete_subscription": "DIS.4603",
}


async def call(client, name, /, **parameters):
    chapter, _, row = name.partition(".")
    reply = await getattr(getattr(client, chapter), row)(**parameters)
    assert type(reply) is ROWS[name].reply
    return reply


async def live(client):
    """Call every row with what makes it answer; give the names in order."""
    done = []

    async def does(name, /, **parameters):
        done.append(name)
        return await call(client, name, **parameters)

    at = {"app_name": "a", "stream_name": "s", "partition_id": "0"}
    member = {"app_name": "a", "client_id": "c"}

    await does("streams.create", stream_name="s", partition_count=1, tags=[{"key": "k"}])
    assert (await does("streams.list")).stream_names == ["s"]
    described = await does("streams.describe", stream_name="s")
    stream_id, created = described.stream_id, described.create_time
    await does("streams.scale", stream_name="s", target_partition_count=2)
    await does("streams.update", stream_name="s", data_duration=48)
    await does("streams.update_v2", stream_name="s", data_type="BLOB")
    await does("streams.scaling_log", stream_name="s")

    policy = LEAST["policies.create"] | {"stream_id": stream_id}
    await does("policies.create", **policy)
    assert [r.principal_name for r in (await does("policies.list", stream_name="s")).rules] == [
        "shop.*"
    ]
    await does("policies.delete", **policy)

    await does("apps.create", app_name="a")
    assert [app.app_name for app in (await does("apps.list")).apps] == ["a"]
    assert (await does("apps.describe", app_name="a")).app_name == "a"

    put = await does("records.put", stream_name="s", records=[Record(b"\0\xff", partition_id="0")])
    assert put.failed_record_count == 0
    cursor = await does("records.get_cursor", stream_name="s", partition_id="0")
    got = await does("records.get", partition_cursor=cursor.partition_cursor)
    assert [record.data for record in got.records] == [b"\0\xff"]

    await does("checkpoints.commit", **at, sequence_number="1")
    assert (await does("checkpoints.get", **at)).sequence_number == 1
    state = await does("apps.describe_state", app_name="a", stream_name="s")
    assert [p.sequence_number for p in state.partition_consuming_states] == [1, -1]
    await does("checkpoints.delete", **at)

    await does("transfer_tasks.create", stream_name="s", destination=BUCKET)
    await does("transfer_tasks.update", stream_name="s", destination=BUCKET)
    (task,) = (await does("transfer_tasks.list", stream_name="s")).tasks
    await does("transfer_tasks.describe", stream_name="s", task_name=task.task_name)
    await does("transfer_tasks.pause", stream_name="s", task_ids=[task.task_id])
    await does("transfer_tasks.start", stream_name="s", task_ids=[task.task_id])
    await does("transfer_tasks.delete", stream_name="s", task_name=task.task_name)

    for name in ("metrics.of_stream", "metrics.of_partition"):
        await does(
            name, **LEAST[name] | {"start_time": created // 1000, "end_time": created // 1000}
        )

    await does("tags.add", stream_id=stream_id, tag={"key": "one", "value": "1"})
    await does("tags.add_batch", stream_id=stream_id, tags=[{"key": "two", "value": "2"}])
    keys = [tag.key for tag in (await does("tags.list", stream_id=stream_id)).tags]
    assert keys == ["k", "one", "two"]
    assert (await does("tags.list_region")).tags
    assert (await does("tags.find")).resources
    assert (await does("tags.count")).total_count == 1
    await does("tags.delete", stream_id=stream_id, key="one")
    await does("tags.delete_batch", stream_id=stream_id, tags=[{"key": "two"}])

    assert (await does("quotas.get")).quotas.resources
    await does("events.list")
    assert (await does("events.list_types")).events
    await does("events.create_subscription", name="n", topic_name="t")
    (subscription,) = (await does("events.list_subscriptions")).subscriptions
    await does("events.update_subscription", subscription_id=subscription.id, enable=False)
    await does("events.delete_subscription", subscription_id=subscription.id)

    await does("groups.join", **member, stream_names=["s"])
    await does("groups.sync", **member)
    await does("groups.heartbeat", **member)
    await does("groups.leave", **member)

    await does("apps.delete", app_name="a")
    await does("streams.delete", stream_name="s")
    return done


async def test_every_row_is_answered_over_a_socket():
    async with LocalDIS() as server, DISClient(**server.client_settings) as client:
        done = await live(client)
    assert sorted(done) == sorted(ROWS)


@pytest.mark.parametrize("name", REFUSED)
async def test_a_row_for_what_is_not_there_is_refused_with_its_code(name):
    async with LocalDIS() as server, DISClient(**server.client_settings) as client:
        with pytest.raises(ServiceError) as caught:
            await call(client, name, **LEAST[name])
    error = caught.value
    assert (error.code, error.operation) == (REFUSED[name], name)
    assert type(error) is error_class(error.status, error.code)
    assert error.message
    assert error.request_id


@pytest.mark.parametrize("name", sorted(ROWS.keys() - REFUSED.keys()))
async def test_any_other_row_answers_on_an_empty_server(name):
    async with LocalDIS() as server, DISClient(**server.client_settings) as client:
        await call(client, name, **LEAST[name])
