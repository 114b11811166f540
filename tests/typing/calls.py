"""Calls that must type-check, and calls that must not. Checked by basedpyright, never run.

A call that must not type-check bears the rule it breaks. Were it accepted, the
comment would be unnecessary, which is an error as well.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=error, reportUnusedCallResult=false
# pyright: reportPrivateUsage=false

from collections.abc import AsyncIterator
from typing import assert_type

from aiodis import (
    Batch,
    Consumer,
    Credentials,
    DISClient,
    FlushReport,
    Producer,
    Receipt,
    ReceivedRecord,
    Record,
    RecordMetadata,
    Static,
)
from aiodis.api import OPERATIONS, Streams
from aiodis.api.apps import App, AppList, ConsumerState
from aiodis.api.checkpoints import Checkpoint
from aiodis.api.destinations import ObsDestination
from aiodis.api.events import Event
from aiodis.api.metrics import Series, SeriesList
from aiodis.api.quotas import Quota
from aiodis.api.records import Cursor
from aiodis.api.streams import (
    Partition,
    ScaleResult,
    ScalingLog,
    StreamDescription,
    StreamInfo,
    StreamList,
    Tag,
    TagInfo,
    UpdateResult,
)
from aiodis.api.tags import Resources, TagFilter, TaggedResource
from aiodis.api.transfer_tasks import TransferTask, TransferTaskDescription, TransferTaskList
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.wire.codec import GetReply, PutReply
from aiodis.wire.message import Empty


async def good_operations(dis: DISClient) -> None:
    assert_type(await dis.streams.create(stream_name="s", partition_count=1), Empty)
    await dis.streams.create(
        stream_name="s",
        partition_count=1,
        stream_type="ADVANCED",
        data_duration=72,
        tags=[Tag(key="k", value="v")],
    )
    assert_type(await dis.streams.list(), StreamList)
    assert_type(await dis.streams.list(limit=5, start_stream_name="s"), StreamList)
    assert_type(await dis.streams.create(stream_name="s", partition_count=1, exist_ok=True), Empty)
    await dis.streams.create(stream_name="s", partition_count=1, data_schema={"type": "string"})
    await dis.streams.create(stream_name="s", partition_count=1, data_schema='"string"')
    assert_type(await dis.streams.delete(stream_name="s"), Empty)
    assert_type(await dis.streams.delete(stream_name="s", missing_ok=True), Empty)
    assert_type(await dis.streams.update_v2(stream_name="s"), UpdateResult)
    assert_type(await dis.streams.scaling_log(stream_name="s"), ScalingLog)
    assert_type(dis.streams.partitions("s"), AsyncIterator[Partition])
    found = await dis.streams.describe(stream_name="s", start_partition_id="0")
    assert_type(found, StreamDescription)
    assert_type(found.partitions[0].hash_range, str | None)
    scaled = await dis.streams.scale(stream_name="s", target_partition_count=2)
    assert_type(scaled, ScaleResult)
    assert_type(await dis.streams.update(stream_name="s", data_duration=24), Empty)
    assert_type(dis.streams.list_all(), AsyncIterator[StreamInfo])
    assert_type(await dis.streams.describe_all("s"), StreamDescription)
    assert_type(await dis.streams.wait_until_running("s", timeout=5), StreamDescription)
    await dis.streams.wait_until_running("s", partition_count=8)

    bucket = ObsDestination(
        task_name="t", agency_name="a", deliver_time_interval=30, obs_bucket_path="bucket"
    )
    assert_type(await dis.transfer_tasks.create(stream_name="s", destination=bucket), Empty)
    assert_type(await dis.transfer_tasks.list(stream_name="s"), TransferTaskList)
    assert_type(
        await dis.transfer_tasks.describe(stream_name="s", task_name="t"), TransferTaskDescription
    )
    assert_type(await dis.transfer_tasks.pause(stream_name="s", task_ids=["id"]), Empty)
    assert_type(dis.transfer_tasks.list_all("s"), AsyncIterator[TransferTask])

    assert_type(await dis.apps.create(app_name="a"), Empty)
    await dis.apps.create(app_name="a", exist_ok=True)
    await dis.apps.delete(app_name="a", missing_ok=True)
    assert_type(await dis.apps.list(stream_name="s"), AppList)
    assert_type(await dis.apps.describe(app_name="a"), App)
    state = await dis.apps.describe_state(app_name="a", stream_name="s")
    assert_type(state, ConsumerState)
    assert_type(state.partition_consuming_states[0].sequence_number, int)

    await dis.checkpoints.commit(
        app_name="a", stream_name="s", partition_id="0", sequence_number="5"
    )
    stored = await dis.checkpoints.get(app_name="a", stream_name="s", partition_id="0")
    assert_type(stored, Checkpoint)

    put = await dis.records.put(stream_name="s", records=[Record(b"data", "key")])
    assert_type(put, PutReply)
    assert_type(put.records[0].sequence_number, str | None)
    cursor = await dis.records.get_cursor(
        stream_name="s", partition_id="0", cursor_type="TRIM_HORIZON"
    )
    assert_type(cursor, Cursor)
    page = await dis.records.get(partition_cursor=cursor.partition_cursor)
    assert_type(page, GetReply)
    assert_type(page.records, list[ReceivedRecord])

    one = await dis.metrics.of_stream(
        stream_name="s", label="traffic_control_put", start_time=1, end_time=2
    )
    assert_type(one, SeriesList)
    several = await dis.metrics.of_partition(
        stream_name="s",
        partition_id="0",
        label_list=["total_put_bytes_per_partition"],
        start_time=1,
        end_time=2,
    )
    assert_type(several.metrics_list, list[Series] | None)

    assert_type(await dis.tags.add(stream_id="i", tag=Tag(key="k", value="v")), Empty)
    assert_type((await dis.tags.list(stream_id="i")).tags, list[TagInfo])
    assert_type(await dis.tags.find(tags=[TagFilter(key="k")], limit=5), Resources)
    assert_type((await dis.tags.count()).total_count, int)
    assert_type(dis.tags.find_all(tags_any=[TagFilter(key="k")]), AsyncIterator[TaggedResource])


async def more_good_operations(dis: DISClient) -> None:
    assert_type((await dis.quotas.get()).quotas.resources, list[Quota])
    assert_type((await dis.events.list()).events, list[Event])
    created = dis.events.create_subscription(name="n", topic_name="t", topic_type=1)
    assert_type(await created, Empty)
    removed = dis.events.delete_subscription(subscription_id="i", missing_ok=True)
    assert_type(await removed, Empty)


async def bad_operations(dis: DISClient) -> None:
    await dis.streams.create()  # pyright: ignore[reportCallIssue]
    await dis.streams.create(stream_name="s")  # pyright: ignore[reportCallIssue]
    await dis.streams.create("s", 1)  # pyright: ignore[reportCallIssue]
    await dis.streams.create(stream_name=5, partition_count=1)  # pyright: ignore[reportArgumentType]
    await dis.streams.create(stream_name="s", partition_count="1")  # pyright: ignore[reportArgumentType]
    await dis.streams.create(stream_name="s", partition_count=1, stream_type="BIG")  # pyright: ignore[reportArgumentType]
    await dis.streams.create(stream_name="s", partition_count=1, partitions=1)  # pyright: ignore[reportCallIssue]
    await dis.streams.list(limit="5")  # pyright: ignore[reportArgumentType]
    await dis.streams.scale(stream_name="s")  # pyright: ignore[reportCallIssue]
    await dis.streams.rename(stream_name="s")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    str((await dis.streams.describe(stream_name="s")).partitons)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    await dis.metrics.of_stream(stream_name="s", label="bytes", start_time=1, end_time=2)  # pyright: ignore[reportArgumentType]
    await dis.metrics.of_stream(stream_name="s", label="traffic_control_put", start_time=1)  # pyright: ignore[reportCallIssue]
    await dis.metrics.of_partition(stream_name="s", start_time=1, end_time=2)  # pyright: ignore[reportCallIssue]
    await dis.tags.add(stream_id="i", tag="k")  # pyright: ignore[reportArgumentType]
    await dis.tags.find(action="filter")  # pyright: ignore[reportCallIssue]
    await dis.tags.count(limit=5)  # pyright: ignore[reportCallIssue]
    await dis.streams.create(stream_name="s", partition_count=1, missing_ok=True)  # pyright: ignore[reportCallIssue]
    await dis.streams.delete(stream_name="s", exist_ok=True)  # pyright: ignore[reportCallIssue]
    await dis.streams.delete(stream_name="s", missing_ok="yes")  # pyright: ignore[reportArgumentType]
    await dis.streams.create(stream_name="s", partition_count=1, data_schema=5)  # pyright: ignore[reportArgumentType]
    await dis.streams.scale(stream_name="s", target_partition_count=1, exist_ok=True)  # pyright: ignore[reportCallIssue]
    await dis.quotas.get(type="app")  # pyright: ignore[reportCallIssue]
    await dis.events.create_subscription(name="n", topic_name="t", topic_type=2)  # pyright: ignore[reportArgumentType]
    await dis.transfer_tasks.create(stream_name="s", destination="OBS")  # pyright: ignore[reportArgumentType]
    await dis.transfer_tasks.start(stream_name="s", tasks=["id"])  # pyright: ignore[reportCallIssue]
    ObsDestination(task_name="t", obs_bucket_path="bucket")  # pyright: ignore[reportCallIssue]
    await dis.apps.create(stream_name="a")  # pyright: ignore[reportCallIssue]
    await dis.checkpoints.commit(app_name="a", stream_name="s", partition_id="0", sequence_number=5)  # pyright: ignore[reportArgumentType]
    await dis.records.put(stream_name="s", records=[b"data"])  # pyright: ignore[reportArgumentType]
    await dis.records.put(stream_name="s", records=[Record("data")])  # pyright: ignore[reportArgumentType]
    await dis.records.get_cursor(stream_name="s", partition_id=0)  # pyright: ignore[reportArgumentType]
    await dis.records.get_cursor(stream_name="s", partition_id="0", cursor_type="OLDEST")  # pyright: ignore[reportArgumentType]
    str(dis.streams.create(stream_name="s", partition_count=1).partition_count)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


async def good_producers(dis: DISClient) -> None:
    assert_type(dis.producer("s"), Producer)
    async with dis.producer("s", linger_ms=5, ordering="none", batch_max_bytes=None) as producer:
        assert_type(producer, Producer)
        receipt = await producer.send(b"data", partition_key="k")
        assert_type(receipt, Receipt)
        assert_type((await receipt).sequence_number, int)
        assert_type(await producer.send_and_wait(b"data"), RecordMetadata)
        assert_type(producer.send_nowait(b"data", partition_id="0"), Receipt)
        assert_type(await producer.send_many([Record(b"data")]), list[Receipt])
        assert_type(await producer.flush(), FlushReport)


async def bad_producers(dis: DISClient) -> None:
    dis.producer()  # pyright: ignore[reportCallIssue]
    dis.producer(5)  # pyright: ignore[reportArgumentType]
    dis.producer("s", linger_ms="5")  # pyright: ignore[reportArgumentType]
    dis.producer("s", linger=5)  # pyright: ignore[reportCallIssue]
    dis.producer("s", ordering="topic")  # pyright: ignore[reportArgumentType]
    dis.producer("s", 5)  # pyright: ignore[reportCallIssue]
    producer = dis.producer("s")
    await producer.send(b"data", "key")  # pyright: ignore[reportCallIssue]
    await producer.send(b"data", key="key")  # pyright: ignore[reportCallIssue]
    await producer.send(b"data", explicit_hash_key="5")  # pyright: ignore[reportArgumentType]
    await producer.send_many([b"data"])  # pyright: ignore[reportArgumentType]


async def good_consumers(dis: DISClient) -> None:
    assert_type(dis.consumer("s", app="a"), Consumer)
    async with dis.consumer(
        "s", app="a", offset_reset="earliest", group=Static(0, 2), auto_commit=False
    ) as consumer:
        async for record in consumer:
            assert_type(record, ReceivedRecord)
            assert_type(record.data, bytes)
        for batch in await consumer.getmany(max_records=5, timeout=1.0):
            assert_type(batch, Batch)
            assert_type(batch.records, list[ReceivedRecord])


async def bad_consumers(dis: DISClient) -> None:
    dis.consumer("s")  # pyright: ignore[reportCallIssue]
    dis.consumer("s", app=5)  # pyright: ignore[reportArgumentType]
    dis.consumer("s", "a")  # pyright: ignore[reportCallIssue]
    dis.consumer("s", app="a", offset_reset="oldest")  # pyright: ignore[reportArgumentType]
    dis.consumer("s", app="a", group="a")  # pyright: ignore[reportArgumentType]
    dis.consumer("s", app="a", group_id="a")  # pyright: ignore[reportCallIssue]
    await dis.consumer("s", app="a").getmany(5)  # pyright: ignore[reportCallIssue]
    list(dis.consumer("s", app="a"))  # pyright: ignore[reportArgumentType]


async def clients() -> None:
    credentials = Credentials.static("AK", "SK")
    async with DISClient(region="cn-north-4", credentials=credentials) as dis:
        assert_type(dis, DISClient)
    async with DISClient.local() as local:
        assert_type(local, DISClient)


def the_rest() -> None:
    assert_type(Credentials.static("AK", "SK"), AccessKey)
    assert_type(Credentials.token("t"), StaticToken)
    assert_type(Credentials.password("u", "p", domain_name="d"), IAMPassword)
    assert_type(Credentials.from_env(), AccessKey | StaticToken | IAMPassword)
    assert_type(Streams.create.name, str)
    assert_type(Streams.create.decode(b"", status=201), Empty)
    assert_type(OPERATIONS[0].path, str)
    Streams.create.build(stream_name="s", partition_count=1)
    Streams.create.build(stream_name="s")  # pyright: ignore[reportCallIssue]
    Record(b"data").data = b""  # pyright: ignore[reportAttributeAccessIssue]
    Record("data")  # pyright: ignore[reportArgumentType]
    Credentials.password("u", "p", "d")  # pyright: ignore[reportCallIssue]
    Static(index="0")  # pyright: ignore[reportArgumentType]
