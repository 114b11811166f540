"""`RemoteDIS`: a server in another thread's loop, acted on over its admin routes."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from server_caller import START_MS

from aiodis import DISClient, Record, ServerError
from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError
from aiodis.server import Account, LocalDIS, ManualClock, User
from aiodis.server.fault_outcomes import error, hang, http_status, latency
from aiodis.testing.remote import AsyncRemoteDIS, RemoteDIS, RemoteError


@pytest.fixture
def server() -> Iterator[LocalDIS]:
    """A server that runs on another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = LocalDIS(clock=ManualClock(START_MS), anonymous=True)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(20)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def dis(server) -> RemoteDIS:
    return RemoteDIS(server.endpoint)


def client(server: LocalDIS) -> DISClient:
    return DISClient(**server.client_settings, retries=0)


def test_health_and_metrics_are_told(dis, server):
    assert dis.health().status == "ready"
    assert dis.health().projects == [server.project_id]
    assert "aiodis_server_requests_total" in dis.metrics()


async def test_faults_are_made_met_counted_and_ended(dis, server):
    async with client(server) as calls:
        scripted = dis.faults.push("streams.list", error="DIS.5000", times=2)
        rule = dis.faults.rule("apps.list", outcome=http_status(503), rate=1.0, seed=7, times=9)
        with pytest.raises(ServerError):
            await calls.streams.list()
        assert (scripted.count, scripted.left) == (1, 1)
        with pytest.raises(AssertionError, match="came 1 of 2"):
            dis.faults.assert_exhausted()
        with pytest.raises(ServerError):
            await calls.apps.list()
        assert dis.faults.counts == {
            ("streams.list", "error DIS.5000"): 1,
            ("apps.list", "http_status 503"): 1,
        }
        assert [fault.name for fault in dis.faults] == ["error DIS.5000", "http_status 503"]
        dis.faults.end(scripted, rule)
        dis.faults.assert_exhausted()
        await calls.streams.list()
        dis.faults.push("streams.list", outcome=error("DIS.5001"))
        dis.faults.clear()
        await calls.streams.list()
        assert not dis.faults.counts


async def test_single_records_fail(dis, server):
    async with client(server) as calls:
        await calls.streams.create(stream_name="s", partition_count=2)
        fault = dis.faults.partial(code="DIS.4303", stream="s", partition=1, times=1)
        records = [Record(b"a", partition_id="0"), Record(b"b", partition_id="1")]
        reply = await calls.records.put(stream_name="s", records=records)
        assert reply.failed_record_count == 1
        assert fault.count == 1
        assert [record.data for record in dis.records("s")] == [b"a"]


def test_a_scope_ends_only_what_was_made_in_it(dis, server):
    dis.faults.push("streams.list", outcome=hang())
    with dis.faults.scope() as faults:
        faults.rule("*", outcome=latency(5))
        with faults.scope():
            faults.rule("*", error="DIS.5000")
        assert len(list(server.faults)) == 2
    assert [fault.name for fault in server.faults] == ["hang"]


async def test_one_projects_faults_and_requests_are_its_own(dis, server):
    here, there = (dis.faults.of_project(name) for name in (server.project_id, "other"))
    there.rule("*", error="DIS.5000")
    async with client(server) as calls:
        await calls.streams.list()
        here.push("streams.list", error="DIS.5000")
        with pytest.raises(ServerError):
            await calls.streams.list()
    assert not there.counts
    assert here.counts
    assert len(dis.requests.of_project(server.project_id)) == 2
    assert len(dis.requests.of_project("other")) == 0


async def test_requests_are_listed_and_waited_for(dis, server):
    assert dis.requests.last is None
    async with client(server) as calls:
        waiting = asyncio.create_task(dis.requests.wait("streams.list", count=2))
        for _ in range(2):
            await calls.streams.list()
        assert [seen.number for seen in await waiting] == [1, 2]
    assert dis.requests.of("streams.list", status=200) == list(server.requests)
    assert dis.requests.last == server.requests.last
    with pytest.raises(TimeoutError):
        dis.requests.wait_blocking("streams.list", count=3, timeout=0.01)
    with pytest.raises(ConfigError, match=r"no operation 'streams.lists'"):
        dis.requests.of("streams.lists")
    dis.requests.clear()
    assert len(dis.requests) == 0


def test_the_clock_is_moved(dis, server):
    assert (dis.clock.kind, dis.clock.now_ms()) == ("manual", START_MS)
    dis.clock.advance(minutes=1, milliseconds=1)
    assert server.clock.now_ms() == START_MS + 60_001
    with pytest.raises(ConfigError):
        dis.clock.advance(hours=-1)


