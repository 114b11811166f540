"""The work of `run`: batches to handlers, one partition's or one key's at a time."""

import asyncio
from collections.abc import Callable
from functools import partial

from aiodis.clock import Clock
from aiodis.consumer.at_work import AtWork
from aiodis.consumer.dispatcher import HandlerRunner
from aiodis.consumer.keyed import KeyedWork
from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.consumer.watchdog import watched
from aiodis.record import Batch

__all__ = ["Handling"]


class Handling:
    """Gives batches to handlers.

    Invariant: a reader is `busy` while a handler works on its records; what it did
    not finish is put back before that ends.
    """

    def __init__(self, shelf: Shelf, stream_name: str, clock: Clock) -> None:
        self._shelf, self._stream_name, self._clock = shelf, stream_name, clock
        self.at_work = AtWork()
        self.idle = asyncio.Event()
        self.idle.set()

    async def run(self, runner: HandlerRunner, concurrency: int, *, by_key: bool) -> None:
        """Work until the consumer is over.

        Raises:
            HandlerError: a record failed for good.
            DISError: what ended the polling.
        """
        self.idle.clear()
        failure: BaseException | None = None
        try:
            with watched(asyncio.get_running_loop(), f"run of {self._stream_name}"):
                await (self._by_key if by_key else self._by_partition)(runner, concurrency)
        except BaseExceptionGroup as failed:
            failure = failed.exceptions[0]
        finally:
            self.idle.set()
        if failure is not None:
            raise failure  # outside of the handler, so that it keeps its own context

    async def _by_key(self, runner: HandlerRunner, concurrency: int) -> None:
        work = KeyedWork(self._shelf, runner, self.at_work, self._clock)
        try:
            async with asyncio.TaskGroup() as group:
                work.hire(group, concurrency)
                while (reader := await self._shelf.next()) is not None:
                    work.admit(reader, self._shelf.take(reader))
                work.dismiss()
        finally:
            work.give_back()

    async def _by_partition(self, runner: HandlerRunner, concurrency: int) -> None:
        slots = asyncio.Semaphore(concurrency)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                reader = await self._shelf.next()
                if reader is None:
                    break
                self._hand_over(group, runner, reader, slots.release)

    def _hand_over(
        self,
        group: asyncio.TaskGroup,
        runner: HandlerRunner,
        reader: Reader,
        release: Callable[[], None],
    ) -> None:
        batch, moves = self._shelf.take(reader), reader.moves
        reader.busy = reader.full = True
        task = group.create_task(runner.handle(reader, batch, moves))
        self.at_work.begin(task, reader)
        # A callback, since a task that is cancelled before its first step runs no `finally`.
        task.add_done_callback(partial(self._handled, reader, batch, moves, release))

    def _handled(
        self,
        reader: Reader,
        batch: Batch,
        moves: int,
        release: Callable[[], None],
        task: asyncio.Task[None],
    ) -> None:
        self.at_work.end(task)
        reader.busy = reader.full = False
        release()
        if reader.moves == moves:
            finished = reader.progress.finished
            rest = [record for record in batch.records if record.sequence_number >= finished]
            if rest:
                reader.put_back(rest, batch.next_sequence_number)
        self._shelf.offer(reader)
        self._shelf.wake()
