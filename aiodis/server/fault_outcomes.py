"""What a fault does to a call, as values. `fault_actor` acts them out.

An outcome takes one of two roles. Those of `Ending` decide how the call ends, so a
call has one of them; the rest (`Latency`, `Bandwidth`, `SkewedDate`) only change how
its answer comes, and add up.

`before` is in place of the operation; `after` is once it was carried out, so that
only the answer is lost or another. Each outcome lists the phases that it has, its
default first.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final, Literal

import orjson

from aiodis.errors import ConfigError
from aiodis.server.refusal import CODES
from aiodis.wire.error_body import encode_error

__all__ = [
    "Bandwidth",
    "Connection",
    "Ending",
    "Frozen",
    "Hang",
    "Latency",
    "Outcome",
    "Phase",
    "Reply",
    "Reset",
    "ResetAfter",
    "ResetBefore",
    "Restart",
    "SkewedDate",
    "Truncated",
    "bandwidth",
    "error",
    "expired_cursor",
    "expired_token",
    "frozen",
    "garbage_json",
    "gateway_page",
    "hang",
    "http_status",
    "latency",
    "message_of",
    "ready_made",
    "reset",
    "reset_after",
    "reset_before",
    "restart",
    "skewed_date",
    "truncated",
]

Phase = Literal["before", "after"]

_JSON: Final = "application/json"
_TEN_YEARS_S: Final = 10 * 365 * 86_400
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, a token
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\uffff]*")
_OF_THE_CONNECTION: Final = {"content-length", "transfer-encoding", "connection"}
# No JSON, nor UTF-8, yet it begins like an answer.
_GARBAGE: Final = b'{"failed_record_count": 0, "records": [{"partition_id": shardId-\xff\xfe'


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What all outcomes have: a name to count them by."""

    name: str
    phases: ClassVar[tuple[Phase, ...]] = ("before", "after")


@dataclass(frozen=True, slots=True)
class Reply(_Outcome):
    """An answer of its own."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Hang(_Outcome):
    """No answer, until the client goes or the server stops."""


@dataclass(frozen=True, slots=True)
class Reset(_Outcome):
    """The connection breaks in place of an answer."""


@dataclass(frozen=True, slots=True)
class Restart(_Outcome):
    """All connections break, and for a while nobody gets in."""

    down_ms: float


@dataclass(frozen=True, slots=True)
class Frozen(_Outcome):
    """A read stands still: it brings no record, and its cursor again."""

    phases: ClassVar[tuple[Phase, ...]] = ("before",)


@dataclass(frozen=True, slots=True)
class Truncated(_Outcome):
    """The connection closes after the first bytes of the answer's body; None is half of it."""

    phases: ClassVar[tuple[Phase, ...]] = ("after",)
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Latency(_Outcome):
    """A pause, `jitter_ms` more or less."""

    ms: float
    jitter_ms: float


@dataclass(frozen=True, slots=True)
class Bandwidth(_Outcome):
    """The answer's body comes slowly."""

    phases: ClassVar[tuple[Phase, ...]] = ("after",)
    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class SkewedDate(_Outcome):
    """The answer's Date is off."""

    phases: ClassVar[tuple[Phase, ...]] = ("after",)
    seconds: float


@dataclass(frozen=True, slots=True)
class ResetBefore(_Outcome):
    """The connection breaks before the request's body is read."""

    phases: ClassVar[tuple[Phase, ...]] = ("before",)


@dataclass(frozen=True, slots=True)
class ResetAfter(_Outcome):
    """The connection breaks once that many bytes of the request's body were read, or all."""

    phases: ClassVar[tuple[Phase, ...]] = ("before",)
    bytes: int


Connection = ResetBefore | ResetAfter
Ending = Reply | Hang | Reset | Restart | Frozen | Truncated
Outcome = Ending | Latency | Bandwidth | SkewedDate | Connection


def error(code: str, message: str | None = None, *, status: int | None = None) -> Reply:
    """Answer with a code of the service in the four-key body.

    Status and message are the service's own for the code. A code that the server does
    not know gets 500 if it begins with `DIS.5`, else 400.
    """
    row = CODES.get(code)
    known = row.status if row else 500 if code.startswith("DIS.5") else 400
    body = encode_error(code, message or message_of(code))
    return _reply(f"error {code}", status or known, {"Content-Type": _JSON}, body)


def expired_cursor() -> Reply:
    """Answer that the cursor is too old: DIS.4225."""
    return error("DIS.4225")


