"""Help for aioresponses with today's aiohttp: import its class from here instead.

Version 0.7.9, the last one, makes the answers by calling aiohttp's `ClientResponse` as it
was; since aiohttp 3.14 that has a further argument that must be given, `stream_writer`, so
every request ends in a TypeError. Here it is given. With an aiohttp that has it not, this is
plain aioresponses.
"""

import inspect
from types import SimpleNamespace
from typing import Any, Final

import aiohttp

try:
    from aioresponses import aioresponses as _aioresponses
except ImportError as exc:
    raise ImportError("aiodis.testing.aioresponses needs aioresponses: install it") from exc

__all__ = ["MockedResponse", "aioresponses"]

_NEEDS_WRITER: Final = "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters


class MockedResponse(aiohttp.ClientResponse):
    """An answer that nothing was sent for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _NEEDS_WRITER:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


class aioresponses(_aioresponses):  # noqa: N801 - its name, so that only the import changes
    """`aioresponses.aioresponses`, whose answers today's aiohttp can make."""

    def add(self, url: Any, *args: Any, **kwargs: Any) -> None:
        """Script an answer; see aioresponses."""
        if kwargs.get("response_class") is None:
            kwargs["response_class"] = MockedResponse
        super().add(url, *args, **kwargs)

    async def _request_mock(
        self, orig_self: aiohttp.ClientSession, method: str, url: Any, *args: Any, **kwargs: Any
    ) -> aiohttp.ClientResponse:
        # An exception that is scripted comes when the whole request was sent: what aiodis then
        # says of a repetition ("ambiguous") depends on that, and it asks the body.
        body: Any = kwargs.get("data")
        if hasattr(body, "complete"):
            body.begun = body.complete = True
        return await super()._request_mock(orig_self, method, url, *args, **kwargs)
