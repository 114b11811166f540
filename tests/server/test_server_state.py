"""What a server holds, taken, put back and emptied as a whole: in memory and on disk."""

import asyncio
import json
import pickle
import signal
import subprocess
import sys
import threading
from base64 import b64decode

import pytest
from server_caller import START_MS, Caller, calling, record

from aiodis import DISClient
from aiodis.errors import ClosedError
from aiodis.server import (
    Account,
    LocalDIS,
    Snapshot,
    SnapshotError,
    StartError,
    StateError,
    User,
)
from aiodis.server.content import Content
from aiodis.server.faults import latency


@pytest.fixture(params=["memory", "disk"])
def place(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "data"


@pytest.fixture
async def dis(place, clock):
    async with calling(place, clock=clock, limits=False) as caller:
        yield caller


async def fill(dis: Caller) -> None:
    """Leave something of everything in a server."""
    await dis.create("s", 2, tags=[{"key": "team", "value": "shop"}])
    await dis.create("other", 1)
    await dis.put([record(b"one", partition_id="0"), record(b"two", partition_id="1")])
    await dis.put([record(b"three", partition_id="0")])
    await dis.call("POST", "apps", {"app_name": "billing"}, status=201)
    commit = {"app_name": "billing", "stream_name": "s", "partition_id": "0"}
    commit |= {"sequence_number": "1", "checkpoint_type": "LAST_READ", "metadata": "m"}
    await dis.call("POST", "checkpoints", commit, status=201)
    task = {"task_name": "t", "agency_name": "a", "obs_bucket_path": "bucket"}
    task |= {"deliver_time_interval": 60, "consumer_strategy": "TRIM_HORIZON"}
    body = {"destination_type": "OBS", "obs_destination_descriptor": task}
    await dis.call("POST", "streams/s/transfer-tasks", body, status=201)
    await dis.call("PUT", "streams/other", {"stream_name": "other", "target_partition_count": 3})


async def seen(dis: Caller) -> list[object]:
    """Give what clients can see of a server, cursors aside."""
    streams = await dis.call("GET", "streams", {"limit": 100})
    found: list[object] = [streams, await dis.call("GET", "apps")]
    for name in streams["stream_names"]:
        found.append(await dis.describe(name))
        found.append(await dis.call("GET", f"streams/{name}/transfer-tasks"))
        partitions = range(len(found[-2]["partitions"]))
        found += [await dis.read_all(stream_name=name, partition_id=str(n)) for n in partitions]
    return found


async def test_a_reset_leaves_a_server_that_is_as_new(dis, place):
    await fill(dis)
    dis.server.reset()
    assert (await dis.call("GET", "streams"))["total_number"] == 0
    assert (await dis.call("GET", "apps"))["total_number"] == 0
    await dis.create("s", 1)
    assert await dis.read_all() == []
    assert (await dis.call("GET", "streams/s/transfer-tasks"))["total_number"] == 0
    await dis.put([record(b"first")])
    assert [r["sequence_number"] for r in await dis.read_all()] == ["0"]


async def test_a_restore_brings_all_back_that_a_snapshot_took(dis):
    await fill(dis)
    before, snapshot = await seen(dis), dis.server.snapshot()
    await dis.put([record(b"later", partition_id="0")])
    await dis.call("DELETE", "streams/other", status=204)
    await dis.call("DELETE", "apps/billing", status=204)
    await dis.create("third")
    dis.server.restore(snapshot)
    assert dis.server.snapshot() == snapshot
    assert await seen(dis) == before
    await dis.put([record(b"later", partition_id="0")])  # a snapshot stays as it is
    dis.server.restore(snapshot)
    assert await seen(dis) == before


async def test_what_was_restored_survives_the_end_of_the_server(tmp_path, clock):
    async with calling(tmp_path, clock=clock, limits=False) as dis:
        await fill(dis)
        before, snapshot = await seen(dis), dis.server.snapshot()
        dis.server.reset()
        dis.server.restore(snapshot)
    async with calling(tmp_path, clock=clock, limits=False) as dis:
        assert dis.server.recovery == ()
        assert await seen(dis) == before
        assert len(list((tmp_path / "streams").iterdir())) == 2
        await dis.call("DELETE", "streams/s", status=204)
        assert len(list((tmp_path / "streams").iterdir())) == 1


async def test_a_snapshot_moves_between_memory_disk_and_files(tmp_path, clock):
    async with calling(clock=clock, limits=False) as dis:
        await fill(dis)
        before, snapshot = await seen(dis), dis.server.snapshot()
    snapshot.write(tmp_path / "snapshot")
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]
    for again in (Snapshot.read(tmp_path / "snapshot"), pickle.loads(pickle.dumps(snapshot))):
        assert again == snapshot
        async with calling(tmp_path / "data", clock=clock, limits=False) as dis:
            dis.server.restore(again)
            assert dis.server.snapshot() == snapshot
            assert await seen(dis) == before


