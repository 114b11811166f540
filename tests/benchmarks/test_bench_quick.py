"""The commands in their short form: real processes, TLS, and figures that add up.

Times are never asserted: they are the machine's.
"""

import os
import subprocess
import sys

import orjson
import pytest
from typer.testing import CliRunner

from benchmarks import whole
from benchmarks.__main__ import app
from benchmarks.environment import Cores
from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM
from benchmarks.processes import Embedded

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
    done = run(*arguments, "--quick", "--json", str(file))
    assert done.returncode == 0, done.stderr
    found = orjson.loads(file.read_bytes())
    assert found["command"] == arguments[0]
    assert found["environment"]["machine"]
    assert found["environment"]["commit"]
    assert isinstance(found["warnings"], list)
    assert found["measures"]
    return found, done


def costs(tmp_path, *arguments):
    """Run a command whose records the canned answerer counts too."""
    found, done = figures(tmp_path, *arguments)
    for case in found["cases"].values():
        for client in case.values():
            check(client, found["settings"]["rounds"])
    return found, done


def check(client, rounds):
    assert len(client["rounds"]) == rounds
    assert client["cpu_us_per_record"].keys() == {"median", "min", "max"}
    assert client["records_per_cpu_second"] > 0
    assert 0 < client["records_per_request"] <= 10_000
    for each in client["rounds"]:
        assert abs(each["records"] - each["answerer_records"]) <= each["slack"]
        assert each["records"] > 0
        assert each["cpu_user_s"] + each["cpu_system_s"] > 0


def test_peers_compares_aiodis_with_the_vendor_and_the_floor(tmp_path):
    pytest.importorskip("huaweicloudsdkdis")
    found, done = costs(tmp_path, "peers", "--sizes", "1024")
    assert found["cases"].keys() == {"put_1024", "get_1024"}
    for name, case in found["cases"].items():
        each = {"async for"} if name.startswith("get") else set()
        assert case.keys() == {"aiodis", "v3_sync", "floor"} | each
        assert case["v3_sync"]["records_per_request"] == (1_024 if each else 500)
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
    costs(tmp_path, *arguments, "--rate-limit", "off")
    found, done = costs(tmp_path, *arguments, "--against", str(tmp_path / "out.json"))
    assert [each["name"] for each in found["against"]] == ["put_100 rate_limit=off"]
    assert "Against the baseline" in done.stdout
    assert found["cases"]["put_100"].keys() == {"rate_limit=off", "rate_limit=fixed"}
    assert found["settings"]["auth"] == "token"


def test_get_reads_in_batches_and_one_by_one(tmp_path):
    pytest.importorskip("google.protobuf")
    found, _ = costs(tmp_path, "get", "--sizes", "100", "--wire", "protobuf", "--fetch", "200")
    (case,) = found["cases"].values()
    assert case.keys() == {"aiodis", "async for"}
    assert case["aiodis"]["records_per_request"] == 200
    assert found["ratios"]["get_100"].keys() == {"async_for"}


def test_put_takes_the_other_forms_of_requests(tmp_path):
    pytest.importorskip("google.protobuf")
    pytest.importorskip("cramjam")
    found, _ = costs(
        tmp_path,
        *("put", "--sizes", "100", "--rate-limit", "off", "--ordering", "key"),
        *("--wire", "protobuf", "--compression", "zstd"),
    )
    assert found["settings"]["compression"] == "zstd"


