"""A session by a clock that tests move: its timeouts, and what it has in flight."""

from collections.abc import Mapping

from aiodis.clock import Clock
from aiodis.errors import RequestTimeoutError
from aiodis.transport.session import Answer, Session

__all__ = ["ClockedSession"]


class ClockedSession:
    """Carries requests by another session, and tells the clock of each.

    A request that takes too long by the clock is given up, as by the session's own timeout,
    which stays in real time: a socket that hangs holds up nobody for ever.
    """

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session, self._clock = session, clock

    async def open(self) -> None:
        """Get ready; opening twice is opening once."""
        await self._session.open()

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
        try:
            async with self._clock.sending(timeout_s):
                return await self._session.send(
                    method, url, headers=headers, body=body, timeout_s=timeout_s
                )
        except RequestTimeoutError:
            raise  # the session's own, which knows more
        except TimeoutError:
            raise RequestTimeoutError(
                f"no complete answer within {timeout_s:g} s", ambiguous=True
            ) from None

    async def close(self) -> None:
        """Close all connections; closing twice is closing once."""
        await self._session.close()
