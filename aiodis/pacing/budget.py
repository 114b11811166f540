"""A bound on memory, in bytes, and where callers wait for room. First come, first served."""

import asyncio
import copy
from collections import deque

from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.errors import BufferFullError

__all__ = ["ByteBudget"]


class ByteBudget:
    """Bytes to take and give back.

    Invariant: `free` plus everything taken is `limit`, and whoever waits is
    served in order, so a large record is not starved by small ones.
    """

    def __init__(self, limit: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.limit = self.free = limit
        self.is_crowded = False
        """Whether somebody waits, so that nobody may go ahead of them."""
        self._waiters: deque[tuple[asyncio.Future[None], int]] = deque()

    def try_take(self, size: int) -> bool:
        """Take the bytes if they are free and nobody waits."""
        if self.is_crowded or size > self.free:
            return False
        self.free -= size
        return True

    async def take(self, size: int, *, timeout_s: float | None = None) -> None:
        """Wait for the bytes, and take them. Cancelled, nothing stays taken.

        Raises:
            BufferFullError: there was no room in time.
        """
        if self.try_take(size):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((waiter, size))
        self.is_crowded = True
        try:
            async with self._clock.timeout(timeout_s):
                await waiter
        except BaseException as exc:
            self._withdraw(waiter, size)
            if timeout_s is not None and isinstance(exc, TimeoutError):
                raise BufferFullError(
                    f"no room for {size} bytes within {timeout_s:g} s: "
                    f"{self.limit - self.free} of {self.limit} bytes are taken"
                ) from None
            raise

    def _withdraw(self, waiter: asyncio.Future[None], size: int) -> None:
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.give(size)  # the room came in the same turn as the end of the wait
            return
        self._waiters = deque(pair for pair in self._waiters if pair[0] is not waiter)
        self._serve()  # whoever stood behind may fit

    def give(self, size: int) -> None:
        """Give bytes back, and serve who waits."""
        self.free += size
        if self._waiters:
            self._serve()

    def _serve(self) -> None:
        while self._waiters:
            waiter, size = self._waiters[0]
            if waiter.done():
                self._waiters.popleft()
            elif size <= self.free:
                self._waiters.popleft()
                self.free -= size
                waiter.set_result(None)
            else:
                break
        self.is_crowded = bool(self._waiters)

    def fail(self, error: BaseException) -> None:
        """Let everyone who waits fail with a copy of the error."""
        while self._waiters:
            waiter, _ = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(copy.copy(error))
        self.is_crowded = False
