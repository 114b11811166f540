import pytest

from aiodis.server.storage.frame import BlockRow, Opening
from aiodis.server.storage.index import LogIndex


def filled():
    """Partition 0: sequences 0-9 at 100, 10-14 at 200 and 15-15 at 300, a segment each."""
    index = LogIndex()
    for segment, (first, records) in enumerate([(0, 10), (10, 5), (15, 1)]):
        rows = [BlockRow(first, 0, records, 50, 20)]
        index.check(rows)
        index.add(rows, 100 * (segment + 1), segment, [1000 * segment])
    return index


def test_sequences_and_times_lead_to_blocks():
    partition = filled().partition(0)
    assert [partition.block_of(sequence) for sequence in (0, 9, 10, 14, 15)] == [0, 0, 1, 1, 2]
    assert [partition.block_since(ms) for ms in (-5, 100, 101, 300, 301)] == [0, 0, 1, 2, 3]
    assert [partition.start(block) for block in range(4)] == [0, 10, 15, 16]


def test_a_block_must_continue_its_partition():
    index = filled()
    with pytest.raises(ValueError, match="partition 0: sequence 17 instead of 16"):
        index.check([BlockRow(17, 0, 1, 1, 1)])
    with pytest.raises(ValueError, match="partition 8: sequence 1 instead of 0"):
        index.check([BlockRow(1, 8, 1, 1, 1)])
    with pytest.raises(ValueError, match="sequence 16 instead of 18"):
        index.check([BlockRow(16, 0, 2, 1, 1), BlockRow(16, 0, 1, 1, 1)])
    index.check([BlockRow(16, 0, 2, 1, 1), BlockRow(0, 8, 3, 1, 1), BlockRow(18, 0, 1, 1, 1)])
    assert index.next_sequence(8) == 0


def test_dropped_segments_leave_the_sequences():
    index = filled()
    index.drop_before(2)
    assert list(index.partition(0).sequences) == [15]
    assert list(index.partition(0).offsets) == [2000]
    index.drop_before(3)
    assert index.partition(0).start(0) == index.next_sequence(0) == 16
    assert index.opening(3) == Opening(3, 300, ((0, 16),))


def test_an_opening_hands_on_the_sequences_and_the_time():
    index = LogIndex()
    index.begin(Opening(4, 900, ((1, 7), (2, 0))))
    assert index.last_ms == 900
    assert [index.next_sequence(partition) for partition in (0, 1, 2)] == [0, 7, 0]
    assert index.opening(4) == Opening(4, 900, ((1, 7), (2, 0)))


def test_looking_at_an_unknown_partition_does_not_make_it():
    index = LogIndex()
    assert index.partition(5).start(0) == 0
    assert index.opening(0).next_sequences == ()
