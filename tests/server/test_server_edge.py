"""The edge over raw sockets: what is too large, too many or too slow hurts nobody else."""

import asyncio
import json
import resource
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import perf_counter

import cramjam
import pytest
from server_caller import calling, record

from aiodis.errors import ConfigError
from aiodis.server import EdgeLimits
from aiodis.server.edge import MAX_BODY_BYTES, MAX_LINE_BYTES
from aiodis.server.fault_outcomes import hang

MIB = 1024 * 1024
HEAD = b"POST /v2/p/streams HTTP/1.1\r\nHost: x\r\n"
LIST = b"GET /v2/p/streams HTTP/1.1\r\nHost: x\r\n\r\n"
SOON_S = 20.0  # what is to happen after a fraction of a second has so long on a busy machine


@asynccontextmanager
async def connection(dis, *, context=None):
    reader, writer = await asyncio.open_connection(*dis.server._address, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def status_of(reader):
    async with asyncio.timeout(SOON_S):
        line = await reader.readline()
    assert line.startswith(b"HTTP/1."), line
    return int(line.split()[1])


async def answer_of(reader):
    status = await status_of(reader)
    async with asyncio.timeout(SOON_S):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n") if line)
        return status, json.loads(await reader.readexactly(int(lines["content-length"])))


async def ends(reader):
    """See that the server closes, without an answer."""
    async with asyncio.timeout(SOON_S):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""


async def until(holds):
    """Wait for what the server does when it comes to it, and tells nobody."""
    async with asyncio.timeout(SOON_S):
        while not holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


def edge(**limits):
    return calling(edge=EdgeLimits(**limits), limits=False)


def resident_mib():
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize() / MIB


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_limit_that_lets_nothing_through_is_refused_at_once(value):
    with pytest.raises(ConfigError, match="idle_timeout_s"):
        EdgeLimits(idle_timeout_s=value)


def test_the_memory_for_bodies_holds_one_of_the_largest():
    with pytest.raises(ConfigError, match="less than a body"):
        EdgeLimits(max_arriving_bytes=MAX_BODY_BYTES - 1)


# -- Too large ----------------------------------------------------------------------------


async def test_a_head_is_refused_when_its_lines_together_are_too_much():
    async with edge(max_head_bytes=1000) as dis, connection(dis) as (reader, writer):
        line = b"X-Line: " + b"x" * 200 + b"\r\n"
        writer.write(HEAD + 5 * line)
        status, body = await answer_of(reader)
        assert (status, body["errorCode"]) == (431, "DIS.4300")
        await ends(reader)
        assert (await dis.call("GET", "streams"))["total_number"] == 0


async def test_a_head_of_too_many_headers_is_refused():
    async with edge(max_headers=20) as dis:
        lines = b"".join(b"X-%d: x\r\n" % number for number in range(100))
        async with connection(dis) as (reader, writer):
            writer.write(HEAD + lines + b"\r\n")
            status, body = await answer_of(reader)
            assert (status, body["error_code"]) == (400, "DIS.4300")
            await ends(reader)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * (MAX_LINE_BYTES + 1) + b" HTTP/1.1\r\n\r\n",
        HEAD + b"X-Line: " + b"x" * (MAX_LINE_BYTES + 1) + b"\r\n\r\n",
        HEAD + b"X" * (MAX_LINE_BYTES + 1) + b": x\r\n\r\n",
    ],
)
async def test_a_line_that_is_too_long_is_refused_also_without_an_end(head):
    async with edge() as dis:
        for sent in (head, head.rstrip(b"\r\n")):
            async with connection(dis) as (reader, writer):
                writer.write(sent)
                assert (await answer_of(reader))[0] == 400
                await ends(reader)


async def test_what_is_no_http_is_refused_in_the_services_form_and_kept_out_of_the_log(caplog):
    async with edge() as dis:
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00\xff\xff", b"hello\r\n\r\n", b"\x00" * 100):
            async with connection(dis) as (reader, writer):
                writer.write(sent)
                status, body = await answer_of(reader)
                assert (status, body["errorCode"]) == (400, "DIS.4300")
                await ends(reader)
    assert [r for r in caplog.records if r.levelname in {"WARNING", "ERROR"}] == []


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent():
    async with edge() as dis, connection(dis) as (reader, writer):
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
        assert (await answer_of(reader))[0] == 413


