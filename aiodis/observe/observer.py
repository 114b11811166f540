"""What aiodis tells an observer, the one that does nothing, and the guard around the others."""

import logging
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol

from aiodis.observe.catalog import Metric

__all__ = ["NO_OBSERVER", "NO_SPAN", "Guarded", "Observer", "Span", "guarded"]

_log = logging.getLogger("aiodis.observe")


class Span(Protocol):
    """One piece of work under way."""

    def set(self, **attributes: str | int) -> None:
        """Add what became known; the row in `SPANS` tells the names."""

    def fail(self, error: BaseException) -> None:
        """Mark the work as failed by an error that does not leave the block."""


class Observer(Protocol):
    """Takes in what happens. Called in the event loop, once a batch or request, not a record.

    The labels of a call are those of the metric's row, each by its name.
    """

    def count(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Give a block's span, of a name in `SPANS`; an error that leaves the block fails it."""


class _NoSpan:
    """A span, and its own context, that does nothing. One serves all."""

    __slots__ = ()

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def set(self, **attributes: str | int) -> None:
        pass

    def fail(self, error: BaseException) -> None:
        pass


class _NoObserver:
    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_OBSERVER"

    def count(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        pass

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        pass

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        pass

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:  # noqa: ARG002 - it does nothing
        return NO_SPAN


NO_SPAN: Final = _NoSpan()
NO_OBSERVER: Final[Observer] = _NoObserver()
"""Does nothing. Who has to reckon a value first may compare with it by `is`."""


def guarded(observer: Observer) -> Observer:
    """Give an observer whose failures harm nobody; one that cannot fail is given back."""
    if observer is NO_OBSERVER or isinstance(observer, Guarded):
        return observer
    return Guarded(observer)


class Guarded:
    """Passes on all calls; the first failure is logged, later ones only counted in `failures`."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Guarded {self._observer!r} failures={self.failures}>"

    def failed(self) -> None:
        """Take in the exception that is being handled."""
        self.failures += 1
        if self.failures == 1:
            name = type(self._observer).__name__
            _log.exception("observer %s failed; its further failures are not logged", name)

    def count(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        try:
            self._observer.count(metric, amount, **labels)
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self.failed()

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        try:
            self._observer.observe(metric, value, **labels)
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self.failed()

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        try:
            self._observer.gauge(metric, value, **labels)
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self.failed()

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Give a block's span."""
        try:
            return _GuardedSpan(self, self._observer.span(name, **attributes))
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self.failed()
            return NO_SPAN


class _GuardedSpan:
    """Guards one span, and its context. What the block raises always leaves it."""

    __slots__ = ("_context", "_guard", "_span")

    def __init__(self, guard: Guarded, context: AbstractContextManager[Span]) -> None:
        self._guard, self._context = guard, context
        self._span: Span = NO_SPAN

    def __enter__(self) -> Span:
        try:
            self._span = self._context.__enter__()
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self._guard.failed()
            self._context = NO_SPAN  # what was not entered is not left
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._context.__exit__(kind, error, traceback)
        except Exception as failure:  # noqa: BLE001 - whatever a user's observer raises
            if failure is not error:
                self._guard.failed()

    def set(self, **attributes: str | int) -> None:
        try:
            self._span.set(**attributes)
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self._guard.failed()

    def fail(self, error: BaseException) -> None:
        try:
            self._span.fail(error)
        except Exception:  # noqa: BLE001 - whatever a user's observer raises
            self._guard.failed()
