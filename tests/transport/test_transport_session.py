"""The session over real sockets, against servers that behave and servers that do not."""

import asyncio
import contextlib
import gzip
import os
import socket
import ssl

import pytest
import trustme
from aiohttp import web

from aiodis.config import ClientSettings
from aiodis.errors import (
    CertificateError,
    ClosedError,
    ConfigError,
    ConnectError,
    DecodeError,
    RequestTimeoutError,
    TransportError,
)
from aiodis.transport import session as session_module
from aiodis.transport.session import AiohttpSession

LARGE = os.urandom(32 * 1024 * 1024)  # more than the kernel's buffers hold


@contextlib.asynccontextmanager
async def opened(**settings):
    session = AiohttpSession(ClientSettings(endpoint="http://127.0.0.1", **settings))
    try:
        yield session
    finally:
        await session.close()


@contextlib.asynccontextmanager
async def raw_server(behave):
    """Serve connections with `behave(reader, writer)`."""

    async def handle(reader, writer):
        try:
            await behave(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def web_server(handler, tls=None):
    """Serve every request with `handler`; also gives the list of the peers' ports."""
    peers = []

    async def noting(request):
        peers.append(request.transport.get_extra_info("peername")[1])
        return await handler(request)

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", noting)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    scheme, port = ("https" if tls else "http"), runner.addresses[0][1]
    try:
        yield f"{scheme}://localhost:{port}", peers
    finally:
        await runner.cleanup()


async def ask(session, url, method="GET", *, body=None, timeout_s=5.0, **headers):
    return await session.send(method, url, headers=headers, body=body, timeout_s=timeout_s)


async def echo(request):
    return web.Response(body=await request.read(), headers={"X-Saw": request.raw_path})


def reset(writer):
    """Close so that the peer gets RST and not FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


# Answers


@pytest.mark.parametrize("size", [1, 128 * 1024, 128 * 1024 + 1, 3_000_000])
async def test_a_body_arrives_whole_whatever_its_size(size):
    async with web_server(echo) as (url, _), opened() as session:
        status, _, body = await ask(session, url, "POST", body=LARGE[:size])
    assert (status, body == LARGE[:size]) == (200, True)


async def test_an_empty_body_is_a_body():
    async with web_server(echo) as (url, _), opened() as session:
        assert (await ask(session, url, "POST", body=b"")).body == b""


async def test_the_url_is_sent_as_it_was_signed():
    async with web_server(echo) as (url, _), opened() as session:
        answer = await ask(session, f"{url}/a%2Fb~/?c=%2B%20%7E&d=a%3D%3d&e=")
    assert answer.headers["x-saw"] == "/a%2Fb~/?c=%2B%20%7E&d=a%3D%3d&e="


async def test_headers_are_sent_as_given_and_no_cookies_are_kept():
    seen = []

    async def handler(request):
        seen.append(dict(request.headers))
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    async with web_server(handler) as (url, _), opened() as session:
        for _ in range(2):
            await ask(session, url, "POST", body=b"x", **{"Host": "h:1", "Content-Type": "a/b"})
    assert seen[1]["Host"] == "h:1"
    assert seen[1]["Content-Type"] == "a/b"
    assert seen[1]["Content-Length"] == "1"
    assert "Cookie" not in seen[1]


async def test_a_connection_is_kept_for_the_next_request():
    async with web_server(echo) as (url, peers), opened() as session:
        for _ in range(5):
            await ask(session, url, "POST", body=b"x")
        await asyncio.gather(*(ask(session, url, "POST", body=b"x") for _ in range(3)))
    assert len(set(peers[:5])) == 1
    assert len(set(peers)) <= 3


async def test_no_more_connections_than_allowed_are_made():
    async def slow(_):
        await asyncio.sleep(0.01)
        return web.Response()

    async with web_server(slow) as (url, peers), opened(max_connections=2) as session:
        await asyncio.gather(*(ask(session, url) for _ in range(10)))
    assert len(set(peers)) == 2


async def test_an_error_status_is_an_answer():
    async def no(_):
        return web.Response(status=503, body=b"no")

    async with web_server(no) as (url, _), opened() as session:
        assert (await ask(session, url))[::2] == (503, b"no")


async def test_a_redirect_is_not_followed():
    async def elsewhere(request):
        raise web.HTTPFound(str(request.url.with_path("/other")))

    async with web_server(elsewhere) as (url, peers), opened() as session:
        assert (await ask(session, url)).status == 302
    assert len(peers) == 1


async def test_a_packed_answer_is_unpacked():
    async def packed(_):
        return web.Response(body=gzip.compress(b"a" * 999), headers={"Content-Encoding": "gzip"})

    async with web_server(packed) as (url, _), opened() as session:
        assert (await ask(session, url)).body == b"a" * 999


@pytest.mark.parametrize("form", ["sized", "chunked", "packed"])
async def test_an_answer_that_is_too_large_is_not_read(form, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_ANSWER_BYTES", 100_000)

    async def large(request):
        if request.path == "/small":
            return web.Response()
        if form == "sized":
            return web.Response(body=b"a" * 100_001)
        if form == "packed":
            body = gzip.compress(b"a" * 100_001)
            return web.Response(body=body, headers={"Content-Encoding": "gzip"})
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"a" * 10_000)
        return response

    async with web_server(large) as (url, _), opened() as session:
        with pytest.raises(DecodeError, match="larger than 100000 bytes"):
            await ask(session, url)
        assert (await ask(session, f"{url}/small")).status == 200


async def test_an_answer_of_many_megabytes_is_read():
    async def large(_):
        return web.Response(body=LARGE)

    async with web_server(large) as (url, _), opened() as session:
        assert (await ask(session, url)).body == LARGE


async def test_a_long_token_in_a_header_is_read():
    async def token(_):
        return web.Response(headers={"X-Subject-Token": "t" * 30_000})

    async with web_server(token) as (url, _), opened() as session:
        assert len((await ask(session, url)).headers["X-Subject-Token"]) == 30_000


# No answer


async def test_nobody_listening_is_a_connect_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    async with opened() as session:
        with pytest.raises(ConnectError, match=rf"^127\.0\.0\.1:{port}: no connection: ") as caught:
            await ask(session, f"http://127.0.0.1:{port}/?secret", "POST", body=b"x")
    assert not caught.value.ambiguous
    assert caught.value.__cause__ is not None
    assert "secret" not in str(caught.value)


async def test_a_name_nobody_knows_is_a_connect_error():
    async with opened() as session:
        with pytest.raises(ConnectError, match=r"no-such-host\.invalid:443: no connection"):
            await ask(session, "https://no-such-host.invalid/")


async def test_a_connection_that_is_not_made_in_time_is_a_connect_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # nobody accepts, so the backlog is full
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        async with opened(connect_timeout_ms=50) as session:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}/"
            with pytest.raises(ConnectError, match="it took too long"):
                await ask(session, url, "POST", body=b"x")
        for filler in fillers:
            filler.close()


async def test_a_pool_that_stays_full_sends_nothing():
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(_):
        arrived.set()
        await release.wait()
        return web.Response()

    async with web_server(slow) as (url, peers), opened(max_connections=1) as session:
        first = asyncio.create_task(ask(session, url))
        await arrived.wait()
        with pytest.raises(ConnectError, match=r"no connection was free within 0\.05 s"):
            await ask(session, url, "POST", body=b"x", timeout_s=0.05)
        release.set()
        await first
    assert len(peers) == 1


async def test_silence_is_a_timeout_and_ambiguous():
    async def silent(reader, _):
        await reader.read(-1)

    async with raw_server(silent) as url, opened() as session:
        with pytest.raises(RequestTimeoutError, match=r"within 0\.05 s") as caught:
            await ask(session, url, "POST", body=b"x", timeout_s=0.05)
    assert caught.value.ambiguous
    assert isinstance(caught.value, TimeoutError)


async def test_a_timeout_before_the_whole_body_went_out_is_not_ambiguous():
    async def deaf(_, writer):
        writer.transport.pause_reading()
        await asyncio.sleep(0.3)

    async with raw_server(deaf) as url, opened() as session:
        with pytest.raises(RequestTimeoutError) as caught:
            await ask(session, url, "POST", body=LARGE, timeout_s=0.1)
    assert not caught.value.ambiguous


async def test_a_reset_before_the_whole_body_went_out_is_not_ambiguous():
    async def hang_up(reader, writer):
        await reader.read(1000)
        reset(writer)

    async with raw_server(hang_up) as url, opened() as session:
        with pytest.raises(TransportError) as caught:
            await ask(session, url, "POST", body=LARGE)
    assert not caught.value.ambiguous
    assert not isinstance(caught.value, ConnectError)


@pytest.mark.parametrize("gently", [True, False], ids=["closed", "reset"])
async def test_a_connection_lost_after_the_body_went_out_is_ambiguous(gently):
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\nthe body")
        if not gently:
            reset(writer)

    async with raw_server(hang_up) as url, opened() as session:
        with pytest.raises(TransportError) as caught:
            await ask(session, url, "POST", body=b"the body")
    assert caught.value.ambiguous


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", "the answer broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf", "answer"),
    ],
)
async def test_half_an_answer_is_none(text, words):
    async def half(reader, writer):
        await reader.readuntil(b"\r\n\r\nx")
        writer.write(text)

    async with raw_server(half) as url, opened() as session:
        with pytest.raises(TransportError, match=words) as caught:
            await ask(session, url, "POST", body=b"x")
    assert caught.value.ambiguous
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_request_is_sent_once_also_where_aiohttp_would_repeat_it(method):
    heads = []

    async def once(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        heads.append(await reader.readuntil(b"\r\n\r\n"))  # and hangs up on the kept connection

    async with raw_server(once) as url, opened() as session:
        await ask(session, url, method)
        with pytest.raises(TransportError):
            await ask(session, url, method)
    assert len(heads) == 2


async def test_a_cancelled_request_closes_its_connection():
    gone = asyncio.Event()

    async def silent(reader, _):
        await reader.read(-1)
        gone.set()

    async with raw_server(silent) as url, opened() as session:
        before = asyncio.all_tasks()
        task = asyncio.create_task(ask(session, url, "POST", body=b"x"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 2)
        async with asyncio.timeout(2):  # the server's own task takes a few turns to end
            while not asyncio.all_tasks() <= before:  # noqa: ASYNC110 - no event tells that a task ended
                await asyncio.sleep(0)


# Life


async def test_close_fails_what_is_under_way_and_what_comes_after():
    async def silent(reader, _):
        await reader.read(-1)

    async with raw_server(silent) as url, opened() as session:
        task = asyncio.create_task(ask(session, url, "POST", body=b"x"))
        await asyncio.sleep(0.05)
        await session.close()
        await session.close()
        with pytest.raises(TransportError):
            await task
        with pytest.raises(ClosedError):
            await ask(session, url)
        with pytest.raises(ClosedError):
            await session.open()


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def server_tls(authority, name="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_an_authority_from_the_ca_file_is_trusted(authority, ca_file):
    async with (
        web_server(echo, server_tls(authority)) as (url, peers),
        opened(ca_file=ca_file) as session,
    ):
        for _ in range(3):
            assert (await ask(session, url, "POST", body=LARGE[:999_999])).status == 200
    assert len(set(peers)) == 1


async def test_an_unknown_authority_is_refused(authority):
    async with web_server(echo, server_tls(authority)) as (url, peers), opened() as session:
        with pytest.raises(CertificateError, match="the certificate is not trusted: ") as caught:
            await ask(session, url, "POST", body=b"x")
    assert not caught.value.retryable
    assert peers == []


async def test_a_certificate_of_another_host_is_refused(authority, ca_file):
    tls = server_tls(authority, "elsewhere.example")
    async with web_server(echo, tls) as (url, peers), opened(ca_file=ca_file) as session:
        with pytest.raises(CertificateError, match="localhost"):
            await ask(session, url)
    assert peers == []


async def test_the_ca_file_is_trusted_alone(ca_file):
    context = session_module._tls_context(ca_file)
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


async def test_plain_http_behind_https_is_no_connection(ca_file):
    async with web_server(echo) as (url, _), opened(ca_file=ca_file) as session:
        with pytest.raises(ConnectError, match="no connection"):
            await ask(session, url.replace("http:", "https:"))


@pytest.mark.parametrize("content", [None, "not a certificate"])
async def test_a_ca_file_that_cannot_be_read_is_said_at_once(content, tmp_path):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    async with opened(ca_file=path) as session:
        with pytest.raises(ConfigError, match=r"^ca_file: .*ca\.pem"):
            await session.open()
