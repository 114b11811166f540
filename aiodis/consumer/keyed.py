"""Handlers of many keys of a partition at once, one record of a key at a time."""

import asyncio
from collections import deque
from itertools import islice
from typing import NamedTuple

from aiodis.clock import Clock
from aiodis.consumer.at_work import AtWork
from aiodis.consumer.dispatcher import HandlerRunner
from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.record import Batch, ReceivedRecord

__all__ = ["KeyedWork"]

# Batches of a partition at work at once: the second keeps the other handlers busy while the
# first waits for a slow record.
_BATCHES = 2

Key = str | int


class _Work:
    """One batch at work. `first` is the index of the first record that is not done."""

    def __init__(self, batch: Batch, begun: float) -> None:
        self.batch, self.begun = batch, begun
        self.first = 0
        self._done = bytearray(len(batch.records))

    def finish(self, index: int) -> None:
        """Note that a record is done, whatever is before it."""
        self._done[index] = 1
        while self.first < len(self._done) and self._done[self.first]:
            self.first += 1

    @property
    def is_done(self) -> bool:
        """Whether all its records are."""
        return self.first == len(self._done)

    @property
    def following(self) -> int:
        """The number below which everything is done."""
        records, first = self.batch.records, self.first
        return self.batch.next_sequence_number if self.is_done else records[first].sequence_number

    def undone(self) -> list[ReceivedRecord]:
        """Give the records that are not done."""
        flags = islice(self._done, self.first, None)
        return [
            record
            for record, done in zip(
                islice(self.batch.records, self.first, None), flags, strict=True
            )
            if not done
        ]


class _Lane:
    """One partition's batches at work, oldest first, and its keys' records in their order."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.moves = reader.moves
        self.works: deque[_Work] = deque()
        self.keys: dict[Key, deque[tuple[_Work, int]]] = {}
        self.at_work = 0
        self.has_ended = False
        """Whether a record of it was given up, or its ownership has lapsed."""

    @property
    def is_stopped(self) -> bool:
        """Whether no further record may be begun."""
        return self.has_ended or self.reader.withheld or self.reader.moves != self.moves

    def admit(self, batch: Batch, now: float) -> list[Key]:
        """Take in a batch; give the keys that have become ready."""
        work = _Work(batch, now)
        self.works.append(work)
        ready: list[Key] = []
        for index, record in enumerate(batch.records):
            # A record without a key has no order to keep: its number makes it one of its own.
            key: Key = (
                record.sequence_number if record.partition_key is None else record.partition_key
            )
            if key not in self.keys:
                self.keys[key] = deque()
                ready.append(key)
            self.keys[key].append((work, index))
        return ready

    def finish(self, work: _Work, index: int) -> None:
        """Move the partition's mark behind all that is done without a gap."""
        work.finish(index)
        if self.reader.moves != self.moves:
            return  # the mark is elsewhere
        while self.works:
            self.reader.progress.finish(self.works[0].following)
            if not self.works[0].is_done:
                break
            self.works.popleft()

    def give_back(self) -> None:
        """Put back what is not done, and be empty.

        What is done behind it without a gap is covered when it is done as well.
        """
        if self.reader.moves == self.moves and self.works:
            following = self.works[-1].batch.next_sequence_number
            for work in reversed(self.works):
                if undone := work.undone():
                    self.reader.put_back(undone, following)
                    following = work.following
        self.works.clear()
        self.keys.clear()
        self.reader.busy = self.reader.full = False


class _Turn(NamedTuple):
    lane: _Lane
    key: Key


class KeyedWork:
    """The handlers of one run: as many workers as it has, which serve whichever key is ready."""

    def __init__(self, shelf: Shelf, runner: HandlerRunner, at_work: AtWork, clock: Clock) -> None:
        self._shelf, self._runner, self._at_work, self._clock = shelf, runner, at_work, clock
        self._lanes: dict[str, _Lane] = {}
        self._turns: asyncio.Queue[_Turn | None] = asyncio.Queue()
        self._workers = 0

    def hire(self, group: asyncio.TaskGroup, count: int) -> None:
        """Begin the workers."""
        self._workers = count
        for _ in range(count):
            group.create_task(self._work())

    def dismiss(self) -> None:
        """Let the workers end behind the records in hand."""
        for _ in range(self._workers):
            self._turns.put_nowait(None)

    def admit(self, reader: Reader, batch: Batch) -> None:
        """Take in a partition's next batch."""
        lane = self._lanes.get(reader.partition_id)
        if lane is not None and lane.is_stopped:
            if lane.at_work:  # of the place before a seek: its keys must not be begun again yet
                reader.put_back(batch.records, batch.next_sequence_number)
                reader.full = True
                return
            self._retire(lane)
            lane = None
        if lane is None:
            lane = self._lanes[reader.partition_id] = _Lane(reader)
        for key in lane.admit(batch, self._clock.now()):
            self._turns.put_nowait(_Turn(lane, key))
        reader.busy, reader.full = True, len(lane.works) >= _BATCHES

    def give_back(self) -> None:
        """Put back everything that is not done."""
        for lane in list(self._lanes.values()):
            self._retire(lane)

    async def _work(self) -> None:
        while (turn := await self._turns.get()) is not None:
            lane, key = turn
            if not self._is_current(lane):
                continue
            if not self._shelf.holds(lane.reader):
                lane.has_ended = True
            if self._shelf.is_stopped or lane.is_stopped:
                if not lane.at_work:
                    self._retire(lane)
                continue
            try:
                await self._one(lane, key)
            except asyncio.CancelledError:
                if not self._at_work.has_let_go():
                    raise

    def _is_current(self, lane: _Lane) -> bool:
        """Say whether a lane was not given back yet."""
        return self._lanes.get(lane.reader.partition_id) is lane

    async def _one(self, lane: _Lane, key: Key) -> None:
        records = lane.keys[key]
        work, index = records[0]
        lane.at_work += 1
        try:
            with self._at_work.working(lane.reader):
                await self._runner.handle_one(work.batch.records[index])
        except BaseException:
            lane.has_ended = True
            raise
        else:
            lane.finish(work, index)
            records.popleft()
            if work.is_done:
                self._runner.worked(self._clock.now() - work.begun)
        finally:
            lane.at_work -= 1
            if self._is_current(lane):
                self._go_on(lane, key)

    def _go_on(self, lane: _Lane, key: Key) -> None:
        """Let the key's next record have its turn, unless the lane has come to an end."""
        if lane.is_stopped or self._shelf.is_stopped or not lane.works:
            if not lane.at_work:
                self._retire(lane)
            return
        if lane.keys[key]:
            self._turns.put_nowait(_Turn(lane, key))
        else:
            del lane.keys[key]
        if lane.reader.full and len(lane.works) < _BATCHES:
            lane.reader.full = False
            self._shelf.offer(lane.reader)

    def _retire(self, lane: _Lane) -> None:
        del self._lanes[lane.reader.partition_id]
        lane.give_back()
        self._shelf.offer(lane.reader)
        self._shelf.wake()
