"""The consumer's public face, and the wiring of its parts."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from aiodis.api.apps import Apps
from aiodis.api.shared import MAX_SEQUENCE
from aiodis.api.streams import Streams
from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import ConsumerSettings
from aiodis.consumer.background import Background
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.coordinator import Seat, coordinator_of
from aiodis.consumer.dispatcher import DeadLetter, Handler, HandlerRunner
from aiodis.consumer.following import HANDLERS_SHARE, Following
from aiodis.consumer.hand import Hand, Records
from aiodis.consumer.handling import Handling
from aiodis.consumer.meter import Meter
from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.consumer.stats import ConsumerStats
from aiodis.consumer.store import ServiceStore, ensure_app
from aiodis.errors import ClosedError, ConfigError, ParameterError
from aiodis.observe import NO_OBSERVER, Observer
from aiodis.pacing.budget import ByteBudget
from aiodis.record import Batch, ReceivedRecord, partition_name, partition_number
from aiodis.transport.exchange import Exchange
from aiodis.wire.forms import require_wire

__all__ = ["Consumer", "Lag"]

_DEFAULT_BATCH: Final = 500


class Lag(NamedTuple):
    """How far behind a partition's end the position is.

    `milliseconds` is the age of the next record, or of the one before it while the next
    is not fetched; None while neither is known. It compares the records' timestamps
    with the service's clock, as its answers show it.
    """

    records: int
    milliseconds: int | None


class Consumer:
    """Reads a stream's partitions, and commits how far the work is.

    The committed position never passes the first unfinished record. With
    `async for`, a record is finished when the next one is asked for; with
    `getmany`, its batches are at the next call; with `run`, a record is when its
    handler returned. An explicit `commit` finishes all that was handed out.
    One task reads at a time.

    Made by `DISClient.consumer`, used as an async context manager.
    """

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        settings: ConsumerSettings,
        observer: Observer = NO_OBSERVER,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        Streams.describe.build(stream_name=stream_name)  # both are checked here, not at the start
        Apps.describe.build(app_name=settings.app)
        require_wire(settings.wire_format, "none")
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange, self._clock = exchange, clock
        self._stats = ConsumerStats()
        self._meter = Meter(observer, stream_name, clock)
        self._coordinator = coordinator_of(Seat(exchange, stream_name, settings, clock))
        self._keeper = CheckpointKeeper(
            settings.checkpoint_store or ServiceStore(exchange, stream_name, settings),
            settings.app,
            self._coordinator,
            stats=self._stats,
            meter=self._meter,
        )
        self._shelf = Shelf(
            ByteBudget(settings.prefetch_bytes, clock), self._coordinator.held_until, clock
        )
        self._hand = Hand(self._shelf)
        self._handling = Handling(self._shelf, stream_name, clock)
        self._background = Background(self._shelf.fail)
        self._following = Following(
            exchange,
            stream_name,
            settings,
            coordinator=self._coordinator,
            keeper=self._keeper,
            shelf=self._shelf,
            hand=self._hand,
            handling=self._handling,
            background=self._background,
            meter=self._meter,
            stats=self._stats,
            clock=clock,
        )
        self._starting = asyncio.Lock()
        self._leaving = asyncio.Lock()
        self._started = self._closed = self._has_left = False

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
        return f"<Consumer stream={self.stream_name!r} app={self.settings.app!r}>"

    async def start(self) -> None:
        """Read the checkpoints and begin to poll; repeated calls do nothing.

        The app is created when it does not exist. Cancelled, nothing is polled.

        Raises:
            NotFoundError: there is no such stream.
        """
        async with self._starting:
            self._check_open()
            if not self._started:
                await self._start()

    async def _start(self) -> None:
        with self._meter.span("consumer.start") as span:
            await ensure_app(self._exchange, self.settings.app)
            await self._following.start()
            span.set(partitions=len(self._shelf.readers))
        self._started = True
        if self.settings.auto_commit:
            self._background.spawn(self._commit_often(), keep=True)

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until it is known which partitions this member reads: in a group, the first sync.

        Raises:
            TimeoutError: it was not known within `timeout` seconds.
            ClosedError: the consumer is closed, or not started.
            DISError: what ended the reading before.
        """
        if not self._started:
            raise ClosedError("the consumer is not started")
        async with self._clock.timeout(timeout):
            await self._shelf.until(
                lambda: self._following.is_ready or self._shelf.is_stopped or self._shelf.has_failed
            )
        if not self._following.is_ready:
            self._check_open()
            self._shelf.raise_failure()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the consumer is closed")

    # Reading

    def __aiter__(self) -> Records:
        """Iterate over the records of all partitions, one at a time.

        Asking for a record finishes the one before. Never ends by itself: the loop ends
        when the consumer is closed or stopped. Cancelled, no record is lost.

        Raises:
            DISError: what no retry mends, such as a stream that is gone, behind
                the records fetched before; or another task reads.
        """
        self._check_started()
        return Records(self._hand)

    async def __anext__(self) -> ReceivedRecord:
        """Give the next record, as `async for` does, which is faster."""
        self._check_started()
        return await self._hand.next_record()

    def _check_started(self) -> None:
        if not (self._started or self._closed):
            raise ClosedError("the consumer is not started")

    async def getmany(
        self, *, max_records: int = _DEFAULT_BATCH, timeout: float | None = None
    ) -> list[Batch]:
        """Give what is there, at most `max_records`; wait up to `timeout` seconds for the first.

        The batches given before count as finished. An empty list means that
        nothing came in time. Cancelled, no record is lost.

        Raises:
            ClosedError: the consumer is closed.
            DISError: what no retry mends, such as a stream that is gone, behind
                the records fetched before; or another task reads.
        """
        if not self._started or self._closed:
            raise ClosedError("the consumer is closed" if self._closed else "not started")
        if max_records < 1:
            raise ConfigError("getmany: max_records must be at least 1")
        batches = await self._hand.batches(max_records, timeout)
        if not batches:
            self._check_open()
        return batches

    async def run(
        self,
        handler: Handler,
        *,
        concurrency: int = 16,
        concurrency_by: Literal["partition", "key"] = "partition",
        retries: int = 5,
        dead_letter: DeadLetter | None = None,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        """Call `handler` with each record until the consumer is closed.

        One partition's records are handled in order, those of up to
        `concurrency` partitions at once. With `concurrency_by="key"`, one key's
        records are, up to `concurrency` records at once, and records without a key
        have no order. A record that still fails after
        `retries` goes to `dead_letter` (a producer) if there is one; else
        `on_error` says whether to stop or to skip it. Starts and closes the
        consumer itself unless it was started before; then what was read before
        counts as finished. Cancelled, the records in hand are not finished, and
        will come again.

        Raises:
            HandlerError: a record failed for good and `on_error` is "stop".
            DISError: what no retry mends, such as a stream that is gone, behind
                the records fetched before; or another task reads. What
                `dead_letter` raises comes as it is.
        """
        if concurrency < 1 or retries < 0:
            raise ConfigError("run: concurrency must be at least 1 and retries at least 0")
        if concurrency_by not in {"partition", "key"}:
            raise ConfigError("run: concurrency_by must be 'partition' or 'key'")
        runner = HandlerRunner(
            handler,
            retries=retries,
            retry_backoff_ms=self.settings.retry_backoff_ms,
            retry_backoff_max_ms=self.settings.retry_backoff_max_ms,
            dead_letter=dead_letter,
            on_error=on_error,
            may_go_on=lambda reader: not self._shelf.is_stopped and self._shelf.holds(reader),
            stats=self._stats,
            meter=self._meter,
            clock=self._clock,
        )
        with self._shelf.reading():
            owner = not self._started
            try:
                await self.start()
                self._hand.stow()
                self._hand.finish()
                await self._handling.run(runner, concurrency, by_key=concurrency_by == "key")
            finally:
                if owner or self._closed:
                    await self.close()

    def stop(self) -> None:
        """Hand out nothing more: `async for` and `run` end behind what is in hand.

        For the handler of a signal: the code behind the loop then closes. Handlers that
        do not end within three quarters of `close_timeout_ms` are cancelled.
        """
        if not self._shelf.is_stopped:
            self._end_reading()
            if self._started:
                delay = self.settings.close_timeout_ms / 1000 * HANDLERS_SHARE
                self._clock.call_later(delay, self._handling.at_work.cancel)

    # Position

    async def commit(self) -> None:
        """Commit all that was handed out so far, and count it as finished.

        Cancelled, some partitions may be committed and others not.

        Raises:
            FencedError: partitions went to another member with what was not committed.
            DISError: the first failure; the other partitions are committed.
        """
        self._hand.finish()
        errors = await self._keeper.commit(list(self._shelf.readers.values()))
        fenced = self._following.take_fenced()
        if fenced is not None:
            raise fenced
        if errors:
            raise errors[0]

    def seek(self, partition_id: str, sequence_number: int) -> None:
        """Read a partition from `sequence_number` next; commits may go back with it.

        A number that the partition does not hold is met when it is read, and
        follows `offset_reset`.

        Raises:
            ParameterError: it is no sequence number.
            ConfigError: the partition is not this consumer's.
        """
        if type(sequence_number) is not int or not 0 <= sequence_number <= MAX_SEQUENCE:
            rule = f"a sequence number is a whole number from 0 to {MAX_SEQUENCE}"
            raise ParameterError("seek", "sequence_number", sequence_number, rule)
        reader = self._known(partition_id)
        self._hand.drop(reader)
        self._shelf.budget.give(reader.seek(sequence_number))
        self._following.poke(reader)

    async def seek_to(
        self, where: Literal["earliest", "latest"] | datetime, *partition_ids: str
    ) -> None:
        """Read partitions, or all of them, from their oldest record, their end, or a time.

        Cancelled, some partitions may have moved and others not.

        Raises:
            DecodeError: a time has no number, as the service's cursors are in a
                form that is not known.
        """
        readers = [self._known(pid) for pid in partition_ids] or list(self._shelf.readers.values())
        found = self._following.where.mine((await self._following.where.describe()).partitions)
        for reader in readers:
            pid = reader.partition_id
            if isinstance(where, datetime):
                position = await self._following.where.at_time(pid, int(where.timestamp() * 1000))
            elif pid in found:
                position = await self._following.where.position(found[pid], where)
            else:
                continue  # it expired meanwhile
            self.seek(pid, position)

    def pause(self, *partition_ids: str) -> None:
        """Hand out nothing of these partitions until `resume`; frees their memory.

        Without any, of all, also of those that appear or are assigned later.
        """
        if not partition_ids:
            self._following.pauses_all = True
        self._hand.stow()
        for reader in self._chosen(partition_ids):
            reader.paused = True
            if not reader.gone:  # else nothing comes again
                self._shelf.budget.give(reader.unfetch())

    def resume(self, *partition_ids: str) -> None:
        """Go on with these partitions; without any, with all, and with those that appear."""
        if not partition_ids:
            self._following.pauses_all = False
        for reader in self._chosen(partition_ids):
            reader.paused = False
            self._shelf.offer(reader)
            self._following.poke(reader)

    def position(self) -> dict[str, int]:
        """Give each partition's next sequence number to hand out.

        An expired partition is in it as long as something of it is to be handed out.
        """
        self._hand.stow()
        return {
            pid: reader.progress.handed_out
            for pid, reader in self._shelf.readers.items()
            if reader.batches or not reader.gone
        }

    async def lag(self) -> dict[str, Lag]:
        """Give, by partition, how far the position is behind the end."""
        self._hand.stow()
        await self._following.where.describe()
        ends, now_ms = self._following.where.ends, self._exchange.service_time() * 1000
        return {
            pid: _lag(reader, ends[pid], now_ms)
            for pid, reader in self._shelf.readers.items()
            if pid in ends and (reader.batches or not reader.gone)
        }

    def stats(self) -> ConsumerStats:
        """Give a copy of the counts."""
        return dataclasses.replace(self._stats)

    def _known(self, partition_id: str) -> Reader:
        try:
            return self._shelf.readers[partition_name(partition_number(partition_id))]
        except (KeyError, ValueError):
            raise ConfigError(f"this consumer does not read partition {partition_id!r}") from None

    def _chosen(self, partition_ids: Iterable[str]) -> list[Reader]:
        return [self._known(pid) for pid in partition_ids] or list(self._shelf.readers.values())

    # Background and end

    async def _commit_often(self) -> None:
        while True:
            await self._clock.sleep(self.settings.auto_commit_interval_ms / 1000)
            self._hand.settle()
            await self._keeper.commit(list(self._shelf.readers.values()))

    async def close(self, timeout: float | None = None) -> None:
        """Stop polling, let `run` end its records in hand, commit what is finished, and end.

        May be repeated, works while the service is down, and leaves no task:
        it takes at most `timeout` seconds, or `close_timeout_ms`. Handlers have
        three quarters of that to end the record in hand, then they are
        cancelled, and those records are not finished; only a handler that
        swallows this outlives `close`. A record that `async for` gave last is
        not finished by closing; `commit` before, if it is. Called by a handler,
        it returns at once, and `run` ends the rest behind it. Cancelled, it ends
        the polling at once without a commit, and `run` ends behind its handlers.
        """
        if timeout is None:
            timeout = self.settings.close_timeout_ms / 1000
        self._closed = True
        self._end_reading()
        task = asyncio.current_task()
        if task in self._handling.at_work or task in self._background:
            self._clock.call_later(timeout * HANDLERS_SHARE, self._handling.at_work.cancel)
            return
        with self._meter.span("consumer.close"):
            begun = self._clock.now()
            try:
                await self._end_work(begun + timeout * HANDLERS_SHARE, begun + timeout)
            finally:
                await self._background.end()
        self._meter.tell(self._stats)

    def _end_reading(self) -> None:
        self._hand.stow()  # so that a loop has to ask
        self._shelf.stop()

    async def _end_work(self, handlers_until: float, until: float) -> None:
        """Let handlers end, hand over, and leave."""
        readers = list(self._shelf.readers.values())
        try:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout_at(handlers_until):
                    await self._handling.idle.wait()
            self._handling.at_work.cancel()
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout_at(until):
                    async with self._leaving:  # `run` and its user may both close
                        if not self._has_left:
                            await self._following.give_up(readers)
                            await self._coordinator.close()
                            self._has_left = True
                    await self._handling.idle.wait()
        finally:
            if not (self._has_left or self._leaving.locked()):
                # The time is over, but the coordinator must not go on.
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout(0):
                        await self._coordinator.close()


def _lag(reader: Reader, end: int, now_ms: float) -> Lag:
    records = max(0, end - reader.progress.handed_out)
    timestamp = reader.batches[0].records[0].timestamp if reader.batches else reader.timestamp
    if not records:
        return Lag(0, 0)
    return Lag(records, max(0, round(now_ms - timestamp)) if timestamp else None)
