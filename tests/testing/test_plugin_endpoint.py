"""`--dis-endpoint`: the same tests against a server in another process."""

import os
import subprocess
import sys
import time

import pytest

import aiodis.testing.hosts
import aiodis.testing.remote_sandbox
import aiodis.testing.wishes  # noqa: F401

pytest_plugins = ["pytester"]

INI = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function"


def serve(folder, *options):
    """Start a server in a process of its own, and give its URL, until the generator goes on."""
    ready = folder / "ready"
    command = [sys.executable, "-m", "aiodis", "serve", "--port", "0", "--ready-file", str(ready)]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (ready.exists() and ready.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield ready.read_text().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A server whose admin routes may be used."""
    yield from serve(tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A server without admin routes, as the service is."""
    yield from serve(tmp_path_factory.mktemp("service"), "--admin", "off")


@pytest.fixture
def run(pytester, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AIODIS_", "HUAWEICLOUD_"))]:
        monkeypatch.delenv(name)

    def run(endpoint, code, *arguments, **expected):
        pytester.makeini(INI)
        pytester.makepyfile(test_it=code)
        options = ["-p", "pytest_aiodis", "--asyncio-mode=auto", "-rs", *arguments]
        result = pytester.runpytest_inprocess(*options, f"--dis-endpoint={endpoint}")
        result.assert_outcomes(**expected)
        return result

    return run


BOTH = """
    import pytest
    from aiodis.errors import NotFoundError
    from aiodis.testing import assert_delivered

    async def put_and_see(dis):
        async with dis.client() as client, client.producer("orders") as producer:
            sent = [(await producer.send(data), data) for data in (b"1", b"2", b"3")]
            await producer.flush()
        assert_delivered(dis.records("orders"), sent)
        assert len(dis.records("orders")) == 3
        dis.put("orders", b"4", partition_key="k")
        assert len(dis.records("orders")) == 4

    @pytest.mark.parametrize("number", range(2))
    @pytest.mark.dis(streams={"orders": 2})
    async def test_from_the_mark(dis, number):
        await put_and_see(dis)

    async def test_made(dis):
        with pytest.raises(NotFoundError):
            dis.records("orders")
        dis.create_stream("orders")
        await put_and_see(dis)
"""


def test_an_embedded_dis_gives_each_test_a_project_of_its_own(run, embedded):
    run(
        embedded,
        BOTH
        + """
    async def test_faults_and_requests(dis, dis_server):
        assert dis_server.endpoint == dis.endpoint
        dis.faults.push("streams.list", error="DIS.5000")
        with dis.faults.scope():
            dis.faults.rule("*", error="DIS.5000")
        async with dis.client(retry_backoff_ms=1) as client:
            await client.streams.list()
        assert [seen.status for seen in dis.requests] == [500, 200]
        dis.faults.assert_exhausted()

    @pytest.mark.dis(clock="manual")
    def test_another_clock(dis):
        raise AssertionError

    def test_a_server_of_its_own(dis_inloop):
        raise AssertionError
    """,
        passed=4,
        skipped=2,
    ).stdout.fnmatch_lines_random(
        [
            f"aiodis: DIS at {embedded}",
            f"SKIPPED*clock='manual': {embedded} has clock 'real'",
            "SKIPPED*dis_inloop is a server of its own: not with --dis-endpoint",
        ]
    )


def test_elsewhere_tests_share_the_project_and_their_streams_are_deleted(run, service):
    run(
        service,
        BOTH
        + """
    async def test_nothing_is_left(dis):
        async with dis.client() as client:
            assert (await client.streams.list()).stream_names == []

    def test_faults(dis):
        dis.faults.push("*", error="DIS.5000")

    def test_requests(dis):
        assert not dis.requests

    @pytest.mark.dis(limits="off", quotas={"app": 1})
    def test_limits(dis):
        raise AssertionError

    def test_server(dis_server):
        raise AssertionError
    """,
        passed=4,
        skipped=4,
    ).stdout.fnmatch_lines_random(
        [
            f"SKIPPED*faults: {service} is no embedded DIS, or lets nobody use its admin routes",
            f"SKIPPED*requests: {service} is no embedded DIS*",
            f"SKIPPED*limits, quotas: {service} is no embedded DIS*",
            f"SKIPPED*dis_server: {service} is no embedded DIS*",
        ]
    )


def test_a_failed_test_shows_what_the_server_saw(run, embedded):
    run(
        embedded,
        """
        async def test_it(dis):
            dis.faults.push("records.put", error="DIS.5000")
            async with dis.client() as client:
                await client.streams.list()
            assert False
        """,
        failed=1,
    ).stdout.fnmatch_lines(
        ["*aiodis call*", f"{embedded}, project*", "*RemoteClock*", "faults: *", "*streams.list*"]
    )


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://127.0.0.1:9", "*--dis-endpoint http://127.0.0.1:9: *does not answer*"),
        ("https://dis.example.com", "*--dis-endpoint*no credentials*HUAWEICLOUD_SDK_AK*"),
        ("ftp://127.0.0.1", "*--dis-endpoint ftp://127.0.0.1: endpoint must look like*"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(run, endpoint, says):
    result = run(
        endpoint,
        """
        def test_it(dis):
            pass
        """,
        errors=1,
    )
    result.stdout.fnmatch_lines([says])
    assert "Traceback" not in result.stdout.str()
