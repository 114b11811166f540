"""Whether operations that overlapped can have happened one after the other. Plain code.

The search of Wing and Gong with the memory of Lowe: take any operation that began before
every open one had ended, see whether an object in this state could have answered so, and go
on with what is left; never twice with the same rest in the same state. It ends quickly
where few operations overlap, whatever their number.
"""

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import NamedTuple, Protocol, TypeVar

__all__ = ["Timed", "first_stuck"]


class Timed(Protocol):
    """What has a beginning and an end."""

    @property
    def invoked(self) -> int: ...
    @property
    def ended(self) -> int: ...


T = TypeVar("T", bound=Timed)
S = TypeVar("S", bound=Hashable)


class _Point(NamedTuple):
    """How far the search is: all before `prefix` are done, and these behind it."""

    prefix: int
    ahead: frozenset[int]
    state: Hashable


def first_stuck(
    operations: Sequence[T], initial: S, step: Callable[[S, T], S | None]
) -> list[T] | None:
    """Give None if there is an order, else the operations at which the best try got stuck.

    `step` tells the state after an operation, or None if it cannot have ended so. An
    operation that may be done without a change of the state is done at once: that never
    takes a chance from the others.
    """
    queue = sorted(operations, key=lambda op: op.invoked)
    todo = [_Point(0, frozenset(), initial)]
    seen = set(todo)
    best: tuple[int, list[int]] = (-1, [])
    while todo:
        point = todo.pop()
        open_now = _open(queue, point)
        if not open_now:
            return None
        done = point.prefix + len(point.ahead)
        if done > best[0]:
            best = done, open_now
        after = [(i, state) for i in open_now if (state := step(point.state, queue[i])) is not None]
        quiet = [pair for pair in after if pair[1] == point.state]
        for index, state in reversed(quiet[:1] or after):
            reached = _advance(point, index, state)
            if reached not in seen:
                seen.add(reached)
                todo.append(reached)
    return [queue[i] for i in best[1]]


def _open(queue: Sequence[Timed], point: _Point) -> list[int]:
    """List what may come next: what began before any that is left had ended."""
    found: list[int] = []
    until: float = inf
    for index in range(point.prefix, len(queue)):
        if queue[index].invoked > until:
            break
        if index not in point.ahead:
            found.append(index)
            until = min(until, queue[index].ended)
    return found


def _advance(point: _Point, index: int, state: Hashable) -> _Point:
    prefix, ahead = point.prefix, point.ahead | {index}
    while prefix in ahead:
        ahead -= {prefix}
        prefix += 1
    return _Point(prefix, ahead, state)