async def test_cursors_from_before_a_restore_are_unknown_even_where_the_number_is_there(dis):
    await dis.create()
    await dis.put([record(b"a"), record(b"b")])
    snapshot, cursor = dis.server.snapshot(), await dis.cursor("AT_SEQUENCE_NUMBER")
    assert len((await dis.get(cursor))["records"]) == 2
    dis.server.restore(snapshot)
    await dis.refused("DIS.4226", "GET", "records", {"partition-cursor": cursor})
    assert len(await dis.read_all()) == 2
    fresh = await dis.cursor("AT_SEQUENCE_NUMBER")
    following = (await dis.get(fresh))["next_partition_cursor"]
    dis.server.restore(snapshot)
    for old in (fresh, following):
        await dis.refused("DIS.4226", "GET", "records", {"partition-cursor": old})
    dis.server.reset()
    await dis.refused("DIS.4301", "GET", "records", {"partition-cursor": cursor})


async def test_a_consumer_reads_on_from_its_number_after_a_restore(place):
    async with (
        LocalDIS(place, limits=False) as server,
        DISClient(**server.client_settings) as client,
    ):
        await client.streams.create(stream_name="s", partition_count=1)
        async with client.producer("s") as producer:
            await producer.send_and_wait(b"a")
            await producer.send_and_wait(b"b")
            snapshot = server.snapshot()
            await client.apps.create(app_name="app")
            async with client.consumer("s", app="app", offset_reset="earliest") as consumer:
                got = [(await anext(aiter(consumer))).data]
                server.restore(snapshot)
                await producer.send_and_wait(b"c")
                async for found in consumer:
                    got.append(found.data)
                    if found.data == b"c":
                        break
        assert got == [b"a", b"b", b"c"]


async def test_members_of_a_group_have_to_join_again_after_a_restore(dis, clock):
    await dis.create()
    await dis.call("POST", "apps", {"app_name": "g"}, status=201)
    who = {"groupId": "g", "clientId": "c"}

    async def beat() -> str:
        asked = {**who, "generation": 1}
        return (await dis.call("POST", "apps/g/consumers/c/heartbeats/", asked))["state"]

    asked = {**who, "interestedStream": ["s"]}
    joined = await dis.call("POST", "apps/g/consumers/", asked)
    clock.advance(milliseconds=joined["syncDelayedTimeMs"])
    asked = {**who, "generation": 0}
    await dis.call("POST", "apps/g/consumers/c/partitions/", asked)
    assert await beat() == "STABLE"
    dis.server.restore(dis.server.snapshot())
    assert await beat() == "JOINING"


async def test_a_purge_removes_the_records_and_the_numbers_go_on(dis, place):
    await fill(dis)
    at_the_end = await dis.cursor("LATEST")
    old = await dis.cursor("TRIM_HORIZON")
    dis.server.purge("s")
    ranges = [p["sequence_number_range"] for p in (await dis.describe())["partitions"]]
    assert ranges == ["[2 : 2]", "[1 : 1]"]
    await dis.put([record(b"after", partition_id="0")])
    assert [r["sequence_number"] for r in await dis.read_all()] == ["2"]
    assert len((await dis.get(at_the_end))["records"]) == 1  # who has read all reads on
    await dis.refused("DIS.4226", "GET", "records", {"partition-cursor": old})
    commit = await dis.call(
        "GET",
        "checkpoints",
        {
            "stream_name": "s",
            "app_name": "billing",
            "partition_id": "0",
            "checkpoint_type": "LAST_READ",
        },
    )
    assert commit["sequence_number"] == "1"
    dis.server.purge("s")
    assert (await dis.describe())["partitions"][0]["sequence_number_range"] == "[3 : 3]"


