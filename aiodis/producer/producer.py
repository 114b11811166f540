"""The producer's public face, and the wiring of its parts."""

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
    NotFoundError,
    ParameterError,
    RecordError,
    RecordTooLargeError,
)
from aiodis.pacing.budget import ByteBudget
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.producer.accumulator import Entry, Epoch
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.lane import Lane
from aiodis.producer.ledger import Ledger, ProducerStats
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
_WORKERS: Final = {"partition": 1, "none": 4}


class FlushReport(NamedTuple):
    """What became of the records a flush covered: those accepted since the last flush ended."""

    delivered: int
    failed: int
    pending: int


class Producer:
    """Puts records into one stream, in batches, at least once.

    Each accepted record ends in exactly one of: its `RecordMetadata`, or one
    `RecordError`. With `ordering="partition"` the records of a partition are
    written in the order of acceptance; where a partial failure inside one
    request broke it, the metadata says `reordered`.

    Made by `DISClient.producer`, used as an async context manager.
    """

    def __init__(self, exchange: Exchange, stream_name: str, settings: ProducerSettings) -> None:
        Streams.describe.build(stream_name=stream_name)  # checked here, not at the start
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange = exchange
        self._streams = Streams(exchange)
        self._stats = ProducerStats()
        self._buffer = ByteBudget(settings.buffer_memory)
        self._progress = asyncio.Event()
        self._ledger = Ledger(self._buffer, self._stats, self._progress.set)
        self._lanes: dict[int, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._epochs: list[Epoch] = [Epoch()]
        self._order = 0
        self._mapped_at = 0.0
        self._mapping = asyncio.Lock()
        self._router: Router | None = None
        self._limits: StreamLimits = limits_of("COMMON")
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
        if self._router is not None:
            return
        description = await self._streams.describe_all(self.stream_name)
        self._limits = limits_of(description.stream_type)
        try:
            self._router = Router(description.partitions)
        except ValueError as exc:
            raise DISError(f"stream {self.stream_name}: {exc}") from None
        self._mapped_at = asyncio.get_running_loop().time()
        request_bytes = min(
            self.settings.batch_max_bytes or self._limits.request_bytes, self._limits.request_bytes
        )
        self._dispatcher = Dispatcher(
            self._exchange,
            self.stream_name,
            self._ledger,
            max_in_flight=self.settings.max_in_flight,
            request_bytes=request_bytes,
            on_stream_gone=self._stream_gone,
            spawn=self._spawn,
        )
        self._spawn(self._dispatcher.run())
        self._spawn(self._tidy())

    # Intake

    async def send(
        self,
        data: bytes,
        *,
        partition_key: str | None = None,
        explicit_hash_key: int | None = None,
        partition_id: str | None = None,
        timestamp_ms: int | None = None,
    ) -> Receipt:
        """Accept one record, and give the receipt of its delivery.

        Waits for room while `buffer_memory` is full. Cancelled while it waits,
        nothing is sent; cancelling the receipt loses only the receipt.

        Raises:
            ParameterError: the service would refuse the record.
            RecordTooLargeError: the record can never fit into one request.
            BufferFullError: no room came within `max_block_ms`.
            ClosedError: the producer is closed, or failed (`__cause__` says why).
        """
        record = Record(data, partition_key, explicit_hash_key, partition_id, timestamp_ms)
        return await self._send(record)

    async def send_and_wait(
        self,
        data: bytes,
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
        data: bytes,
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
        size = self._check(record)
        if not self._buffer.try_take(size):
            raise BufferFullError(f"no room for {size} bytes now")
        return self._accept(record, size)

    async def send_many(self, records: Iterable[Record]) -> list[Receipt]:
        """Accept records in their order; their receipts come in the same order.

        Cancelled, or when one raises, the records before it are accepted and
        will be sent; a flush covers them.

        Raises:
            DISError: what `send` raises, for the first record that it cannot accept.
        """
        return [await self._send(record) for record in records]

    async def _send(self, record: Record) -> Receipt:
        size = self._check(record)
        if not self._buffer.try_take(size):
            await self._buffer.take(size, timeout_s=self.settings.max_block_ms / 1000)
            if self._closed:
                self._buffer.give(size)
                raise self._closed_error()
        return self._accept(record, size)

    def _check(self, record: Record) -> int:
        if self._closed or self._router is None:
            raise self._closed_error()
        kind = type(record.data).__name__
        if kind != "bytes":
            raise ParameterError("records.put", "data", f"a {kind}", "data must be bytes")
        size = len(record.data)
        held = size + len(record.partition_key or "") + _ENTRY_BYTES
        if size > self._limits.request_bytes or held > self._buffer.limit:
            raise RecordTooLargeError(f"a record of {size} bytes can never be sent")
        try:
            check_record(record)
        except ValueError as exc:
            raise ParameterError("records.put", "record", record, str(exc)) from None
        return held

    def _accept(self, record: Record, size: int) -> Receipt:
        loop = asyncio.get_running_loop()
        now = loop.time()
        epoch = self._epochs[-1]
        entry = Entry(
            record,
            size=size,
            order=self._order,
            deadline=now + self.settings.delivery_timeout_ms / 1000,
            epoch=epoch,
            receipt=loop.create_future(),
        )
        self._order += 1
        epoch.accepted += 1
        self._stats.accepted += 1
        self._stats.accepted_bytes += len(record.data)
        self._assign(entry).append(entry, now)
        receipt: Receipt = entry.receipt
        return receipt

    # Partitions

    def _assign(self, entry: Entry) -> Lane:
        lane = entry.lane = self._lane_of(entry)
        if entry.spread:
            entry.partition_id = lane.name  # spread by us: the service is told where
        return lane

    def _lane_of(self, entry: Entry) -> Lane:
        assert self._router is not None
        partition_id = entry.partition_id if entry.pinned else None
        number = self._router.route(entry.partition_key, entry.explicit_hash_key, partition_id)
        return self._lanes.get(number) or self._open_lane(number)

    def _open_lane(self, number: int) -> Lane:
        limits, share = self._limits, self.settings.rate_limit_share
        lane = self._lanes[number] = Lane(
            number,
            self.settings,
            self._dispatcher,
            self._ledger,
            limiter=PartitionLimiter(
                bytes_per_s=limits.write_bytes * share, records_per_s=limits.write_records * share
            )
            if self.settings.rate_limit == "fixed"
            else None,
            batch_bytes=min(
                self.settings.batch_max_bytes or limits.request_bytes, limits.request_bytes
            ),
            on_lingered=self._hurry,
            reroute=self._reroute,
        )
        for worker in range(_WORKERS[self.settings.ordering]):
            self._spawn(lane.work(worker))
        return lane

    def _hurry(self) -> None:
        """One lane lingered out: let all that waits travel with it."""
        for lane in self._lanes.values():
            lane.hurry()

    async def _reroute(self, entries: list[Entry]) -> None:
        """Send records on that met a partition which takes no more."""
        await self._refresh(unless_newer_than=self._router)
        assert self._router is not None
        active = self._router.names.values()
        lost = [entry for entry in entries if entry.pinned and entry.lane.name not in active]
        self._ledger.fail(
            lost,
            lambda entry: RecordError(
                f"{entry.lane.name} takes no records", code="DIS.4302", ambiguous=entry.ambiguous
            ),
        )
        now = asyncio.get_running_loop().time()
        for entry in entries:
            if not entry.settled:
                self._assign(entry).queue.put_back([entry], now)
        self._hurry()

    async def _refresh(self, *, unless_newer_than: Router | None) -> None:
        """Describe the stream again; queued records move, in their order, to where they belong."""
        async with self._mapping:
            if self._router is not unless_newer_than:
                return
            loop = asyncio.get_running_loop()
            self._mapped_at = loop.time()
            self._ledger.misrouted = False
            try:
                description = await self._streams.describe_all(self.stream_name)
                self._router = Router(description.partitions)
            except NotFoundError as exc:
                self._stream_gone(exc)
                return
            except (DISError, ValueError) as exc:
                _log.warning("stream %s: partitions not refreshed: %s", self.stream_name, exc)
                return
            self._move(loop.time())

    def _move(self, now: float) -> None:
        """Put what waits where the new map says; it waits there for what is on its way."""
        waiting = [entry for lane in self._lanes.values() for entry in lane.queue.drain()]
        for entry in sorted(waiting, key=lambda entry: entry.order):
            self._assign(entry).append(entry, now)
        for lane in list(self._lanes.values()):
            for entry, end in lane.held():
                if not entry.spread and (heir := self._lane_of(entry)) is not lane:
                    heir.after.add(end)

    async def _tidy(self) -> None:
        """Expire what waited too long, and keep the map fresh."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_TIDY_EVERY_S, self.settings.delivery_timeout_ms / 4000))
            for lane in self._lanes.values():
                self._ledger.expire(lane.queue.expire(loop.time()), loop.time())
            age = loop.time() - self._mapped_at
            if self._ledger.misrouted or age * 1000 > self.settings.metadata_max_age_ms:
                await self._refresh(unless_newer_than=self._router)

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
        self._hurry()
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
            self._fail_all(
                lambda entry: DeliveryTimeoutError(
                    "the producer was closed before the record was acknowledged",
                    ambiguous=entry.ambiguous,
                )
            )
            tasks = [task for task in self._tasks if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return FlushReport(report.delivered, report.failed + report.pending, 0)

    def stats(self) -> ProducerStats:
        """Give a copy of the counts."""
        return dataclasses.replace(self._stats, buffered_bytes=self._buffered())

    # Failure

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
        for lane in self._lanes.values():
            self._ledger.fail(
                lane.queue.drain(), lambda entry: record_error(error, ambiguous=entry.ambiguous)
            )

    def _fail_all(self, make: Callable[[Entry], RecordError]) -> None:
        for lane in self._lanes.values():
            self._ledger.fail(lane.unsettled(), make)

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


def _crashed(entry: Entry, cause: BaseException) -> RecordError:
    error = RecordError(f"the producer failed: {cause}", ambiguous=entry.ambiguous)
    error.__cause__ = cause
    return error
