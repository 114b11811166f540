"""An exchange on a scripted session, with the loop's time and the shortest backoff."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from aiodis.config import ClientSettings
from aiodis.credentials import AccessKey
from aiodis.testing.scripted import Hang, ScriptedSession, Slow, answer
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import Answer
from aiodis.wire.error_body import encode_error

__all__ = [
    "EPOCH",
    "KEY",
    "Hang",
    "ScriptedSession",
    "Slow",
    "answer",
    "client",
    "http_date",
    "refusal",
    "wall_clock",
]

EPOCH = 1_700_000_000.0
KEY = AccessKey("THE-ACCESS-KEY", "the-secret-key")


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
