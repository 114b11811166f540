from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.flow.tally import Tally, tally

KEYS = ["a", "b", "a", "b", "a"]  # event 0 has key a, event 1 has key b, …


def count(*numbers, keys=KEYS):
    return tally(keys, array("q", numbers))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0, 1, 2, 3, 4), Tally(5, 0, 0, 0)),
        ((), Tally(0, 5, 0, 0)),
        ((0, 1), Tally(2, 3, 0, 0)),
        ((1, 3, 0, 2, 4), Tally(5, 0, 0, 0)),  # keys may overtake each other
        ((0, 0, 0), Tally(1, 4, 2, 0)),
        ((2, 0), Tally(2, 3, 0, 1)),
        ((4, 0, 2), Tally(3, 2, 0, 1)),  # a key counts once, however often it is out of order
        ((2, 0, 3, 1), Tally(4, 1, 0, 2)),
        ((0, 2, 0, 4), Tally(3, 2, 1, 0)),  # a repetition is no disorder
    ],
)
def test_a_receipt_is_counted(numbers, expected):
    assert count(*numbers) == expected


events = st.lists(st.sampled_from("abc"), max_size=30)


@given(events)
def test_all_events_in_order_are_perfect(keys):
    assert count(*range(len(keys)), keys=keys) == Tally(len(keys), 0, 0, 0)


@given(events.filter(bool), st.data())
def test_every_receipt_is_either_new_or_a_duplicate(keys, data):
    numbers = data.draw(st.lists(st.integers(0, len(keys) - 1)))
    found = count(*numbers, keys=keys)
    assert found.received == len(set(numbers))
    assert found.received + found.lost == len(keys)
    assert found.received + found.duplicates == len(numbers)


@given(events.filter(bool), st.data())
def test_a_restart_from_an_earlier_place_makes_duplicates_and_no_disorder(keys, data):
    stopped = data.draw(st.integers(0, len(keys)))
    resumed = data.draw(st.integers(0, stopped))
    found = count(*range(stopped), *range(resumed, len(keys)), keys=keys)
    assert found == Tally(len(keys), 0, stopped - resumed, 0)


@given(events, st.randoms(use_true_random=False))
def test_a_key_is_out_of_order_when_its_numbers_do_not_rise(keys, random):
    numbers = list(range(len(keys)))
    random.shuffle(numbers)
    expected = 0
    for key in set(keys):
        own = [number for number in numbers if keys[number] == key]
        expected += own != sorted(own)
    assert count(*numbers, keys=keys).out_of_order_keys == expected
