"""Pages made from the code, so that they cannot disagree with it.

`python docs/_generate.py` writes them, and so does every build. They are kept in
the repository to be read there too; a test says when they are old.
"""

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types as limits
import msgspec
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import aiodis
from aiodis import api, errors
from aiodis.api import OPERATIONS
from aiodis.api.actions import ACTIONS
from aiodis.config import ClientSettings, ConsumerSettings, ProducerSettings
from aiodis.record import ReceivedRecord
from aiodis.server import guesses
from aiodis.server.refusal import CODES
from aiodis.wire.operation import Operation

sys.path.insert(0, str(Path(__file__).parent))

from _admin_page import admin_page
from _cli_page import cli_page
from _meanings import MEANINGS

__all__ = ["pages", "write"]

_MARK: Final = (
    "<!-- Made from the code by docs/_generate.py: change the code, then `make docs`. -->"
)

# Where the pages of docs/service tell what the code's comments cite as "facts n".
FACTS: Final = {
    "1": "signing.md",
    "2.4": "wire.md#cursors",
    "2": "wire.md",
    "3": "limits.md",
    "4": "wire.md#partitions",
    "6.1": "wire.md#cursors",
    "6.3": "wire.md#checkpoints",
    "6.4": "groups.md",
    "7": "policies.md",
    "8.1": "errors.md#the-body",
    "8": "wire.md#spellings",
    "11": "wire.md#what-a-server-must-bear",
}

# Fields that neither the reference nor a comment in the code marks.
_MARKS: Final = {
    "ScaleResult": "*seen in the SDK*",
    "App.commit_checkpoint_stream_names": "Tables and examples of the reference differ in the"
    " spelling.",
}

_CHAPTERS: Final = {
    "streams": "Streams",
    "policies": "Permission policies",
    "apps": "Apps",
    "checkpoints": "Checkpoints",
    "records": "Records and cursors",
    "transfer_tasks": "Dump tasks",
    "groups": "Consumer groups",
    "metrics": "Monitoring",
    "tags": "Tags",
    "quotas": "Quotas",
    "events": "Events",
}


def pages() -> dict[str, str]:
    """Give each page's text by its path below docs/."""
    return {
        "reference/operations.md": _operations(),
        "reference/settings.md": _settings(),
        "reference/errors.md": _errors(),
        "reference/cli.md": cli_page(_MARK, _text, _table),
        "reference/admin.md": admin_page(_MARK, _text, _table),
        "service/guesses.md": _guesses(),
    }


def write(folder: Path) -> list[Path]:
    """Write the pages that changed, and give their paths."""
    changed = []
    for name, text in pages().items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


# Operations


def _operations() -> str:
    parts = [
        _MARK,
        "# Operations",
        _text(
            """
            The table that the client, the embedded DIS and this page share. A row is an async
            method of a client, such as `await client.streams.create(stream_name=…,
            partition_count=…)`; parameters are passed by keyword. A wrong value raises
            `ParameterError` before anything is sent.
            """
        ),
        _text(
            """
            What bears no mark is *documented* in the service's API reference. *Seen* or *seen
            in the SDK* means that only the vendor's clients, or recorded answers, show it.
            *Guessed* means that nothing does. `project_id` in a path is the client's. A reply's
            field may be missing from an answer; it then has its default.
            """
        ),
    ]
    chapter = ""
    told: set[type] = set()
    for row in OPERATIONS:
        if row.name.split(".")[0] != chapter:
            chapter = row.name.split(".")[0]
            parts.append(f"## {_CHAPTERS.get(chapter, chapter)}")
        parts += _row(row, told)
    return "\n\n".join(parts) + "\n"


# What an operation bears that the reference of 2023 does not have.
_SOURCES: Final = {
    "documented": "",
    "documented later": " *Documented*, on the vendor's newer pages.",
    "seen in the SDK": " *Seen in the SDK*.",
    "guessed": " *Guessed*.",
}


