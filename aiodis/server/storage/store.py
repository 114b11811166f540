"""What all that is kept in files has in common."""

from typing import Protocol

__all__ = ["Store"]


class Store(Protocol):
    """The log of a stream, or a catalog."""

    @property
    def is_dirty(self) -> bool:
        """Whether something was written that no `sync` has brought to the disk."""

    def sync(self) -> None:
        """Bring to the disk what was written before the call. May run in another thread.

        Raises:
            OSError: it failed, and so does each `sync` after it: what is lost is not known.
        """
