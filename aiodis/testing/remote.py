"""An embedded DIS in another process: its faults, clock, requests and state, over its admin routes.

`RemoteDIS` has the faces of `LocalDIS`, so a test is written once for both. Its calls are
short and block, as those of the local faces do; each takes a connection of its own, so
they may come from any thread. `AsyncRemoteDIS` is the same for code that must not hold up
its loop.
"""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import msgspec

from aiodis.errors import ConfigError, DISError
from aiodis.record import ReceivedRecord
from aiodis.server import Account
from aiodis.server.accounts import Caller, credentials_of
from aiodis.server.admin.models import ClockTold, FaultsTold, FaultTold, HealthTold
from aiodis.server.admin.outcomes import encode_outcome
from aiodis.server.admin.routes import PREFIX
from aiodis.server.fault_outcomes import Outcome, Phase
from aiodis.server.requests import SeenRequest, WantedFields
from aiodis.server.seed import read_source
from aiodis.server.snapshot import Snapshot

__all__ = [
    "AsyncRemoteDIS",
    "RemoteClock",
    "RemoteDIS",
    "RemoteError",
    "RemoteFault",
    "RemoteFaults",
    "RemoteRequests",
]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_LONGEST_WAIT_S: Final = 30.0  # the server waits no longer in one go


class RemoteError(DISError):
    """The server cannot be reached, or says no; `status` is its HTTP status, or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class RemoteFault:
    """A fault that was made on the server. What it came to is asked anew each time."""

    def __init__(self, door: "_Door", made: FaultTold) -> None:
        self._door, self._made = door, made

    @property
    def number(self) -> int:
        """The server's number of it."""
        return self._made.number

    @property
    def name(self) -> str:
        """As what it is counted, such as `error DIS.4303`."""
        return self._made.name

    @property
    def count(self) -> int:
        """How often it came."""
        return self._now().count

    @property
    def left(self) -> int | None:
        """How often it still may come; None without a bound."""
        return self._now().left

    def end(self) -> None:
        """End it. One that is over stays so."""
        self._door.ask("DELETE", f"faults/{self.number}")

    def __repr__(self) -> str:
        made = self._made
        return f"<RemoteFault #{made.number} {made.operation}: {made.name}>"

    def _now(self) -> FaultTold:
        return self._door.tell(FaultTold, "GET", f"faults/{self.number}")