def _row(row: Operation[Any, Any], told: set[type]) -> Iterator[str]:
    yield f"### `{row.name}`"
    yield (
        f"`{row.method} {row.path}` answers {row.status}; it needs the permission"
        f" `{ACTIONS[row.name]}`.{_SOURCES[row.source]}"
    )
    if note := _note_of_row(row):
        yield note
    if doc := _doc(row.request, f"Parameters of `{row.name}`"):
        yield doc
    fields = list(_fields(row.request))
    if fields:
        yield _request_table("parameter", fields, lambda field: _wire(field, row))
    for kind in _nested(row.request):
        if kind not in told:
            told.add(kind)
            yield f"`{kind.__name__}`: {_doc(kind)}"
            yield _request_table("field", list(_fields(kind)), _spellings)
    nested = []
    reply = list(_fields(row.reply))
    if reply:
        mark = _MARKS.get(row.reply.__name__, "")
        yield f"Reply: {_doc(row.reply)}" if _doc(row.reply) else "Reply."
        yield _reply_table(reply, mark)
        nested = _nested(row.reply)
    else:
        yield "The reply is empty."
    for kind in nested:
        if kind not in told:
            told.add(kind)
            yield f"`{kind.__name__}`: {_doc(kind)}"
            yield _reply_table(list(_fields(kind)), _MARKS.get(kind.__name__, ""))


def _request_table(kind: str, fields: Sequence["_Field"], wire: Callable[["_Field"], str]) -> str:
    rows = [
        (f"`{field.name}`", wire(field), field.type, "yes" if field.required else "", field.note)
        for field in fields
    ]
    return _table((kind, "on the wire", "type and limit", "required", "notes"), rows)


def _reply_table(fields: Sequence["_Field"], mark: str) -> str:
    rows = [(f"`{f.name}`", _spellings(f), f.type, f.note or mark) for f in fields]
    return _table(("field", "on the wire", "type", "notes"), rows)


def _spellings(field: "_Field") -> str:
    shown = f"`{field.wire}`"
    if field.others:
        shown += f", also read: {', '.join(f'`{name}`' for name in field.others)}"
    return shown


class _Field(NamedTuple):
    name: str
    wire: str
    type: str
    required: bool
    note: str
    others: tuple[str, ...] = ()


def _fields(model: type) -> Iterator[_Field]:
    notes = _comments(model)
    if issubclass(model, msgspec.Struct):
        for field in msgspec.structs.fields(model):
            if field.encode_name.startswith("aiodis."):
                continue  # it is not of the wire
            shown = "int, as text" if field.name == "sequence_number" else _type(field.type, ())
            shown = "bytes, as base64" if field.type is bytes else shown
            yield _Field(field.name, field.encode_name, shown, field.required, notes(field.name))
        return
    for name, info in model.model_fields.items():
        wire = info.serialization_alias or name
        shown = _type(info.annotation, info.metadata)
        if name == "records" and get_origin(info.annotation) is not None and info.is_required():
            shown = "list of `Record`, at least 1"
        alias = info.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else ()
        others = tuple(str(choice) for choice in choices if choice != wire)
        note = notes(name) or _MARKS.get(f"{model.__name__}.{name}", "")
        yield _Field(name, wire, shown, info.is_required(), note, others)


def _wire(field: _Field, row: Operation[Any, Any]) -> str:
    if field.name in row.own_names:
        return "not sent"
    if field.name == "destination":
        return "body: `destination_type`, and a descriptor named after it"
    if field.wire in row.path_names:
        where = "path, body" if field.wire in row.also_in_body else "path"
    else:
        where = "body" if row.has_body else "query"
    return f"{where}: `{field.wire}`"


def _nested(model: type) -> list[type]:
    found: list[type] = []
    for annotation in _annotations(model):
        for kind in _leaves(annotation):
            is_model = isinstance(kind, type) and issubclass(kind, (BaseModel, msgspec.Struct))
            if is_model and kind not in found:
                found += [kind, *(k for k in _nested(kind) if k not in found)]
    return found


