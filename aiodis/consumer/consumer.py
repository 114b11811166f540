"""The consumer's public face, and the wiring of its parts."""

import asyncio
import contextlib
import copy
import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Iterator
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from aiodis.api.apps import Apps
from aiodis.api.limits import StreamLimits, limits_of
from aiodis.api.shared import MAX_SEQUENCE
from aiodis.api.streams import Partition, Streams
from aiodis.config import ConsumerSettings
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.coordinator import Seat, coordinator_of
from aiodis.consumer.dispatcher import DeadLetter, Handler, HandlerRunner
from aiodis.consumer.partitions import Start, Whereabouts, start_of_new
from aiodis.consumer.poller import ConsumerStats, Poller
from aiodis.consumer.reader import Reader
from aiodis.consumer.together import together
from aiodis.errors import ClosedError, ConfigError, DISError, ParameterError
from aiodis.pacing.budget import ByteBudget
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.record import Batch, ReceivedRecord, partition_name, partition_number
from aiodis.transport.exchange import Exchange
from aiodis.wire.routing import parse_range

__all__ = ["Consumer"]

_log = logging.getLogger("aiodis.consumer")

_DEFAULT_BATCH: Final = 500

# The part of the time to close that handlers have; the rest is the last commit's.
_HANDLERS_SHARE: Final = 0.75


class _InHand(NamedTuple):
    """Up to where a partition's records are with the user."""

    reader: Reader
    following: int


