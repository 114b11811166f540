"""An hour without the service, under virtual time: what waits is bounded, and ends in time."""

import asyncio
import gc
import itertools
import logging
import random
import sys
from functools import partial
from typing import NamedTuple

import orjson
import pytest
from scripted_service import ScriptedService

from aiodis.api.streams import DescribeStream
from aiodis.config import ClientSettings, ProducerSettings
from aiodis.credentials import AccessKey
from aiodis.errors import BufferFullError, DeliveryTimeoutError, KeyPausedError
from aiodis.producer import Producer, Receipt
from aiodis.producer.lanes import ENTRY_BYTES
from aiodis.record import RecordMetadata
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import Answer

pytestmark = pytest.mark.looptime(start=0)

HOUR_S = 3600
TIMEOUT_S = 120
BLOCK_S = 20
BUFFER = 60_000
SENDERS = 4
KEYS = 50
BACKOFF_S = 10  # the longest pause of a lane, and of the core's breaker


@pytest.fixture(autouse=True)
def counted_memory(caplog):
    """Leave out of the counts what pytest keeps of the log, and of the time what lived before."""
    caplog.set_level(logging.CRITICAL, "aiodis")
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class ServiceSession:
    """The scripted service as an HTTP session, so that the core's retries are part of it."""

    def __init__(self, service: ScriptedService) -> None:
        self.service = service

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, method, url, *, headers, body, timeout_s) -> Answer:
        deadline = asyncio.get_running_loop().time() + timeout_s
        if method == "POST":
            reply = orjson.dumps(await self.service._put(orjson.loads(body), deadline))
        else:
            await self.service._travel(deadline)
            description = self.service.streams_describe(DescribeStream(stream_name="events"))
            reply = description.model_dump_json(by_alias=True, exclude_none=True).encode()
        return Answer(200, {}, reply)


class Census(NamedTuple):
    """What a producer and its loop hold."""

    tasks: int
    timers: int
    entries: int
    settled: int
    outbox: int
    epochs: int
    routes: int
    waiters: int
    blocks: int


def census(producer: Producer) -> Census:
    gc.collect()
    lanes = list(producer._lanes._by_partition.values())
    held = producer._key_order._waiting.values() if producer._key_order else ()
    hands = [entry for lane in lanes for hand in lane.hands.values() for entry in hand]
    return Census(
        tasks=len(asyncio.all_tasks()),
        timers=len(asyncio.get_running_loop()._scheduled),
        entries=sum(len(lane.queue.entries) for lane in lanes)
        + sum(len(entries) for entries in held)
        + sum(not entry.settled for entry in hands),
        settled=sum(entry.settled for entry in hands),
        outbox=len(producer._lanes._dispatcher._outbox),
        epochs=len(producer._epochs._epochs),
        routes=len(producer._lanes.routes),
        waiters=len(producer._buffer._waiters),
        blocks=sys.getallocatedblocks(),
    )


class Outage:
    """Senders that never rest, and what became of their records. It keeps numbers only."""

    def __init__(self, producer: Producer, service: ScriptedService) -> None:
        self.producer, self.service = producer, service
        self.loop = asyncio.get_running_loop()
        self.chance = random.Random(7)
        self.held = self.accepted = self.blocked = self.expired = self.delivered = 0
        self.earliest, self.latest = float("inf"), 0.0
        self.recovered_at = float("inf")
        self.last_delivery = 0.0

    async def send_for_ever(self) -> None:
        """Send without a pause: only the first await slows this down."""
        while True:
            data, key = bytes(self.chance.randint(1, 200)), f"key-{self.chance.randrange(KEYS)}"
            size = len(data) + ENTRY_BYTES
            before = self.loop.time()
            try:
                receipt = await self.producer.send(data, partition_key=key)
            except BufferFullError:
                assert self.loop.time() - before == pytest.approx(BLOCK_S, abs=0.01)
                self.blocked += 1
                continue
            except KeyPausedError:
                self.producer.resume_key(key)
                continue
            self.accepted += 1
            self.held += size
            self.check_bound()
            receipt.add_done_callback(partial(self.ended, size, self.loop.time()))

    def check_bound(self) -> None:
        assert 0 <= self.producer.stats().buffered_bytes <= BUFFER

    def ended(self, size: int, accepted_at: float, receipt: Receipt) -> None:
        now = self.loop.time()
        self.held -= size
        error = receipt.exception()
        if error is None:
            assert isinstance(receipt.result(), RecordMetadata)
            assert now >= self.recovered_at
            self.delivered += 1
            self.last_delivery = now
        elif isinstance(error, DeliveryTimeoutError):
            self.expired += 1
            self.earliest = min(self.earliest, now - accepted_at)
            self.latest = max(self.latest, now - accepted_at)
        else:
            assert isinstance(error, KeyPausedError)
            self.expired += 1


