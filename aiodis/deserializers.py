"""Ready-made deserializers for `consumer(deserializer=…)`: a record's bytes in, its value out.

The mirror of `aiodis.serializers`. What they raise is a failure of the record whose
`value` was asked for, and of no other.
"""

from collections.abc import Callable
from typing import Any

import orjson
from pydantic import TypeAdapter

__all__ = ["json", "model", "text"]


def text(data: bytes) -> str:
    """Read UTF-8.

    Raises:
        UnicodeDecodeError: it is none.
    """
    return data.decode()


def json(data: bytes) -> Any:
    """Read JSON.

    Raises:
        orjson.JSONDecodeError: it is none.
    """
    return orjson.loads(data)


def model(kind: Any) -> Callable[[bytes], Any]:
    """Give a deserializer of JSON that is checked: of a pydantic model, or of any type it knows.

    The deserializer raises `pydantic.ValidationError`, which quotes the input: mind where
    it is logged.
    """
    return TypeAdapter(kind).validate_json
