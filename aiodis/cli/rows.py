"""Every row of the table as a command: `aiodis streams create` and the like."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import orjson
import typer

from aiodis import api
from aiodis.api import OPERATIONS
from aiodis.cli.connection import Connection, connected
from aiodis.cli.outcome import NotAllDoneError, run, say
from aiodis.cli.output import print_items, print_reply
from aiodis.cli.parameters import Parameter, option_name, parameters, positionals, read_argument
from aiodis.errors import AlreadyExistsError, NotFoundError, ParameterError
from aiodis.record import Record
from aiodis.wire.codec import PutReply
from aiodis.wire.message import Empty
from aiodis.wire.operation import Operation, Resource

__all__ = ["chapter", "chapters", "command_name", "group_of"]


def group_of(text: str, *, is_root: bool = False, **more: Any) -> typer.Typer:
    """Make a group of commands, which shows its help when none is named.

    The help is plain, since the rich one cuts long options off.
    """
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=is_root,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        **more,
    )


def chapters() -> list[str]:
    """Name the groups of commands, in the order of the reference."""
    return list(dict.fromkeys(command_name(row.name.split(".")[0]) for row in OPERATIONS))


def chapter(name: str) -> typer.Typer:
    """Make the group of a chapter's commands."""
    rows = [row for row in OPERATIONS if command_name(row.name.split(".")[0]) == name]
    field_name = rows[0].name.split(".")[0]
    group = group_of(_HELP_OF.get(field_name, _words(field_name)))
    group.callback()(lambda: None)  # or typer makes a group of one command that command
    for row in rows:
        name = command_name(row.name.split(".")[1])
        group.command(name, help=_help(row), epilog=_example(row))(_command(row))
    return group


def command_name(name: str) -> str:
    """Spell a chapter or a row as a command."""
    return name.replace("_", "-")


# A command


class _Extra(NamedTuple):
    """An option that a row has beside its fields, since its resource offers more."""

    option: str
    help: str


_EXTRAS: Final = {
    "all": _Extra("--all", "Ask page by page until nothing is left."),
    "wait": _Extra("--wait", "Wait until the stream is RUNNING, and describe it."),
    "exist_ok": _Extra("--exist-ok", "Be content when it exists already."),
    "missing_ok": _Extra("--missing-ok", "Be content when it does not exist."),
}


def _extras(row: Operation[Any, Any]) -> list[str]:
    """Name the extras that fit a row; a field of the same name goes before."""
    resource, name = _resource(row), row.name.split(".")[1]
    fits = {
        "all": hasattr(resource, f"{name}_all"),
        "wait": name in {"create", "scale"} and hasattr(resource, "wait_until_running"),
        "exist_ok": re.match(r"create(_|$)", name),
        "missing_ok": re.match(r"delete(_|$)", name),
    }
    return [extra for extra, does in fits.items() if does and extra not in _fields(row)]


def _resource(row: Operation[Any, Any]) -> type[Resource]:
    return next(
        kind
        for kind in vars(api).values()
        if isinstance(kind, type) and issubclass(kind, Resource) and row in kind.operations()
    )


def _fields(row: Operation[Any, Any]) -> Iterable[str]:
    fields: dict[str, Any] = row.request.model_fields
    return fields


def _command(row: Operation[Any, Any]) -> Callable[..., None]:
    given = {parameter.name: parameter for parameter in parameters(row)}
    places = positionals(row)
    extras = _extras(row)
    takes_records = "records" in _fields(row) and "records" not in given

    def command(connection: Connection, **typed: Any) -> None:
        named = [typed.pop(_argument(name)) for name in places]
        wanted = {extra for extra in extras if typed.pop(extra)}
        own = {name: typed.pop(name) for name in _RECORD_OPTIONS} if takes_records else {}
        _place(typed, places, named)
        values = {
            name: _value(given[name], value)
            for name, value in typed.items()
            if value is not None and value != []
        }
        if takes_records:
            values["records"] = _records(**own)
        _require(row, given.values(), values)
        _build(row, values)
        run(_carry_out(connection, row, values, wanted))

    signature = [_keyword("connection", Connection, inspect.Parameter.empty)]
    signature += [_keyword(_argument(name), _argument_type(name)) for name in places]
    signature += [_keyword(name, given[name].annotation) for name in given]
    if takes_records:
        signature += [_keyword(name, kind) for name, kind in _RECORD_OPTIONS.items()]
    signature += [_keyword(name, _flag(_EXTRAS[name]), default=False) for name in extras]
    command.__name__ = row.name.replace(".", "_")
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return connected(command)


