from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.api.streams import Partition
from aiodis.producer.router import Router
from aiodis.record import partition_name
from aiodis.wire.routing import MAX_HASH, even_ranges, hash_key


def partition(number, span=None, *, status="ACTIVE"):
    text = span if span is None or isinstance(span, str) else f"[{span[0]} : {span[1]}]"
    return Partition(partition_id=partition_name(number), status=status, hash_range=text)


def even(*numbers):
    spans = even_ranges(len(numbers))
    return [partition(number, span) for number, span in zip(numbers, spans, strict=True)]


class TestPrecedence:
    ROUTER = Router(even(0, 1, 2))

    def test_a_partition_id_beats_a_hash_and_a_hash_beats_a_key(self):
        assert hash_key("a") < MAX_HASH // 3  # the key alone goes to partition 0
        assert self.ROUTER.route("a", None, None) == 0
        assert self.ROUTER.route("a", MAX_HASH, None) == 2
        assert self.ROUTER.route("a", MAX_HASH, "1") == 1

    @pytest.mark.parametrize("text", ["1", "shardId-0000000001"])
    def test_a_partition_id_is_read_in_both_forms(self, text):
        assert self.ROUTER.route(None, None, text) == 1

    def test_a_partition_id_is_obeyed_even_where_the_map_lacks_it(self):
        assert self.ROUTER.route(None, None, "7") == 7  # the service has the last word

    def test_a_hash_of_zero_is_a_hash(self):
        assert self.ROUTER.route("hello", None, None) == 2
        assert self.ROUTER.route("hello", 0, None) == 0

    def test_an_empty_key_is_a_key(self):
        assert len({self.ROUTER.route("", None, None) for _ in range(10)}) == 1


class TestSpreading:
    def test_records_with_nothing_to_go_by_take_turns(self):
        router = Router(even(4, 2, 9))
        found = Counter(router.route(None, None, None) for _ in range(30))
        assert found == {2: 10, 4: 10, 9: 10}

    def test_keyed_records_take_no_turn(self):
        router = Router(even(0, 1))
        turns = []
        for _ in range(6):
            turns.append(router.route(None, None, None))
            router.route("a", None, None)
        assert Counter(turns) == {0: 3, 1: 3}


class TestMaps:
    @given(st.text(), st.integers(1, 20))
    def test_a_key_goes_where_its_hash_goes_also_the_second_time(self, key, count):
        router = Router(even(*range(count)))
        expected = router.route(None, hash_key(key), None)
        assert router.route(key, None, None) == router.route(key, None, None) == expected

    def test_the_services_own_ranges_are_followed(self):
        router = Router([partition(0, (101, MAX_HASH)), partition(1, (0, 100))])
        assert router.route(None, 100, None) == 1
        assert router.route(None, 101, None) == 0

    @pytest.mark.parametrize("text", [None, "", "scaling in progress", "[null : null]"])
    def test_without_ranges_the_partitions_divide_evenly_in_the_order_of_their_numbers(self, text):
        numbers = [10, 2, 7]
        router = Router([partition(number, text) for number in numbers])
        for number, span in zip(sorted(numbers), even_ranges(3), strict=True):
            assert router.route(None, span.first, None) == number
            assert router.route(None, span.last, None) == number

    def test_one_unreadable_range_makes_all_of_them_doubtful(self):
        router = Router([partition(0, (0, 5)), partition(1, "scaling in progress")])
        assert router.route(None, 6, None) == 0
        assert router.route(None, MAX_HASH, None) == 1

    def test_only_active_partitions_get_records(self):
        router = Router(
            [
                partition(0, (0, MAX_HASH)),
                partition(1, (0, MAX_HASH), status="DELETED"),
                partition(2, None, status="EXPIRED"),
                partition(3, None, status="CREATING"),
            ]
        )
        assert router.active == [0]
        assert router.names == {0: "shardId-0000000000"}
        assert {router.route(None, None, None) for _ in range(5)} == {0}

    @pytest.mark.parametrize("partitions", [[], [partition(0, (0, 5), status="EXPIRED")]])
    def test_a_stream_without_an_active_partition_has_no_map(self, partitions):
        with pytest.raises(ValueError, match="the stream has no ACTIVE partition"):
            Router(partitions)

    def test_a_partition_is_known_in_both_forms_of_its_id(self):
        router = Router([Partition(partition_id="3", hash_range=f"[0 : {MAX_HASH}]")])
        assert router.active == [3]
