"""Scaling as numbers: the partitions afterwards, the hourly limits, the triggers of load."""

import pytest

from aiodis.api.limits import limits_of
from aiodis.server.auto_scale import Load, load_of, target_of
from aiodis.server.scaling import HOUR_MS, next_allowed_ms, partitions_after
from aiodis.server.storage.catalog import PartitionRow, ScalingRow
from aiodis.server.traffic import Flow, Minute

NOW_MS = 1_700_000_000_000
MIB = 2**20
COMMON = limits_of("COMMON")


def rows(statuses):
    names = {"A": "ACTIVE", "D": "DELETED", "E": "EXPIRED"}
    return [PartitionRow(names[status], 0 if status == "A" else 5) for status in statuses]


class TestPartitionsAfter:
    @pytest.mark.parametrize(
        ("before", "target", "after"),
        [
            ("AAA", 8, "AAAAAAAA"),
            ("AAAA", 2, "AADD"),
            ("AADD", 1, "ADDD"),
            ("ADED", 2, "AAED"),
            ("ADED", 3, "AAEA"),  # all DELETED ones come back before any EXPIRED one
            ("ADED", 4, "AAAA"),
            ("ADED", 6, "AAAAAA"),
            ("DAEA", 1, "DAED"),
        ],
    )
    def test_down_takes_the_highest_and_up_brings_back_before_it_makes(self, before, target, after):
        found = partitions_after(rows(before), target, NOW_MS)
        assert "".join(row.status[0] for row in found) == after

    def test_a_partition_knows_when_it_was_deleted_until_it_comes_back(self):
        down = partitions_after(rows("AAD"), 1, NOW_MS)
        assert [row.deleted_ms for row in down] == [0, NOW_MS, 5]
        assert [row.deleted_ms for row in partitions_after(down, 2, NOW_MS + 1)] == [0, 0, 5]


class TestHourlyLimits:
    @pytest.mark.parametrize(
        ("kind", "scaling", "most"),
        [
            ("automatic scale-up", ScalingRow(0, 1, 2, is_auto=True), 10),
            ("manual scale-up", ScalingRow(0, 1, 2), 10),
            ("scale-down", ScalingRow(0, 2, 1), 1),
            ("scale-down", ScalingRow(0, 2, 1, is_auto=True), 1),
        ],
    )
    def test_the_documented_number_fits_into_an_hour_that_moves_on(self, kind, scaling, most):
        done = [
            ScalingRow(NOW_MS + n, scaling.source, scaling.target, scaling.is_auto)
            for n in range(most)
        ]
        assert next_allowed_ms(done[1:], kind, NOW_MS + 20) == NOW_MS + 20
        assert next_allowed_ms(done, kind, NOW_MS + 20) == NOW_MS + HOUR_MS
        assert next_allowed_ms(done, kind, NOW_MS + HOUR_MS - 1) == NOW_MS + HOUR_MS
        assert next_allowed_ms(done, kind, NOW_MS + HOUR_MS) == NOW_MS + HOUR_MS

    def test_each_kind_has_a_number_of_its_own_and_failures_do_not_count(self):
        scalings = [ScalingRow(NOW_MS, 1, 2)] * 10 + [ScalingRow(NOW_MS, 2, 1, is_done=False)]
        assert next_allowed_ms(scalings, "manual scale-up", NOW_MS) > NOW_MS
        assert next_allowed_ms(scalings, "automatic scale-up", NOW_MS) == NOW_MS
        assert next_allowed_ms(scalings, "scale-down", NOW_MS) == NOW_MS


class TestTriggers:
    @pytest.mark.parametrize(
        ("count", "target"), [(1, 2), (2, 4), (3, 5), (5, 9), (6, 10), (10, 17), (12, 20)]
    )
    def test_up_is_to_the_count_divided_by_six_tenths_and_rounded_up(self, count, target):
        assert target_of(Load(0.81, 0.0, is_throttled=True), count, 1, 1000) == target

    @pytest.mark.parametrize(("count", "target"), [(2, 1), (3, 1), (5, 2), (9, 4), (1, None)])
    def test_down_is_to_the_half_rounded_down(self, count, target):
        assert target_of(Load(0.29, 0.29, is_throttled=False), count, 1, 1000) == target

    @pytest.mark.parametrize(
        "load",
        [
            Load(0.80, 0.0, is_throttled=True),  # not more than 80 %
            Load(0.95, 0.0, is_throttled=False),  # full, but nothing was refused
            Load(0.30, 0.0, is_throttled=False),  # not less than 30 %
            Load(0.0, 0.30, is_throttled=False),
            Load(0.5, 0.9, is_throttled=True),
        ],
    )
    def test_between_the_triggers_nothing_happens(self, load):
        assert target_of(load, 4, 1, 1000) is None

    def test_the_bounds_of_the_stream_hold(self):
        up, down = Load(1.0, 0.0, is_throttled=True), Load(0.0, 0.0, is_throttled=False)
        assert target_of(up, 5, 1, 6) == 6
        assert target_of(up, 5, 1, 5) is None
        assert target_of(up, 5, 1, 3) is None
        assert target_of(down, 5, 4, 9) == 4
        assert target_of(down, 5, 5, 9) is None
        assert target_of(down, 5, 7, 9) is None


class TestLoad:
    def test_an_idle_minute_has_none(self):
        assert load_of(None, [0, 1], COMMON) == (0, 0, False)
        assert load_of(Minute(), [0, 1], COMMON) == (0, 0, False)

    def test_the_share_is_of_what_all_active_partitions_may_take_in_the_minute(self):
        minute = Minute()
        minute.flows[0] = Flow(records_in=60, bytes_in=60 * MIB, bytes_out=60 * MIB)
        minute.flows[3] = Flow(bytes_in=60 * MIB, bytes_out=120 * MIB)
        assert load_of(minute, [0, 1], COMMON) == (0.5, 0.25, False)
        assert load_of(minute, [0, 3], COMMON) == (1.0, 0.75, False)

    def test_many_small_records_are_a_load_too(self):
        minute = Minute()
        minute.flows[0] = Flow(records_in=54_000, bytes_in=54_000)
        assert load_of(minute, [0], COMMON).share_in == 0.9

    @pytest.mark.parametrize("flow", [Flow(throttled_in=1), Flow(throttled_out=1)])
    def test_a_refusal_in_any_active_partition_counts(self, flow):
        minute = Minute()
        minute.flows[1] = flow
        assert load_of(minute, [0, 1], COMMON).is_throttled
        assert not load_of(minute, [0], COMMON).is_throttled
