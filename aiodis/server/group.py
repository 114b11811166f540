"""A consumer group: who is a member, of which generation, and whose each partition is.

Plain code, told the time. Between two generations there is a window: it opens when
somebody joins, leaves or falls silent, or when there are partitions that nobody has;
each member has to join again while it is open, and is left behind otherwise. When
it closes, a new generation gets the partitions shared out, and its members sync to
learn which are theirs.

Invariants: a partition has one owner at most; generations only rise; whoever is
of a generation had joined again before it began, so had stopped reading.

The calls and the states are *seen in the SDK* (facts 6.4). When a window closes,
what it takes with it and how partitions are shared out is guessed (`guesses`).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from aiodis.server import guesses

__all__ = ["Group", "Interest", "Partition", "Readable", "SyncOutcome", "share_out"]

SILENCE_MS: Final = 60_000
"""A member that gave no sign of life for this long is dropped: *seen in the SDK*."""


class Partition(NamedTuple):
    """A partition by its stream's id, since two members may call a stream by its name or its id."""

    stream_id: str
    number: int


class Interest(NamedTuple):
    """The streams that a member asked for."""

    names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    pattern: str | None = None


Readable: TypeAlias = Callable[[Interest], Collection[Partition]]
"""Tells which partitions an interest stands for at present."""


class SyncOutcome(NamedTuple):
    """What a sync comes to: OK with a generation and its partitions, WAITING or REJOIN."""

    state: str
    generation: int = -1
    partitions: tuple[Partition, ...] = ()


@dataclass(slots=True)
class _Member:
    interest: Interest
    window_ms: int
    accelerates: bool
    heard_ms: int
    joined: bool = True  # in the window that is open
    synced: bool = False  # with a generation that it is of


