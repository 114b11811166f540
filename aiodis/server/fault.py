"""One fault: whom it is aimed at, how likely it is, how often it came."""

from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import Final, NamedTuple

from aiodis.api import OPERATIONS
from aiodis.errors import ConfigError
from aiodis.server.fault_outcomes import Outcome, Phase

__all__ = ["NOWHERE", "Aim", "CallFault", "Fault", "PartialFault", "Target", "operations_of"]

_IAM: Final = ("iam.tokens", "iam.projects")
_NUMBERS: Final = count(1)


class Target(NamedTuple):
    """What a call is for, as far as it says: a stream, and partitions of it."""

    stream_name: str | None
    partitions: frozenset[int]


NOWHERE: Final = Target(None, frozenset())


class Aim(NamedTuple):
    """The calls that a fault is for. None is any stream, any partition, any project."""

    operation: str
    stream: str | None
    partition: int | None
    project: str | None = None

    @property
    def is_close(self) -> bool:
        """Whether it is for some of an operation's calls only."""
        return (self.stream, self.partition) != (None, None)

    def covers(self, operation: str) -> bool:
        """Say whether an operation is meant."""
        return operation in operations_of(self.operation)

    def hits(self, target: Callable[[], Target]) -> bool:
        """Say whether a call of such an operation is meant. `target` is asked only if need be."""
        if not self.is_close:
            return True
        stream_name, partitions = target()
        return self.stream in {None, stream_name} and (
            self.partition is None or self.partition in partitions
        )


class _Chances:
    """A row of chances: the n-th depends on the seed, the label and n, and on nothing else.

    The label keeps rules of the same seed from hitting the same calls.
    """

    def __init__(self, rate: float, seed: int, label: str) -> None:
        if not 0 <= rate <= 1:
            raise ConfigError(f"rate is between 0 and 1, not {rate}")
        self._rate, self._seed, self._label = rate, seed, label
        self._drawn = 0

    def draw(self) -> float:
        """Give the next number, from 0 to just below 1."""
        self._drawn += 1
        text = f"{self._seed} {self._drawn} {self._label}"
        digest = blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def hit(self) -> bool:
        """Draw, and say whether it comes true."""
        return self.draw() < self._rate


class Fault:
    """A fault that was made. `count` tells how often it came, `left` how often it still may."""

    def __init__(
        self, aim: Aim, name: str, rate: float, seed: int, times: int | None, label: str = ""
    ) -> None:
        if not operations_of(aim.operation):
            raise ConfigError(f"there is no operation {aim.operation!r}")
        if times is not None and times < 1:
            raise ConfigError(f"times is at least 1, not {times}")
        self.number = next(_NUMBERS)
        """Its own among all of this process."""
        self.aim, self.name, self.times = aim, name, times
        # Without the project: a sandbox's is another each time, and draws what all others draw.
        self.chances = _Chances(rate, seed, f"{label or name} {aim[:3]}")
        self.count = 0

    @property
    def left(self) -> int | None:
        """How often it still may come; None without a bound."""
        return None if self.times is None else self.times - self.count

    def __repr__(self) -> str:
        operation, stream, partition, _ = self.aim
        of = "" if self.times is None else f" of {self.times}"
        return (
            f"<{operation}: {self.name}"
            + (f", stream {stream}" if stream is not None else "")
            + (f", partition {partition}" if partition is not None else "")
            + f", came {self.count}{of}>"
        )


class CallFault(Fault):
    """An outcome for calls."""

    def __init__(
        self,
        aim: Aim,
        outcome: Outcome,
        phase: Phase | None,
        *,
        rate: float = 1.0,
        seed: int = 0,
        times: int | None,
    ) -> None:
        usual = outcome.phases[0]
        label = outcome.name if phase in {None, usual} else f"{outcome.name} {phase}"
        super().__init__(aim, outcome.name, rate, seed, times, label)
        if phase is not None and phase not in outcome.phases:
            had = " or ".join(map(repr, outcome.phases))
            raise ConfigError(f"{outcome.name} has phase {had}, not {phase!r}")
        self.outcome, self.phase = outcome, phase or usual


class PartialFault(Fault):
    """A failure of single records, of which the answer tells. It is records that it counts."""

    def __init__(
        self, aim: Aim, code: str, message: str, *, rate: float, seed: int, times: int | None
    ) -> None:
        super().__init__(aim, f"partial {code}", rate, seed, times)
        self.code, self.message = code, message


@cache
def operations_of(pattern: str) -> frozenset[str]:
    """List the operations of a pattern. `*` is all of DIS: IAM has to be named."""
    names = [row.name for row in OPERATIONS]
    if pattern == "*":
        return frozenset(names)
    chapter = pattern.removesuffix("*") if pattern.endswith(".*") else None
    return frozenset(
        name
        for name in (*names, *_IAM)
        if name == pattern or (chapter is not None and name.startswith(chapter))
    )