class RemoteFaults:
    """The faults of the server, or of one of its projects; as `aiodis.server.faults.Faults`."""

    def __init__(self, door: "_Door", project_id: str | None = None) -> None:
        self._door, self._project = door, project_id
        self._scopes: tuple[str, ...] = ()

    def of_project(self, project_id: str) -> "RemoteFaults":
        """Give the faults of one project."""
        return RemoteFaults(self._door, project_id)

    def push(
        self,
        operation: str,
        *,
        error: str | None = None,
        outcome: Outcome | None = None,
        times: int = 1,
        phase: Phase | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> RemoteFault:
        """Script a fault for the next calls; see `Faults.push`.

        Raises:
            ConfigError: such a fault could never come.
        """
        return self._make(
            kind="push",
            operation=operation,
            error=error,
            outcome=outcome,
            times=times,
            phase=phase,
            stream=stream,
            partition=partition,
        )

    def rule(
        self,
        operation: str,
        *,
        error: str | None = None,
        outcome: Outcome | None = None,
        rate: float = 1.0,
        seed: int = 0,
        times: int | None = None,
        phase: Phase | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> RemoteFault:
        """Let a share of the calls meet a fault; see `Faults.rule`.

        Raises:
            ConfigError: such a fault could never come.
        """
        return self._make(
            kind="rule",
            operation=operation,
            error=error,
            outcome=outcome,
            rate=rate,
            seed=seed,
            times=times,
            phase=phase,
            stream=stream,
            partition=partition,
        )

    def partial(
        self,
        operation: str = "records.put",
        *,
        code: str = "DIS.4303",
        message: str | None = None,
        rate: float = 1.0,
        seed: int = 0,
        times: int | None = None,
        stream: str | None = None,
        partition: int | None = None,
    ) -> RemoteFault:
        """Let a share of the records of puts fail; see `Faults.partial`.

        Raises:
            ConfigError: such a fault could never come.
        """
        return self._make(
            kind="partial",
            operation=operation,
            code=code,
            message=message,
            rate=rate,
            seed=seed,
            times=times,
            stream=stream,
            partition=partition,
        )

    @contextmanager
    def scope(self) -> Iterator[Self]:
        """Let the faults that are made here inside the block end with it."""
        name = uuid4().hex
        self._scopes = (*self._scopes, name)
        try:
            yield self
        finally:
            self._scopes = tuple(scope for scope in self._scopes if scope != name)
            self._door.ask("DELETE", "faults", self._of(scope=name))

    def clear(self) -> None:
        """End all faults, and forget the counts."""
        self._door.ask("DELETE", "faults", self._of())

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How often what came, by operation and name; see `Faults.counts`."""
        told = self._told().counts
        return Counter({(one.operation, one.name): one.count for one in told})

    def assert_exhausted(self) -> None:
        """See that each fault that is scripted, or bounded by `times`, came that often.

        Raises:
            AssertionError: these did not.
        """
        try:
            self._door.ask("GET", "faults/exhausted", self._of())
        except RemoteError as exc:
            if exc.status == 409:
                raise AssertionError(str(exc)) from None
            raise

    def end(self, *faults: RemoteFault) -> None:
        """End some faults; what they came to stays counted."""
        for fault in faults:
            fault.end()

    def __iter__(self) -> Iterator[RemoteFault]:
        """Give the faults that may still come."""
        return iter([RemoteFault(self._door, one) for one in self._told().faults])

    def __repr__(self) -> str:
        return f"<RemoteFaults of {self._door.endpoint}>"

    def _told(self) -> FaultsTold:
        return self._door.tell(FaultsTold, "GET", "faults", self._of())

    def _of(self, **fields: Any) -> dict[str, Any]:
        return {**fields, "project": self._project}

    def _make(self, outcome: Outcome | None = None, **fields: Any) -> RemoteFault:
        scope = self._scopes[-1] if self._scopes else None
        fields |= {"outcome": outcome and encode_outcome(outcome), "scope": scope}
        made = self._door.tell(FaultTold, "POST", "faults", self._of(**fields))
        return RemoteFault(self._door, made)


class RemoteRequests:
    """The last requests of the server, or of one of its projects; as `aiodis.server.Requests`."""

    def __init__(self, door: "_Door", project_id: str | None = None) -> None:
        self._door, self._project = door, project_id

    def of_project(self, project_id: str) -> "RemoteRequests":
        """Give the requests of one project."""
        return RemoteRequests(self._door, project_id)

    def of(self, operation: str | None = None, **wanted: Unpack[WantedFields]) -> list[SeenRequest]:
        """Give the requests that are meant, oldest first; see `Requests.of`.

        Raises:
            ConfigError: there is no such operation.
        """
        return self._ask({"operation": operation, "project": self._project, **wanted})

    @property
    def last(self) -> SeenRequest | None:
        """The latest request, or None."""
        found = self._ask({"project": self._project, "limit": 1})
        return found[-1] if found else None

    def wait_blocking(
        self,
        operation: str | None = None,
        *,
        count: int = 1,
        timeout: float = 10.0,
        **wanted: Unpack[WantedFields],
    ) -> list[SeenRequest]:
        """Wait until so many of the requests were answered, and give them; see `Requests.wait`.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        asked = {"operation": operation, "project": self._project, "count": count, **wanted}
        left = timeout
        while True:
            wait_s = max(0.0, min(left, _LONGEST_WAIT_S))
            found = self._ask({**asked, "wait_s": wait_s}, timeout_s=wait_s)
            left -= wait_s
            if len(found) >= count:
                return found
            if left <= 0:
                raise TimeoutError(
                    f"{len(found)} of {count} requests came within {timeout:g} s: {found}"
                )

    async def wait(
        self,
        operation: str | None = None,
        *,
        count: int = 1,
        timeout: float = 10.0,
        **wanted: Unpack[WantedFields],
    ) -> list[SeenRequest]:
        """Do what `wait_blocking` does, on a thread. Cancelled, the thread waits to the end.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        wait = partial(self.wait_blocking, operation, count=count, timeout=timeout, **wanted)
        return await asyncio.to_thread(wait)

    def clear(self) -> None:
        """Forget the requests. Their numbers go on."""
        self._door.ask("DELETE", "requests", {"project": self._project})

    def __iter__(self) -> Iterator[SeenRequest]:
        return iter(self.of())

    def __len__(self) -> int:
        return len(self.of())

    def __repr__(self) -> str:
        return f"<RemoteRequests of {self._door.endpoint}>"

    def _ask(self, asked: Mapping[str, Any], timeout_s: float = 0) -> list[SeenRequest]:
        query = {"limit": 100_000, **asked}
        body = self._door.ask("GET", "requests", query, timeout_s=timeout_s)
        return msgspec.json.decode(body, type=_Seen).requests


class RemoteClock:
    """The server's clock."""

    def __init__(self, door: "_Door") -> None:
        self._door = door

    @property
    def kind(self) -> str:
        """Which it is: `real`, `manual` or `auto`."""
        return self._told().kind

    def now_ms(self) -> int:
        """Give the whole milliseconds since the epoch."""
        return self._told().now_ms

    def advance(
        self, *, milliseconds: float = 0, seconds: float = 0, minutes: float = 0, hours: float = 0
    ) -> None:
        """Move the time forward by the sum of all; what is due by then happens before.

        Raises:
            ConfigError: it is the system's clock, or one is negative.
        """
        by = {"milliseconds": milliseconds, "seconds": seconds, "minutes": minutes, "hours": hours}
        try:
            self._door.ask("POST", "clock", by)
        except RemoteError as exc:
            if exc.status == 409:
                raise ConfigError(str(exc)) from None
            raise

    def __repr__(self) -> str:
        return f"<RemoteClock of {self._door.endpoint}>"

    def _told(self) -> ClockTold:
        return self._door.tell(ClockTold, "GET", "clock")


class RemoteDIS:
    """A server that runs elsewhere, by its endpoint, over its admin routes.

    `ca_file` is its authority, for https. The server has to let this machine in; see
    `aiodis serve --admin`.
    """

    def __init__(
        self, endpoint: str, *, ca_file: Path | str | None = None, timeout_s: float = 10.0
    ) -> None:
        self._door, self._ca_file = _Door(endpoint, ca_file, timeout_s), ca_file
        self.faults = RemoteFaults(self._door)
        """Faults on purpose."""
        self.requests = RemoteRequests(self._door)
        """The last requests, and what came of them."""
        self.clock = RemoteClock(self._door)
        """The server's clock."""

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return self._door.endpoint

    def health(self) -> HealthTold:
        """Tell whether it serves requests, and what it is.

        Raises:
            RemoteError: it cannot be reached, or is not ready.
        """
        return self._door.tell(HealthTold, "GET", "health")

    def metrics(self) -> str:
        """Give its metrics in the text form of Prometheus."""
        return self._door.ask("GET", "metrics").decode()

    def add_account(
        self,
        account: Account,
        *,
        limited: bool = True,
        quotas: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Take in one more account; give what clients of its first user need.

        See `LocalDIS.add_account`.

        Raises:
            ConfigError: a name, a key or the project is there already, or such a quota is not.
        """
        users = [
            {
                "name": user.name,
                "password": user.password,
                "keys": [
                    {"access_key": key.access_key, "secret_key": key.secret_key}
                    for key in user.keys
                ],
                "actions": None if user.actions is None else sorted(user.actions),
            }
            for user in account.users
        ]
        asked = {"name": account.name, "project_id": account.project_id, "users": users}
        self._door.ask("POST", "accounts", {**asked, "limited": limited, "quotas": quotas})
        first = Caller(account, account.users[0])
        settings = {
            "endpoint": self.endpoint,
            "project_id": account.project_id,
            "credentials": credentials_of(first),
        }
        return settings | ({"ca_file": self._ca_file} if self._ca_file else {})

    def remove_account(self, name: str) -> None:
        """Take an account out, with its faults and all that it kept in memory.

        Raises:
            RemoteError: there is none of that name, or it is the first one.
        """
        self._door.ask("DELETE", f"accounts/{quote(name, safe='')}")

    def records(self, stream_name: str, *, project_id: str | None = None) -> list[ReceivedRecord]:
        """Give all records of a stream; see `LocalDIS.records`.

        Raises:
            RemoteError: there is no such stream.
        """
        path = f"streams/{quote(stream_name, safe='')}/records"
        body = self._door.ask("GET", path, {"project": project_id})
        return msgspec.json.decode(body, type=_Records).records

    def reset(self, project_id: str | None = None) -> None:
        """Bring a project, or all of them, back to how they began; see `LocalDIS.reset`."""
        self._door.ask("DELETE", "state", {"project": project_id})

    def snapshot(self, project_id: str | None = None) -> Snapshot:
        """Take all that a project, or all of them, hold now; see `LocalDIS.snapshot`."""
        return Snapshot.from_bytes(self._door.ask("GET", "state", {"project": project_id}))

    def restore(self, snapshot: Snapshot, project_id: str | None = None) -> None:
        """Bring the projects of a snapshot back to what they held; see `LocalDIS.restore`.

        Raises:
            RemoteError: the server has no such project, or cannot hold it.
        """
        self._door.ask("PUT", "state", {"project": project_id}, body=bytes(snapshot))

    def seed(self, source: Path | str | Mapping[str, Any], project_id: str | None = None) -> None:
        """Add streams with records, apps and checkpoints to a project; see `LocalDIS.seed`.

        `source` is a mapping, or a file at this end: TOML, JSON lines or JSON.

        Raises:
            ConfigError: it cannot be read or carried out, or a stream or app of it is there.
        """
        _, seed, _ = read_source(source)
        self._door.ask("POST", "seed", {"seed": seed, "project": project_id})

    def purge(self, stream_name: str, project_id: str | None = None) -> None:
        """Remove the records of a stream; see `LocalDIS.purge`.

        Raises:
            RemoteError: there is no such stream.
        """
        path = f"streams/{quote(stream_name, safe='')}/purge"
        self._door.ask("POST", path, {"project": project_id})

    def __repr__(self) -> str:
        return f"<RemoteDIS {self.endpoint}>"


def _on_thread(
    method: Callable[Concatenate[S, P], R],
) -> "Callable[Concatenate[_Async[S], P], Awaitable[R]]":
    """Make the async form of a method of a face."""

    async def call(self: "_Async[S]", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.blocking, *args, **kwargs)

    call.__name__, call.__doc__ = method.__name__, method.__doc__
    return call


class _Async(Generic[S]):
    """A face whose methods are awaited. `blocking` is the one that it works through."""

    def __init__(self, blocking: S) -> None:
        self.blocking = blocking


class AsyncRemoteFaults(_Async[RemoteFaults]):
    """`RemoteFaults`, awaited; `blocking.scope()` is the block."""

    push = _on_thread(RemoteFaults.push)
    rule = _on_thread(RemoteFaults.rule)
    partial = _on_thread(RemoteFaults.partial)
    clear = _on_thread(RemoteFaults.clear)
    end = _on_thread(RemoteFaults.end)
    assert_exhausted = _on_thread(RemoteFaults.assert_exhausted)


class AsyncRemoteRequests(_Async[RemoteRequests]):
    """`RemoteRequests`, awaited."""

    of = _on_thread(RemoteRequests.of)
    wait = _on_thread(RemoteRequests.wait_blocking)
    clear = _on_thread(RemoteRequests.clear)


class AsyncRemoteClock(_Async[RemoteClock]):
    """`RemoteClock`, awaited."""

    now_ms = _on_thread(RemoteClock.now_ms)
    advance = _on_thread(RemoteClock.advance)


class AsyncRemoteDIS(_Async[RemoteDIS]):
    """`RemoteDIS` for code that must not hold up its loop: every call is awaited.

    Calls run on threads; one that is cancelled is carried out nevertheless.
    """

    def __init__(
        self, endpoint: str, *, ca_file: Path | str | None = None, timeout_s: float = 10.0
    ) -> None:
        super().__init__(RemoteDIS(endpoint, ca_file=ca_file, timeout_s=timeout_s))
        self.faults = AsyncRemoteFaults(self.blocking.faults)
        self.requests = AsyncRemoteRequests(self.blocking.requests)
        self.clock = AsyncRemoteClock(self.blocking.clock)

    health = _on_thread(RemoteDIS.health)
    metrics = _on_thread(RemoteDIS.metrics)
    add_account = _on_thread(RemoteDIS.add_account)
    remove_account = _on_thread(RemoteDIS.remove_account)
    records = _on_thread(RemoteDIS.records)
    reset = _on_thread(RemoteDIS.reset)
    snapshot = _on_thread(RemoteDIS.snapshot)
    seed = _on_thread(RemoteDIS.seed)
    restore = _on_thread(RemoteDIS.restore)
    purge = _on_thread(RemoteDIS.purge)


class _Seen(msgspec.Struct):
    requests: list[SeenRequest]


class _Records(msgspec.Struct):
    records: list[ReceivedRecord]


class _Readable(Protocol):
    @classmethod
    def model_validate_json(cls, json_data: bytes, /) -> Self: ...


M = TypeVar("M", bound=_Readable)


class _Door:
    """One request to the admin routes at a time, each on a connection of its own.

    Not through a proxy, whatever the environment says: the server lets none in.
    """

    def __init__(self, endpoint: str, ca_file: Path | str | None, timeout_s: float) -> None:
        url = urlsplit(endpoint)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigError(f"endpoint {endpoint!r} is no URL of a server")
        self.endpoint = endpoint.rstrip("/")
        self._timeout_s = timeout_s
        self._connect: Callable[..., HTTPConnection] = partial(
            HTTPConnection, url.hostname, url.port
        )
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            self._connect = partial(HTTPSConnection, url.hostname, url.port, context=context)

    def tell(
        self, model: type[M], method: str, path: str, fields: Mapping[str, Any] | None = None
    ) -> M:
        """Ask, and read the answer as a model."""
        return model.model_validate_json(self.ask(method, path, fields))

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        *,
        body: bytes | None = None,
        timeout_s: float = 0,
    ) -> bytes:
        """Ask, and give the answer's body. `body` is sent as it is, else fields are as JSON.

        Raises:
            ConfigError: what was asked makes no sense.
            RemoteError: the server cannot be reached, or says no.
        """
        given = {name: value for name, value in (fields or {}).items() if value is not None}
        target = PREFIX + path
        if body is None and method in {"POST", "PUT"}:
            body = json.dumps(given).encode()
        elif given:
            target += f"?{urlencode(given)}"
        connection = self._connect(timeout=self._timeout_s + timeout_s)
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, HTTPException) as exc:
            raise RemoteError(f"{self.endpoint} does not answer: {exc}") from exc
        finally:
            connection.close()
        if status < 300:
            return answer
        message = _message_of(answer) or f"HTTP {status}"
        if status == 400:
            raise ConfigError(message)
        raise RemoteError(f"{self.endpoint}: {message}", status)


def _message_of(answer: bytes) -> str | None:
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    told = found.get("error") or found.get("error_msg") or found.get("status")
    return None if told is None else str(told)
