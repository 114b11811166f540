"""The producer's public face: intake, flush and close, and the owner of all its tasks."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from aiodis.api.limits import StreamLimits, limits_of
from aiodis.api.records import check_record
from aiodis.api.streams import Streams
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
from aiodis.pacing.budget import ByteBudget
from aiodis.producer.accumulator import Entry, Epoch
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.key_order import KeyOrder
from aiodis.producer.lanes import Lanes
from aiodis.producer.ledger import Ledger, Outcome, ProducerStats
from aiodis.producer.outcome import record_error
from aiodis.producer.router import Router
from aiodis.record import Record, RecordMetadata
from aiodis.transport.exchange import Exchange

__all__ = ["FlushReport", "Producer", "Receipt"]

_log = logging.getLogger("aiodis.producer")

Receipt = asyncio.Future[RecordMetadata]
"""Resolves to the record's place, or raises its `RecordError`. Cancelling it cancels no send."""

_TIDY_EVERY_S: Final = 1.0
# What a record takes besides its data and key: its entry, its future, its places in queues.
_ENTRY_BYTES: Final = 400


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

    def __init__(self, exchange: Exchange, stream_name: str, settings: ProducerSettings) -> None:
        Streams.describe.build(stream_name=stream_name)  # checked here, not at the start
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange = exchange
        self._streams = Streams(exchange)
        self._buffer = ByteBudget(settings.buffer_memory)
        self._progress = asyncio.Event()
        self._key_order = (
            KeyOrder(pauses=settings.on_ordered_failure == "pause")
            if settings.ordering == "key"
            else None
        )
        self._ledger = Ledger(
            self._buffer,
            key_order=self._key_order,
            release=self._release,
            on_progress=self._progress.set,
        )
        self._lanes: Lanes | None = None
        self._limits: StreamLimits = limits_of("COMMON")
        self._tasks: set[asyncio.Task[None]] = set()
        self._epochs: list[Epoch] = [Epoch()]
        self._order = 0
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
        description = await self._streams.describe_all(self.stream_name)
        self._limits = limits_of(description.stream_type)
        try:
            router = Router(description.partitions)
        except ValueError as exc:
            raise DISError(f"stream {self.stream_name}: {exc}") from None
        most = self._limits.request_bytes
        dispatcher = Dispatcher(
            self._exchange,
            self.stream_name,
            self._ledger,
            max_in_flight=self.settings.max_in_flight,
            request_bytes=min(self.settings.batch_max_bytes or most, most),
            on_stream_gone=self._stream_gone,
            spawn=self._spawn,
        )
        self._lanes = Lanes(
            self._streams,
            self.stream_name,
            self.settings,
            router=router,
            limits=self._limits,
            dispatcher=dispatcher,
            ledger=self._ledger,
            spawn=self._spawn,
            on_stream_gone=self._stream_gone,
        )
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
        nothing is sent; cancelling the receipt loses only the receipt.

        Raises:
            ParameterError: the service would refuse the record.
            RecordTooLargeError: the record can never fit into one request.
            KeyPausedError: an earlier record of its key failed for good.
            BufferFullError: no room came within `max_block_ms`.
            ClosedError: the producer is closed, or failed (`__cause__` says why).
        """
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        return await self._send(record)

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
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        return await (await self._send(record))

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
        """Accept one record at once without a receipt, or raise: the fastest way in.

        `on_delivery` is called with its `RecordMetadata` or its `RecordError`; it
        must not block. What it raises is logged. Without one the outcome is counted
        only, in `stats` and in the next flush's report.

        Raises:
            BufferFullError: there is no room now; and what `send` raises.
        """
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        record, size = self._take_now(record)
        self._admit(self._entry(record, size, callback=on_delivery))

    async def send_many(self, records: Iterable[Record]) -> list[Receipt]:
        """Accept records in their order; their receipts come in the same order.

        Cancelled, or when one raises, the records before it are accepted and
        will be sent; a flush covers them.

        Raises:
            DISError: what `send` raises, for the first record that it cannot accept.
        """
        return [await self._send(record) for record in records]

    def resume_key(self, partition_key: str) -> None:
        """Let a key go on that `on_ordered_failure="pause"` stopped."""
        if self._key_order is not None:
            self._key_order.resume(partition_key)

    async def _send(self, record: Record) -> Receipt:
        record, size = self._check(record)
        if not self._buffer.try_take(size):
            await self._buffer.take(size, timeout_s=self.settings.max_block_ms / 1000)
            if self._closed:
                self._buffer.give(size)
                raise self._closed_error()
        return self._accept(record, size)

    def _take_now(self, record: Record) -> tuple[Record, int]:
        record, size = self._check(record)
        if not self._buffer.try_take(size):
            raise BufferFullError(f"no room for {size} bytes now")
        return record, size

    def _check(self, record: Record) -> tuple[Record, int]:
        """See that a record may be accepted; give it with its data as bytes, and its size."""
        if self._closed or self._lanes is None:
            raise self._closed_error()
        if self.settings.serializer is not None:
            record = dataclasses.replace(record, data=self.settings.serializer(record.data))
        try:
            check_record(record)
        except ValueError as exc:
            self._check_size(record, 0)
            raise ParameterError("records.put", "record", record, str(exc)) from None
        size = len(record.data) + len(record.partition_key or "") + _ENTRY_BYTES
        self._check_size(record, size)
        if self._key_order is not None and self._key_order.is_paused(record.partition_key):
            raise KeyPausedError("an earlier record of its key failed for good; see resume_key")
        return record, size

    def _check_size(self, record: Record, size: int) -> None:
        data: object = record.data
        bytes_of_data = len(data) if isinstance(data, bytes) else 0
        if bytes_of_data > self._limits.request_bytes or size > self._buffer.limit:
            raise RecordTooLargeError(f"a record of {bytes_of_data} bytes can never be sent")

    def _accept(self, record: Record, size: int) -> Receipt:
        receipt: Receipt = asyncio.get_running_loop().create_future()
        self._admit(self._entry(record, size, receipt=receipt))
        return receipt

    def _entry(
        self,
        record: Record,
        size: int,
        *,
        receipt: Receipt | None = None,
        callback: Callable[[Outcome], object] | None = None,
    ) -> Entry:
        epoch = self._epochs[-1]
        epoch.accepted += 1
        self._order += 1
        stats = self._ledger.stats
        stats.accepted += 1
        stats.accepted_bytes += len(record.data)
        return Entry(
            record,
            size=size,
            order=self._order,
            deadline=asyncio.get_running_loop().time() + self.settings.delivery_timeout_ms / 1000,
            epoch=epoch,
            receipt=receipt,
            callback=callback,
        )

    def _admit(self, entry: Entry) -> None:
        if self._key_order is None or self._key_order.admit(entry):
            assert self._lanes is not None
            self._lanes.add(entry, asyncio.get_running_loop().time())

    def _release(self, entry: Entry) -> None:
        """Let a record go that its key held back; it has lingered enough."""
        assert self._lanes is not None
        self._lanes.add(entry, asyncio.get_running_loop().time())
        entry.lane.hurry()

    # Flush and close

    async def flush(self, timeout: float | None = None) -> FlushReport:
        """Wait until everything accepted before the call has its outcome, and report.

        `timeout` is in seconds; what is still pending then stays the
        producer's and is covered by the next flush too. No record's error is
        raised. Cancelled, nothing is lost.
        """
        covered = list(self._epochs)
        if covered[-1].accepted:
            self._epochs.append(Epoch())
        if self._lanes is not None:
            self._lanes.hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while any(epoch.pending for epoch in covered):
                    self._progress.clear()
                    await self._progress.wait()
        done = [epoch for epoch in covered if not epoch.pending]
        self._epochs = [epoch for epoch in self._epochs[:-1] if epoch not in done] + self._epochs[
            -1:
        ]
        return FlushReport(
            sum(epoch.delivered for epoch in covered),
            sum(epoch.failed for epoch in covered),
            sum(epoch.pending for epoch in covered),
        )

    async def close(self, timeout: float | None = None) -> FlushReport:
        """Take no more records, flush until `close_timeout_ms`, fail the rest, and report.

        May be repeated, works while the service is down, and leaves no task.
        Cancelled, it fails the rest at once.
        """
        self._closed = True
        self._buffer.fail(ClosedError("the producer is closed"))
        if timeout is None:
            timeout = self.settings.close_timeout_ms / 1000
        try:
            report = await self.flush(timeout)
        finally:
            self._fail_all(_closed_before)
            tasks = [task for task in self._tasks if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return FlushReport(report.delivered, report.failed + report.pending, 0)

    def stats(self) -> ProducerStats:
        """Give a copy of the counts."""
        return dataclasses.replace(self._ledger.stats, buffered_bytes=self._buffered())

    # Background and failure

    async def _tidy(self, lanes: Lanes) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_TIDY_EVERY_S, self.settings.delivery_timeout_ms / 4000))
            if self._key_order is not None:
                self._ledger.expire(self._key_order.expired(loop.time()), loop.time())
            await lanes.tidy(loop.time())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (cause := task.exception()) is None or self._cause is not None:
            return
        _log.error("stream %s: the producer failed", self.stream_name, exc_info=cause)
        self._cause, self._closed = cause, True
        self._fail_all(lambda entry: _crashed(entry, cause))
        self._buffer.fail(ClosedError("the producer failed"))
        for other in self._tasks:
            other.cancel()

    def _stream_gone(self, error: DISError) -> None:
        _log.warning("stream %s is gone: what waits for it fails", self.stream_name)
        assert self._lanes is not None
        self._ledger.fail(
            self._held_back() + self._lanes.waiting(),
            lambda entry: record_error(error, ambiguous=entry.ambiguous),
        )

    def _fail_all(self, make: Callable[[Entry], RecordError]) -> None:
        if self._lanes is not None:
            self._ledger.fail(self._held_back() + self._lanes.unsettled(), make)

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


def _closed_before(entry: Entry) -> RecordError:
    return DeliveryTimeoutError(
        "the producer was closed before the record was acknowledged", ambiguous=entry.ambiguous
    )


def _crashed(entry: Entry, cause: BaseException) -> RecordError:
    error = RecordError(f"the producer failed: {cause}", ambiguous=entry.ambiguous)
    error.__cause__ = cause
    return error
