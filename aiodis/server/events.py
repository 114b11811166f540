"""What the service notes by itself: its types of events, and the record of those that happened.

Types and their names are *documented* (the vendor's newer reference, GetEventList), and so
is that 15 days are shown, 1,000 events at most. Which severity a type has, and when exactly
it happens, is guessed.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from aiodis.server import guesses
from aiodis.server.storage.catalog import StreamRow
from aiodis.server.storage.events import EventRow, EventStore

__all__ = ["EVENT_TYPES", "EventLog", "TypeOfEvent"]

_KEPT_MS: Final = 15 * 24 * 3_600_000
_MOST: Final = 1_000

ACCOUNT, STREAM, TASK = range(3)


class TypeOfEvent(NamedTuple):
    """Its name, 1 for a warning, and what it happens to."""

    name: str
    severity: int
    category: int


EVENT_TYPES: Final = {
    "dis_event.000": TypeOfEvent("Dump task restored", 0, TASK),
    "dis_event.001": TypeOfEvent("Dump task abnormal", 1, TASK),
    "dis_event.002": TypeOfEvent("Quota insufficient", 1, ACCOUNT),
    "dis_event.003": TypeOfEvent("Traffic limited", 1, STREAM),
    "dis_event.004": TypeOfEvent("Auto scaling succeeded", 0, STREAM),
    "dis_event.005": TypeOfEvent("Auto scaling failed", 1, STREAM),
    "dis_event.006": TypeOfEvent("Stream Traffic Abnormal", 1, STREAM),
    "dis_event.007": TypeOfEvent("Stream Traffic Recovery", 0, STREAM),
    "dis_event.008": TypeOfEvent("Manual scaling failed", 1, STREAM),
}


class EventLog:
    """Records events, one transaction each."""

    def __init__(self, store: EventStore, new_id: Callable[[], str]) -> None:
        self.store = store
        self._new_id = new_id
        self._told_of_limit_ms: dict[str, int] = {}

    def since(self, now_ms: int) -> list[EventRow]:
        """Give the events that are shown now, the last one first."""
        return self.store.events(now_ms - _KEPT_MS)[:_MOST]

    def quota_insufficient(self, detail: str, now_ms: int) -> None:
        self.record("dis_event.002", detail, "", "", now_ms)

    def traffic_limited(self, stream: StreamRow, now_ms: int) -> None:
        """Record that a stream's records or reads were throttled, once in a while."""
        last_ms = self._told_of_limit_ms.get(stream.stream_id)
        if last_ms is None or now_ms - last_ms >= guesses.TRAFFIC_LIMITED_EVERY_MS:
            self._told_of_limit_ms[stream.stream_id] = now_ms
            detail = "exceeded traffic control limit"
            self.record("dis_event.003", detail, stream.stream_name, stream.stream_id, now_ms)

    def auto_scaled(self, stream: StreamRow, source: int, target: int, now_ms: int) -> None:
        self._scaling("dis_event.004", stream, source, target, "", now_ms)

    def auto_scaling_failed(
        self, stream: StreamRow, source: int, target: int, why: str, now_ms: int
    ) -> None:
        self._scaling("dis_event.005", stream, source, target, why, now_ms)

    def manual_scaling_failed(
        self, stream: StreamRow, source: int, target: int, why: str, now_ms: int
    ) -> None:
        self._scaling("dis_event.008", stream, source, target, why, now_ms)

    def record(
        self, type_id: str, description: str, source_name: str, source_id: str, now_ms: int
    ) -> None:
        """Record an event of a type for a stream, a task, or (with no name) the account."""
        row = EventRow(self._new_id(), type_id, now_ms, description, source_name, source_id)
        self.store.add(row)
        self.store.trim(now_ms - _KEPT_MS, _MOST)

    def _scaling(
        self, type_id: str, stream: StreamRow, source: int, target: int, why: str, now_ms: int
    ) -> None:
        detail = f"call scale from {source} to {target}" + (f": {why}" if why else "")
        self.record(type_id, detail, stream.stream_name, stream.stream_id, now_ms)
