"""Where the sandboxes of a test run are: an embedded DIS on a thread, or a server that runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import cached_property
from types import TracebackType
from typing import Self

from aiodis.clock import CLOCKS, Clock
from aiodis.server import LocalDIS
from aiodis.testing.sandbox import LocalSandbox, local_sandbox
from aiodis.testing.server_thread import ServerThread
from aiodis.testing.wishes import Wishes

__all__ = ["InLoop", "LocalHost"]


class LocalHost:
    """A thread with an embedded DIS that tests share, and others for those that need their own."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._thread = self._stack.enter_context(ServerThread())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @cached_property
    def server(self) -> LocalDIS:
        """The server that is shared: in memory, on a free port, with the system's clock."""
        return self._stack.enter_context(self._running(LocalDIS()))

    @contextmanager
    def sandbox(self, wishes: Wishes) -> Iterator[LocalSandbox]:
        """Have a sandbox for a test."""
        with ExitStack() as stack:
            if wishes.clock == "real":
                server = self.server
            else:
                server = stack.enter_context(self._running(LocalDIS(clock=clock_of(wishes))))
            yield stack.enter_context(local_sandbox(server, wishes))

    @contextmanager
    def _running(self, server: LocalDIS) -> Iterator[LocalDIS]:
        self._thread.run(server.start())
        try:
            yield server
        finally:
            self._thread.run(server.stop())


class InLoop:
    """A sandbox whose server runs in the test's own loop, from `async with` on to its end."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._entered: AbstractAsyncContextManager[LocalSandbox]
        self._sandbox: LocalSandbox | None = None
        self._told = "it was not entered"

    async def __aenter__(self) -> LocalSandbox:
        self._entered = self._have()
        return await self._entered.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._entered.__aexit__(kind, exc, traceback)

    def describe(self) -> str:
        """Tell of the server, or of how it was when it stopped."""
        return self._told if self._sandbox is None else self._sandbox.describe()

    @asynccontextmanager
    async def _have(self) -> AsyncIterator[LocalSandbox]:
        async with LocalDIS(clock=clock_of(self._wishes)) as server:
            with local_sandbox(server, self._wishes) as sandbox:
                self._sandbox = sandbox
                try:
                    yield sandbox
                finally:
                    self._told, self._sandbox = sandbox.describe(), None


def clock_of(wishes: Wishes) -> Clock:
    """Make the clock that a test asks for."""
    return CLOCKS[wishes.clock]()
