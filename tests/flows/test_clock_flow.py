"""Client and server on one clock, over sockets: minutes, hours and days of the service's rules."""

import asyncio
import contextlib

import pytest

from aiodis import Credentials, CursorExpiredError, DISClient, DISGroup, QuotaError, Record
from aiodis.clock import AutoClock, ManualClock
from aiodis.errors import DeliveryTimeoutError, RequestTimeoutError
from aiodis.record import partition_number
from aiodis.server import LocalDIS
from aiodis.server.faults import hang, latency, restart
from aiodis.testing.server_thread import ServerThread

pytestmark = pytest.mark.timeout(60)  # a wait for a clock that nobody moves has no end


@contextlib.asynccontextmanager
async def running(clock, **options):
    async with (
        LocalDIS(clock=clock, **options) as server,
        DISClient(**server.client_settings) as dis,
    ):
        await dis.streams.create(stream_name="s", partition_count=2)
        yield server, dis


# -- The service's rules ------------------------------------------------------------------


async def test_a_cursor_expires_after_its_minutes_and_a_consumer_that_was_idle_takes_another():
    clock = ManualClock()
    async with running(clock) as (_, dis):
        cursor = await dis.records.get_cursor(stream_name="s", partition_id="0")
        async with dis.consumer("s", app="a", poll_min_ms=290_000, poll_max_ms=290_000) as consumer:
            await clock.run_for(minutes=6)
            assert consumer.stats().cursors == 4  # of two partitions, at the start and at 290 s
            assert consumer.stats().retries == 0
        with pytest.raises(CursorExpiredError):
            await dis.records.get(partition_cursor=cursor.partition_cursor)


async def test_a_token_is_renewed_before_its_day_is_over_and_never_refused():
    clock = ManualClock()
    async with LocalDIS(clock=clock) as server:
        key = server.credentials
        password = Credentials.password(
            key.access_key, key.secret_key, domain_name="local", iam_endpoint=server.endpoint
        )
        async with DISClient(**server.client_settings | {"credentials": password}) as dis:
            for _ in range(5):
                await dis.streams.list()
                await clock.run_for(hours=11)  # 22 h are past 0.9 of the token's life
        answered = [seen.status for seen in server.requests.of("streams.list")]
        assert answered == [200] * 5
        assert len(server.requests.of("iam.tokens")) == 3


async def test_records_of_72_hours_are_gone_and_their_reader_goes_on_behind_them():
    clock = AutoClock()
    async with running(clock) as (_, dis):
        await dis.streams.create(stream_name="old", partition_count=1, data_duration=72)
        async with dis.producer("old") as producer:
            await producer.send_and_wait(b"old")
            clock.advance(hours=72, seconds=1)
            stream = await dis.streams.describe(stream_name="old")
            assert stream.partitions[0].sequence_number_range == "[1 : 1]"
            await producer.send_and_wait(b"new")
        async with dis.consumer("old", app="a", offset_reset="earliest") as consumer:
            assert (await anext(consumer)).data == b"new"


async def test_a_stream_scales_down_again_an_hour_later():
    clock = ManualClock()
    async with running(clock) as (_, dis):
        await dis.streams.scale(stream_name="s", target_partition_count=4)
        await dis.streams.scale(stream_name="s", target_partition_count=3)
        clock.advance(minutes=59)
        with pytest.raises(QuotaError, match="again in 60000 ms"):
            await dis.streams.scale(stream_name="s", target_partition_count=2)
        clock.advance(minutes=1)
        await dis.streams.scale(stream_name="s", target_partition_count=2)


async def test_a_member_that_falls_silent_is_missed_after_a_minute_and_another_takes_over():
    clock = ManualClock()
    async with running(clock) as (server, _):
        mine = {"dead": set(), "alive": set()}

        def consumer_of(client, name):
            return client.consumer(
                "s",
                app="a",
                group=DISGroup(client_id=name),
                poll_min_ms=5_000,
                poll_max_ms=5_000,
                on_assigned=lambda ids: mine[name].update(map(partition_number, ids)),
                on_revoked=lambda ids: mine[name].difference_update(map(partition_number, ids)),
                on_lost=lambda ids: mine[name].difference_update(map(partition_number, ids)),
            )

        async with (
            DISClient(**server.client_settings) as dying,
            DISClient(**server.client_settings) as living,
            consumer_of(dying, "dead"),
            consumer_of(living, "alive") as survivor,
        ):
            await clock.run_for(seconds=40)  # both have joined
            assert sorted(map(len, mine.values())) == [1, 1]
            await dying._exchange.close()  # it can send nothing more, not even that it leaves
            await clock.run_for(seconds=45)
            assert len(mine["alive"]) == 1
            await clock.run_for(seconds=60)
            assert mine["alive"] == {0, 1}
            assert survivor.stats().retries == 0


# -- The client's waits -------------------------------------------------------------------


