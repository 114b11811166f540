"""The partitions that this member reads: how they come, what they wait for, how they go."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Collection, Iterable
from math import inf

from aiodis.api.limits import StreamLimits, limits_of
from aiodis.api.streams import Partition
from aiodis.clock import Clock
from aiodis.config import ConsumerSettings
from aiodis.consumer.background import Background
from aiodis.consumer.beginning import Beginning
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.coordinator import Coordinator
from aiodis.consumer.hand import Hand
from aiodis.consumer.handling import Handling
from aiodis.consumer.meter import Meter
from aiodis.consumer.partitions import Whereabouts
from aiodis.consumer.poller import Poller
from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.consumer.stats import ConsumerStats
from aiodis.consumer.succession import Succession
from aiodis.errors import ClosedError, DISError, FencedError
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.transport.exchange import Exchange

__all__ = ["HANDLERS_SHARE", "Following"]

_log = logging.getLogger("aiodis.consumer")

HANDLERS_SHARE = 0.75
"""The part of the time to close, or to hand over, that handlers have; the rest is the commit's."""

Callback = Callable[[frozenset[str]], object]


class Following:
    """Begins and ends the reading of partitions; the `Host` of the consumer's coordinator.

    Invariant: the shelf's readers are the partitions that this member reads, each of
    which was told to `on_assigned`, and is told to `on_revoked` or `on_lost` when it goes.
    """

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        settings: ConsumerSettings,
        *,
        coordinator: Coordinator,
        keeper: CheckpointKeeper,
        shelf: Shelf,
        hand: Hand,
        handling: Handling,
        background: Background,
        meter: Meter,
        stats: ConsumerStats,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._exchange, self._stream_name, self._settings = exchange, stream_name, settings
        self._coordinator, self._keeper = coordinator, keeper
        self._shelf, self._hand, self._handling = shelf, hand, handling
        self._background, self._meter, self._stats = background, meter, stats
        self.where = Whereabouts(exchange, stream_name, settings, coordinator, clock)
        self.is_ready = False
        self.pauses_all = False
        self._succession = Succession(shelf, hand, keeper, settings, clock)
        self._beginning = Beginning(settings, self.where, keeper, self._succession)
        self._limits: StreamLimits = limits_of("COMMON")
        self._pollers: dict[str, Poller] = {}
        self._polling: dict[str, asyncio.Task[None]] = {}
        self._adopting: set[str] = set()
        self._going: set[str] = set()
        self._fenced: set[str] = set()
        self._look = asyncio.Event()

    async def start(self) -> None:
        """Begin with what there is, take part in the group, and follow what comes."""
        description = await self.where.describe()
        self._limits = limits_of(description.stream_type)
        if self._coordinator.follows_stream:
            self._note(description.partitions)
            readers = await self._beginning.of_start(self.where.mine(description.partitions))
            self._check_open()
            await self._begin(readers)
            self._check_open()
            self._ready()
        await self._coordinator.open(self)
        self._background.spawn(self._follow())
        if self._settings.partition_order == "parent_first":
            self._background.spawn(self._succession.watch())

    def _check_open(self) -> None:
        if self._shelf.is_stopped:
            raise ClosedError("the consumer is closed")

    def _ready(self) -> None:
        self.is_ready = True
        self._shelf.wake()

    # What the coordinator calls

    def assigned(self, partition_ids: Collection[str]) -> None:
        """Begin with these, as soon as they are found readable."""
        self._going.difference_update(partition_ids)
        known = [reader for pid in partition_ids if (reader := self._shelf.readers.get(pid))]
        for reader in known:
            self._shelf.offer(reader)
        if len(known) == len(partition_ids):
            self._ready()
        else:
            self._look.set()

    async def revoke(self, partition_ids: Collection[str], until: float = inf) -> None:
        """Hand these over: deliver nothing more, let handlers end, call back, commit."""
        self._going.update(partition_ids)
        readers = self._known(partition_ids)
        self._stop(readers)
        begun = self._clock.now()
        whole = min(self._settings.handoff_timeout_ms / 1000, until - begun)
        try:
            with self._meter.span("consumer.hand_over", partitions=len(readers)):
                await self.let_end(readers, begun + whole * HANDLERS_SHARE)
                with contextlib.suppress(TimeoutError):
                    async with self._clock.timeout_at(begun + whole):
                        await self.give_up(readers)
        finally:
            left = [reader for reader in readers if self._is_current(reader)]
            self._stats.revoked += len(left)
            self._remove(left)

    def lost(self, partition_ids: Collection[str]) -> None:
        """Stop with these at once."""
        self._going.update(partition_ids)
        readers = self._known(partition_ids)
        self._stop(readers)
        self._handling.at_work.cancel(readers)
        self._stats.lost += len(readers)
        self._remove(readers)
        if readers:
            _log.warning(
                "stream %s: lost %s", self._stream_name, ", ".join(r.partition_id for r in readers)
            )
            self._background.spawn(self._tell(self._settings.on_lost, readers), keep=True)

    def failed(self, error: BaseException) -> None:
        """End reading with an error."""
        self._background.fail(error)

    # Hand-over

    def take_fenced(self) -> FencedError | None:
        """Give the error of a commit that covers what was lost uncommitted; once only."""
        if not self._fenced:
            return None
        names = ", ".join(sorted(self._fenced))
        self._fenced.clear()
        return FencedError(
            f"another member has {names} now, before all that was handed out was committed",
            status=400,
            code="DIS.4702",
        )

    async def let_end(self, readers: Collection[Reader], deadline: float) -> None:
        """Wait for what is in hand of these partitions; cancel handlers at the deadline."""
        try:
            async with self._clock.timeout_at(deadline):
                await self._shelf.until(lambda: not any(self._is_in_hand(r) for r in readers))
        except TimeoutError:
            count = self._handling.at_work.cancel(readers)
            _log.warning("stream %s: %d handlers were cancelled", self._stream_name, count)

    async def give_up(self, readers: Collection[Reader]) -> None:
        """Wait for cancelled handlers, call `on_revoked`, and commit what is finished."""
        await self._shelf.until(lambda: not any(self._is_at_work(r) for r in readers))
        self._hand.settle()
        await self._tell(self._settings.on_revoked, [r for r in readers if self._is_current(r)])
        if self._settings.auto_commit:
            await self._keeper.commit([r for r in readers if self._is_current(r)])

    def _is_in_hand(self, reader: Reader) -> bool:
        return self._is_current(reader) and (reader.busy or self._hand.has(reader))

    def _is_at_work(self, reader: Reader) -> bool:
        return self._is_current(reader) and reader.busy

    def _is_current(self, reader: Reader) -> bool:
        return self._shelf.readers.get(reader.partition_id) is reader

    def _known(self, partition_ids: Iterable[str]) -> list[Reader]:
        return [reader for pid in partition_ids if (reader := self._shelf.readers.get(pid))]

    def _stop(self, readers: Iterable[Reader]) -> None:
        """Deliver nothing more of these, and fetch nothing."""
        self._hand.stow()
        for reader in readers:
            reader.leaving = True
            if polling := self._polling.get(reader.partition_id):
                polling.cancel()
            self._shelf.budget.give(reader.unfetch())

    def _remove(self, readers: Iterable[Reader]) -> None:
        for reader in readers:
            if reader.progress.is_uncommitted:
                self._fenced.add(reader.partition_id)
            self._hand.drop(reader)
            del self._shelf.readers[reader.partition_id]
        self._shelf.wake()
        self._meter.partitions(len(self._shelf.readers))

    async def _tell(self, callback: Callback | None, readers: Collection[Reader]) -> None:
        """Call back; what it raises harms nobody."""
        if callback is None or not readers:
            return
        try:
            await _call(callback, readers)
        except Exception:  # noqa: BLE001 - whatever a user's callback raises
            _log.exception("stream %s: a callback failed", self._stream_name)

    # Partitions that come

    async def _follow(self) -> None:
        """Look for partitions at intervals, and when some are assigned."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(self._settings.partition_refresh_ms / 1000):
                    await self._look.wait()
            self._look.clear()
            try:
                partitions = (await self.where.describe()).partitions
            except DISError as exc:
                _log.warning("stream %s: partitions not refreshed: %s", self._stream_name, exc)
                continue
            self._note(partitions)
            found = self.where.mine(partitions)
            fresh = {pid: one for pid, one in found.items() if self._is_new(pid)}
            self._adopting.update(fresh)
            if self._coordinator.follows_stream:
                for pid, partition in fresh.items():
                    self._background.spawn(self._adopt({pid: partition}, None))
            elif fresh:
                self._background.spawn(self._adopt(fresh, self.where.readable(partitions)))

    def _is_new(self, pid: str) -> bool:
        is_polled = pid in self._polling or pid in self._pollers
        return not (is_polled or pid in self._adopting or pid in self._going)

    def _note(self, partitions: Collection[Partition]) -> None:
        """Take in where the partitions end, and what waits for what."""
        self._succession.note(partitions)
        for pid, reader in self._shelf.readers.items():
            reader.end = self.where.ends.get(pid, 0)
            self._meter.lag(pid, max(0, reader.end - reader.progress.handed_out))

    async def _adopt(
        self, fresh: dict[str, Partition], readable: dict[str, Partition] | None
    ) -> None:
        """Begin with partitions that appeared; if that fails, the next look tries again."""
        try:
            readers = await self._readers_of(fresh, readable)
            await self._begin([reader for reader in readers if self._may_begin(reader)])
        except DISError as exc:
            names = ", ".join(fresh)
            _log.warning("stream %s: %s not read yet: %s", self._stream_name, names, exc)
            if readable is not None:  # nobody else reads them: sooner than at the next interval
                await self._clock.sleep(self._settings.poll_max_ms / 1000)
                self._look.set()
        else:
            self._ready()
        finally:
            self._adopting.difference_update(fresh)

    async def _readers_of(
        self, fresh: dict[str, Partition], readable: dict[str, Partition] | None
    ) -> list[Reader]:
        known = {pid: self._shelf.readers[pid] for pid in fresh if pid in self._shelf.readers}
        readers = [await self._beginning.again(one, fresh[pid]) for pid, one in known.items()]
        new = {pid: partition for pid, partition in fresh.items() if pid not in known}
        if readable is None:
            late = [await self._beginning.late(pid, partition) for pid, partition in new.items()]
            return readers + late
        return readers + await self._beginning.of_share(new, readable)

    def _may_begin(self, reader: Reader) -> bool:
        pid = reader.partition_id
        return pid not in self._going and self._shelf.holds(reader)

    async def _begin(self, readers: list[Reader]) -> None:
        """Call `on_assigned`, which may move the readers, then poll."""
        new = [reader for reader in readers if not self._is_current(reader)]
        for reader in new:
            self._shelf.readers[reader.partition_id] = reader
            reader.paused = self.pauses_all
            reader.end = self.where.ends.get(reader.partition_id, 0)
        self._stats.assigned += len(new)
        self._meter.partitions(len(self._shelf.readers))
        self._succession.arrange()
        if self._settings.on_assigned is not None and new:
            try:
                await _call(self._settings.on_assigned, new)
            except BaseException:
                self._remove([reader for reader in new if self._is_current(reader)])
                raise
        for reader in readers:
            if self._is_current(reader) and not reader.leaving:
                self._poll(reader)

    # Polling

    def poke(self, reader: Reader) -> None:
        """Let a reader's poller look again: it was resumed, or moved."""
        if poller := self._pollers.get(reader.partition_id):
            poller.wake()

    def _poll(self, reader: Reader) -> None:
        pid = reader.partition_id
        reader.gone = False
        poller = self._pollers[pid] = self._poller(reader)
        reader.on_room = poller.poke
        task = self._polling[pid] = self._background.spawn(self._until_it_expires(poller, reader))
        task.add_done_callback(lambda _: self._polled(pid, poller))

    def _polled(self, pid: str, poller: Poller) -> None:
        if self._pollers.get(pid) is poller:
            del self._pollers[pid], self._polling[pid]

    async def _until_it_expires(self, poller: Poller, reader: Reader) -> None:
        await poller.run()
        reader.gone = True  # what was fetched is still handed out
        self._succession.arrange()

    def _poller(self, reader: Reader) -> Poller:
        return Poller(
            self._exchange,
            self._stream_name,
            reader,
            self._settings,
            budget=self._shelf.budget,
            limiter=self._limiter(),
            stats=self._stats,
            meter=self._meter,
            on_batch=self._shelf.offer,
            reset=self.where.reset,
            clock=self._clock,
        )

    def _limiter(self) -> PartitionLimiter | None:
        if self._settings.rate_limit != "fixed":
            return None
        return PartitionLimiter(bytes_per_s=self._limits.read_bytes, clock=self._clock)


async def _call(callback: Callback, readers: Iterable[Reader]) -> None:
    outcome = callback(frozenset(reader.partition_id for reader in readers))
    if inspect.isawaitable(outcome):
        await outcome
