"""The client's way to the service: rows and raw bodies in, replies and answers out."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from random import random as _random
from typing import Any, TypeVar, assert_never
from urllib.parse import quote, urlencode, urlsplit

from aiodis.api.projects import Project, decode_projects
from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import ClientSettings, is_loopback
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import ConfigError, DecodeError
from aiodis.transport.clocked import ClockedSession
from aiodis.transport.endpoint import Endpoint, Exchanged, Shared
from aiodis.transport.identity import (
    Anonymous,
    Identity,
    KeyIdentity,
    Outgoing,
    PasswordIdentity,
    TokenIdentity,
)
from aiodis.transport.retry import Budget
from aiodis.transport.session import AiohttpSession, Answer, Session
from aiodis.transport.shared_call import SharedCall
from aiodis.transport.skew import Skew
from aiodis.wire.message import Message
from aiodis.wire.operation import Decodable, Operation
from aiodis.wire.signing import Scheme

__all__ = ["Exchange", "Exchanged"]

D = TypeVar("D", bound=Decodable)
_JSON = "application/json"


class Exchange:
    """Encodes, signs, sends and decodes, and repeats what may be repeated.

    It owns its session, also one that was passed in. It opens with the first
    call at the latest, and never again once it is closed.
    """

    def __init__(
        self,
        settings: ClientSettings,
        credentials: AccessKey | StaticToken | IAMPassword,
        *,
        session: Session | None = None,
        random: Callable[[], float] = _random,
        clock: Clock = SYSTEM_CLOCK,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall_clock = wall_clock = wall_clock or clock.wall
        self._session: Session = AiohttpSession(settings) if session is None else session
        if clock.kind != "real":
            self._session = ClockedSession(self._session, clock)
        self._skew = Skew()
        shared = Shared(
            settings=settings,
            session=self._session,
            budget=Budget(settings.retry_budget),
            skew=self._skew,
            random=random,
            clock=clock,
            wall_clock=wall_clock,
            user_agent=_user_agent(),
        )
        self._dis = Endpoint(settings.base_url, shared)
        self._iam = Endpoint(_iam_url(settings, credentials), shared)
        self._identity, self._iam_identity = self._identities(credentials)
        self._project_id = settings.project_id
        self._looking_up = SharedCall(self._look_up_project)

    def __repr__(self) -> str:
        return f"<Exchange with {self._settings.base_url}>"

    async def open(self) -> None:
        """Open the session; opening twice is opening once.

        Raises:
            ConfigError: the CA file cannot be read.
            ClosedError: it was closed before.
        """
        self._dis.gate.check_open()
        await self._session.open()

    async def close(self) -> None:
        """Close the connections; closing twice is closing once.

        Calls under way fail, and those that wait get ClosedError at once.
        """
        self._dis.gate.close()
        self._iam.gate.close()
        await self._looking_up.close()
        await self._identity.close()
        await self._session.close()

    async def project_id(self) -> str:
        """Give the project: the setting's, else the one that IAM has for the region.

        It is looked up once; all who ask meanwhile wait for that one look-up.

        Raises:
            ConfigError: no project fits, or several do.
        """
        if self._project_id is None:
            self._project_id = await self._looking_up.result()
        return self._project_id

    async def projects(self, name: str | None = None) -> list[Project]:
        """Ask IAM for the projects that the credentials open, or for those of a name.

        Raises:
            ServiceError: the answer says no.
            TransportError: no complete answer came.
            DecodeError: the answer could not be read.
            ClosedError: closed before or meanwhile.
        """
        query = urlencode({"name": name}, quote_via=quote) if name else ""
        headers = {"Content-Type": _JSON}
        request = Outgoing("iam.projects", "GET", "/v3/projects", query, headers=headers)
        answer = (await self._iam.carry(request, self._iam_identity)).answer
        return decode_projects(answer.body, status=answer.status)

    async def call(self, operation: Operation[Any, D], request: Message, /) -> D:
        """Carry out one operation. A cancelled call may have been carried out.

        Raises:
            ServiceError: the answer says no.
            TransportError: no complete answer came.
            DecodeError: the answer could not be read.
            ClosedError: closed before or meanwhile.
        """
        project = self._project_id or await self.project_id()
        method, path, query, body = operation.encode(request, project)
        headers = {"Content-Type": _JSON, "X-Project-Id": project}
        outgoing = Outgoing(operation.name, method, path, query, body, headers)
        answer = (await self._dis.carry(outgoing, self._identity)).answer
        return operation.decode(answer.body, status=answer.status)

    async def send(
        self,
        operation: Operation[Any, Any],
        *,
        query: str = "",
        body: bytes | None = None,
        deadline: float | None = None,
        content_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Exchanged:
        """Send a raw body along a row whose route names only the project: the record path.

        `query` is percent-encoded. `content_type` is also the form that the answer is
        asked for, so a GET has one too; it is signed, and so are further `headers`, such
        as those of a compressed body. With a `deadline` (the clock's time) the call is
        repeated, and waits for an open breaker, up to then; without one
        `retries` and `call_timeout_ms` limit it. A cancelled call may have been
        carried out.

        Raises:
            ServiceError: the answer says no; `ambiguous` tells of earlier tries.
            TransportError: no complete answer came; `attempts` tells each try.
            ClosedError: closed before or meanwhile.
        """
        project = self._project_id or await self.project_id()
        path = operation.path.replace("{project_id}", quote(project, safe="~"))
        covered = {"Content-Type": content_type, "X-Project-Id": project, **(headers or {})}
        if content_type != _JSON:
            covered["Accept"] = "*/*"  # as the vendor's clients do; errors are JSON all the same
        outgoing = Outgoing(operation.name, operation.method, path, query, body, covered)
        return await self._dis.carry(outgoing, self._identity, deadline)

    async def sleep(self, seconds: float, /) -> None:
        """Sleep.

        Raises:
            ClosedError: closed before or meanwhile.
        """
        await self._dis.gate.pause(seconds)

    def within(self, seconds: float, /) -> AbstractAsyncContextManager[object]:
        """Give a block that ends with a TimeoutError when it takes longer."""
        return self._clock.timeout(seconds)

    def _identities(
        self, credentials: AccessKey | StaticToken | IAMPassword
    ) -> tuple[Identity, Identity]:
        """Give who calls the service and who calls IAM."""
        settings = self._settings
        match credentials:
            case AccessKey():
                dis = KeyIdentity(credentials, Scheme(settings.signing), settings.region)
                # The other schemes' scope names the service dis, which IAM is not.
                return dis, KeyIdentity(credentials, Scheme.V3, settings.region)
            case StaticToken():
                token = TokenIdentity(credentials)
                return token, token
            case IAMPassword():
                password = PasswordIdentity(
                    credentials, settings, carry=self._ask_for_token, clock=self.service_time
                )
                return password, password
            case _:
                assert_never(credentials)

    def service_time(self) -> float:
        """Give the service's time in seconds since the epoch, as its answers show it."""
        return self._wall_clock() + self._skew.offset

    async def _ask_for_token(self, request: Outgoing) -> Answer:
        return (await self._iam.carry(request, Anonymous())).answer

    async def _look_up_project(self) -> str:
        try:
            return _choose_project(
                await self.projects(self._settings.region), self._settings.region
            )
        except DecodeError as exc:
            raise ConfigError("IAM's list of projects could not be read; set project_id") from exc


def _choose_project(projects: Sequence[Project], region: str | None) -> str:
    """Choose the project that bears the region's name (reference, chapter 7.3)."""
    found = [project.id for project in projects if region is None or project.name == region]
    if len(found) == 1:
        return found[0]
    count = f"{len(found)} projects" if found else "no project"
    named = f" of the name {region!r}" if region else ""
    raise ConfigError(f"IAM lists {count}{named} for these credentials; set project_id")


def _iam_url(settings: ClientSettings, credentials: AccessKey | StaticToken | IAMPassword) -> str:
    """Give IAM's URL, under the same rules as the service's: the password goes there."""
    given = credentials.iam_endpoint if isinstance(credentials, IAMPassword) else None
    if given is None:
        return settings.iam_url
    url = given.rstrip("/") if "://" in given else f"https://{given.rstrip('/')}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ConfigError("iam_endpoint must look like https://host or https://host:port")
    if parts.scheme == "http" and not (settings.allow_http or is_loopback(parts.hostname)):
        raise ConfigError("iam_endpoint is plain http to another machine; use https")
    return url


def _user_agent() -> str:
    try:
        own = version("aiodis")
    except PackageNotFoundError:  # run from a source tree that is not installed
        own = "0"
    return f"aiodis/{own} python/{sys.version_info.major}.{sys.version_info.minor}"
