"""What the members wrote down, against what a group promises. Plain code.

A *span* is the work of one member on one partition in one generation: from its
first record to its last. What a group promises is a matter of spans: that those of one
partition lie one behind the other, that each goes on where the last commit was, and
that nothing is missing between.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from benchmarks.flow.ledger import Note, Row

__all__ = ["Findings", "Pause", "examine"]

_IN_HAND: Final = 1
"""A member handles one record after the other; a stop may catch it with one in its hand."""


_ALL: Final = 2**63


class Pause(NamedTuple):
    """When a member was stopped, and let go on."""

    member: str
    began_ns: int
    ended_ns: int


@dataclass(slots=True)
class Findings:
    """What was handled, and what was against the promise; counts of records but for commits."""

    handled: int = 0
    repeats: dict[str, int] = field(default_factory=dict)
    """By the member that handled them first."""
    missing: int = 0
    skipped: int = 0
    """Sequence numbers that a span left out, or between two spans."""
    overlaps: int = 0
    """Handled by a member after another had begun with the partition."""
    after_waking: int = 0
    """Handled by the member that was paused, of its old generation, when it went on."""
    repeats_of_committed: int = 0
    stale_commits: int = 0
    """Commits that were taken after another member had begun with the partition."""
    early_commits: int = 0
    """Commits beyond what was handled when they were asked for."""
    refused_commits: int = 0

    @property
    def broken(self) -> list[str]:
        """Name the promises that were broken."""
        never = "missing skipped repeats_of_committed stale_commits early_commits"
        found = [name for name in never.split() if getattr(self, name)]
        if self.after_waking > _IN_HAND:
            found.append("after_waking")
        if self.overlaps > min(self.after_waking, _IN_HAND):
            found.append("overlaps")
        return found


@dataclass(slots=True)
class _Span:
    member: str
    generation: int
    first: int
    times: "array[int]"

    @property
    def end(self) -> int:
        return self.first + len(self.times)


@dataclass(slots=True)
class _Partition:
    spans: list[_Span] = field(default_factory=list)
    commits: list[tuple[str, Note]] = field(default_factory=list)


def examine(
    rows: Mapping[str, Iterable[Row]],
    notes: Mapping[str, Iterable[Note]],
    sent: int,
    pause: Pause | None = None,
) -> Findings:
    """Compare what each member wrote down with what was sent: the numbers from 0 to `sent`."""
    found = Findings()
    seen = bytearray(sent)
    partitions: dict[int, _Partition] = {}
    for member, handled in rows.items():
        _take_in(member, handled, partitions, seen, found)
    loads: dict[tuple[str, int], list[Note]] = {}
    for member, noted in notes.items():
        for note in noted:
            if note.what == "load":
                loads.setdefault((member, note.partitions[0]), []).append(note)
            elif note.what == "commit":
                partitions.setdefault(note.partitions[0], _Partition()).commits.append(
                    (member, note)
                )
            elif note.what == "refused":
                found.refused_commits += 1
    repeats: Counter[str] = Counter()
    for number, partition in partitions.items():
        partition.spans.sort(key=lambda span: span.times[0])
        _follow(number, partition, loads, repeats, found)
        _check_order(partition, found)
        _check_commits(partition, found)
        if pause is not None:
            found.after_waking += _after_waking(partition, pause)
    found.repeats = dict(repeats)
    found.missing = sent - sum(seen)
    return found


def _take_in(
    member: str,
    rows: Iterable[Row],
    partitions: dict[int, _Partition],
    seen: bytearray,
    found: Findings,
) -> None:
    """Make spans of a member's rows, and mark the numbers."""
    spans: dict[tuple[int, int], _Span] = {}
    for row in rows:
        found.handled += 1
        seen[row.number] = 1
        key = row.partition, row.generation
        span = spans.get(key)
        if span is not None and row.sequence == span.end:
            span.times.append(row.at_ns)
            continue
        if span is not None:
            # Further on is a gap, and back is a repeat, which the next steps count.
            found.skipped += max(0, row.sequence - span.end)
        spans[key] = _Span(member, row.generation, row.sequence, array("q", [row.at_ns]))
        partitions.setdefault(row.partition, _Partition()).spans.append(spans[key])


def _follow(
    number: int,
    partition: _Partition,
    loads: Mapping[tuple[str, int], list[Note]],
    repeats: Counter[str],
    found: Findings,
) -> None:
    """Follow a partition from span to span."""
    done, last = 0, ""
    for span in partition.spans:
        found.skipped += max(0, span.first - done)
        again = max(0, min(done, span.end) - span.first)
        if again:
            repeats[last] += again
            committed = _committed(partition, loads.get((span.member, number), []), span.times[0])
            found.repeats_of_committed += min(again, max(0, committed - span.first))
        if span.end > done:
            done, last = span.end, span.member


def _committed(partition: _Partition, loads: list[Note], begun_ns: int) -> int:
    """Give what was committed for certain when the span's member asked where to begin."""
    asked = [load.began_ns for load in loads if load.at_ns <= begun_ns]
    if not asked:
        return _ALL  # it never asked: each repeat is one too many
    taken = [note.position for _, note in partition.commits if note.at_ns < asked[-1]]
    return max(taken, default=0)


def _check_order(partition: _Partition, found: Findings) -> None:
    for before, after in pairwise(partition.spans):
        if before.member != after.member:
            late = len(before.times) - bisect_right(before.times, after.times[0])
            found.overlaps += late


def _check_commits(partition: _Partition, found: Findings) -> None:
    for member, note in partition.commits:
        later = [
            span
            for span in partition.spans
            if span.generation > note.generation and span.member != member
        ]
        if any(span.times[0] < note.began_ns for span in later):
            found.stale_commits += 1
        handled = [
            span.first + bisect_right(span.times, note.began_ns)
            for span in partition.spans
            if span.times[0] <= note.began_ns
        ]
        if note.position > max(handled, default=0):
            found.early_commits += 1


def _after_waking(partition: _Partition, pause: Pause) -> int:
    """Count what the paused member handled without having asked again."""
    held = [
        span
        for span in partition.spans
        if span.member == pause.member and span.times[0] < pause.began_ns
    ]
    return sum(len(span.times) - bisect_right(span.times, pause.ended_ns) for span in held)
