"""One row an operation: its route, its request, its reply.

`Operation` is a descriptor. On a client's resource it is an async method whose
parameters are the fields of the request, so that type checkers reject a wrong
name or type; on the class it is the row itself, which the embedded server, the
docs and the tests read.

One placement rule: names in the route go into the path; the rest go into the
query for GET and DELETE, and into the JSON body for POST and PUT. A row whose
DELETE has a body says so.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from types import MappingProxyType
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)
from urllib.parse import quote, urlencode

import msgspec
import orjson
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from aiodis.errors import DecodeError
from aiodis.wire.message import Message, parameter_error

__all__ = ["Caller", "Decodable", "Encodable", "Operation", "Parts", "Resource", "Source"]

Source = Literal["documented", "documented later", "seen in the SDK", "guessed"]
"""Where an operation is told of: in the reference of 2023, on the vendor's pages since, …"""

P = ParamSpec("P")
R = TypeVar("R", bound="Decodable")
D = TypeVar("D", bound="Decodable")


class Encodable(Protocol):
    """What a server needs of a reply."""

    def encode(self) -> bytes: ...


class Decodable(Encodable, Protocol):
    """What a client needs of a reply."""

    @classmethod
    def decode(cls, body: bytes, /) -> Self: ...


class Parts(NamedTuple):
    """A request on the wire: percent-encoded path and query, and the body if there is one."""

    method: str
    path: str
    query: str
    body: bytes | None


class Caller(Protocol):
    """What a resource needs of its client."""

    async def call(self, operation: "Operation[Any, D]", request: Message, /) -> D: ...

    async def sleep(self, seconds: float, /) -> None: ...

    def within(self, seconds: float, /) -> AbstractAsyncContextManager[object]:
        """Give a block that ends with a TimeoutError when it takes longer."""


class Resource:
    """A chapter of the API on a client, such as `client.streams`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @classmethod
    def operations(cls) -> "Iterator[Operation[Any, Any]]":
        """Give the chapter's rows in the order of the reference."""
        return (row for row in vars(cls).values() if isinstance(row, Operation))


class Operation(Generic[P, R]):
    """One operation of the service.

    `also_in_body` names fields that stand in the route and, by the reference, in
    the body as well. `status` is the one the service answers with when all is well.
    `always` are fields of the body that tell operations of one route apart, such as
    `{"action": "start"}`; the caller does not give them. `has_body` is for a DELETE
    whose fields go into a JSON body all the same. `also_at` are paths that
    only some of the vendor's clients use: a server answers there too. `source` says where
    it is told of.

    Fields of the request that are excluded from it are for the client alone: they are
    neither sent nor read, such as `exist_ok`.
    """

    def __init__(
        self,
        route: str,
        request: Callable[P, Message],
        reply: type[R],
        *,
        status: int = 200,
        also_in_body: tuple[str, ...] = (),
        always: Mapping[str, str] = MappingProxyType({}),
        has_body: bool = False,
        source: Source = "documented",
        also_at: tuple[str, ...] = (),
    ) -> None:
        self.method, self.path = route.split(" ")
        self.request: Any = request
        self.reply: type[R] = reply
        self.status = status
        self.also_in_body = also_in_body
        self.always = always
        self.has_body: Final = has_body or self.method in {"POST", "PUT"}
        self.source: Source = source
        self.also_at = also_at
        self.path_names: Final = tuple(re.findall(r"{(\w+)}", self.path))
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        chapter = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", owner.__name__).lower()
        self.name = f"{chapter}.{name}"

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, resource: Resource | None, owner: type) -> Self | Callable[P, Awaitable[R]]:
        if resource is None:
            return self
        caller = resource._caller  # noqa: SLF001 - a row and its resource are one thing

        async def method(*args: P.args, **kwargs: P.kwargs) -> R:
            request = self.build(*args, **kwargs)
            try:
                return await caller.call(self, request)
            except request.forgiven:
                return self.reply.decode(b"")

        method.__name__, method.__qualname__ = self.name.split(".")[1], self.name
        return method

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The fields of the request that are the client's alone."""
        fields: Mapping[str, FieldInfo] = self.request.model_fields
        return frozenset(name for name, info in fields.items() if info.exclude)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.method} {self.path}>"

    def build(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Check the parameters and make the request.

        Raises:
            ParameterError: a value that the service would refuse.
        """
        if args:
            raise TypeError(f"{self.name} takes keyword arguments only")
        try:
            # By the parameters' names only, so that an error names them, not the wire's spelling.
            request: Message = self.request.model_validate(kwargs, by_alias=False, by_name=True)
        except ValidationError as exc:
            raise parameter_error(self.name, exc) from None
        return request

    def encode(self, request: Message, project_id: str) -> Parts:
        """Place the request's fields into path, query and body."""
        fields = request.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"records"}
        )
        values = {"project_id": project_id}
        for name in self.path_names:
            if name != "project_id":
                values[name] = str(fields[name])
                if name not in self.also_in_body:
                    del fields[name]
        path = self.path.format_map({k: quote(v, safe="~") for k, v in values.items()})
        if not self.has_body:
            query = urlencode([(k, _text(v)) for k, v in fields.items()], quote_via=quote, safe="~")
            return Parts(self.method, path, query, None)
        return Parts(self.method, path, "", request.body({**fields, **self.always}))

    def is_meant(self, body: Mapping[str, Any]) -> bool:
        """Say whether a body on this row's route is this operation's."""
        return all(body.get(name) == value for name, value in self.always.items())

    def read(
        self, path: Mapping[str, str], query: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> Message:
        """Read a request as a server: unknown and empty parameters are passed over.

        Raises:
            ValidationError: pydantic's own, for the server to map to its codes.
        """
        given = {k: v for k, v in query.items() if v != ""}
        given |= body or {}
        given |= {k: v for k, v in path.items() if k != "project_id"}
        given = {k: v for k, v in given.items() if k not in self.own_names}
        request: Message = self.request.model_validate(self.request.shape(given), extra="ignore")
        return request

    def decode(self, body: bytes, *, status: int) -> R:
        """Read the reply.

        Raises:
            DecodeError: the body is not what this operation answers.
        """
        try:
            return self.reply.decode(body)
        except (ValidationError, msgspec.MsgspecError, orjson.JSONDecodeError) as exc:
            raise DecodeError(
                f"{self.name}: the answer (HTTP {status}, {len(body)} bytes) could not be read",
                status=status,
                head=body,
            ) from exc


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
