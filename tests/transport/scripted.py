"""A session that answers from a script, and a client around it."""

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from multidict import CIMultiDict

from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey
from aiodis.errors import RequestTimeoutError
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import Answer
from aiodis.wire.error_body import encode_error

EPOCH = 1_700_000_000.0
KEY = AccessKey("THE-ACCESS-KEY", "the-secret-key")


@dataclass
class Sent:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float
    at: float


class Hang:
    """A step that never answers: the session's timeout ends it."""


@dataclass
class Slow:
    """A step that takes its time."""

    seconds: float
    then: Any


class ScriptedSession:
    """Each request takes the next step: an answer, an error to raise, Hang, Slow or a function.

    The last step is repeated for ever.
    """

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.requests: list[Sent] = []
        self.under_way = 0
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def send(self, method, url, *, headers, body, timeout_s) -> Answer:
        now = asyncio.get_running_loop().time()
        sent = Sent(method, url, headers, body, timeout_s, now)
        self.requests.append(sent)
        self.under_way += 1
        try:
            return await self._play(self.steps.pop(0) if self.steps[1:] else self.steps[0], sent)
        finally:
            self.under_way -= 1

    async def _play(self, step: Any, sent: Sent) -> Answer:
        if callable(step):
            step = step(sent)
        match step:
            case Slow(seconds, then):
                await asyncio.sleep(seconds)
                return await self._play(then, sent)
            case Hang():
                await asyncio.sleep(sent.timeout_s)
                raise RequestTimeoutError(f"host: no answer within {sent.timeout_s:g} s")
            case Exception():
                raise copy.copy(step)
        return step

    @property
    def times(self) -> list[float]:
        return [sent.at for sent in self.requests]


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CIMultiDict(named), body)


def refusal(status: int, code: str = "", **headers: str) -> Answer:
    return answer(status, encode_error(code or f"X.{status}", "said no"), **headers)


def http_date(unix: float) -> str:
    return format_datetime(datetime.fromtimestamp(unix, UTC), usegmt=True)


def wall_clock() -> float:
    return EPOCH + asyncio.get_running_loop().time()


def client(
    *steps: Any,
    credentials: Any = KEY,
    random: Callable[[], float] = lambda: 0.0,
    clock: Callable[[], float] = wall_clock,
    **settings: Any,
) -> tuple[Exchange, ScriptedSession]:
    """Make a client on a scripted session; by default its backoff is the shortest one."""
    session = ScriptedSession(*steps)
    given = {"endpoint": "https://dis.example.com", "project_id": "the-project"} | settings
    made = ClientSettings(**given)
    exchange = Exchange(made, credentials, session=session, random=random, wall_clock=clock)
    return exchange, session
