import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.wire.routing import (
    MAX_HASH,
    HashRange,
    PartitionMap,
    even_ranges,
    hash_key,
    parse_range,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/routing.json").read_text("utf-8"))
each_key = pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda v: v["key"])
counts = st.integers(1, 500)
hashes = st.integers(0, MAX_HASH)


def even_map(count):
    return PartitionMap(enumerate(even_ranges(count)))


def as_the_sdk_divides(hashed, count):
    """The vendor's rule, with its index past the end cut down to the last partition."""
    average = MAX_HASH // count
    index = hashed // average
    if index > 0 and hashed % average == 0:
        index -= 1
    return min(index, count - 1)


@each_key
def test_a_key_hashes_as_the_vendors_sdk_does(vector):
    assert hash_key(vector["key"]) == vector["hash"]


@each_key
@pytest.mark.parametrize("count", [3, 5])
def test_a_key_goes_to_the_partition_of_the_vendors_sdk(vector, count):
    assert even_map(count).find(hash_key(vector["key"])) == vector[f"of_{count}"]


@given(hashes, counts)
def test_any_hash_goes_to_the_partition_of_the_vendors_sdk(hashed, count):
    assert even_map(count).find(hashed) == as_the_sdk_divides(hashed, count)


@given(st.integers(0, 499), st.integers(-1, 1), counts)
def test_a_hash_at_a_boundary_goes_to_the_partition_of_the_vendors_sdk(index, beside, count):
    hashed = min(max(MAX_HASH // count * index + beside, 0), MAX_HASH)
    assert even_map(count).find(hashed) == as_the_sdk_divides(hashed, count)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 50])
def test_the_top_hash_goes_to_the_last_partition(count):
    assert even_map(count).find(MAX_HASH) == count - 1
    assert even_map(count).find(0) == 0


@given(st.text())
def test_a_hash_is_never_negative_nor_past_the_top(key):
    assert 0 <= hash_key(key) <= MAX_HASH


@given(counts)
def test_the_ranges_cover_every_hash_without_overlap(count):
    ranges = even_ranges(count)
    assert len(ranges) == count
    assert ranges[0].first == 0
    assert ranges[-1].last == MAX_HASH
    assert all(left.last + 1 == right.first for left, right in pairwise(ranges))
    assert all(span.first <= span.last for span in ranges)


@given(counts, st.data())
def test_a_hash_is_found_in_the_range_that_holds_it(count, data):
    ranges = even_ranges(count)
    index = data.draw(st.integers(0, count - 1))
    hashed = data.draw(st.integers(*ranges[index]))
    assert PartitionMap(enumerate(ranges)).find(hashed) == index


def test_partitions_may_come_in_any_order_and_keep_their_numbers():
    spans = PartitionMap([(7, HashRange(11, MAX_HASH)), (4, HashRange(0, 10))])
    assert (spans.find(10), spans.find(11), spans.find(MAX_HASH)) == (4, 7, 7)


@given(counts)
def test_a_range_is_read_back_as_the_service_writes_it(count):
    for span in even_ranges(count):
        assert parse_range(f"[{span.first} : {span.last}]") == span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[0 : 9223372036854775807]", (0, MAX_HASH)),
        ("[289911 : 289927]", (289911, 289927)),
        ("[0 : 0]", (0, 0)),
        ("[0:5]", (0, 5)),
        ("  [ 0 :  5 ] ", (0, 5)),
        ("[-1 : 5]", (-1, 5)),
        (None, None),
        ("", None),
        ("scaling in progress", None),
        ("[null : null]", None),
        ("[0 : ]", None),
        ("[0 - 5]", None),
        ("[0 : 5] x", None),
    ],
)
def test_a_range_is_read_and_what_is_none_is_none(text, expected):
    assert parse_range(text) == expected
