"""What an answer promises of the disk, and what becomes of it when the disk does not keep it."""

import asyncio
import errno
import os
import resource
import sqlite3
import threading
from base64 import b64decode
from contextlib import asynccontextmanager, closing, contextmanager

import aiohttp
import pytest
from server_caller import Caller, calling, record

from aiodis.errors import ConfigError
from aiodis.server import LocalDIS
from aiodis.server.durability import Durability
from aiodis.server.storage import RecordLog
from aiodis.server.storage.catalog import Catalog
from aiodis.server.storage.frame import PutBlock
from aiodis.server.storage.transaction import transaction

SOON_S = 20.0


async def until(holds):
    """Wait for what happens in another thread, or when the loop comes to it."""
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


class Disk:
    """A store whose syncs begin, and end when they are let."""

    def __init__(self):
        self.is_dirty, self.begun, self.fails = True, 0, None
        self._let = threading.Semaphore(0)

    def sync(self):
        self.begun += 1
        assert self._let.acquire(timeout=SOON_S)
        if self.fails is not None:
            raise self.fails
        self.is_dirty = False

    def let(self, syncs=1):
        self._let.release(syncs)


@pytest.fixture
async def disk():
    made = Disk()
    yield made
    made.let(100)


@pytest.fixture
async def durability(disk):
    async with Durability("always", list) as made:
        yield made


# -- The group commit ---------------------------------------------------------------------


async def test_who_comes_while_a_sync_runs_waits_for_the_next_and_shares_it(disk, durability):
    first = asyncio.create_task(durability.bring(disk))
    await until(lambda: disk.begun == 1)
    others = [asyncio.create_task(durability.bring(disk)) for _ in range(100)]
    await asyncio.sleep(0)
    disk.let()
    await first
    await until(lambda: disk.begun == 2)
    assert not any(other.done() for other in others)
    disk.let()
    await asyncio.gather(*others)
    assert disk.begun == 2


async def test_who_comes_before_a_sync_begins_shares_it(disk, durability):
    disk.let()
    await asyncio.gather(*(durability.bring(disk) for _ in range(100)))
    assert disk.begun == 1


async def test_a_slow_store_holds_up_no_other(disk, durability):
    slow = asyncio.create_task(durability.bring(disk))
    other = Disk()
    other.let()
    await durability.bring(other)
    assert not slow.done()
    disk.let()
    await slow


async def test_a_sync_that_fails_fails_all_who_share_it(disk, durability):
    disk.fails = OSError(errno.EIO, "Input/output error")
    waiting = [asyncio.create_task(durability.bring(disk)) for _ in range(3)]
    disk.let()
    assert [type(found) for found in await asyncio.gather(*waiting, return_exceptions=True)] == [
        OSError
    ] * 3


async def test_a_waiter_that_is_cancelled_leaves_the_sync_to_the_others(disk, durability):
    waiting = [asyncio.create_task(durability.bring(disk)) for _ in range(2)]
    await until(lambda: disk.begun == 1)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    disk.let()
    await waiting[1]
    assert disk.begun == 1


async def test_the_interval_brings_what_is_dirty_and_goes_on_after_a_failure(disk, caplog):
    disk.fails = OSError(errno.EIO, "Input/output error")
    async with Durability("interval", lambda: [disk], interval_s=0.001) as made:
        assert not made.is_awaited
        disk.let()
        await until(lambda: disk.begun == 2)
        assert "not on the disk: [Errno 5]" in caplog.text
        disk.fails = None
        disk.let()
        await until(lambda: not disk.is_dirty)
        disk.let(100)
        begun = disk.begun
        await asyncio.sleep(0.01)
        assert disk.begun == begun  # clean: there is nothing to do


@pytest.mark.parametrize(("fsync", "syncs"), [("always", 1), ("interval", 1), ("never", 0)])
async def test_a_stop_brings_the_rest_unless_never(disk, fsync, syncs):
    disk.let(100)
    async with Durability(fsync, lambda: [disk], interval_s=100):
        pass
    assert disk.begun == syncs


# -- Answers ------------------------------------------------------------------------------


@asynccontextmanager
async def syncing(path, sync, fsync="always"):
    """A server whose syncs are `sync(store)`."""

    class Made(LocalDIS):
        def _make_durability(self, projects):
            return Durability(fsync, projects.stores, sync=sync, interval_s=0.01)

    async with (
        Made(path, anonymous=True, limits=False) as server,
        aiohttp.ClientSession(server.endpoint) as session,
    ):
        yield Caller(server, session)