def _annotations(model: type) -> list[Any]:
    if issubclass(model, msgspec.Struct):
        return [field.type for field in msgspec.structs.fields(model)]
    return [info.annotation for info in model.model_fields.values()]


def _leaves(annotation: object) -> Iterator[Any]:
    args = get_args(annotation)
    if get_origin(annotation) is Literal or not args:
        yield annotation
        return
    for arg in args:
        yield from _leaves(arg)


# Types in words


def _type(annotation: object, metadata: Sequence[Any]) -> str:
    origin = get_origin(annotation)
    if origin is not None and hasattr(annotation, "__metadata__"):
        inner, *more = get_args(annotation)
        return _type(inner, [*metadata, *more])
    if origin in {Union, UnionType}:
        kinds = [arg for arg in get_args(annotation) if arg is not NoneType]
        return " or ".join(_type(kind, metadata) for kind in kinds)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation)).replace("\n", r"\n")
    if origin is list:
        (item,) = get_args(annotation)
        return _with_limits(f"list of {_type(item, ())}", metadata)
    name = getattr(annotation, "__name__", str(annotation))
    known = isinstance(annotation, type) and annotation.__module__.startswith("aiodis.")
    return _with_limits(f"`{name}`" if known else name, metadata)


_VALIDATORS: Final = {
    "_partition_id": "`0` or `shardId-0000000000`",
    "_client_id": "of letters, digits, `_`, `-` and `.`",
    "_principal_names": "`account.*` or `account.user`, several with commas",
    "_sequence": "a decimal number from 0 to 2^63-1",
    "_digits": "or the same as text",
    "each_key_once": "each key once",
    "_enterprise_project": "`0` or a UUID of 36 characters",
}


def _with_limits(name: str, metadata: Sequence[Any]) -> str:
    rules: list[str] = []
    for rule in metadata:
        match rule:
            case limits.Ge(ge):
                rules.append(f"≥ {_number(ge)}")
            case limits.Gt(gt):
                rules.append(f"> {_number(gt)}")
            case limits.Le(le):
                rules.append(f"≤ {_number(le)}")
            case limits.MinLen(least):
                rules.append(f"at least {least}")
            case limits.MaxLen(most):
                rules.append(f"at most {most}{' characters' if name == 'str' else ''}")
            case StringConstraints():
                rules += _text_rules(rule)
            case AfterValidator(function) | BeforeValidator(function):
                rules.append(_VALIDATORS.get(function.__name__, ""))
            case FieldInfo():
                name = _with_limits(name, rule.metadata)
    shown = ", ".join(rule for rule in rules if rule)
    return f"{name}, {shown}" if shown else name


def _text_rules(rule: StringConstraints) -> Iterator[str]:
    if rule.max_length:
        yield f"{rule.min_length or 0} to {rule.max_length} characters"
    elif rule.min_length:
        yield "not empty"
    if isinstance(rule.pattern, str):
        kinds = rule.pattern.strip("^$+*[]").replace(r"\-", "-").replace(r"\u4e00-\u9fff", "一-龿")
        yield f"of `{kinds}`"


def _number(value: float) -> str:
    return _size(value) if isinstance(value, int) else f"{value:g}"


def _size(value: int) -> str:
    mib = 1024 * 1024
    return f"{value // mib} MiB" if value and value % mib == 0 else f"{value:,}"


# What the code's own comments and docstrings say


@cache
def _module_notes(module: str) -> tuple[ast.Module, dict[int, tuple[str, bool]]]:
    """Parse a module, and give its comments by line: the text, and whether it has the line."""
    source = Path(sys.modules[module].__file__ or "").read_text(encoding="utf-8")
    found: dict[int, tuple[str, bool]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = re.split(r"#\s*(?:noqa|type:)", token.string)[0].lstrip("# ").rstrip()
            found[token.start[0]] = (text, not token.line[: token.start[1]].strip())
    return ast.parse(source), found


def _notes_by_name(model: type) -> dict[str, str]:
    tree, comments = _module_notes(model.__module__)
    notes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == model.__name__:
            for item in node.body:
                match item:
                    case (
                        ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)])
                    ):
                        notes[name] = _note_at(item, comments)
    return notes


