"""The outcomes: receipts, counts and the room given back, in one pass per request."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiodis.errors import DeliveryTimeoutError, KeyPausedError, RecordError
from aiodis.pacing.budget import ByteBudget
from aiodis.producer.accumulator import Entry
from aiodis.producer.key_order import KeyOrder
from aiodis.producer.outcome import Next, after_result
from aiodis.record import RecordMetadata
from aiodis.wire.codec import PutResult

__all__ = ["Ledger", "Outcome", "ProducerStats"]

_log = logging.getLogger("aiodis.producer")

Outcome = RecordMetadata | RecordError
"""What becomes of a record."""


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
    """Settles records: each exactly once.

    `release` is told of records that `ordering="key"` held back and lets go now.
    """

    def __init__(
        self,
        buffer: ByteBudget,
        *,
        key_order: KeyOrder | None,
        release: Callable[[Entry], None],
        on_progress: Callable[[], None],
    ) -> None:
        self.buffer = buffer
        self.stats = ProducerStats()
        self.key_order = key_order
        self._release, self._on_progress = release, on_progress
        self.misrouted = False
        """Whether an answer named another partition than the map since this was last reset."""

    def settle(
        self,
        entries: Sequence[Entry],
        results: Sequence[PutResult],
        *,
        attempts: int,
        ambiguous: bool,
    ) -> list[Next]:
        """Resolve the receipts of what was written or refused; say what becomes of each."""
        nexts = [
            Next.DELIVERED if result.error_code is None else after_result(result)
            for result in results
        ]
        room = 0
        for entry, result, following in zip(entries, results, nexts, strict=True):
            if following is Next.DELIVERED:
                if not entry.settled:
                    self._deliver(entry, result, attempts)
                    room += entry.size
                continue
            entry.ambiguous |= ambiguous
            if following is Next.FAILED:
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
        if receipt is not None or entry.callback is not None:
            sequence = int(result.sequence_number or -1)
            metadata = RecordMetadata(partition_id, sequence, entry.attempts + attempts, reordered)
            if receipt is None:
                _call(entry.callback, metadata)
            elif not receipt.done():
                receipt.set_result(metadata)
        if self.key_order is not None and (following := self.key_order.delivered(entry)):
            self._release(following)

    def fail(self, entries: Iterable[Entry], make: Callable[[Entry], RecordError]) -> None:
        """Give each record its own error, unless it has an outcome."""
        for entry in entries:
            if entry.settled:
                continue
            entry.settled = True
            self.stats.failed += 1
            entry.epoch.failed += 1
            self.buffer.give(entry.size)
            receipt: asyncio.Future[RecordMetadata] | None = entry.receipt
            if receipt is None:
                if entry.callback is not None:
                    _call(entry.callback, make(entry))
            elif not receipt.done():
                receipt.set_exception(make(entry))
                # Read it once, or asyncio logs an error for each receipt nobody kept.
                receipt.exception()
            if self.key_order is not None:
                self._let_key_know(self.key_order, entry)
            self._on_progress()

    def _let_key_know(self, key_order: KeyOrder, entry: Entry) -> None:
        self.fail(key_order.failed(entry), _paused)
        # A record without a lane was held back itself: the one before it is still on its way.
        if entry.lane is not None and (following := key_order.delivered(entry)):
            self._release(following)

    def expire(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Fail what is past its deadline; give back the rest."""
        kept: list[Entry] = []
        late: list[Entry] = []
        for entry in entries:
            (late if entry.deadline <= now else kept).append(entry)
        self.fail(late, _too_late)
        return kept


def _call(callback: Callable[[Outcome], Any], outcome: Outcome) -> None:
    try:
        callback(outcome)
    except Exception:  # noqa: BLE001 - the user's code; it must not end the producer
        _log.exception("a delivery callback failed")


def _paused(entry: Entry) -> RecordError:
    return KeyPausedError("an earlier record of its key failed for good", ambiguous=entry.ambiguous)


def _refusal(message: str, code: str | None) -> Callable[[Entry], RecordError]:
    return lambda entry: RecordError(message, code=code, ambiguous=entry.ambiguous)


def _too_late(entry: Entry) -> RecordError:
    return DeliveryTimeoutError(
        f"not acknowledged within delivery_timeout_ms, after {entry.attempts} attempts",
        ambiguous=entry.ambiguous,
    )
