"""Rounds are compared pair by pair, and what is measured reaches the JSON."""

import dataclasses

import pytest

from benchmarks.environment import Cores, Environment
from benchmarks.harness import Contestant, Result, Round, disturbed, ratio, saturated
from benchmarks.job import Job, Measured
from benchmarks.latency import summary
from benchmarks.processes import Counts
from benchmarks.run import balanced_keys

JOB = Job(client="ours", work="put", endpoint="http://x", size=100, keys=["k"])


def result(*costs_us, wall_s=10.0, answerer_cpu_s=1.0):
    """One round for each cost, of a million records."""
    rounds = [
        Round(
            Measured(1_000_000, 2_000, cost * 0.75, cost * 0.25, wall_s, 1),
            Counts(2_000, 1_000_000, answerer_cpu_s),
        )
        for cost in costs_us
    ]
    return Result(Contestant("put_100", "aiodis", JOB), rounds)


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    # Rounds 1 and 3 ran on a machine half as fast: that is in both, and cancels out.
    found = ratio(result(8.0, 4.0, 8.0), result(4.0, 2.0, 2.0))
    assert (found.median, found.low, found.high) == (2.0, 2.0, 4.0)


def test_costs_are_medians_with_their_extremes():
    written = result(3.0, 1.0, 2.0).to_dict()
    assert written["cpu_us_per_record"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert written["records_per_cpu_second"] == 500_000
    assert written["records_per_request"] == 500.0
    assert [each["records"] for each in written["rounds"]] == [1_000_000] * 3


def test_an_answerer_that_is_the_bottleneck_is_told():
    assert saturated([result(1.0, wall_s=10, answerer_cpu_s=5)]) == []
    (warning,) = saturated([result(1.0, wall_s=10, answerer_cpu_s=9.5)])
    assert "95%" in warning


def test_a_client_that_had_to_share_its_core_is_told():
    calm = result(1.0, wall_s=10)
    assert disturbed([calm]) == []
    shared = dataclasses.replace(calm.rounds[0].measured, waited_s=3.0)
    (warning,) = disturbed(
        [Result(calm.contestant, [dataclasses.replace(calm.rounds[0], measured=shared)])]
    )
    assert "30% of the time" in warning


def test_a_job_is_the_same_after_the_way_to_its_child():
    assert Job.read(JOB.to_json()) == JOB


def test_a_window_of_large_records_fits_into_memory():
    assert JOB.window == 25_000
    assert dataclasses.replace(JOB, size=1024 * 1024).window == 32


def test_payloads_are_of_the_size_asked_for_and_not_all_the_same():
    payloads = JOB.payloads()
    assert {len(payload) for payload in payloads} == {100}
    assert len(set(payloads)) == len(payloads) > 1_000
    assert payloads == JOB.payloads()


@pytest.mark.parametrize("partitions", [1, 7, 50])
def test_keys_fill_all_partitions_alike(partitions):
    from aiodis.wire.routing import PartitionMap, even_ranges, hash_key

    where = PartitionMap(enumerate(even_ranges(partitions)))
    keys = balanced_keys(partitions)
    assert len(set(keys)) == len(keys) == 1_000 // partitions * partitions
    counts = [0] * partitions
    for key in keys:
        counts[where.find(hash_key(key))] += 1
    assert len(set(counts)) == 1


def test_percentiles_are_in_milliseconds():
    found = summary(n / 1000 for n in range(1, 1001))
    assert found["samples"] == 1000
    assert found["p50"] == pytest.approx(500, rel=0.01)
    assert found["p99"] == pytest.approx(990, rel=0.01)
    assert found["max"] == pytest.approx(1000, rel=0.01)


def test_a_busy_machine_and_cores_that_cannot_be_held_are_warned_of():
    quiet = dataclasses.replace(Environment.now(), cores=4, load_before=0.5)
    assert quiet.warnings(Cores(1, 0)) == []
    busy = dataclasses.replace(quiet, load_before=3.0)
    assert "busy" in busy.warnings(Cores(1, 0))[0]
    assert "core" in quiet.warnings(Cores(None, None))[0]


def test_the_environment_says_what_was_measured():
    found = Environment.now().to_dict()
    assert found["commit"]
    assert found["libraries"]["aiohttp"]
    assert len(found["machine"]) == 12
    assert found["cores"] >= 1