async def settle() -> None:
    """Let senders go on that were just given room."""
    for _ in range(5):
        await asyncio.sleep(0)


def producer_of(service: ScriptedService, through: str, **settings) -> Producer:
    exchange = service
    if through == "the core":
        service.request_timeout_s = float("inf")  # it brings its own
        client = ClientSettings(endpoint="http://127.0.0.1:1", project_id="p")
        exchange = Exchange(client, AccessKey("ak", "sk"), session=ServiceSession(service))
    return Producer(
        exchange,
        "events",
        ProducerSettings(
            **{
                "buffer_memory": BUFFER,
                "max_block_ms": BLOCK_S * 1000,
                "delivery_timeout_ms": TIMEOUT_S * 1000,
                "retry_backoff_max_ms": BACKOFF_S * 1000,
                **settings,
            }
        ),
    )


@pytest.mark.parametrize("through", ["the lanes alone", "the core"])
@pytest.mark.parametrize("down", ["refused", "silent"])
@pytest.mark.parametrize("ordering", ["partition", "key", "none"])
async def test_an_hour_without_the_service(ordering, down, through):
    random.seed(3)
    service = ScriptedService(partitions=5)
    producer = producer_of(service, through, ordering=ordering)
    await producer.start()
    service.down = down
    outage = Outage(producer, service)
    senders = [asyncio.create_task(outage.send_for_ever()) for _ in range(SENDERS)]
    counts = []
    for _ in range(HOUR_S // 60):
        await asyncio.sleep(60)
        await settle()
        outage.check_bound()
        assert producer.stats().buffered_bytes == outage.held
        counts.append(census(producer))

    assert outage.delivered == 0
    assert outage.blocked > SENDERS * 60  # most of the hour there was no room
    assert outage.expired > 20 * BUFFER // (ENTRY_BYTES + 220)
    assert TIMEOUT_S - 0.1 < outage.earliest <= outage.latest < TIMEOUT_S + 1.1
    assert_flat(counts, workers=producer.settings.workers * 5)

    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    outage.recovered_at = asyncio.get_running_loop().time()
    service.down = None
    assert (await producer.flush()).pending == 0
    patience = 2 * BACKOFF_S + (30 if down == "silent" else 0)  # what is under way is lost first
    assert asyncio.get_running_loop().time() - outage.recovered_at < patience
    assert outage.accepted == outage.delivered + outage.expired
    assert outage.delivered > 0
    assert outage.held == producer.stats().buffered_bytes == 0
    assert (await producer.send_and_wait(b"after", partition_key="fresh")).attempts == 1
    await producer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def assert_flat(counts: list[Census], *, workers: int) -> None:
    """See that each count is bounded, and that the hour's end holds no more than its beginning."""
    most = Census(*(max(column) for column in zip(*counts, strict=True)))
    records = BUFFER // ENTRY_BYTES
    requests = 16
    assert most.entries <= records
    assert most.tasks <= workers + requests + SENDERS + 4
    assert most.timers <= 2 * (workers + requests + SENDERS + 4) + 100  # asyncio drops them late
    assert most.outbox <= workers
    assert most.epochs <= 3
    assert most.routes <= KEYS
    assert most.waiters <= SENDERS
    early = max(count.blocks for count in counts[5:15])
    late = max(count.blocks for count in counts[-10:])
    assert late - early < 1_000


async def test_records_that_expired_are_let_go_of_while_others_of_their_batch_go_on():
    """Else a batch holds memory that `buffer_memory` no longer counts."""
    service = ScriptedService(partitions=1)
    producer = producer_of(service, "the lanes alone", linger_ms=60_000)
    await producer.start()
    service.down = "silent"
    for _ in range(50):
        await producer.send(bytes(100), partition_key="k")
    await asyncio.sleep(10)
    await producer.send(bytes(100), partition_key="k")
    await asyncio.sleep(TIMEOUT_S - 5)  # the fifty are over, and the last one is on its way
    found = census(producer)
    assert found.entries == 1
    assert found.settled == 0
    await producer.flush()
    await producer.close()


@pytest.mark.parametrize("down", ["refused", "silent"])
async def test_flushing_each_minute_of_an_outage_piles_nothing_up_and_counts_each_record_once(down):
    random.seed(4)
    service = ScriptedService(partitions=5)
    producer = producer_of(service, "the lanes alone")
    await producer.start()
    service.down = down
    outage = Outage(producer, service)
    senders = [asyncio.create_task(outage.send_for_ever()) for _ in range(SENDERS)]
    counts, reports = [], []
    for minute in range(1, HOUR_S // 60 + 1):
        reports.append(await producer.flush(timeout=60))
        counts.append(census(producer))
        await asyncio.sleep(max(0, 60 * minute - asyncio.get_running_loop().time()))
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    outage.recovered_at = asyncio.get_running_loop().time()
    service.down = None
    reports += [await producer.flush(), await producer.close()]

    most_epochs = TIMEOUT_S // 60 + 2  # one a minute for as long as its records may wait
    assert max(count.epochs for count in counts) <= most_epochs
    assert sum(report.pending > 0 for report in reports) > 20
    assert [report.pending for report in reports[-2:]] == [0, 0]
    assert sum(report.failed for report in reports) == outage.expired
    assert sum(report.delivered for report in reports) == outage.delivered > 0
    assert outage.accepted == outage.delivered + outage.expired


async def test_flushes_that_overlap_and_end_early_leave_no_epoch_behind():
    service = ScriptedService(partitions=2)
    producer = producer_of(service, "the lanes alone")
    await producer.start()
    service.down = "refused"
    counted = itertools.count()
    for _ in range(600):
        producer.post(b"%d" % next(counted), partition_key="k")
        flushes = [asyncio.create_task(producer.flush(timeout)) for timeout in (0, 0.5, None)]
        await asyncio.sleep(1)
        for flush in flushes:
            flush.cancel()
        await asyncio.gather(*flushes, return_exceptions=True)
        assert len(producer._epochs._epochs) <= TIMEOUT_S + 3
    report = await producer.flush()
    assert report.pending == 0
    assert len(producer._epochs._epochs) == 1
    await producer.close()


async def test_a_request_that_waits_for_its_turn_does_not_outlive_its_records():
    """With one request in flight at a time, and a service that says nothing for an hour."""
    service = ScriptedService(partitions=8)
    loop = asyncio.get_running_loop()
    producer = producer_of(
        service, "the lanes alone", max_in_flight=1, batch_max_bytes=1_000, buffer_memory=200_000
    )
    await producer.start()
    service.down = "silent"
    late: list[float] = []

    def ended(accepted_at: float, _: Receipt) -> None:
        late.append(loop.time() - accepted_at - TIMEOUT_S)

    for i in range(80):
        receipt = await producer.send(bytes(900), partition_key=f"key-{i % KEYS}")
        receipt.add_done_callback(partial(ended, loop.time()))
        await asyncio.sleep(0.5)
    await producer.flush()
    await producer.close()
    assert len(late) == 80
    assert max(late) < 1.1
