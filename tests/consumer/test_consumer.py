"""The consumer against a scripted service, under virtual time."""

import asyncio
from datetime import UTC, datetime

import pytest
from consuming import P0, P1, P2, consumer_of, filled, only, take
from scripted_service import ScriptedService, refusal

from aiodis.config import Static
from aiodis.consumer import Consumer
from aiodis.errors import (
    AuthError,
    ClosedError,
    ConfigError,
    ConnectError,
    HandlerError,
    NotFoundError,
    SequenceOutOfRangeError,
)

pytestmark = pytest.mark.looptime


async def test_every_record_of_every_partition_comes_in_its_order():
    service = filled(3, 50)
    async with consumer_of(service) as consumer:
        data = await take(consumer, 150)
    for n in range(3):
        assert only(data, n) == [b"%d-%d" % (n, i) for i in range(50)]


async def test_records_say_where_they_are_from():
    service = filled(1, 1)
    async with consumer_of(service) as consumer:
        record = await anext(consumer)
    assert (record.partition_id, record.sequence_number, record.data) == (P0, 0, b"0-0")


async def test_the_app_is_created_when_it_does_not_exist():
    service = filled()
    async with consumer_of(service):
        assert service.apps == {"billing"}
    async with consumer_of(service):
        assert service.apps == {"billing"}


async def test_latest_misses_nothing_that_comes_after_the_start():
    service = filled(1, 5)
    async with consumer_of(service, offset_reset="latest") as consumer:
        service.add(0, b"0-new")
        assert await take(consumer, 1) == [b"0-new"]


async def test_a_record_is_finished_only_when_the_next_one_is_asked_for():
    service = filled(1, 5)
    async with consumer_of(service, auto_commit_interval_ms=100) as consumer:
        await anext(consumer)
        await anext(consumer)
        await asyncio.sleep(1)
        assert service.checkpoints == {P0: 1}
        await anext(consumer)
        await asyncio.sleep(1)
        assert service.checkpoints == {P0: 2}
    assert service.checkpoints == {P0: 2}


async def test_getmany_finishes_the_batches_given_before():
    service = filled(2, 10)
    async with consumer_of(service, auto_commit_interval_ms=100) as consumer:
        first = await consumer.getmany(max_records=6)
        assert sum(len(batch.records) for batch in first) == 6
        await asyncio.sleep(1)
        assert service.checkpoints == {P0: 0, P1: 0}  # where it started, for a crash before more
        await consumer.getmany(max_records=6)
        await asyncio.sleep(1)
        assert sum(service.checkpoints.values()) == 6


async def test_getmany_gives_nothing_when_nothing_comes_in_time():
    service = ScriptedService(1)
    loop = asyncio.get_running_loop()
    async with consumer_of(service) as consumer:
        before = loop.time()
        assert await consumer.getmany(timeout=1.5) == []
        assert loop.time() - before == pytest.approx(1.5)


async def test_getmany_of_no_records_is_a_mistake():
    async with consumer_of(filled()) as consumer:
        with pytest.raises(ConfigError):
            await consumer.getmany(max_records=0)


async def test_an_explicit_commit_includes_the_record_in_hand():
    service = filled(1, 3)
    async with consumer_of(service, auto_commit=False) as consumer:
        await anext(consumer)
        await consumer.commit()
        assert service.checkpoints == {P0: 1}
    assert service.checkpoints == {P0: 1}


async def test_a_consumer_resumes_from_its_checkpoint():
    service = filled(1, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 4)
        await consumer.commit()
    async with consumer_of(service) as consumer:
        assert await take(consumer, 2) == [b"0-4", b"0-5"]


@pytest.mark.parametrize(("stored", "first"), [(3, b"0-4"), (-1, b"0-0")])
async def test_the_other_checkpoint_convention_holds_the_last_record_read(stored, first):
    service = filled(1, 10)
    service.checkpoints[P0] = stored
    async with consumer_of(service, checkpoint_convention="last") as consumer:
        assert await take(consumer, 1) == [first]
        await consumer.commit()
    assert service.checkpoints[P0] == int(first[2:])


async def test_commits_repeat_after_a_failure_and_are_not_repeated_without_news():
    service = filled(1, 5)
    async with consumer_of(service, auto_commit_interval_ms=1000) as consumer:
        service.commit_faults = [refusal("DIS.5000", 500)]
        await take(consumer, 2)
        await asyncio.sleep(5.5)
        assert service.commits == [(P0, 1)]


