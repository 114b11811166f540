"""The consumer's own tasks: the first failure is told, and all end together."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Background"]


class Background:
    """Owns tasks until `end`.

    The first failure ends the others, but for those that were to be kept: commits go
    on, so that what was fetched before can still be worked off.
    """

    def __init__(self, on_failure: Callable[[BaseException], None]) -> None:
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: set[asyncio.Task[None]] = set()
        self.has_failed = False

    def __contains__(self, task: object) -> bool:
        return task in self._tasks

    def spawn(self, work: Coroutine[Any, Any, None], *, keep: bool = False) -> asyncio.Task[None]:
        """Begin a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        if keep:
            self._kept.add(task)
        task.add_done_callback(self._ended)
        return task

    def fail(self, error: BaseException) -> None:
        """Take in a failure; only the first counts."""
        if self.has_failed:
            return
        self.has_failed = True
        self._on_failure(error)
        for task in self._tasks - self._kept:
            task.cancel()

    async def end(self) -> None:
        """Cancel all, and wait for them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._kept.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