def _note_at(item: ast.stmt, comments: dict[int, tuple[str, bool]]) -> str:
    above: list[str] = []
    line = item.lineno - 1
    while line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    last = item.end_lineno or item.lineno
    beside = [comments[n][0] for n in range(item.lineno, last + 1) if n in comments]
    return _linked(" ".join(text for text in above + beside if text))


def _comments(model: type) -> Callable[[str], str]:
    def note(name: str) -> str:
        for kind in model.__mro__:
            if kind.__module__.startswith("aiodis") and (found := _notes_by_name(kind).get(name)):
                return found
        return ""

    return note


def _note_of_row(row: Operation[Any, Any]) -> str:
    chapter, name = row.name.split(".")
    owner = next(
        kind
        for kind in vars(api).values()
        if isinstance(kind, type) and kind.__name__.lower() == chapter.replace("_", "")
    )
    return _notes_by_name(owner).get(name, "")


def _doc(thing: object, opening: str = "") -> str:
    text = inspect.getdoc(thing) or ""
    text = " ".join(text.split("\nRaises:")[0].split())
    if opening and text.startswith(opening):
        text = text.removeprefix(opening).lstrip(".; ")
        text = text[:1].upper() + text[1:]
    return _linked(text)


def _linked(text: str) -> str:
    """Turn "facts 8.2" into a link to the page that tells it."""

    def link(match: re.Match[str]) -> str:
        number = match[1]
        page = FACTS.get(number) or FACTS[number.split(".")[0]]
        return f"[facts {number}](../service/{page})"

    return re.sub(r"facts (\d+(?:\.\d+)?)", link, text)


# Settings


def _settings() -> str:
    parts = [
        _MARK,
        "# Settings",
        _text(
            """
            The fields of three frozen models. `DISClient(...)`, `client.producer(stream, ...)`
            and `client.consumer(stream, ...)` take them as keywords. An unknown name or a value
            out of bounds raises `ConfigError` at once. Times are in milliseconds, sizes in
            bytes.
            """
        ),
    ]
    for model in (ClientSettings, ProducerSettings, ConsumerSettings):
        meanings = MEANINGS[model.__name__]
        rows = [
            (f"`{name}`", _type(info.annotation, info.metadata), _default(info), meanings[name])
            for name, info in model.model_fields.items()
        ]
        parts += [
            f"## {model.__name__}",
            _table(("name", "type and limit", "default", "meaning"), rows),
        ]
    return "\n\n".join(parts) + "\n"


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    match value:
        case _ if value is PydanticUndefined:
            return "required"
        case None:
            return "none"
        case bool() | float():
            return f"`{value}`"
        case int():
            return _size(value) if value >= 1024 * 1024 else f"{value:,}"
    return f"`{value}`" if isinstance(value, str) else f"`{value!r}`"


# Errors


