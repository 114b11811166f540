"""What a member of a consumer group does next: told the service's answers, and the time.

A member joins, waits until the others have, syncs to learn its partitions, and
sends heartbeats. It holds its partitions from the first heartbeat that is
answered STABLE, and each such answer holds them for longer. By how much, is
what no other member can be faster than:

- A rebalance leaves every member `rebalance_timeout_ms` to join again, from some time
  after the last good heartbeat began. Up to then nobody else owns the partitions.
- A member is dropped after 60 seconds of silence (facts 6.4).

A tenth of either is kept as a margin, for clocks that do not run alike. Past the
first, the partitions are withheld until a heartbeat confirms them; past the second they are
lost. Times are the clock's, in seconds, and count from when a request *began*.

Invariant: partitions are held only with the generation of their sync, and never
while a join is on its way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal, TypeAlias

from aiodis.errors import DISError, NotFoundError

__all__ = [
    "SILENCE_MS",
    "Assigned",
    "Effect",
    "HandOver",
    "Impossible",
    "Lost",
    "Membership",
    "Step",
]

SILENCE_MS: Final = 60_000
"""After so long without a sign of life the service drops a member: *seen in the SDK*."""

_SAFE: Final = 0.9
_WAITING_S: Final = 0.5  # between syncs while the others join: *seen in the SDK*
_RETRY_S: Final = 1.0

Step: TypeAlias = Literal["join", "sync", "beat"]


@dataclass(frozen=True, slots=True)
class Assigned:
    """Begin with these, or go on with them: they are held."""

    partition_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandOver:
    """Finish with these before `until`, when somebody else may have them; then call `released`."""

    partition_ids: tuple[str, ...]
    until: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Stop with these at once."""

    partition_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impossible:
    """No retry mends this."""

    error: DISError


Effect: TypeAlias = Assigned | HandOver | Lost | Impossible | None


@dataclass(slots=True)
class Membership:
    """One member. `step` is to be done at `due`, and its answer to be told to the method of it."""

    interval_s: float
    window_s: float
    step: Step = "join"
    due: float = -inf
    generation: int = -1
    held: tuple[str, ...] = ()
    held_until: float = -inf
    lost_at: float = inf
    """When the service may have dropped this member: `expire` is to be called then."""
    _offered: tuple[str, ...] = field(default=())  # by the sync, until a heartbeat confirms them
    _failures: int = 0

    def joined(self, state: str, delay_s: float, now: float) -> Effect:
        """Take in the answer to a join."""
        match state:
            case "OK":
                self._go("sync", now + max(0.0, delay_s))
            case "GROUP_NOT_EXIST":
                return _missing("DIS.4332", "the app does not exist")
            case "ERR_SUBSCRIPTION":
                return _missing("DIS.4301", "the stream does not exist")
            case _:
                self.failed(now)
        return None

    def synced(
        self, state: str, generation: int, partition_ids: Iterable[str], now: float
    ) -> Effect:
        """Take in the answer to a sync. Whether its partitions are held, the heartbeat tells."""
        match state:
            case "OK":
                self.generation, self._offered = generation, tuple(sorted(partition_ids))
                self._go("beat", now)
            case "WAITING":
                self._go("sync", now + _WAITING_S)
            case "REJOIN":
                self._go("join", now)
            case "GROUP_NOT_EXIST":
                return _missing("DIS.4332", "the app does not exist")
            case _:
                self.step = "join"
                self.failed(now)
        return None

    def beaten(self, state: str, began: float, now: float) -> Effect:
        """Take in the answer to a heartbeat that began at `began`."""
        match state:
            case "STABLE":
                return self._confirmed(began, now)
            case "JOINING" if self.held and now < self.held_until:
                return HandOver(self.held, self.held_until)
            case "JOINING":
                return self._gave_up("join", now)
            case "SYNCING":
                # Shared out anew already: whatever was held is somebody else's by now.
                return self._gave_up("sync", now if self.held else now + _WAITING_S)
            case "GROUP_NOT_EXIST":
                return _missing("DIS.4332", "the app does not exist")
            case _:
                self.failed(now)
        return None

    def failed(self, now: float) -> None:
        """Take in that the step met no answer, or none that helps: it is due again soon."""
        self.due = now + min(_RETRY_S * 2**self._failures, self.interval_s / 2)
        self._failures = min(self._failures + 1, 10)

    def released(self, now: float) -> None:
        """Take in that what was to be handed over is."""
        self._drop()
        self._go("join", now)

    def fenced(self, generation: int, now: float) -> Effect:
        """Take in that the service refused a commit of that generation."""
        if generation != self.generation or not self.held:
            return None  # known already
        return self._gave_up("join", now)

    def expire(self, now: float) -> Effect:
        """Give up what is held if the service may have dropped this member."""
        return self._gave_up("join", now) if self.held and now >= self.lost_at else None

    def _confirmed(self, began: float, now: float) -> Effect:
        is_news = bool(self._offered) or self.held_until <= now
        self.held, self._offered = self.held or self._offered, ()
        self.held_until = began + _SAFE * min(self.window_s, SILENCE_MS / 1000)
        self.lost_at = began + _SAFE * SILENCE_MS / 1000
        self._go("beat", began + self.interval_s)
        # An answer that was read late, such as by a process that was stopped, holds nothing.
        return Assigned(self.held) if is_news and now < self.held_until else None

    def _gave_up(self, step: Step, now: float) -> Effect:
        held = self.held
        self._drop()
        self._go(step, now)
        return Lost(held) if held else None

    def _drop(self) -> None:
        self.held, self._offered = (), ()
        self.held_until, self.lost_at = -inf, inf

    def _go(self, step: Step, due: float) -> None:
        self.step, self.due, self._failures = step, due, 0


def _missing(code: str, message: str) -> Impossible:
    return Impossible(NotFoundError(message, status=400, code=code, operation="groups"))