async def test_a_purge_is_of_one_stream_and_survives_the_end_of_the_server(tmp_path, clock):
    async with calling(tmp_path, clock=clock, limits=False) as dis:
        await fill(dis)
        await dis.put([record(b"kept")], "other")
        dis.server.purge("s")
    async with calling(tmp_path, clock=clock, limits=False) as dis:
        ranges = [p["sequence_number_range"] for p in (await dis.describe())["partitions"]]
        assert ranges == ["[2 : 2]", "[1 : 1]"]
        streams = await dis.call("GET", "streams")
        assert streams["total_number"] == 2
        assert len(list((tmp_path / "streams").iterdir())) == 2


async def test_a_dump_task_goes_on_with_what_comes_after_a_purge(dis, clock):
    await fill(dis)
    dis.server.purge("s")
    await dis.put([record(b"after", partition_id="0")])
    clock.advance(minutes=2)
    buckets = dis.server.buckets
    files = [buckets.read("bucket", name) for name in buckets.files("bucket")]
    assert files
    assert all(b"three" not in content for content in files)
    assert any(b"after" in content for content in files)


async def test_a_dump_task_of_before_a_reset_delivers_nothing_more(dis, clock):
    await fill(dis)
    dis.server.reset()
    clock.advance(hours=1)
    assert dis.server.buckets.files("bucket") == []