def _keyword(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _flag(extra: _Extra) -> Any:
    return Annotated[bool, typer.Option(extra.option, help=extra.help)]


def _argument(name: str) -> str:
    return f"{name}_argument"


def _argument_type(name: str) -> Any:
    return Annotated[
        str | None,
        typer.Argument(
            metavar=name.upper(),
            help=f"The same as {option_name(name)}.",
            show_default=False,
        ),
    ]


# From what was typed to a request


def _place(typed: dict[str, Any], places: list[str], named: list[str | None]) -> None:
    """Give the arguments to the fields that no option names, in the fields' order."""
    left = [text for text in named if text is not None]
    for name in places:
        if left and typed[name] is None:
            typed[name] = left.pop(0)
    if left:
        raise typer.BadParameter(f"nothing is left to be {left[0]!r}")


def _value(parameter: Parameter, typed: Any) -> Any:
    try:
        return parameter.read(typed)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint=parameter.option) from None


def _require(row: Operation[Any, Any], known: Iterable[Parameter], values: dict[str, Any]) -> None:
    for parameter in known:
        if parameter.required and parameter.name not in values:
            place = parameter.name.upper() if parameter.name in positionals(row) else ""
            also = f" (or {place})" if place else ""
            raise typer.BadParameter(f"{parameter.option}{also} is missing")


def _build(row: Operation[Any, Any], values: dict[str, Any]) -> None:
    """Check the values as the request does; an error names the option, never the value."""
    try:
        row.build(**values)
    except ParameterError as exc:
        field, _, inside = exc.field.partition(".")
        where = option_name(field) + (f" ({inside})" if inside else "")
        raise typer.BadParameter(exc.rule, param_hint=where) from None


_RECORD_OPTIONS: Final = {
    "data": Annotated[
        list[str] | None,
        typer.Option("--data", metavar="TEXT|@FILE", help="Data of one record. May be repeated."),
    ],
    "partition_key": Annotated[
        str | None,
        typer.Option("--partition-key", metavar="TEXT", help="Partition key of each --data."),
    ],
    "explicit_hash_key": Annotated[
        int | None,
        typer.Option("--explicit-hash-key", metavar="N", help="Hash to route each --data by."),
    ],
    "partition_id": Annotated[
        str | None, typer.Option("--partition-id", metavar="ID", help="Partition of each --data.")
    ],
    "records": Annotated[
        list[str] | None,
        typer.Option(
            "--records",
            metavar="JSON|@FILE",
            help="Records with routes of their own: objects with data (text) or data_base64, and"
            " partition_key, explicit_hash_key, partition_id or timestamp_ms. May be repeated.",
        ),
    ],
}


def _records(data: list[str] | None, records: list[str] | None, **route: Any) -> list[Record]:
    try:
        made = [Record(read_argument(text), **route) for text in data or ()]
        for text in records or ():
            content = orjson.loads(read_argument(text))
            made += [
                _record(item) for item in (content if isinstance(content, list) else [content])
            ]
    except (ValueError, msgspec.ValidationError) as exc:
        raise typer.BadParameter(str(exc), param_hint="--data / --records") from None
    if not made:
        raise typer.BadParameter("give --data or --records")
    return made


class _RecordFields(msgspec.Struct, forbid_unknown_fields=True):
    """A record as a person writes it."""

    data: str | None = None
    data_base64: bytes | None = None
    partition_key: str | None = None
    explicit_hash_key: int | None = None
    partition_id: str | None = None
    timestamp_ms: int | None = None


def _record(item: object) -> Record:
    fields = msgspec.convert(item, _RecordFields)
    data = fields.data_base64 if fields.data_base64 is not None else (fields.data or "").encode()
    return Record(
        data,
        fields.partition_key,
        fields.explicit_hash_key,
        fields.partition_id,
        fields.timestamp_ms,
    )


# The call


async def _carry_out(
    connection: Connection, row: Operation[Any, Any], values: dict[str, Any], wanted: set[str]
) -> None:
    chapter, name = row.name.split(".")
    as_json = bool(connection.json)
    async with connection.client() as dis:
        resource = getattr(dis, chapter)
        if "all" in wanted:
            await _print_all(getattr(resource, f"{name}_all"), values, as_json=as_json)
            return
        try:
            reply = await getattr(resource, name)(**values)
        except (AlreadyExistsError, NotFoundError) as exc:
            asked = "exist_ok" if isinstance(exc, AlreadyExistsError) else "missing_ok"
            if asked not in wanted:
                raise
            say(f"nothing to do: {exc.message}")
            reply = Empty()
        if "wait" in wanted:
            reply = await resource.wait_until_running(values["stream_name"])
    print_reply(reply, as_json=as_json)
    if isinstance(reply, PutReply) and reply.failed_record_count:
        raise NotAllDoneError(f"{reply.failed_record_count} records were refused")


