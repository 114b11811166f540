"""What a server begins with: streams, records, apps, checkpoints, …, from a file or a mapping.

A seed is what the service's own operations would be asked, so the same models check it. It is
carried out on an engine of its own, in memory, and what that holds then is added to the real
one at once: a seed is there as a whole or not at all.

A file is JSON or TOML of one shape, or JSON lines, each of which is one thing of one kind:

    {"stream": {"stream_name": "orders", "partition_count": 2}}
    {"record": {"stream_name": "orders", "data": "hello", "partition_key": "k"}}
    {"app": {"app_name": "billing"}}
    {"checkpoint": {"app_name": "billing", "stream_name": "orders", …}}
"""

import tomllib
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aiodis.api import OPERATIONS
from aiodis.api.apps import CreateApp
from aiodis.api.checkpoints import CommitCheckpoint
from aiodis.api.limits import MAX_RECORDS_PER_REQUEST, limits_of
from aiodis.api.policies import CreatePolicy
from aiodis.api.records import MAX_RECORD_BYTES
from aiodis.api.streams import CreateStream, DescribeStream
from aiodis.api.transfer_tasks import CreateTransferTask
from aiodis.errors import ConfigError
from aiodis.server import guesses
from aiodis.server.content import Content, StateError
from aiodis.server.dump.buckets import MemoryBuckets
from aiodis.server.engine import Engine
from aiodis.server.refusal import Refusal
from aiodis.wire.codec import PutBody, PutEntry, PutReply
from aiodis.wire.message import Message

__all__ = ["Seed", "SeedError", "Sown", "read_source"]

_ROWS: Final = {row.name: row for row in OPERATIONS}
_DATA: Final = ("data", "base64", "json")

_Loc = tuple[int | str, ...]


class SeedError(StateError, ConfigError):
    """A seed that cannot be. Nothing of it is there."""


class Sown(NamedTuple):
    """What a seed comes to at one time: for a project, and the buckets that its tasks need."""

    content: Content
    stream_names: list[str]
    app_names: list[str]
    buckets: list[str]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Record(_Part):
    """A record: its data as text, base64 or JSON, and where it goes, as in a put."""

    data: str | None = None
    base64: str | None = None
    value: Any = Field(None, alias="json")
    partition_key: str | None = None
    partition_id: str | None = None
    explicit_hash_key: str | None = None
    timestamp: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in _DATA if name in _given(self)]
        if len(given) != 1:
            raise ValueError("it needs one of data, base64 and json")
        if not 0 < len(self.content()) <= MAX_RECORD_BYTES:
            raise ValueError(f"its data has {len(self.content())} bytes, not 1 to 1 MiB")
        return self

    def content(self) -> bytes:
        if self.data is not None:
            return self.data.encode()
        if self.base64 is not None:
            return b64decode(self.base64, validate=True)
        return orjson.dumps(self.value)

    def entry(self) -> PutEntry:
        return PutEntry.of(
            self.content(),
            self.explicit_hash_key,
            self.partition_id,
            self.partition_key,
            self.timestamp,
        )


class _Policy(_Part):
    principal_name: str
    action_type: str


class _Stream(CreateStream):
    """A stream as in `streams.create`, and what is in it."""

    records: list[_Record] = []
    policies: list[_Policy] = []
    transfer_tasks: list[dict[str, Any]] = []


class _Seed(_Part):
    streams: list[_Stream] = []
    apps: list[CreateApp] = []
    checkpoints: list[CommitCheckpoint] = []