def expired_token() -> Reply:
    """Answer that the token is not valid: HTTP 441, DIS.4114."""
    return error("DIS.4114")


def http_status(
    status: int,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | Mapping[str, Any] = b"",
) -> Reply:
    """Answer with any status, headers and body. A mapping is sent as JSON."""
    match body:
        case bytes():
            raw, kind = body, "application/octet-stream"
        case str():
            raw, kind = body.encode(), "text/plain; charset=utf-8"
        case _:
            raw, kind = orjson.dumps(dict(body)), _JSON
    given = dict(headers or {})
    if raw and not any(name.lower() == "content-type" for name in given):
        given["Content-Type"] = kind
    return _reply(f"http_status {status}", status, given, raw)


def gateway_page(status: int = 502) -> Reply:
    """Answer with the HTML page of a gateway that got none from the service: 502, 503 or 504."""
    if status not in {502, 503, 504}:
        raise ConfigError(f"a gateway's page has status 502, 503 or 504, not {status}")
    title = f"{status} {HTTPStatus(status).phrase}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>gateway</center>\r\n"
        "</body>\r\n</html>\r\n"
    )
    return _reply(f"gateway_page {status}", status, {"Content-Type": "text/html"}, page.encode())


def garbage_json() -> Reply:
    """Answer 200 with a body that calls itself JSON and is none."""
    return _reply("garbage_json", 200, {"Content-Type": _JSON}, _GARBAGE)


def hang() -> Hang:
    """Never answer: the request ends when the client goes or the server stops."""
    return Hang("hang")


def reset() -> Reset:
    """Break the connection once the whole request was read; with "after", also carried out."""
    return Reset("reset")


def reset_before() -> ResetBefore:
    """Break the connection before the request's body is read."""
    return ResetBefore("reset_before")


def reset_after(bytes: int) -> ResetAfter:  # noqa: A002 - reset_after(bytes=100) says it
    """Break the connection after that many bytes of the request's body, or all if it has fewer."""
    return ResetAfter("reset_after", _at_least(0, "bytes", bytes))


def restart(down_ms: float = 100) -> Restart:
    """Break all connections, and refuse new ones for so long, as if the server came up anew.

    What it stores and knows stays; `phase="after"` is once the call was carried out.
    """
    return Restart("restart", _at_least(0, "down_ms", down_ms))


def frozen() -> Frozen:
    """Let reads of a partition bring nothing, whatever there is: for `records.get` only."""
    return Frozen("frozen")


def truncated(bytes: int | None = None) -> Truncated:  # noqa: A002 - as above
    """Send only the first bytes of the answer's body, half of them unless told, and close.

    An answer without a body, or with no more than that, is complete.
    """
    if bytes is not None:
        _at_least(0, "bytes", bytes)
    return Truncated("truncated", bytes)


def latency(ms: float, *, jitter_ms: float = 0) -> Latency:
    """Wait, `jitter_ms` more or less, before the operation or before its answer."""
    return Latency("latency", _at_least(0, "ms", ms), _at_least(0, "jitter_ms", jitter_ms))


def bandwidth(bytes_per_s: int) -> Bandwidth:
    """Send the answer's body no faster than that."""
    return Bandwidth("bandwidth", _at_least(1, "bytes_per_s", bytes_per_s))


def skewed_date(seconds: float) -> SkewedDate:
    """Let the answer's Date be that far ahead, or behind if negative; ten years at most."""
    if not abs(seconds) <= _TEN_YEARS_S:
        raise ConfigError(f"a Date is off by ten years at most, not by {seconds} s")
    return SkewedDate("skewed_date", seconds)


def message_of(code: str) -> str:
    """Give the service's words for a code, or some for one that the server does not know."""
    return CODES[code].message if code in CODES else "Injected fault."


def ready_made(
    name: str, status: int, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> Reply:
    """Answer with exactly this; `name` is what it is counted as."""
    if not 200 <= status <= 599:
        raise ConfigError(f"an answer's status is between 200 and 599, not {status}")
    given = tuple((str(header), str(value)) for header, value in headers)
    for header, value in given:
        if not _HEADER_NAME.fullmatch(header) or header.lower() in _OF_THE_CONNECTION:
            raise ConfigError(f"an answer cannot be given the header {header!r}")
        if not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"the value of the header {header} is none that HTTP can carry")
    return Reply(name, status, given, body)


def _reply(name: str, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    return ready_made(name, status, headers.items(), body)


def _at_least(least: int, name: str, value: Any) -> Any:
    if not value >= least:
        raise ConfigError(f"{name} is at least {least}, not {value}")
    return value