async def test_metrics_and_events_are_those_of_the_snapshot(dis, clock):
    await dis.create()
    await dis.put([record(b"12345")])
    snapshot = dis.server.snapshot()
    await dis.put([record(b"12345")])

    async def put_bytes() -> float:
        now = clock.now_ms()
        asked = {"label": "total_put_bytes_per_stream", "start_time": now // 1000 - 60}
        asked |= {"end_time": now // 1000 + 60}
        found = await dis.call("GET", "streams/s/metrics", asked)
        return sum(point["value"] for point in found["metrics"]["dataPoints"])

    assert await put_bytes() == 10
    dis.server.restore(snapshot)
    assert await put_bytes() == 5
    await dis.put([record(b"12345")])
    assert await put_bytes() == 10


async def test_one_project_of_several_is_reset_and_restored_alone(place):
    accounts = [Account(n, f"{n}-project", [User("u", password="p")]) for n in ("one", "two")]
    async with calling(place, accounts=accounts) as dis:

        async def names(project: str) -> list[str]:
            return (await dis.call("GET", f"/v2/{project}/streams"))["stream_names"]

        body = {"stream_name": "s", "partition_count": 1}
        for project in ("one-project", "two-project"):
            await dis.call("POST", f"/v2/{project}/streams", body, status=201)
        both, one = dis.server.snapshot(), dis.server.snapshot("one-project")
        assert both.project_ids == ("one-project", "two-project")
        dis.server.reset("one-project")
        assert (await names("one-project"), await names("two-project")) == ([], ["s"])
        dis.server.reset()
        assert (await names("one-project"), await names("two-project")) == ([], [])
        dis.server.restore(one, "two-project")
        assert (await names("one-project"), await names("two-project")) == ([], ["s"])
        dis.server.restore(both)
        assert (await names("one-project"), await names("two-project")) == (["s"], ["s"])
        with pytest.raises(StateError, match="'three'"):
            dis.server.reset("three")
        with pytest.raises(StateError, match="'three'"):
            dis.server.restore(both, "three")
        content = one.content("one-project")
        with pytest.raises(SnapshotError, match="'one-project'"):
            dis.server.restore(Snapshot({"x": content, "y": content}), "one-project")
        with pytest.raises(StateError, match="'x'"):
            dis.server.restore(Snapshot({"one-project": Content(), "x": content}))
        assert (await names("one-project"), await names("two-project")) == (["s"], ["s"])


async def test_a_stream_that_is_not_there_is_not_purged(dis):
    with pytest.raises(StateError, match="'nothing'"):
        dis.server.purge("nothing")


def test_a_stopped_server_holds_nothing_to_work_with():
    server = LocalDIS()
    for call in (server.reset, server.snapshot, lambda: server.purge("s")):
        with pytest.raises(ClosedError, match="does not run"):
            call()


def test_a_file_that_is_no_snapshot_is_one_line(tmp_path):
    path = tmp_path / "snapshot"
    whole = bytes(Snapshot({}))
    for content in (b"", b"hello", whole[:-1], whole[:-1] + b"x", whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(SnapshotError, match=f"^{path}: [^\n]+$"):
            Snapshot.read(path)
    with pytest.raises(FileNotFoundError):
        Snapshot.read(tmp_path / "none")


async def test_another_thread_waits_for_the_loop_to_do_it(dis):
    await fill(dis)
    snapshot = await asyncio.to_thread(dis.server.snapshot)
    assert snapshot == dis.server.snapshot()
    await asyncio.to_thread(dis.server.reset)
    assert (await dis.call("GET", "streams"))["total_number"] == 0
    await asyncio.to_thread(dis.server.restore, snapshot)
    await asyncio.to_thread(dis.server.purge, "s")
    assert (await dis.describe())["partitions"][0]["sequence_number_range"] == "[2 : 2]"
    with pytest.raises(StateError, match="'none'"):
        await asyncio.to_thread(dis.server.purge, "none")


def test_a_server_in_a_thread_of_its_own_is_reset_from_this_one():
    ready, box = threading.Event(), {}

    async def serve() -> None:
        async with LocalDIS(anonymous=True) as server:
            box["server"], box["loop"], box["end"] = (
                server,
                asyncio.get_running_loop(),
                asyncio.Event(),
            )
            ready.set()
            await box["end"].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        before = box["server"].snapshot()
        box["server"].reset()
        assert box["server"].snapshot() == before
    finally:
        box["loop"].call_soon_threadsafe(box["end"].set)
        thread.join()
    with pytest.raises(ClosedError):
        box["server"].reset()


def test_the_loops_own_thread_may_call_while_the_loop_rests():
    loop = asyncio.new_event_loop()
    try:
        server = loop.run_until_complete(LocalDIS().start())
        before = server.snapshot()
        server.reset()
        assert server.snapshot() == before
        with pytest.raises(ClosedError, match="does not run"):
            _in_a_thread(server.reset)
        loop.run_until_complete(server.stop())
    finally:
        loop.close()


def _in_a_thread(function):
    failed = []

    def call() -> None:
        try:
            function()
        except ClosedError as exc:
            failed.append(exc)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    raise failed[0]


async def test_a_request_that_waits_during_a_restore_meets_what_was_restored(dis):
    await dis.create()
    snapshot = dis.server.snapshot()
    await dis.put([record(b"gone")])
    arrived = asyncio.Event()

    async def body():
        arrived.set()
        await restored.wait()
        yield b'{"stream_name": "s", "records": [{"data": "aA==", "partition_id": "0"}]}'

    restored = asyncio.Event()
    path = f"/v2/{dis.server.project_id}/records"
    waiting = asyncio.create_task(dis.call("POST", path, data=body()))
    await arrived.wait()
    dis.server.restore(snapshot)
    restored.set()
    assert (await waiting)["records"][0]["sequence_number"] == "0"
    assert [b64decode(r["data"]) for r in await dis.read_all()] == [b"h"]


async def test_a_request_that_a_fault_delays_meets_what_was_restored(dis, clock):
    await dis.create()
    await dis.put([record(b"kept")])
    snapshot = dis.server.snapshot()
    await dis.put([record(b"gone")])
    fault = dis.server.faults.push("records.put", outcome=latency(50))
    waiting = asyncio.create_task(dis.put([record(b"late")]))
    while not fault.count:  # noqa: ASYNC110 - a fault tells nobody that it came
        await asyncio.sleep(0)
    dis.server.restore(snapshot)
    clock.advance(milliseconds=50)
    assert (await waiting)["records"][0]["sequence_number"] == "1"


# At each of these moments of an exchange the process dies: `argv` are the folder, what is
# done, and how many calls of the moment come before.
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
import aiodis.server.content as content
import aiodis.server.state as state
from aiodis.server import LocalDIS, ManualClock, Snapshot

folder, start_ms, what, moment = sys.argv[1:]
dying = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)

def arm():
    if moment == "before the logs":
        content.RecordLog.made_of = dying
        content.write_tables = dying
    elif moment == "between the logs":
        left, made_of = [1], content.RecordLog.made_of
        def some(*args, **options):
            return made_of(*args, **options) if left and left.pop() else dying()
        content.RecordLog.made_of = some
    elif moment == "before the rows":
        content.write_tables = dying
        state.LogPlaces.save = dying
    elif moment == "before the end":
        content.Exchange.commit = dying
    elif moment == "after the end":
        state.State.successor = dying
    state.Remover.remove = dying

async def main():
    async with LocalDIS(folder, clock=ManualClock(int(start_ms))) as server:
        snapshot = Snapshot.read(folder + ".snapshot")
        arm()
        getattr(server, what)(*{"restore": [snapshot], "purge": ["s"]}.get(what, []))

asyncio.run(main())
"""
DIES = {
    "reset": ["before the rows", "before the end", "after the end", "before the removal"],
    "restore": ["before the logs", "between the logs", "before the rows", "before the end"]
    + ["after the end", "before the removal"],
    "purge": ["before the logs", "before the rows", "before the removal"],
}


@pytest.mark.parametrize(
    ("what", "moment"), [(what, moment) for what in DIES for moment in DIES[what]]
)
async def test_a_kill_leaves_what_was_or_what_is_new(tmp_path, clock, what, moment):
    folder = tmp_path / "data"
    async with calling(folder, clock=clock, limits=False) as dis:
        await fill(dis)
        snapshot = dis.server.snapshot()
        snapshot.write(f"{folder}.snapshot")
        await dis.put([record(b"later", partition_id="0")])
        await dis.create("third")
        old = await seen(dis)
    command = [sys.executable, "-c", KILLED, folder, str(START_MS), what, moment]
    died = await asyncio.to_thread(subprocess.run, command, check=False)
    assert died.returncode == -signal.SIGKILL
    async with calling(folder, clock=clock, limits=False) as dis:
        now = await seen(dis)
        assert len(list((folder / "streams").iterdir())) == now[0]["total_number"]
        if moment in {"after the end", "before the removal"}:
            getattr(dis.server, what)(*{"restore": [snapshot], "purge": ["s"]}.get(what, []))
            assert now == await seen(dis) != old
        else:
            assert now == old


KILLED_BETWEEN = """
import asyncio, os, signal, sys
import aiodis.server.content as content
from aiodis.server import LocalDIS

folder, accounts, after = sys.argv[1:]
commit, left = content.Exchange.commit, [None] * int(after)

def some(exchange):
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left.pop()
    return commit(exchange)

async def main():
    async with LocalDIS(folder, accounts=accounts) as server:
        content.Exchange.commit = some
        server.reset()

asyncio.run(main())
"""


async def test_a_kill_among_several_projects_is_refused_until_somebody_looked(tmp_path):
    folder, accounts = tmp_path / "data", tmp_path / "accounts.json"
    users = [{"name": "u", "password": "p"}]
    given = [{"name": n, "project_id": f"{n}-project", "users": users} for n in ("one", "two")]
    accounts.write_text(json.dumps({"accounts": given}))
    seed = {"streams": [{"stream_name": "s", "partition_count": 1}]}
    async with LocalDIS(folder, accounts=accounts) as server:
        server.seed(seed)
        server.seed(seed, "two-project")
    command = [sys.executable, "-c", KILLED_BETWEEN, folder, accounts, "1"]
    died = await asyncio.to_thread(subprocess.run, command, check=False)
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(StartError, match=f"some as after it. .* remove {folder / 'exchanging'}$"):
        await LocalDIS(folder, accounts=accounts).start()
    (folder / "exchanging").unlink()
    async with LocalDIS(folder, accounts=accounts) as server:
        held = server.snapshot()
        assert [len(held.content(name).logs) for name in held.project_ids] == [0, 1]
        server.reset()
        assert not (folder / "exchanging").exists()
