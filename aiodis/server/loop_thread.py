"""The thread that the server's loop runs in, and the way for others to have things done there."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final, TypeVar

from aiodis.errors import ClosedError

__all__ = ["LoopThread"]

_LOOK_S: Final = 1.0

T = TypeVar("T")


class LoopThread:
    """Made in the thread of the running loop."""

    def __init__(self) -> None:
        self._loop, self._thread_id = asyncio.get_running_loop(), threading.get_ident()

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the loop's thread, between the loop's own steps.

        In that thread it happens at once. Any other waits for it, and is blocked meanwhile.
        Whatever the function raises comes out here.

        Raises:
            ClosedError: the loop does not run, so that it would never happen.
        """
        if threading.get_ident() == self._thread_id:
            return function()
        done: Future[T] = Future()

        def carry_out() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(function())
                except BaseException as exc:  # noqa: BLE001 - it is the caller's
                    done.set_exception(exc)

        try:
            self._loop.call_soon_threadsafe(carry_out)
        except RuntimeError:
            raise ClosedError("the server's event loop is closed") from None
        while not done.done() and self._loop.is_running():
            wait([done], _LOOK_S)
        if done.cancel():
            raise ClosedError("the server's event loop does not run")
        return done.result()
