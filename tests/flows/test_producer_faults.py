"""The producer against the embedded DIS with its faults on, over sockets.

What the server holds at the end is compared with what the receipts say: nothing that was
acknowledged is lost, a record is there twice only where its receipt tells of several tries or
of an end that is not known, and order holds as the producer's ordering has it.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from programs import ServerProcess
from test_kill_server import read_all

from aiodis import DISClient, RecordMetadata
from aiodis.errors import DeliveryTimeoutError, RecordError
from aiodis.producer import Producer, Receipt
from aiodis.server import LocalDIS
from aiodis.server.faults import (
    Faults,
    bandwidth,
    garbage_json,
    gateway_page,
    hang,
    http_status,
    latency,
    reset,
    reset_after,
    reset_before,
    truncated,
)

PUT = "records.put"
KEYS = 12
COUNT = 180
"""How many records meet a fault of one kind."""
CLIENT = {
    "retry_backoff_ms": 1,
    "retry_backoff_max_ms": 20,
    "retry_budget": 1.0,
    "breaker_open_ms": 50,
    "request_timeout_ms": 150,
}
PRODUCER = {
    "rate_limit": "off",
    "linger_ms": 1,
    "batch_max_records": 12,
    "retry_backoff_ms": 1,
    "retry_backoff_max_ms": 20,
    "delivery_timeout_ms": 20_000,
    "buffer_memory": 100_000,
}

orderings = pytest.mark.parametrize("ordering", ["partition", "key", "none"])


class Load:
    """Records on their way to a stream, and what must hold of them once all have an outcome."""

    def __init__(self, ordering: str) -> None:
        self.ordering = ordering
        self.receipts: list[tuple[bytes, str, Receipt]] = []
        self.stored: dict[str, list[bytes]] = {}
        self._ended = asyncio.Semaphore(0)

    async def send(self, producer: Producer, count: int = 10**9) -> None:
        """Send records of a few keys, and let the producer work in between."""
        for _ in range(count):
            number = len(self.receipts)
            data, key = b"%d" % number, f"k{number % KEYS}"
            receipt = await producer.send(data, partition_key=key)
            receipt.add_done_callback(lambda _: self._ended.release())
            self.receipts.append((data, key, receipt))
            if number % 24 == 0:
                await asyncio.sleep(0.001)

    async def ended(self, count: int) -> None:
        """Wait until that many more records have their outcome."""
        for _ in range(count):
            await self._ended.acquire()

    def check(self) -> None:
        copies = Counter(data for partition in self.stored.values() for data in partition)
        assert set(copies) <= {data for data, _, _ in self.receipts}
        for data, _, receipt in self.receipts:
            match receipt.exception():
                case None:
                    place = receipt.result()
                    assert self.stored[place.partition_id][place.sequence_number] == data
                    assert copies[data] == 1 or place.attempts > 1
                case RecordError() as error:
                    assert error.ambiguous or copies[data] == 0
        if self.ordering == "key":
            self.check_key_order()
        if self.ordering == "partition":
            self.check_partition_order()

    def check_key_order(self) -> None:
        """The first copies of a key's records are in the order of acceptance."""
        first: dict[str, dict[bytes, int]] = defaultdict(dict)
        for partition in self.stored.values():
            for place, data in enumerate(partition):
                first[f"k{int(data) % KEYS}"].setdefault(data, place)
        for places in first.values():  # a key has one partition: nothing is scaled here
            numbers = [int(data) for data in sorted(places, key=places.__getitem__)]
            assert numbers == sorted(numbers)

    def check_partition_order(self) -> None:
        """Where they were acknowledged, records are in order, but for those that say otherwise."""
        acknowledged: dict[str, list[tuple[int, int, RecordMetadata]]] = defaultdict(list)
        for number, (_, _, receipt) in enumerate(self.receipts):
            if receipt.exception() is None:
                place = receipt.result()
                acknowledged[place.partition_id].append((place.sequence_number, number, place))
        for records in acknowledged.values():
            newest = -1
            for _, number, place in sorted(records, key=lambda record: record[0]):
                assert place.reordered == (number < newest)
                newest = max(newest, number)


