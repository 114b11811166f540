"""One HTTP request and its answer: the only file of the client that knows aiohttp.

Every exception of aiohttp, ssl and the sockets ends here, as one of three:
`ConnectError` (nothing was sent), `RequestTimeoutError` and `TransportError`
(`ambiguous` where the whole request may have gone out).
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

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
from aiodis.memory import keep_freed_memory

__all__ = ["MAX_ANSWER_BYTES", "AiohttpSession", "Answer", "Session"]

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer larger than this, after decompression, is not read."""

# IAM's tokens come in a header and may be longer than aiohttp's limit of 8 KiB.
_MAX_FIELD_BYTES: Final = 64 * 1024
_SLICE: Final = 128 * 1024
# docs/decisions/0013: without it a steady load costs an eighth more, or worse.
_KEPT_MEMORY_BYTES: Final = 64 * 1024 * 1024
# An answer up to twice this size is received without a stop, and read when it is whole.
_READ_BUFFER_BYTES: Final = 2 * 1024 * 1024
# aiohttp rounds longer timeouts up to whole seconds, which would overstay a deadline.
_NEVER_ROUND: Final = 1e9


class Answer(NamedTuple):
    """An answer as it came; the names of `headers` are in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session(Protocol):
    """What carries one request at a time; the tests have a scripted one."""

    async def open(self) -> None:
        """Get ready; opening twice is opening once."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> Answer:
        """Send one request, once. `url` is percent-encoded and is sent as it is.

        A cancelled call may have been carried out.

        Raises:
            TransportError: no complete answer came.
            DecodeError: the answer is larger than `MAX_ANSWER_BYTES`.
        """

    async def close(self) -> None:
        """Close all connections; closing twice is closing once."""


class AiohttpSession:
    """A session on one aiohttp.ClientSession and one TLS context for life."""

    def __init__(self, settings: ClientSettings) -> None:
        self._ca_file = settings.ca_file
        self._max_connections = settings.max_connections
        self._connect_s = settings.connect_timeout_ms / 1000
        self._keepalive_s = settings.keepalive_ms / 1000
        self._client: aiohttp.ClientSession | None = None
        self._closed = False

    async def open(self) -> None:
        """Make the aiohttp session, inside the running loop.

        Raises:
            ConfigError: the CA file cannot be read.
            ClosedError: it was closed before.
        """
        keep_freed_memory(_KEPT_MEMORY_BYTES)
        self._opened()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> Answer:
        """Send one request; see `Session.send`."""
        client = self._opened()
        payload = None if body is None else _Body(body, headers.get("Content-Type"))
        until = asyncio.get_running_loop().time() + timeout_s
        try:
            async with client.request(
                method,
                _as_sent(url),
                headers=headers,
                data=payload,
                allow_redirects=False,
                timeout=_timeout(timeout_s, self._connect_s),
            ) as response:
                content = await _read(response, until)
                return Answer(response.status, response.headers, content)
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError and SSLError are OSErrors
            raise _translated(exc, url, timeout_s, payload) from exc

    async def close(self) -> None:
        """Close all connections; a request under way fails."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._client is None:
            if self._closed:
                raise ClosedError("the session is closed")
            self._client = self._make_client()
        return self._client

    def _make_client(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            # True is aiohttp's own verifying context, made once for the process.
            ssl=True if self._ca_file is None else _tls_context(self._ca_file),
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_s,
        )
        client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_field_size=_MAX_FIELD_BYTES,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        # aiohttp repeats GET, PUT and DELETE once by itself when a kept connection was
        # closed; unseen by the budget, the breaker and the count of attempts.
        client._retry_connection = False  # noqa: SLF001 - there is no public switch
        return client


@lru_cache(maxsize=256)
def _as_sent(url: str) -> URL:
    """Take a URL as it is spelled: what was signed is what is sent."""
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _timeout(total_s: float, connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s, ceil_threshold=_NEVER_ROUND)


class _Body(aiohttp.payload.Payload):
    """A request's body, written in slices, that knows whether all of it went out.

    Slices save aiohttp's copy of headers plus body and the TLS layer's growing
    buffers: 1,325 -> 750 us of CPU time for a request of 704 KB. Besides, aiohttp
    warns of plain bytes above 1 MiB.
    """

    _autoclose = True

    def __init__(self, body: bytes, content_type: str | None) -> None:
        super().__init__(body, content_type=content_type or "application/octet-stream")
        self._size = len(body)
        self.begun = False
        self.complete = False

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.begun = True
        view = memoryview(self._value)
        for start in range(0, len(view), _SLICE):
            # Set first: what is handed over may go out even if the wait after it fails.
            self.complete = start + _SLICE >= len(view)
            await writer.write(view[start : start + _SLICE])

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)


async def _read(response: aiohttp.ClientResponse, until: float) -> bytes:
    """Read the whole body, within bounds also where it unpacks to more than it weighs."""
    length = response.content_length
    if length is not None and "Content-Encoding" not in response.headers:
        if length > MAX_ANSWER_BYTES:
            raise _too_large(response)
        if length > 2 * _READ_BUFFER_BYTES:
            return await response.read()
        # `read` wakes its task for each piece, and joins the pieces twice.
        stream = response.content
        if stream.exception() is None:
            async with asyncio.timeout_at(until):
                await stream.wait_eof()
        return stream.read_nowait(-1)
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise _too_large(response)
    return bytes(content)


def _too_large(response: aiohttp.ClientResponse) -> DecodeError:
    response.close()  # what is left of it is not worth reading to keep the connection
    return DecodeError(
        f"the answer is larger than {MAX_ANSWER_BYTES} bytes", status=response.status, head=b""
    )


def _tls_context(ca_file: Path) -> ssl.SSLContext:
    """Trust the authorities in the file, and no others."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as exc:
        raise ConfigError(f"ca_file: {ca_file} holds no readable PEM certificate") from exc
    except OSError as exc:
        raise ConfigError(f"ca_file: {ca_file}: {exc.strerror}") from exc
    context.set_alpn_protocols(("http/1.1",))
    return context


def _translated(
    exc: aiohttp.ClientError | OSError, url: str, timeout_s: float, body: _Body | None
) -> TransportError:
    """Map a foreign exception. Without a body, a request counts as sent once connected."""
    where = _host_and_port(url)
    if isinstance(exc, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return CertificateError(f"{where}: the certificate is not trusted: {_reason(exc)}")
    if isinstance(exc, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return ConnectError(f"{where}: no connection: {_reason(exc)}")
    went_out = body is None or body.complete
    if not isinstance(exc, TimeoutError):
        return TransportError(f"{where}: {_broken_by(exc)}", ambiguous=went_out)
    if body is not None and not body.begun:
        return ConnectError(f"{where}: no connection was free within {timeout_s:g} s")
    return RequestTimeoutError(
        f"{where}: no complete answer within {timeout_s:g} s", ambiguous=went_out
    )


def _broken_by(exc: aiohttp.ClientError | OSError) -> str:
    """Say how an exchange broke off after it had begun."""
    match exc:
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection before it answered"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
    return f"the connection broke: {_reason(exc)}"


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _reason(exc: BaseException) -> str:
    """Say in one line what the operating system or the TLS library said."""
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return "it took too long"
    inner = getattr(exc, "certificate_error", None) or getattr(exc, "os_error", None) or exc
    text = (
        getattr(inner, "verify_message", None)
        or getattr(inner, "strerror", None)
        or str(inner)
        or type(inner).__name__
    )
    return " ".join(str(text).split())[:200]
