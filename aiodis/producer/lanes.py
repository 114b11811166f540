"""All lanes of a producer, and the map that says which record goes to which.

The map is a prediction. When an answer contradicts it, a partition is gone, or it
is old, the stream is described again, and what waits moves in its order.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiodis.api.limits import StreamLimits
from aiodis.api.streams import Streams
from aiodis.clock import Clock, Timer
from aiodis.config import ProducerSettings
from aiodis.errors import DISError, NotFoundError, RecordError
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.producer.accumulator import Entry, Route
from aiodis.producer.dispatcher import Dispatcher
from aiodis.producer.lane import Lane
from aiodis.producer.ledger import Ledger
from aiodis.producer.router import Router
from aiodis.record import Record

__all__ = ["ENTRY_BYTES", "LONGEST_KEY_KEPT", "Lanes"]

_log = logging.getLogger("aiodis.producer")

ENTRY_BYTES: Final = 400
"""What a record takes besides its data: its entry, its places in queues, a key of usual length."""

_USUAL_KEY: Final = 64

LONGEST_KEY_KEPT: Final = 1024
"""Keys longer than this are routed anew each time."""

_MOST_ROUTES: Final = 100_000


class Lanes:
    """Assigns records to lanes.

    Invariant: each queued record is in the lane that the current map says, and
    every route in `routes` is of the current map.
    """

    def __init__(
        self,
        streams: Streams,
        stream_name: str,
        settings: ProducerSettings,
        *,
        router: Router,
        limits: StreamLimits,
        dispatcher: Dispatcher,
        ledger: Ledger,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        on_stream_gone: Callable[[DISError], None],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._streams, self._stream_name, self._settings = streams, stream_name, settings
        self._router, self._limits = router, limits
        self._dispatcher, self._ledger, self._spawn = dispatcher, ledger, spawn
        self._on_stream_gone = on_stream_gone
        self.routes: dict[str, Route] = {}
        """Routes by key, for records that have nothing but a key."""
        self._by_partition: dict[int, Lane] = {}
        self._timer: Timer | None = None
        self._hurry_at = math.inf
        self._mapping = asyncio.Lock()
        self._mapped_at = self._clock.now()

    def route(self, record: Record) -> Route:
        """Find where a record goes; the routes of plain keys are kept."""
        key = record.partition_key
        is_plain = (
            record.explicit_hash_key is None
            and record.partition_id is None
            and record.timestamp_ms is None
        )
        if is_plain and key is not None and (known := self.routes.get(key)):
            return known
        number = self._router.route(key, record.explicit_hash_key, record.partition_id)
        lane = self._by_partition.get(number) or self._open(number)
        if is_plain and key is None and lane.spread is not None:
            return lane.spread
        route = Route(record, lane=lane, weight=self._weigh(key))
        route.tail = self._dispatcher.codec.tail(route)
        if is_plain:
            self._keep(route)
        return route

    def current(self, route: Route) -> Route:
        """Give a route as it is by the current map."""
        return self.route(route.record(b""))

    def _weigh(self, key: str | None) -> int:
        beyond = 0 if key is None else max(0, len(key) - _USUAL_KEY)
        if beyond:
            self._ledger.weighs_alike = False
        return ENTRY_BYTES + beyond

    def _keep(self, route: Route) -> None:
        key = route.partition_key
        if key is None:
            route.lane.spread = route
        elif len(key) <= LONGEST_KEY_KEPT:
            if len(self.routes) >= _MOST_ROUTES:
                self.routes.clear()
            self.routes[key] = route

    def _linger_until(self, at: float) -> None:
        """Have all lanes hurry then: with one timer for all, they share requests."""
        if at < self._hurry_at:
            self._stop_timer()
            # Kept here: uvloop's handle of a time that is over does not know it.
            self._hurry_at = at
            self._timer = self._clock.call_at(at, self.hurry)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hurry_at = math.inf

    def hurry(self) -> None:
        """Send all that waits without lingering further."""
        self._stop_timer()
        for lane in self._by_partition.values():
            lane.hurry()

    def waiting(self) -> list[Entry]:
        """Take all that is queued."""
        return [entry for lane in self._by_partition.values() for entry in lane.queue.drain()]

    def unsettled(self) -> list[Entry]:
        """Take all that has no outcome."""
        self._stop_timer()
        return [entry for lane in self._by_partition.values() for entry in lane.unsettled()]

    async def tidy(self, now: float) -> None:
        """Expire what waited too long, and describe the stream again when the map is doubtful."""
        for lane in self._by_partition.values():
            self._ledger.expire(lane.queue.expire(now), now)
        self._dispatcher.expire(now)
        old = (now - self._mapped_at) * 1000 > self._settings.metadata_max_age_ms
        if old or self._ledger.misrouted:
            await self._refresh(self._router)

    def _open(self, number: int) -> Lane:
        lane = self._by_partition[number] = Lane(
            number,
            self._settings,
            self._dispatcher,
            self._ledger,
            limiter=self._limiter(),
            batch_bytes=self._dispatcher.request_bytes,
            clock=self._clock,
            linger_until=self._linger_until,
            reroute=self._reroute,
        )
        for worker in range(self._settings.workers):
            self._spawn(lane.work(worker))
        return lane

    def _limiter(self) -> PartitionLimiter | None:
        if self._settings.rate_limit == "off":
            return None
        share = self._settings.rate_limit_share
        return PartitionLimiter(
            bytes_per_s=self._limits.write_bytes * share,
            records_per_s=self._limits.write_records * share,
            adaptive=self._settings.rate_limit == "adaptive",
            clock=self._clock,
        )

    async def _reroute(self, entries: list[Entry]) -> None:
        """Send records on that met a partition which takes no more."""
        await self._refresh(self._router)
        active = self._router.names.values()
        lost = [e for e in entries if e.route.pinned and e.route.lane.name not in active]
        self._ledger.fail(lost, _no_such_partition, "refused")
        now = self._clock.now()
        for entry in entries:
            if not entry.settled:
                entry.route = self.current(entry.route)
                entry.route.lane.queue.put_back([entry], now)
        self.hurry()

    async def _refresh(self, known: Router) -> None:
        """Describe the stream, unless somebody has since the map was `known`."""
        async with self._mapping:
            if self._router is not known:
                return
            self._mapped_at = self._clock.now()
            self._ledger.misrouted = False
            with self._ledger.meter.span("producer.refresh") as span:
                try:
                    description = await self._streams.describe_all(self._stream_name)
                    self._router = Router(description.partitions)
                except NotFoundError as exc:
                    span.fail(exc)
                    self._on_stream_gone(exc)
                except (DISError, ValueError) as exc:
                    span.fail(exc)
                    _log.warning("stream %s: partitions not refreshed: %s", self._stream_name, exc)
                else:
                    span.set(partitions=len(description.partitions))
                    self._move()

    def _move(self) -> None:
        """Put what waits where the new map says; it waits there for what is on its way."""
        self.routes.clear()
        for entry in sorted(self.waiting(), key=lambda entry: entry.order):
            entry.route = self.current(entry.route)
            entry.route.lane.append(entry)
        for lane in list(self._by_partition.values()):
            for entry, end in lane.held():
                if not entry.route.spread and (heir := self.current(entry.route).lane) is not lane:
                    heir.after.add(end)


def _no_such_partition(entry: Entry) -> RecordError:
    return RecordError(
        f"{entry.route.lane.name} takes no records", code="DIS.4302", ambiguous=entry.ambiguous
    )
