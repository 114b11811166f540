"""`aiodis lag` and `aiodis checkpoint`: how far apps are, and setting them elsewhere."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import typer

from aiodis.cli.connection import Connection
from aiodis.cli.outcome import NotAllDoneError, run, say
from aiodis.cli.output import print_json, print_table
from aiodis.cli.parameters import one_of
from aiodis.cli.start import Start, is_before_oldest, read_start
from aiodis.client import DISClient
from aiodis.consumer.progress import from_checkpoint, to_checkpoint
from aiodis.consumer.together import together
from aiodis.errors import DecodeError, InvalidRequestError
from aiodis.record import partition_name, partition_number
from aiodis.wire.cursor import decode_cursor
from aiodis.wire.routing import parse_range

__all__ = ["lag", "reset", "set_", "show"]

_AT_ONCE: Final = 16

Convention = Literal["next", "last"]

_Stream = Annotated[str, typer.Argument(help="The stream.")]
_App = Annotated[str, typer.Option("--app", metavar="NAME", help="The app.")]
_Partition = Annotated[
    str, typer.Option("--partition-id", metavar="ID", help="The partition.", show_default=False)
]
_Partitions = Annotated[
    list[str] | None,
    typer.Option(metavar="ID", help="This partition only. May be repeated."),
]
_Convention = Annotated[
    Convention,
    typer.Option(
        "--checkpoint-convention",
        metavar=one_of(Convention),
        help="Whether a checkpoint holds the next number to read, or the last one read.",
    ),
]


class Place(NamedTuple):
    """How far an app is in one partition; numbers are the next to read or to write."""

    partition_id: str
    checkpoint: int | None
    """What the checkpoint holds, whatever it means."""
    oldest: int | None
    following: int | None
    lag: int | None
    """Records behind it; all that are there where there is no checkpoint."""
    metadata: str | None


def lag(
    connection: Connection,
    stream: _Stream,
    app: _App,
    fail_above: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Exit with 1 when the whole lag is above this."),
    ] = None,
    checkpoint_convention: _Convention = "next",
) -> None:
    """Show how many records each partition has behind an app's checkpoints."""

    async def work() -> None:
        async with connection.client() as dis:
            places = await _places(dis, stream, app, checkpoint_convention)
        total = sum(place.lag or 0 for place in places)
        if connection.json:
            print_json({"lag": total, "partitions": [_shown(place) for place in places]})
        else:
            _print(places)
            sys.stdout.write(f"\nlag {total}\n")
        if fail_above is not None and total > fail_above:
            raise NotAllDoneError(f"app {app} is {total} records behind in {stream}")

    run(work())


def show(
    connection: Connection, stream: _Stream, app: _App, checkpoint_convention: _Convention = "next"
) -> None:
    """Show an app's checkpoints in a stream, with what each partition holds."""

    async def work() -> None:
        async with connection.client() as dis:
            places = await _places(dis, stream, app, checkpoint_convention)
        if connection.json:
            print_json([_shown(place) for place in places])
        else:
            _print(places)

    run(work())


def set_(
    connection: Connection,
    stream: _Stream,
    sequence_number: Annotated[int, typer.Argument(min=0, help="What the checkpoint is to hold.")],
    app: _App,
    partition_id: _Partition,
    metadata: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text to keep with the checkpoint.")
    ] = None,
) -> None:
    """Set one checkpoint to a number, backwards too. A running consumer may overwrite it."""

    async def work() -> None:
        async with connection.client() as dis:
            await dis.checkpoints.commit(
                app_name=app,
                stream_name=stream,
                partition_id=partition_id,
                sequence_number=str(sequence_number),
                metadata=metadata,
            )
        if connection.json:
            print_json({})

    run(work())


def reset(
    connection: Connection,
    stream: _Stream,
    app: _App,
    to: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="earliest, latest, a sequence number (with one --partition-id), a time such as"
            " 2026-11-24T08:00, how long ago such as 15m, or none to delete the checkpoints.",
        ),
    ],
    partition_id: _Partitions = None,
    checkpoint_convention: _Convention = "next",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Move an app's checkpoints in a stream. Stop its consumers before."""
    try:
        only = frozenset(map(partition_number, partition_id or ()))
        place = None if to == "none" else read_start(to, datetime.now(UTC))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    if place is not None and place.where == "sequence" and len(only) != 1:
        raise typer.BadParameter("a sequence number needs one --partition-id")
    _confirm(f"Move the checkpoints of {app} in {stream} to {to}?", yes=yes)

    async def work() -> None:
        async with connection.client() as dis:
            moved = await _move(dis, stream, app, only, place, checkpoint_convention)
        if connection.json:
            print_json(moved)
        else:
            print_table(("partition_id", "checkpoint"), moved.items())

    run(work())


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: give --yes")
    if not typer.confirm(question, err=True):
        say("nothing was changed")
        raise typer.Exit(1)


