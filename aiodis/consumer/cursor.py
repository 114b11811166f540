"""One partition's place in its stream, and the cursor that stands for it.

Plain code. The position is a number and the truth; a cursor is only a ticket
for it, which the service stops taking after five minutes.
"""

__all__ = ["PartitionCursor"]


class PartitionCursor:
    """The next record to fetch, with the newest cursor for it.

    Invariant: `token`, when there is one, points at `position`.
    """

    def __init__(self, position: int) -> None:
        self.position = position
        self.generation = 0
        """Grows with each seek: an answer asked for before it is not of this place."""
        self._token: str | None = None
        self._taken_at = 0.0

    def token(self, now: float, *, max_age: float) -> str | None:
        """Give the cursor if it is young enough to use."""
        return self._token if now - self._taken_at < max_age else None

    def take(self, token: str, now: float) -> None:
        """Keep a new cursor for the position."""
        self._token, self._taken_at = token or None, now

    def advance(self, position: int, token: str, now: float) -> None:
        """Move on behind the records that came, with the cursor that came along."""
        self.position = position
        self.take(token, now)

    def drop(self) -> None:
        """Forget a cursor that the service refused; the position stays."""
        self._token = None

    def seek(self, position: int) -> None:
        """Move elsewhere."""
        self.position = position
        self.generation += 1
        self.drop()
