"""Where each block of a log lies, in columns of machine numbers.

A block costs 36 bytes here, whatever its number of records. Sequences, arrival
times and segments only grow along a partition's columns, so each question is
a bisection.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from aiodis.server.storage.frame import BlockRow, Opening

__all__ = ["LogIndex", "PartitionIndex"]


class PartitionIndex:
    """The blocks of one partition, oldest first. Sequences are dense: a block ends at the next."""

    __slots__ = (
        "data_bytes",
        "next_sequence",
        "offsets",
        "payload_bytes",
        "segments",
        "sequences",
        "times",
    )

    def __init__(self, next_sequence: int = 0) -> None:
        self.next_sequence = next_sequence
        self.sequences = array("Q")
        self.times = array("q")
        self.segments = array("I")
        self.offsets = array("Q")
        self.payload_bytes = array("I")
        self.data_bytes = array("I")

    def add(self, row: BlockRow, time_ms: int, segment: int, offset: int) -> None:
        """Take in the next block. `offset` is that of its payload."""
        self.sequences.append(row.first_sequence)
        self.times.append(time_ms)
        self.segments.append(segment)
        self.offsets.append(offset)
        self.payload_bytes.append(row.payload_bytes)
        self.data_bytes.append(row.data_bytes)
        self.next_sequence = row.first_sequence + row.records

    def start(self, block: int) -> int:
        """Tell the first sequence of a block; behind the last one, the next sequence."""
        return self.sequences[block] if block < len(self.sequences) else self.next_sequence

    def block_of(self, sequence: int) -> int:
        """Find the block that holds a sequence which is not before the first block."""
        return bisect_right(self.sequences, sequence) - 1

    def block_since(self, time_ms: int) -> int:
        """Find the first block that arrived at this time or later."""
        return bisect_left(self.times, time_ms)

    def drop_before(self, segment: int) -> None:
        """Forget the blocks of all segments before this one."""
        gone = bisect_left(self.segments, segment)
        del self.sequences[:gone], self.times[:gone], self.segments[:gone]
        del self.offsets[:gone], self.payload_bytes[:gone], self.data_bytes[:gone]


class LogIndex:
    """All partitions of a log. Arrival times never go back: `last_ms` is the latest."""

    def __init__(self) -> None:
        self.last_ms = 0
        self._partitions: dict[int, PartitionIndex] = {}

    @property
    def partitions(self) -> int:
        """One more than the highest number of a partition that records were put to."""
        return max(self._partitions, default=-1) + 1

    def partition(self, partition: int) -> PartitionIndex:
        """Get a partition to look at; an empty one when nothing was ever put to it."""
        found = self._partitions.get(partition)
        return PartitionIndex() if found is None else found

    def next_sequence(self, partition: int) -> int:
        """Tell the sequence that the partition's next record must have."""
        found = self._partitions.get(partition)
        return 0 if found is None else found.next_sequence

    def check(self, rows: Iterable[BlockRow]) -> None:
        """See that the blocks continue their partitions without a gap.

        Raises:
            ValueError: one begins elsewhere.
        """
        expected: dict[int, int] = {}
        for first, partition, records, _, _ in rows:
            follows = expected.get(partition)
            if follows is None:
                follows = self.next_sequence(partition)
            if first != follows:
                raise ValueError(f"partition {partition}: sequence {first} instead of {follows}")
            expected[partition] = follows + records

    def add(
        self, rows: Sequence[BlockRow], time_ms: int, segment: int, offsets: Iterable[int]
    ) -> None:
        """Take in the blocks of a frame, checked before. The offsets are those of the payloads."""
        self.last_ms = time_ms
        for row, offset in zip(rows, offsets, strict=True):
            index = self._partitions.get(row.partition)
            if index is None:
                index = self._partitions[row.partition] = PartitionIndex()
            index.add(row, time_ms, segment, offset)

    def opening(self, serial: int) -> Opening:
        """Make the opening of a segment that begins now."""
        pairs = ((number, index.next_sequence) for number, index in self._partitions.items())
        return Opening(serial, self.last_ms, tuple(sorted(pairs)))

    def begin(self, opening: Opening) -> None:
        """Take over what the opening of the oldest segment that is left says of those before."""
        self.last_ms = opening.last_ms
        self._partitions = {
            partition: PartitionIndex(sequence) for partition, sequence in opening.next_sequences
        }

    def drop_before(self, segment: int) -> None:
        """Forget the blocks of all segments before this one; the sequences stay."""
        for index in self._partitions.values():
            index.drop_before(segment)
