"""Avro schemas, as `data_schema` holds them: text on the wire, a text or an object in Python.

The check is fastavro's, an extra. Without it only the JSON is looked at.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated, Any, Final

import orjson
from pydantic import AfterValidator, BeforeValidator

__all__ = ["AvroSchema", "check_schema"]

_CAN_CHECK: Final = find_spec("fastavro") is not None


def check_schema(text: str) -> str:
    """Give the schema back when it is one.

    Raises:
        ValueError: it is none; the message names the field of the record.
    """
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"is no JSON: {exc}") from None
    if _CAN_CHECK and (wrong := _wrong(schema)):
        where, rule = wrong
        raise ValueError(f"is no Avro schema: {'.'.join(where)}{': ' if where else ''}{rule}")
    return text


def _wrong(schema: Any) -> tuple[Sequence[str], str] | None:
    """Tell the way to what is wrong by the names of fields, and what it is; None if nothing is."""
    rule = _rule_broken_by(schema)
    if rule is None:
        return None
    if not _is_record(schema):
        return (), rule
    head, fields = {**schema, "fields": []}, schema["fields"]
    if wrong := _rule_broken_by(head):
        return (), wrong
    # A field may use a type that one before it defines, so the fields are added one by one.
    for count, field in enumerate(fields, 1):
        rule = _rule_broken_by({**schema, "fields": fields[:count]})
        if rule is not None:
            named = isinstance(field, Mapping) and isinstance(field.get("name"), str)
            way = [field["name"]] if named else [f"fields.{count - 1}"]
            inner = _wrong(field["type"]) if named and _is_record(field.get("type")) else None
            return ([*way, *inner[0]], inner[1]) if inner and inner[0] else (way, rule)
    return (), rule or "it is invalid"


def _is_record(schema: Any) -> bool:
    return (
        isinstance(schema, dict)
        and schema.get("type") == "record"
        and isinstance(schema.get("fields"), list)
    )


def _rule_broken_by(schema: Any) -> str | None:
    if not isinstance(schema, dict | list | str):
        return "a schema is a name, an object or a list"
    # An extra, and slow to import.
    from fastavro.schema import SchemaParseException, UnknownType, parse_schema  # noqa: PLC0415

    try:
        parse_schema(schema, named_schemas={})
    except UnknownType as exc:
        return f"unknown type {exc.name!r}"
    except SchemaParseException as exc:
        return str(exc)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        # What fastavro lets out for an object that lacks a key or has a wrong kind of value.
        return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc) or "it is too deep"
    return None


def _text(value: object) -> object:
    return orjson.dumps(value).decode() if isinstance(value, Mapping | list) else value


AvroSchema = Annotated[
    str | Mapping[str, Any], BeforeValidator(_text), AfterValidator(check_schema)
]
"""An Avro schema as an object or as JSON text; it is kept and sent as text."""
