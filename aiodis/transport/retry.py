"""What follows a try that failed: decisions, told the time and a random number.

| signal    | stands for                                  | decision                              |
|-----------|---------------------------------------------|---------------------------------------|
| THROTTLED | HTTP 429, DIS.4303, DIS.4305                | again, not before Retry-After         |
| TRANSIENT | HTTP 5xx, no connection, no complete answer | again                                 |
| REFUSED   | HTTP 401, 403, 441, DIS.4100-4114, DIS.4309 | mend the credentials once, else block |
| FINAL     | every other answer, DIS.4116 among them,    | give up                               |
|           | a bad certificate                           |                                       |

"Again" holds while the call has time, tries and budget left. The pause is drawn
between the base and a ceiling that doubles with each try ("full jitter"), so
that clients which failed together do not come back together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from aiodis.errors import (
    AuthError,
    CertificateError,
    DISError,
    ForbiddenError,
    ServerError,
    ThrottledError,
    TransportError,
)
from aiodis.transport.skew import parse_http_date

__all__ = [
    "Block",
    "Budget",
    "Decision",
    "GiveUp",
    "Met",
    "Policy",
    "Refresh",
    "Retry",
    "SignAgain",
    "Signal",
    "classify",
    "decide",
    "may_have_been_carried_out",
    "retry_after",
]


class Signal(Enum):
    """What a failed try says about the next one."""

    THROTTLED = auto()
    TRANSIENT = auto()
    REFUSED = auto()
    FINAL = auto()


def classify(error: DISError) -> Signal:
    """Read the signal of an error."""
    match error:
        case ForbiddenError():
            return Signal.FINAL
        case AuthError():
            return Signal.REFUSED
        case ThrottledError():
            return Signal.THROTTLED
        case CertificateError():
            return Signal.FINAL
        case ServerError() | TransportError():
            return Signal.TRANSIENT
    return Signal.FINAL


def may_have_been_carried_out(method: str, error: DISError) -> bool:
    """Say whether a try that met this error may have changed something at the service.

    A gateway's 502 or 504 says nothing of what is behind it, so neither does any
    other 5xx, but for those that mean "not now" and "not here". Reading changes nothing.
    """
    if method == "GET":
        return False
    if isinstance(error, TransportError):
        return error.ambiguous
    return isinstance(error, ServerError) and error.status not in {501, 503}


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how fast a call is repeated; times in seconds."""

    retries: int
    backoff_s: float
    backoff_max_s: float


@dataclass(frozen=True, slots=True)
class Met:
    """What the latest try met, and what was done before. `tries` counts all, this one too."""

    signal: Signal
    tries: int
    retry_after: float | None = None
    may_refresh: bool = False
    may_sign_again: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Refresh:
    """Get new credentials and try again at once."""


@dataclass(frozen=True, slots=True)
class SignAgain:
    """Sign with the corrected clock and try again at once."""


@dataclass(frozen=True, slots=True)
class Block:
    """Give up, and let nothing out for a while: the credentials are refused."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise what the latest try met; `why` is for the log."""

    why: str


Decision = Retry | Refresh | SignAgain | Block | GiveUp


class Budget:
    """A token bucket that keeps retries a share of the calls.

    Each call pays in `share` of a token and each retry takes a whole one, so a
    service that fails in part meets at most `share` more load. A reserve, which
    time refills, lets a client with few calls retry at all and outlasts the
    failures that open the breaker.
    Invariant: 0 <= tokens <= CAPACITY.
    """

    RESERVE: Final = 30.0
    REFILL_PER_S: Final = 5.0
    CAPACITY: Final = 100.0

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = self.RESERVE
        self._refilled_at = 0.0

    def deposit(self) -> None:
        """Pay in for one call."""
        self._tokens = min(self.CAPACITY, self._tokens + self._share)

    def take(self, now: float) -> bool:
        """Take a token for a retry; False when there is none."""
        missing = max(0.0, self.RESERVE - self._tokens)
        self._tokens += min(missing, max(0.0, now - self._refilled_at) * self.REFILL_PER_S)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def decide(
    met: Met,
    *,
    policy: Policy,
    budget: Budget,
    now: float,
    deadline: float,
    patient: bool,
    chance: float,
) -> Decision:
    """Choose what follows a failed try.

    `patient` calls brought their own deadline, so only that limits their tries.
    `chance` is a random number from 0 to 1.
    """
    match met.signal:
        case Signal.FINAL:
            return GiveUp("it would fail again")
        case Signal.REFUSED:
            return _mend(met)
    delay = max(backoff(policy, met.tries, chance), met.retry_after or 0.0)
    if now + delay >= deadline:
        return GiveUp("no time is left")
    if not patient and met.tries > policy.retries:
        return GiveUp("the retries are used up")
    return Retry(delay) if budget.take(now) else GiveUp("the retry budget is used up")


def _mend(met: Met) -> Decision:
    if met.may_sign_again:
        return SignAgain()
    return Refresh() if met.may_refresh else Block()


def backoff(policy: Policy, tries: int, chance: float) -> float:
    """Draw the pause after the given number of tries."""
    # The exponent is capped because 2.0**1024 overflows and a patient call has no last try.
    ceiling = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** min(tries, 32))
    return policy.backoff_s + chance * max(0.0, ceiling - policy.backoff_s)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from now; None if unreadable.

    A date is compared with the answer's own Date, so that this machine's clock
    plays no part; `now` (unix seconds) stands in where there is none.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = parse_http_date(text)
    if until is None:
        return None
    answered = parse_http_date(headers.get("Date", ""))
    return max(0.0, until - (now if answered is None else answered))