@dataclass(slots=True)
class Group:
    """The members of one app. `settle` comes before any other call, and is told the same time."""

    generation: int = 0
    members: dict[str, _Member] = field(default_factory=dict)
    _owners: dict[Partition, str] = field(default_factory=dict)
    _closes_ms: int | None = None  # while a window is open
    # After a start there may be members at work that nobody remembers (decision 0010).
    _knows_all: bool = field(init=False)

    def __post_init__(self) -> None:
        self._knows_all = self.generation == 0

    @property
    def is_stable(self) -> bool:
        """Whether every member knows what it owns."""
        return self._closes_ms is None and all(m.synced for m in self.members.values())

    def owned_by(self, client_id: str) -> tuple[Partition, ...]:
        """Give a member's partitions, sorted."""
        return tuple(sorted(p for p, owner in self._owners.items() if owner == client_id))

    def settle(self, now_ms: int, readable: Readable) -> None:
        """Let happen what was due until now, each at its time, as if someone had watched."""
        while (due := self._next_due()) is not None and due <= now_ms:
            if due == self._closes_ms and not self._silent_at(due):
                self._close(due, readable)
            else:
                self._drop(self._silent_at(due), due)
        # guesses.A_SCALING_REBALANCES
        if self._closes_ms is None and self._wanted(readable) - self._owners.keys():
            self._open(now_ms)

    def join(
        self,
        client_id: str,
        interest: Interest,
        now_ms: int,
        readable: Readable,
        *,
        window_ms: int | None = None,
        accelerates: bool = False,
    ) -> int:
        """Take a member in, or in again; give the time until it should sync."""
        known = self.members.get(client_id)
        self.members[client_id] = _Member(
            interest,
            guesses.DEFAULT_REBALANCE_MS if window_ms is None else window_ms,
            accelerates,
            now_ms,
            synced=known is not None and known.synced,  # with the generation that is ending
        )
        if self._closes_ms is None:
            self._open(now_ms)
        self.members[client_id].joined = True
        return self._wait_ms(now_ms, readable)

    def sync(self, client_id: str, now_ms: int) -> SyncOutcome:
        """Tell a member what it owns."""
        member = self.members.get(client_id)
        if member is None or not member.joined:
            return SyncOutcome("REJOIN")
        member.heard_ms = now_ms
        if self._closes_ms is not None:
            return SyncOutcome("WAITING")
        member.synced = True
        return SyncOutcome("OK", self.generation, self.owned_by(client_id))

    def heartbeat(self, client_id: str, generation: int, now_ms: int) -> str:
        """Tell a member what it has to do: JOINING, SYNCING, STABLE."""
        member = self.members.get(client_id)
        # Another process of the same name, that missed a generation, is not this member.
        if member is None or (member.synced and generation != self.generation):
            return "JOINING"
        member.heard_ms = now_ms
        if not member.joined:
            return "JOINING"
        # guesses.STABLE_IS_A_MEMBERS_STATE
        return "STABLE" if member.synced and self._closes_ms is None else "SYNCING"

    def leave(self, client_id: str, now_ms: int) -> None:
        """Let a member go. One that is none changes nothing."""
        if client_id in self.members:
            self._drop([client_id], now_ms)

    def refuses(self, client_id: str | None, generation: int | None) -> str | None:
        """Give the code that a commit of that member and generation gets; None if it may."""
        member = self.members.get(client_id) if client_id is not None else None
        if member is None:
            return "DIS.4702"
        if generation is not None and generation != self.generation:
            return "DIS.4703"
        # While a window is open the ending generation may still commit:
        # guesses.A_WINDOW_TAKES_COMMITS.
        return None if member.synced else "DIS.4701"

    # Windows

    def _wait_ms(self, now_ms: int, readable: Readable) -> int:
        """Give the time until the window closes; close it now if nobody needs it longer."""
        hurried = all(m.joined and m.accelerates for m in self.members.values())
        if hurried and self._knows_all:  # guesses.ACCELERATION_ENDS_THE_WINDOW
            self._close(now_ms, readable)
        return 0 if self._closes_ms is None else self._closes_ms - now_ms

    def _open(self, at_ms: int) -> None:
        self._closes_ms = at_ms + max(m.window_ms for m in self.members.values())
        for member in self.members.values():
            member.joined = False

    def _close(self, at_ms: int, readable: Readable) -> None:
        """End the window: whoever joined is the next generation (guesses.LATE_MEMBERS_ARE_OUT)."""
        self._closes_ms, self._knows_all = None, True
        self.members = {name: m for name, m in self.members.items() if m.joined}
        if not self.members:
            self._owners.clear()
            return
        self.generation += 1
        for member in self.members.values():
            member.synced, member.heard_ms = False, at_ms
        wanted = {name: readable(m.interest) for name, m in self.members.items()}
        self._owners = share_out(wanted, self._owners)

    def _drop(self, names: Iterable[str], at_ms: int) -> None:
        for name in names:
            del self.members[name]
        if not self.members:
            self._closes_ms = None
            self._owners.clear()
        elif self._closes_ms is None:
            self._open(at_ms)

    def _next_due(self) -> int | None:
        times = [m.heard_ms + SILENCE_MS for m in self.members.values() if self._must_speak(m)]
        if self._closes_ms is not None:
            times.append(self._closes_ms)
        return min(times, default=None)

    def _silent_at(self, at_ms: int) -> list[str]:
        return [
            name
            for name, m in self.members.items()
            if self._must_speak(m) and m.heard_ms + SILENCE_MS <= at_ms
        ]

    def _must_speak(self, member: _Member) -> bool:
        # One that has joined sleeps until the window closes, however long that is.
        return self._closes_ms is None or not member.joined

    def _wanted(self, readable: Readable) -> set[Partition]:
        interests = {member.interest for member in self.members.values()}
        return {partition for interest in interests for partition in readable(interest)}


def share_out(
    wanted: Mapping[str, Collection[Partition]], owners: Mapping[Partition, str]
) -> dict[Partition, str]:
    """Give each partition an owner among the members that want it.

    Balanced: no partition could move to a member that has two fewer. Sticky: an
    owner of before loses only what balance takes. The same arguments always have
    the same result.
    """
    takers: dict[Partition, list[str]] = {}
    for name in sorted(wanted):
        for partition in wanted[name]:
            takers.setdefault(partition, []).append(name)
    shared = {p: owner for p, owner in sorted(owners.items()) if owner in takers.get(p, ())}
    load = Counter(shared.values())
    # Those with the fewest takers first, as they have the least choice.
    for partition in sorted(takers.keys() - shared.keys(), key=lambda p: (len(takers[p]), p)):
        taker = min(takers[partition], key=lambda name: (load[name], name))
        shared[partition] = taker
        load[taker] += 1
    while (move := _best_move(shared, takers, load)) is not None:
        partition, taker = move
        load[shared[partition]] -= 1
        load[taker] += 1
        shared[partition] = taker
    return shared


def _best_move(
    shared: Mapping[Partition, str], takers: Mapping[Partition, list[str]], load: Counter[str]
) -> tuple[Partition, str] | None:
    """Find the partition whose move evens out the most; each such move makes loads more equal."""
    best: tuple[int, Partition, str] | None = None
    for partition, owner in sorted(shared.items(), reverse=True):
        taker = min(takers[partition], key=lambda name: (load[name], name))
        gain = load[owner] - load[taker]
        if gain >= 2 and (best is None or gain > best[0]):
            best = gain, partition, taker
    return None if best is None else best[1:]
