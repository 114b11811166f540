"""The pytest plugin, as a user's tests see it: pytest runs inside pytest."""

import subprocess
import sys

import pytest

# What an inner run imports first is imported again by the next one.
import aiodis.testing.hosts
import aiodis.testing.wishes  # noqa: F401

pytest_plugins = ["pytester"]

INI = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function"

ROUND_TRIP = """
async def round_trip(dis, name="orders"):
    async with dis.client() as client:
        async with client.producer(name) as producer:
            receipt = await producer.send(b"one", partition_key="k")
        assert (await receipt).sequence_number == 0
    assert [r.data for r in dis.records(name)] == [b"one"]
"""


@pytest.fixture
def run(pytester):
    """Run pytest on a test module, and see how many tests went how."""

    def run(code, *arguments, **expected):
        pytester.makeini(INI)
        pytester.makepyfile(round_trip=ROUND_TRIP, test_it=code)
        result = pytester.runpytest_inprocess("-p", "pytest_aiodis", *arguments)
        if expected:
            result.assert_outcomes(**expected)
        return result

    return run


# Frameworks


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixtures_serve_pytest_asyncio_in_any_mode_and_loop_scope(run, mode):
    run(
        """
        import pytest
        from round_trip import round_trip

        @pytest.mark.asyncio
        @pytest.mark.dis(streams={"orders": 3})
        async def test_function_loop(dis):
            await round_trip(dis)

        @pytest.mark.asyncio(loop_scope="session")
        @pytest.mark.dis(streams={"orders": 3})
        async def test_session_loop(dis):
            await round_trip(dis)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_the_others(dis, dis_client, dis_stream, dis_server):
            async with dis_client as client:
                listed = await client.streams.list()
                assert listed.stream_names == [dis_stream.name] == ["events"]
            async with dis_stream.producer(linger_ms=0) as producer:
                await (await producer.send(b"x"))
            async with dis_stream.consumer(app="a", poll_min_ms=1) as consumer:
                assert (await anext(consumer)).data == b"x"
            assert dis_server.endpoint == dis.endpoint

        @pytest.mark.asyncio
        async def test_in_loop(dis_inloop):
            async with dis_inloop as dis:
                dis.create_stream("orders")
                await round_trip(dis)
        """,
        f"--asyncio-mode={mode}",
        passed=4,
    )


def test_the_fixtures_serve_anyio(run):
    run(
        """
        import pytest
        from round_trip import round_trip

        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.mark.dis(streams={"orders": 1})
        async def test_it(dis):
            await round_trip(dis)

        async def test_in_loop(dis_inloop):
            async with dis_inloop as dis:
                dis.create_stream("orders")
                await round_trip(dis)
        """,
        "--asyncio-mode=strict",
        passed=2,
    )


def test_the_fixtures_serve_unittest_and_sync_tests(run):
    run(
        """
        import asyncio
        import unittest

        import pytest
        from round_trip import round_trip

        class TestOrders(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def sandbox(self, dis):
                self.dis = dis

            async def test_it(self):
                self.dis.create_stream("orders", 2)
                await round_trip(self.dis)

        def test_sync(dis):
            dis.create_stream("orders", 2)
            asyncio.run(round_trip(dis))
        """,
        passed=2,
    )


def test_each_worker_of_xdist_has_a_server_of_its_own(run):
    result = run(
        """
        import pytest
        from round_trip import round_trip

        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", range(6))
        @pytest.mark.dis(streams={"orders": 1})
        async def test_it(dis, number, worker_id):
            await round_trip(dis)
            print(f"<{worker_id} {dis.endpoint}>")
        """,
        "-n2",
        "-rP",
        passed=6,
    )
    seen = {line for line in result.outlines if line.startswith("<gw")}
    assert len({line.split()[0] for line in seen}) == len(seen) == 2


# Sandboxes


def test_a_sandbox_is_empty_whatever_others_left(run):
    run(
        """
        import pytest
        from aiodis.errors import AuthError, NotFoundError

        @pytest.mark.parametrize("number", range(3))
        async def test_it(dis, number):
            with pytest.raises(NotFoundError):
                dis.records("orders")
            dis.create_stream("orders").put(b"1", b"2")
            dis.faults.push("*", error="DIS.5000")
            assert len(dis.records("orders")) == 2
            assert not dis.requests

        kept = []

        async def test_keys_end_with_the_test(dis):
            kept.append(dis)

        async def test_which_others_see(dis):
            [ended] = kept
            assert ended.endpoint == dis.endpoint
            async with ended.client(retries=0) as client:
                with pytest.raises(AuthError):
                    await client.streams.list()
        """,
        "--asyncio-mode=auto",
        passed=5,
    )