async def test_a_body_in_chunks_is_refused_when_it_has_become_too_large():
    async with edge() as dis, connection(dis) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(MAX_BODY_BYTES // MIB + 1):
                writer.write(b"%x\r\n" % MIB + bytes(MIB) + b"\r\n")
                await writer.drain()
        assert (await answer_of(reader))[0] == 413


async def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = bytes(cramjam.zstd.compress(bytes(512 * MIB)))
    assert len(bomb) < MIB
    async with edge() as dis:
        before = resident_mib()
        for length in (512 * MIB, MAX_BODY_BYTES):  # it tells its size, or claims to be small
            headers = {"Content-Encoding": "zstd", "x-dis-zstd-content-length": str(length)}
            status = 413 if length > MAX_BODY_BYTES else 400
            await dis.call("POST", "records", data=bomb, headers=headers, status=status)
        assert resident_mib() - before < 64


# -- Too slow -----------------------------------------------------------------------------


async def trickle(writer, data=b"x"):
    """Send a byte now and then, until the server has had enough."""
    with suppress(ConnectionError):
        while True:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("before", [b"", LIST])
@pytest.mark.parametrize("begun", [b"", HEAD + b"X-Line: "])
async def test_a_connection_that_brings_no_whole_head_in_time_ends(before, begun):
    async with edge(idle_timeout_s=0.3) as dis, connection(dis) as (reader, writer):
        writer.write(before)
        if before:
            assert (await answer_of(reader))[0] == 200
        writer.write(begun)
        trickling = asyncio.create_task(trickle(writer, b"x" if begun else b""))
        await ends(reader)
        trickling.cancel()
        assert dis.server._listener.open_connections == 0


async def test_a_body_that_trickles_ends_with_408():
    async with edge(body_timeout_s=0.3) as dis, connection(dis) as (reader, writer):
        writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
        trickling = asyncio.create_task(trickle(writer))
        status, body = await answer_of(reader)
        assert (status, body["errorCode"]) == (408, "DIS.4300")
        await ends(reader)
        trickling.cancel()


async def test_a_client_that_does_not_read_its_answer_is_cut_off():
    async with edge(answer_timeout_s=0.3) as dis:
        await dis.create()
        await dis.put([record(bytes(MIB))])
        await dis.put([record(bytes(MIB))])
        cursor = await dis.cursor()
        ask = f"GET /v2/p/records?partition-cursor={cursor}&max_fetch_bytes={4 * MIB} HTTP/1.1"
        async with connection(dis) as (reader, writer):
            writer.transport.pause_reading()
            others = dis.server._listener.open_connections - 1
            writer.write(8 * f"{ask}\r\nHost: x\r\n\r\n".encode())  # more than sockets hold
            await until(lambda: dis.server._listener.open_connections == others)
            writer.transport.resume_reading()
            with suppress(ConnectionResetError):
                assert len(await reader.read()) < 16 * MIB
        assert len((await dis.get(cursor))["records"]) == 1


async def test_a_handshake_that_never_ends_is_ended():
    pytest.importorskip("trustme")
    limits = EdgeLimits(handshake_timeout_s=0.3)
    async with calling(tls=True, edge=limits) as dis:
        async with connection(dis) as (reader, _):
            await until(lambda: dis.server._listener.open_connections)
            await ends(reader)
        assert dis.server._listener.open_connections == 0


# -- Too many -----------------------------------------------------------------------------


async def test_the_connection_that_waits_longest_for_a_request_makes_room():
    async with edge(max_connections=2) as dis, AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(connection(dis)) for _ in range(2)]
        for reader, writer in (second, first):
            writer.write(LIST)
            assert (await answer_of(reader))[0] == 200
        third, _ = await stack.enter_async_context(connection(dis))
        await ends(second[0])
        first[1].write(LIST)
        assert (await answer_of(first[0]))[0] == 200
        assert dis.server._listener.open_connections == 2
        assert not third.at_eof()


