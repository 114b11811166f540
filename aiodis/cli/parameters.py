"""From the fields of a request to options, and from what was typed to the fields' values.

Plain but for `@file`: which kind of option a field is follows from its type alone, so
that a new row of the table has its options without a line here.
"""

import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types as limits
import orjson
import typer
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from aiodis.record import Record
from aiodis.wire.operation import Operation

__all__ = ["Parameter", "one_of", "option_name", "parameters", "positionals"]


class Parameter(NamedTuple):
    """One field as the command line has it."""

    name: str
    type: Any
    """What typer makes the option's type of."""
    help: str
    metavar: str | None
    required: bool
    default: Any
    """What the request takes without it; shown, not passed."""
    read: Callable[[Any], Any]
    """Makes the field's value of what was typed; raises ValueError."""

    @property
    def option(self) -> str:
        return option_name(self.name)

    @property
    def choices(self) -> list[str]:
        """The only values there are, if so."""
        kind = get_args(self.type)[0] if get_origin(self.type) is list else self.type
        is_choice = isinstance(kind, type) and issubclass(kind, Enum)
        return [member.value for member in kind] if is_choice else []

    @property
    def annotation(self) -> Any:
        """The parameter's annotation for typer."""
        is_switch = self.type is bool and self.default is not False
        names = [f"{self.option}/--no-{self.option[2:]}" if is_switch else self.option]
        return Annotated[
            self.type | None,
            typer.Option(*names, help=self.help, metavar=self.metavar, show_default=False),
        ]


def one_of(choices: Any) -> str:
    """Show what a `Literal` may be, in an option's help."""
    return "|".join(get_args(choices))


def option_name(field: str) -> str:
    """Spell a field as an option."""
    return "--" + field.replace("_", "-")


def parameters(row: Operation[Any, Any]) -> list[Parameter]:
    """Give the options of a row's request, those first that it cannot do without.

    Records have options of their own (`rows`).
    """
    made = [
        _parameter(name, info) for name, info in _fields(row) if not _holds_records(info.annotation)
    ]
    return sorted(made, key=lambda parameter: not parameter.required)


def positionals(row: Operation[Any, Any]) -> list[str]:
    """Name the fields that may be given without their option, in order.

    They are those in the route; where there are none, the name that comes first.
    """
    by_wire = {info.serialization_alias or name: name for name, info in _fields(row)}
    names = [by_wire[name] for name in row.path_names if name != "project_id"]
    if not names:
        required = [name for name, info in _fields(row) if info.is_required()]
        names = [name for name in required[:1] if name.endswith("_name")]
    return names


def _fields(row: Operation[Any, Any]) -> list[tuple[str, FieldInfo]]:
    return list(row.request.model_fields.items())


def _holds_records(annotation: Any) -> bool:
    return Record in get_args(annotation)


def _parameter(name: str, info: FieldInfo) -> Parameter:
    bare, metadata = _strip(info.annotation, info.metadata)
    kind, metavar, read, hint = _kind(bare)
    is_list = get_origin(kind) is list
    words = f"{name[:1].upper()}{name[1:].replace('_', ' ')}."
    notes = [
        info.description or MEANINGS.get(name, words),
        hint,
        _limits(metadata, is_list=is_list),
    ]
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if default not in (None, False):
        notes.append(f"Default: {default}.")
    if info.is_required():
        notes.append("Required.")
    text = " ".join(note for note in notes if note)
    return Parameter(name, kind, text, metavar, info.is_required(), default, read)


