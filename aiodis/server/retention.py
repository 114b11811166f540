"""The duty that frees the space of expired records, also of streams that nobody uses."""

from aiodis.server import guesses
from aiodis.server.state import State

__all__ = ["Retention"]


class Retention:
    """Looks at all streams once an hour. Expired records are hidden exactly, whenever freed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._next_ms = 0

    def due_ms(self) -> int | None:
        return self._next_ms

    def run(self, at_ms: int) -> None:
        every_ms = guesses.EXPIRE_UNUSED_EVERY_MS
        self._next_ms = at_ms - at_ms % every_ms + every_ms
        for stream in self._state.streams():
            stream.expire(at_ms)
