"""`ordering="key"`, delivery callbacks and serializers, against a scripted service."""

import asyncio
import random

import pytest
from pydantic import BaseModel
from scripted_service import ScriptedService

from aiodis import serializers
from aiodis.config import ProducerSettings
from aiodis.errors import (
    BufferFullError,
    ConfigError,
    ConnectError,
    KeyPausedError,
    ParameterError,
    RecordError,
)
from aiodis.producer import Producer
from aiodis.record import Record, RecordMetadata

pytestmark = pytest.mark.looptime


def producer_of(service, **settings) -> Producer:
    settings = {"ordering": "key", "linger_ms": 5, **settings}
    return Producer(service, "events", ProducerSettings(**settings))


def by_key(service: ScriptedService) -> dict[str, list[int]]:
    """What was written, by key, in the order of writing over all partitions."""
    written = sorted((r for s in service.stored.values() for r in s), key=lambda r: r.at)
    found: dict[str, list[int]] = {}
    for record in written:
        found.setdefault(record.key, []).append(int(record.data))
    return found


async def test_the_order_of_a_key_holds_when_requests_fail_in_part():
    service = ScriptedService(partitions=2)
    chance = random.Random(11)

    def fault(entries):
        if chance.random() < 0.2:
            return ConnectError("down")
        codes = ["DIS.4303", "DIS.5000"]
        return {i: chance.choice(codes) for i in range(len(entries)) if chance.random() < 0.4}

    service.put_faults = [fault] * 500
    async with producer_of(service, retry_backoff_ms=1) as producer:
        for i in range(300):
            await producer.send(b"%d" % i, partition_key=f"k{i % 7}")
            await asyncio.sleep(0.001)
        assert await producer.flush() == (300, 0, 0)
    assert by_key(service) == {f"k{k}": list(range(k, 300, 7)) for k in range(7)}


async def test_two_records_of_a_key_never_travel_together_and_other_keys_do_not_wait():
    service = ScriptedService(partitions=1)
    async with producer_of(service) as producer:
        for i in range(40):
            await producer.send(b"%d" % i, partition_key=f"k{i % 4}")
        await producer.flush()
    for put in service.puts:
        keys = [entry["partition_key"] for entry in put]
        assert len(set(keys)) == len(keys)
    assert len(service.puts) == 10


async def test_records_without_a_key_are_not_held_back():
    service = ScriptedService(partitions=1)
    async with producer_of(service) as producer:
        await producer.send_many([Record(b"x")] * 50)
        await producer.flush()
    assert len(service.puts) == 1


async def test_the_order_of_a_key_holds_through_a_scaling():
    service = ScriptedService(partitions=1)
    async with producer_of(service, metadata_max_age_ms=1_000) as producer:
        for i in range(400):
            if i in (100, 200, 300):
                count = {100: 3, 200: 1, 300: 4}[i]
                service.status = {
                    n: "ACTIVE" if n < count else "DELETED"
                    for n in range(max(count, len(service.status)))
                }
                service.put_faults = [lambda entries: {0: "DIS.4303"}] * 3
            await producer.send(b"%d" % i, partition_key=f"k{i % 10}")
            await asyncio.sleep(0.02)
        assert await producer.flush() == (400, 0, 0)
    assert by_key(service) == {f"k{k}": list(range(k, 400, 10)) for k in range(10)}


async def test_a_permanent_failure_pauses_its_key_until_it_is_resumed():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: {0: "DIS.4200"}]
    async with producer_of(service) as producer:
        first = await producer.send(b"0", partition_key="bad")
        second = await producer.send(b"1", partition_key="bad")
        other = await producer.send(b"2", partition_key="good")
        assert await producer.flush() == (1, 2, 0)
        assert first.exception().code == "DIS.4200"
        assert isinstance(second.exception(), KeyPausedError)
        assert other.result().sequence_number == 0
        with pytest.raises(KeyPausedError):
            await producer.send(b"3", partition_key="bad")
        assert producer.stats().buffered_bytes == 0
        producer.resume_key("bad")
        await producer.send_and_wait(b"4", partition_key="bad")
    assert by_key(service) == {"good": [2], "bad": [4]}


async def test_a_key_can_go_on_after_a_permanent_failure():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: {0: "DIS.4200"}]
    async with producer_of(service, on_ordered_failure="continue") as producer:
        for i in range(3):
            await producer.send(b"%d" % i, partition_key="k")
        assert await producer.flush() == (2, 1, 0)
    assert by_key(service) == {"k": [1, 2]}


@pytest.mark.parametrize("on_failure", ["pause", "continue"])
async def test_held_records_expire_and_close_fails_them_too(on_failure):
    service = ScriptedService(partitions=1)
    settings = {"delivery_timeout_ms": 3_000, "on_ordered_failure": on_failure}
    async with producer_of(service, **settings) as producer:
        service.put_faults = [lambda entries: ConnectError("down")] * 10_000
        for i in range(5):
            await producer.send(b"%d" % i, partition_key="k")
        await asyncio.sleep(10)
        assert await producer.flush(timeout=0) == (0, 5, 0)
        producer.resume_key("k")
        await producer.send_many([Record(b"x", "k")] * 5)
        assert await producer.close(timeout=1) == (0, 5, 0)
    assert producer.stats().buffered_bytes == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_stream_that_is_gone_fails_held_records():
    service = ScriptedService(partitions=1)
    async with producer_of(service) as producer:
        service.gone = True
        receipts = await producer.send_many([Record(b"x", "k")] * 5)
        assert await producer.flush() == (0, 5, 0)
    assert all(isinstance(receipt.exception(), RecordError) for receipt in receipts)


