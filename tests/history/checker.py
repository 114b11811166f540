"""What a history must be like if the server keeps its promises. Plain code, no I/O.

| kind        | what was broken                                                                  |
|-------------|----------------------------------------------------------------------------------|
| lost        | an acknowledged record is not where its acknowledgement says                     |
| invented    | a record is there that nobody wrote, or whose write had failed, or too often     |
| gap         | the numbers of a partition, or of one read, are not dense from where they begin  |
| order       | a record that was written after another was acknowledged has a lower number      |
| changed     | a record was read that is not, or no longer, at that number                      |
| stale       | a read found nothing where a record had been acknowledged before                 |
| early       | a record was read before it was written                                          |
| checkpoint  | commits, loads and generations cannot have happened in any one order             |
| ownership   | two members had one partition in the same generation                             |
| fence       | a member committed in a generation of which it was told that it is no member     |
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from history import Commit, History, Load, Placed, Register, Sync
from linear import first_stuck

__all__ = ["Violation", "check"]


class Violation(NamedTuple):
    """A promise that was broken: its kind, and what shows it."""

    kind: str
    text: str


def check(history: History) -> list[Violation]:
    """Find what in a history is against the promises; nothing, if all is well."""
    rules: list[Callable[[History], Iterator[Violation]]] = [
        check_places,
        check_copies,
        check_numbers,
        check_order,
        check_reads,
        check_freshness,
        check_registers,
        check_owners,
        check_fences,
    ]
    return [violation for rule in rules for violation in rule(history)]


# --- records


def check_places(history: History) -> Iterator[Violation]:
    """See that what was acknowledged is where the acknowledgement says."""
    held = _held(history)
    for write in history.writes:
        if write.outcome == "ok":
            found = held.get((write.partition, write.sequence))
            if found != write.data:
                yield Violation("lost", f"{write}: {found!r} is there")


def check_copies(history: History) -> Iterator[Violation]:
    """See that each record that is there was written, and not more often than it was sent."""
    written = {write.data: write for write in history.writes}
    copies = Counter(data for records in history.stored.values() for _, data in records)
    for data, count in copies.items():
        write = written.get(data)
        if write is None:
            yield Violation("invented", f"nobody wrote {data!r}")
        elif write.outcome == "fail" or count > write.tries:
            yield Violation("invented", f"{write}: it is there {count} times")


def check_numbers(history: History) -> Iterator[Violation]:
    """See that the numbers are dense and rise: of a partition from 0, of a read from its position.

    So a read skips nothing.
    """
    for partition, records in history.stored.items():
        if not _is_dense(records, 0):
            yield Violation("gap", f"partition {partition}: {[n for n, _ in records]}")
    for read in history.reads:
        if not _is_dense(read.records, read.position):
            yield Violation("gap", f"{read}")


def check_order(history: History) -> Iterator[Violation]:
    """See that no record has a higher number than one that was begun after its end."""
    written = {write.data: write for write in history.writes if write.tries == 1}
    for records in history.stored.values():
        writes = [written[data] for _, data in records if data in written]
        ends = [write.ended if write.outcome == "ok" else inf for write in writes]
        first_ends = list(accumulate(reversed(ends), min))[::-1]  # of this one and all behind it
        for write, first_end in zip(writes, [*first_ends[1:], inf], strict=False):
            if write.invoked > first_end:
                yield Violation("order", f"{write}: a later number was acknowledged before")


def check_reads(history: History) -> Iterator[Violation]:
    """See that each number always has the same record, and none before somebody wrote it."""
    held = _held(history)
    written = {write.data: write for write in history.writes}
    for read in history.reads:
        for number, data in read.records:
            if held.get((read.partition, number)) != data:
                text = f"{read.client} read {data!r} at {number} of {read.partition}, which holds "
                yield Violation("changed", text + repr(held.get((read.partition, number))))
            elif data in written and written[data].invoked > read.ended:
                yield Violation("early", f"{read.client} read {data!r} before it was written")


def check_freshness(history: History) -> Iterator[Violation]:
    """See that a read that finds nothing was not begun after a record was acknowledged there."""
    ends: dict[int | None, dict[int, int]] = defaultdict(dict)
    for write in history.writes:
        if write.outcome == "ok" and write.sequence is not None:
            ends[write.partition][write.sequence] = write.ended
    for partition, by_number in ends.items():
        numbers = sorted(by_number)
        first_ends = list(accumulate((by_number[n] for n in reversed(numbers)), min))[::-1]
        for read in history.reads:
            if read.partition == partition and not read.records:
                behind = bisect_left(numbers, read.position)
                if behind < len(numbers) and first_ends[behind] < read.invoked:
                    yield Violation("stale", f"{read}: there was something")


def _held(history: History) -> dict[tuple[int | None, int | None], bytes]:
    return {
        (partition, number): data
        for partition, records in history.stored.items()
        for number, data in records
    }


def _is_dense(records: "list[Placed] | tuple[Placed, ...]", first: int) -> bool:
    return all(number == first + at for at, (number, _) in enumerate(records))


# --- checkpoints and groups


@dataclass(frozen=True)
class _State:
    """A checkpoint with its fence: the lowest generation that the group may be of."""

    value: str | None = None
    generation: int = -1


_Event: TypeAlias = Commit | Load | Sync


def check_registers(history: History) -> Iterator[Violation]:
    """See that each checkpoint is linearizable, together with its group's generations.

    A generation only rises. A commit that names one is taken in that one only, and a
    commit that is refused for it (DIS.4703) tells that it is over.
    """
    for register in sorted({event.register for event in (*history.commits, *history.loads)}):
        events: list[_Event] = [sync for sync in history.syncs if sync.app == register.app]
        events += [load for load in history.loads if load.register == register]
        events += _effective(history, register)
        stuck = first_stuck(events, _State(), _step)
        if stuck is not None:
            yield Violation("checkpoint", f"{register}: none can come next of {stuck}")


def _effective(history: History, register: Register) -> Iterator[Commit]:
    """Give a checkpoint's commits with an effect, or that tell something.

    Values are unique, so an ambiguous commit that nobody saw need not have happened, and
    one that was seen happened before the first who saw it knew.
    """
    seen: dict[str | None, int] = {}
    for load in history.loads:
        if load.register == register:
            seen[load.value] = min(load.ended, seen.get(load.value, load.ended))
    for commit in history.commits:
        if commit.register == register:
            if commit.outcome == "ambiguous" and commit.value in seen:
                yield _ended(commit, max(seen[commit.value], commit.invoked))
            elif commit.outcome == "ok" or commit.code == "DIS.4703":
                yield commit


def _ended(commit: Commit, ended: int) -> Commit:
    return Commit(
        commit.client,
        commit.invoked,
        ended,
        commit.register,
        commit.value,
        "ok",
        commit.generation,
    )


def _step(state: _State, event: _Event) -> _State | None:
    match event:
        case Load():
            return state if event.value == state.value else None
        case Sync():
            return _State(state.value, event.generation) if _may(state, event.generation) else None
        case Commit(outcome="ok", generation=None):
            return _State(event.value, state.generation)
        case Commit(outcome="ok", generation=int(generation)):
            return _State(event.value, generation) if _may(state, generation) else None
        case Commit(generation=int(generation)):
            return _State(state.value, max(state.generation, generation + 1))
    raise AssertionError(event)


def _may(state: _State, generation: int) -> bool:
    return state.generation <= generation


def check_owners(history: History) -> Iterator[Violation]:
    """See that in one generation each partition has one owner, who is told the same each time."""
    told: dict[tuple[str, int], dict[str, frozenset[int]]] = defaultdict(dict)
    for sync in history.syncs:
        owners = told[sync.app, sync.generation]
        before = owners.setdefault(sync.client, sync.partitions)
        taken = [name for name, own in owners.items() if name != sync.client]
        if before != sync.partitions or any(owners[name] & sync.partitions for name in taken):
            yield Violation("ownership", f"{sync}: besides {owners}")


def check_fences(history: History) -> Iterator[Violation]:
    """See that a member that was told that it is none (DIS.4702) stays out of that generation."""
    told: dict[tuple[str, str, int | None], int] = {}
    fenced = [commit for commit in history.commits if commit.code == "DIS.4702"]
    for commit in sorted(fenced, key=attrgetter("ended"), reverse=True):
        told[commit.register.app, commit.client, commit.generation] = commit.ended
    for commit in history.commits:
        key = (commit.register.app, commit.client, commit.generation)
        if commit.outcome == "ok" and told.get(key, inf) < commit.invoked:
            yield Violation("fence", f"{commit}: it had been told before")
