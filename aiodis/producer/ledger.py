# ruff: noqa: SLF001 - a receipt is the ledger's to resolve
"""The outcomes: receipts, counts and the room given back, in one pass per batch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from aiodis.errors import DeliveryTimeoutError, KeyPausedError, RecordError
from aiodis.pacing.budget import ByteBudget
from aiodis.producer.accumulator import Entry
from aiodis.producer.epochs import Epochs
from aiodis.producer.key_order import KeyOrder
from aiodis.producer.meter import Meter
from aiodis.producer.outcome import Next, after_result
from aiodis.record import RecordMetadata
from aiodis.wire.codec import RecordResult, WrittenResult

__all__ = ["Ledger", "ProducerStats"]


@dataclass(slots=True)
class ProducerStats:
    """Counts since the producer started; records unless the name says otherwise."""

    accepted: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    failed: int = 0
    retried: int = 0
    throttled: int = 0
    reordered: int = 0
    misrouted: int = 0
    requests: int = 0
    buffered_bytes: int = 0


class Ledger:
    """Settles records: each exactly once.

    `release` is told of records that `ordering="key"` held back and lets go now.
    """

    def __init__(
        self,
        buffer: ByteBudget,
        *,
        meter: Meter,
        key_order: KeyOrder | None,
        release: Callable[[Entry], None],
        on_progress: Callable[[], None],
    ) -> None:
        self.buffer, self.meter = buffer, meter
        self.stats = ProducerStats()
        self.epochs = Epochs()
        self.key_order = key_order
        self._release, self._on_progress = release, on_progress
        self.weighs_alike = True
        """Whether all routes made so far have the same weight."""
        self.misrouted = False
        """Whether an answer named another partition than the map since this was last reset."""

    def settle(
        self,
        entries: list[Entry],
        results: Sequence[RecordResult],
        size: int,
        *,
        attempts: int,
        ambiguous: bool,
        is_clean: bool,
    ) -> list[Next] | None:
        """Resolve the receipts of a batch of `size` bytes of data; None if all was delivered.

        Else it says what becomes of each record. `is_clean` batches are on their
        first try, in a request of which no record failed.
        """
        if (
            is_clean
            and self.key_order is None
            and entries[0].order > entries[0].route.lane.queue.highest_delivered
        ):
            self._deliver_all(entries, results, attempts)
            self._count_delivered(entries, size)
            return None
        nexts = [after_result(result) for result in results]
        delivered: list[Entry] = []
        data = 0
        for entry, result, following in zip(entries, results, nexts, strict=True):
            if following is Next.DELIVERED:
                if not entry.settled:
                    data += len(entry.data)
                    self._deliver(entry, result, attempts)
                    delivered.append(entry)
                continue
            entry.ambiguous |= ambiguous
            if following is Next.FAILED:
                self.fail([entry], _refusal(result), "refused")
            else:
                entry.attempts += attempts
        if delivered:
            self._count_delivered(delivered, data)
        self.again(nexts.count(Next.THROTTLED), nexts.count(Next.RETRY), nexts.count(Next.REROUTE))
        return nexts if delivered != entries else None

    def again(self, throttled: int, *others: int) -> None:
        """Count what is sent again."""
        retried = throttled + sum(others)
        if retried:
            self.stats.retried += retried
            self.stats.throttled += throttled
            self.meter.again(retried, throttled)

    def _deliver_all(
        self, entries: list[Entry], places: Sequence[RecordResult], attempts: int
    ) -> None:
        """Settle a clean batch: the producer's second hot loop.

        One pass: at this point each record is cold, and touching it costs the most.
        """
        lane = entries[0].route.lane
        name = lane.name
        elsewhere = 0
        if attempts != 1:  # an answer's places say 1, and are shared by none
            places = [_place(place, name, attempts) for place in places]
        for entry, place in zip(entries, places, strict=True):
            if place.partition_id != name:
                elsewhere += 1
            entry._outcome = place
            entry.data = b""
            if entry._watchers is not None:
                entry._wake()
        lane.queue.highest_delivered = entries[-1].order
        if elsewhere and not entries[0].route.pinned:
            self._found_elsewhere(elsewhere)

    def _deliver(self, entry: Entry, result: RecordResult, attempts: int) -> None:
        lane = entry.route.lane
        place = _place(result, lane.name, entry.attempts + attempts)
        if place.partition_id != lane.name and not entry.route.pinned:
            self._found_elsewhere(1)
        if entry.order < lane.queue.highest_delivered:
            place = replace(place, reordered=True)
            self.stats.reordered += 1
            self.meter.reordered()
        else:
            lane.queue.highest_delivered = entry.order
        entry._resolve(place)
        if self.key_order is not None and (following := self.key_order.delivered(entry)):
            self._release(following)

    def _found_elsewhere(self, count: int) -> None:
        self.misrouted = True
        self.stats.misrouted += count
        self.meter.misrouted(count)

    def _count_delivered(self, entries: list[Entry], data: int) -> None:
        stats = self.stats
        stats.delivered += len(entries)
        stats.delivered_bytes += data
        self.epochs.deliver(entries)
        self.buffer.give(data + self._weight(entries))
        self.meter.delivered(len(entries), data)
        self._on_progress()

    def _weight(self, entries: list[Entry]) -> int:
        """Tell what records took besides their data."""
        if self.weighs_alike:
            weight: int = entries[0].route.weight
            return weight * len(entries)
        return sum([entry.route.weight for entry in entries])

    def fail(
        self, entries: Iterable[Entry], make: Callable[[Entry], RecordError], reason: str
    ) -> None:
        """Give each record its own error, unless it has an outcome. `reason` is for metrics."""
        failed = [entry for entry in entries if not entry.settled]
        for entry in failed:
            self.epochs.fail(entry)
            self.buffer.give(len(entry.data) + entry.route.weight)
            entry._resolve(make(entry))
            entry.data = b""
        if not failed:
            return
        self.stats.failed += len(failed)
        self.meter.failed(len(failed), reason)
        self._on_progress()
        if self.key_order is not None:
            for entry in failed:
                self._let_key_know(self.key_order, entry)

    def _let_key_know(self, key_order: KeyOrder, entry: Entry) -> None:
        self.fail(key_order.failed(entry), _paused, "key_paused")
        # Of a record that was held back itself, the one before it is still on its way.
        if entry.admitted and (following := key_order.delivered(entry)):
            self._release(following)

    def expire(self, entries: list[Entry], now: float) -> list[Entry]:
        """Fail what is past its deadline; give back the rest. The oldest come first."""
        if not entries or entries[0].deadline > now:
            return entries
        late = [entry for entry in entries if entry.deadline <= now]
        self.fail(late, _too_late, "expired")
        return [entry for entry in entries if entry.deadline > now]


def _place(result: RecordResult, name: str, attempts: int) -> RecordMetadata:
    number = result.sequence_number
    return RecordMetadata(result.partition_id or name, -1 if number is None else number, attempts)


def _paused(entry: Entry) -> RecordError:
    return KeyPausedError("an earlier record of its key failed for good", ambiguous=entry.ambiguous)


def _refusal(result: RecordResult) -> Callable[[Entry], RecordError]:
    assert isinstance(result, WrittenResult)
    code, message = result.error_code, result.error_message
    return lambda entry: RecordError(
        f"refused by the service: {code}: {message}", code=code, ambiguous=entry.ambiguous
    )


def _too_late(entry: Entry) -> RecordError:
    return DeliveryTimeoutError(
        f"not acknowledged within delivery_timeout_ms, after {entry.attempts} attempts",
        ambiguous=entry.ambiguous,
    )
