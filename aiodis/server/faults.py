"""Faults on purpose: which call meets which, by the order of calls and by seeds alone.

Two sorts. *Scripted* faults (`push`) are a queue: a call meets the first that is
aimed at it. *Rules* draw a chance for each call that they are aimed at. The n-th
chance of a rule depends on nothing but n, its seed, its aim and its outcome: the same
calls in the same order meet the same faults, and no rule changes what others draw.

A call ends in one way. Where several faults would end it, the scripted one counts,
else the rule that was made first; those passed over are not counted. Latency,
bandwidth and skew add up.

The faults of one project, `of_project`, are for its calls alone; all else is for every
project's.

A call is counted in once the gate let it through and it could be read. Only
`reset_before` and `reset_after` come earlier; these know a call's operation and no more.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from threading import RLock
from typing import Final, Self, TypeVar, assert_never

from aiodis.errors import ConfigError
from aiodis.server import fault_outcomes
from aiodis.server.fault import NOWHERE, Aim, CallFault, Fault, PartialFault, Target
from aiodis.server.fault_outcomes import (
    Bandwidth,
    Connection,
    Ending,
    Frozen,
    Hang,
    Latency,
    Outcome,
    Phase,
    Reply,
    Reset,
    ResetAfter,
    ResetBefore,
    Restart,
    SkewedDate,
    Truncated,
    bandwidth,
    error,
    expired_cursor,
    expired_token,
    frozen,
    garbage_json,
    gateway_page,
    hang,
    http_status,
    latency,
    reset,
    reset_after,
    reset_before,
    restart,
    skewed_date,
    truncated,
)

__all__ = [
    "CallFault",
    "Fault",
    "Faults",
    "PartialFault",
    "bandwidth",
    "error",
    "expired_cursor",
    "expired_token",
    "frozen",
    "garbage_json",
    "gateway_page",
    "hang",
    "http_status",
    "latency",
    "reset",
    "reset_after",
    "reset_before",
    "restart",
    "skewed_date",
    "truncated",
]

_PUT: Final = "records.put"
_GET: Final = "records.get"
_F = TypeVar("_F", bound=Fault)


@dataclass(slots=True)
class Plan:
    """What is to happen to one call: pauses, at most one ending, and how the answer comes."""

    before_ms: float = 0
    after_ms: float = 0
    ending: Ending | None = None
    ending_phase: Phase = "before"
    bytes_per_s: int | None = None
    skew_s: float = 0
    met: list[str] = field(default_factory=list, compare=False)
    """The names of the faults that it is made of."""

    def add(self, fault: CallFault) -> bool:
        """Take a fault in; False if the call ends in another way already."""
        match fault.outcome:
            case Latency(_, ms, jitter_ms):
                pause_ms = max(0.0, ms + jitter_ms * (2 * fault.chances.draw() - 1))
                if fault.phase == "before":
                    self.before_ms += pause_ms
                else:
                    self.after_ms += pause_ms
            case Bandwidth(_, rate):
                self.bytes_per_s = min(rate, self.bytes_per_s or rate)
            case SkewedDate(_, seconds):
                self.skew_s += seconds
            case Reply() | Hang() | Reset() | Restart() | Frozen() | Truncated() as ending:
                if self.ending is not None:
                    return False
                self.ending, self.ending_phase = ending, fault.phase
            case ResetBefore() | ResetAfter():
                return False  # their time was before this call was read
            case _:
                assert_never(fault.outcome)
        self.met.append(fault.name)
        return True


@dataclass(slots=True)
class _Kept:
    """What the faults of all projects share. A test's thread makes them, the server's meets them.

    Invariant: none that is used up is kept.
    """

    script: tuple[CallFault, ...] = ()
    rules: tuple[CallFault, ...] = ()
    partials: tuple[PartialFault, ...] = ()
    counts: Counter[tuple[str | None, str, str]] = field(default_factory=Counter)
    lock: RLock = field(default_factory=RLock)

    def all(self) -> tuple[Fault, ...]:
        return (*self.script, *self.rules, *self.partials)


class Faults:
    """The faults of one server, or of one of its projects. They outlast restarts."""

    def __init__(self) -> None:
        self._kept = _Kept()
        self._project: str | None = None
        self._scopes: tuple[list[Fault], ...] = ()

    def of_project(self, project_id: str) -> "Faults":
        """Give the faults of one project: what is made, counted, cleared there is its own.

        Its calls also meet the faults of the whole server.
        """
        faults = Faults()
        faults._kept, faults._project = self._kept, project_id
        return faults

    @property
    def armed(self) -> bool:
        """Whether any call may meet a fault."""
        return bool(self._kept.script or self._kept.rules)

    @property
    def partials(self) -> tuple[PartialFault, ...]:
        """The faults that records may meet."""
        return self._kept.partials

    def push(
        self,
        operation: str,
        *,
        error: str | None = None,
        outcome: Outcome | None = None,
        times: int = 1,
        phase: Phase | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> CallFault:
        """Script a fault for the next `times` calls, behind what is scripted already.

        `operation` is the name of a row such as `records.put`, or `records.*`, or `*` for
        all of DIS. `error` is short for `outcome=error(code)`. With `phase="after"` the
        operation is carried out first; None is the outcome's own phase. A put is aimed
        at by `partition` if any of its records goes there.

        Raises:
            ConfigError: such a fault could never come.
        """
        aim = Aim(operation, stream, partition, self._project)
        fault = CallFault(aim, _chosen(aim, error, outcome), phase, times=times)
        with self._kept.lock:
            self._kept.script = (*self._kept.script, fault)
        return self._scoped(fault)

    def rule(
        self,
        operation: str,
        *,
        error: str | None = None,
        outcome: Outcome | None = None,
        rate: float = 1.0,
        seed: int = 0,
        times: int | None = None,
        phase: Phase | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> CallFault:
        """Let a share of the calls meet a fault, at most `times`. For the rest see `push`.

        Raises:
            ConfigError: such a fault could never come.
        """
        aim = Aim(operation, stream, partition, self._project)
        chosen = _chosen(aim, error, outcome)
        fault = CallFault(aim, chosen, phase, rate=rate, seed=seed, times=times)
        with self._kept.lock:
            self._kept.rules = (*self._kept.rules, fault)
        return self._scoped(fault)

    def partial(
        self,
        operation: str = _PUT,
        *,
        code: str = "DIS.4303",
        message: str | None = None,
        rate: float = 1.0,
        seed: int = 0,
        times: int | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> PartialFault:
        """Let a share of the records of puts fail, at most `times` records.

        Each draws for itself; the others of the request are stored.

        Raises:
            ConfigError: such a fault could never come.
        """
        if operation != _PUT:
            raise ConfigError(f"only {_PUT} has records that can fail, not {operation!r}")
        message = message or fault_outcomes.message_of(code)
        aim = Aim(operation, stream, partition, self._project)
        fault = PartialFault(aim, code, message, rate=rate, seed=seed, times=times)
        with self._kept.lock:
            self._kept.partials = (*self._kept.partials, fault)
        return self._scoped(fault)

    @contextmanager
    def scope(self) -> Iterator[Self]:
        """Let the faults that are made inside the block end with it."""
        made: list[Fault] = []
        self._scopes = (*self._scopes, made)
        try:
            yield self
        finally:
            self._scopes = tuple(scope for scope in self._scopes if scope is not made)
            self._drop(made)

    def clear(self) -> None:
        """End all faults, and forget the counts."""
        with self._kept.lock:
            self._drop(self._all())
            for key in [key for key in self._kept.counts if self._is_ours(key[0])]:
                del self._kept.counts[key]

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How often what came, by operation and name, such as `"records.put", "error DIS.5000"`.

        For partial failures it is the number of records.
        """
        found: Counter[tuple[str, str]] = Counter()
        for (project, operation, name), count in list(self._kept.counts.items()):
            if self._is_ours(project):
                found[operation, name] += count
        return found

    def end(self, *faults: Fault) -> None:
        """End some faults; what they came to stays counted. Those that are over stay so."""
        self._drop(faults)

    def __iter__(self) -> Iterator[Fault]:
        """Give the faults that may still come: scripted ones, rules, those of records."""
        return iter(self._all())

    def assert_exhausted(self) -> None:
        """See that each fault that is scripted, or bounded by `times`, came that often.

        Raises:
            AssertionError: these did not.
        """
        waiting = [repr(fault) for fault in self._all() if fault.left is not None]
        if waiting:
            raise AssertionError(f"faults that are still to come: {', '.join(waiting)}")

    def __repr__(self) -> str:
        return f"<Faults {', '.join(map(repr, self._all())) or 'none'}>"

    def break_connection(self, operation: str) -> Connection | None:
        """Say how a call's connection breaks before the call is read.

        A scripted break comes once it is in front of all that is scripted for the operation.
        """
        with self._kept.lock:
            scripted = next(self._meant(self._kept.script, operation), None)
            drawn = self._drawn(r for r in self._meant(self._kept.rules, operation) if _is_early(r))
            found = [scripted, *drawn] if scripted and _is_early(scripted) else drawn
            for fault in found:
                if isinstance(fault.outcome, Connection):
                    self._count(fault, operation)
                    return fault.outcome
        return None

    def plan(self, operation: str, target: Callable[[], Target] = lambda: NOWHERE) -> Plan:
        """Say what is to happen to a call that was read.

        `target` is asked once at most, and only if a fault is aimed that closely.
        """
        ask = cache(target)
        plan = Plan()
        with self._kept.lock:
            scripted = (f for f in self._meant(self._kept.script, operation) if f.aim.hits(ask))
            found = [fault for fault in (next(scripted, None),) if fault]
            found += self._drawn(
                rule
                for rule in self._meant(self._kept.rules, operation)
                if not _is_early(rule) and rule.aim.hits(ask)
            )
            for fault in found:
                if plan.add(fault):
                    self._count(fault, operation)
        return plan

    def fail_records(
        self, stream_name: str, partition: int, indexes: Sequence[int]
    ) -> dict[int, PartialFault]:
        """Say which of the records for one partition fail, and of what."""
        target = Target(stream_name, frozenset((partition,)))
        failed: dict[int, PartialFault] = {}
        with self._kept.lock:
            for fault in self._meant(self._kept.partials, _PUT):
                if fault.aim.hits(lambda: target):
                    for index in indexes:
                        if fault.left != 0 and fault.chances.hit() and index not in failed:
                            failed[index] = fault
                            self._count(fault, _PUT)
        return failed

    def _meant(self, faults: Iterable[_F], operation: str) -> Iterator[_F]:
        """Give those for an operation of this project, or of any."""
        return (
            fault
            for fault in faults
            if fault.aim.project in {None, self._project} and fault.aim.covers(operation)
        )

    def _drawn(self, rules: Iterable[CallFault]) -> list[CallFault]:
        """Let each rule draw, so that none depends on what another drew."""
        return [rule for rule in rules if rule.chances.hit()]

    def _count(self, fault: Fault, operation: str) -> None:
        fault.count += 1
        self._kept.counts[fault.aim.project, operation, fault.name] += 1
        if fault.left == 0:
            self._drop([fault])

    def _scoped(self, fault: _F) -> _F:
        for scope in self._scopes[-1:]:
            scope.append(fault)
        return fault

    def _drop(self, faults: Iterable[Fault]) -> None:
        gone = {id(fault) for fault in faults}
        kept = self._kept
        with kept.lock:
            kept.script = tuple(f for f in kept.script if id(f) not in gone)
            kept.rules = tuple(f for f in kept.rules if id(f) not in gone)
            kept.partials = tuple(f for f in kept.partials if id(f) not in gone)

    def _all(self) -> list[Fault]:
        return [fault for fault in self._kept.all() if self._is_ours(fault.aim.project)]

    def _is_ours(self, project: str | None) -> bool:
        """Say whether what is kept of a project is to be seen here."""
        return self._project in {None, project}


def _is_early(fault: CallFault) -> bool:
    return isinstance(fault.outcome, Connection)


def _chosen(aim: Aim, code: str | None, outcome: Outcome | None) -> Outcome:
    """Give the one outcome that was asked for."""
    if (code is None) == (outcome is None):
        raise ConfigError("a fault has either error= or outcome=")
    if isinstance(outcome, Connection) and aim.is_close:
        raise ConfigError(
            f"{outcome.name} comes before stream and partition are known; reset() can be aimed"
        )
    if isinstance(outcome, Connection) and aim.project and aim.operation.startswith("iam."):
        raise ConfigError(f"{outcome.name} comes before IAM knows whose call it is; reset() can")
    if isinstance(outcome, Frozen) and aim.operation != _GET:
        raise ConfigError(f"{outcome.name} is for {_GET} only, not for {aim.operation!r}")
    return outcome or error(str(code))
