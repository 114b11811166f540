"""One endpoint: sign, send, and what follows a failure, until an answer or an error.

The decisions are made in `retry`, `breaker` and `skew`; here are the waits.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, assert_never
from urllib.parse import SplitResult, urlsplit

from aiodis.clock import Clock
from aiodis.config import ClientSettings
from aiodis.errors import (
    AuthError,
    CircuitOpenError,
    ForbiddenError,
    RequestTimeoutError,
    ServerError,
    ServiceError,
    ThrottledError,
    TransportError,
)
from aiodis.transport.breaker import Breaker
from aiodis.transport.gate import Gate, Permit
from aiodis.transport.identity import Identity, Outgoing
from aiodis.transport.retry import (
    Block,
    Budget,
    Decision,
    GiveUp,
    Met,
    Policy,
    Refresh,
    Retry,
    SignAgain,
    classify,
    decide,
    retry_after,
)
from aiodis.transport.session import Answer, Session
from aiodis.transport.skew import Skew
from aiodis.transport.story import Failure, Story
from aiodis.wire.error_body import decode_error

__all__ = ["Endpoint", "Exchanged", "Shared"]

_LOG = logging.getLogger("aiodis.transport")

_MAX_HOLD_S: Final = 60.0
"""The longest that one call's Retry-After holds back the others."""


class Exchanged(NamedTuple):
    """An answer that says yes, and what came before.

    `ambiguous`: an earlier try may have been carried out too. `throttled`: an earlier one was
    refused as a whole for a partition's limit (DIS.4303).
    """

    answer: Answer
    attempts: int
    ambiguous: bool
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """What the endpoints of one client share."""

    settings: ClientSettings
    session: Session
    budget: Budget
    skew: Skew
    random: Callable[[], float]
    clock: Clock
    wall_clock: Callable[[], float]
    user_agent: str