async def test_an_answer_comes_only_after_its_sync_which_many_share(tmp_path):
    held, syncs, may_end = [False], [], threading.Event()

    def sync(store):
        if held[0]:
            syncs.append(store)
            assert may_end.wait(SOON_S)
        store.sync()

    async with syncing(tmp_path, sync) as dis:
        await dis.create("a")
        await dis.create("b")
        held[0] = True
        puts = [asyncio.create_task(dis.put([record(b"1")], "a")) for _ in range(8)]
        await until(lambda: syncs)
        log = syncs[0]
        await until(lambda: log.next_sequence(0) == 8)  # all have written, and wait
        assert not any(put.done() for put in puts)
        cursor = await dis.cursor(stream_name="a")  # the loop goes on meanwhile
        assert len((await dis.get(cursor))["records"]) == 8
        held[0] = False
        assert (await dis.put([record(b"2")], "b"))["failed_record_count"] == 0
        assert not any(put.done() for put in puts)
        may_end.set()
        assert {(await put)["failed_record_count"] for put in puts} == {0}
        assert len([store for store in syncs if store is log]) <= 2


async def test_what_the_catalog_acknowledges_is_synced_too_and_reads_do_not_wait(tmp_path):
    synced = []

    def sync(store):
        store.sync()
        synced.append(type(store))

    async with syncing(tmp_path, sync) as dis:
        await dis.create()
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
        synced.clear()
        asked = {"app_name": "app", "stream_name": "s", "partition_id": "0"}
        await dis.call("POST", "checkpoints", {**asked, "sequence_number": "1"}, status=201)
        assert synced == [Catalog]
        await dis.put([record(b"1")])
        assert synced == [Catalog, RecordLog]
        await dis.call("GET", "checkpoints", asked)
        await dis.get(await dis.cursor())
        assert synced == [Catalog, RecordLog]


@pytest.mark.parametrize("fsync", ["never", "interval"])
async def test_without_always_no_answer_waits(tmp_path, fsync):
    may_end = threading.Event()

    def sync(store):
        assert may_end.wait(SOON_S)
        store.sync()

    async with syncing(tmp_path, sync, fsync) as dis:
        await dis.create()
        for _ in range(3):
            assert (await dis.put([record(b"1")]))["failed_record_count"] == 0
        may_end.set()


async def test_the_interval_syncs_by_itself(tmp_path):
    async with syncing(tmp_path, lambda store: store.sync(), "interval") as dis:
        await dis.create()
        await dis.put([record(b"1")])
        (log,) = [s for s in dis.server._served[1].stores() if isinstance(s, RecordLog)]
        await until(lambda: not log.is_dirty)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
async def test_a_sync_that_fails_is_a_500_and_acknowledges_nothing(tmp_path, code, caplog):
    fails = []

    def sync(store):
        if isinstance(store, RecordLog) and fails:
            raise fails[0]
        store.sync()

    async with syncing(tmp_path, sync) as dis:
        await dis.create()
        fails.append(OSError(code, os.strerror(code)))
        body = {"stream_name": "s", "records": [record(b"1")]}
        message = await dis.refused("DIS.5000", "POST", "records", body, status=500)
        assert message == f"System error. [{os.strerror(code)}]"
        assert "Traceback" not in caplog.text
        fails.clear()


def test_an_unknown_word_for_fsync_is_refused_at_once():
    with pytest.raises(ConfigError, match="always, interval, never"):
        LocalDIS(fsync="sometimes")


# -- A disk that fails --------------------------------------------------------------------


@contextmanager
def cannot_be_synced(path):
    """Let a file be one that the system cannot sync, while whoever has it open writes on."""
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.symlink_to("/dev/null")  # fdatasync says EINVAL there
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


def block(first, *data):
    fragments = [f'{{"n":{first + index}}}' for index in range(len(data))]
    return [PutBlock(0, first, fragments, [len(item) for item in data])]


def test_a_log_takes_no_more_records_once_a_sync_failed_and_its_next_start_tells(tmp_path):
    log = RecordLog.open(tmp_path)
    log.append(block(0, b"a"), 1)
    log.sync()
    assert not log.is_dirty
    log.append(block(1, b"b"), 2)
    assert log.is_dirty
    with cannot_be_synced(tmp_path / "0000000000.log"), pytest.raises(OSError, match="Invalid"):
        log.sync()
    with pytest.raises(OSError, match="earlier sync failed"):
        log.sync()  # the system would say yes now, whatever it dropped
    with pytest.raises(OSError, match="earlier sync failed"):
        log.append(block(2, b"c"), 3)
    assert log.read(0, 0, max_bytes=100, max_records=10).count == 2
    log.close()
    log = RecordLog.open(tmp_path)
    assert log.next_sequence(0) == 2
    log.append(block(2, b"c"), 3)
    log.sync()
    log.close()


