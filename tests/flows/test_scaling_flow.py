"""A stream is scaled while it is used: nothing that was delivered is lost."""

import asyncio

import pytest

from aiodis import (
    DISClient,
    NotFoundError,
    ParameterError,
    QuotaError,
    RequestTimeoutError,
)
from aiodis.server import AutoClock, LocalDIS, Transitions

EACH = 600


async def statuses(dis: DISClient) -> list[str]:
    return [partition.status async for partition in dis.streams.partitions("events", page_size=3)]


@pytest.mark.parametrize(
    "transitions", [Transitions(), Transitions(after_ms=200)], ids=["at once", "after a time"]
)
async def test_three_then_eight_then_two_partitions_under_load_lose_nothing(transitions):
    """Hourly limits are on: one scale-up and one scale-down fit into them."""
    delivered, seen, stop = [], [], asyncio.Event()

    async def write(dis):
        async with dis.producer("events", metadata_max_age_ms=200, linger_ms=5) as producer:
            number = 0
            while not stop.is_set():
                receipts = [
                    await producer.send(b"%d" % n, partition_key=f"key-{n % 97}")
                    for n in range(number, number + 20)
                ]
                found = await asyncio.gather(*receipts)
                delivered.extend((m.partition_id, m.sequence_number) for m in found)
                number += 20
        return number

    async def read(dis):
        settings = {"offset_reset": "earliest", "partition_refresh_ms": 100, "poll_min_ms": 5}
        async with dis.consumer("events", app="app", **settings) as consumer:
            async for record in consumer:
                seen.append((record.partition_id, record.sequence_number, record.data))  # noqa: PERF401

    async def until(is_so):
        while not is_so():  # noqa: ASYNC110 - two counters, which no event tells of
            await asyncio.sleep(0.01)

    async def more(count):
        goal = len(delivered) + count
        await until(lambda: len(delivered) >= goal and len(seen) >= goal - count)

    async with (
        LocalDIS(transitions=transitions) as server,
        DISClient(**server.client_settings) as dis,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        await dis.streams.create(stream_name="events", partition_count=3)
        await dis.streams.wait_until_running("events", interval=0.02)
        await dis.apps.create(app_name="app")
        writing = tasks.create_task(write(dis))
        reading = tasks.create_task(read(dis))
        await more(EACH)
        for target in (8, 2):
            await dis.streams.scale(stream_name="events", target_partition_count=target)
            await dis.streams.wait_until_running("events", partition_count=target, interval=0.02)
            await more(EACH)
        assert await statuses(dis) == ["ACTIVE"] * 2 + ["DELETED"] * 6
        log = await dis.streams.scaling_log(stream_name="events")
        stop.set()
        written = await writing
        await until(lambda: len(seen) >= written)
        reading.cancel()

    assert [
        (change.src_partition_count, change.target_partition_count)
        for change in log.update_partition_counts
    ] == [(3, 8), (8, 2)]
    assert sorted(int(data) for _, _, data in seen) == list(range(written))
    assert sorted((p, s) for p, s, _ in seen) == sorted(delivered)
    drained = {partition for partition, _, _ in seen}
    assert len(drained) == 8  # the DELETED ones were read to their end as well


async def test_a_deleted_partitions_records_go_with_retention_and_free_their_space(tmp_path):
    clock = AutoClock()
    async with (
        LocalDIS(tmp_path, clock=clock) as server,
        DISClient(**server.client_settings) as dis,
    ):
        await dis.streams.create(stream_name="events", partition_count=2)
        async with dis.producer("events") as producer:
            for partition in "01":
                await producer.send_and_wait(bytes(500_000), partition_id=partition)
        await dis.streams.scale(stream_name="events", target_partition_count=1)
        described = await dis.streams.describe_all("events")
        assert [p.sequence_number_range for p in described.partitions] == ["[0 : 1]"] * 2
        assert disk_bytes(tmp_path) > 1_000_000

        clock.advance(hours=25)  # nobody calls: the server frees the space by itself

        assert disk_bytes(tmp_path) < 100_000
        described = await dis.streams.describe_all("events")
        assert [
            (partition.status, partition.sequence_number_range)
            for partition in described.partitions
        ] == [("ACTIVE", "[1 : 1]"), ("EXPIRED", None)]


def disk_bytes(folder):
    return sum(path.stat().st_size for path in (folder / "streams").rglob("*") if path.is_file())


async def test_the_hourly_limit_is_a_quota_error():
    async with DISClient.local() as dis:
        await dis.streams.create(stream_name="events", partition_count=3)
        await dis.streams.scale(stream_name="events", target_partition_count=2)
        with pytest.raises(QuotaError, match="scalings down in an hour"):
            await dis.streams.scale(stream_name="events", target_partition_count=1)
        found = (await dis.events.list()).events
        assert [event.type_name for event in found] == ["Manual scaling failed"]


async def test_a_wait_for_partitions_that_never_come_ends_in_time():
    async with DISClient.local() as dis:
        await dis.streams.create(stream_name="events", partition_count=3)
        with pytest.raises(RequestTimeoutError, match="it was RUNNING with 3 partitions"):
            await dis.streams.wait_until_running("events", partition_count=4, timeout=0.3)


async def test_creating_and_deleting_can_be_repeated():
    async with DISClient.local() as dis:
        for _ in range(2):
            await dis.streams.create(stream_name="s", partition_count=1, exist_ok=True)
            await dis.apps.create(app_name="a", exist_ok=True)
        for _ in range(2):
            await dis.streams.delete(stream_name="s", missing_ok=True)
            await dis.apps.delete(app_name="a", missing_ok=True)
        with pytest.raises(NotFoundError):
            await dis.streams.delete(stream_name="s")


async def test_quotas_and_subscriptions_through_the_client():
    async with DISClient.local() as dis:
        await dis.streams.create(stream_name="s", partition_count=4)
        quotas = (await dis.quotas.get()).quotas.resources
        assert [(q.type, q.used, q.quota) for q in quotas] == [
            ("common_partition", 4, 50),
            ("advanced_partition", 0, 10),
            ("app", 0, 100),
        ]
        await dis.events.create_subscription(
            name="n", topic_name="t", event_ids=["dis_event.004"], enable=True
        )
        (kept,) = (await dis.events.list_subscriptions()).subscriptions
        assert (kept.name, kept.event_ids, kept.enable) == ("n", ["dis_event.004"], True)
        await dis.events.update_subscription(subscription_id=kept.id, enable=False)
        await dis.events.delete_subscription(subscription_id=kept.id)
        await dis.events.delete_subscription(subscription_id=kept.id, missing_ok=True)
        assert (await dis.events.list_types()).count == 9


SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]}


