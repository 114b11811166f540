"""The producer against a scripted service, under virtual time."""

import asyncio
import gc
import random

import pytest
from scripted_service import ScriptedService, refusal

from aiodis.config import ProducerSettings
from aiodis.errors import (
    BufferFullError,
    ClosedError,
    ConnectError,
    DeliveryTimeoutError,
    NotFoundError,
    ParameterError,
    RecordError,
    RecordTooLargeError,
    RequestTimeoutError,
)
from aiodis.producer import Producer
from aiodis.producer.lanes import ENTRY_BYTES
from aiodis.record import Record, RecordMetadata

pytestmark = pytest.mark.looptime

MIB = 1024 * 1024


def producer_of(service, **settings) -> Producer:
    return Producer(service, "events", ProducerSettings(**settings))


def keys_for(service: ScriptedService, partition: int, count: int) -> list[str]:
    """Find keys that the service routes to a partition."""
    found = (f"key-{i}" for i in range(100_000))
    return [key for key in found if service._route({"partition_key": key}) == partition][:count]


async def test_a_record_ends_with_its_place_in_the_partition():
    service = ScriptedService()
    async with producer_of(service) as producer:
        receipt = await producer.send(b"one", partition_key="k")
        metadata = await receipt
    assert metadata == RecordMetadata("shardId-0000000000", 0, 1, reordered=False)
    assert service.all_data() == [b"one"]


async def test_records_of_several_partitions_travel_in_one_request():
    service = ScriptedService(partitions=4)
    async with producer_of(service) as producer:
        receipts = await producer.send_many([Record(b"%d" % i, f"k{i}") for i in range(100)])
        await producer.flush()
    assert len(service.puts) == 1
    assert len({receipt.result().partition_id for receipt in receipts}) == 4


async def test_a_batch_waits_for_linger_and_no_longer():
    service = ScriptedService()
    loop = asyncio.get_running_loop()
    async with producer_of(service, linger_ms=200) as producer:
        before = loop.time()
        await producer.send_and_wait(b"x", partition_key="k")
        took = loop.time() - before
    assert 0.199 < took < 0.25


async def test_a_full_batch_does_not_linger():
    service = ScriptedService(partitions=1)
    loop = asyncio.get_running_loop()
    async with producer_of(service, linger_ms=60_000, batch_max_records=10) as producer:
        before = loop.time()
        receipts = await producer.send_many([Record(b"x", "k")] * 10)
        await receipts[-1]
        took = loop.time() - before
    assert took < 1


async def test_records_without_a_key_are_spread_over_the_partitions():
    service = ScriptedService(partitions=3)
    async with producer_of(service) as producer:
        await producer.send_many([Record(b"x")] * 9)
        await producer.flush()
    assert [len(service.stored[n]) for n in range(3)] == [3, 3, 3]


async def test_the_order_of_a_partition_holds_while_requests_fail_and_records_are_throttled():
    service = ScriptedService(partitions=2)
    chance = random.Random(5)

    def fault(entries):
        kind = chance.random()
        if kind < 0.2:
            return refusal("DIS.5000", 500)
        if kind < 0.3:
            return ConnectError("no route")
        if kind < 0.5:  # all of the request's records, so that none overtakes another
            return dict.fromkeys(range(len(entries)), "DIS.4303")
        return None

    service.put_faults = [fault] * 60
    async with producer_of(service, batch_max_records=7, rate_limit="off") as producer:
        receipts = []
        for i in range(300):
            receipts.append(await producer.send(b"%d" % i, partition_key=f"k{i % 5}"))
            if i % 10 == 0:
                await asyncio.sleep(0.02)
        report = await producer.flush()
    assert report == (300, 0, 0)
    for n in range(2):
        numbers = [int(record.data) for record in service.stored[n]]
        assert numbers == sorted(numbers)
    assert not any(receipt.result().reordered for receipt in receipts)
    assert set(service.most_in_flight.values()) == {1}


