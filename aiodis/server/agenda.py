"""What the service does by itself as time passes, as plain code.

A duty says when it is due next and does its work, told that time. The agenda lets
all duties that are due happen in the order of their times, so that an hour that
passes at once leaves what an hour leaves.
"""

import logging
from itertools import count
from typing import Final, Protocol

__all__ = ["Agenda", "Duty"]

_RETRY_MS: Final = 60_000

logger = logging.getLogger(__name__)


class Duty(Protocol):
    """Work that comes with time: a delivery, a minute of metrics, a look at the load."""

    def due_ms(self) -> int | None:
        """Tell when the next work is due; None while there is none. Cheap."""

    def run(self, at_ms: int) -> None:
        """Do what is due at `at_ms`. Afterwards the duty is due later than that, or not at all."""


class Agenda:
    """All duties. One that fails is logged and tried again in a minute; the others go on."""

    def __init__(self) -> None:
        self._duties: dict[int, Duty] = {}
        self._numbers = count()
        self._not_before: dict[int, int] = {}
        self._began_ms = 0

    def add(self, duty: Duty) -> None:
        """Take a duty on."""
        self._duties[next(self._numbers)] = duty

    def remove(self, duty: Duty) -> None:
        """Let a duty go. That one must be there."""
        number = next(number for number, found in self._duties.items() if found is duty)
        del self._duties[number]
        self._not_before.pop(number, None)

    def begin(self, now_ms: int) -> None:
        """Note when the service came up: what was due while it was not is due then."""
        self._began_ms = now_ms

    def due_ms(self) -> int | None:
        """Tell when something is due next; None while nothing is."""
        return min((due for due, _ in self._due()), default=None)

    def run_until(self, now_ms: int) -> None:
        """Do all that is due by now, in the order of its times."""
        while due := [found for found in self._due() if found[0] <= now_ms]:
            at_ms, index = min(due)
            duty = self._duties[index]
            try:
                duty.run(at_ms)
                left = duty.due_ms()
                if left is not None and left <= at_ms:
                    raise RuntimeError(f"{duty!r} is due again at once")  # noqa: TRY301 - logged alike
            except Exception:
                logger.exception("%r failed; it is tried again in a minute", duty)
                self._not_before[index] = max(at_ms, now_ms) + _RETRY_MS
            else:
                self._not_before.pop(index, None)

    def _due(self) -> list[tuple[int, int]]:
        found = ((duty.due_ms(), index) for index, duty in self._duties.items())
        return [
            (max(due, self._began_ms, self._not_before.get(index, due)), index)
            for due, index in found
            if due is not None
        ]
