"""Ready-made serializers for `producer(serializer=…)`: a value in, a record's bytes out."""

from typing import Any

import orjson
from pydantic import BaseModel

__all__ = ["json", "text"]


def text(value: str) -> bytes:
    """Write text as UTF-8."""
    return value.encode()


def json(value: Any) -> bytes:
    """Write JSON: a pydantic model, or whatever orjson writes (dataclasses, times, UUIDs, …).

    Raises:
        TypeError: orjson cannot write it.
    """
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    return orjson.dumps(value)
