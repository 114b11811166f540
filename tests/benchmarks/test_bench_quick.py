"""The commands in their short form: real processes, TLS, and figures that add up.

Times are never asserted: they are the machine's.
"""

import os
import subprocess
import sys

import orjson
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app

pytest.importorskip("trustme")
pytest.importorskip("hdrh")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
    )


def figures(tmp_path, *arguments):
    file = tmp_path / "out.json"
    done = run(*arguments, "--quick", "--rounds", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    found = orjson.loads(file.read_bytes())
    assert found["command"] == arguments[0]
    assert found["environment"]["machine"]
    assert found["environment"]["commit"]
    assert isinstance(found["warnings"], list)
    for case in found["cases"].values():
        for client in case.values():
            check(client, found["settings"]["rounds"])
    return found, done


def check(client, rounds):
    assert len(client["rounds"]) == rounds
    assert client["cpu_us_per_record"].keys() == {"median", "min", "max"}
    assert client["records_per_cpu_second"] > 0
    assert 0 < client["records_per_request"] <= 1_000
    for each in client["rounds"]:
        assert abs(each["records"] - each["answerer_records"]) <= each["slack"]
        assert each["records"] > 0
        assert each["cpu_user_s"] + each["cpu_system_s"] > 0


def test_peers_compares_aiodis_with_the_vendor_and_the_floor(tmp_path):
    pytest.importorskip("huaweicloudsdkdis")
    found, done = figures(tmp_path, "peers", "--sizes", "1024")
    assert found["cases"].keys() == {"put_1024", "get_1024"}
    for name, case in found["cases"].items():
        each = {"async for"} if name.startswith("get") else set()
        assert case.keys() == {"aiodis", "v3_sync", "floor"} | each
        assert case["v3_sync"]["records_per_request"] == (1_000 if each else 500)
    assert found["ratios"].keys() == found["cases"].keys()
    for case, row in found["ratios"].items():
        each = {"async_for"} if case.startswith("get") else set()
        assert row.keys() == {"v3_sync", "floor"} | each
        for name, times in row.items():
            spread = found["spreads"][case][name]
            assert 0 < spread["min"] <= times <= spread["max"]
    assert "v3_sync over aiodis" in done.stdout
    assert "round 1" in done.stderr  # progress, also where there is no terminal


def test_put_measures_each_setting(tmp_path):
    arguments = ("put", "--sizes", "100", "--auth", "token", "--partitions", "20")
    figures(tmp_path, *arguments, "--rate-limit", "off")
    found, done = figures(tmp_path, *arguments, "--against", str(tmp_path / "out.json"))
    assert [each["name"] for each in found["against"]] == ["put_100 rate_limit=off"]
    assert "Against the baseline" in done.stdout
    assert found["cases"]["put_100"].keys() == {"rate_limit=off", "rate_limit=fixed"}
    assert found["settings"]["auth"] == "token"


def test_get_reads_in_batches_and_one_by_one(tmp_path):
    pytest.importorskip("google.protobuf")
    found, _ = figures(tmp_path, "get", "--sizes", "100", "--wire", "protobuf", "--fetch", "200")
    (case,) = found["cases"].values()
    assert case.keys() == {"aiodis", "async for"}
    assert case["aiodis"]["records_per_request"] == 200
    assert found["ratios"]["get_100"].keys() == {"async_for"}


def test_put_takes_the_other_forms_of_requests(tmp_path):
    pytest.importorskip("google.protobuf")
    pytest.importorskip("cramjam")
    found, _ = figures(
        tmp_path,
        *("put", "--sizes", "100", "--rate-limit", "off", "--ordering", "key"),
        *("--wire", "protobuf", "--compression", "zstd"),
    )
    assert found["settings"]["compression"] == "zstd"


def test_put_goes_through_the_values_of_settings_and_draws_them(tmp_path):
    pytest.importorskip("matplotlib")
    found, done = figures(
        tmp_path,
        *("put", "--sizes", "100", "--seconds", "0.05", "--vary", "auth"),
        *("--plot", str(tmp_path / "out.png")),
    )
    assert found["cases"]["put_100"].keys() == {"auth=aksk", "auth=token"}
    (bars,) = found["charts"]
    assert [x for x, _ in bars["series"]["put_100"]] == ["aksk", "token"]
    assert (tmp_path / "out.html").stat().st_size > 10_000
    assert "out.png" in done.stdout


def test_floor_runs_without_tls_too(tmp_path):
    found, _ = figures(tmp_path, "floor", "--sizes", "1024", "--no-tls")
    assert found["cases"]["put_1024"]["floor"]["records_per_request"] == 500


def test_paced_keeps_its_timetable(tmp_path):
    found, _ = figures(tmp_path, "paced", "--rate", "5000", "--sample", "1", "--sizes", "100")
    (each,) = found["cases"]["paced_100"]["aiodis"]["rounds"]
    assert each["records"] == each["latency"]["samples"] == 5_000
    assert each["failed"] == 0
    assert each["latency"]["p50"] <= each["latency"]["p99"] <= each["latency"]["max"]


def test_paced_reads_no_faster_than_the_limits_let(tmp_path):
    found, _ = figures(tmp_path, "paced", "--work", "get", "--partitions", "3", "--no-tls")
    (each,) = found["cases"]["paced_get_1024"]["aiodis"]["rounds"]
    assert each["failed"] == 0
    # 3 partitions of 2 MiB a second; what was let go before the watch started may come late.
    assert each["records"] * 1024 / each["wall_s"] < 2 * 3 * 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["put", "--sizes", "many"], "is not numbers"),
        (["put", "--sizes", "0"], "1 to 1048576 bytes"),
        (["put", "--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["put", "--plot", "/nowhere/at/all.png"], "there is no folder /nowhere/at"),
        (["get", "--against", "/nowhere/at/all.json"], "No such file"),
        (["put", "--vary", "size,colour"], "'colour' is not varied"),
        (["peers", "--peers", "v3_sync,kafka"], "there is no peer 'kafka'"),
        (["put", "--rounds", "0"], "--rounds"),
        (["paced", "--work", "both"], "one at a time"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(arguments, said):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code not in {0, None}
    assert said in " ".join(done.stderr.split())
    assert done.exception is None or isinstance(done.exception, SystemExit)
