"""What was accepted between two flushes, and what became of it. Plain code.

Records are numbered in the order of acceptance, from 1, so an epoch is a range of
numbers, and a batch is counted as a whole.
"""

from collections.abc import Sequence

from aiodis.producer.accumulator import Entry

__all__ = ["Epoch", "Epochs"]


class Epoch:
    """The records after number `start`, up to the next epoch's start."""

    __slots__ = ("delivered", "end", "failed", "start", "told")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end: int | None = None
        self.delivered = self.failed = 0
        self.told = 0
        """How many outcomes a flush has reported while others were pending."""


class Epochs:
    """All epochs with records that a flush has not reported.

    Invariant: epochs are adjacent, and only the last one is open.
    """

    def __init__(self) -> None:
        self.accepted = 0
        """The number of the record accepted last."""
        self._epochs = [Epoch(0)]

    def cover(self) -> list[Epoch]:
        """Close the open epoch, and give all of them."""
        covered = list(self._epochs)
        last = covered[-1]
        if self.accepted > last.start:
            last.end = self.accepted
            self._epochs.append(Epoch(self.accepted))
        return covered

    def pending(self, epoch: Epoch) -> int:
        """How many of its records have no outcome yet."""
        end = self.accepted if epoch.end is None else epoch.end
        return end - epoch.start - epoch.delivered - epoch.failed - epoch.told

    def report(self, covered: Sequence[Epoch]) -> tuple[int, int, int]:
        """Count delivered, failed and pending; what is not pending will not be counted again."""
        pending = sum(self.pending(epoch) for epoch in covered)
        counts = (
            sum(epoch.delivered for epoch in covered),
            sum(epoch.failed for epoch in covered),
            pending,
        )
        for epoch in covered:
            epoch.told += epoch.delivered + epoch.failed
            epoch.delivered = epoch.failed = 0
        self._epochs = [e for e in self._epochs if e.end is None or self.pending(e)]
        return counts

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Count a delivered batch, which is in the order of acceptance."""
        first, last = self._of(entries[0]), self._of(entries[-1])
        if first is last:
            first.delivered += len(entries)
            return
        for entry in entries:
            self._of(entry).delivered += 1

    def fail(self, entry: Entry) -> None:
        """Count a failure."""
        self._of(entry).failed += 1

    def _of(self, entry: Entry) -> Epoch:
        return next(e for e in reversed(self._epochs) if e.start < entry.order)
