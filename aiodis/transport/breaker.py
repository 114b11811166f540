"""When an endpoint is left alone: the circuit breaker, told the time.

```
CLOSED --failures in a row--> OPEN --open_s--> HALF-OPEN --probe answered--> CLOSED
CLOSED --refusal------------> OPEN (refused)      └------probe failed------> OPEN
```

In HALF-OPEN one call goes ahead as the probe and the others wait for what it
meets. While OPEN, calls with time left wait, except after a refusal of the
credentials: that does not heal by itself, and the service blocks addresses
which go on being refused for half an hour (facts 1). A hold, asked for by the
service's Retry-After, is waited for too, but needs no probe.
"""

from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Admitted", "Breaker", "Refused", "WaitForProbe", "WaitUntil"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go ahead. A `probe`, whose number is not 0, must be reported or abandoned."""

    probe: int = 0


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Ask again at that time."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class WaitForProbe:
    """Ask again when the probe has been reported."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Do not wait: nothing goes out until then, and what is asked then is only a probe."""

    at: float
    reason: str


Admission = Admitted | WaitUntil | WaitForProbe | Refused

_PASS = Admitted()


class _State(Enum):
    CLOSED = auto()
    OPEN = auto()
    PROBING = auto()


class Breaker:
    """One endpoint's breaker.

    Invariant: in PROBING one probe counts, the latest; the report of any other
    is one of an ordinary call.
    """

    def __init__(self, *, failures: int, open_s: float, refused_s: float) -> None:
        self._limit = failures
        self._open_s, self._refused_s = open_s, refused_s
        self._state = _State.CLOSED
        self._in_a_row = 0
        self._until = 0.0
        self._is_refusal = False
        self._reason = ""
        self._probe = 0
        self._hold_until = 0.0

    @property
    def reason(self) -> str:
        """Why it opened; empty while calls go through."""
        return "" if self._state is _State.CLOSED else self._reason

    def admit(self, now: float) -> Admission:
        """Say what a call may do now."""
        if self._state is _State.CLOSED:
            if now < self._hold_until:
                return WaitUntil(self._hold_until, "the service asked to wait")
            return _PASS
        if self._state is _State.PROBING:
            return WaitForProbe(self._reason)
        if now < self._until:
            if self._is_refusal:
                return Refused(self._until, self._reason)
            return WaitUntil(self._until, self._reason)
        self._state = _State.PROBING
        self._probe += 1
        return Admitted(self._probe)

    def answered(self, probe: int) -> bool:
        """Take in an answer that is neither a 5xx nor a refusal; True if that closes it."""
        self._in_a_row = 0
        # A call from before may still be answered: it shows that the endpoint lives,
        # yet not that the credentials are good again, nor does it replace the probe.
        if self._counts(probe) or (self._state is _State.OPEN and not self._is_refusal):
            self._state = _State.CLOSED
            return True
        return False

    def failed(self, probe: int, now: float, reason: str) -> bool:
        """Take in a 5xx, or that no complete answer came; True if that opens it."""
        self._in_a_row += 1
        if self._counts(probe) or (self._state is _State.CLOSED and self._in_a_row >= self._limit):
            self._open(
                now + self._open_s, f"{self._in_a_row} failures in a row, the last: {reason}"
            )
            return True
        return False

    def refused(self, now: float, reason: str) -> None:
        """Take in that the credentials were refused, and that nothing mends it."""
        self._open(now + self._refused_s, reason, is_refusal=True)

    def abandoned(self, probe: int) -> None:
        """Take the probe back: its call ended without meeting anything."""
        if self._counts(probe):
            self._state = _State.OPEN

    def hold(self, until: float) -> None:
        """Let nothing out until then, as the service asked."""
        self._hold_until = max(self._hold_until, until)

    def _counts(self, probe: int) -> bool:
        return self._state is _State.PROBING and probe == self._probe

    def _open(self, until: float, reason: str, *, is_refusal: bool = False) -> None:
        self._state = _State.OPEN
        self._until, self._reason, self._is_refusal = until, reason, is_refusal
