"""What `send` gives for a record: its outcome, now or later.

Not a future: those were more than a quarter of the work on a small record, and most
receipts are never awaited, since a flush tells enough. A future is made when
somebody waits.
"""

import asyncio
import copy
import logging
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from aiodis.errors import RecordError
from aiodis.record import RecordMetadata

__all__ = ["Outcome", "Receipt", "tell"]

_log = logging.getLogger("aiodis.producer")

Outcome = RecordMetadata | RecordError
"""What becomes of a record."""


class Receipt(msgspec.Struct, gc=False, eq=False, kw_only=True):
    """Awaited, it gives the record's `RecordMetadata` or raises its `RecordError`.

    It may be awaited by several tasks and more than once. Cancelling such a
    wait, or dropping the receipt, cancels no send.
    """

    _outcome: Any = None
    _watchers: Any = None

    def __repr__(self) -> str:
        return f"<Receipt {self._outcome!r}>" if self.done() else "<Receipt pending>"

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        if self._outcome is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: Receipt) -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_done_callback(wake)
            yield from waiter
        return self.result()

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._outcome is not None

    def result(self) -> RecordMetadata:
        """Give where the record went.

        Raises:
            RecordError: it was not delivered; each call raises an object of its own.
            asyncio.InvalidStateError: the outcome is not known yet.
        """
        outcome = self._outcome
        if type(outcome) is RecordMetadata:
            return outcome
        error = copy.copy(self.exception())
        assert error is not None
        error.__cause__ = outcome.__cause__
        raise error

    def exception(self) -> RecordError | None:
        """Give the record's error, or None if it was delivered.

        Raises:
            asyncio.InvalidStateError: the outcome is not known yet.
        """
        outcome = self._outcome
        if outcome is None:
            raise asyncio.InvalidStateError("the record has no outcome yet")
        return outcome if isinstance(outcome, RecordError) else None

    def outcome(self) -> Outcome:
        """Give what became of the record, an error too, without raising it.

        Raises:
            asyncio.InvalidStateError: the outcome is not known yet.
        """
        return self.exception() or self.result()

    def add_done_callback(self, callback: Callable[["Receipt"], object]) -> None:
        """Call back when the outcome is known, at once if it is. What it raises is logged."""
        if self._outcome is not None:
            tell(callback, self)
        elif self._watchers is None:
            self._watchers = [callback]
        else:
            self._watchers.append(callback)

    def remove_done_callback(self, callback: Callable[["Receipt"], object]) -> int:
        """Take a callback back, as `asyncio.wait` does; give how often it was there."""
        before = self._watchers or []
        self._watchers = [watcher for watcher in before if watcher != callback] or None
        return len(before) - len(self._watchers or ())

    def _resolve(self, outcome: Outcome) -> None:
        """Take the outcome in; the ledger's hot loop does the same in place."""
        self._outcome = outcome
        if self._watchers is not None:
            self._wake()

    def _wake(self) -> None:
        watchers, self._watchers = self._watchers, None
        for callback in watchers:
            tell(callback, self)


def tell(callback: Callable[[Any], object], what: object) -> None:
    """Call the user's code, which must not end the producer."""
    try:
        callback(what)
    except Exception:  # noqa: BLE001 - the user's code may raise anything
        _log.exception("a delivery callback failed")
