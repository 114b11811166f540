"""What was fetched and waits to be handed out, of all partitions."""

import asyncio
import contextlib
import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf
from typing import NoReturn

from aiodis.clock import Clock
from aiodis.consumer.reader import Reader
from aiodis.errors import DISError
from aiodis.pacing.budget import ByteBudget
from aiodis.record import Batch

__all__ = ["Shelf"]


class Shelf:
    """The readers of the partitions, those with something to hand out in their turn.

    Invariant: a reader with batches is in turn, unless it is withheld, full, or its
    ownership has lapsed; who ends that state offers it again.
    """

    def __init__(
        self,
        budget: ByteBudget,
        held_until: Callable[[str], float],
        clock: Clock,
    ) -> None:
        self.readers: dict[str, Reader] = {}
        self.budget = budget
        self.failure: BaseException | None = None
        self.is_stopped = False
        self._held_until, self._clock = held_until, clock
        self._turns: OrderedDict[str, Reader] = OrderedDict()
        self._arrived = asyncio.Event()
        self._freed = asyncio.Event()
        self._is_read = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Refuse a second reader: asking for the next record would finish the other's."""
        if self._is_read:
            raise DISError("another task reads from this consumer")
        self._is_read = True
        try:
            yield
        finally:
            self._is_read = False

    def offer(self, reader: Reader, *, first: bool = False) -> None:
        """Let a reader have its turn, if it has something; the next one, or behind the others."""
        if reader.batches:
            self._turns[reader.partition_id] = reader
            self._turns.move_to_end(reader.partition_id, last=not first)
        self._arrived.set()

    def pop(self) -> Reader | None:
        """Give the reader whose turn it is."""
        while self._turns and not self.is_stopped:
            _, reader = self._turns.popitem(last=False)
            if reader.readable and self.holds(reader):
                return reader
        return None

    def holds(self, reader: Reader) -> bool:
        """Say whether the partition is this member's now."""
        until = self._held_until(reader.partition_id)
        return until == inf or until > self._clock.now()  # `run` asks for each record

    def is_leased(self, reader: Reader) -> bool:
        """Say whether that may change without anything happening here."""
        return self._held_until(reader.partition_id) != inf

    def take(self, reader: Reader, max_records: int | None = None) -> Batch:
        """Take a reader's oldest batch, or its head."""
        batch, freed = reader.take(max_records)
        self.budget.give(freed)
        if reader.batches:
            self.offer(reader)
        reader.on_room()
        return batch

    async def next(self, timeout: float | None = None) -> Reader | None:
        """Wait for a reader with something to hand out; None when time or the consumer is over.

        Raises:
            DISError: what ended the polling; all that was fetched has been handed out.
        """
        reader: Reader | None = None
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(timeout):
                while (reader := self.pop()) is None and not self._is_over():
                    self._arrived.clear()
                    await self._arrived.wait()
        if reader is None and self.has_failed and not self.is_stopped:
            self.raise_failure()
        return reader

    def stop(self) -> None:
        """Hand out nothing more."""
        self.is_stopped = True
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let the error come behind what was fetched."""
        if self.failure is None:
            self.failure = error
        self.wake()

    def wake(self) -> None:
        """Tell that work on records has ended: a failure, or a hand-over, may wait for it."""
        self._arrived.set()
        self._freed.set()

    async def until(self, is_free: Callable[[], bool]) -> None:
        """Wait until a claim holds that work on records decides."""
        while not is_free():
            self._freed.clear()
            await self._freed.wait()

    def _is_over(self) -> bool:
        return self.is_stopped or self.has_failed

    @property
    def has_failed(self) -> bool:
        """Whether polling has ended with an error; a handler at work may have batches behind it."""
        return self.failure is not None and not any(r.busy for r in self.readers.values())

    def raise_failure(self) -> NoReturn:
        """Raise what ended the polling: to each caller its own copy, if it is known how."""
        failure = self.failure
        assert failure is not None
        if not isinstance(failure, DISError):
            raise failure
        again = copy.copy(failure)
        raise again from failure
