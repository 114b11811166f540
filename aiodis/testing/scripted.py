"""A session without sockets: it answers a client's requests from a script.

For tests of what an application does with an answer, or with none. How the service itself
behaves no script tells: that is what an embedded DIS is for.
"""

import asyncio
import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Self, TypeAlias
from urllib.parse import urlsplit

import orjson
from multidict import CIMultiDict

from aiodis.api import OPERATIONS
from aiodis.client import DISClient
from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError, RequestTimeoutError
from aiodis.server.refusal import CODES
from aiodis.transport.session import Answer
from aiodis.wire.error_body import encode_error
from aiodis.wire.operation import Encodable, Operation

__all__ = ["Hang", "ScriptedSession", "SentRequest", "Slow", "Step", "answer", "refusal"]

_IAM: Final = {
    ("POST", "/v3/auth/tokens"): "iam.tokens",
    ("GET", "/v3/projects"): "iam.projects",
}


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as the client sent it; `at` is the loop's time."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float
    at: float

    @property
    def operation(self) -> str | None:
        """The row's name, such as `records.put`; None where the route is nobody's."""
        return _operation(self.method, self.url, self.body)

    def json(self) -> Any:
        """Read the body, where it is JSON."""
        return orjson.loads(self.body or b"null")


class Hang:
    """A step that never answers: the client's timeout ends it."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A step that takes its time, in the loop's seconds."""

    seconds: float
    then: "Step"


Step: TypeAlias = Answer | Encodable | BaseException | Hang | Slow | Callable[[SentRequest], "Step"]
"""What becomes of a request: an answer, a reply to encode, an error to raise, a pause, or what a
function makes of the request."""


class ScriptedSession:
    """Answers each request with the next step; `client()` makes a client that asks it.

    The steps of `on` are for one operation; those given here are for every other call. The
    last step of a row is repeated for ever. A request for which there is no step is a
    mistake in the test, and raises AssertionError.
    """

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[SentRequest] = []
        """What was sent, oldest first, also what no answer came to."""
        self.under_way = 0
        self.opened = self.closed = 0
        self._steps_of: dict[str, list[Step]] = {}

    def on(self, operation: str | Operation[..., Any], *steps: Step) -> Self:
        """Script an operation: `session.on("streams.list", StreamList(stream_names=["a"]))`.

        Raises:
            ConfigError: there is no such operation, or no step.
        """
        name = operation if isinstance(operation, str) else operation.name
        if name not in {row.name for row in OPERATIONS} | set(_IAM.values()):
            raise ConfigError(f"there is no operation {name!r}")
        if not steps:
            raise ConfigError(f"{name}: no step is given")
        self._steps_of.setdefault(name, []).extend(steps)
        return self

    def client(self, **changes: Any) -> DISClient:
        """Make a client that asks the script; `changes` are `ClientSettings`."""
        settings = {
            "endpoint": "https://dis.example.com",
            "project_id": "scripted-project",
            "credentials": AccessKey("SCRIPTED", "the secret key of nobody"),
        }
        return DISClient(**{**settings, "session": self, **changes})

    def sent(self, operation: str) -> list[SentRequest]:
        """Give the requests of an operation, oldest first."""
        return [request for request in self.requests if request.operation == operation]

    @property
    def times(self) -> list[float]:
        """When the requests were sent, in the loop's time."""
        return [request.at for request in self.requests]

    async def open(self) -> None:
        """Note that it was opened."""
        self.opened += 1

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed += 1

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> Answer:
        """Answer as the script has it. Cancelled, its step is used up."""
        now = asyncio.get_running_loop().time()
        request = SentRequest(method, url, headers, body, timeout_s, now)
        self.requests.append(request)
        self.under_way += 1
        try:
            return await _play(self._next(request), request)
        finally:
            self.under_way -= 1

    def _next(self, request: SentRequest) -> Step:
        steps = self._steps_of.get(request.operation or "", self.steps)
        if not steps:
            what = request.operation or f"{request.method} {request.url}"
            known = ", ".join(self._steps_of) or "nothing"
            raise AssertionError(f"the script has no answer to {what}; it has them to: {known}")
        return steps.pop(0) if steps[1:] else steps[0]


def answer(status: int = 200, body: bytes | Mapping[str, Any] = b"{}", **headers: str) -> Answer:
    """Make an answer; a mapping is its JSON, and `Retry_After="1"` a header."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CIMultiDict(named), content)


def refusal(code: str, message: str | None = None, *, status: int | None = None) -> Answer:
    """Make the answer of an error code, with the service's own status and words.

    Raises:
        ConfigError: the code is not known, and either of these is not given.
    """
    row = CODES.get(code)
    if row is None and (message is None or status is None):
        raise ConfigError(f"the code {code!r} is not known: give its message and its status")
    known_message, known_status = (row.message, row.status) if row else ("", 0)
    said = known_message if message is None else message
    return answer(known_status if status is None else status, encode_error(code, said))


async def _play(step: Step, request: SentRequest) -> Answer:
    while not isinstance(step, Answer):
        match step:
            case Slow(seconds, then):
                await asyncio.sleep(seconds)
                step = then
            case Hang():
                await asyncio.sleep(request.timeout_s)
                raise RequestTimeoutError(f"host: no answer within {request.timeout_s:g} s")
            case BaseException():
                raise copy.copy(step)
            case _ if callable(step):
                step = step(request)
            case _:
                return answer(200, step.encode())
    return step


def _operation(method: str, url: str, body: bytes | None) -> str | None:
    path = urlsplit(url).path.rstrip("/")
    if name := _IAM.get((method, path)):
        return name
    found = [row for row, pattern in _routes(method) if pattern.fullmatch(path)]
    if not found[1:]:
        return found[0].name if found else None
    given = orjson.loads(body or b"{}")
    return next((row.name for row in found if row.is_meant(given)), None)


@cache
def _routes(method: str) -> tuple[tuple[Operation[Any, Any], re.Pattern[str]], ...]:
    def patterns() -> Iterator[tuple[Operation[Any, Any], re.Pattern[str]]]:
        for row in OPERATIONS:
            if row.method == method:
                yield row, re.compile(re.sub(r"{\w+}", "[^/]+", row.path))

    return tuple(patterns())
