"""Which tasks have a record in hand, and how they are made to let go of it."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from aiodis.consumer.reader import Reader

__all__ = ["AtWork"]


class AtWork:
    """The tasks of `run` that work on records, by partition."""

    def __init__(self) -> None:
        self._readers: dict[asyncio.Task[None], Reader] = {}
        self._let_go: set[asyncio.Task[None]] = set()

    def __contains__(self, task: object) -> bool:
        return task in self._readers

    def begin(self, task: asyncio.Task[None], reader: Reader) -> None:
        """Note that a task works on a partition's records."""
        self._readers[task] = reader

    def end(self, task: asyncio.Task[None]) -> None:
        """Note that it does no longer."""
        del self._readers[task]

    @contextmanager
    def working(self, reader: Reader) -> Iterator[None]:
        """Note it for the current task and one block."""
        task = asyncio.current_task()
        assert task is not None
        self.begin(task, reader)
        try:
            yield
        finally:
            self.end(task)

    def cancel(self, readers: Collection[Reader] | None = None) -> int:
        """Cancel who works on some partitions, or on any; each once only. Give how many."""
        stuck = [
            task
            for task, reader in self._readers.items()
            if not task.cancelling() and (readers is None or reader in readers)
        ]
        for task in stuck:
            if readers is not None:
                self._let_go.add(task)
            task.cancel()
        return len(stuck)

    def has_let_go(self) -> bool:
        """Say whether the current task was cancelled for its partition only, and may go on."""
        task = asyncio.current_task()
        assert task is not None
        if task not in self._let_go:
            return False
        self._let_go.discard(task)
        return task.uncancel() == 0
