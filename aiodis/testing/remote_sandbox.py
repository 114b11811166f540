"""Sandboxes on a server that runs already: `--dis-endpoint`.

Where it is an embedded DIS whose admin routes let this machine in, a sandbox is a project
of its own, as on one's own server. Elsewhere, as on the service itself, tests share the
project and the keys of the environment; the streams that a test makes are its own, and
are deleted at its end.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

from aiodis.api.streams import CreateStream
from aiodis.client import DISClient
from aiodis.config import ClientSettings, is_loopback
from aiodis.credentials import AccessKey, Credentials
from aiodis.errors import AlreadyExistsError, DISError, NotFoundError
from aiodis.record import ReceivedRecord, Record
from aiodis.server.local import DEFAULT_ACCESS_KEY, DEFAULT_PROJECT_ID, DEFAULT_SECRET_KEY
from aiodis.testing.remote import (
    RemoteClock,
    RemoteDIS,
    RemoteError,
    RemoteFaults,
    RemoteRequests,
)
from aiodis.testing.sandbox import Sandbox, SandboxStream, account_named, name_of, new_name, told
from aiodis.testing.server_thread import ServerThread
from aiodis.testing.wishes import Wishes
from aiodis.wire.codec import PutReply

__all__ = ["RemoteHost", "RemoteSandbox"]

T = TypeVar("T")

_NOT_EMBEDDED: Final = "{} is no embedded DIS, or lets nobody use its admin routes"


class RemoteSandbox(Sandbox):
    """What a test has of a server that runs elsewhere.

    Looking and preparing are requests here. `unable` is called with the reason where the
    server cannot do what is asked.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        thread: ServerThread,
        dis: RemoteDIS | None,
        unable: Callable[[str], NoReturn],
    ) -> None:
        super().__init__(settings)
        self._thread, self._dis, self._unable = thread, dis, unable
        self._faults = dis.faults.of_project(self.project_id) if dis else None
        self._requests = dis.requests.of_project(self.project_id) if dis else None
        self._made: list[str] = []

    @property
    def faults(self) -> RemoteFaults:
        """Faults on purpose, for the sandbox's own calls (`aiodis.server.faults`)."""
        return self._faults or self._lacks("faults")

    @property
    def requests(self) -> RemoteRequests:
        """The sandbox's last requests, and what came of them (`aiodis.server.Requests`)."""
        # Not `or`: no requests are false.
        return self._lacks("requests") if self._requests is None else self._requests

    @property
    def clock(self) -> RemoteClock:
        """The clock of the server, which all its sandboxes share."""
        return self._dis.clock if self._dis else self._lacks("clock")

    def make(self, request: CreateStream) -> None:
        """Make a stream as a whole request asks for; see `create_stream`."""
        fields = {name: getattr(request, name) for name in request.model_fields_set}

        async def create(client: DISClient) -> None:
            await client.streams.create(**fields)  # the fields of that very request
            await client.streams.wait_until_running(stream_name=request.stream_name)

        try:
            self._do(create)
        except AlreadyExistsError as exc:
            exc.add_note(f"at {self.endpoint} a test's streams must be new: delete it, or rename")
            raise
        self._made.append(request.stream_name)

    def records(self, stream: str | SandboxStream) -> list[ReceivedRecord]:
        """Give all that is in a stream, partition by partition, each in its order.

        Raises:
            NotFoundError: there is no such stream.
        """
        name = name_of(stream)
        if self._dis is None:
            return self._do(lambda client: _read_all(client, name))
        try:
            return self._dis.records(name, project_id=self.project_id)
        except RemoteError as exc:
            if exc.status != 404:
                raise
            raise NotFoundError(str(exc), status=404, code="DIS.4301") from None

    def describe(self) -> str:
        """Tell of the server, its clock, the last requests and the faults, for a failed test."""
        where = f"{self.endpoint}, project {self.project_id}"
        if self._dis is None:
            return f"{where}; it tells of no requests"
        try:
            faults = ", ".join(map(repr, self.faults)) or "none"
            seen = list(self.requests)
            return told(where, self.clock, self.clock.now_ms(), f"faults: {faults}", seen)
        except DISError as exc:
            return f"{where}: {exc}"

    def delete_streams(self) -> None:
        """Delete what `create_stream` made."""

        async def delete(client: DISClient) -> None:
            for name in self._made:
                await client.streams.delete(stream_name=name, missing_ok=True)

        if self._made:
            self._do(delete)

    def _put(self, stream_name: str, records: Sequence[Record]) -> PutReply:
        return self._do(lambda c: c.records.put(stream_name=stream_name, records=records))

    def _do(self, work: Callable[[DISClient], Awaitable[T]]) -> T:
        async def do() -> T:
            async with self.client() as client:
                return await work(client)

        return self._thread.run(do())

    def _lacks(self, what: str) -> NoReturn:
        self._unable(f"{what}: {_NOT_EMBEDDED.format(self.endpoint)}")


