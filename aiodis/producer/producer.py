"""The producer's public face: intake, flush and close, and the owner of all its tasks."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiodis.api.limits import limits_of
from aiodis.api.records import MAX_RECORD_BYTES, check_record
from aiodis.api.streams import Streams
from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import ProducerSettings
from aiodis.errors import (
    BufferFullError,
    ClosedError,
    DeliveryTimeoutError,
    DISError,
    KeyPausedError,
    ParameterError,
    RecordError,
    RecordTooLargeError,
)
from aiodis.observe import NO_OBSERVER, Observer
from aiodis.pacing.budget import ByteBudget
from aiodis.producer.accumulator import Entry, Route
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.key_order import KeyOrder
from aiodis.producer.lanes import ENTRY_BYTES, LONGEST_KEY_KEPT, Lanes
from aiodis.producer.ledger import Ledger, ProducerStats
from aiodis.producer.meter import Meter
from aiodis.producer.outcome import record_error
from aiodis.producer.receipt import Outcome, Receipt
from aiodis.producer.router import Router
from aiodis.record import Record, RecordMetadata
from aiodis.transport.exchange import Exchange
from aiodis.wire.forms import require_wire

__all__ = ["FlushReport", "Producer"]

_log = logging.getLogger("aiodis.producer")

_TIDY_EVERY_S: Final = 1.0


class FlushReport(NamedTuple):
    """What became of the records a flush covered: those accepted since the last flush ended."""

    delivered: int
    failed: int
    pending: int


class Producer:
    """Puts records into one stream, in batches, at least once.

    Each accepted record ends in exactly one of: its `RecordMetadata`, or one
    `RecordError`.

    - `ordering="partition"`: a partition's records are written in the order of
      acceptance; where a partial failure inside one request broke it, the metadata
      says `reordered`.
    - `ordering="key"`: a key's records are written in the order of acceptance under
      every failure that is retried. One record of a key is on its way at a time. When
      one fails for good, the key is paused (`on_ordered_failure`).
    - `ordering="none"`: whatever is fastest.

    Made by `DISClient.producer`, used as an async context manager.
    """

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        settings: ProducerSettings,
        observer: Observer = NO_OBSERVER,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        Streams.describe.build(stream_name=stream_name)  # checked here, not at the start
        require_wire(settings.wire_format, settings.compression)
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange, self._clock = exchange, clock
        self._streams = Streams(exchange)
        self._buffer = ByteBudget(settings.buffer_memory, clock)
        self._progress = asyncio.Event()
        self._key_order = (
            KeyOrder(pauses=settings.on_ordered_failure == "pause")
            if settings.ordering == "key"
            else None
        )
        self._meter = Meter(observer, stream_name)
        self._ledger = Ledger(
            self._buffer,
            meter=self._meter,
            key_order=self._key_order,
            release=self._release,
            on_progress=self._progress.set,
        )
        self._epochs = self._ledger.epochs
        self._lanes: Lanes | None = None
        self._routes: dict[Any, Route] = {}
        self._most = self._most_unchecked = 0
        self._timeout = settings.delivery_timeout_ms / 1000
        self._deadline = 0.0
        self._is_timed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._cause: BaseException | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Producer stream={self.stream_name!r} buffered={self._buffered()}>"

    async def start(self) -> None:
        """Learn the stream's partitions and limits; repeated calls do nothing.

        Cancelled, nothing has started.

        Raises:
            NotFoundError: there is no such stream.
        """
        if self._closed:
            raise self._closed_error()
        if self._lanes is not None:
            return
        with self._meter.span("producer.start") as span:
            description = await self._streams.describe_all(self.stream_name)
            span.set(partitions=len(description.partitions))
        limits = limits_of(description.stream_type)
        try:
            router = Router(description.partitions)
        except ValueError as exc:
            raise DISError(f"stream {self.stream_name}: {exc}") from None
        self._loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(
            self._exchange,
            self.stream_name,
            self._ledger,
            settings=self.settings,
            request_bytes=min(
                self.settings.batch_max_bytes or limits.request_bytes, limits.request_bytes
            ),
            on_stream_gone=self._stream_gone,
            spawn=self._spawn,
            clock=self._clock,
        )
        self._lanes = Lanes(
            self._streams,
            self.stream_name,
            self.settings,
            router=router,
            limits=limits,
            dispatcher=dispatcher,
            ledger=self._ledger,
            spawn=self._spawn,
            on_stream_gone=self._stream_gone,
            clock=self._clock,
        )
        # The fast way in asks for none of the checks that these stand for.
        self._most = min(limits.request_bytes, MAX_RECORD_BYTES)
        self._most_unchecked = min(self._most, self._buffer.limit - ENTRY_BYTES - LONGEST_KEY_KEPT)
        if self.settings.serializer is None and self._key_order is None:
            self._routes = self._lanes.routes
        self._spawn(dispatcher.run())
        self._spawn(self._tidy(self._lanes))

    # Intake

    async def send(
        self,
        data: Any,
        *,
        partition_key: str | None = None,
        explicit_hash_key: int | None = None,
        partition_id: str | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Accept one record, and give the receipt of its delivery.

        `data` is bytes, or what the producer's `serializer` makes bytes of.
        Waits for room while `buffer_memory` is full. Cancelled while it waits,
        nothing is sent; cancelling a wait for the receipt cancels no send.

        Raises:
            ParameterError: the service would refuse the record.
            RecordTooLargeError: the record can never fit into one request.
            KeyPausedError: an earlier record of its key failed for good.
            BufferFullError: no room came within `max_block_ms`.
            ClosedError: the producer is closed, or failed (`__cause__` says why).
        """
        # The producer's innermost loop. What is the same for all records of a key is in its
        # route, and nothing is called here that need not be: a call is 2 % of a record's time.
        if explicit_hash_key is None and partition_id is None and timestamp_ms is None:
            try:
                route = self._routes[partition_key]
            except KeyError:
                pass
            else:
                length = len(data) if type(data) is bytes else 0
                size = length + route.weight
                buffer = self._buffer
                if (
                    0 < length <= self._most_unchecked
                    and size <= buffer.free
                    and not buffer.is_crowded
                ):
                    buffer.free -= size
                    epochs = self._epochs
                    order = epochs.accepted = epochs.accepted + 1
                    if not self._is_timed:
                        self._read_clock()
                    entry = Entry(data, route, order, self._deadline)
                    queue = route.queue
                    entries = queue.entries
                    entries.append(entry)
                    queue.size += length
                    if len(entries) >= queue.look_count or queue.size >= queue.look_size:
                        route.lane.look()
                    return entry
        return await self._send(
            Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        )

    async def send_and_wait(
        self,
        data: Any,
        *,
        partition_key: str | None = None,
        explicit_hash_key: int | None = None,
        partition_id: str | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """Send one record and wait until it is delivered. Cancelled, it may still be sent.

        Raises:
            RecordError: it was not delivered; and what `send` raises.
        """
        return await (
            await self.send(
                data,
                partition_key=partition_key,
                explicit_hash_key=explicit_hash_key,
                partition_id=partition_id,
                timestamp_ms=timestamp_ms,
            )
        )

    def send_nowait(
        self,
        data: Any,
        *,
        partition_key: str | None = None,
        explicit_hash_key: int | None = None,
        partition_id: str | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Accept one record at once, or raise.

        Raises:
            BufferFullError: there is no room now; and what `send` raises.
        """
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        return self._accept(*self._take_now(record))

    def post(
        self,
        data: Any,
        *,
        partition_key: str | None = None,
        explicit_hash_key: int | None = None,
        partition_id: str | None = None,
        timestamp_ms: int | None = None,
        on_delivery: Callable[[Outcome], object] | None = None,
    ) -> None:
        """Accept one record at once without a receipt, or raise.

        `on_delivery` is called with its `RecordMetadata` or its `RecordError`; it
        must not block. What it raises is logged. Without one the outcome is counted
        only, in `stats` and in the next flush's report.

        Raises:
            BufferFullError: there is no room now; and what `send` raises.
        """
        if explicit_hash_key is None and partition_id is None and timestamp_ms is None:
            route = self._routes.get(partition_key)
            if route is not None and self._accept_known(data, route, on_delivery):
                return
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        self._accept(*self._take_now(record), on_delivery)

    async def send_many(self, records: Iterable[Record]) -> list[Receipt]:
        """Accept records in their order; their receipts come in the same order.

        Cancelled, or when one raises, the records before it are accepted and
        will be sent; a flush covers them.

        Raises:
            DISError: what `send` raises, for the first record that it cannot accept.
        """
        receipts: list[Receipt] = []
        for record in records:
            route = self._routes.get(record.partition_key) if _has_only_a_key(record) else None
            known = self._accept_known(record.data, route) if route is not None else None
            receipts.append(known or await self._send(record))
        return receipts

    def resume_key(self, partition_key: str) -> None:
        """Let a key go on that `on_ordered_failure="pause"` stopped; see `paused_keys`."""
        if self._key_order is not None:
            self._key_order.resume(partition_key)

    @property
    def paused_keys(self) -> frozenset[str]:
        """The keys that stopped after a record that failed for good."""
        return frozenset() if self._key_order is None else self._key_order.paused

    async def _send(self, record: Record) -> Receipt:
        data, route = self._check(record)
        size = len(data) + route.weight
        if not self._buffer.try_take(size):
            await self._buffer.take(size, timeout_s=self.settings.max_block_ms / 1000)
            if self._closed or self._lanes is None:
                self._buffer.give(size)
                raise self._closed_error()
            route = self._lanes.current(route)  # the map may be another one by now
        return self._accept(data, route)

    def _take_now(self, record: Record) -> tuple[bytes, Route]:
        data, route = self._check(record)
        size = len(data) + route.weight
        if not self._buffer.try_take(size):
            raise BufferFullError(f"no room for {size} bytes now")
        return data, route

    def _check(self, record: Record) -> tuple[bytes, Route]:
        """See that a record may be accepted; give its data as bytes, and where it goes."""
        if self._closed or self._lanes is None:
            raise self._closed_error()
        if self.settings.serializer is not None:
            record = dataclasses.replace(record, data=self.settings.serializer(record.data))
        data = record.data
        if type(data) is bytes and len(data) > self._most:
            raise RecordTooLargeError(f"a record of {len(data)} bytes can never be sent")
        try:
            check_record(record)
        except ValueError as exc:
            raise ParameterError("records.put", "record", record, str(exc)) from None
        if self._key_order is not None and self._key_order.is_paused(record.partition_key):
            raise KeyPausedError("an earlier record of its key failed for good; see resume_key")
        route = self._lanes.route(record)
        if len(data) + route.weight > self._buffer.limit:
            raise RecordTooLargeError("a record larger than buffer_memory can never be sent")
        return data, route

    def _accept(
        self,
        data: bytes,
        route: Route,
        callback: Callable[[Outcome], object] | None = None,
    ) -> Receipt:
        epochs = self._epochs
        epochs.accepted += 1
        if not self._is_timed:
            self._read_clock()
        entry = Entry(data, route, epochs.accepted, self._deadline)
        if callback is not None:
            entry.add_done_callback(lambda receipt: callback(receipt.outcome()))
        if self._key_order is None or self._key_order.admit(entry):
            route.lane.append(entry)
        else:
            entry.admitted = False
        return entry

    def _accept_known(
        self,
        data: Any,
        route: Route,
        callback: Callable[[Outcome], object] | None = None,
    ) -> Receipt | None:
        """Accept a record of a known route, as `send` does, unless something speaks against it."""
        length = len(data) if type(data) is bytes else 0
        size = length + route.weight
        if not 0 < length <= self._most_unchecked or not self._buffer.try_take(size):
            return None
        return self._accept(data, route, callback)

    def _read_clock(self) -> None:
        """Set the deadline of the records accepted in this turn of the loop."""
        self._deadline = self._clock.now() + self._timeout
        self._is_timed = True
        self._loop.call_soon(self._forget_clock)

    def _forget_clock(self) -> None:
        self._is_timed = False

    def _release(self, entry: Entry) -> None:
        """Let a record go that its key held back; it has lingered enough."""
        assert self._lanes is not None
        entry.admitted = True
        entry.route = self._lanes.current(entry.route)
        entry.route.lane.append(entry)
        entry.route.lane.hurry()

    # Flush and close

    async def flush(self, timeout: float | None = None) -> FlushReport:
        """Wait until everything accepted before the call has its outcome, and report.

        `timeout` is in seconds; what is still pending then stays the
        producer's and is covered by the next flush too. No record's error is
        raised. Cancelled, nothing is lost.
        """
        with self._meter.span("producer.flush") as span:
            covered = self._epochs.cover()
            if self._lanes is not None:
                self._lanes.hurry()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(timeout):
                    while any(self._epochs.pending(epoch) for epoch in covered):
                        self._progress.clear()
                        await self._progress.wait()
            report = FlushReport(*self._epochs.report(covered))
            span.set(**report._asdict())
        return report

    async def close(self, timeout: float | None = None) -> FlushReport:
        """Take no more records, flush until `close_timeout_ms`, fail the rest, and report.

        May be repeated, works while the service is down, and leaves no task.
        Cancelled, it fails the rest at once.
        """
        self._shut()
        self._buffer.fail(ClosedError("the producer is closed"))
        if timeout is None:
            timeout = self.settings.close_timeout_ms / 1000
        try:
            with self._meter.span("producer.close") as span:
                report = await self.flush(timeout)
                span.set(**report._asdict())
        finally:
            self._fail_all(_closed_before, "closed")
            tasks = [task for task in self._tasks if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._meter.buffered(0)
        late = FlushReport(*self._epochs.report(self._epochs.cover()))
        return FlushReport(report.delivered + late.delivered, report.failed + late.failed, 0)

    def stats(self) -> ProducerStats:
        """Give a copy of the counts."""
        return dataclasses.replace(
            self._ledger.stats, accepted=self._epochs.accepted, buffered_bytes=self._buffered()
        )

    # Background and failure

    async def _tidy(self, lanes: Lanes) -> None:
        clock = self._clock
        while True:
            await clock.sleep(min(_TIDY_EVERY_S, self.settings.delivery_timeout_ms / 4000))
            if self._key_order is not None:
                self._ledger.expire(self._key_order.expired(clock.now()), clock.now())
            await lanes.tidy(clock.now())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (cause := task.exception()) is None or self._cause is not None:
            return
        _log.error("stream %s: the producer failed", self.stream_name, exc_info=cause)
        self._cause = cause
        self._shut()
        self._fail_all(lambda entry: _crashed(entry, cause), "crashed")
        self._buffer.fail(ClosedError("the producer failed"))
        for other in self._tasks:
            other.cancel()

    def _stream_gone(self, error: DISError) -> None:
        _log.warning("stream %s is gone: what waits for it fails", self.stream_name)
        assert self._lanes is not None
        self._ledger.fail(
            self._held_back() + self._lanes.waiting(),
            lambda entry: record_error(error, ambiguous=entry.ambiguous),
            "stream_gone",
        )

    def _shut(self) -> None:
        """Take no more records: without routes, every way in ends at the check."""
        self._closed = True
        self._routes = {}

    def _fail_all(self, make: Callable[[Entry], RecordError], reason: str) -> None:
        if self._lanes is not None:
            self._ledger.fail(self._held_back() + self._lanes.unsettled(), make, reason)

    def _held_back(self) -> list[Entry]:
        return [] if self._key_order is None else self._key_order.drain()

    def _closed_error(self) -> ClosedError:
        if self._cause is not None:
            error = ClosedError(f"the producer failed: {self._cause}")
            error.__cause__ = self._cause
            return error
        return ClosedError(
            "the producer is closed" if self._closed else "the producer is not started"
        )

    def _buffered(self) -> int:
        return self._buffer.limit - self._buffer.free


def _has_only_a_key(record: Record) -> bool:
    return (
        record.explicit_hash_key is None
        and record.partition_id is None
        and record.timestamp_ms is None
    )


def _closed_before(entry: Entry) -> RecordError:
    return DeliveryTimeoutError(
        "the producer was closed before the record was acknowledged", ambiguous=entry.ambiguous
    )


def _crashed(entry: Entry, cause: BaseException) -> RecordError:
    error = RecordError(f"the producer failed: {cause}", ambiguous=entry.ambiguous)
    error.__cause__ = cause
    return error
