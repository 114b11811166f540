"""What a server begins with: from a file or a mapping, as a whole or not at all."""

import json
import subprocess
import sys
from base64 import b64decode

import pytest
from server_caller import START_MS, calling

from aiodis.server import LocalDIS, SeedError, StateError

TASK = {"task_name": "t", "agency_name": "a", "obs_bucket_path": "bucket"}
TASK |= {"deliver_time_interval": 60, "consumer_strategy": "TRIM_HORIZON"}
SEED = {
    "streams": [
        {
            "stream_name": "s",
            "partition_count": 2,
            "tags": [{"key": "team", "value": "shop"}],
            "records": [
                {"data": "one", "partition_id": "0"},
                {"base64": "dHdv", "partition_id": "0", "timestamp": 5},
                {"json": {"n": None}, "partition_id": "1"},
            ],
            "policies": [{"principal_name": "mill.*", "action_type": "putRecords"}],
            "transfer_tasks": [
                {"destination_type": "OBS", "obs_destination_descriptor": TASK},
            ],
        },
        {"stream_name": "empty", "partition_count": 1},
    ],
    "apps": [{"app_name": "billing"}],
    "checkpoints": [
        {
            "app_name": "billing",
            "stream_name": "s",
            "partition_id": "0",
            "sequence_number": "1",
        }
    ],
}
LINES = "\n".join(
    map(
        json.dumps,
        [
            {"stream": {"stream_name": "s", "partition_count": 2}},
            {"record": {"stream_name": "s", "data": "one", "partition_id": "0"}},
            {"app": {"app_name": "billing"}},
            {"record": {"stream_name": "s", "base64": "dHdv", "partition_id": "0"}},
        ],
    )
)
TOML = """
apps = [{ app_name = "billing" }]

[[streams]]
stream_name = "s"
partition_count = 2
records = [
  { data = "one", partition_id = "0" },
  { base64 = "dHdv", partition_id = "0" },
]
"""


async def data(dis, partition="0"):
    return [b64decode(r["data"]) for r in await dis.read_all(partition_id=partition)]


async def test_a_seed_is_there_from_the_first_request_on(tmp_path, clock):
    async with calling(clock=clock, seed=SEED) as dis:
        assert (await dis.call("GET", "streams"))["stream_names"] == ["empty", "s"]
        assert await data(dis) == [b"one", b"two"]
        assert await data(dis, "1") == [b'{"n":null}']
        stream = await dis.describe()
        assert stream["tags"] == [{"key": "team", "value": "shop"}]
        assert stream["create_time"] == START_MS
        commit = {"app_name": "billing", "stream_name": "s", "partition_id": "0"}
        commit |= {"checkpoint_type": "LAST_READ"}
        assert (await dis.call("GET", "checkpoints", commit))["sequence_number"] == "1"
        rules = (await dis.call("GET", "streams/s/policies"))["rules"]
        assert [rule["principal_name"] for rule in rules] == ["mill.*"]
        assert dis.server.buckets.names() == ["bucket"]
        clock.advance(minutes=1)
        assert dis.server.buckets.files("bucket")


@pytest.mark.parametrize(
    ("name", "text"),
    [("seed.json", json.dumps(SEED)), ("seed.jsonl", LINES), ("seed.toml", TOML)],
)
async def test_a_seed_is_read_from_three_kinds_of_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    async with calling(seed=tmp_path / name) as dis:
        assert await data(dis) == [b"one", b"two"]
        assert (await dis.call("GET", "apps"))["total_number"] == 1


async def test_a_reset_sows_the_seed_anew(clock):
    async with calling(clock=clock, seed=SEED, limits=False) as dis:
        await dis.call("DELETE", "apps/billing", status=204)
        await dis.create("third")
        clock.advance(hours=30)  # longer than retention
        dis.server.reset()
        assert (await dis.call("GET", "streams"))["stream_names"] == ["empty", "s"]
        assert await data(dis) == [b"one", b"two"]
        assert (await dis.call("GET", "apps"))["total_number"] == 1


async def test_a_seed_does_not_touch_what_a_data_folder_holds(tmp_path):
    async with calling(tmp_path / "data", seed=SEED) as dis:
        await dis.call("DELETE", "streams/empty", status=204)
    async with calling(tmp_path / "data", seed=SEED) as dis:
        assert (await dis.call("GET", "streams"))["stream_names"] == ["s"]
        assert await data(dis) == [b"one", b"two"]
        assert dis.server.recovery == ()


async def test_a_seed_is_under_no_limit_and_put_in_as_many_requests_as_it_takes():
    records = [{"data": "x" * 900_000, "partition_id": "0"} for _ in range(8)]
    records += [{"data": str(n), "partition_id": "0"} for n in range(1200)]
    stream = {"stream_name": "s", "partition_count": 60, "records": records}
    async with calling(seed={"streams": [stream]}) as dis:
        page = await dis.describe(limit_partitions=100)
        assert page["partitions"][0]["sequence_number_range"] == "[0 : 1208]"


