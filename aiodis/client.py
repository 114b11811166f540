"""The client: one session for life, the resources, and what makes producers and consumers."""

import asyncio
import contextlib
import os
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from aiodis.api import (
    Apps,
    Checkpoints,
    Events,
    Groups,
    Metrics,
    Policies,
    Quotas,
    Records,
    Streams,
    Tags,
    TransferTasks,
)
from aiodis.api.projects import Project
from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import ClientSettings, ConsumerSettings, ProducerSettings
from aiodis.consumer import Consumer
from aiodis.credentials import Credentials
from aiodis.errors import ClosedError
from aiodis.observe import NO_OBSERVER, Observer, guarded
from aiodis.producer import Producer
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import Session

__all__ = ["DISClient"]

P = ParamSpec("P")
R = TypeVar("R")


def _takes(
    settings: Callable[P, object],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, str, P], R]]:
    """Show type checkers a method's keywords: the fields of the settings."""
    del settings  # only its type matters

    def decorate(method: Callable[..., R]) -> Callable[Concatenate[Any, str, P], R]:
        return method

    return decorate


class DISClient:
    """A client of DIS, used as an async context manager.

    Takes the fields of `ClientSettings` as keywords. Credentials that are not
    given are read from the environment. `observer` is told metrics and spans
    (`aiodis.observe`). `session` carries the requests instead of aiohttp's, for tests
    without sockets (`aiodis.testing.ScriptedSession`). Every time and every wait of the
    client, its producers and its consumers is the `clock`'s, for tests that move it together
    with an embedded DIS' (`aiodis.clock`). Nothing is opened before it is entered.

    Raises:
        ConfigError: settings that cannot work, or no credentials.
    """

    def __init__(
        self,
        settings: ClientSettings | None = None,
        *,
        observer: Observer = NO_OBSERVER,
        session: Session | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **changes: Any,
    ) -> None:
        if settings is None:
            settings = ClientSettings(**changes)
        elif changes:
            settings = ClientSettings(**{**dict(settings), **changes})
        credentials = settings.credentials or Credentials.from_env()
        self.settings = settings.model_copy(update={"credentials": credentials})
        self._exchange = Exchange(self.settings, credentials, session=session, clock=clock)
        self._clock = clock
        self._observer = guarded(observer)
        self.streams = Streams(self._exchange)
        self.policies = Policies(self._exchange)
        self.apps = Apps(self._exchange)
        self.checkpoints = Checkpoints(self._exchange)
        self.records = Records(self._exchange)
        self.groups = Groups(self._exchange)
        self.metrics = Metrics(self._exchange)
        self.tags = Tags(self._exchange)
        self.quotas = Quotas(self._exchange)
        self.events = Events(self._exchange)
        self.transfer_tasks = TransferTasks(self._exchange)
        self._made: weakref.WeakSet[Producer | Consumer] = weakref.WeakSet()
        self._closed = False

    @classmethod
    def from_env(cls, **changes: Any) -> Self:
        """Make a client from the environment; `changes` beat it.

        `AIODIS_ENDPOINT`, `AIODIS_REGION`, `AIODIS_PROJECT_ID` (or
        `HUAWEICLOUD_SDK_PROJECT_ID`) and `AIODIS_CA_FILE` say where; who is as
        in `Credentials.from_env`.
        """
        return cls(**{**ClientSettings.from_env(os.environ), **changes})

    @classmethod
    @contextlib.asynccontextmanager
    async def local(
        cls,
        path: Path | str | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        **changes: Any,
    ) -> AsyncIterator[Self]:
        """Start an embedded DIS in this process, and give a client of it.

        `path` is its data folder, which needs the extra `server`; None keeps
        everything in memory. `clock` is the server's and the client's. The server stops
        with the context. For one with other settings, start a `LocalDIS` and pass its
        `client_settings`.
        """
        from aiodis.server import LocalDIS  # noqa: PLC0415 - only those who use it pay for it

        async with (
            LocalDIS(path, clock=clock) as server,
            cls(**server.client_settings | changes) as client,
        ):
            yield client

    async def __aenter__(self) -> Self:
        if self._closed:
            raise ClosedError("the client is closed")
        await self._exchange.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<DISClient endpoint={self.settings.base_url!r}>"

    @_takes(ProducerSettings)
    def producer(self, stream_name: str, **settings: Any) -> Producer:
        """Make a producer for a stream, with the fields of `ProducerSettings` as keywords."""
        producer = Producer(
            self._exchange,
            stream_name,
            ProducerSettings(**settings),
            self._observer,
            clock=self._clock,
        )
        self._made.add(producer)
        return producer

    @_takes(ConsumerSettings)
    def consumer(self, stream_name: str, **settings: Any) -> Consumer:
        """Make a consumer of a stream for an app, with the fields of `ConsumerSettings`."""
        consumer = Consumer(
            self._exchange,
            stream_name,
            ConsumerSettings(**settings),
            self._observer,
            clock=self._clock,
        )
        self._made.add(consumer)
        return consumer

    async def projects(self, name: str | None = None) -> list[Project]:
        """Ask IAM for the projects that the credentials open, or for those of a name.

        A client without a `project_id` asks for the one of its region by itself.
        *Seen in the SDK*: the vendor's clients find their project that way. Cancelling
        it loses the answer and nothing else.

        Raises:
            ServiceError: the answer says no.
            TransportError: no complete answer came.
            DecodeError: the answer could not be read.
        """
        return await self._exchange.projects(name)

    async def close(self) -> None:
        """Close what this client made and was not closed yet, all at once, then the session.

        May be repeated. Cancelled, it still ends all of it, each as its own
        `close` does when it is cancelled.
        """
        self._closed = True
        try:
            ends = await asyncio.gather(
                *(made.close() for made in self._made), return_exceptions=True
            )
        finally:
            await self._exchange.close()
        for end in ends:
            if isinstance(end, BaseException):
                raise end
