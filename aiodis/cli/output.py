"""What a command prints: tables for people, the reply's own JSON for programs."""

import base64
import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from aiodis.record import ReceivedRecord
from aiodis.wire.codec import GetReply
from aiodis.wire.operation import Encodable

__all__ = ["print_items", "print_json", "print_reply", "print_table", "record_fields"]

_WIDE: Final = 100_000
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# Fields that hold milliseconds since the epoch, wherever a reply has them.
_TIMES: Final = re.compile(r"(^|_)(time|timestamp)$")
_MANY_MS: Final = 10**11


def print_reply(reply: Encodable, *, as_json: bool) -> None:
    """Print a reply, as the service wrote it or as tables."""
    body = reply.encode() or b"{}"
    if as_json:
        sys.stdout.write(body.decode() + "\n")
    elif isinstance(reply, GetReply):
        _print_records(reply)
    elif shown := orjson.loads(body):
        _print_parts(shown)
    else:
        sys.stdout.write("done\n")


def print_items(items: Iterable[Encodable], *, as_json: bool) -> None:
    """Print what was gathered over all pages, as a JSON array or as one table."""
    values = [orjson.loads(item.encode() or b"{}") for item in items]
    if as_json:
        print_json(values)
    elif values:
        _print_rows(values)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print aligned columns; in a pipe they are as wide as they need to be."""
    from rich.console import Console  # noqa: PLC0415 - only those who print tables pay for it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    is_terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if is_terminal else _WIDE, highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def printable(value: object) -> str:
    """Write a value so that a terminal takes no command from it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else _nested_text(value)
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text).replace("\n", "\\n")


def time_text(milliseconds: int) -> str:
    """Write a time of the service in UTC."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _nested_text(value: object) -> str:
    if isinstance(value, list) and all(_is_pair(item) for item in value):
        return ", ".join(f"{item['key']}={item['value']}" for item in value)
    if isinstance(value, list) and all(not isinstance(item, (dict, list)) for item in value):
        return ", ".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"key", "value"}


def _print_parts(reply: dict[str, Any]) -> None:
    tables = {k: v for k, v in reply.items() if _is_table(v)}
    told = {cell for rows in tables.values() for row in rows for cell in _texts(row)}
    facts = {
        name: value
        for name, value in reply.items()
        # A list of names beside the table of the same things says nothing new.
        if name not in tables and not (tables and _is_told(value, told))
    }
    if facts:
        print_table(("field", "value"), [(k, _cell(k, v)) for k, v in facts.items()])
    for name, rows in tables.items():
        if facts or len(tables) > 1:
            sys.stdout.write(f"\n{name}\n")
        _print_rows(rows)


def _print_records(reply: GetReply) -> None:
    head = ("sequence_number", "partition_key", "timestamp", "data")
    print_table(
        head,
        [
            (r.sequence_number, r.partition_key, _cell("timestamp", r.timestamp), data_text(r.data))
            for r in reply.records
        ],
    )
    sys.stdout.write(f"\nnext_partition_cursor  {printable(reply.next_partition_cursor)}\n")


def record_fields(record: ReceivedRecord) -> dict[str, Any]:
    """Give a record as JSON has it: data that is no UTF-8 is called `data_base64`."""
    try:
        data = {"data": record.data.decode()}
    except UnicodeDecodeError:
        data = {"data_base64": base64.b64encode(record.data).decode()}
    return {
        "partition_id": record.partition_id,
        "sequence_number": record.sequence_number,
        "partition_key": record.partition_key,
        "timestamp": record.timestamp,
        **data,
    }


def data_text(data: bytes) -> str:
    """Show a record's data: as text if it is text, else in base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _texts(row: dict[str, Any]) -> list[str]:
    return [value for value in row.values() if isinstance(value, str)]


def _is_table(value: object) -> bool:
    """Whether a value is a list of things; pairs fit into one cell."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) for item in value)
        and not all(_is_pair(item) for item in value)
    )


def _is_told(value: object, told: set[str]) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v in told for v in value)


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in names if any(row.get(name) not in (None, "", []) for row in rows)]
    print_table(shown, [[_cell(name, row.get(name)) for name in shown] for row in rows])


def _cell(name: str, value: object) -> object:
    if _TIMES.search(name) and isinstance(value, int) and value > _MANY_MS:
        return time_text(value)
    return value
