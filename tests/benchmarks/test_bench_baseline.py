"""A result is compared with one of the same machine and command, and with no other."""

import orjson
import pytest

from benchmarks.baseline import baseline_path, compare, read_baseline
from benchmarks.processes import BenchmarkError


def document(machine="here", command="put", settings=None, warnings=(), **measures):
    return {
        "command": command,
        "environment": {"machine": machine, "commit": "abc"},
        "settings": settings or {},
        "warnings": list(warnings),
        "measures": {
            name: {"unit": "µs", "better": better, "median": median, "min": low, "max": high}
            for name, (better, median, low, high) in measures.items()
        },
    }


def kept(tmp_path, **kinds):
    file = tmp_path / "result.json"
    file.write_bytes(orjson.dumps(document(**kinds)))
    return file


def test_a_result_of_another_machine_is_refused(tmp_path):
    with pytest.raises(BenchmarkError, match="another machine"):
        read_baseline(kept(tmp_path, machine="there"), "here", "put")


def test_a_result_of_another_command_is_refused(tmp_path):
    with pytest.raises(BenchmarkError, match="a result of 'get', not of 'put'"):
        read_baseline(kept(tmp_path, command="get"), "here", "put")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"command": "put"}', b"\xff"])
def test_a_file_that_is_no_result_is_refused(tmp_path, content):
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(BenchmarkError, match="is no result"):
        read_baseline(tmp_path / "file.json", "here", "put")


def test_a_folder_has_a_file_for_each_machine_and_command(tmp_path):
    assert baseline_path(tmp_path, "here", "put") == tmp_path / "here-put.json"
    with pytest.raises(BenchmarkError, match=r"here-put\.json: No such file"):
        read_baseline(tmp_path, "here", "put")
    (tmp_path / "here-put.json").write_bytes(orjson.dumps(document()))
    assert read_baseline(tmp_path, "here", "put")["command"] == "put"


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (("lower", 10, 9, 11), ("lower", 10.9, 10.8, 12), "same"),  # the ranges meet
        (("lower", 10, 9, 11), ("lower", 13, 12, 14), "worse"),
        (("lower", 10, 9, 11), ("lower", 7, 6, 8), "better"),
        (("higher", 10, 9, 11), ("higher", 7, 6, 8), "worse"),
        (("higher", 10, 9, 11), ("higher", 13, 12, 14), "better"),
        (("lower", 10, 10, 10), ("lower", 10.2, 10.2, 10.2), "same"),  # one round each
    ],
)
def test_a_change_is_one_when_the_ranges_do_not_meet(then, now, verdict):
    (change,), warnings = compare(document(cost=then), document(cost=now))
    assert change.verdict == verdict
    assert change.percent == pytest.approx((now[1] / then[1] - 1) * 100)
    assert warnings == []


def test_settings_that_differ_are_told_but_for_the_rounds():
    then = document(settings={"rounds": 5, "partitions": 10}, cost=("lower", 1, 1, 1))
    now = document(settings={"rounds": 3, "partitions": 50}, cost=("lower", 1, 1, 1))
    assert compare(then, now)[1] == ["partitions was 10 in the baseline, and is 50"]


def test_a_baseline_that_shares_no_measure_or_was_disturbed_is_told():
    changes, warnings = compare(
        document(warnings=["busy"], other=("lower", 1, 1, 1)), document(cost=("lower", 1, 1, 1))
    )
    assert changes == []
    assert "busy" in warnings[0]
    assert "none of these" in warnings[1]
