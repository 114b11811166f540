"""One run of an async function at a time, whose result all who ask meanwhile share."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from aiodis.errors import ClosedError, DISError

__all__ = ["SharedCall"]

T = TypeVar("T")


class _Run(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0
        self.goes_on = False


class SharedCall(Generic[T]):
    """Runs `work` for all who wait, in a task of its own.

    Invariant: one run at a time. A run ends with its work, with its last waiter
    unless it was started for its own sake, or with `close`.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._run: _Run[T] | None = None
        self._tasks: set[asyncio.Task[T]] = set()
        self._closed = False

    async def result(self) -> T:
        """Wait for the run under way, or start one.

        A cancelled waiter leaves the run to the others; the last one stops it.
        An error reaches each waiter as an object of its own.

        Raises:
            ClosedError: it was closed meanwhile.
        """
        run = self._current()
        run.waiting += 1
        try:
            await asyncio.wait((run.task,))  # unlike `await task`, this never cancels it
        finally:
            run.waiting -= 1
            if not run.waiting and not run.goes_on and not run.task.done():
                self._run = None
                run.task.cancel()
        if run.task.cancelled():
            raise ClosedError("the client is closed")
        error = run.task.exception()
        if isinstance(error, DISError):
            raise copy.copy(error) from error
        return run.task.result()

    def start(self) -> None:
        """Start a run that nobody waits for, unless one is under way."""
        self._current().goes_on = True

    async def close(self) -> None:
        """Stop the run; who waits gets ClosedError."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _current(self) -> _Run[T]:
        if self._closed:
            raise ClosedError("the client is closed")
        if self._run is None or self._run.task.done():
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            self._run = _Run(task)
        return self._run

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it
