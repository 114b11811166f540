"""A project of a test's own: its keys, its streams, its faults, its requests.

What a sandbox does to its server is synchronous and quick, so that it serves sync tests
and async ones of any framework and loop. Clients, producers and consumers belong to the
loop of the test that opens them.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from itertools import count
from secrets import token_hex
from typing import Any, Final

from pydantic import ValidationError

from aiodis.api.records import Records
from aiodis.api.streams import CreateStream, Streams
from aiodis.client import DISClient
from aiodis.consumer import Consumer
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import error_class
from aiodis.producer import Producer
from aiodis.record import ReceivedRecord, Record
from aiodis.server import Account, Clock, LocalDIS, User
from aiodis.server.faults import Faults
from aiodis.server.requests import Requests, SeenRequest
from aiodis.testing.remote import RemoteClock, RemoteFaults, RemoteRequests
from aiodis.testing.wishes import Wishes
from aiodis.wire.codec import PutBody, PutEntry, PutReply
from aiodis.wire.message import parameter_error

__all__ = [
    "LocalSandbox",
    "Sandbox",
    "SandboxStream",
    "account_named",
    "environment_of",
    "local_sandbox",
    "name_of",
    "new_name",
    "told",
]

_TOLD_REQUESTS: Final = 10
_NUMBERS: Final = count(1)


class SandboxStream:
    """A stream of a sandbox."""

    def __init__(self, sandbox: "Sandbox", name: str) -> None:
        self._sandbox, self.name = sandbox, name

    def __repr__(self) -> str:
        return f"<SandboxStream {self.name}>"

    def records(self) -> list[ReceivedRecord]:
        """Give what the stream has; see `Sandbox.records`."""
        return self._sandbox.records(self)

    def put(self, *data: bytes, partition_key: str | None = None) -> None:
        """Put records there for the test to begin with; see `Sandbox.put`."""
        self._sandbox.put(self, *data, partition_key=partition_key)

    @asynccontextmanager
    async def producer(self, **settings: Any) -> AsyncIterator[Producer]:
        """Open a client and a producer; `settings` are those of `ProducerSettings`."""
        async with (
            self._sandbox.client() as client,
            client.producer(self.name, **settings) as producer,
        ):
            yield producer

    @asynccontextmanager
    async def consumer(self, app: str = "test-app", **settings: Any) -> AsyncIterator[Consumer]:
        """Open a client and a consumer, which reads from the stream's beginning.

        `settings` are those of `ConsumerSettings`.
        """
        asked = {"app": app, "offset_reset": "earliest", **settings}
        async with (
            self._sandbox.client() as client,
            client.consumer(self.name, **asked) as consumer,
        ):
            yield consumer


class Sandbox(ABC):
    """A project of a test's own: nothing of another test is in it.

    `client_settings` are what `DISClient` takes to call it.
    """

    def __init__(self, client_settings: Mapping[str, Any]) -> None:
        self.client_settings = dict(client_settings)

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return str(self.client_settings["endpoint"])

    @property
    def project_id(self) -> str:
        """The project that the test has to itself."""
        return str(self.client_settings["project_id"])

    @property
    def credentials(self) -> AccessKey | StaticToken | IAMPassword:
        """Who the test is."""
        found: AccessKey | StaticToken | IAMPassword = self.client_settings["credentials"]
        return found

    @property
    def env(self) -> dict[str, str]:
        """The same as variables of the environment, for `DISClient.from_env` and other processes.

        For example `for name, value in dis.env.items(): monkeypatch.setenv(name, value)`.
        """
        return environment_of(self.client_settings)

    @property
    @abstractmethod
    def faults(self) -> Faults | RemoteFaults:
        """Faults on purpose, for the sandbox's own calls (`aiodis.server.faults`)."""

    @property
    @abstractmethod
    def requests(self) -> Requests | RemoteRequests:
        """The sandbox's last requests, and what came of them (`aiodis.server.Requests`)."""

    @property
    @abstractmethod
    def clock(self) -> Clock | RemoteClock:
        """The clock of the server, and of the sandbox's clients."""

    def client(self, **changes: Any) -> DISClient:
        """Make a client, to be entered in the test's loop; `changes` are `ClientSettings`."""
        return DISClient(**{**self.client_settings, **changes})

    def create_stream(
        self, stream_name: str = "events", partition_count: int = 1, **fields: Any
    ) -> SandboxStream:
        """Make a stream; `fields` are further parameters of `streams.create`.

        Raises:
            ParameterError: one of them cannot be.
            ServiceError: the service says no.
        """
        given = {"stream_name": stream_name, "partition_count": partition_count, **fields}
        try:
            request = CreateStream(**given)
        except ValidationError as exc:
            raise parameter_error("streams.create", exc) from None
        self.make(request)
        return SandboxStream(self, stream_name)

    def stream(self, stream_name: str) -> SandboxStream:
        """Give a stream that is there, or will be."""
        return SandboxStream(self, stream_name)

    def put(
        self, stream: str | SandboxStream, *data: bytes, partition_key: str | None = None
    ) -> None:
        """Put records into a stream for the test to begin with. Without a key they are spread.

        Raises:
            ServiceError: the service says no, to all or to one of them.
        """
        records = [Record(item, partition_key) for item in data]
        reply = self._put(name_of(stream), records)
        for result in reply.records:
            if result.error_code:
                kind, message = error_class(400, result.error_code), result.error_message or ""
                raise kind(message, status=400, code=result.error_code)

    @abstractmethod
    def records(self, stream: str | SandboxStream) -> list[ReceivedRecord]:
        """Give all that is in a stream, partition by partition, each in its order.

        Raises:
            NotFoundError: there is no such stream.
        """

    @abstractmethod
    def describe(self) -> str:
        """Tell of the server, its clock, the last requests and the faults, for a failed test."""

    @abstractmethod
    def make(self, request: CreateStream) -> None:
        """Make a stream as a whole request asks for; see `create_stream`."""

    @abstractmethod
    def _put(self, stream_name: str, records: Sequence[Record]) -> PutReply: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} project {self.project_id} of {self.endpoint}>"


