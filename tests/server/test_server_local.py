"""The server as an object: start, stop, what a data folder keeps, what a start refuses."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import aiohttp
import pytest
from server_caller import calling, record

from aiodis.errors import ClosedError, ConfigError
from aiodis.server import (
    AddressInUseError,
    CatalogDamagedError,
    DataFolderInUseError,
    LocalDIS,
    LogDamagedError,
    ManualClock,
    StartError,
)
from aiodis.server.storage import RecordLog


async def test_it_tells_what_a_client_needs():
    async with LocalDIS(project_id="p" * 32, access_key="ak", secret_key="sk") as server:
        assert server.endpoint.startswith("http://127.0.0.1:")
        assert (server.project_id, server.region) == ("p" * 32, "local")
        assert (server.credentials.access_key, server.credentials.secret_key) == ("ak", "sk")
        assert server.recovery == ()
    with pytest.raises(ClosedError):
        _ = server.endpoint
    assert len(LocalDIS().project_id) == 32
    assert LocalDIS(region="r").region == "r"


async def test_start_and_stop_may_be_repeated():
    server = LocalDIS(anonymous=True)
    await server.stop()
    await asyncio.gather(server.start(), server.start())
    endpoint = server.endpoint
    assert await server.start() is server
    assert server.endpoint == endpoint
    await asyncio.gather(server.stop(), server.stop())
    await server.stop()
    async with server:
        assert server.endpoint


async def test_only_the_loopback_unless_others_are_allowed():
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "example.com"):
        with pytest.raises(ConfigError, match="allow_remote"):
            LocalDIS(host=host)
    for host in ("localhost", "127.0.0.1", "::1"):
        LocalDIS(host=host)
    with pytest.raises(ConfigError, match="known to everyone"):
        LocalDIS(host="0.0.0.0", allow_remote=True)
    async with LocalDIS(host="0.0.0.0", allow_remote=True, secret_key="own") as server:
        assert server.endpoint.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "options", [{"project_id": ""}, {"project_id": "a/b"}, {"access_key": ""}, {"secret_key": " "}]
)
def test_settings_that_cannot_work_are_refused_at_once(options):
    with pytest.raises(ConfigError):
        LocalDIS(**options)


async def test_a_taken_port_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = LocalDIS(tmp_path, port=port)
        with pytest.raises(AddressInUseError) as caught:
            await server.start()
    assert str(caught.value) == f"another program listens on 127.0.0.1:{port}"
    assert isinstance(caught.value, StartError)
    async with LocalDIS(tmp_path):  # the failed start gave the folder back
        pass


async def test_an_address_of_another_machine_is_one_line():
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        await LocalDIS(host="192.0.2.1", allow_remote=True, secret_key="own").start()


async def test_a_data_folder_in_use_is_one_line(tmp_path):
    async with LocalDIS(tmp_path):
        with pytest.raises(DataFolderInUseError) as caught:
            await LocalDIS(tmp_path).start()
        assert str(caught.value) == f"another server uses the data folder {tmp_path}"
    async with LocalDIS(tmp_path):
        pass


async def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot be used"):
        await LocalDIS(tmp_path / "file").start()


async def test_everything_survives_a_restart(tmp_path):
    clock = ManualClock()
    options = {"clock": clock, "limits": False}
    commit = {"app_name": "app", "stream_name": "s", "partition_id": "1"}
    async with calling(tmp_path / "new" / "folder", **options) as dis:
        await dis.create(partitions=3, tags=[{"key": "k", "value": "v"}], data_duration=48)
        await dis.put([record(b"%d" % n, partition_id="1", partition_key="k") for n in range(50)])
        await dis.call("PUT", "streams/s", {"target_partition_count": 2})
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
        await dis.call("POST", "checkpoints", {**commit, "sequence_number": "7"}, status=201)
        await dis.create("deleted")
        await dis.call("DELETE", "streams/deleted", status=204)
        before, app = await dis.describe(), await dis.call("GET", "apps/app")
        records, cursor = await dis.read_all(partition_id="1"), await dis.cursor(partition_id="1")
    assert len(list((tmp_path / "new/folder/streams").iterdir())) == 1
    async with calling(str(tmp_path / "new" / "folder"), **options) as dis:
        assert dis.server.recovery == ()
        assert await dis.describe() == before
        assert await dis.call("GET", "apps/app") == app
        assert (await dis.call("GET", "checkpoints", commit))["sequence_number"] == "7"
        assert await dis.read_all(partition_id="1") == records
        assert len((await dis.get(cursor))["records"]) == 50
        (placed,) = (await dis.put([record(partition_id="1")]))["records"]
        assert placed["sequence_number"] == "50"


async def test_a_torn_log_is_cut_and_reported(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        await dis.put([record(b"1")])
        await dis.put([record(b"2")])
    (segment,) = (tmp_path / "streams").glob("*/*.log")
    os.truncate(segment, segment.stat().st_size - 1)
    async with calling(tmp_path) as dis:
        (line,) = dis.server.recovery
        assert line.startswith("stream s: ")
        assert "cut" in line
        assert [b64decode(r["data"]) for r in await dis.read_all()] == [b"1"]


async def test_a_damaged_log_stops_the_start_and_gives_all_back(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        for _ in range(3):
            await dis.put([record(bytes(100))])
    (segment,) = (tmp_path / "streams").glob("*/*.log")
    data = bytearray(segment.read_bytes())
    damaged = bytes(data[:200] + b"damage" + data[206:])
    segment.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(LogDamagedError):
            await LocalDIS(tmp_path).start()
    segment.write_bytes(data)
    async with calling(tmp_path) as dis:
        assert len(await dis.read_all()) == 3


async def test_a_damaged_or_later_catalog_stops_the_start(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(CatalogDamagedError, match="cannot be used"):
        await LocalDIS(tmp_path).start()
    (tmp_path / "catalog.db").unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db")) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(CatalogDamagedError, match="version 999"):
        await LocalDIS(tmp_path).start()


async def test_memory_forgets():
    server = LocalDIS(anonymous=True)
    for _ in range(2):
        async with server, aiohttp.ClientSession(server.endpoint) as session:
            body = {"stream_name": "s", "partition_count": 1}
            async with session.post(f"/v2/{server.project_id}/streams", json=body) as response:
                assert response.status == 201


async def status_of(server, path):
    async with (
        aiohttp.ClientSession(server.endpoint) as session,
        session.get(path) as response,
    ):
        return response.status


async def test_stop_waits_for_a_request_in_flight():
    server = await LocalDIS(anonymous=True).start()
    body = json.dumps({"stream_name": "s", "partition_count": 1}).encode()
    reader, writer = await asyncio.open_connection(*server._address)
    head = f"POST /v2/p/streams HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:5])
    await writer.drain()
    assert await status_of(server, "/v2/p/streams") == 200  # the server has read so far
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    writer.write(body[5:])
    assert await reader.readline() == b"HTTP/1.1 201 Created\r\n"
    writer.close()
    await writer.wait_closed()
    await stopping


async def test_a_cancelled_stop_gives_all_back(tmp_path):
    server = await LocalDIS(tmp_path).start()
    reader, writer = await asyncio.open_connection(*server._address)
    writer.write(b"POST /v2/p/streams HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    await writer.drain()
    assert await status_of(server, "/v2/p/streams") == 441
    stopping = asyncio.create_task(server.stop())
    while server._running is not None:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    writer.close()
    await writer.wait_closed()
    del reader
    async with LocalDIS(tmp_path):
        pass


def count_descriptors():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


async def test_nothing_is_left_open(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        await dis.put([record()])
    before = count_descriptors()
    for _ in range(3):
        async with calling(tmp_path) as dis:
            await dis.put([record()])
    gc.collect()
    assert count_descriptors() <= before
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()


SERVE = """
import asyncio, sys
from aiodis.server import LocalDIS
async def main():
    async with LocalDIS(sys.argv[1], anonymous=True, limits=False) as server:
        print(server.endpoint, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def put_until_it_dies(session, body, process):
    acknowledged = 0
    with contextlib.suppress(aiohttp.ClientError):
        while acknowledged < 1000:
            async with session.post("/v2/p/records", json=body) as response:
                await response.read()
                acknowledged += 20
            if acknowledged == 400:
                process.send_signal(signal.SIGKILL)
    return acknowledged


async def test_what_was_acknowledged_survives_kill_9(tmp_path):
    process = subprocess.Popen(  # noqa: ASYNC220 - it is to be killed
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        endpoint = process.stdout.readline().strip()
        async with aiohttp.ClientSession(endpoint) as session:
            body = {"stream_name": "s", "partition_count": 1}
            async with session.post("/v2/p/streams", json=body) as response:
                assert response.status == 201
            body = {"stream_name": "s", "records": [record(b"x" * 1000)] * 20}
            acknowledged = await put_until_it_dies(session, body, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    async with calling(tmp_path, limits=False) as dis:
        found = await dis.read_all()
        assert [r["sequence_number"] for r in found] == [str(n) for n in range(len(found))]
        assert 400 <= acknowledged <= len(found) <= acknowledged + 20


async def test_expired_segments_free_the_disk(tmp_path):
    clock = ManualClock()
    async with calling(tmp_path, clock=clock, limits=False) as dis:
        await dis.create()
        await dis.put([record(bytes(500_000))])
        (folder,) = (tmp_path / "streams").iterdir()
        clock.advance(hours=24, minutes=2)  # space is freed once a minute at most
        await dis.put([record(b"x")])
        assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000
        assert [r["sequence_number"] for r in await dis.read_all()] == ["1"]


async def test_the_lock_and_the_log_are_released_by_a_failed_catalog(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"x" * 5000)
    with pytest.raises(CatalogDamagedError):
        await LocalDIS(tmp_path).start()
    (tmp_path / "catalog.db").unlink()
    async with LocalDIS(tmp_path):
        pass
    assert RecordLog.open(None).recovery.cut_bytes == 0


async def test_a_row_of_the_catalog_that_cannot_be_read_stops_the_start(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
    with contextlib.closing(sqlite3.connect(tmp_path / "catalog.db")) as db, db:
        db.execute("UPDATE streams SET definition = '{}'")
    with pytest.raises(CatalogDamagedError):
        await LocalDIS(tmp_path).start()