async def test_a_failing_explicit_commit_raises_and_nothing_is_lost():
    service = filled(1, 5)
    async with consumer_of(service, auto_commit=False) as consumer:
        await anext(consumer)
        service.commit_faults = [AuthError("no", status=441, code="DIS.4100")]
        with pytest.raises(AuthError):
            await consumer.commit()
        await consumer.commit()
        assert service.checkpoints == {P0: 1}


async def test_cursors_are_renewed_before_they_expire():
    service = filled(1, 1)
    async with consumer_of(service) as consumer:
        await take(consumer, 1)
        await asyncio.sleep(3600)
        assert consumer.stats().retries == 0
        service.add(0, b"0-late")
        assert await take(consumer, 1) == [b"0-late"]


async def test_a_long_pause_neither_skips_nor_repeats():
    service = filled(1, 3)
    async with consumer_of(service) as consumer:
        assert await take(consumer, 2) == [b"0-0", b"0-1"]
        consumer.pause(P0)
        await asyncio.sleep(3600)
        service.add(0, b"0-3")
        consumer.resume(P0)
        assert await take(consumer, 2) == [b"0-2", b"0-3"]


@pytest.mark.parametrize("code", ["DIS.4225", "DIS.4226", "DIS.4217"])
async def test_a_refused_cursor_is_taken_again_from_the_position(code):
    service = filled(1, 3)
    async with consumer_of(service) as consumer:
        assert await take(consumer, 3) == [b"0-0", b"0-1", b"0-2"]
        service.get_faults = [refusal(code)]
        service.add(0, b"0-3")
        assert await take(consumer, 1) == [b"0-3"]
    assert service.cursors == [(P0, 0), (P0, 3)]


async def test_failures_of_the_service_are_waited_out():
    service = filled(2, 3)
    service.get_faults = [refusal("DIS.5000", 500), ConnectError("no"), refusal("DIS.4303")] * 5
    async with consumer_of(service) as consumer:
        assert sorted(await take(consumer, 6)) == sorted(
            b"%d-%d" % (n, i) for n in range(2) for i in range(3)
        )


@pytest.mark.parametrize(("reset", "first"), [("earliest", b"0-5"), ("latest", b"0-new")])
async def test_a_position_that_is_gone_follows_offset_reset(reset, first):
    service = filled(1, 0)
    service.oldest[0] = 5
    service.add(0, *(b"0-%d" % i for i in range(5, 9)))
    service.checkpoints[P0] = 2
    async with consumer_of(service, offset_reset=reset, auto_commit_interval_ms=100) as consumer:
        await asyncio.sleep(1)
        service.add(0, b"0-new")
        assert await take(consumer, 1) == [first]
        assert consumer.stats().resets == 1
        await consumer.commit()
        assert (
            service.checkpoints[P0]
            == service.stored[0][-1 if reset == "latest" else 0].sequence + 1
        )


async def test_a_position_that_is_gone_is_an_error_where_the_user_said_so():
    service = filled(1, 3)
    service.checkpoints[P0] = 20
    async with consumer_of(service, offset_reset="error") as consumer:
        with pytest.raises(SequenceOutOfRangeError):
            await anext(consumer)


async def test_without_a_checkpoint_offset_reset_error_refuses_to_start():
    with pytest.raises(ConfigError):
        await consumer_of(filled(), offset_reset="error").start()


async def test_a_partition_that_appears_later_is_read_from_its_first_record():
    service = filled(1, 1)
    async with consumer_of(service, offset_reset="latest") as consumer:
        service.status[1] = "ACTIVE"
        service.add(1, b"1-0", b"1-1")
        assert await take(consumer, 2) == [b"1-0", b"1-1"]


async def test_an_expired_partition_ends_alone():
    service = filled(2, 2)
    async with consumer_of(service) as consumer:
        await take(consumer, 4)
        service.status[1] = "EXPIRED"
        await asyncio.sleep(400)
        service.add(0, b"0-2")
        assert await take(consumer, 1) == [b"0-2"]


async def test_a_stream_that_is_gone_ends_the_loop_with_its_error():
    service = filled(1, 1)
    async with consumer_of(service) as consumer:
        await anext(consumer)
        service.gone = True
        with pytest.raises(NotFoundError):
            await anext(consumer)


async def test_a_share_of_the_partitions_is_read():
    service = filled(4, 1)
    async with consumer_of(service, group=Static(1, 2)) as consumer:
        assert sorted(await take(consumer, 2)) == [b"1-0", b"3-0"]
        assert list(consumer.position()) == [P1, "shardId-0000000003"]