async def _print_all(method: Callable[..., Any], values: dict[str, Any], *, as_json: bool) -> None:
    """Call the method that asks for all pages: an iterator of things, or one whole reply."""
    taken = inspect.signature(method).parameters
    for name in values:
        if name not in taken:
            raise typer.BadParameter(f"{option_name(name)} does not go with --all")
    answer = method(**values)
    if inspect.isawaitable(answer):
        print_reply(await answer, as_json=as_json)
    else:
        print_items([item async for item in answer], as_json=as_json)


# Help


_HELP_OF: Final = {
    "streams": "Streams: make, list, describe, scale and delete them.",
    "apps": "Apps, which checkpoints belong to.",
    "checkpoints": "Checkpoints, a call at a time; see also aiodis checkpoint and aiodis lag.",
    "groups": "Consumer groups, a call at a time; consumers make these by themselves.",
    "events": "The record of what was done to streams.",
    "metrics": "What went through streams and partitions, by minute.",
    "quotas": "Quotas: how much there may be, and how much there is.",
    "transfer_tasks": "Dump tasks, which copy a stream into OBS and other services.",
    "policies": "Permission policies, which share streams with other accounts.",
    "tags": "Tags of streams; a stream goes by its id here.",
    "records": "Records and cursors, a call at a time; see also aiodis put and aiodis tail.",
}

_SUMMARIES: Final = {
    "streams.scale": "Change how many partitions a stream has.",
    "tags.add_batch": "Add several tags to a stream.",
    "tags.count": "Count the streams that have tags.",
    "tags.delete_batch": "Delete several tags of a stream.",
    "tags.find": "Find streams by their tags and names.",
    "tags.list_region": "List the tags of all streams.",
    "transfer_tasks.create": "Add a dump task.",
    "transfer_tasks.delete": "Delete a dump task.",
    "transfer_tasks.describe": "Show a dump task and how far it is.",
    "transfer_tasks.list": "List a stream's dump tasks, with their ids.",
    "transfer_tasks.pause": "Pause dump tasks.",
    "transfer_tasks.start": "Start paused dump tasks.",
    "transfer_tasks.update": "Change where a dump task delivers to.",
    "streams.update": "Change a stream's retention, data type, schema or scaling.",
    "apps.describe_state": "Show how far an app is in a stream; see also aiodis lag.",
    "records.put": "Put records with one request; see also aiodis put.",
    "records.get": "Get the records at a cursor; see also aiodis tail.",
    "records.get_cursor": "Get a cursor, which lives five minutes.",
}

_SAMPLES: Final = {
    "stream_name": "events",
    "app_name": "billing",
    "partition_id": "0",
    "sequence_number": "42",
    "partition_count": "3",
    "target_partition_count": "5",
    "partition_cursor": "CURSOR",
}
"""What an example gives for a field; the others are told by their kind."""


def _words(name: str) -> str:
    text = name.replace("_", " ")
    return f"{text[:1].upper()}{text[1:]}."


def _help(row: Operation[Any, Any]) -> str:
    """Say what a row does: its name in words, what its request says, and its route."""
    chapter, name = row.name.split(".")
    said = inspect.getdoc(row.request) or ""
    said = re.sub(rf"^Parameters of `{row.name}`[.;:]?", "", said).strip()
    said = " ".join(re.sub(r"[`*]", "", said).split())
    said = f" {said[:1].upper()}{said[1:]}" if said else ""
    return f"{_SUMMARIES.get(row.name) or _summary(chapter, name)}{said}"


def _summary(chapter: str, name: str) -> str:
    """Say in words what a row is called: "Create stream", "List tags"."""
    verb, _, rest = name.partition("_")
    things = chapter.replace("_", " ")
    one = re.sub("ies$", "y", things) if things.endswith("ies") else things.removesuffix("s")
    thing = things if verb in {"list", "find"} else one
    words = [verb, *rest.split("_"), f"({things})"] if rest else [verb, thing]
    return f"{' '.join(words).capitalize()}."


def _example(row: Operation[Any, Any]) -> str:
    words = ["aiodis", *(command_name(part) for part in row.name.split("."))]
    places = positionals(row)
    words += [_sample(parameter) for parameter in _in_places(row, places)]
    for parameter in parameters(row):
        if parameter.required and parameter.name not in places:
            words += [parameter.option, _sample(parameter)]
    if "records" in _fields(row):
        words += ["--data", "'some text'"]
    return f"Example: {' '.join(words)}"


def _in_places(row: Operation[Any, Any], places: list[str]) -> list[Parameter]:
    known = {parameter.name: parameter for parameter in parameters(row)}
    return [known[name] for name in places]


def _sample(parameter: Parameter) -> str:
    if parameter.name in _SAMPLES:
        return _SAMPLES[parameter.name]
    if parameter.choices:
        return parameter.choices[0]
    if parameter.metavar and "@FILE" in parameter.metavar:
        return f"@{parameter.name}.json"
    return "1" if parameter.type in {int, float} else parameter.name.upper()
