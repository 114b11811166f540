"""When what was written comes to the disk: before each answer, each second, or as the system likes.

A group commit: whoever wants a store on the disk while it is being synced waits for
the next sync, and shares it with all who come until that one begins. A sync runs in
a thread, so other requests go on; each store has one at a time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self, get_args

from aiodis.errors import ConfigError
from aiodis.server.storage.store import Store

__all__ = ["Durability", "Fsync", "check_fsync"]

Fsync = Literal["always", "interval", "never"]

_INTERVAL_S: Final = 1.0
_THREADS: Final = 4

logger = logging.getLogger(__name__)


def check_fsync(fsync: str) -> None:
    """See that it is one of the words.

    Raises:
        ConfigError: it is another.
    """
    if fsync not in get_args(Fsync):
        raise ConfigError(f"fsync {fsync!r} is none of {', '.join(get_args(Fsync))}")


def _sync(store: Store) -> None:
    store.sync()


class Durability:
    """The syncs of a server's stores. `stores` are all that there are at the time."""

    def __init__(
        self,
        fsync: Fsync,
        stores: Callable[[], Iterable[Store]],
        *,
        sync: Callable[[Store], None] = _sync,
        interval_s: float = _INTERVAL_S,
    ) -> None:
        self.is_awaited = fsync == "always"
        """Whether an answer waits for what it acknowledges."""
        self._fsync, self._stores, self._sync, self._interval_s = fsync, stores, sync, interval_s
        self._next: dict[Store, asyncio.Task[None]] = {}  # not begun, so that others may join
        self._running: dict[Store, asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="aiodis-fsync")
        if self._fsync == "interval":
            self._ticking = asyncio.create_task(self._tick(), name="aiodis-fsync")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._ticking is not None:
                self._ticking.cancel()
                await asyncio.wait([self._ticking])
            if self._fsync != "never":
                await self._bring_all()
        finally:
            self._threads.shutdown()

    async def bring(self, store: Store) -> None:
        """Wait until everything written to a store before the call is on the disk.

        Cancelled, the sync goes on for the others.

        Raises:
            OSError: it failed; nothing of it may be acknowledged.
        """
        task = self._next.get(store)
        if task is None:
            task = asyncio.create_task(self._sync_after(self._running.get(store), store))
            task.add_done_callback(_look)
            self._next[store] = task
        await asyncio.shield(task)

    async def _sync_after(self, before: asyncio.Task[None] | None, store: Store) -> None:
        if before is not None:
            await asyncio.wait([before])
        # From here on what is written may come too late for this one.
        task = self._running[store] = self._next.pop(store)
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._sync, store)
        finally:
            if self._running.get(store) is task:
                del self._running[store]

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._bring_all()

    async def _bring_all(self) -> None:
        for store in [store for store in self._stores() if store.is_dirty]:
            try:
                await self.bring(store)
            except OSError as exc:
                logger.error("what was written is not on the disk: %s", exc)  # noqa: TRY400


def _look(task: asyncio.Task[None]) -> None:
    """See the error of a sync, so that it is no surprise where everyone who waited has gone."""
    with suppress(asyncio.CancelledError):
        task.exception()