async def test_accounts_come_and_go(dis, server):
    account = Account("a/b", "p1", [User("ann", keys=[AccessKey("AK9", "SK9")])])
    settings = dis.add_account(account, limited=False)
    async with DISClient(**settings) as calls:
        await calls.streams.create(stream_name="mine", partition_count=1)
        await calls.records.put(stream_name="mine", records=[Record(b"x", partition_key="k")])
    (found,) = dis.records("mine", project_id="p1")
    assert (found.data, found.partition_key) == (b"x", "k")
    assert server.records("mine", project_id="p1") == [found]
    with pytest.raises(ConfigError, match="twice"):
        dis.add_account(account)
    for absent in ({"stream_name": "mine"}, {"stream_name": "mine", "project_id": "p2"}):
        with pytest.raises(RemoteError) as caught:
            dis.records(**absent)
        assert caught.value.status == 404
    dis.remove_account("a/b")
    for name in ("a/b", "local"):
        with pytest.raises(RemoteError, match="no account"):
            dis.remove_account(name)


async def test_what_it_holds_is_taken_put_back_purged_and_removed(dis, server):
    async with client(server) as calls:
        await calls.streams.create(stream_name="s", partition_count=1)
        await calls.records.put(stream_name="s", records=[Record(b"kept")])
        snapshot = dis.snapshot()
        assert snapshot == server.snapshot()
        await calls.records.put(stream_name="s", records=[Record(b"gone")])
        dis.restore(snapshot)
        assert [record.data for record in dis.records("s")] == [b"kept"]
        dis.purge("s")
        assert dis.records("s") == []
        reply = await calls.records.put(stream_name="s", records=[Record(b"next")])
        assert reply.records[0].sequence_number == "1"
        dis.reset(server.project_id)
        assert (await calls.streams.list()).stream_names == []
        dis.restore(snapshot, server.project_id)
        assert (await calls.streams.list()).stream_names == ["s"]
    for act in (lambda: dis.purge("x"), lambda: dis.reset("x"), lambda: dis.snapshot("x")):
        with pytest.raises(RemoteError):
            act()


async def test_a_seed_is_added_as_a_whole_or_not_at_all(dis, server, tmp_path):
    seed = {"streams": [{"stream_name": "s", "partition_count": 1, "records": [{"data": "a"}]}]}
    dis.seed(seed)
    assert [record.data for record in dis.records("s")] == [b"a"]
    with pytest.raises(ConfigError):
        dis.seed(seed)
    path = tmp_path / "seed.json"
    path.write_text(
        '{"streams": [{"stream_name": "t", "partition_count": 2}], "apps": [{"app_name": "x"}]}'
    )
    dis.seed(path)
    lines = tmp_path / "seed.jsonl"
    lines.write_text(
        '{"stream": {"stream_name": "u", "partition_count": 1}}\n'
        '{"record": {"stream_name": "u", "data": "b"}}'
    )
    dis.seed(lines)
    assert [record.data for record in dis.records("u")] == [b"b"]
    async with client(server) as calls:
        assert (await calls.streams.list()).stream_names == ["s", "t", "u"]
    for wrong in ({"stream": []}, tmp_path / "none.json", tmp_path / "seed.yaml"):
        with pytest.raises(ConfigError):
            dis.seed(wrong)


async def test_all_of_it_can_be_awaited(server):
    dis = AsyncRemoteDIS(server.endpoint)
    assert (await dis.health()).status == "ready"
    fault = await dis.faults.push("streams.list", error="DIS.5000")
    await dis.clock.advance(seconds=1)
    async with client(server) as calls:
        with pytest.raises(ServerError):
            await calls.streams.list()
    assert [seen.error for seen in await dis.requests.wait("streams.list")] == ["DIS.5000"]
    await dis.faults.assert_exhausted()
    assert await asyncio.to_thread(lambda: fault.count) == 1


def test_a_server_that_is_not_there_is_told_in_one_line(server):
    gone = RemoteDIS("http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(RemoteError, match=r"^http://127.0.0.1:9 does not answer"):
        gone.health()
    with pytest.raises(ConfigError):
        RemoteDIS("127.0.0.1:9")


async def test_a_proxy_of_the_environment_is_not_asked(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await AsyncRemoteDIS(server.endpoint).health()).status == "ready"


async def test_a_server_with_tls_is_trusted_by_its_authority():
    async with LocalDIS(tls=True) as server:
        dis = AsyncRemoteDIS(server.endpoint, ca_file=server.ca_file)
        assert (await dis.health()).status == "ready"
        with pytest.raises(RemoteError):
            await AsyncRemoteDIS(server.endpoint).health()