async def test_only_failed_records_are_sent_again_and_a_reordered_one_says_so():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: {0: "DIS.4303"}]
    async with producer_of(service) as producer:
        receipts = await producer.send_many([Record(b"a", "k"), Record(b"b", "k")])
        await producer.flush()
        stats = producer.stats()
    first, second = (receipt.result() for receipt in receipts)
    assert [record.data for record in service.stored[0]] == [b"b", b"a"]
    assert (first.reordered, first.attempts) == (True, 2)
    assert (second.reordered, second.attempts) == (False, 1)
    assert [len(put) for put in service.puts] == [2, 1]
    assert (stats.throttled, stats.retried, stats.reordered) == (1, 1, 1)


async def test_a_refused_record_fails_alone():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: {1: "DIS.4200"}]
    async with producer_of(service) as producer:
        receipts = await producer.send_many([Record(b"%d" % i, "k") for i in range(3)])
        report = await producer.flush()
        with pytest.raises(RecordError) as caught:
            await receipts[1]
    assert report == (2, 1, 0)
    assert caught.value.code == "DIS.4200"
    assert not caught.value.ambiguous


@pytest.mark.parametrize("bad", [0, 6, 12])
async def test_a_request_refused_for_one_record_is_halved_until_that_one_is_alone(bad):
    service = ScriptedService(partitions=1)

    def refuse_poison(entries):
        poisoned = any(entry["data"] == "cG9pc29u" for entry in entries)
        return refusal("DIS.4300") if poisoned else None

    service.put_faults = [refuse_poison] * 50
    async with producer_of(service) as producer:
        data = [b"poison" if i == bad else b"%d" % i for i in range(13)]
        receipts = await producer.send_many([Record(item, "k") for item in data])
        assert await producer.flush() == (12, 1, 0)
    assert isinstance(receipts[bad].exception(), RecordError)
    assert service.all_data() == [item for item in data if item != b"poison"]


async def test_halving_ends_soon_where_every_request_is_refused():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: refusal("DIS.4205")] * 10_000
    async with producer_of(service) as producer:
        await producer.send_many([Record(b"x", "k") for _ in range(200)])
        assert await producer.flush() == (0, 200, 0)
    assert len(service.puts) < 40


async def test_a_request_that_is_too_large_is_split():
    service = ScriptedService(partitions=1)
    service.put_faults = [
        lambda entries: refusal("HTTP.413", 413) if len(entries) > 2 else None
    ] * 50
    async with producer_of(service) as producer:
        await producer.send_many([Record(b"%d" % i, "k") for i in range(8)])
        assert await producer.flush() == (8, 0, 0)
    assert [int(data) for data in service.all_data()] == list(range(8))


async def test_an_ambiguous_end_says_so_and_a_plain_one_does_not():
    service = ScriptedService(partitions=1)
    lost = RequestTimeoutError("read timed out")
    lost.carried_out = True
    service.put_faults = [lambda entries: lost] * 1000
    async with producer_of(service, delivery_timeout_ms=500) as producer:
        receipt = await producer.send(b"x", partition_key="k")
        with pytest.raises(DeliveryTimeoutError) as caught:
            await receipt
        assert caught.value.ambiguous
        service.put_faults = [lambda entries: ConnectError("no route")] * 1000
        receipt = await producer.send(b"y", partition_key="k")
        with pytest.raises(DeliveryTimeoutError) as caught:
            await receipt
        assert not caught.value.ambiguous


async def test_every_record_expires_at_its_own_deadline_while_the_service_is_down():
    service = ScriptedService(partitions=2)
    service.put_faults = [lambda entries: ConnectError("down")] * 100_000
    loop = asyncio.get_running_loop()
    async with producer_of(service, delivery_timeout_ms=30_000) as producer:
        ends: dict[int, float] = {}
        for i in range(20):
            receipt = await producer.send(b"x", partition_key=f"k{i}")
            accepted = loop.time()
            receipt.add_done_callback(
                lambda _, i=i, at=accepted: ends.__setitem__(i, loop.time() - at)
            )
            await asyncio.sleep(1)
        await producer.flush()
    assert len(ends) == 20
    assert all(29 < end < 42 for end in ends.values())