async def test_seek_moves_both_ways_and_commits_follow():
    service = filled(1, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 6)
        await consumer.commit()
        consumer.seek("0", 2)
        assert await take(consumer, 1) == [b"0-2"]
        await consumer.commit()
        assert service.checkpoints == {P0: 3}
        consumer.seek(P0, 8)
        assert await take(consumer, 1) == [b"0-8"]
        await consumer.seek_to("earliest")
        assert await take(consumer, 1) == [b"0-0"]
        await consumer.seek_to("latest", P0)
        service.add(0, b"0-new")
        assert await take(consumer, 1) == [b"0-new"]


async def test_seek_while_a_fetch_is_under_way_drops_its_answer():
    service = filled(1, 10)
    service.latency = 1
    async with consumer_of(service) as consumer:
        await asyncio.sleep(0.5)
        consumer.seek(P0, 7)
        assert await take(consumer, 1) == [b"0-7"]


async def test_a_paused_partition_is_not_read_and_the_others_go_on():
    service = filled(2, 3)
    async with consumer_of(service) as consumer:
        consumer.pause(P0)
        assert await take(consumer, 3) == [b"1-0", b"1-1", b"1-2"]
        assert await consumer.getmany(timeout=5) == []
        consumer.resume(P0)
        assert await take(consumer, 3) == [b"0-0", b"0-1", b"0-2"]


async def test_switching_from_async_for_to_getmany_skips_nothing():
    service = filled(1, 5)
    async with consumer_of(service) as consumer:
        assert await take(consumer, 2) == [b"0-0", b"0-1"]
        batches = await consumer.getmany()
        assert [r.data for b in batches for r in b.records] == [b"0-2", b"0-3", b"0-4"]
        assert consumer.position() == {P0: 5}


async def test_lag_counts_the_records_behind_the_position():
    service = filled(2, 10)
    async with consumer_of(service) as consumer:
        await take(consumer, 1)
        assert sum(lag.records for lag in (await consumer.lag()).values()) == 19