class Endpoint:
    """A base URL with its breaker. Nothing of a call stays when it ends or is cancelled."""

    def __init__(self, url: str, shared: Shared) -> None:
        settings = shared.settings
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._prefix = parts.path.rstrip("/")
        self._host = _host_header(parts)
        self._shared = shared
        self._request_s = settings.request_timeout_ms / 1000
        self._call_s = settings.call_timeout_ms / 1000
        self._policy = Policy(
            retries=settings.retries,
            backoff_s=settings.retry_backoff_ms / 1000,
            backoff_max_s=settings.retry_backoff_max_ms / 1000,
        )
        breaker = Breaker(
            failures=settings.breaker_failures,
            open_s=settings.breaker_open_ms / 1000,
            refused_s=settings.auth_breaker_open_ms / 1000,
        )
        self.gate = Gate(self._host, breaker, shared.clock)

    async def carry(
        self, request: Outgoing, identity: Identity, deadline: float | None = None
    ) -> Exchanged:
        """Send a request until an answer says yes, or no for good.

        With a `deadline` (the clock's time) only that limits the tries; else `retries`
        and `call_timeout_ms` do. A cancelled call may have been carried out.

        Raises:
            ServiceError: an answer that says no.
            TransportError: no complete answer; `attempts` tells each try.
            ClosedError: closed before or meanwhile.
        """
        limit = self.gate.now() + self._call_s if deadline is None else deadline
        story = Story(request, limit, patient=deadline is not None)
        self._shared.budget.deposit()
        while True:
            met = await self._try(story, identity)
            if isinstance(met, Answer):
                return Exchanged(met, len(story.attempts) + 1, story.ambiguous, story.was_throttled)
            story.add(met)
            await self._prepare_next(story, identity, met)

    async def _try(self, story: Story, identity: Identity) -> Answer | Failure:
        shared, request = self._shared, story.request
        with await self._enter(story) as permit:
            path = self._prefix + request.path
            headers = await self._headers(story, identity, path)
            timeout_s = self._time_left(story)
            sent = shared.wall_clock()
            try:
                answer = await shared.session.send(
                    request.method,
                    self._url(path, request.query),
                    headers=headers,
                    body=request.body,
                    timeout_s=timeout_s,
                )
            except TransportError as exc:
                # What a deadline cut short says nothing about the endpoint.
                if timeout_s == self._request_s or not isinstance(exc, RequestTimeoutError):
                    permit.failed(str(exc))
                return exc
            date = answer.headers.get("Date", "")
            shared.skew.learn(date, sent=sent, received=shared.wall_clock())
            return self._judged(request, answer, permit)

    def _url(self, path: str, query: str) -> str:
        return f"{self._origin}{path}?{query}" if query else self._origin + path

    async def _enter(self, story: Story) -> Permit:
        try:
            return await self.gate.enter(story.deadline)
        except CircuitOpenError as exc:
            raise story.end_without_trying(exc)  # noqa: B904 - the last try has its own cause

    async def _headers(self, story: Story, identity: Identity, path: str) -> Mapping[str, str]:
        shared = self._shared
        covered = {"Host": self._host, **story.request.headers}
        story.signed_with = shared.skew.offset
        now = shared.wall_clock() + story.signed_with
        proving = identity.prove(story.request, path, covered, now)
        proof = await (self._in_time(story, proving) if identity.renews else proving)
        story.headers = {
            "Accept": "application/json",
            **covered,
            **proof,
            "User-Agent": shared.user_agent,
        }
        return story.headers

    async def _in_time(
        self, story: Story, proving: Coroutine[Any, Any, dict[str, str]]
    ) -> dict[str, str]:
        try:
            async with self._shared.clock.timeout_at(story.deadline):
                return await proving
        except (ServiceError, TransportError) as exc:  # of IAM; some are TimeoutErrors too
            exc.ambiguous |= story.ambiguous
            raise
        except TimeoutError as exc:
            raise story.end_without_trying(_too_late("no token came in time")) from exc

    def _time_left(self, story: Story) -> float:
        left = story.deadline - self.gate.now()
        if left <= 0:
            raise story.end_without_trying(_too_late("the deadline passed before it was sent"))
        return min(left, self._request_s)

    def _judged(self, request: Outgoing, answer: Answer, permit: Permit) -> Answer | ServiceError:
        """Give an answer that says yes, or the error it stands for."""
        error = None if answer.status < 300 else self._error(request, answer)
        if isinstance(error, ServerError):
            permit.failed(f"{error.code} (HTTP {error.status})")
        elif isinstance(error, ForbiddenError) or not isinstance(error, AuthError):
            permit.answered()  # what a refusal of the credentials means is decided later
        return error or answer

    def _error(self, request: Outgoing, answer: Answer) -> ServiceError:
        status, headers = answer.status, answer.headers
        request_id = headers.get("X-Request-Id")
        if status < 400:
            target = _host_of(headers.get("Location", "")) or "another place"
            return ServiceError(
                f"{self._host} redirects to {target}, which is not followed",
                status=status,
                code=f"HTTP.{status}",
                request_id=request_id,
                operation=request.operation,
            )
        error = decode_error(
            status, answer.body, operation=request.operation, request_id=request_id
        )
        if isinstance(error, ThrottledError) or status == 503:
            error.retry_after = retry_after(headers, now=self._shared.wall_clock())
        if error.retry_after and (status == 429 or error.code == "DIS.4305"):
            self.gate.breaker.hold(self.gate.now() + min(error.retry_after, _MAX_HOLD_S))
        return error

    async def _prepare_next(self, story: Story, identity: Identity, met: Failure) -> None:
        """Do what the next try needs, or raise what this one met."""
        decision = self._decide(story, identity, met)
        _LOG.debug(
            "%s: try %d: %s: %s", story.request.operation, len(story.attempts), met, decision
        )
        match decision:
            case Retry(delay):
                await self.gate.pause(delay)
            case Refresh():
                story.was_renewed = True
                identity.refused(story.headers)
            case SignAgain():
                _LOG.warning("this machine's clock is off by %.0f s", self._shared.skew.offset)
                story.was_signed_again = True
            case Block():
                self.gate.refuse(str(met))
                raise story.end(met)
            case GiveUp():
                raise story.end(met)
            case _:
                assert_never(decision)

    def _decide(self, story: Story, identity: Identity, met: Failure) -> Decision:
        shared = self._shared
        explained = identity.signs and shared.skew.explains(story.signed_with)
        return decide(
            Met(
                signal=classify(met),
                tries=len(story.attempts),
                retry_after=met.retry_after if isinstance(met, ServiceError) else None,
                may_refresh=identity.renews and not story.was_renewed,
                may_sign_again=explained and not story.was_signed_again,
            ),
            policy=self._policy,
            budget=shared.budget,
            now=self.gate.now(),
            deadline=story.deadline,
            patient=story.patient,
            chance=shared.random(),
        )


def _too_late(why: str) -> RequestTimeoutError:
    return RequestTimeoutError(f"{why}; nothing was sent", ambiguous=False)


def _host_of(location: str) -> str | None:
    try:
        return urlsplit(location).hostname
    except ValueError:  # "http://[": a server may send anything
        return None


def _host_header(parts: SplitResult) -> str:
    """Spell the host as HTTP does: without the scheme's own port."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    default = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"