class Consumer:
    """Reads a stream's partitions, and commits how far the work is.

    The committed position never passes the first unfinished record. With
    `async for`, a record is finished when the next one is asked for; with
    `getmany`, its batches are at the next call; with `run`, a record is when its
    handler returned. An explicit `commit` finishes all that was handed out.
    One task reads at a time.

    Made by `DISClient.consumer`, used as an async context manager.
    """

    def __init__(self, exchange: Exchange, stream_name: str, settings: ConsumerSettings) -> None:
        Streams.describe.build(stream_name=stream_name)  # both are checked here, not at the start
        Apps.describe.build(app_name=settings.app)
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange = exchange
        self._stats = ConsumerStats()
        self._coordinator = coordinator_of(Seat(exchange, stream_name, settings))
        self._where = Whereabouts(exchange, stream_name, settings, self._coordinator)
        self._keeper = CheckpointKeeper(exchange, stream_name, settings, self._stats)
        self._budget = ByteBudget(settings.prefetch_bytes)
        self._limits: StreamLimits = limits_of("COMMON")
        self._readers: dict[str, Reader] = {}
        self._pollers: dict[str, Poller] = {}
        self._followed: set[str] = set()
        self._ready: OrderedDict[str, Reader] = OrderedDict()
        self._arrived = asyncio.Event()
        self._is_read = False
        self._in_hand: list[_InHand] = []
        self._open: tuple[Reader, Batch, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._committer: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._started = self._closed = False
        self._failure: BaseException | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

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
        await self._keeper.ensure_app()
        description = await self._where.describe()
        self._limits = limits_of(description.stream_type)
        readers = await self._readers_of(self._where.mine(description.partitions))
        self._check_open()
        for reader in readers:
            self._followed.add(reader.partition_id)
            self._spawn(self._poll(self._register(reader)))
        self._started = True
        self._spawn(self._watch_partitions())
        if self.settings.auto_commit:
            self._committer = self._spawn(self._commit_often())

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the consumer is closed")

    # Partitions

    async def _readers_of(self, partitions: dict[str, Partition]) -> list[Reader]:
        """Make the readers of the partitions that there are at the start."""
        committed = await together(self._keeper.load(pid) for pid in partitions)
        start = start_of_new(self.settings.offset_reset, committed)
        return await together(
            self._reader(pid, partition, number, start)
            for (pid, partition), number in zip(partitions.items(), committed, strict=True)
        )

    async def _reader(
        self, pid: str, partition: Partition, committed: int | None, start: Start
    ) -> Reader:
        if committed is not None:
            return Reader(pid, committed, committed)
        if start == "error":
            raise ConfigError(
                f"app {self.settings.app} has no checkpoint in {pid}, and offset_reset is 'error'"
            )
        return Reader(pid, await self._where.position(partition, start), None)

    async def _watch_partitions(self) -> None:
        while True:
            await asyncio.sleep(self.settings.partition_refresh_ms / 1000)
            try:
                found = self._where.mine((await self._where.describe()).partitions)
            except DISError as exc:
                _log.warning("stream %s: partitions not refreshed: %s", self.stream_name, exc)
                continue
            for pid, partition in found.items():
                if pid not in self._followed:
                    self._followed.add(pid)
                    self._spawn(self._adopt(pid, partition))

    async def _adopt(self, pid: str, partition: Partition) -> None:
        """Begin with a partition that appeared; if that fails, the next refresh tries again."""
        try:
            reader = await self._late_reader(pid, partition)
        except DISError as exc:
            self._followed.discard(pid)
            _log.warning("stream %s: %s not read yet: %s", self.stream_name, pid, exc)
            return
        await self._poll(self._register(reader))

    async def _late_reader(self, pid: str, partition: Partition) -> Reader:
        if known := self._readers.get(pid):  # it had expired, and a scaling brought it back
            known.reset(await self._where.held(partition, known.cursor.position))
            return known
        # Read from its first record, or what came before it was found would be lost.
        return await self._reader(pid, partition, await self._keeper.load(pid), "earliest")

    def _register(self, reader: Reader) -> Reader:
        self._readers[reader.partition_id] = reader
        self._pollers[reader.partition_id] = self._poller(reader)
        return reader

    async def _poll(self, reader: Reader) -> None:
        pid = reader.partition_id
        await self._pollers[pid].run()
        # It returned: the partition has expired. What was fetched is still handed out.
        del self._pollers[pid]
        self._followed.discard(pid)

    def _poller(self, reader: Reader) -> Poller:
        fixed = self.settings.rate_limit == "fixed"
        return Poller(
            self._exchange,
            self.stream_name,
            reader,
            self.settings,
            budget=self._budget,
            limiter=PartitionLimiter(bytes_per_s=self._limits.read_bytes) if fixed else None,
            stats=self._stats,
            on_batch=self._add_ready,
            reset=self._where.reset,
        )

    # What is ready

    def _add_ready(self, reader: Reader) -> None:
        self._ready[reader.partition_id] = reader
        self._arrived.set()

    def _pop_ready(self) -> Reader | None:
        while self._ready and not self._closed:
            _, reader = self._ready.popitem(last=False)
            if reader.readable:
                return reader
        return None

    async def _next_ready(self, timeout: float | None = None) -> Reader | None:
        """Wait for a partition with something to hand out; None when time or the consumer is over.

        Raises:
            DISError: what ended the polling; all that was fetched has been handed out.
        """
        reader: Reader | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while (reader := self._pop_ready()) is None and not self._is_over():
                    self._arrived.clear()
                    await self._arrived.wait()
        if reader is None and self._has_failed():
            raise self._failure_again()
        return reader

    def _is_over(self) -> bool:
        return self._closed or self._has_failed()

    def _has_failed(self) -> bool:
        """Whether polling has ended with an error; a handler at work may have batches behind it."""
        return self._failure is not None and not any(r.busy for r in self._readers.values())

    def _failure_again(self) -> BaseException:
        """Give each caller an exception of its own, where it is known how to copy it."""
        failure = self._failure
        assert failure is not None
        if not isinstance(failure, DISError):
            return failure
        again = copy.copy(failure)
        again.__cause__ = failure
        return again

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Refuse a second reader: asking for the next record would finish the other's."""
        if self._is_read:
            raise DISError("another task reads from this consumer")
        self._is_read = True
        try:
            yield
        finally:
            self._is_read = False

    def _take(self, reader: Reader, max_records: int | None = None) -> Batch:
        batch, freed = reader.take(max_records)
        self._budget.give(freed)
        if reader.batches:
            self._add_ready(reader)
        if poller := self._pollers.get(reader.partition_id):
            poller.poke()
        return batch

    # Reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedRecord:
        """Give the next record of any partition; the one before counts as finished.

        Never ends by itself: the loop ends when the consumer is closed.
        Cancelled, no record is lost.

        Raises:
            DISError: what no retry mends, such as a stream that is gone, behind
                the records fetched before; or another task reads.
        """
        self._finish_in_hand()
        if self._closed:
            raise StopAsyncIteration
        if self._open is None:
            if not self._started:
                raise ClosedError("the consumer is not started")
            with self._reading():
                reader = await self._next_ready()
            if reader is None:
                raise StopAsyncIteration
            self._open = (reader, self._take(reader), 0)
        reader, batch, index = self._open
        record = batch.records[index]
        index += 1
        self._open = (reader, batch, index) if index < len(batch.records) else None
        following = record.sequence_number + 1 if self._open else batch.next_sequence_number
        self._in_hand.append(_InHand(reader, following))
        return record

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
        with self._reading():
            self._finish_in_hand()
            self._stow()
            reader = await self._next_ready(timeout)
        batches: list[Batch] = []
        left = max_records
        while reader is not None:
            batch = self._take(reader, left)
            batches.append(batch)
            self._in_hand.append(_InHand(reader, batch.next_sequence_number))
            left -= len(batch.records)
            reader = self._pop_ready() if left else None
        if not batches:
            self._check_open()
        return batches

    def _finish_in_hand(self) -> None:
        for reader, following in self._in_hand:
            reader.progress.finish(following)
        self._in_hand.clear()

    def _stow(self) -> None:
        """Put the rest of the batch that `async for` has open back where it came from."""
        if self._open is not None:
            reader, batch, index = self._open
            self._open = None
            reader.put_back(batch.records[index:], batch.next_sequence_number)
            self._add_ready(reader)
            self._ready.move_to_end(reader.partition_id, last=False)

    async def run(
        self,
        handler: Handler,
        *,
        concurrency: int = 16,
        retries: int = 5,
        dead_letter: DeadLetter | None = None,
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        """Call `handler` with each record until the consumer is closed.

        One partition's records are handled in order, those of up to
        `concurrency` partitions at once. A record that still fails after
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
        runner = HandlerRunner(
            handler,
            retries=retries,
            retry_backoff_ms=self.settings.retry_backoff_ms,
            retry_backoff_max_ms=self.settings.retry_backoff_max_ms,
            dead_letter=dead_letter,
            on_error=on_error,
            stopping=lambda: self._closed,
        )
        with self._reading():
            owner = not self._started
            await self.start()
            self._finish_in_hand()
            self._stow()
            self._idle.clear()
            try:
                await self._run(runner, concurrency)
            finally:
                self._idle.set()
                if owner or self._closed:
                    await self.close()

    async def _run(self, runner: HandlerRunner, concurrency: int) -> None:
        slots = asyncio.Semaphore(concurrency)
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await slots.acquire()
                    reader = await self._next_ready()
                    if reader is None:
                        break
                    self._hand_over(group, runner, reader, slots)
        except BaseExceptionGroup as failed:
            failure = failed.exceptions[0]
        if failure is not None:
            raise failure  # outside of the handler, so that it keeps its own context

    def _hand_over(
        self,
        group: asyncio.TaskGroup,
        runner: HandlerRunner,
        reader: Reader,
        slots: asyncio.Semaphore,
    ) -> None:
        batch, moves = self._take(reader), reader.moves
        reader.busy = True
        task = group.create_task(runner.handle(reader, batch, moves))
        self._handling.add(task)
        # A callback, since a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(partial(self._handled, reader, batch, moves, slots))

    def _handled(
        self,
        reader: Reader,
        batch: Batch,
        moves: int,
        slots: asyncio.Semaphore,
        task: asyncio.Task[None],
    ) -> None:
        self._handling.discard(task)
        reader.busy = False
        slots.release()
        if reader.moves == moves:
            self._put_back_unfinished(reader, batch)
        if reader.batches:
            self._add_ready(reader)
        self._arrived.set()  # a failure may have waited for this

    def _put_back_unfinished(self, reader: Reader, batch: Batch) -> None:
        finished = reader.progress.finished
        if rest := [record for record in batch.records if record.sequence_number >= finished]:
            reader.put_back(rest, batch.next_sequence_number)

    # Position

    async def commit(self) -> None:
        """Commit all that was handed out so far, and count it as finished.

        Cancelled, some partitions may be committed and others not.

        Raises:
            DISError: the first failure; the other partitions are committed.
        """
        self._finish_in_hand()
        errors = await self._keeper.commit(list(self._readers.values()))
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
        self._stow()
        self._in_hand = [held for held in self._in_hand if held.reader is not reader]
        self._budget.give(reader.seek(sequence_number))
        self._poke(reader)

    async def seek_to(
        self, where: Literal["earliest", "latest"] | datetime, *partition_ids: str
    ) -> None:
        """Read partitions, or all of them, from their oldest record, their end, or a time.

        Cancelled, some partitions may have moved and others not.

        Raises:
            DecodeError: a time has no number, as the service's cursors are in a
                form that is not known.
        """
        readers = [self._known(pid) for pid in partition_ids] or list(self._readers.values())
        found = self._where.mine((await self._where.describe()).partitions)
        for reader in readers:
            pid = reader.partition_id
            if isinstance(where, datetime):
                position = await self._where.at_time(pid, int(where.timestamp() * 1000))
            elif pid in found:
                position = await self._where.position(found[pid], where)
            else:
                continue  # it expired meanwhile
            self.seek(pid, position)

    def pause(self, *partition_ids: str) -> None:
        """Hand out nothing of these partitions, or of all, until `resume`; frees their memory."""
        self._stow()
        for reader in self._chosen(partition_ids):
            reader.paused = True
            if reader.partition_id in self._pollers:  # else it has expired: nothing comes again
                self._budget.give(reader.unfetch())

    def resume(self, *partition_ids: str) -> None:
        """Go on with these partitions, or with all."""
        for reader in self._chosen(partition_ids):
            reader.paused = False
            if reader.batches:
                self._add_ready(reader)
            self._poke(reader)

    def position(self) -> dict[str, int]:
        """Give each partition's next sequence number to hand out."""
        self._stow()
        return {pid: reader.progress.handed_out for pid, reader in self._readers.items()}

    async def lag(self) -> dict[str, int]:
        """Give, by partition, how many records are behind the position."""
        position = self.position()
        found = self._where.mine((await self._where.describe()).partitions)
        ends = {
            pid: parse_range(partition.sequence_number_range) for pid, partition in found.items()
        }
        return {
            pid: max(0, end[1] - position[pid])
            for pid, end in ends.items()
            if end is not None and pid in position
        }

    def stats(self) -> ConsumerStats:
        """Give a copy of the counts."""
        return dataclasses.replace(self._stats)

    def _known(self, partition_id: str) -> Reader:
        try:
            return self._readers[partition_name(partition_number(partition_id))]
        except (KeyError, ValueError):
            raise ConfigError(f"this consumer does not read partition {partition_id!r}") from None

    def _chosen(self, partition_ids: Iterable[str]) -> list[Reader]:
        return [self._known(pid) for pid in partition_ids] or list(self._readers.values())

    def _poke(self, reader: Reader) -> None:
        if poller := self._pollers.get(reader.partition_id):
            poller.poke()

    # Background and end

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self.settings.auto_commit_interval_ms / 1000)
            await self._keeper.commit(list(self._readers.values()))

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
        self._arrived.set()
        loop = asyncio.get_running_loop()
        if asyncio.current_task() in self._handling:
            loop.call_later(timeout * _HANDLERS_SHARE, self._cancel_handlers)
            return
        begun = loop.time()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(begun + timeout * _HANDLERS_SHARE):
                    await self._idle.wait()
            self._cancel_handlers()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(begun + timeout):
                    if self.settings.auto_commit and self._started:
                        await self._keeper.commit(list(self._readers.values()))
                    await self._idle.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cancel_handlers(self) -> None:
        stuck = [task for task in self._handling if not task.cancelling()]
        for task in stuck:
            task.cancel()
        if stuck:
            _log.warning("stream %s: closing cancelled %d handlers", self.stream_name, len(stuck))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (exc := task.exception()) is None or self._failure is not None:
            return
        self._failure = exc
        self._arrived.set()
        # Nothing more is fetched, so that the failure comes behind what was; commits go on.
        for other in self._tasks - {self._committer}:
            other.cancel()