async def test_a_gone_stream_fails_all_that_waits():
    service = ScriptedService(partitions=2)
    async with producer_of(service, batch_max_records=2) as producer:
        service.gone = True
        receipts = await producer.send_many([Record(b"x", f"k{i}") for i in range(20)])
        report = await producer.flush()
        assert report == (0, 20, 0)
    assert all(r.exception().code == "DIS.4301" for r in receipts)
    assert len({id(r.exception()) for r in receipts}) == 20


async def test_starting_on_a_stream_that_is_not_there_says_so():
    service = ScriptedService()
    service.gone = True
    with pytest.raises(NotFoundError):
        await producer_of(service).start()


async def test_send_waits_for_room_and_gives_up_after_max_block():
    service = ScriptedService(partitions=1)
    service.latency = 3600
    loop = asyncio.get_running_loop()
    producer = producer_of(service, buffer_memory=410, max_block_ms=2_000, linger_ms=0)
    service.latency = 0
    await producer.start()
    service.latency = 3600
    await producer.send(b"123456789", partition_key="k")
    before = loop.time()
    with pytest.raises(BufferFullError):
        await producer.send(b"x", partition_key="k")
    assert loop.time() - before == pytest.approx(2)
    with pytest.raises(BufferFullError):
        producer.send_nowait(b"x", partition_key="k")
    await producer.close(timeout=0)
    assert producer.stats().buffered_bytes == 0


async def test_room_comes_back_when_records_are_delivered():
    service = ScriptedService(partitions=1)
    async with producer_of(service, buffer_memory=1000, linger_ms=0) as producer:
        for i in range(50):
            await producer.send(b"%050d" % i, partition_key="k")
        assert await producer.flush() == (50, 0, 0)
        assert producer.stats().buffered_bytes == 0
    assert [int(data) for data in service.all_data()] == list(range(50))