@asynccontextmanager
async def streaming(**settings: object) -> AsyncIterator[tuple[LocalDIS, DISClient]]:
    """Give a server with a stream, and a client of it."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(LocalDIS(limits=False))
        settings = {**server.client_settings, **CLIENT, **settings}
        dis = await stack.enter_async_context(DISClient(**settings))
        await dis.streams.create(stream_name="events", partition_count=3, exist_ok=True)
        yield server, dis


async def play(
    ordering: str,
    break_it: Callable[[Faults, int], None],
    seed: int,
    count: int,
    request_timeout_ms: int = 600,
):
    """Send through faults until every record has its outcome, and compare."""
    random.seed(seed)
    load = Load(ordering)
    async with streaming(request_timeout_ms=request_timeout_ms) as (server, dis):
        async with dis.producer("events", ordering=ordering, **PRODUCER) as producer:
            break_it(server.faults, seed)
            await load.send(producer, count)
            assert await producer.flush(20) == (count, 0, 0)
        counts = server.faults.counts
        server.faults.clear()
        load.stored = await read_all(dis, "events")
    load.check()
    return load, counts


def rules(*outcomes, rate: float = 0.2, **options) -> Callable[[Faults, int], None]:
    """Let a share of the puts meet each of the outcomes."""

    def break_it(faults: Faults, seed: int) -> None:
        for n, outcome in enumerate(outcomes):
            faults.rule(PUT, outcome=outcome, rate=rate, seed=seed + n, **options)

    return break_it


def partial(code: str, rate: float = 0.15) -> Callable[[Faults, int], None]:
    """Let a share of the records fail."""
    return lambda faults, seed: faults.partial(PUT, code=code, rate=rate, seed=seed) and None


def mixed(faults: Faults, seed: int) -> None:
    """Let all of them come, each now and then."""
    for chosen in CHOICES.values():
        chosen(faults, seed)


BUSY = http_status(429, headers={"Retry-After": "1"})
CHOICES: dict[str, Callable[[Faults, int], None]] = {
    "latency": rules(latency(ms=5, jitter_ms=5), rate=0.5),
    "answers that come late": rules(latency(ms=900), phase="after", rate=0.5, times=2),
    "slow answers": rules(bandwidth(bytes_per_s=100_000)),
    "resets before the body": rules(reset_before()),
    "resets in the body": rules(reset_after(bytes=300)),
    "resets after the body": rules(reset(), phase="before"),
    "resets after the effect": rules(reset(), phase="after"),
    "5xx": rules(http_status(500), http_status(503), rate=0.1),
    "5xx after the effect": rules(gateway_page(502), phase="after"),
    "429": rules(BUSY, times=1),
    "throttled records": partial("DIS.4303"),
    "records that meet an error inside": partial("DIS.5000"),
    "no answer": rules(hang(), phase="before", rate=0.5, times=2),
    "no answer after the effect": rules(hang(), phase="after", rate=0.5, times=2),
    "truncated answers": rules(truncated()),
    "answers that are no JSON": rules(garbage_json(), phase="before"),
    "no JSON after the effect": rules(garbage_json(), phase="after"),
}
# The others have time enough, however busy the machine is: what comes late may be there twice.
MEETS_THE_TIMEOUT = {"answers that come late", "no answer", "no answer after the effect"}
SPARES_THE_RECEIPTS = {"latency", "slow answers"}
WRITES_ONCE = SPARES_THE_RECEIPTS | {
    "resets before the body",
    "resets after the body",
    "resets in the body",
    "5xx",
    "429",
    "throttled records",
    "records that meet an error inside",
    "no answer",
    "answers that are no JSON",
}


@orderings
@pytest.mark.parametrize("name", CHOICES)
async def test_what_the_server_holds_is_what_the_receipts_say(name, ordering):
    patience = 600 if name in MEETS_THE_TIMEOUT else 20_000
    load, counts = await play(ordering, CHOICES[name], 11, COUNT, request_timeout_ms=patience)
    assert counts.total() > 0
    held = sum(map(len, load.stored.values()))
    attempts = max(receipt.result().attempts for _, _, receipt in load.receipts)
    assert (attempts > 1) != (name in SPARES_THE_RECEIPTS)
    assert (held > COUNT) != (name in WRITES_ONCE)


@orderings
async def test_all_faults_at_once(ordering):
    await play(ordering, mixed, seed=5, count=COUNT)


@pytest.mark.drill
@orderings
@pytest.mark.parametrize("seed", range(100, 140))
async def test_faults_by_chance(ordering, seed):
    chance = random.Random(seed)
    chosen = chance.sample(sorted(CHOICES), chance.randint(2, 8))

    def break_it(faults: Faults, seed: int) -> None:
        for name in chosen:
            CHOICES[name](faults, seed)

    await play(ordering, break_it, seed=seed, count=1_500)


# -- Ends ---------------------------------------------------------------------------------


@orderings
@pytest.mark.parametrize(
    ("outcome", "phase", "ambiguous", "written"),
    [
        (http_status(503), "before", None, False),  # the deadline may cut the last try short
        (reset_before(), None, True, False),  # a small body had gone out by then
        (http_status(500), "before", True, False),
        (hang(), "before", True, False),
        (reset(), "after", True, True),
        (truncated(), "after", True, True),
        (garbage_json(), "after", True, True),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_records_that_expire_say_whether_they_may_be_there(
    ordering, outcome, phase, ambiguous, written
):
    load = Load(ordering)
    settings = {**PRODUCER, "delivery_timeout_ms": 500, "on_ordered_failure": "continue"}
    async with (
        streaming() as (server, dis),
        dis.producer("events", ordering=ordering, **settings) as producer,
    ):
        server.faults.rule(PUT, outcome=outcome, phase=phase)
        await load.send(producer, KEYS)
        assert await producer.flush(5) == (0, KEYS, 0)
        server.faults.clear()
        load.stored = await read_all(dis, "events")
        await producer.send_and_wait(b"after", partition_key="k0")
    load.check()
    errors = [receipt.exception() for _, _, receipt in load.receipts]
    assert all(isinstance(error, DeliveryTimeoutError) for error in errors)
    if ambiguous is not None:
        assert any(error.ambiguous for error in errors) == ambiguous  # some were never sent at all
    assert any(load.stored.values()) == written


# -- Restarts -----------------------------------------------------------------------------


async def kill_under_load(tmp_path, ordering: str, rounds: int, seed: int) -> None:
    """`kill -9` the server while records are on their way, and start it again."""
    chance = random.Random(seed)
    load = Load(ordering)
    with ServerProcess(tmp_path / "data", "--no-limits") as server:
        server.start()
        client = {**CLIENT, "request_timeout_ms": 2_000, "retry_backoff_max_ms": 200}
        async with DISClient(**server.client_settings, **client) as dis:
            await dis.streams.create(stream_name="events", partition_count=3, exist_ok=True)
            async with dis.producer("events", ordering=ordering, **PRODUCER) as producer:
                for _ in range(rounds):
                    sending = asyncio.create_task(load.send(producer))
                    await load.ended(chance.randint(200, 600))
                    server.kill()
                    server.start()
                    sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                report = await producer.flush(30)
                assert report.failed == report.pending == 0
            load.stored = await read_all(dis, "events")
        assert server.stop() == 0
    load.check()


@orderings
async def test_a_server_killed_in_the_middle_has_what_the_receipts_say(tmp_path, ordering):
    await kill_under_load(tmp_path, ordering, rounds=1, seed=21)


@pytest.mark.drill
@orderings
async def test_a_server_killed_many_times_has_what_the_receipts_say(tmp_path, ordering):
    await kill_under_load(tmp_path, ordering, rounds=25, seed=22)


async def test_a_request_throttled_as_a_whole_slows_its_partitions_down():
    async with LocalDIS() as server, DISClient(**server.client_settings) as dis:
        await dis.streams.create(stream_name="events", partition_count=2)
        server.faults.push("records.put", error="DIS.4303")
        async with dis.producer("events") as producer:
            throttled = await producer.send_and_wait(b"x", partition_id="0")
            assert throttled.attempts == 2
            await producer.send_and_wait(b"x", partition_id="1")
            shares = [lane._limiter.share for lane in producer._lanes._by_partition.values()]
        assert shares[0] < 1 == shares[1]


async def test_the_tries_of_a_request_count_whose_last_answer_cannot_be_read():
    async with streaming() as (server, dis), dis.producer("events", **PRODUCER) as producer:
        for _ in range(2):
            server.faults.push(PUT, outcome=gateway_page(502), phase="after")
            server.faults.push(PUT, outcome=garbage_json(), phase="after")
        place = await producer.send_and_wait(b"data", partition_key="k")
        server.faults.assert_exhausted()
        stored = await read_all(dis, "events")
    assert place.attempts == len(stored[place.partition_id]) == 5
