"""Says what blocks the event loop, while it does.

asyncio's own debug mode times each step of the loop, which costs, and tells of a long one
after its end. `faulthandler` can only watch one thing in a process. So a thread looks.
"""

import logging
import sys
import threading
import time
import traceback
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

__all__ = ["watched"]

_log = logging.getLogger("aiodis.consumer")

_LONGEST_S: Final = 1.0
_ALIVE, _END = "alive", "end"

_Mailbox: TypeAlias = "SimpleQueue[str]"


@contextmanager
def watched(loop: AbstractEventLoop, what: str, *, longest_s: float = _LONGEST_S) -> Iterator[None]:
    """Report with its stack whatever blocks the loop for longer, once each time.

    Called in the loop's own thread. The watching costs it one callback a second.
    """
    mailbox: _Mailbox = SimpleQueue()
    watch = threading.Thread(
        target=_watch,
        args=(loop, threading.get_ident(), what, longest_s, mailbox),
        name="aiodis-watchdog",
        daemon=True,
    )
    watch.start()
    try:
        yield
    finally:
        mailbox.put(_END)
        watch.join()


def _watch(
    loop: AbstractEventLoop, thread_id: int, what: str, longest_s: float, mailbox: _Mailbox
) -> None:
    """Ask the loop for a sign of life, and look where it is when none comes."""
    while _receive(mailbox, longest_s) != _END:
        try:
            loop.call_soon_threadsafe(mailbox.put, _ALIVE)
        except RuntimeError:  # the loop is closed
            return
        asked_at = time.monotonic()
        is_reported = False
        while (answer := _receive(mailbox, longest_s)) is None:
            now = time.monotonic()
            was_stopped = now - asked_at > 2 * longest_s  # the whole process: not the loop's doing
            if not (is_reported or was_stopped):
                _report(thread_id, what, longest_s)
                is_reported = True
            asked_at = now
        if answer == _END:
            return


def _receive(mailbox: _Mailbox, timeout_s: float) -> str | None:
    try:
        return mailbox.get(timeout=timeout_s)
    except Empty:
        return None


def _report(thread_id: int, what: str, longest_s: float) -> None:
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001 - the documented way
    if frame is not None:
        stack = "".join(traceback.format_stack(frame))
        _log.warning(
            "%s: the event loop is blocked for over %g s, and with it all polling and"
            " committing; it is at\n%s",
            what,
            longest_s,
            stack,
        )