async def test_a_connection_makes_room_whose_request_is_not_whole():
    async with edge(max_connections=1) as dis, AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(connection(dis))
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{")
        await until(lambda: dis.server._bodies.count)
        assert (await dis.call("GET", "streams"))["total_number"] == 0
        await ends(reader)
        await until(lambda: not dis.server._bodies.count)


async def test_the_excess_is_told_so_where_every_connection_has_a_request_in_hand():
    async with edge(max_connections=2) as dis, AsyncExitStack() as stack:
        dis.server.faults.push("streams.list", outcome=hang(), times=2)
        for number in (1, 2):
            _, writer = await stack.enter_async_context(connection(dis))
            writer.write(LIST)
            await until(lambda: dis.server.faults.counts.total() == number)  # noqa: B023
        async with connection(dis) as (reader, _):
            status, body = await answer_of(reader)
            assert (status, body["errorCode"]) == (503, "DIS.5000")
            await ends(reader)
        writer.close()
        await until(lambda: dis.server._listener.open_connections == 1)
        assert (await dis.call("GET", "streams"))["total_number"] == 0


async def test_handshakes_count_as_connections():
    pytest.importorskip("trustme")
    async with calling(tls=True, edge=EdgeLimits(max_connections=3)) as dis:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(connection(dis))
            await until(lambda: dis.server._listener.open_connections == 3)
            with pytest.raises(OSError):
                async with connection(dis, context=ssl.create_default_context()):
                    pass
        await until(lambda: not dis.server._listener.open_connections)


async def test_the_body_that_has_been_arriving_longest_makes_room():
    size = 5 * MIB
    async with edge(max_arriving_bytes=16 * MIB) as dis, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connection(dis)) for _ in range(3)]
        for count, (_, writer) in enumerate(slow, start=1):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (size + 1) + bytes(size))
            await until(lambda: dis.server._bodies.held == count * size)  # noqa: B023
        await dis.create()
        assert (await dis.put([record(bytes(MIB))]))["failed_record_count"] == 0
        status, body = await answer_of(slow[0][0])
        assert (status, body["errorCode"]) == (503, "DIS.5000")
        for reader, writer in slow[1:]:
            writer.write(b"x")
            assert (await answer_of(reader))[0] == 400  # they arrived whole, and are no JSON
        assert (dis.server._bodies.held, dis.server._bodies.count) == (0, 0)


async def test_200_that_trickle_leave_a_normal_client_quick_and_the_memory_flat():
    limits = EdgeLimits(max_connections=100, max_arriving_bytes=16 * MIB)
    async with calling(edge=limits, limits=False) as dis, AsyncExitStack() as stack:
        await dis.create()
        await dis.put([record(bytes(100_000))])
        before, tasks = resident_mib(), []
        for number in range(200):
            with suppress(ConnectionError):
                _, writer = await stack.enter_async_context(connection(dis))
                begun = (
                    b"X: " if number % 2 else b"Content-Length: 9999999\r\n\r\n" + bytes(100_000)
                )
                writer.write(HEAD + begun)
                tasks.append(asyncio.create_task(trickle(writer)))
        async with connection(dis) as (reader, writer):  # accepted after all of them
            writer.write(LIST)
            assert (await answer_of(reader))[0] == 200
        took = []
        for _ in range(50):
            began = perf_counter()
            assert (await dis.put([record(bytes(100_000))]))["failed_record_count"] == 0
            took.append(perf_counter() - began)
        assert dis.server._listener.open_connections <= 100
        assert dis.server._bodies.held <= 16 * MIB
        assert resident_mib() - before < 64
        assert sorted(took)[25] < 0.5  # a few ms; a queue behind those who trickle takes seconds
        for task in tasks:
            task.cancel()


async def test_without_descriptors_the_server_goes_on_once_there_are_some(monkeypatch, caplog):
    async with edge() as dis:
        loop = asyncio.get_running_loop()
        accept, fails = loop.sock_accept, [OSError(24, "Too many open files")] * 2

        async def sock_accept(bound):
            if fails:
                raise fails.pop()
            return await accept(bound)

        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        for _ in range(2):  # the accept that waits already is the old one
            async with connection(dis) as (reader, writer):
                writer.write(LIST)
                assert (await answer_of(reader))[0] == 200
    assert fails == []
    assert "Too many open files" in caplog.text


async def test_a_server_for_others_has_the_limits_too():
    limits = EdgeLimits(max_connections=1)
    remote = {"host": "0.0.0.0", "allow_remote": True, "secret_key": "own"}
    async with (
        calling(**remote, anonymous=False, edge=limits) as dis,
        connection(dis) as (reader, writer),
    ):
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{")
        await until(lambda: dis.server._bodies.count)
        await dis.refused("DIS.4101", "GET", "streams", status=441)
        await ends(reader)
