"""How far one partition is: handed out, finished, committed. Plain code.

All numbers are the next sequence number to read. The rule that everything else
serves: what is committed never passes the first unfinished record.
"""

from typing import Literal

__all__ = ["Progress"]


class Progress:
    """One partition's marks.

    Invariant: `finished` <= `handed_out`, and `committed` <= `finished` unless
    a seek moved the reader back on purpose.
    """

    def __init__(self, position: int, committed: int | None) -> None:
        self.handed_out = self.finished = position
        self.committed = committed
        self._begun_at = position
        self._rewound = committed is None
        self._in_doubt = False

    @property
    def is_uncommitted(self) -> bool:
        """Whether records were handed out that no commit covers yet."""
        return self.handed_out > (self._begun_at if self.committed is None else self.committed)

    def hand_out(self, first: int, following: int) -> None:
        """Note that the records from `first` to before `following` are with the user.

        Going back happens where the service's range did (`offset_reset`, a
        stream made anew); the marks follow it.
        """
        if first < self.handed_out:
            self.finished = first
            self._rewound = True
        self.handed_out = following

    def take_back(self, first: int) -> None:
        """Note that the records from `first` on are no longer with the user."""
        self.handed_out = min(self.handed_out, first)

    def finish(self, following: int) -> None:
        """Note that the user is done with everything below `following`; never backwards."""
        self.finished = max(self.finished, min(following, self.handed_out))

    def seek(self, position: int) -> None:
        """Start anew elsewhere: the one case where a commit may go backwards."""
        self.handed_out = self.finished = self._begun_at = position
        self._rewound = True

    def due(self) -> int | None:
        """Give the number to commit, or None when the service has it already."""
        if self._rewound:
            settled = self.finished == self.committed and not self._in_doubt
            return None if settled else self.finished
        if self.committed is None or self.finished > self.committed:
            return self.finished
        return None

    def doubt(self) -> None:
        """Note that a commit is on its way: until it is answered, it may have arrived or not."""
        self._in_doubt = True

    def commit(self, number: int) -> None:
        """Note that the service has it."""
        self.committed, self._in_doubt = number, False
        # Who went back while the commit was on its way has yet to say so.
        self._rewound = number > self.finished


def to_checkpoint(position: int, convention: Literal["next", "last"]) -> int | None:
    """Say what a checkpoint holds for a position; None where only its absence can say it."""
    if convention == "next":
        return position
    return position - 1 if position else None


def from_checkpoint(number: int, convention: Literal["next", "last"]) -> int | None:
    """Say which position a checkpoint stands for; None where there is no checkpoint (-1)."""
    if number < 0:
        return None
    return number if convention == "next" else number + 1