async def test_a_schema_is_an_object_or_a_text_and_is_checked_before_it_is_sent():
    async with DISClient.local() as dis:
        await dis.streams.create(stream_name="s", partition_count=1, data_schema=SCHEMA)
        told = (await dis.streams.describe(stream_name="s")).data_schema
        assert told == '{"type":"record","name":"r","fields":[{"name":"id","type":"long"}]}'
        wrong = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "at", "type": "datetime"}]}
        with pytest.raises(ParameterError, match="at: unknown type 'datetime'") as caught:
            await dis.streams.update(stream_name="s", data_schema=wrong)
        assert caught.value.field == "data_schema"


async def test_a_stream_may_be_named_by_its_id():
    async with DISClient.local() as dis:
        await dis.streams.create(stream_name="s", partition_count=1)
        await dis.apps.create(app_name="a")
        stream_id = (await dis.streams.describe(stream_name="s")).stream_id
        where = {"stream_name": "not-here", "stream_id": stream_id}
        described = await dis.streams.describe(**where)
        assert described.stream_name == "s"
        at = {"app_name": "a", "partition_id": "0", **where}
        await dis.checkpoints.commit(**at, sequence_number="5")
        assert (await dis.checkpoints.get(**at)).sequence_number == 5
        state = await dis.apps.describe_state(app_name="a", **where)
        assert state.partition_consuming_states[0].sequence_number == 5
        await dis.checkpoints.delete(**at)
        assert (await dis.checkpoints.get(**at)).sequence_number == -1
        assert (await dis.records.get_cursor(partition_id="0", **where)).partition_cursor
