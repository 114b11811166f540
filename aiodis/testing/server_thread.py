"""A thread with an event loop of its own, where servers run while a test blocks its thread."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

__all__ = ["ServerThread"]

T = TypeVar("T")

_LONGEST_S: Final = 60.0


class ServerThread:
    """Begins with the block, and ends with it; what still runs in it then is cancelled."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        # A daemon: a test run that is broken off must not hang.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live()), name="aiodis-testing", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_LONGEST_S)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the thread do something, and wait for it. Not to be called in the thread itself.

        Raises:
            TimeoutError: it did not come to an end within a minute.
        """
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LONGEST_S)

    async def _live(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        await self._end.wait()