async def test_cancelled_in_the_first_await_nothing_is_sent():
    service = ScriptedService(partitions=1)
    async with producer_of(service, buffer_memory=410) as producer:
        service.latency = 5
        await producer.send(b"12345678", partition_key="k")
        waiting = asyncio.create_task(producer.send(b"late", partition_key="k"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await producer.flush() == (1, 0, 0)
    assert service.all_data() == [b"12345678"]


async def test_cancelling_or_dropping_a_receipt_cancels_no_send():
    service = ScriptedService(partitions=1)
    async with producer_of(service) as producer:
        receipt = await producer.send(b"a", partition_key="k")
        waits = [asyncio.ensure_future(receipt) for _ in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        del receipt
        await producer.send(b"b", partition_key="k")
        gc.collect()
        assert await producer.flush() == (2, 0, 0)
        assert (await waits[1]).sequence_number == (await waits[2]).sequence_number == 0
    assert service.all_data() == [b"a", b"b"]


async def test_flush_reports_what_is_pending_and_the_next_one_reports_it_again():
    service = ScriptedService(partitions=1)
    async with producer_of(service) as producer:
        service.latency = 10
        await producer.send(b"a", partition_key="k")
        assert await producer.flush(timeout=1) == (0, 0, 1)
        await producer.send(b"b", partition_key="k")
        assert await producer.flush() == (2, 0, 0)
        assert await producer.flush() == (0, 0, 0)


async def test_close_delivers_what_waits_and_may_be_repeated():
    service = ScriptedService(partitions=1)
    producer = producer_of(service, linger_ms=60_000)
    await producer.start()
    receipt = await producer.send(b"a", partition_key="k")
    assert await producer.close() == (1, 0, 0)
    assert receipt.result().sequence_number == 0
    assert await producer.close() == (0, 0, 0)
    with pytest.raises(ClosedError):
        await producer.send(b"b", partition_key="k")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_while_the_service_is_down_fails_the_rest_and_leaves_no_task():
    service = ScriptedService(partitions=2)
    producer = producer_of(service, close_timeout_ms=5_000, buffer_memory=1_650)
    await producer.start()
    service.put_faults = [lambda entries: ConnectError("down")] * 100_000
    receipts = await producer.send_many([Record(b"x" * 9, f"{i}") for i in range(4)])
    blocked = asyncio.create_task(producer.send(b"y" * 9, partition_key="k"))
    await asyncio.sleep(1)
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert await producer.close() == (0, 4, 0)
    assert loop.time() - before < 5.5
    assert all(isinstance(r.exception(), DeliveryTimeoutError) for r in receipts)
    with pytest.raises(ClosedError):
        await blocked
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_close_fails_the_rest_at_once():
    service = ScriptedService(partitions=1)
    producer = producer_of(service)
    await producer.start()
    service.latency = 100
    receipt = await producer.send(b"x", partition_key="k")
    closing = asyncio.create_task(producer.close())
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert isinstance(receipt.exception(), DeliveryTimeoutError)
    assert receipt.exception().ambiguous
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_crash_inside_fails_every_receipt_and_the_next_send_raises_the_cause(caplog):
    service = ScriptedService(partitions=2)
    async with producer_of(service) as producer:
        service.put_faults = [lambda entries: ZeroDivisionError("a bug")]
        receipts = await producer.send_many([Record(b"x", f"k{i}") for i in range(4)])
        report = await producer.flush(timeout=10)
        assert report == (0, 4, 0)
        for receipt in receipts:
            assert isinstance(receipt.exception().__cause__, ZeroDivisionError)
        with pytest.raises(ClosedError) as caught:
            await producer.send(b"y", partition_key="k")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "the producer failed" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_slow_partition_does_not_stop_another():
    service = ScriptedService(partitions=2)
    slow, fast = keys_for(service, 0, 1)[0], keys_for(service, 1, 1)[0]
    service.put_faults = [
        lambda entries: {
            i: "DIS.4303" for i, entry in enumerate(entries) if entry["partition_key"] == slow
        }
    ] * 40
    async with producer_of(service) as producer:
        stuck = await producer.send(b"s", partition_key=slow)
        for i in range(30):
            await producer.send_and_wait(b"%d" % i, partition_key=fast)
        assert not stuck.done()
        await producer.flush()
        assert stuck.result().attempts > 5


async def test_records_follow_their_keys_when_the_stream_is_scaled():
    service = ScriptedService(partitions=2)
    keys = [f"key-{i}" for i in range(20)]
    async with producer_of(service) as producer:
        for i in range(100):
            await producer.send(b"%d" % i, partition_key=keys[i % 20])
        await producer.flush()
        service.status = {0: "ACTIVE", 1: "DELETED"}
        for i in range(100, 200):
            await producer.send(b"%d" % i, partition_key=keys[i % 20])
        assert await producer.flush() == (100, 0, 0)
        service.status = {0: "ACTIVE", 1: "ACTIVE", 2: "ACTIVE"}
        for i in range(200, 300):
            await producer.send(b"%d" % i, partition_key=keys[i % 20])
        assert await producer.flush() == (100, 0, 0)
        await asyncio.sleep(2)  # the answers named other partitions: the map is fetched anew
        misrouted = producer.stats().misrouted
        await producer.send_many([Record(b"0", key) for key in keys])
        await producer.flush()
        assert producer.stats().misrouted == misrouted
    assert sorted({int(data) for data in service.all_data()}) == list(range(300))


async def test_a_key_that_moved_waits_for_its_older_records_which_are_on_their_way():
    service = ScriptedService(partitions=1)
    keys = [f"key-{i}" for i in range(12)]
    async with producer_of(service, metadata_max_age_ms=1_000, linger_ms=0) as producer:
        service.put_faults = [lambda entries: ConnectError("down")] * 6
        await producer.send_many([Record(b"%d" % i, keys[i % 12]) for i in range(24)])
        await asyncio.sleep(0.005)  # they are on their way, and will be for a while
        service.status = {0: "ACTIVE", 1: "ACTIVE", 2: "ACTIVE"}
        for i in range(24, 240):
            await producer.send(b"%d" % i, partition_key=keys[i % 12])
            await asyncio.sleep(0.02)
        assert await producer.flush() == (240, 0, 0)
    for key in keys:
        written = [r for stored in service.stored.values() for r in stored if r.key == key]
        by_time = sorted(written, key=lambda r: r.at)
        assert [int(r.data) % 12 for r in written] == [keys.index(key)] * 20
        assert [int(r.data) for r in by_time] == sorted(int(r.data) for r in written)


async def test_spread_records_leave_a_partition_that_is_gone_and_pinned_ones_fail():
    service = ScriptedService(partitions=2)
    async with producer_of(service) as producer:
        service.status = {0: "ACTIVE", 1: "DELETED"}
        spread = await producer.send_many([Record(b"x")] * 4)
        pinned = await producer.send(b"y", partition_id="1")
        assert await producer.flush() == (4, 1, 0)
    assert {receipt.result().partition_id for receipt in spread} == {"shardId-0000000000"}
    assert pinned.exception().code == "DIS.4302"


async def test_the_pace_of_a_partition_is_the_service_s():
    service = ScriptedService(partitions=1)
    loop = asyncio.get_running_loop()
    async with producer_of(service) as producer:
        before = loop.time()
        await producer.send_many([Record(b"x", "k")] * 5_000)
        await producer.flush()
        took = loop.time() - before
    assert 4.5 < took < 5.5  # 1,000 records a second


async def test_bytes_are_paced_too_and_a_record_larger_than_a_period_s_bytes_passes():
    service = ScriptedService(partitions=1)
    loop = asyncio.get_running_loop()
    async with producer_of(service) as producer:
        before = loop.time()
        await producer.send_many([Record(b"x" * MIB, "k")] * 4)
        await producer.flush()
        took = loop.time() - before
    assert 3.5 < took < 4.5  # 1 MiB a second


async def test_a_request_holds_no_more_data_than_the_service_takes():
    service = ScriptedService(partitions=8)
    async with producer_of(service, rate_limit="off") as producer:
        await producer.send_many([Record(b"x" * 100_000, f"k{i}") for i in range(60)])
        await producer.flush()
    sizes = [sum(len(entry["data"]) * 3 // 4 for entry in put) for put in service.puts]
    assert max(sizes) <= MIB
    assert len(service.puts) < 12


async def test_requests_in_flight_stay_within_the_cap():
    service = ScriptedService(partitions=40)
    service.latency = 1
    async with producer_of(service, max_in_flight=3, batch_max_records=1) as producer:
        service.latency = 0.5
        await producer.send_many([Record(b"x" * 500_000, f"k{i}") for i in range(40)])
        await producer.flush()
    assert service.most_requests_in_flight == 3


async def test_without_ordering_several_requests_of_a_partition_are_in_flight():
    service = ScriptedService(partitions=1)
    async with producer_of(service, ordering="none", batch_max_records=1) as producer:
        service.latency = 1
        await producer.send_many([Record(b"x" * 600_000, "k") for i in range(8)])
        assert await producer.flush() == (8, 0, 0)
    assert service.most_in_flight[0] > 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"data": b""}, ParameterError),
        ({"data": "text"}, ParameterError),
        ({"data": b"x", "explicit_hash_key": -1}, ParameterError),
        ({"data": b"x", "partition_id": "two"}, ParameterError),
        ({"data": b"x" * (MIB + 1)}, RecordTooLargeError),
    ],
)
async def test_a_record_that_can_never_be_written_fails_at_once(arguments, error):
    async with producer_of(ScriptedService()) as producer:
        with pytest.raises(error) as caught:
            await producer.send(**arguments)
        assert producer.stats().buffered_bytes == 0
    assert "xxxx" not in str(caught.value)


async def test_all_room_comes_back_when_some_keys_are_longer_than_usual():
    service = ScriptedService(partitions=2)
    async with producer_of(service) as producer:
        for key in ("k", "k" * 64, "k" * 65, "k" * 5_000):
            before = producer.stats().buffered_bytes
            await producer.send(b"data", partition_key=key)
            await producer.send(b"data", explicit_hash_key=7, partition_key=key)
            taken = producer.stats().buffered_bytes - before
            assert taken == 2 * (4 + ENTRY_BYTES + max(0, len(key) - 64))
        await producer.flush()
        assert producer.stats().buffered_bytes == 0
