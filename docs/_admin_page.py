"""The page `reference/admin.md`, made from the table of the admin routes."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from aiodis.server.admin.outcomes import MADE_BY
from aiodis.server.admin.routes import PREFIX, ROUTES, Route

__all__ = ["admin_page"]

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def admin_page(mark: str, text: Callable[[str], str], table: Table) -> str:
    """Make the page; the arguments are what all generated pages are written with."""
    parts = [
        mark,
        "# Admin routes",
        text(
            f"""
            The embedded DIS has routes of its own under `{PREFIX}`, for tests in other processes
            and languages. They are no part of the service: they need no signature, meet no
            faults, and are not among the requests that are noted. A browser shows what is inside
            at `/_aiodis/`.
            """
        ),
        text(
            """
            They answer this machine only, under a loopback name or address, and no page of
            another origin: a web page you visit cannot use them, by DNS rebinding neither. With
            `LocalDIS(admin="remote")` or `aiodis serve --admin remote` other machines may ask as
            well, under an address or a name without a dot, such as Docker's; `off` means nobody.
            """
        ),
        text(
            """
            Parameters of GET and DELETE go into the query, those of POST and PUT into a JSON
            body; any content type will do. Answers are JSON. A refusal is `{"error": "…"}`, one
            line: 400 for what makes no sense, an unknown parameter included, 403 for who may not
            ask, 404, 405, 409 where the server is not in the state for it, 413, and 501 where an
            extra is not installed.
            """
        ),
        "## Routes",
        table(
            ("route", "what it does"),
            [(f"`{route.method} {PREFIX}{route.path}`", route.does) for route in ROUTES],
        ),
        "## Parameters",
    ]
    for route in ROUTES:
        parts += _parameters(route, table)
    parts += [
        "## Outcomes",
        text(
            """
            What a fault with `outcome` does: `{"type": "latency", "ms": 50}`. Each type is the
            function of `aiodis.server.faults` with that name, and what the fields mean is told in
            [Make the embedded DIS fail on purpose](../how-to/inject-faults.md). `reply` carries
            any answer byte for byte: `name`, `status`, `headers` as pairs, and `body` in base64.
            """
        ),
        table(
            ("type", "fields", "what happens"),
            [(f"`{f.__name__}`", _signature(f), _first_line(f)) for f in MADE_BY],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _parameters(route: Route, table: Table) -> Iterator[str]:
    schema = TypeAdapter(route.asks).json_schema()
    kinds = [_resolved(schema, one) for one in schema.get("oneOf", [schema])]
    for kind in kinds:
        rows = list(_rows(schema, kind))
        if not rows:
            continue
        name = kind["properties"].get("kind", {}).get("const")
        yield f"### {route.method} {route.path}{f', kind {name}' if name else ''}"
        yield table(("name", "type and limit", "default"), rows)


def _rows(schema: Mapping[str, Any], kind: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, field in kind["properties"].items():
        if name == "outcome":
            yield f"`{name}`", "an [outcome](#outcomes)", "none"
            continue
        if field.get("format") == "binary":
            yield "the body", "bytes", "required"
            continue
        is_needed = name in kind.get("required", ())
        default = field.get("default")
        shown = "required" if is_needed else "none" if default is None else f"`{default}`"
        yield f"`{name}`", _type(_resolved(schema, field)), shown


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"] if one.get("type") != "null")
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    low = field.get("minimum", field.get("minLength"))
    high = field.get("maximum", field.get("maxLength"))
    bounds = [f"from {_number(low)}"] if low is not None else []
    bounds += [f"to {_number(high)}"] if high is not None else []
    unit = " characters" if "maxLength" in field else ""
    limit = f", {' '.join(bounds)}{unit}" if bounds else ""
    return field.get("type", "any") + limit


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,}"


def _resolved(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    ref = field.get("$ref")
    return schema["$defs"][ref.rpartition("/")[2]] if ref else field


def _signature(function: Callable[..., object]) -> str:
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(f"`{p.name}`{'' if p.default is p.empty else '?'}" for p in parameters)


def _first_line(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").split("\n")[0]
