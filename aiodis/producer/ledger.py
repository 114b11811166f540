"""The outcomes: receipts, counts and the room given back, in one pass per request."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aiodis.errors import DeliveryTimeoutError, RecordError
from aiodis.pacing.budget import ByteBudget
from aiodis.producer.accumulator import Entry
from aiodis.producer.outcome import Next, after_result
from aiodis.record import RecordMetadata
from aiodis.wire.codec import PutResult

__all__ = ["Ledger", "ProducerStats"]


@dataclass(slots=True)
class ProducerStats:
    """Counts since the producer started; records unless the name says otherwise."""

    accepted: int = 0
    accepted_bytes: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    throttled: int = 0
    reordered: int = 0
    misrouted: int = 0
    requests: int = 0
    buffered_bytes: int = 0


class Ledger:
    """Settles records: each exactly once."""

    def __init__(
        self, buffer: ByteBudget, stats: ProducerStats, on_progress: Callable[[], None]
    ) -> None:
        self.buffer, self.stats = buffer, stats
        self._on_progress = on_progress
        self.misrouted = False
        """Whether an answer named another partition than the map since this was last reset."""

    def settle(
        self, entries: Sequence[Entry], results: Sequence[PutResult], *, attempts: int
    ) -> list[Next]:
        """Resolve the receipts of what was written or refused; say what becomes of each."""
        nexts = [
            Next.DELIVERED if result.error_code is None else after_result(result)
            for result in results
        ]
        room = 0
        for entry, result, following in zip(entries, results, nexts, strict=True):
            if following is Next.DELIVERED:
                self._deliver(entry, result, attempts)
                room += entry.size
            elif following is Next.FAILED:
                message = f"refused by the service: {result.error_code}: {result.error_message}"
                self.fail([entry], _refusal(message, result.error_code))
            else:
                entry.attempts += attempts
                self.stats.retried += 1
                self.stats.throttled += following is Next.THROTTLED
        if room:
            self.buffer.give(room)
            self._on_progress()
        return nexts

    def _deliver(self, entry: Entry, result: PutResult, attempts: int) -> None:
        if entry.settled:
            return
        entry.settled = True
        lane = entry.lane
        partition_id = result.partition_id or lane.name
        if partition_id != lane.name and not entry.pinned:
            self.misrouted = True
            self.stats.misrouted += 1
        reordered = entry.order < lane.queue.highest_delivered
        if reordered:
            self.stats.reordered += 1
        else:
            lane.queue.highest_delivered = entry.order
        self.stats.delivered += 1
        entry.epoch.delivered += 1
        receipt = entry.receipt
        if not receipt.done():
            sequence = int(result.sequence_number or -1)
            receipt.set_result(
                RecordMetadata(partition_id, sequence, entry.attempts + attempts, reordered)
            )

    def fail(self, entries: Iterable[Entry], make: Callable[[Entry], RecordError]) -> None:
        """Give each record its own error, unless it has an outcome."""
        for entry in entries:
            if entry.settled:
                continue
            entry.settled = True
            self.stats.failed += 1
            entry.epoch.failed += 1
            self.buffer.give(entry.size)
            if not entry.receipt.done():
                entry.receipt.set_exception(make(entry))
                # Read it once, or asyncio logs an error for each receipt nobody kept.
                entry.receipt.exception()
            self._on_progress()

    def expire(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Fail what is past its deadline; give back the rest."""
        kept: list[Entry] = []
        late: list[Entry] = []
        for entry in entries:
            (late if entry.deadline <= now else kept).append(entry)
        self.fail(late, _too_late)
        return kept


def _refusal(message: str, code: str | None) -> Callable[[Entry], RecordError]:
    return lambda entry: RecordError(message, code=code, ambiguous=entry.ambiguous)


def _too_late(entry: Entry) -> RecordError:
    return DeliveryTimeoutError(
        f"not acknowledged within delivery_timeout_ms, after {entry.attempts} attempts",
        ambiguous=entry.ambiguous,
    )