def _strip(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Take off what is no type: None beside it, and the limits, which are kept."""
    found = list(metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found += more
            continue
        rest = [kind for kind in _members(annotation) if kind is not NoneType]
        if len(rest) != 1 or rest[0] is annotation:
            return annotation, found
        annotation = rest[0]


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)


class _Kind(NamedTuple):
    type: Any
    metavar: str | None
    read: Callable[[Any], Any]
    hint: str = ""


_METAVARS: Final = {bool: None, int: "N", float: "X"}


def _as_is(value: Any) -> Any:
    return value


def _kind(bare: Any) -> _Kind:
    origin = get_origin(bare)
    if origin is Literal:
        return _choice({str(value): value for value in get_args(bare)})
    if isinstance(bare, type) and issubclass(bare, Enum):
        return _choice({str(member.value): member.value for member in bare})
    if origin in {list, Sequence, tuple, set, frozenset} or bare in {list, Sequence}:
        return _many(_strip((get_args(bare) or (Any,))[0], ())[0])
    if all(_is_plain(_strip(member, ())[0]) for member in _members(bare)):
        is_own = bare in _METAVARS
        return _Kind(bare if is_own else str, _METAVARS.get(bare, "TEXT"), _as_is)
    short = _SHORT.get(_field_names(bare))
    return short or _Kind(str, "JSON|@FILE", _read_json, _shape(bare))


def _is_plain(bare: Any) -> bool:
    """Whether a value is typed as it is: pydantic reads times and the like from text."""
    if get_origin(bare) is not None or bare is Any:
        return get_origin(bare) is Literal
    return isinstance(bare, type) and not issubclass(bare, (BaseModel, dict, list))


def _choice(values: dict[str, Any]) -> _Kind:
    kind = Enum("Choice", {text: text for text in values})  # type: ignore[misc]
    return _Kind(kind, "|".join(values), lambda chosen: values[chosen.value])


def _many(item: Any) -> _Kind:
    """Give an option that may be repeated; JSON and files may also hold several at once."""
    kind = _kind(item)
    if kind.read in {_read_json, _read_pair, _read_values}:
        hint = f"May be repeated. {kind.hint}".strip()
        return _Kind(list[str], kind.metavar, lambda texts: _flat(map(kind.read, texts)), hint)
    return _Kind(
        list[kind.type],  # type: ignore[name-defined]
        kind.metavar,
        lambda values: [kind.read(value) for value in values],
        "May be repeated.",
    )


def _flat(values: Any) -> list[Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def _field_names(bare: Any) -> frozenset[str]:
    is_model = isinstance(bare, type) and issubclass(bare, BaseModel)
    return frozenset(bare.model_fields) if is_model else frozenset()


def _read_pair(text: str) -> Any:
    if text.startswith(("@", "{", "[")):
        return _read_json(text)
    key, separator, value = text.partition("=")
    return {"key": key, "value": value} if separator else {"key": key}


def _read_values(text: str) -> Any:
    if text.startswith(("@", "{", "[")):
        return _read_json(text)
    key, _, values = text.partition("=")
    return {"key": key, "values": values.split(",") if values else []}


_SHORT: Final = {
    frozenset({"key", "value"}): _Kind(str, "KEY=VALUE|JSON|@FILE", _read_pair),
    frozenset({"key", "values"}): _Kind(str, "KEY=VALUE,VALUE|JSON|@FILE", _read_values),
}
"""Shorter forms than JSON, by the names of a model's fields."""


def _read_json(text: str) -> Any:
    content = read_argument(text)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"no JSON: {exc}") from None


def read_argument(text: str) -> bytes:
    """Give what was typed, or what stands in the file behind `@`; `@-` is stdin.

    Raises:
        ValueError: the file cannot be read.
    """
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
    except OSError as exc:
        raise ValueError(f"{text[1:]}: {exc.strerror}") from None


def _shape(bare: Any) -> str:
    """Say which keys the JSON of a model has."""
    models = [kind for kind in _members(_strip(bare, ())[0]) if isinstance(kind, type)]
    shapes = [
        ", ".join(name for name in model.model_fields)
        for model in models
        if issubclass(model, BaseModel)
    ]
    return f"An object of {'; or '.join(shapes)}." if shapes else ""