async def test_prefetch_stays_within_its_bounds():
    mib = 1024 * 1024
    service = ScriptedService(4)
    for n in range(4):
        service.add(n, *(b"x" * (mib // 2) for _ in range(20)))
    async with consumer_of(service, prefetch_bytes=3 * mib, rate_limit="off") as consumer:
        await asyncio.sleep(10)
        assert consumer.stats().bytes <= 3 * mib
        held = consumer.stats().bytes
        assert len(await take(consumer, 80)) == 80
        assert held >= mib


async def test_a_read_is_paced_at_the_service_s_limit():
    mib = 1024 * 1024
    service = ScriptedService(1)
    service.add(0, *(b"x" * (mib // 8) for _ in range(80)))
    loop = asyncio.get_running_loop()
    async with consumer_of(service) as consumer:
        before = loop.time()
        await take(consumer, 80)
        took = loop.time() - before
    assert 4 < took < 6  # 10 MiB at 2 MiB a second


async def test_closing_ends_a_loop_that_waits_and_leaves_no_task():
    service = ScriptedService(1)
    consumer = consumer_of(service)
    await consumer.start()
    reading = asyncio.create_task(take(consumer, 1))
    await asyncio.sleep(1)
    await consumer.close()
    await consumer.close()
    assert await reading == []
    with pytest.raises(ClosedError):
        await consumer.getmany()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_while_the_service_hangs_keeps_its_time():
    service = filled(1, 2)
    consumer = consumer_of(service)
    await consumer.start()
    await take(consumer, 2)
    service.latency = 10_000
    loop = asyncio.get_running_loop()
    before = loop.time()
    await consumer.close(timeout=3)
    assert loop.time() - before == pytest.approx(3, abs=0.1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_a_wait_loses_no_record():
    service = ScriptedService(1)
    async with consumer_of(service) as consumer:
        for i in range(20):
            waiting = asyncio.create_task(consumer.getmany())
            await asyncio.sleep(0.05 * i)
            waiting.cancel()
            service.add(0, b"0-%d" % i)
            (got,) = await asyncio.gather(waiting, return_exceptions=True)
            if not isinstance(got, asyncio.CancelledError):
                break
        data = [] if isinstance(got, BaseException) else [r.data for b in got for r in b.records]
        while len(data) < i + 1:
            data += [r.data for b in await consumer.getmany() for r in b.records]
    assert data == [b"0-%d" % n for n in range(i + 1)]


# run()


async def run_until(consumer: Consumer, done, handler, **options) -> None:
    running = asyncio.create_task(consumer.run(handler, **options))
    while not done() and not running.done():  # noqa: ASYNC110 - the time is virtual
        await asyncio.sleep(0.1)
    await consumer.close()
    await running


async def test_run_handles_each_partition_in_order_and_several_at_once():
    service = filled(3, 20)
    seen: list[bytes] = []
    running = most = 0

    async def handler(record):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        seen.append(record.data)

    await run_until(consumer_of(service), lambda: len(seen) == 60, handler, concurrency=2)
    for n in range(3):
        assert only(seen, n) == [b"%d-%d" % (n, i) for i in range(20)]
    assert most == 2
    assert service.checkpoints == {P0: 20, P1: 20, P2: 20}


async def test_run_repeats_a_failing_record_then_stops_and_commits_what_is_done():
    service = filled(1, 5)
    tries = 0

    async def handler(record):
        nonlocal tries
        if record.data == b"0-2":
            tries += 1
            raise LookupError("not now")

    with pytest.raises(HandlerError) as caught:
        await consumer_of(service).run(handler, retries=3)
    assert isinstance(caught.value.__cause__, LookupError)
    assert tries == 4
    assert service.checkpoints == {P0: 2}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_run_sends_what_fails_for_good_to_the_dead_letters_and_goes_on():
    service = filled(1, 5)
    dead: list[tuple[bytes, str | None]] = []
    seen: list[bytes] = []

    class Letters:
        async def send_and_wait(self, data, *, partition_key=None):
            dead.append((data, partition_key))

    async def handler(record):
        if record.data == b"0-2":
            raise ValueError
        seen.append(record.data)

    await run_until(
        consumer_of(service), lambda: len(seen) == 4, handler, retries=1, dead_letter=Letters()
    )
    assert dead == [(b"0-2", None)]
    assert service.checkpoints == {P0: 5}


async def test_run_can_skip_what_fails_for_good():
    service = filled(1, 3)
    seen: list[bytes] = []

    async def handler(record):
        seen.append(record.data)
        raise ValueError

    await run_until(
        consumer_of(service), lambda: len(seen) == 3, handler, retries=0, on_error="skip"
    )
    assert service.checkpoints == {P0: 3}


async def test_closing_lets_the_record_in_hand_end_and_commits_it():
    service = filled(1, 10)
    begun: list[bytes] = []

    async def handler(record):
        begun.append(record.data)
        await asyncio.sleep(2)

    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler))
    await asyncio.sleep(3)
    await consumer.close()
    await running
    assert len(begun) == 2
    assert service.checkpoints == {P0: 2}


async def test_a_handler_may_close_its_consumer():
    service = filled(1, 10)
    consumer = consumer_of(service)

    async def handler(record):
        if record.data == b"0-3":
            await consumer.close()

    async with asyncio.timeout(1):
        await consumer.run(handler)
    assert service.checkpoints == {P0: 4}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_after_close_nothing_more_is_handed_out():
    service = filled(1, 10)
    async with consumer_of(service) as consumer:
        await anext(consumer)
        await consumer.close()
        assert [record async for record in consumer] == []


async def test_a_cancelled_run_does_not_finish_the_record_in_hand():
    service = filled(1, 3)

    async def handler(record):
        if record.data == b"0-1":
            await asyncio.sleep(1000)

    running = asyncio.create_task(consumer_of(service).run(handler))
    await asyncio.sleep(5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert service.checkpoints == {P0: 1}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_seek_to_a_time_reads_the_number_out_of_the_cursor():
    from aiodis.api.records import Cursor
    from aiodis.wire.cursor import CursorContent, encode_cursor

    service = filled(1, 10)
    ordinary = service.records_get_cursor

    def get_cursor(request):
        if request.cursor_type != "AT_TIMESTAMP":
            return ordinary(request)
        assert request.timestamp == 1_700_000_000_000
        content = CursorContent("events", P0, "AT_TIMESTAMP", 6, 0)
        return Cursor(partition_cursor=encode_cursor(content))

    service.records_get_cursor = get_cursor
    async with consumer_of(service) as consumer:
        await consumer.seek_to(datetime.fromtimestamp(1_700_000_000, UTC))
        assert await take(consumer, 1) == [b"0-6"]