async def test_a_record_lingers_and_a_retry_waits_as_long_as_the_clock_says():
    clock = ManualClock()
    options = {"linger_ms": 5_000, "retry_backoff_ms": 8_000, "retry_backoff_max_ms": 8_000}
    async with running(clock) as (server, dis), dis.producer("s", **options) as producer:
        server.faults.partial("records.put", code="DIS.5000", times=1)
        receipt = await producer.send(b"x")
        await clock.run_for(seconds=4.999)
        assert not server.requests.of("records.put")
        await clock.run_for(milliseconds=1)
        assert len(server.requests.of("records.put")) == 1
        assert not receipt.done()
        await clock.run_for(seconds=8)  # full jitter: at most so long
        assert receipt.result().attempts == 2


async def test_a_record_is_given_up_after_its_two_minutes_while_the_service_fails():
    clock = ManualClock()
    async with running(clock) as (server, dis), dis.producer("s") as producer:
        server.faults.rule("records.put", error="DIS.5000")
        receipt = await producer.send(b"x")
        await clock.run_for(minutes=1, seconds=55)
        assert not receipt.done()
        await clock.run_for(seconds=10)
        with pytest.raises(DeliveryTimeoutError):
            await receipt


async def test_a_server_that_hangs_costs_a_request_its_timeout_and_the_test_no_time():
    clock = AutoClock()
    async with running(clock) as (server, dis):
        server.faults.rule("streams.list", outcome=hang())
        began = clock.now()
        with pytest.raises(RequestTimeoutError):
            await dis.streams.list()
        assert clock.now() - began >= 60  # of 30 s each, but for what cut the last one short
        server.faults.clear()
        assert (await dis.streams.list()).stream_names == ["s"]


async def test_an_outage_of_a_minute_is_over_for_both_sides_at_once():
    clock = AutoClock()
    async with running(clock) as (server, dis), dis.producer("s") as producer:
        server.faults.push("records.put", outcome=restart(down_ms=60_000))
        began = clock.now()
        await producer.send_and_wait(b"x")
        assert 60 <= clock.now() - began < 120


async def test_latency_is_the_servers_and_the_clients_at_once():
    clock = ManualClock()
    async with running(clock) as (server, dis):
        server.faults.push("streams.list", outcome=latency(20_000))
        listing = asyncio.create_task(dis.streams.list())
        await clock.run_for(seconds=19)
        assert not listing.done()
        await clock.run_for(seconds=1)
        assert (await listing).stream_names == ["s"]


# -- By itself, and from other threads ----------------------------------------------------


async def send_and_receive(dis, clock, count):
    """Send a record each minute, and give what a consumer got of them."""

    async def send():
        async with dis.producer("s", linger_ms=1000) as producer:
            for number in range(count):
                await producer.send_and_wait(b"%d" % number, partition_key="k")
                await clock.sleep(60)

    got = []
    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        options = {"poll_min_ms": 10_000, "poll_max_ms": 10_000}
        async with dis.consumer("s", app="a", offset_reset="earliest", **options) as consumer:
            while len(got) < count:
                got.append((await anext(consumer)).data)
    return got


async def test_a_flow_of_many_minutes_runs_through_by_itself():
    clock = AutoClock()
    async with running(clock) as (_, dis):
        began = clock.now()
        assert await send_and_receive(dis, clock, 20) == [b"%d" % n for n in range(20)]
        assert clock.now() - began >= 20 * 60


@pytest.mark.parametrize("kind", [AutoClock, ManualClock])
async def test_a_server_in_its_own_thread_shares_the_clock(kind):
    clock = kind()
    with ServerThread() as thread:
        server = LocalDIS(clock=clock)
        thread.run(server.start())
        try:
            async with DISClient(**server.client_settings) as dis:
                await dis.streams.create(stream_name="s", partition_count=1)
                flow = asyncio.create_task(send_and_receive(dis, clock, 3))
                if kind is ManualClock:
                    await clock.run_for(minutes=4)
                assert await flow == [b"0", b"1", b"2"]
        finally:
            thread.run(server.stop())


def test_a_clock_is_moved_while_client_and_server_live_in_another_thread():
    clock = ManualClock()

    async def put(settings):
        async with DISClient(**settings) as dis:
            await dis.streams.create(stream_name="s", partition_count=1)
            async with dis.producer("s") as producer:
                await producer.send_many([Record(b"x", "k")])

    async def end(settings):
        async with DISClient(**settings) as dis:
            return (await dis.streams.describe(stream_name="s")).partitions[0]

    with ServerThread() as thread:
        server = LocalDIS(clock=clock)
        thread.run(server.start())
        try:
            thread.run(put(server.client_settings))
            assert thread.run(end(server.client_settings)).sequence_number_range == "[0 : 1]"
            clock.advance(hours=25)
            assert thread.run(end(server.client_settings)).sequence_number_range == "[1 : 1]"
        finally:
            thread.run(server.stop())


async def test_a_client_made_with_a_clock_of_its_own_is_not_moved():
    clock = ManualClock()
    async with running(clock) as (server, _):
        settings = {k: v for k, v in server.client_settings.items() if k != "clock"}
        async with DISClient(**settings) as other, other.producer("s", linger_ms=1) as producer:
            await producer.send_and_wait(b"by the system's time")