async def _places(dis: DISClient, stream: str, app: str, convention: Convention) -> list[Place]:
    await dis.apps.describe(app_name=app)  # who names no app is told so, not that it has no lag
    description = await dis.streams.describe_all(stream)
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def place(pid: str, text: str | None) -> Place:
        async with at_once:
            found = await dis.checkpoints.get(app_name=app, stream_name=stream, partition_id=pid)
        span = parse_range(text)
        held = found.sequence_number if found.sequence_number >= 0 else None
        if span is None:
            return Place(pid, held, None, None, None, found.metadata)
        position = from_checkpoint(found.sequence_number, convention)
        behind = max(0, span[1] - max(span[0], span[0] if position is None else position))
        return Place(pid, held, *span, behind, found.metadata)

    return await together(
        place(partition_name(partition_number(p.partition_id)), p.sequence_number_range)
        for p in description.partitions
        if p.status in {"ACTIVE", "DELETED"}
    )


def _shown(place: Place) -> dict[str, Any]:
    shown = place._asdict()
    shown["next"] = shown.pop("following")
    return {name: value for name, value in shown.items() if value is not None}


def _print(places: list[Place]) -> None:
    head = ("partition_id", "checkpoint", "oldest", "next", "lag", "metadata")
    width = len(head) if any(place.metadata for place in places) else len(head) - 1
    rows = [
        [p.partition_id, "none" if p.checkpoint is None else p.checkpoint, *p[2:]] for p in places
    ]
    print_table(head[:width], [row[:width] for row in rows])


async def _move(
    dis: DISClient,
    stream: str,
    app: str,
    only: frozenset[int],
    place: Start | None,
    convention: Convention,
) -> dict[str, int | None]:
    """Move the checkpoints; give what each holds then."""
    description = await dis.streams.describe_all(stream)
    spans = {
        number: parse_range(p.sequence_number_range)
        for p in description.partitions
        if p.status in {"ACTIVE", "DELETED"}
        and ((number := partition_number(p.partition_id)) in only or not only)
    }
    if missing := only - spans.keys():
        raise NotAllDoneError(f"stream {stream} has no partition {min(missing)}")
    moved: dict[str, int | None] = {}
    for number, span in spans.items():
        pid = partition_name(number)
        position = None if place is None else await _position(dis, stream, pid, place, span)
        held = None if position is None else to_checkpoint(position, convention)
        ids: dict[str, Any] = {"app_name": app, "stream_name": stream, "partition_id": pid}
        if held is None:
            await dis.checkpoints.delete(**ids)
        else:
            await dis.checkpoints.commit(**ids, sequence_number=str(held))
        moved[pid] = held
    return moved


async def _position(
    dis: DISClient, stream: str, pid: str, place: Start, span: tuple[int, int] | None
) -> int:
    if place.where == "sequence":
        return place.number
    if span is None:
        raise NotAllDoneError(f"{pid}: the service tells no range now; try again")
    if place.where == "time":
        return await _at_time(dis, stream, pid, place.number, oldest=span[0])
    return span[0] if place.where == "earliest" else span[1]


async def _at_time(dis: DISClient, stream: str, pid: str, milliseconds: int, *, oldest: int) -> int:
    """Give the first number at or after a time; it stands in the cursor."""
    try:
        answer = await dis.records.get_cursor(
            stream_name=stream,
            partition_id=pid,
            cursor_type="AT_TIMESTAMP",
            timestamp=milliseconds,
        )
        return decode_cursor(answer.partition_cursor).sequence_number
    except InvalidRequestError as exc:
        if is_before_oldest(exc):
            return oldest
        raise
    except ValueError:
        raise DecodeError(
            f"{pid}: the time has no number, as its cursor could not be read", status=200, head=b""
        ) from None
