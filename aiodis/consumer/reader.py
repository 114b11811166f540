"""One partition as the consumer holds it: place, marks, and the batches fetched ahead."""

from collections import deque
from collections.abc import Callable

from aiodis.consumer.cursor import PartitionCursor
from aiodis.consumer.progress import Progress
from aiodis.record import Batch, ReceivedRecord

__all__ = ["Reader"]


def _nothing() -> None:
    pass


class Reader:
    """What is known of one partition. The poller fills it, the consumer empties it.

    Invariant: `batches` are consecutive, and the last one ends at
    `cursor.position`, except where a reset left a gap.
    """

    def __init__(self, partition_id: str, position: int, committed: int | None) -> None:
        self.partition_id = partition_id
        self.cursor = PartitionCursor(position)
        self.progress = Progress(position, committed)
        self.batches: deque[Batch] = deque()
        self._sizes: deque[int] = deque()
        self._reset_to: int | None = None
        self.paused = False
        self.behind = False
        """Whether others have to be drained first (`partition_order="parent_first"`)."""
        self.leaving = False
        """Whether it is handed over to another member, or lost: it never comes back as it is."""
        self.gone = False
        """Whether it has expired: what was fetched is all that comes."""
        self.busy = False
        """Whether a handler of `run` works on this partition."""
        self.full = False
        """Whether `run` has as much of it as it works on at once."""
        self.timestamp = 0
        """When the last record was written that was handed out, in ms; 0 before the first."""
        self.end = 0
        """Where the service said that the partition ends, when it was looked up last."""
        self.moves = 0
        """Grows with each seek of the user: what was taken before it does not come back."""
        self.on_room: Callable[[], None] = _nothing
        """Tells the poller that a batch was taken."""

    @property
    def withheld(self) -> bool:
        """Whether nothing of it may be given to the user, whatever is there."""
        return self.paused or self.behind or self.leaving

    @property
    def readable(self) -> bool:
        """Whether the user may be given something now."""
        return bool(self.batches) and not self.full and not self.withheld

    def add(self, batch: Batch, size: int) -> None:
        """Keep a fetched batch that holds `size` bytes of memory."""
        self.batches.append(batch)
        self._sizes.append(size)

    def take(self, max_records: int | None = None) -> tuple[Batch, int]:
        """Hand out the oldest batch, or the head of it, and the bytes that this sets free.

        The head of a batch sets all of the batch's bytes free.
        """
        batch, size = self.batches.popleft(), self._sizes.popleft()
        if max_records is not None and len(batch.records) > max_records:
            rest = batch.records[max_records:]
            self._return(rest, batch.next_sequence_number)
            following = rest[0].sequence_number
            batch = Batch(batch.partition_id, batch.records[:max_records], following)
        self.timestamp = batch.records[-1].timestamp
        if self._reset_to is not None and batch.records[0].sequence_number >= self._reset_to:
            self._reset_to = None
        self.progress.hand_out(batch.records[0].sequence_number, batch.next_sequence_number)
        return batch, size

    def put_back(self, records: list[ReceivedRecord], following: int) -> None:
        """Take the rest of a batch back from the user."""
        self._return(records, following)
        self.progress.take_back(records[0].sequence_number)

    def _return(self, records: list[ReceivedRecord], following: int) -> None:
        self.batches.appendleft(Batch(self.partition_id, records, following))
        self._sizes.appendleft(0)

    def seek(self, position: int) -> int:
        """Move elsewhere; give the bytes that were fetched for the old place."""
        self.moves += 1
        self._reset_to = None
        self.progress.seek(position)
        dropped = self.unfetch()
        self.cursor.seek(position)
        return dropped

    def reset(self, position: int) -> None:
        """Fetch from elsewhere, since the place has left the partition.

        What was fetched stays. The marks follow when nothing is with the user, or
        waits for him: with `catch_up`, or with the first record from there.
        """
        self.cursor.seek(position)
        self._reset_to = position
        self.catch_up()

    def catch_up(self) -> None:
        """Let the marks follow a reset, if all from before it is finished."""
        is_settled = not self.batches and self.progress.finished == self.progress.handed_out
        if self._reset_to is not None and is_settled and not self.busy:
            self.progress.seek(self._reset_to)
            self._reset_to = None

    def unfetch(self) -> int:
        """Drop what was fetched ahead, and give its bytes; it will be fetched again."""
        oldest = self.batches[0].records[0].sequence_number if self.batches else None
        dropped = sum(self._sizes)
        self.batches.clear()
        self._sizes.clear()
        self.cursor.seek(self.cursor.position if oldest is None else oldest)
        return dropped