class LocalSandbox(Sandbox):
    """A project of an embedded DIS in this process.

    Looking and preparing (`create_stream`, `put`, `records`) are no requests: no fault
    meets them, and `requests` does not tell of them.
    """

    def __init__(self, server: LocalDIS, account: Account) -> None:
        user = account.users[0]
        super().__init__(server.settings_of(account.name, user.name))
        self.server = server
        self._account = account
        self._faults = server.faults.of_project(self.project_id)
        self._requests = server.requests.of_project(self.project_id)

    @property
    def faults(self) -> Faults:
        """Faults on purpose, for the sandbox's own calls (`aiodis.server.faults`)."""
        return self._faults

    @property
    def requests(self) -> Requests:
        """The sandbox's last requests, and what came of them (`aiodis.server.Requests`)."""
        return self._requests

    @property
    def clock(self) -> Clock:
        """The clock of the server, and of the sandbox's clients."""
        return self.server.clock

    @property
    def token(self) -> StaticToken:
        """A token of the sandbox's user, valid for 24 hours."""
        return self.server.token_of(self._account.name, self._account.users[0].name)

    @property
    def password(self) -> IAMPassword:
        """The sandbox's user by password, for which IAM gives tokens."""
        user = self._account.users[0]
        return IAMPassword(user.name, str(user.password), self._account.name)

    def records(self, stream: str | SandboxStream) -> list[ReceivedRecord]:
        """Give all that is in a stream, partition by partition, each in its order.

        Raises:
            NotFoundError: there is no such stream.
        """
        return self.server.records(name_of(stream), project_id=self.project_id)

    def describe(self) -> str:
        """Tell of the server, its clock, the last requests and the faults."""
        where = f"{self.server!r}, project {self.project_id}"
        now_ms = self.clock.now_ms()
        return told(where, self.clock, now_ms, repr(self.faults), self.requests.of())

    def make(self, request: CreateStream) -> None:
        """Make a stream as a whole request asks for; see `create_stream`."""
        self.server.carry_out(Streams.create, request, project_id=self.project_id)

    def _put(self, stream_name: str, records: Sequence[Record]) -> PutReply:
        entries = [
            PutEntry.of(record.data, partition_key=record.partition_key) for record in records
        ]
        request = PutBody(entries, stream_name)
        reply: PutReply = self.server.carry_out(Records.put, request, project_id=self.project_id)
        return reply


@contextmanager
def local_sandbox(server: LocalDIS, wishes: Wishes) -> Iterator[LocalSandbox]:
    """Have a sandbox on a server that runs, for the length of a block."""
    name = new_name()
    server.add_account(account := account_named(name), **wishes.of_project)
    try:
        sandbox = LocalSandbox(server, account)
        for stream in wishes.streams:
            sandbox.make(stream)
        yield sandbox
    finally:
        server.remove_account(name)


def told(
    where: str, clock: object, now_ms: int, faults: str, requests: Sequence[SeenRequest]
) -> str:
    """Write what a failed test's report shows."""
    last = requests[-_TOLD_REQUESTS:]
    now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    count = f"requests: the last {len(last)} of {len(requests)}" if last else "no requests"
    lines = [where, f"{clock!r}, now {now}", faults, count]
    return "\n".join([*lines, *(f"  {seen!r}" for seen in last)])


def environment_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Write a client's settings as the variables that `DISClient.from_env` reads."""
    env = {
        "AIODIS_ENDPOINT": settings["endpoint"],
        "AIODIS_PROJECT_ID": settings["project_id"],
    }
    if "ca_file" in settings:
        env["AIODIS_CA_FILE"] = str(settings["ca_file"])
    match settings["credentials"]:
        case AccessKey(access_key, secret_key, security_token):
            env |= {"HUAWEICLOUD_SDK_AK": access_key, "HUAWEICLOUD_SDK_SK": secret_key}
            if security_token:
                env["HUAWEICLOUD_SDK_SECURITY_TOKEN"] = security_token
        case StaticToken(token):
            env["HUAWEICLOUD_SDK_AUTH_TOKEN"] = token
        case IAMPassword(user_name, password, domain_name):
            env |= {
                "HUAWEICLOUD_SDK_USER_NAME": user_name,
                "HUAWEICLOUD_SDK_PASSWORD": password,
                "HUAWEICLOUD_SDK_DOMAIN_NAME": domain_name,
            }
    return env


def account_named(name: str) -> Account:
    """Make an account with a user who has a password and keys."""
    key = AccessKey(f"AK-{name}", f"the secret key of {name}")
    user = User(f"user-of-{name}", f"the password of {name}", (key,))
    return Account(name, f"project-of-{name}", (user,))


def new_name() -> str:
    """Give a name that no sandbox had, also of another process that shares the server."""
    return f"sandbox-{next(_NUMBERS)}-{token_hex(3)}"


def name_of(stream: str | SandboxStream) -> str:
    """Give the name of a stream."""
    return stream if isinstance(stream, str) else stream.name
