"""Whatever happens, each accepted record has one outcome, and order holds as promised."""

import asyncio
from collections import Counter

import pytest
import virtual_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_service import ScriptedService, refusal

from aiodis.config import ProducerSettings
from aiodis.errors import (
    BufferFullError,
    ConnectError,
    DeliveryTimeoutError,
    KeyPausedError,
    RecordError,
    RequestTimeoutError,
)
from aiodis.producer import Producer, Receipt
from aiodis.record import RecordMetadata

BUFFER = 6_000


def lost_reply():
    error = RequestTimeoutError("no complete answer")
    error.carried_out = True
    return error


def lost_request():
    return RequestTimeoutError("no complete answer")


codes = st.sampled_from(["DIS.4303", "DIS.5000", "DIS.4200"])
faults = st.one_of(
    st.none(),
    st.dictionaries(st.integers(0, 4), codes, min_size=1, max_size=3),  # a partial failure
    st.sampled_from(["5xx", "no route", "lost reply", "lost request", "refused", "too large"]),
)
keys = st.sampled_from(["a", "a", "b", "c", None])
sends = st.tuples(st.just("send"), keys, st.integers(1, 200))
steps = st.one_of(
    *[sends] * 8,  # mostly
    st.tuples(st.just("outage"), st.just(0), st.just(0)),
    st.tuples(st.just("post"), keys, st.integers(1, 200)),
    st.tuples(st.just("cancelled send"), keys, st.integers(1, 200)),
    st.tuples(st.just("sleep"), st.floats(0, 3), st.just(0)),
    st.tuples(st.just("scale"), st.integers(1, 5), st.just(0)),
    st.tuples(st.just("flush"), st.floats(0, 5), st.just(0)),
    st.tuples(st.just("cancel receipt"), st.just(0), st.just(0)),
)


def fault_of(kind):  # noqa: PLR0911 - one return a kind
    """Make the service's fault of a drawn one."""
    match kind:
        case None | dict():
            return lambda entries: kind
        case "5xx":
            return lambda entries: refusal("DIS.5000", 500)
        case "no route":
            return lambda entries: ConnectError("no route")
        case "lost reply":
            return lambda entries: lost_reply()
        case "lost request":
            return lambda entries: lost_request()
        case "refused":
            return lambda entries: refusal("DIS.4200")
        case "too large":
            return lambda entries: refusal("HTTP.413", 413) if len(entries) > 1 else None


