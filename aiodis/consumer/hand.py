"""What is with the user who reads with `async for` or `getmany`."""

import asyncio
from collections.abc import Iterator
from operator import length_hint
from typing import NamedTuple, Self
from weakref import WeakSet

from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.errors import DISError
from aiodis.record import Batch, ReceivedRecord

__all__ = ["Hand", "Records"]

_NOTHING: tuple[ReceivedRecord, ...] = ()


class _Open(NamedTuple):
    """A batch that is given record by record. `rest` iterates over what is not given yet."""

    reader: Reader
    batch: Batch
    rest: Iterator[ReceivedRecord]

    @property
    def given(self) -> int:
        return len(self.batch.records) - length_hint(self.rest)

    @property
    def following(self) -> int:
        """The number behind the record that was given last."""
        records, given = self.batch.records, self.given
        at_end = given == len(records)
        return self.batch.next_sequence_number if at_end else records[given].sequence_number


class Records:
    """One `async for` over a consumer.

    The fast path is an iterator's step, and what it finished is worked out when it is
    asked for: a few attributes more for each record would be a third of a small one's cost.
    """

    __slots__ = ("_hand", "rest")

    def __init__(self, hand: "Hand") -> None:
        self._hand = hand
        self.rest: Iterator[ReceivedRecord] = iter(_NOTHING)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedRecord:
        for record in self.rest:
            return record
        return await self._hand.next_record(self)


class Hand:
    """Gives records to one user at a time, and says which of them he has finished.

    Invariant: everything given before the latest ask is finished, and what the
    latest ask gave is not, unless `finish` was called.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._open: _Open | None = None
        self._given: list[tuple[Reader, int]] = []
        self._asker: asyncio.Task[object] | None = None
        self._earlier: WeakSet[asyncio.Task[object]] = WeakSet()

    async def next_record(self, loop: Records | None = None) -> ReceivedRecord:
        """Give the next record. A `loop` gets the rest of the batch as well, where it may.

        Raises:
            StopAsyncIteration: the consumer is closed, or was stopped.
        """
        self._take_turn()
        while True:
            if (record := self._next_of_open(loop)) is not None:
                return record
            with self._shelf.reading():
                self.finish()
                reader = await self._shelf.next()
            if reader is None:
                raise StopAsyncIteration
            batch = self._shelf.take(reader)
            self._open = _Open(reader, batch, iter(batch.records))

    def _next_of_open(self, loop: Records | None) -> ReceivedRecord | None:
        if self._open is None:
            return None
        reader = self._open.reader
        if self._shelf.is_stopped or not self._shelf.holds(reader):
            self.stow()  # what was lost is not given; what is held again will be
            return None
        self.settle()
        record = next(self._open.rest, None)
        if loop is not None and not self._shelf.is_leased(reader):
            loop.rest = self._open.rest
        return record

    async def batches(self, max_records: int, timeout: float | None) -> list[Batch]:
        """Give what is there, at most `max_records`; wait up to `timeout` for the first."""
        self._take_turn()
        with self._shelf.reading():
            self.stow()
            self.finish()
            reader = await self._shelf.next(timeout)
        batches: list[Batch] = []
        left = max_records
        while reader is not None:
            batch = self._shelf.take(reader, left)
            batches.append(batch)
            self._given.append((reader, batch.next_sequence_number))
            left -= len(batch.records)
            reader = self._shelf.pop() if left else None
        return batches

    def _take_turn(self) -> None:
        """Note which task asks, and refuse two that take turns: each would finish the other's."""
        with self._shelf.reading():
            pass
        task = asyncio.current_task()
        before = self._asker
        if before is task:
            return
        if before is not None and not before.done():
            if task in self._earlier:
                raise DISError("two tasks take turns at reading from this consumer")
            self._earlier.add(before)
        self._asker = task
        self.stow()  # so that a loop of the other task has to ask

    def settle(self) -> None:
        """Finish what was given before the latest record."""
        if self._open is not None and (given := self._open.given):
            latest = self._open.batch.records[given - 1]
            self._open.reader.progress.finish(latest.sequence_number)

    def finish(self) -> None:
        """Finish all that was given."""
        if self._open is not None and self._open.given:
            self._open.reader.progress.finish(self._open.following)
            if not length_hint(self._open.rest):
                self._open = None
        for reader, following in self._given:
            reader.progress.finish(following)
        self._given.clear()
        self._shelf.wake()

    def stow(self) -> None:
        """Put the rest of the open batch back where it came from."""
        if self._open is None:
            return
        self.settle()
        opened, self._open = self._open, None
        if opened.given:
            self._given.append((opened.reader, opened.following))
        if rest := list(opened.rest):  # and with this, the loop's iterator is at its end
            opened.reader.put_back(rest, opened.batch.next_sequence_number)
            self._shelf.offer(opened.reader, first=True)

    def has(self, reader: Reader) -> bool:
        """Say whether records of a partition are given and not finished. Call `stow` before."""
        finished = reader.progress.finished
        return any(one is reader and following > finished for one, following in self._given)

    def drop(self, reader: Reader) -> None:
        """Forget what was given of a partition: it stays unfinished, whatever is asked next."""
        self.stow()
        self._given = [pair for pair in self._given if pair[0] is not reader]
