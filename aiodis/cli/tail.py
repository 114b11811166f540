"""`aiodis tail`: print a stream's records as they come."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import orjson
import typer

from aiodis.api.limits import limits_of
from aiodis.api.streams import Partition, StreamDescription
from aiodis.cli.connection import Connection
from aiodis.cli.outcome import NotAllDoneError, run, warn
from aiodis.cli.output import record_fields
from aiodis.cli.parameters import one_of
from aiodis.cli.start import Start, is_before_oldest, read_start
from aiodis.client import DISClient
from aiodis.config import Static
from aiodis.errors import (
    CircuitOpenError,
    CursorExpiredError,
    DISError,
    PartitionExpiredError,
    SequenceOutOfRangeError,
    ThrottledError,
)
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.record import Batch, ReceivedRecord, partition_name, partition_number
from aiodis.wire.routing import parse_range

__all__ = ["tail"]

_IDLE_S: Final = 0.5
_REFRESH_S: Final = 30.0
_FETCH_BYTES: Final = 1024 * 1024
_BATCHES_AHEAD: Final = 4
_MANY: Final = 500

Delimiter = Literal["newline", "null", "none"]
_DELIMITERS: Final = {"newline": b"\n", "null": b"\0", "none": b""}

Write = Callable[[Batch], None]


def tail(
    connection: Connection,
    stream: Annotated[str, typer.Argument(help="The stream.")],
    partition_id: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Read this partition only. May be repeated."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="earliest, latest, a sequence number (with one --partition-id), a time such as"
            " 2026-11-24T08:00, or how long ago such as 15m. latest if not given, earliest with"
            " --no-follow.",
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(help="Wait for more; else end where the stream ends now."),
    ] = True,
    app: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Start at this app's checkpoints and commit what was printed; --from is for"
            " partitions without one. Creates the app.",
        ),
    ] = None,
    max_records: Annotated[
        int | None,
        typer.Option("--max-records", "-n", min=1, metavar="N", help="End after so many."),
    ] = None,
    delimiter: Annotated[
        Delimiter,
        typer.Option(metavar=one_of(Delimiter), help="What stands behind each record."),
    ] = "newline",
) -> None:
    """Print records, each as it is and with a newline behind it.

    With --json each is an object of its own line with partition_id, sequence_number,
    partition_key, timestamp and data; data that is no UTF-8 is data_base64.
    """
    try:
        place = read_start(start or ("latest" if follow else "earliest"), datetime.now(UTC))
        only = frozenset(map(partition_number, partition_id or ()))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    if place.where == "sequence" and len(only) != 1:
        raise typer.BadParameter("a sequence number needs one --partition-id")
    if app is not None and place.where not in {"earliest", "latest"}:
        raise typer.BadParameter("with --app, --from is earliest or latest; see checkpoint reset")
    write = _json_lines if connection.json else _raw(_DELIMITERS[delimiter])
    request = _Request(_Chosen(numbers=only), place, follow, max_records)
    run(_run(connection, stream, app, request, write))


def _raw(delimiter: bytes) -> Write:
    def write(batch: Batch) -> None:
        _write([part for record in batch.records for part in (record.data, delimiter)])

    return write


def _json_lines(batch: Batch) -> None:
    _write([orjson.dumps(record_fields(record)) + b"\n" for record in batch.records])


def _write(parts: Iterable[bytes]) -> None:
    sys.stdout.buffer.write(b"".join(parts))
    sys.stdout.buffer.flush()


class _Request(NamedTuple):
    """What is to be read."""

    chosen: "_Chosen"
    start: Start
    follow: bool
    most: int | None


async def _run(
    connection: Connection, stream: str, app: str | None, request: _Request, write: Write
) -> None:
    async with connection.client() as dis:
        description = await dis.streams.describe_all(stream)
        found = _readable(description, request.chosen)
        if missing := request.chosen.numbers - found.keys():
            raise NotAllDoneError(f"stream {stream} has no partition {min(missing)} to read")
        if app is None:
            rate = limits_of(description.stream_type).read_bytes
            batches = _alone(_Feed(dis, stream, request, rate, _queue()), found)
        else:
            batches = _as_app(dis, stream, app, found, request)
        async with contextlib.aclosing(batches):
            async for batch in batches:
                write(batch)


def _readable(description: StreamDescription, chosen: "_Chosen") -> dict[int, Partition]:
    """Give the partitions that can be read and are asked for."""
    return {
        number: partition
        for partition in description.partitions
        if partition.status in {"ACTIVE", "DELETED"}
        and chosen.owns(number := partition_number(partition.partition_id))
    }


def _ends(partitions: dict[int, Partition]) -> dict[int, int]:
    """Give where each partition ends now."""
    spans = {number: parse_range(p.sequence_number_range) for number, p in partitions.items()}
    return {number: span[1] for number, span in spans.items() if span is not None}


# With checkpoints


@dataclass(frozen=True, slots=True)
class _Chosen(Static):
    """The share of the partitions that was asked for; all of them if none was."""

    numbers: frozenset[int] = frozenset()

    def owns(self, partition: int) -> bool:
        return not self.numbers or partition in self.numbers


async def _as_app(
    dis: DISClient, stream: str, app: str, found: dict[int, Partition], request: "_Request"
) -> AsyncGenerator[Batch]:
    """Read from an app's checkpoints. What was printed is committed, at the latest at the end."""
    ends = _ends(found)
    settings: dict[str, Any] = {"offset_reset": request.start.where, "group": request.chosen}
    left = request.most
    async with dis.consumer(stream, app=app, **settings) as consumer:
        while left is None or left > 0:
            at = {partition_number(pid): number for pid, number in consumer.position().items()}
            if not request.follow and all(at.get(p, end) >= end for p, end in ends.items()):
                break
            room = _MANY if left is None else min(left, _MANY)
            for batch in await consumer.getmany(max_records=room, timeout=_IDLE_S):
                yield batch
                left = None if left is None else left - len(batch.records)
        await consumer.commit()


