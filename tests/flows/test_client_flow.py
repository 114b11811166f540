"""Client and embedded DIS together, over sockets."""

import asyncio

import pytest

from aiodis import (
    AlreadyExistsError,
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    Credentials,
    CursorExpiredError,
    DISClient,
    NotFoundError,
    ParameterError,
    ReceivedRecord,
    Record,
)
from aiodis.server import AutoClock, LocalDIS


@pytest.fixture
async def clock():
    return AutoClock()


@pytest.fixture
async def server(clock):
    async with LocalDIS(clock=clock, limits=False) as server:
        yield server


@pytest.fixture
async def dis(server):
    async with client_of(server) as client:
        await client.streams.create(stream_name="events", partition_count=3)
        yield client


def client_of(server: LocalDIS, **changes) -> DISClient:
    return DISClient(**server.client_settings | changes)


async def drain(dis: DISClient, count: int, app: str = "app") -> list[ReceivedRecord]:
    async with dis.consumer("events", app=app, offset_reset="earliest", poll_min_ms=5) as consumer:
        records = []
        async with asyncio.timeout(20):
            async for record in consumer:
                records.append(record)
                if len(records) == count:
                    break
        await consumer.commit()
    return records


async def test_what_goes_in_comes_out_bytes_keys_and_order(dis):
    data = [bytes(range(256)) * (i % 5 + 1) + b"%d" % i for i in range(500)]
    async with dis.producer("events") as producer:
        receipts = await producer.send_many(
            [Record(item, partition_key=f"ключ-{i % 7}") for i, item in enumerate(data)]
        )
        assert await producer.flush() == (500, 0, 0)
    places = [receipt.result() for receipt in receipts]
    records = await drain(dis, 500)
    found = {(r.partition_id, r.sequence_number): r for r in records}
    for i, place in enumerate(places):
        record = found[place.partition_id, place.sequence_number]
        assert (record.data, record.partition_key) == (data[i], f"ключ-{i % 7}")


async def test_each_way_of_routing_arrives_where_it_says(dis):
    async with dis.producer("events") as producer:
        by_id = await producer.send_and_wait(b"id", partition_id="2", partition_key="k")
        by_hash = await producer.send_and_wait(b"hash", explicit_hash_key=2**63 - 1)
        by_key = await producer.send_and_wait(b"key", partition_key="hello")
        spread = [await producer.send_and_wait(b"spread") for _ in range(3)]
        assert producer.stats().misrouted == 0
    ids = [by_id.partition_id, by_hash.partition_id, by_key.partition_id]
    assert ids == ["shardId-0000000002"] * 3
    assert len({place.partition_id for place in spread}) == 3


@pytest.mark.parametrize("signing", ["v3", "scoped", "v11", "v11-v3"])
async def test_every_signature_scheme_is_accepted(server, dis, signing):
    async with client_of(server, signing=signing, region="cn-north-4") as client:
        assert (await client.streams.list()).stream_names == ["events"]
        assert (
            await client.records.put(stream_name="events", records=[Record(b"x", "k")])
        ).failed_record_count == 0


async def test_a_password_becomes_a_token_and_a_project(server, dis):
    key = server.credentials
    password = Credentials.password(key.access_key, key.secret_key, domain_name="anyone")
    where = {"project_id": None, "region": server.region}
    async with client_of(server, credentials=password, **where) as client:
        assert (await client.streams.list()).stream_names == ["events"]


async def test_a_consumer_resumes_behind_its_checkpoint(dis):
    async with dis.producer("events") as producer:
        await producer.send_many([Record(b"%d" % i, "k") for i in range(10)])
        await producer.flush()
        assert [r.data for r in await drain(dis, 10)] == [b"%d" % i for i in range(10)]
        await producer.send_and_wait(b"new", partition_key="k")
    assert [r.data for r in await drain(dis, 1)] == [b"new"]


async def test_a_consumer_outlives_its_cursors(dis, clock):
    async with (
        dis.producer("events") as producer,
        dis.consumer(
            "events", app="app", offset_reset="earliest", poll_min_ms=5, poll_max_ms=5
        ) as consumer,
    ):
        async with asyncio.timeout(20):
            for i in range(4):
                await producer.send_and_wait(b"%d" % i, partition_key="k")
                assert (await anext(consumer)).data == b"%d" % i
                clock.advance(minutes=6)


async def test_a_consumer_and_a_producer_follow_a_scaling(dis):
    async with (
        dis.consumer(
            "events", app="app", offset_reset="earliest", partition_refresh_ms=20, poll_min_ms=5
        ) as consumer,
        dis.producer("events") as producer,
    ):
        seen = []
        for round_, count in enumerate((3, 6, 2)):
            if count != 3:
                await dis.streams.scale(stream_name="events", target_partition_count=count)
            await producer.send_many([Record(b"%d-%d" % (round_, i), f"k{i}") for i in range(60)])
            assert await producer.flush() == (60, 0, 0)
            async with asyncio.timeout(20):
                while len(seen) < 60 * (round_ + 1):
                    seen += [r.data for b in await consumer.getmany() for r in b.records]
    assert len(set(seen)) == len(seen) == 180


