"""`run` with `concurrency_by="key"`: many keys of a partition at once, one record of a key."""

import asyncio
from collections import defaultdict

import pytest
from consuming import P0, consumer_of, drain, no_task_left
from scripted_service import ScriptedService, Stored

from aiodis.errors import ConfigError, HandlerError

pytestmark = pytest.mark.looptime


def keyed(*keys, partitions=1) -> ScriptedService:
    """A service whose first partition holds records of these keys, `key:n` for the n-th."""
    service = ScriptedService(partitions)
    add(service, *keys)
    return service


def add(service, *keys, partition=0):
    counts = defaultdict(int)
    for stored in service.stored[partition]:
        counts[stored.key] += 1
    for key in keys:
        data = f"{key}:{counts[key]}".encode()
        counts[key] += 1
        service.stored[partition].append(Stored(data, key, service.next(partition)))


class Handler:
    """Takes `slow[key]` seconds for a record, and checks that a key has one at a time, in order."""

    def __init__(self, slow=None, fail=None):
        self.slow, self.fail = slow or {}, fail
        self.done = defaultdict(list)
        self.at_work = set()
        self.most = 0

    async def __call__(self, record):
        key = record.partition_key if record.partition_key is not None else record.sequence_number
        assert key not in self.at_work
        self.at_work.add(key)
        self.most = max(self.most, len(self.at_work))
        try:
            await asyncio.sleep(self.slow.get(record.partition_key, 1))
        finally:
            self.at_work.discard(key)
        if record.data == self.fail:
            raise LookupError
        self.done[record.partition_key].append(record.data.decode())


def begin(service, handler, **settings):
    consumer = consumer_of(service, auto_commit_interval_ms=100, **settings)
    concurrency = settings.pop("concurrency", 16)
    return consumer, asyncio.create_task(
        consumer.run(handler, concurrency=concurrency, concurrency_by="key", retries=0)
    )


async def end(consumer, running):
    await consumer.close()
    await running
    assert no_task_left()


async def test_keys_of_one_partition_are_handled_at_once_and_each_in_its_order():
    handler = Handler()
    consumer, running = begin(keyed(*"abcd" * 5), handler)
    await asyncio.sleep(6)  # five records of a key, a second each
    assert {key: len(done) for key, done in handler.done.items()} == dict.fromkeys("abcd", 5)
    assert handler.done["a"] == [f"a:{n}" for n in range(5)]
    assert handler.most == 4
    await end(consumer, running)


async def test_no_more_than_the_concurrency_are_at_work():
    handler = Handler()
    service = keyed(*"abcdefgh")
    consumer = consumer_of(service)
    running = asyncio.create_task(consumer.run(handler, concurrency=3, concurrency_by="key"))
    await asyncio.sleep(10)
    assert handler.most == 3
    assert sum(map(len, handler.done.values())) == 8
    await end(consumer, running)


async def test_records_without_a_key_wait_for_nobody():
    handler = Handler()
    consumer, running = begin(keyed(*[None] * 10), handler)
    await asyncio.sleep(2)
    assert len(handler.done[None]) == 10
    await end(consumer, running)


async def test_what_is_committed_is_below_the_first_unfinished_record():
    service = keyed("slow", "a", "b", "a", "slow", "c")
    handler = Handler(slow={"slow": 100})
    consumer, running = begin(service, handler)
    await asyncio.sleep(50)
    assert sum(map(len, handler.done.values())) == 4
    assert service.checkpoints == {P0: 0}
    await asyncio.sleep(60)
    assert service.checkpoints == {P0: 4}
    await asyncio.sleep(100)
    assert service.checkpoints == {P0: 6}
    await end(consumer, running)


async def test_the_next_batch_begins_behind_a_slow_record_but_not_the_one_after():
    service = keyed("slow", "a")
    handler = Handler(slow={"slow": 1000})
    consumer, running = begin(service, handler, prefetch_batches=1)
    await asyncio.sleep(10)
    add(service, "b")
    await asyncio.sleep(10)
    assert handler.done["b"] == ["b:0"]
    add(service, "c")
    await asyncio.sleep(100)
    assert "c" not in handler.done  # or what is done and not committed would have no bound
    await asyncio.sleep(1000)
    assert handler.done["c"] == ["c:0"]
    assert service.checkpoints == {P0: 4}
    await end(consumer, running)


async def test_a_record_that_fails_for_good_stops_the_run_and_comes_again_with_what_was_not_done():
    service = keyed("a", "b", "c", "b", "d")
    handler = Handler(slow={"d": 30}, fail=b"b:0")
    async with consumer_of(service) as consumer:
        with pytest.raises(HandlerError):
            await consumer.run(handler, concurrency_by="key", retries=0)
        await consumer.commit()
        assert service.checkpoints == {P0: 1}
        again = await drain(consumer)
        assert again == [b"b:0", b"b:1", b"d:0"]  # c:0 was done
        await consumer.commit()
        assert service.checkpoints == {P0: 5}


async def test_a_cancelled_run_gives_back_all_that_was_not_done():
    service = keyed(*"abab")
    async with consumer_of(service) as consumer:
        running = asyncio.create_task(consumer.run(Handler({"b": 50}), concurrency_by="key"))
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await drain(consumer) == [b"b:0", b"b:1"]


@pytest.mark.parametrize("what", ["pause", "seek"])
async def test_a_key_is_not_begun_again_while_its_record_of_before_is_at_work(what):
    service = keyed(*"abab")
    handler = Handler({"a": 20, "b": 20})  # which checks it
    consumer, running = begin(service, handler)
    await asyncio.sleep(5)
    if what == "seek":
        consumer.seek(P0, 1)
    else:
        consumer.pause()
        await asyncio.sleep(1)
        consumer.resume()
    await asyncio.sleep(100)
    assert handler.done["a"] == ["a:0", "a:1"]
    assert handler.done["b"] == (["b:0", "b:0", "b:1"] if what == "seek" else ["b:0", "b:1"])
    assert service.checkpoints == {P0: 4}
    await end(consumer, running)


async def test_closing_lets_the_records_in_hand_end_and_begins_no_other():
    service = keyed(*"aabb")
    handler = Handler({"a": 3, "b": 3})
    consumer, running = begin(service, handler)
    await asyncio.sleep(1)
    await consumer.close()
    await running
    assert handler.done == {"a": ["a:0"], "b": ["b:0"]}
    assert service.checkpoints == {P0: 1}


async def test_a_handler_may_close_its_consumer():
    service = keyed(*"abab")
    consumer = consumer_of(service)

    async def handler(record):
        if record.data == b"b:0":
            await consumer.close()

    async with asyncio.timeout(1):
        await consumer.run(handler, concurrency_by="key")
    assert service.checkpoints == {P0: 2}
    assert no_task_left()


async def test_another_way_to_be_concurrent_is_a_mistake():
    with pytest.raises(ConfigError, match="concurrency_by"):
        await consumer_of(keyed("a")).run(Handler(), concurrency_by="record")