# Without: the plain calls, since a consumer would make an app


def _queue() -> asyncio.Queue[Batch | BaseException | None]:
    return asyncio.Queue(_BATCHES_AHEAD)


async def _alone(feed: "_Feed", found: dict[int, Partition]) -> AsyncGenerator[Batch]:
    """Read without an app, and leave nothing behind at the service."""
    feeder = asyncio.create_task(_feed(feed, found))
    left = feed.request.most
    try:
        while (left is None or left > 0) and (item := await feed.ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if left is not None:
                item = item._replace(records=item.records[:left])
                left -= len(item.records)
            yield item
    finally:
        feeder.cancel()
        await asyncio.gather(feeder, return_exceptions=True)


class _Feed(NamedTuple):
    """What the tasks of one tail share."""

    dis: DISClient
    stream: str
    request: "_Request"
    read_bytes_per_s: float
    """Of each partition."""
    ahead: asyncio.Queue[Batch | BaseException | None]

    async def partitions(self) -> dict[int, Partition]:
        """Look the partitions up anew."""
        description = await self.dis.streams.describe_all(self.stream)
        return _readable(description, self.request.chosen)


async def _feed(feed: _Feed, found: dict[int, Partition]) -> None:
    end: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for number, partition in found.items():
                group.create_task(_read(feed, number, partition, feed.request.start))
            if feed.request.follow:
                group.create_task(_watch(feed, group, set(found)))
    except BaseExceptionGroup as failed:
        end = failed.exceptions[0]
    await feed.ahead.put(end)


async def _watch(feed: _Feed, group: asyncio.TaskGroup, seen: set[int]) -> None:
    """Read partitions that appear, from their first record."""
    while True:
        await asyncio.sleep(_REFRESH_S)
        try:
            found = await feed.partitions()
        except DISError as exc:
            if not _passes(exc):
                raise
            continue
        for number in found.keys() - seen:
            seen.add(number)
            group.create_task(_read(feed, number, found[number], Start("earliest")))


async def _read(feed: _Feed, number: int, partition: Partition, start: Start) -> None:
    """Read one partition, until it has expired or, unless following, to its end of now."""
    span = parse_range(partition.sequence_number_range) or (0, 0)
    end = None if feed.request.follow else span[1]
    place = _Place(feed, number, start, _position(start, span))
    while end is None or place.position is None or place.position < end:
        try:
            records = await place.fetch()
        except PartitionExpiredError:
            return
        except DISError as exc:
            await place.recover(exc)
            continue
        if records:
            assert place.position is not None
            await feed.ahead.put(Batch(place.pid, records, place.position))
        elif end is not None and place.position is None:
            return  # nothing came after the time
        else:
            await asyncio.sleep(_IDLE_S)


class _Place:
    """Where the reading of one partition is. The position is None before a time's first record."""

    def __init__(self, feed: _Feed, number: int, start: Start, position: int | None) -> None:
        self.pid = partition_name(number)
        self.position = position
        self._feed, self._number, self._start = feed, number, start
        self._token = ""
        self._is_calm = True
        self._limiter = PartitionLimiter(bytes_per_s=feed.read_bytes_per_s)

    async def fetch(self) -> list[ReceivedRecord]:
        """Read on."""
        records = self._feed.dis.records
        if not self._token:
            cursor = await records.get_cursor(
                stream_name=self._feed.stream, partition_id=self.pid, **self._where()
            )
            self._token = cursor.partition_cursor
        reply = await records.get(partition_cursor=self._token, max_fetch_bytes=_FETCH_BYTES)
        self._token, self._is_calm = reply.next_partition_cursor, True
        for record in reply.records:
            record.partition_id = self.pid
        if reply.records:
            self.position = reply.records[-1].sequence_number + 1
            await self._limiter.acquire(sum(len(record.data) for record in reply.records))
        return reply.records

    def _where(self) -> dict[str, Any]:
        if self.position is None:
            return {"cursor_type": "AT_TIMESTAMP", "timestamp": self._start.number}
        number = str(self.position)
        return {"cursor_type": "AT_SEQUENCE_NUMBER", "starting_sequence_number": number}

    async def recover(self, error: DISError) -> None:
        """Make the next `fetch` possible, or raise the error again."""
        self._token = ""
        if isinstance(error, CursorExpiredError) and self._is_calm:
            self._is_calm = False
        elif isinstance(error, SequenceOutOfRangeError) and self._is_calm:
            self._is_calm = False
            warn(f"{self.pid}: {self.position} is not in it; going on at its oldest record")
            self.position = await self._oldest()
        elif self.position is None and is_before_oldest(error):
            self.position = await self._oldest()
        elif isinstance(error, ThrottledError):  # other readers share the partition's rate
            await asyncio.sleep(_IDLE_S)
        elif self._feed.request.follow and _passes(error):
            if self._is_calm:
                warn(f"{self.pid}: {error}; trying on")
            self._is_calm = False
            await asyncio.sleep(_IDLE_S * 2)
        else:
            raise error

    async def _oldest(self) -> int:
        partition = (await self._feed.partitions()).get(self._number)
        span = parse_range(partition.sequence_number_range) if partition else None
        return span[0] if span else 0


def _passes(error: DISError) -> bool:
    """Whether waiting may mend it."""
    return error.retryable and not (isinstance(error, CircuitOpenError) and error.refused)


def _position(start: Start, span: tuple[int, int]) -> int | None:
    """Give the sequence number to start at, which beats a cursor LATEST: nothing is missed."""
    match start.where:
        case "earliest":
            return span[0]
        case "latest":
            return span[1]
        case "sequence":
            return start.number
        case "time":
            return None