async def test_a_partition_that_expired_and_came_back_is_read_again(dis, clock):
    async with (
        dis.producer("events") as producer,
        dis.consumer("events", app="a", partition_refresh_ms=20, poll_min_ms=5) as consumer,
    ):
        await producer.send_and_wait(b"before", partition_id="2")
        assert (await anext(consumer)).data == b"before"
        await dis.streams.scale(stream_name="events", target_partition_count=2)
        clock.advance(hours=25)
        async with asyncio.timeout(20):
            while "shardId-0000000002" in consumer._following._pollers:
                await consumer.getmany(timeout=0.01)
        await dis.streams.scale(stream_name="events", target_partition_count=3)
        await producer.send_and_wait(b"after", partition_id="2")
        async with asyncio.timeout(20):
            assert (await anext(consumer)).data == b"after"


async def test_list_all_pages_through_everything(dis):
    for i in range(25):
        await dis.streams.create(stream_name=f"s{i:02}", partition_count=1)
        await dis.apps.create(app_name=f"a{i:02}")
    streams = [info.stream_name async for info in dis.streams.list_all(page_size=10)]
    apps = [app.app_name async for app in dis.apps.list_all(page_size=10)]
    assert streams == ["events"] + [f"s{i:02}" for i in range(25)]
    assert apps == [f"a{i:02}" for i in range(25)]


# Mistakes


async def test_a_wrong_secret_is_one_clear_line_and_stops_further_calls(server, dis):
    wrong = Credentials.static(server.credentials.access_key, "not the secret")
    async with client_of(server, credentials=wrong) as client:
        with pytest.raises(AuthError) as caught:
            await client.streams.list()
        assert caught.value.status == 441
        assert "DIS.4100" in str(caught.value)
        assert "not the secret" not in repr(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConnectError.__base__, match="nothing is sent"):
            await client.streams.list()


async def test_an_expired_cursor_says_so(dis, clock):
    cursor = await dis.records.get_cursor(stream_name="events", partition_id="0")
    clock.advance(minutes=6)
    with pytest.raises(CursorExpiredError, match=r"DIS\.4225"):
        await dis.records.get(partition_cursor=cursor.partition_cursor)


async def test_an_unknown_stream_says_so(dis):
    with pytest.raises(NotFoundError, match=r"DIS\.4301"):
        await dis.streams.describe(stream_name="nothing")
    with pytest.raises(NotFoundError, match=r"DIS\.4301"):
        async with dis.producer("nothing"):
            pass
    with pytest.raises(NotFoundError, match=r"DIS\.4301"):
        await dis.consumer("nothing", app="app").run(lambda record: asyncio.sleep(0))


async def test_a_stream_that_exists_says_so(dis):
    with pytest.raises(AlreadyExistsError, match=r"DIS\.4307"):
        await dis.streams.create(stream_name="events", partition_count=1)


async def test_a_bad_request_is_not_sent(dis):
    with pytest.raises(ParameterError, match="stream_name='two words'"):
        await dis.streams.create(stream_name="two words", partition_count=1)
    with pytest.raises(ConfigError, match="linger"):
        dis.producer("events", linger=5)
    with pytest.raises(ParameterError, match="stream_name"):
        dis.producer("two words")
    with pytest.raises(ParameterError, match="app_name"):
        dis.consumer("events", app="")


async def test_a_service_that_is_not_there_says_where_it_was_looked_for():
    client = DISClient(
        endpoint="http://127.0.0.1:9",
        project_id="p",
        retries=0,
        credentials=Credentials.static("a", "s"),
    )
    async with client:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:9"):
            await client.streams.list()
    with pytest.raises(ClosedError):
        await client.streams.list()


async def test_no_credentials_is_one_clear_line(monkeypatch):
    for name in ("AK", "SK", "AUTH_TOKEN", "USER_NAME"):
        monkeypatch.delenv(f"HUAWEICLOUD_SDK_{name}", raising=False)
    with pytest.raises(ConfigError, match="HUAWEICLOUD_SDK_AK"):
        DISClient(region="cn-north-4")


async def test_closing_the_client_closes_what_it_made(server, dis):
    client = client_of(server)
    async with client:
        producer = client.producer("events")
        await producer.start()
        receipt = await producer.send(b"x", partition_key="k")
    assert receipt.result().sequence_number == 0
    with pytest.raises(ClosedError):
        await producer.send(b"y")