class RemoteHost:
    """A server that runs, with the project and the keys of the environment."""

    def __init__(self, endpoint: str, unable: Callable[[str], NoReturn]) -> None:
        self._unable = unable
        self.settings = _settings(endpoint)
        self._thread = ServerThread()
        self._dis = _embedded_at(endpoint, self.settings.get("ca_file"))

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.__exit__(kind, exc, traceback)

    @property
    def server(self) -> RemoteDIS:
        """The server, where it is an embedded DIS."""
        if self._dis is None:
            self._unable(f"dis_server: {_NOT_EMBEDDED.format(self.settings['endpoint'])}")
        return self._dis

    @contextmanager
    def sandbox(self, wishes: Wishes) -> Iterator[RemoteSandbox]:
        """Have a sandbox for a test."""
        if self._dis is None:
            yield from self._shared(wishes)
        else:
            yield from self._own(self._dis, wishes)

    def _shared(self, wishes: Wishes) -> Iterator[RemoteSandbox]:
        if wishes.beyond_streams:
            asked = ", ".join(wishes.beyond_streams)
            self._unable(f"{asked}: {_NOT_EMBEDDED.format(self.settings['endpoint'])}")
        sandbox = RemoteSandbox(self.settings, self._thread, None, self._unable)
        try:
            _make_all(sandbox, wishes)
            yield sandbox
        finally:
            sandbox.delete_streams()

    def _own(self, dis: RemoteDIS, wishes: Wishes) -> Iterator[RemoteSandbox]:
        if wishes.transitions is not None:
            self._unable(f"transitions: they are set where {dis.endpoint} is started")
        if wishes.clock not in {"real", kind := dis.clock.kind}:
            self._unable(f"clock={wishes.clock!r}: {dis.endpoint} has clock {kind!r}")
        account = account_named(new_name())
        limited, quotas = wishes.limits == "strict", wishes.quotas or None
        settings = dis.add_account(account, limited=limited, quotas=quotas)
        try:
            sandbox = RemoteSandbox(settings, self._thread, dis, self._unable)
            _make_all(sandbox, wishes)
            yield sandbox
        finally:
            dis.remove_account(account.name)


def _make_all(sandbox: Sandbox, wishes: Wishes) -> None:
    for request in wishes.streams:
        sandbox.make(request)


def _settings(endpoint: str) -> dict[str, Any]:
    """Read the environment; without keys in it, a server on this machine is asked with its own.

    Raises:
        ConfigError: the environment lacks something.
    """
    settings = {**ClientSettings.from_env(), "endpoint": endpoint}
    here = is_loopback(urlsplit(endpoint).hostname or "")
    if here and not any(name.startswith("HUAWEICLOUD_SDK_") for name in os.environ):
        settings.setdefault("project_id", DEFAULT_PROJECT_ID)
        settings["credentials"] = AccessKey(DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY)
    else:
        settings["credentials"] = Credentials.from_env()
    ClientSettings(**settings)
    return settings


def _embedded_at(endpoint: str, ca_file: str | None) -> RemoteDIS | None:
    dis = RemoteDIS(endpoint, ca_file=ca_file)
    try:
        dis.health()
    except RemoteError as exc:
        if exc.status is None:
            raise
        return None
    except ValueError:  # an answer of another service's
        return None
    return dis


async def _read_all(client: DISClient, stream_name: str) -> list[ReceivedRecord]:
    found: list[ReceivedRecord] = []
    async for partition in client.streams.partitions(stream_name):
        first = await client.records.get_cursor(
            stream_name=stream_name,
            partition_id=partition.partition_id,
            cursor_type="TRIM_HORIZON",
        )
        cursor = first.partition_cursor
        while (reply := await client.records.get(partition_cursor=cursor)).records:
            for record in reply.records:
                record.partition_id = partition.partition_id
            found += reply.records
            cursor = reply.next_partition_cursor
    return found