async def test_a_seed_is_added_while_the_server_runs(tmp_path):
    async with calling(tmp_path / "data", limits=False) as dis:
        await dis.create("before")
        cursor = await dis.cursor(stream_name="before")
        dis.server.seed(SEED)
        assert (await dis.call("GET", "streams"))["stream_names"] == ["before", "empty", "s"]
        assert await data(dis) == [b"one", b"two"]
        await dis.get(cursor)  # what was there goes on
        before = dis.server.snapshot()
        with pytest.raises(SeedError, match="the seed: there is a stream 's' already"):
            dis.server.seed(SEED)
        with pytest.raises(SeedError, match="there is an app 'billing' already"):
            dis.server.seed({"apps": [{"app_name": "new"}, {"app_name": "billing"}]})
        with pytest.raises(StateError, match="'none'"):
            dis.server.seed({}, "none")
        assert dis.server.snapshot() == before
    async with calling(tmp_path / "data", limits=False) as dis:
        assert await data(dis) == [b"one", b"two"]


STREAM = {"stream_name": "s", "partition_count": 1}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"stream": []}, r"stream: Extra inputs .*"),
        ({"streams": [{"partition_count": 1}]}, r"streams\[0\]\.stream_name: Field required"),
        ({"streams": [STREAM, STREAM]}, r"streams\[1\]: .*already exists.*\(DIS\.4307\)"),
        (
            {"streams": [{**STREAM, "records": [{"data": "a"}, {"data": "a", "json": 1}]}]},
            r"streams\[0\]\.records\[1\]: it needs one of data, base64 and json",
        ),
        (
            {"streams": [{**STREAM, "records": [{"base64": "?"}]}]},
            r"streams\[0\]\.records\[0\]: .*",
        ),
        (
            {"streams": [{**STREAM, "records": [{"data": ""}]}]},
            r"streams\[0\]\.records\[0\]: its data has 0 bytes, not 1 to 1 MiB",
        ),
        (
            {"streams": [{**STREAM, "records": [{"data": "a", "partition_id": "7"}]}]},
            r"streams\[0\]\.records\[0\]: .*\(DIS\.4302\)",
        ),
        (
            {"streams": [{**STREAM, "policies": [{"principal_name": "a.b", "action_type": "x"}]}]},
            r"streams\[0\]\.policies\[0\]\.action_type: .*",
        ),
        (
            {"streams": [{**STREAM, "transfer_tasks": [{"destination_type": "x"}]}]},
            r"streams\[0\]\.transfer_tasks\[0\]\.destination_type: .*",
        ),
        (
            {"checkpoints": [{**SEED["checkpoints"][0], "app_name": "none"}]},
            r"checkpoints\[0\]: .*\(DIS\.4332\)",
        ),
    ],
)
async def test_a_mistake_in_a_seed_is_one_line_with_its_place(tmp_path, given, line):
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(given))
    with pytest.raises(SeedError, match=f"^the seed file {path}: {line}$"):
        await LocalDIS(tmp_path / "data", seed=path).start()
    async with calling(tmp_path / "data") as dis:  # the folder was given back, and is empty
        assert (await dis.call("GET", "streams"))["total_number"] == 0
        before = dis.server.snapshot()
        with pytest.raises(SeedError, match=f"^the seed: {line}$"):
            dis.server.seed(given)
        assert dis.server.snapshot() == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "line 1: .*"),
        ('\n{"stream": 1}', "line 2: it is no object of one of stream, record, app, checkpoint"),
        ('{"record": {"stream_name": "s"}}', "line 1: no line before it has the record's stream"),
        (LINES + '\n\n{"record": {"stream_name": "s"}}', "line 6: it needs one of .*"),
        (LINES + '\n{"app": {"app_name": "billing"}}', r"line 5: .*\(DIS\.4330\)"),
        (LINES + '\n{"app": {"app_name": ""}}', "line 5, app_name: .*"),
    ],
)
async def test_a_mistake_in_json_lines_names_its_line(tmp_path, text, line):
    path = tmp_path / "seed.jsonl"
    path.write_text(text)
    with pytest.raises(SeedError, match=f"^the seed file {path}: {line}$"):
        await LocalDIS(seed=path).start()


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "["), ("a.json", "[]"), ("a.toml", "a ="), ("a.toml", b"\xff"), ("a.json", None)],
)
def test_a_file_that_is_no_seed_is_refused_before_the_start(tmp_path, name, text):
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SeedError, match=f"^the seed file {path}: [^\n]+$"):
        LocalDIS(seed=path)


def test_serve_says_a_mistake_of_the_seed_in_one_line(tmp_path):
    path = tmp_path / "seed.toml"
    path.write_text("streams = 1")
    command = [sys.executable, "-m", "aiodis", "serve", "--port", "0", "--seed", path]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    line = f"aiodis: the seed file {path}: streams: Input should be a valid list\n"
    assert found.stderr == line
