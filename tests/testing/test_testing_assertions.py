"""The assertions for users: what they let pass, and what they say of the rest."""

import pytest

from aiodis.errors import RecordError
from aiodis.producer import Receipt
from aiodis.record import ReceivedRecord, RecordMetadata, partition_name
from aiodis.testing import (
    assert_delivered,
    assert_key_order,
    assert_no_duplicates,
    assert_no_gaps,
)


def record(number, data=b"x", key=None, partition=0):
    return ReceivedRecord(number, data, key, partition_id=partition_name(partition))


def receipt(outcome=None):
    found = Receipt()
    if outcome is not None:
        found._resolve(outcome)
    return found


def place(number, partition=0):
    return RecordMetadata(partition_name(partition), number)


def test_what_is_where_its_receipt_says_is_delivered():
    there = [record(0, b"a"), record(1, b"b"), record(0, b"c", partition=1)]
    assert_delivered(there, [(place(0), b"a"), (receipt(place(0, 1)), b"c")])


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ((place(2), b"c"), "b'c' is not in partition shardId-0000000000, sequence number 2"),
        ((place(1), b"c"), "b'c' is b'b' in partition shardId-0000000000, sequence number 1"),
        ((receipt(), b"c"), "b'c' has no outcome yet"),
        ((receipt(RecordError("too late")), b"c"), "b'c' failed: too late"),
    ],
)
def test_what_is_not_delivered_is_named_with_its_place(sent, says):
    with pytest.raises(AssertionError) as caught:
        assert_delivered([record(0, b"a"), record(1, b"b")], [(place(0), b"a"), sent])
    assert str(caught.value) == f"1 of 2 records are not delivered:\n  {says}"


def test_no_more_than_five_are_named_and_long_data_are_cut():
    with pytest.raises(AssertionError) as caught:
        assert_delivered([], [(place(number), b"y" * 100) for number in range(9)])
    lines = str(caught.value).splitlines()
    assert lines[0] == "9 of 9 records are not delivered:"
    assert len(lines) == 7
    assert lines[-1] == "  and 4 more"
    assert max(map(len, lines)) < 120


def test_the_order_of_a_key_is_that_of_sending_and_repetitions_do_not_count():
    sent = [("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b"3")]
    there = [record(n, data, "a") for n, data in enumerate([b"1", b"2", b"1", b"3", b"other"])]
    assert_key_order([*there, record(9, b"1", "b"), record(10, b"z")], sent)


def test_a_key_out_of_order_and_a_missing_record_are_named():
    sent = [("a", b"1"), ("a", b"2"), ("b", b"1"), ("b", b"2")]
    there = [record(0, b"2", "a"), record(1, b"1", "a"), record(2, b"1", "b")]
    with pytest.raises(AssertionError) as caught:
        assert_key_order(there, sent)
    assert str(caught.value).splitlines() == [
        "2 of 2 keys are out of order:",
        "  key 'a': b'1' comes after b'2'",
        "  key 'b': b'2' is missing",
    ]
    assert_key_order(there[2:], sent[2:], complete=False)


def test_gaps_are_within_a_partition_only():
    assert_no_gaps([record(7), record(5), record(6), record(6), record(0, partition=1)])
    with pytest.raises(AssertionError, match="shardId-0000000001: 2 is followed by 4"):
        assert_no_gaps([record(n, partition=1) for n in (1, 2, 4)])


def test_duplicates_are_by_place_or_by_whatever_is_said():
    assert_no_duplicates([record(0), record(1), record(0, partition=1)])
    with pytest.raises(AssertionError, match="shardId-0000000000, sequence number 1 2 times"):
        assert_no_duplicates([record(0), record(1), record(1)])
    with pytest.raises(AssertionError, match="b'x' 3 times"):
        assert_no_duplicates([record(0), record(1), record(2)], by=lambda r: r.data)