def test_put_goes_through_the_values_of_settings_and_draws_them(tmp_path):
    pytest.importorskip("matplotlib")
    found, done = costs(
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
    found, _ = costs(tmp_path, "floor", "--sizes", "1024", "--no-tls")
    assert found["cases"]["put_1024"]["floor"]["records_per_request"] == 500


def test_paced_keeps_its_timetable(tmp_path):
    found, _ = costs(tmp_path, "paced", "--rate", "5000", "--sample", "1", "--sizes", "100")
    (each,) = found["cases"]["paced_100"]["aiodis"]["rounds"]
    assert each["records"] == each["latency"]["samples"] == 5_000
    assert each["failed"] == 0
    assert each["latency"]["p50"] <= each["latency"]["p99"] <= each["latency"]["max"]


def test_paced_reads_no_faster_than_the_limits_let(tmp_path):
    found, _ = costs(tmp_path, "paced", "--work", "get", "--partitions", "3", "--no-tls")
    (each,) = found["cases"]["paced_get_1024"]["aiodis"]["rounds"]
    assert each["retried"] == 0
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


def test_latency_runs_from_when_a_record_was_due_to_its_handler(tmp_path):
    found, _ = figures(tmp_path, "latency", "--service-ms", "5", "--rates", "500")
    (each,) = found["cases"]["500/s"]["5 ms"]["rounds"]
    assert each["lost"] == each["failed"] == 0
    assert each["latency"]["samples"] == each["handler"]["samples"] == each["records"] == 500
    assert each["handler"]["max"] >= each["latency"]["p50"] >= 5


def test_an_account_is_shared_by_processes_without_loss(tmp_path):
    arguments = ("account", "--partitions", "3", "--processes", "2", "--no-tls")
    found, done = figures(tmp_path, *arguments)
    case, measures = found["cases"]["account"], found["measures"]
    assert case.keys() == {"write, 2 processes", "read, 2 processes"}
    assert measures["write, 2 processes failed"]["median"] == 0
    assert 1 / 3 <= measures["write, 2 processes fairness"]["median"] <= 1
    for what in ("write", "read"):
        (only,) = case[f"{what}, 2 processes"]["rounds"]
        parts = [each["records"] for each in only["processes"]]
        assert len(parts) == 2
        assert sum(parts) == only["records"] > 0
    assert "share of a core" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked of /proc")
def test_memory_is_followed_through_a_stall(tmp_path):
    arguments = ("memory", "--rate", "2000", "--buffer-mb", "1", "--no-tls")
    found, _ = figures(tmp_path, *arguments, "--seconds", "1.5")
    (each,) = found["cases"]["memory"]["aiodis"]["rounds"]
    assert each["failed"] == 0
    assert each["records"] == 3_000  # what the stall held up came later
    assert {name.split()[0] for name in found["measures"]} == {"load", "stall", "recovery"}


def test_the_embedded_server_is_measured_and_keeps_a_gigabyte(tmp_path):
    found, _ = figures(tmp_path, "server", "--sizes", "10000", "--partitions", "4")
    for name in ("put", "get"):
        assert found["measures"][f"{name} per CPU second"]["median"] > 0
    (memory,) = found["charts"]
    assert [at for at, _ in memory["series"]["resident"]] == [0, 0.25]


@pytest.fixture
def elsewhere(monkeypatch):
    """An embedded DIS in the place of the service, in the environment as users set it."""
    with Embedded.start(Cores(None, None), tls=False, in_memory=True) as embedded:
        whole._make_stream(embedded, 2)
        monkeypatch.setenv("AIODIS_ENDPOINT", embedded.endpoint)
        monkeypatch.setenv("AIODIS_PROJECT_ID", PROJECT)
        monkeypatch.setenv("HUAWEICLOUD_SDK_AK", ACCESS_KEY)
        monkeypatch.setenv("HUAWEICLOUD_SDK_SK", SECRET_KEY)
        yield embedded


def test_live_asks_keeps_its_cap_and_measures(tmp_path, elsewhere):
    runner = CliRunner()
    declined = runner.invoke(app, ["live", "--stream", STREAM, "--quick"], input="n\n")
    assert declined.exit_code == 1
    assert "400 records of 1024 B (0.4 MB) go to stream 'bench'" in declined.stderr
    assert "nothing was sent" in declined.stderr
    capped = runner.invoke(app, ["live", "--stream", STREAM, "--rate", "5000", "--yes"])
    assert capped.exit_code == 1
    assert "above --cap-mb 20" in capped.stderr
    missing = runner.invoke(app, ["live", "--stream", "another", "--quick", "--yes"])
    assert missing.exit_code == 1
    assert "DIS.4301" in missing.stderr
    assert whole._ends(elsewhere) == [0, 0]  # until here nothing was sent
    found, _ = figures(tmp_path, "live", "--stream", STREAM, "--yes", "--rate", "100")
    assert found["measures"]["lost"]["median"] == found["measures"]["failed"]["median"] == 0
    assert sum(whole._ends(elsewhere)) == 200  # a second of warming up, and one that counts