class Seed:
    """A seed that was read; it may be sown any number of times."""

    def __init__(self, source: str, given: Mapping[str, Any], lines: Mapping[_Loc, int]) -> None:
        self._source, self._lines = source, lines
        try:
            self._seed = _Seed.model_validate(given)
        except ValidationError as exc:
            raise self._error((), exc) from None

    @classmethod
    def read(cls, source: Path | str | Mapping[str, Any]) -> Self:
        """Read a file, by its name's end TOML, JSON lines (`.jsonl`) or else JSON; or a mapping.

        Raises:
            SeedError: it cannot be read, or says what cannot be; one line that names the place.
        """
        return cls(*read_source(source))

    def sow(self, now_ms: int) -> Sown:
        """Let it all come to be in an empty project at a time.

        Raises:
            SeedError: it contradicts itself, or a rule of the service.
        """
        buckets = MemoryBuckets()
        engine = Engine.open(None, limited=False, buckets=buckets)
        try:
            for number, stream in enumerate(self._seed.streams):
                self._sow_stream(engine, stream, ("streams", number), now_ms)
            for number, app in enumerate(self._seed.apps):
                self._do(engine, "apps.create", app, ("apps", number), now_ms)
            for number, commit in enumerate(self._seed.checkpoints):
                self._do(engine, "checkpoints.commit", commit, ("checkpoints", number), now_ms)
            return Sown(
                engine.content(),
                [stream.stream_name for stream in self._seed.streams],
                [app.app_name for app in self._seed.apps],
                buckets.names(),
            )
        finally:
            engine.close()

    def error(self, reason: object) -> SeedError:
        """Make the error of a seed that is right, but not here."""
        return SeedError(f"{self._source}: {reason}")

    def _sow_stream(self, engine: Engine, stream: _Stream, loc: _Loc, now_ms: int) -> None:
        name = stream.stream_name
        self._do(engine, "streams.create", stream, loc, now_ms)
        described = engine.handle(
            _ROWS["streams.describe"], DescribeStream(stream_name=name), now_ms
        )
        names = {"stream_name": name, "stream_id": getattr(described, "stream_id")}  # noqa: B009
        for number, policy in enumerate(stream.policies):
            at = (*loc, "policies", number)
            made = self._read(CreatePolicy, {**names, **policy.model_dump()}, at)
            self._do(engine, "policies.create", made, at, now_ms)
        self._sow_records(engine, stream, (*loc, "records"), now_ms)
        for number, task in enumerate(stream.transfer_tasks):
            at = (*loc, "transfer_tasks", number)
            shaped = self._shaped({"stream_name": name, **task}, at)
            known = {key: shaped[key] for key in ("stream_name", "destination")}
            made = self._read(CreateTransferTask, known, at)
            self._do(engine, "transfer_tasks.create", made, at, now_ms)

    def _sow_records(self, engine: Engine, stream: _Stream, loc: _Loc, now_ms: int) -> None:
        stream_type = stream.stream_type or guesses.DEFAULT_STREAM_TYPE
        entries = [record.entry() for record in stream.records]
        for first, page in _pages(entries, limits_of(stream_type).request_bytes):
            body = PutBody(page, stream.stream_name)
            reply = self._do(engine, "records.put", body, (*loc, first), now_ms)
            assert isinstance(reply, PutReply)
            for number, result in enumerate(reply.records, first):
                if result.error_code:
                    reason = f"{result.error_message} ({result.error_code})"
                    raise self._error((*loc, number), reason)

    def _do(
        self, engine: Engine, name: str, request: Message | PutBody, loc: _Loc, now_ms: int
    ) -> object:
        try:
            return engine.handle(_ROWS[name], request, now_ms)
        except Refusal as refusal:
            raise self._error(loc, f"{refusal.message} ({refusal.code})") from None

    def _read(self, model: type[Message], fields: dict[str, Any], loc: _Loc) -> Message:
        try:
            return model.model_validate(fields)
        except ValidationError as exc:
            raise self._error(loc, exc) from None

    def _shaped(self, fields: dict[str, Any], loc: _Loc) -> dict[str, Any]:
        try:
            return CreateTransferTask.shape(fields)
        except ValidationError as exc:
            raise self._error(loc, exc) from None

    def _error(self, loc: _Loc, reason: ValidationError | str) -> SeedError:
        """Name the place: by line where there are lines, else by its path."""
        if isinstance(reason, ValidationError):
            first = reason.errors(include_url=False, include_context=False)[0]
            loc = (*loc, *first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
        place = _path(loc)
        for length in range(len(loc), 0, -1):
            if line := self._lines.get(loc[:length]):
                place = ", ".join(filter(None, (f"line {line}", _path(loc[length:]))))
                break
        return SeedError(f"{self._source}: {place}: {_one_line(reason)}")


def read_source(
    source: Path | str | Mapping[str, Any],
) -> tuple[str, Mapping[str, Any], Mapping[_Loc, int]]:
    """Give what a source is called, what it says, and in which line what is, of JSON lines.

    Raises:
        SeedError: it cannot be read.
    """
    if isinstance(source, Mapping):
        return "the seed", source, {}
    path = Path(source)
    name = f"the seed file {path}"
    try:
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            return name, *_of_lines(name, data)
        found = tomllib.loads(data.decode()) if path.suffix == ".toml" else orjson.loads(data)
    except OSError as exc:
        raise SeedError(f"{name}: {exc.strerror or exc}") from exc
    except SeedError:
        raise
    except (ValueError, RecursionError) as exc:  # each kind of wrong JSON or TOML is one
        raise SeedError(f"{name}: {_one_line(exc)}") from None
    if not isinstance(found, dict):
        raise SeedError(f"{name}: it is no object")
    return name, found, {}


def _of_lines(name: str, data: bytes) -> tuple[dict[str, list[Any]], dict[_Loc, int]]:
    """Gather the things of JSON lines, and note in which line each is."""
    found: dict[str, list[Any]] = {"streams": [], "apps": [], "checkpoints": []}
    lines: dict[_Loc, int] = {}
    streams: dict[object, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        kind, thing = _thing(f"{name}: line {number}", line)
        if kind == "record":
            stream = streams.get(thing.pop("stream_name", None))
            if stream is None:
                raise SeedError(f"{name}: line {number}: no line before it has the record's stream")
            records = found["streams"][stream].setdefault("records", [])
            lines["streams", stream, "records", len(records)] = number
            records.append(thing)
            continue
        things = found[f"{kind}s"]
        if kind == "stream":
            streams[thing.get("stream_name")] = len(things)
        lines[f"{kind}s", len(things)] = number
        things.append(thing)
    return found, lines


def _thing(place: str, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        given = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise SeedError(f"{place}: {_one_line(exc)}") from None
    kinds = ("stream", "record", "app", "checkpoint")
    if isinstance(given, dict) and len(given) == 1:
        ((kind, thing),) = given.items()
        if kind in kinds and isinstance(thing, dict):
            return kind, thing
    raise SeedError(f"{place}: it is no object of one of {', '.join(kinds)}")


def _pages(entries: Sequence[PutEntry], most: int) -> Iterator[tuple[int, list[PutEntry]]]:
    """Divide records into requests, each with the number of its first one."""
    first = size = 0
    for number, data_bytes in enumerate(PutBody(list(entries)).sizes()):
        size += data_bytes
        if number > first and (size > most or number - first == MAX_RECORDS_PER_REQUEST):
            yield first, list(entries[first:number])
            first, size = number, data_bytes
    if first < len(entries):
        yield first, list(entries[first:])


def _given(record: _Record) -> set[str]:
    return {"json" if name == "value" else name for name in record.model_fields_set}


def _path(loc: _Loc) -> str:
    """Write a place as one would in Python: `streams[1].records[0].data`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return "".join(parts).lstrip(".")


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or "it cannot be read"
