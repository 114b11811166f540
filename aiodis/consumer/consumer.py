"""The consumer's public face, and the wiring of its parts."""

import asyncio
import contextlib
import copy
import dataclasses
import logging
from collections import deque
from collections.abc import Coroutine, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from aiodis.api.apps import Apps
from aiodis.api.limits import StreamLimits, limits_of
from aiodis.api.streams import Partition, Streams
from aiodis.config import ConsumerSettings
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.dispatcher import DeadLetter, Handler, HandlerRunner
from aiodis.consumer.partitions import Whereabouts
from aiodis.consumer.poller import ConsumerStats, Poller
from aiodis.consumer.reader import Reader
from aiodis.consumer.together import together
from aiodis.errors import ClosedError, ConfigError, DISError
from aiodis.pacing.budget import ByteBudget
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.record import Batch, ReceivedRecord, partition_name, partition_number
from aiodis.transport.exchange import Exchange
from aiodis.wire.routing import parse_range

__all__ = ["Consumer"]

_log = logging.getLogger("aiodis.consumer")

_DEFAULT_BATCH: Final = 500


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

    Made by `DISClient.consumer`, used as an async context manager.
    """

    def __init__(self, exchange: Exchange, stream_name: str, settings: ConsumerSettings) -> None:
        Streams.describe.build(stream_name=stream_name)  # both are checked here, not at the start
        Apps.describe.build(app_name=settings.app)
        self.stream_name: Final = stream_name
        self.settings: Final = settings
        self._exchange = exchange
        self._stats = ConsumerStats()
        self._where = Whereabouts(exchange, stream_name, settings)
        self._keeper = CheckpointKeeper(exchange, stream_name, settings, self._stats)
        self._budget = ByteBudget(settings.prefetch_bytes)
        self._limits: StreamLimits = limits_of("COMMON")
        self._readers: dict[str, Reader] = {}
        self._pollers: dict[str, Poller] = {}
        self._ready: deque[Reader] = deque()
        self._arrived = asyncio.Event()
        self._in_hand: list[_InHand] = []
        self._open: tuple[Reader, Batch, int] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = self._closed = False
        self._failure: BaseException | None = None
        self._handling: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
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
        if self._closed:
            raise ClosedError("the consumer is closed")
        async with self._starting:
            await self._start()

    async def _start(self) -> None:
        if self._started:
            return
        await self._keeper.ensure_app()
        description = await self._where.describe()
        self._limits = limits_of(description.stream_type)
        start = self.settings.offset_reset
        await self._adopt(self._where.mine(description.partitions), start=start)
        self._started = True
        self._spawn(self._watch_partitions())
        if self.settings.auto_commit:
            self._spawn(self._commit_often())

    # Partitions

    async def _adopt(
        self, partitions: dict[str, Partition], *, start: Literal["earliest", "latest", "error"]
    ) -> None:
        """Begin with partitions that are new to this consumer."""
        new = [pid for pid in partitions if pid not in self._pollers]
        found = await together(self._reader(partitions[pid], pid, start) for pid in new)
        if self._closed:
            raise ClosedError("the consumer is closed")
        for reader in found:
            self._readers[reader.partition_id] = reader
            poller = self._pollers[reader.partition_id] = self._poller(reader)
            self._spawn(self._poll(poller, reader))

    async def _reader(
        self, partition: Partition, pid: str, start: Literal["earliest", "latest", "error"]
    ) -> Reader:
        if known := self._readers.get(pid):  # it had expired, and a scaling brought it back
            known.cursor.seek(
                max(known.cursor.position, await self._where.position(partition, "earliest"))
            )
            return known
        committed = await self._keeper.load(pid)
        if committed is not None:
            return Reader(pid, committed, committed)
        if start == "error":
            raise ConfigError(
                f"app {self.settings.app} has no checkpoint in {pid}, and offset_reset is 'error'"
            )
        return Reader(pid, await self._where.position(partition, start), None)

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
            reset=lambda reader: self._where.reset(reader.partition_id),
        )

    async def _poll(self, poller: Poller, reader: Reader) -> None:
        await poller.run()
        # It returned: the partition has expired. What was fetched is still handed out.
        self._pollers.pop(reader.partition_id, None)

    async def _watch_partitions(self) -> None:
        while not self._closed:
            await asyncio.sleep(self.settings.partition_refresh_ms / 1000)
            try:
                description = await self._where.describe()
                # A partition that appears later is read from its first record, or it would lose
                # what came before it was found.
                await self._adopt(self._where.mine(description.partitions), start="earliest")
            except DISError as exc:
                _log.warning("stream %s: partitions not refreshed: %s", self.stream_name, exc)

    def _add_ready(self, reader: Reader) -> None:
        if not reader.queued:
            reader.queued = True
            self._ready.append(reader)
        self._arrived.set()

    async def _next_ready(self, timeout: float | None = None) -> Reader | None:
        """Wait for a partition with something to hand out; None when time or the consumer is over.

        Raises:
            DISError: what ended the polling.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if self._failure is not None:
                        raise copy.copy(self._failure) from self._failure
                    if self._closed:
                        return None
                    if (reader := self._pop_ready()) is not None:
                        return reader
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            if self._failure is not None:  # which may be a TimeoutError too
                raise copy.copy(self._failure) from self._failure
            return None

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
            DISError: what no retry mends, such as a stream that is gone.
        """
        self._finish_in_hand()
        if self._closed:
            raise StopAsyncIteration
        if self._open is None:
            if not self._started:
                raise ClosedError("the consumer is not started")
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
            DISError: what no retry mends, such as a stream that is gone.
        """
        if not self._started or self._closed:
            raise ClosedError("the consumer is closed" if self._closed else "not started")
        if max_records < 1:
            raise ConfigError("getmany: max_records must be at least 1")
        self._finish_in_hand()
        self._stow()
        batches: list[Batch] = []
        left = max_records
        reader = await self._next_ready(timeout)
        while reader is not None:
            batch = self._take(reader, left)
            batches.append(batch)
            self._in_hand.append(_InHand(reader, batch.next_sequence_number))
            left -= len(batch.records)
            reader = self._pop_ready() if left else None
        if not batches and self._closed:
            raise ClosedError("the consumer is closed")
        return batches

    def _pop_ready(self) -> Reader | None:
        while self._ready:
            reader = self._ready.popleft()
            reader.queued = False
            if reader.readable:
                return reader
        return None

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
            if not reader.queued:
                reader.queued = True
                self._ready.appendleft(reader)

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
        consumer itself unless it was started before. Cancelled, the records in
        hand are not finished, and will come again.

        Raises:
            HandlerError: a record failed for good and `on_error` is "stop".
            DISError: what no retry mends, such as a stream that is gone.
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
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await slots.acquire()
                    reader = await self._next_ready()
                    if reader is None:
                        return
                    batch = self._take(reader)
                    reader.busy = True
                    task = group.create_task(self._handle(runner, reader, batch))
                    task.add_done_callback(
                        lambda _, r=reader, b=batch, m=reader.moves: self._handled(r, b, m, slots)
                    )
                    self._handling.add(task)
                    task.add_done_callback(self._handling.discard)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__

    async def _handle(self, runner: HandlerRunner, reader: Reader, batch: Batch) -> None:
        await runner.handle(reader, batch)

    def _handled(self, reader: Reader, batch: Batch, moves: int, slots: asyncio.Semaphore) -> None:
        reader.busy = False
        slots.release()
        if reader.moves == moves:
            rest = [r for r in batch.records if r.sequence_number >= reader.progress.finished]
            if rest:
                reader.put_back(rest, batch.next_sequence_number)
        if reader.batches:
            self._add_ready(reader)

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
        """Read a partition from `sequence_number` next; commits may go back with it."""
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
            if reader.partition_id in self._pollers:
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
        while not self._closed:
            await asyncio.sleep(self.settings.auto_commit_interval_ms / 1000)
            await self._keeper.commit(list(self._readers.values()))

    async def close(self, timeout: float | None = None) -> None:
        """Stop polling, let `run` end its records in hand, commit what is finished, and end.

        May be repeated, works while the service is down, and leaves no task:
        it takes at most `close_timeout_ms`, of which handlers have three
        quarters. A record that `async for` gave last is not finished by that;
        `commit` before, if it is. Called by a handler, it returns at once, and
        `run` ends the rest behind it. Cancelled, it ends at once without a commit.
        """
        if timeout is None:
            timeout = self.settings.close_timeout_ms / 1000
        self._closed = True
        self._arrived.set()
        if asyncio.current_task() in self._handling:
            return
        end = asyncio.get_running_loop().time() + timeout
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end - timeout / 4):
                    await self._idle.wait()
            if self.settings.auto_commit and self._started:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(end):
                        await self._keeper.commit(list(self._readers.values()))
        finally:
            tasks = [task for task in self._tasks if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None and not self._failure:
            self._failure = exc
            self._arrived.set()