def test_a_log_that_was_removed_meanwhile_has_nothing_to_sync(tmp_path):
    log = RecordLog.open(tmp_path / "log")
    log.append(block(0, b"a"), 1)
    log.close()
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    (tmp_path / "log").rmdir()
    log._folder_dirty = True
    log.sync()


def test_a_catalog_fails_each_sync_after_one_that_failed(tmp_path):
    catalog = Catalog.open(tmp_path / "catalog.db")
    catalog.sync()
    assert not catalog.is_dirty
    catalog.connection.execute("INSERT INTO apps VALUES ('app', 'id', 1)")
    assert catalog.is_dirty
    with cannot_be_synced(tmp_path / "catalog.db-wal"), pytest.raises(OSError, match="Invalid"):
        catalog.sync()
    with pytest.raises(OSError, match="earlier sync failed"):
        catalog.sync()
    assert catalog.is_dirty
    catalog.close()


def test_a_catalog_that_was_closed_meanwhile_or_is_in_memory_has_nothing_to_sync(tmp_path):
    catalog = Catalog.open(tmp_path / "catalog.db")
    catalog.close()
    catalog.sync()
    memory = Catalog.open(None)
    memory.connection.execute("INSERT INTO apps VALUES ('app', 'id', 1)")
    assert not memory.is_dirty
    memory.sync()
    memory.close()


@contextmanager
def files_end_at(size):
    """Let the system write no file beyond `size`, as if the disk were full there."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


@pytest.mark.parametrize("fsync", ["never", "always"])
async def test_a_full_disk_is_a_clear_500_and_leaves_a_whole_log(tmp_path, fsync, caplog):
    async with calling(tmp_path, fsync=fsync, limits=False) as dis:
        await dis.create()
        assert (await dis.put([record(b"before")]))["failed_record_count"] == 0
        (segment,) = (tmp_path / "streams").glob("*/*.log")
        with files_end_at(segment.stat().st_size + 1000):
            body = {"stream_name": "s", "records": [record(bytes(3000))]}
            message = await dis.refused("DIS.5000", "POST", "records", body, status=500)
            assert message == "System error. [File too large]"
            assert (await dis.put([record(b"fits")]))["failed_record_count"] == 0
        assert "Traceback" not in caplog.text
        reply = await dis.put([record(b"after")])
        assert reply["records"][0]["sequence_number"] == "2"  # a refused one takes no number
        expected = [b"before", b"fits", b"after"]
        assert [b64decode(r["data"]) for r in await dis.read_all()] == expected
    async with calling(tmp_path) as dis:
        assert dis.server.recovery == ()
        assert [b64decode(r["data"]) for r in await dis.read_all()] == expected


async def test_a_stop_on_a_full_disk_loses_metrics_and_nothing_else(tmp_path, caplog):
    async with calling(tmp_path) as dis:
        await dis.create()
        await dis.put([record(b"kept")])
        with files_end_at((tmp_path / "catalog.db-wal").stat().st_size):
            await dis.server.stop()
    assert "the metrics of the last minutes are lost" in caplog.text
    async with calling(tmp_path) as dis:
        assert [b64decode(r["data"]) for r in await dis.read_all()] == [b"kept"]


def test_a_transaction_whose_commit_fails_is_not_left_open(tmp_path):
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        db.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(sqlite3.IntegrityError), transaction(db):
            db.execute("INSERT INTO b VALUES (1)")  # only the commit sees that there is no such a
        assert not db.in_transaction
        assert db.execute("SELECT * FROM b").fetchall() == []


async def test_a_full_disk_is_a_clear_500_for_the_catalog_as_well(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        wal = tmp_path / "catalog.db-wal"
        with files_end_at(wal.stat().st_size):
            message = await dis.refused(
                "DIS.5000", "POST", "apps", {"app_name": "a" * 100}, status=500
            )
            assert message.startswith("System error. [")
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
    async with calling(tmp_path) as dis:
        assert [app["app_name"] for app in (await dis.call("GET", "apps"))["apps"]] == ["app"]