def test_faults_and_requests_are_the_sandboxs_own(run):
    run(
        """
        from contextlib import ExitStack

        import pytest
        from aiodis.errors import ServerError
        from aiodis.testing.sandbox import local_sandbox
        from aiodis.testing.wishes import Wishes

        async def test_it(dis, dis_server):
            with local_sandbox(dis_server, Wishes()) as other:
                dis.faults.rule("*", error="DIS.5000")
                async with other.client(retries=0) as client:
                    await client.streams.list()
                async with dis.client(retries=0) as client:
                    with pytest.raises(ServerError):
                        await client.streams.list()
                assert [seen.status for seen in dis.requests] == [500]
                assert [seen.status for seen in other.requests] == [200]
        """,
        "--asyncio-mode=auto",
        passed=1,
    )


def test_a_sandbox_has_keys_a_token_a_password_and_an_environment(run):
    run(
        """
        from aiodis import DISClient

        async def test_it(dis, monkeypatch):
            for credentials in (dis.credentials, dis.token, dis.password):
                async with dis.client(credentials=credentials) as client:
                    await client.streams.list()
            for name, value in dis.env.items():
                monkeypatch.setenv(name, value)
            async with DISClient.from_env() as client:
                await client.streams.list()
            assert {seen.user for seen in dis.requests.of("streams.list")} == {
                f"{dis.password.domain_name}.{dis.password.user_name}"
            }
        """,
        "--asyncio-mode=auto",
        passed=1,
    )


# The mark