def _errors() -> str:
    codes: dict[type, list[str]] = {}
    for code, kind in errors.ERROR_CLASSES.items():
        codes.setdefault(kind, []).append(code)
    parts = [
        _MARK,
        "# Errors",
        _text(
            """
            All are in `aiodis`. `retryable` stands on the class: whether the same call may
            succeed later without a change. What is retried for you is another question,
            answered in [Retries](../explanation/retries.md).
            """
        ),
        "## Classes",
        "```text\n" + "\n".join(_tree(errors.DISError)) + "\n```",
        _table(
            ("class", "retryable", "meaning", "codes of the service"),
            [
                (
                    f"`{kind.__name__}`",
                    "yes" if kind.retryable else "",
                    _doc(kind),
                    _ranges(codes.get(kind, [])),
                )
                for kind in _in_tree_order(errors.DISError)
            ],
        ),
        "## From an answer to a class",
        _text(
            """
            The service's code decides first, then the HTTP status. A code that starts with
            `DIS.5` and every status from 500 up is a `ServerError`; another code that starts
            with `DIS.4`, and a status from 400 up, is an `InvalidRequestError`. The message is
            the one that the embedded DIS gives; where it came from is told in [The service's
            errors](../service/errors.md).
            """
        ),
        _table(
            ("code", "HTTP", "class", "message"),
            [
                (
                    f"`{code}`",
                    str(CODES[code].status) if code in CODES else "",
                    f"`{kind.__name__}`",
                    CODES[code].message.replace("{", "").replace("}", "") if code in CODES else "",
                )
                for code, kind in sorted(errors.ERROR_CLASSES.items())
            ],
        ),
        _table(
            ("HTTP status without a known code", "class"),
            [(str(status), f"`{kind.__name__}`") for status, kind in errors.STATUS_CLASSES.items()],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _in_tree_order(kind: type[errors.DISError]) -> Iterator[type[errors.DISError]]:
    yield kind
    for sub in _public_below(kind):
        yield from _in_tree_order(sub)


def _public_below(kind: type[errors.DISError]) -> list[type[errors.DISError]]:
    return [sub for sub in kind.__subclasses__() if sub.__name__ in aiodis.__all__]


def _tree(kind: type[errors.DISError], indent: str = "") -> Iterator[str]:
    others = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
    beside = [name for name in others if name != "Exception"]
    yield kind.__name__ + (f" ({', '.join(beside)})" if beside else "")
    public = _public_below(kind)
    for sub in public:
        is_last = sub is public[-1]
        first, *rest = _tree(sub)
        yield f"{indent}{'└── ' if is_last else '├── '}{first}"
        yield from (f"{indent}{'    ' if is_last else '│   '}{line}" for line in rest)


def _ranges(codes: Sequence[str]) -> str:
    numbers = sorted(int(code.removeprefix("DIS.")) for code in codes)
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ", ".join(f"{s[0]}" if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)


# Guesses


def _guesses() -> str:
    source = Path(guesses.__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    body = ast.parse(source).body
    sections: list[tuple[str, list[tuple[str, str, str]]]] = [("General", [])]
    headings = [
        (number, match[1].strip())
        for number, line in enumerate(lines, 1)
        if (match := re.match(r"# -- (.+?) -+$", line))
    ]
    for place, item in enumerate(body):
        while headings and headings[0][0] < item.lineno:
            sections.append((headings.pop(0)[1], []))
        following = body[place + 1] if place + 1 < len(body) else None
        match item:
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value) if name != "MIB":
                told = _docstring_after(following)
                sections[-1][1].append((f"`{name}`", f"`{ast.unparse(value)}`", told))
            case ast.FunctionDef(name=name):
                told = " ".join((ast.get_docstring(item) or "").split())
                result = item.body[-1]
                shown = ast.unparse(result).removeprefix("return ")
                sections[-1][1].append((f"`{name}`", f"`{shown}`", _linked(told)))
    parts = [
        _MARK,
        "# Guesses",
        _text(
            """
            What the embedded DIS does where neither the reference nor the vendor's clients
            tell. Each is one name in `aiodis/server/guesses.py`, so that a fact learned later
            is one change there. Do not take these for the service's behaviour. Guesses that the
            client shares are in [Limits](limits.md) and [Signing](signing.md).
            """
        ),
    ]
    for title, rows in sections:
        if rows:
            parts += [f"## {title}", _table(("name", "value", "what it says"), rows)]
    return "\n\n".join(parts) + "\n"


def _docstring_after(item: ast.stmt | None) -> str:
    if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return _linked(" ".join(str(item.value.value).split()))
    return ""


def _text(prose: str) -> str:
    return " ".join(prose.split())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])


assert ReceivedRecord  # its module must be loaded for its comments to be found


if __name__ == "__main__":
    for changed_path in write(Path(__file__).parent):
        sys.stdout.write(f"{changed_path}\n")
