"""What clients asked of a server and what they were told, with times: the input of `checker`.

All times are of one clock, which every client reads just before it asks (`invoked`) and as
soon as it knows (`ended`). So an operation took effect somewhere in between, if at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Commit", "History", "Load", "Outcome", "Placed", "Read", "Register", "Sync", "Write"]

Outcome: TypeAlias = Literal["ok", "fail", "ambiguous"]
"""A failed operation has no effect for certain; an ambiguous one has one, or will have, or none."""

Placed: TypeAlias = tuple[int, bytes]
"""A record as it is read: its sequence number and its data."""


class Register(NamedTuple):
    """A checkpoint: of an app, in a partition of the one stream."""

    app: str
    partition: int


@dataclass(frozen=True)
class Write:
    """One record that was sent; no other has its data. A failed one has no place."""

    client: str
    invoked: int
    ended: int
    data: bytes
    outcome: Outcome
    partition: int | None = None
    sequence: int | None = None
    tries: int = 1
    """How often it was sent at most: so many copies there may be."""


@dataclass(frozen=True)
class Read:
    """The answer to a read from a position on: all that there was, or the first of it."""

    client: str
    invoked: int
    ended: int
    partition: int
    position: int
    records: Sequence[Placed]


@dataclass(frozen=True)
class Commit:
    """A checkpoint that was written; no other has its value. `code` is that of a refusal."""

    client: str
    invoked: int
    ended: int
    register: Register
    value: str
    outcome: Outcome
    generation: int | None = None
    code: str | None = None


@dataclass(frozen=True)
class Load:
    """A checkpoint that was read; None where there was none."""

    client: str
    invoked: int
    ended: int
    register: Register
    value: str | None


@dataclass(frozen=True)
class Sync:
    """A member was told a generation of its app's group, and its partitions."""

    client: str
    invoked: int
    ended: int
    app: str
    generation: int
    partitions: frozenset[int]


@dataclass
class History:
    """All operations, in no order, and what every partition held when all was over."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    stored: dict[int, list[Placed]] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many operations there are."""
        lists = (self.writes, self.reads, self.commits, self.loads, self.syncs)
        return sum(map(len, lists))