class Run:
    """One producer through a script, and what must hold of it."""

    def __init__(self, ordering: str, on_failure: str, plan, script) -> None:
        self.ordering, self.on_failure, self.script = ordering, on_failure, script
        self.service = ScriptedService(partitions=2)
        self.service.put_faults = [fault_of(kind) for kind in plan]
        self.accepted: list[tuple[bytes, str | None]] = []
        self.outcomes: dict[bytes, list] = {}
        self.receipts: list[tuple[bytes, Receipt]] = []

    async def play(self) -> None:
        producer = Producer(
            self.service,
            "events",
            ProducerSettings(
                ordering=self.ordering,
                on_ordered_failure=self.on_failure,
                linger_ms=20,
                buffer_memory=BUFFER,
                max_block_ms=2_000,
                delivery_timeout_ms=8_000,
                close_timeout_ms=4_000,
                metadata_max_age_ms=2_000,
                batch_max_records=5,
            ),
        )
        async with producer:
            for number, step in enumerate(self.script):
                await self.step(producer, b"%d" % number, *step)
                assert producer.stats().buffered_bytes <= BUFFER
        assert producer.stats().buffered_bytes == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        stats = producer.stats()
        assert stats.accepted == len(self.accepted) == stats.delivered + stats.failed

    async def step(self, producer: Producer, data: bytes, kind: str, what, size: int) -> None:
        try:
            match kind:
                case "send":
                    self.took(
                        data.zfill(size),
                        what,
                        await producer.send(data.zfill(size), partition_key=what),
                    )
                case "post":
                    data = data.zfill(size)
                    producer.post(
                        data, partition_key=what, on_delivery=lambda o: self.told(data, o)
                    )
                    self.accepted.append((data, what))
                case "cancelled send":
                    await self.cancelled_send(producer, data.zfill(size), what)
                case "sleep":
                    await asyncio.sleep(what)
                case "scale":
                    self.scale(what)
                case "outage":
                    self.service.put_faults += [lambda entries: ConnectError("down")] * 30
                case "flush":
                    await producer.flush(timeout=what)
                case "cancel receipt" if self.receipts:
                    _, receipt = self.receipts[-1]
                    waiting = asyncio.ensure_future(receipt)
                    await asyncio.sleep(0)
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
        except (BufferFullError, KeyPausedError):
            return

    async def cancelled_send(self, producer: Producer, data: bytes, key) -> None:
        sending = asyncio.create_task(producer.send(data, partition_key=key))
        await asyncio.sleep(0)
        sending.cancel()
        (got,) = await asyncio.gather(sending, return_exceptions=True)
        if isinstance(got, Receipt):
            self.took(data, key, got)

    def took(self, data: bytes, key, receipt: Receipt) -> None:
        self.accepted.append((data, key))
        self.receipts.append((data, receipt))
        receipt.add_done_callback(lambda r: self.told(data, r.exception() or r.result()))

    def told(self, data: bytes, outcome) -> None:
        self.outcomes.setdefault(data, []).append(outcome)

    def scale(self, count: int) -> None:
        known = max(count, len(self.service.status))
        self.service.status = {n: "ACTIVE" if n < count else "DELETED" for n in range(known)}

    def check(self) -> None:
        copies = Counter(self.service.all_data())
        assert set(copies) <= {data for data, _ in self.accepted}
        for data, _ in self.accepted:
            outcomes = self.outcomes[data]
            assert len(outcomes) == 1
            match outcomes[0]:
                case RecordMetadata() as metadata:
                    number = int(metadata.partition_id[-10:])
                    stored = self.service.stored[number][metadata.sequence_number]
                    assert stored.data == data
                    assert copies[data] == 1 or metadata.attempts > 1
                case DeliveryTimeoutError() as error:
                    assert error.ambiguous or copies[data] == 0
                case RecordError() as error:
                    assert error.ambiguous or copies[data] == 0
                case other:
                    raise AssertionError(other)
        if self.ordering == "key":
            self.check_key_order()
        if self.ordering == "partition" and not any(step[0] == "scale" for step in self.script):
            self.check_partition_order()

    def check_partition_order(self) -> None:
        """A record that was overtaken in its partition says so, and no other does."""
        accepted_at = {data: number for number, (data, _) in enumerate(self.accepted)}
        for stored in self.service.stored.values():
            newest = -1
            for record in stored:
                outcome = self.outcomes[record.data][0]
                number = accepted_at[record.data]
                if (
                    isinstance(outcome, RecordMetadata)
                    and outcome.sequence_number == record.sequence
                ):
                    assert outcome.reordered == (number < newest)
                    newest = max(newest, number)

    def check_key_order(self) -> None:
        """The first copies of a key's delivered records are in the order of acceptance."""
        written = sorted((r for s in self.service.stored.values() for r in s), key=lambda r: r.at)
        first: dict[bytes, int] = {}
        for record in written:
            first.setdefault(record.data, record.at)
        for key in "abc":
            times = [first[data] for data, k in self.accepted if k == key and data in first]
            assert times == sorted(times)


@pytest.mark.parametrize(
    ("ordering", "on_failure"),
    [("partition", "pause"), ("key", "pause"), ("key", "continue"), ("none", "pause")],
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(faults, min_size=3, max_size=40), script=st.lists(steps, max_size=40))
def test_every_accepted_record_has_one_outcome_and_order_holds(ordering, on_failure, plan, script):
    run = Run(ordering, on_failure, plan, script)
    virtual_time.run(run.play())
    run.check()