# post


async def test_post_tells_a_callback_of_each_outcome():
    service = ScriptedService(partitions=1)
    service.put_faults = [lambda entries: {1: "DIS.4200"}]
    told = []
    async with producer_of(service, ordering="partition") as producer:
        for i in range(3):
            producer.post(b"%d" % i, partition_key="k", on_delivery=told.append)
        producer.post(b"untold", partition_key="k")
        assert await producer.flush() == (3, 1, 0)
    delivered = [outcome for outcome in told if isinstance(outcome, RecordMetadata)]
    assert [outcome.sequence_number for outcome in delivered] == [0, 1]
    assert [outcome.code for outcome in told if isinstance(outcome, RecordError)] == ["DIS.4200"]


async def test_a_failing_callback_is_logged_and_harms_nothing(caplog):
    service = ScriptedService(partitions=1)

    def callback(outcome):
        raise LookupError("mine")

    async with producer_of(service) as producer:
        producer.post(b"1", partition_key="k", on_delivery=callback)
        producer.post(b"2", partition_key="k", on_delivery=callback)
        assert await producer.flush() == (2, 0, 0)
    assert caplog.text.count("a delivery callback failed") == 2


async def test_post_does_not_wait_for_room():
    service = ScriptedService(partitions=1)
    async with producer_of(service, buffer_memory=500) as producer:
        producer.post(b"x" * 50, partition_key="k")
        with pytest.raises(BufferFullError):
            producer.post(b"x" * 50, partition_key="k")


# serializers


async def test_serializers_turn_values_into_bytes():
    class Order(BaseModel):
        id: int

    service = ScriptedService(partitions=1)
    async with producer_of(service, serializer=serializers.json) as producer:
        await producer.send_many([Record(value, "k") for value in ({"a": 1}, Order(id=2), [3])])
        await producer.flush()
    async with producer_of(service, serializer=serializers.text) as producer:
        await producer.send_and_wait("текст", partition_key="k")
    assert service.all_data() == [b'{"a":1}', b'{"id":2}', b"[3]", "текст".encode()]


async def test_without_a_serializer_only_bytes_are_taken():
    async with producer_of(ScriptedService()) as producer:
        with pytest.raises(ParameterError):
            await producer.send({"a": 1}, partition_key="k")
        assert producer.stats() == type(producer.stats())()


def test_ordering_by_partition_allows_one_request_in_flight():
    with pytest.raises(ConfigError, match="one request in flight"):
        ProducerSettings(ordering="partition", max_in_flight_per_partition=2)


# adaptive pacing


async def test_a_throttled_partition_slows_down_and_recovers_while_another_keeps_its_pace():
    service = ScriptedService(partitions=2)
    slow = next(k for k in map(str, range(99)) if service._route({"partition_key": k}) == 0)
    fast = next(k for k in map(str, range(99)) if service._route({"partition_key": k}) == 1)
    loop = asyncio.get_running_loop()

    def throttle(entries):
        return {i: "DIS.4303" for i, e in enumerate(entries) if e["partition_key"] == slow}

    took = {}
    async with producer_of(service, ordering="partition") as producer:

        async def put(key, count, label):
            before = loop.time()
            await asyncio.gather(*await producer.send_many([Record(b"x", key)] * count))
            took[label] = loop.time() - before

        service.put_faults = [throttle] * 12
        await asyncio.gather(put(slow, 2_000, "slow"), put(fast, 2_000, "fast"))
        await asyncio.sleep(60)
        await put(slow, 2_000, "later")
    assert took["fast"] < 2.5
    assert took["slow"] > 3.5
    assert took["later"] < 2.5


# routes


async def test_more_keys_than_are_kept_are_still_routed_alike():
    from aiodis.producer import lanes

    service = ScriptedService(partitions=3)
    keys = [f"key-{n}" for n in range(lanes._MOST_ROUTES + 10)]
    async with producer_of(service, ordering="partition", rate_limit="off") as producer:
        for key in keys:
            producer.post(b"x", partition_key=key)
            if len(producer._routes) == 1:
                await producer.flush()
        assert len(producer._routes) <= lanes._MOST_ROUTES
        await producer.flush()
        stats = producer.stats()
    assert (stats.delivered, stats.misrouted) == (len(keys), 0)


async def test_a_key_too_long_to_be_kept_is_routed_each_time():
    service = ScriptedService(partitions=3)
    async with producer_of(service, ordering="partition") as producer:
        first = await producer.send_and_wait(b"1", partition_key="k" * 2_000)
        second = await producer.send_and_wait(b"2", partition_key="k" * 2_000)
        assert producer._routes == {}
    assert first.partition_id == second.partition_id