def _limits(metadata: Sequence[Any], *, is_list: bool) -> str:
    """Say what a value is kept to, in words."""
    found: dict[str, Any] = {}
    for limit in _flat_limits(metadata):
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern"):
            if getattr(limit, name, None) is not None:
                found[name] = getattr(limit, name)
    told = []
    if "ge" in found and "le" in found:
        told.append(f"{found['ge']} to {found['le']}")
    elif "ge" in found:
        told.append(f"at least {found['ge']}")
    elif "le" in found:
        told.append(f"at most {found['le']}")
    if found.get("max_length"):
        told.append(f"at most {found['max_length']}" + ("" if is_list else " characters"))
    if found.get("pattern") == r"^[A-Za-z0-9_-]+$":
        told.append("letters, digits, _ and -")
    sentence = ", ".join(told)
    return f"{sentence[:1].upper()}{sentence[1:]}." if told else ""


def _flat_limits(metadata: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            flat += item.metadata
        elif isinstance(item, (limits.GroupedMetadata, StringConstraints)):
            flat += list(item)
        else:
            flat.append(item)
    return flat


# What the parameters mean that several operations share. A field's own description beats
# it, and a field that is in neither is told by its type and its limits.
MEANINGS: Final[dict[str, str]] = {
    "app_name": "The app.",
    "accelerate": "Wait less for other members: for a group of one.",
    "auto_scale_enabled": "Whether the service scales the stream by itself.",
    "auto_scale_max_partition_count": "The most partitions that scaling by itself makes.",
    "auto_scale_min_partition_count": "The fewest partitions that scaling by itself leaves.",
    "checkpoint_type": "The kind of checkpoint.",
    "client_id": "The member of the group.",
    "compression_format": "How dump files are compressed.",
    "csv_properties": "How CSV data is separated.",
    "cursor_type": "Where the cursor starts.",
    "data_duration": "How long records are kept, in hours.",
    "data_schema": "The Avro schema of the data, as JSON text.",
    "data_type": "What the records hold.",
    "destination": "Where records go: an object with the fields of ObsDestination, DwsDestination,"
    " MrsDestination, DliDestination or CloudTableDestination (aiodis.api.destinations).",
    "exist_ok": "Be content when it exists already.",
    "generation": "The generation that was known last.",
    "generation_id": "The generation that this member holds the partition in.",
    "key": "The tag's key.",
    "limit": "The most entries in one answer.",
    "limit_partitions": "The most partitions in one answer.",
    "max_fetch_bytes": "The most bytes of data in one answer, before base64.",
    "metadata": "Text to keep with the checkpoint.",
    "missing_ok": "Be content when it does not exist.",
    "not_tags": "Not the streams that match all of these.",
    "not_tags_any": "Not the streams that match any of these.",
    "offset": "The place of the first entry.",
    "partition_count": "How many partitions.",
    "partition_cursor": "The cursor to read at.",
    "partition_id": "The partition, such as 0 or shardId-0000000000.",
    "sequence_number": "The sequence number, taken as it is.",
    "start_app_name": "Start behind this app.",
    "start_partition_id": "Start behind this partition.",
    "start_stream_name": "Start behind this stream.",
    "start_task_name": "Start behind this dump task.",
    "starting_sequence_number": "The sequence number that cursor types with SEQUENCE start at.",
    "stream_id": "The stream's id.",
    "stream_ids": "The streams, by their ids.",
    "stream_names": "The streams.",
    "stream_pattern": "All streams whose name this pattern matches.",
    "tag": "The tag.",
    "tags_any": "Streams that match at least one of these.",
    "stream_name": "The stream.",
    "stream_type": "How much a partition takes: COMMON 1 MB/s, ADVANCED 5 MB/s.",
    "sys_tags": "The enterprise project of the stream.",
    "tags": "Tags.",
    "target_partition_count": "How many partitions there are to be.",
    "task_ids": "The dump tasks, by the ids that a list shows.",
    "task_name": "The dump task.",
    "timestamp": "Milliseconds since the epoch, for AT_TIMESTAMP.",
}
