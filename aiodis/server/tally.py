"""Totals of what a server answered, for its metrics. Plain counting: no request is kept."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiodis.server.requests import SeenRequest

__all__ = ["Tally"]


class Tally:
    """Counts since the server was made."""

    def __init__(self) -> None:
        self.requests = 0
        self.answers: Counter[tuple[str | None, int | None]] = Counter()
        """By operation and status; None without a route, and without an answer."""
        self.seconds: defaultdict[str | None, float] = defaultdict(float)
        """Real time by operation."""
        self.faults: Counter[tuple[str | None, str]] = Counter()
        """Requests that met a fault, by operation and the fault's name."""
        self.bytes_in = self.bytes_out = 0
        """Sizes of bodies."""
        self.records_in = self.records_failed = self.records_out = 0
        self.data_bytes_in = self.data_bytes_out = 0

    def add(self, seen: "SeenRequest") -> None:
        """Count a request in."""
        self.requests += 1
        self.answers[seen.operation, seen.status] += 1
        self.seconds[seen.operation] += seen.duration_ms / 1000
        self.bytes_in += seen.bytes_in
        self.bytes_out += seen.bytes_out
        if seen.operation == "records.put":
            self.records_in += seen.records - seen.failed
            self.records_failed += seen.failed
            self.data_bytes_in += seen.data_bytes
        elif seen.operation == "records.get":
            self.records_out += seen.records
            self.data_bytes_out += seen.data_bytes
        for name in seen.faults:
            self.faults[seen.operation, name] += 1
