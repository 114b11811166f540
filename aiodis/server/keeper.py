"""The task that lets duties happen while nobody calls."""

import asyncio
from types import TracebackType
from typing import Final, Self

from aiodis.clock import Clock
from aiodis.server.agenda import Agenda

__all__ = ["Keeper"]

_LOOK_S: Final = 1.0


class Keeper:
    """Runs an agenda: each second of real time, and whenever the clock was moved.

    A clock that is moved in the server's own thread has let everything happen by
    the time `advance` returns; moved in another, the server's loop does it next.
    """

    def __init__(self, agenda: Agenda, clock: Clock) -> None:
        self._agenda, self._clock = agenda, clock

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._agenda.begin(self._clock.now_ms())
        self._forget = self._clock.when_moved(self._moved)
        self._task = asyncio.create_task(self._look(), name="aiodis-keeper")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget()
        self._task.cancel()
        await asyncio.wait([self._task])

    def _moved(self) -> None:
        try:
            is_ours = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_ours = False
        if is_ours:
            self._keep()
        else:
            self._loop.call_soon_threadsafe(self._keep)

    async def _look(self) -> None:
        while True:
            self._keep()
            await asyncio.sleep(_LOOK_S)

    def _keep(self) -> None:
        self._agenda.run_until(self._clock.now_ms())