def test_the_mark_gives_a_test_what_it_asks_for(run):
    run(
        """
        import pytest
        from aiodis import Record
        from aiodis.server import Transitions

        pytestmark = pytest.mark.dis(streams=["orders"], limits="off")

        async def put(dis, count):
            async with dis.client() as client:
                records = [Record(b"x", partition_id="0")] * 500
                reply = [
                    await client.records.put(stream_name="orders", records=records)
                    for _ in range(count)
                ]
            return sum(found.failed_record_count for found in reply)

        async def test_no_limits(dis):
            assert await put(dis, 4) == 0

        @pytest.mark.dis(limits="strict")
        async def test_the_nearest_mark_counts(dis):
            assert await put(dis, 4) > 0

        @pytest.mark.dis(streams={"a": 2, "b": {"partition_count": 1, "stream_type": "ADVANCED"}})
        async def test_streams(dis, dis_stream):
            assert dis_stream.name == "a"
            async with dis.client() as client:
                found = [await client.streams.describe(stream_name=name) for name in "ab"]
            assert [(s.writable_partition_count, s.stream_type) for s in found] == [
                (2, "COMMON"), (1, "ADVANCED"),
            ]

        @pytest.mark.dis(clock="manual")
        async def test_a_clock(dis, dis_server):
            assert dis.endpoint != dis_server.endpoint
            before = dis.clock.now_ms()
            dis.clock.advance(hours=1)
            assert dis.clock.now_ms() - before == 3_600_000

        @pytest.mark.dis(clock="auto")
        async def test_a_clock_that_goes_by_itself(dis):
            before = dis.clock.now_ms()
            async with dis.client(retry_backoff_ms=3_600_000, retry_backoff_max_ms=3_600_000,
                                  call_timeout_ms=36_000_000) as client:
                dis.faults.push("streams.list", error="DIS.5000", times=3)
                await client.streams.list()
            dis.faults.assert_exhausted()
            assert dis.clock.now_ms() > before + 60_000

        @pytest.mark.dis(limits="strict", quotas={"common_partition": 1})
        async def test_quotas(dis):
            with pytest.raises(Exception, match="DIS.4308"):
                dis.create_stream("more")

        @pytest.mark.dis(transitions=Transitions(after_calls=1))
        async def test_transitions(dis):
            async with dis.client() as client:
                assert (await client.streams.describe(stream_name="orders")).status == "CREATING"
                assert (await client.streams.describe(stream_name="orders")).status == "RUNNING"

        @pytest.mark.dis(clock="manual")
        async def test_in_loop(dis_inloop):
            async with dis_inloop as dis:
                assert dis.records("orders") == []
                dis.clock.advance(hours=1)
        """,
        "--asyncio-mode=auto",
        passed=8,
    )


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('clok="auto"', "there is no keyword 'clok'; there are: streams, limits, clock"),
        ('"orders"', "takes keywords only, not 'orders'"),
        ('limits="loose"', "limits='loose' is not one of 'strict', 'off'"),
        ("streams=3", 'streams=3 is neither {"orders": 3} nor a list of names'),
        ('streams={"orders": 0}', "streams: 'orders'"),
        ('streams={"a b": 1}', "streams: 'a b'"),
        ('streams={"a": {"partitions": 1}}', "partitions"),
        ('quotas={"partitions": 1}', "quota 'partitions' is none of common_partition"),
        ("quotas=3", 'quotas=3 is not like {"common_partition": 200}'),
        ("transitions=3", "transitions=3 is no aiodis.server.Transitions"),
    ],
)
def test_a_mark_that_asks_for_what_there_is_not_ends_the_run_before_it_begins(run, mark, says):
    result = run(
        f"""
        import pytest

        def test_before():
            raise AssertionError

        @pytest.mark.dis({mark})
        def test_it(dis):
            raise AssertionError
        """,
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    [line] = [line for line in result.errlines if line.startswith("ERROR:")]
    assert "test_it.py::test_it: @pytest.mark.dis: " in line
    assert says in line


def test_in_a_worker_of_xdist_a_wrong_mark_fails_its_test(run):
    run(
        """
        import pytest

        def test_before():
            pass

        @pytest.mark.dis(limits="loose")
        def test_it(dis):
            pass
        """,
        "-n1",
        *("-p", "no:looptime_plugin"),  # it asks for a loop in the worker, which has none
        passed=1,
        errors=1,
    ).stdout.fnmatch_lines(["test_it.py::test_it: @pytest.mark.dis: limits='loose' is not one of*"])


def test_the_mark_and_the_fixtures_are_listed(run):
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.dis(streams=*"])
    result = run("", "--fixtures")
    for name in ("dis", "dis_client", "dis_inloop", "dis_server", "dis_stream"):
        result.stdout.re_match_lines([rf"{name}( \[session scope\])? -- .*pytest_aiodis.py"])


# Reports


def test_a_failed_test_shows_what_its_dis_saw(run):
    result = run(
        """
        import pytest

        @pytest.mark.dis(streams={"orders": 1})
        async def test_fails(dis):
            dis.faults.push("records.put", error="DIS.4303", times=7)
            async with dis.client() as client:
                await client.streams.describe(stream_name="orders")
            assert False

        async def test_fails_in_loop(dis_inloop):
            async with dis_inloop as dis, dis.client() as client:
                await client.streams.list()
                assert False

        def test_fails_at_once(dis_inloop):
            assert False

        def test_passes(dis):
            pass
        """,
        "--asyncio-mode=auto",
        passed=1,
        failed=3,
    )
    text = result.stdout.str()
    assert text.count("aiodis call") == 3
    result.stdout.fnmatch_lines(
        [
            "*aiodis call*",
            "*LocalDIS http://127.0.0.1:*project-of-sandbox-*",
            "*SystemClock*, now 20*",
            "*records.put: error DIS.4303*",
            "requests: the last 1 of 1",
            "*streams.describe orders*200*",
            "*aiodis call*",
            "*streams.list*200*",
            "*aiodis call*",
            "it was not entered",
        ]
    )
    assert "secret key" not in text


def test_a_fixture_that_fails_shows_what_its_dis_saw_too(run):
    run(
        """
        import pytest

        @pytest.fixture
        def mine(dis):
            raise RuntimeError

        def test_it(mine):
            pass
        """,
        errors=1,
    ).stdout.fnmatch_lines(["*aiodis setup*", "no requests"])


# Weight


def test_the_plugin_imports_nothing_of_aiodis_until_it_is_used(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            import pytest_aiodis
            assert not {"aiodis", "aiohttp", "pydantic", "msgspec"} & sys.modules.keys()
        """
    )
    plugins = ["-p", "pytest_aiodis", "-p", "no:asyncio", "-p", "no:looptime_plugin"]
    command = [sys.executable, "-m", "pytest", *plugins, "-p", "no:hypothesispytest"]
    done = subprocess.run(
        [*command, pytester.path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
