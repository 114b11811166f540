"""The group drill: processes that are killed and stopped under load, and nothing is lost."""

import subprocess
import sys

import orjson
import pytest

PROMISES = (
    "failed",
    "missing",
    "skipped",
    "repeats_of_committed",
    "stale_commits",
    "early_commits",
)


def drill(tmp_path, *options: str, timeout: int) -> dict:
    report = tmp_path / "drill.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "group-drill", "--json", str(report), *options],
        capture_output=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    last = orjson.loads(done.stdout.splitlines()[-1])
    assert {name: last[name] for name in PROMISES} == dict.fromkeys(PROMISES, 0)
    assert last["broken"] == []
    assert last["overlaps"] <= last["after_waking"] <= 1
    assert last["handled"] == last["stored"] + last["repeats"] > last["sent"] // 2
    assert "16 -> 24 partitions" in said
    assert "24 -> 8 partitions" in said
    return last | orjson.loads(report.read_bytes())


def test_a_group_keeps_its_promises_while_processes_are_killed_and_stopped(tmp_path):
    found = drill(tmp_path, "--quick", timeout=110)
    assert found["took_s"]["the pause"] > found["plan"]["rebalance_timeout_ms"] / 1000


@pytest.mark.drill
def test_a_group_keeps_its_promises_for_minutes_at_20000_records_a_second(tmp_path):
    found = drill(tmp_path, timeout=1_200)
    assert found["took_s"]["the pause"] >= 90
    assert found["rate"] >= 19_000
