"""The shapes of requests and replies: strict on the way out, lenient on the way in.

A request forbids unknown fields and checks each value, so that a mistake is
found before anything is sent. A reply ignores what it does not know, since the
service may grow, and reads every spelling that was seen.
"""

from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUseDefault

from aiodis.errors import AlreadyExistsError, NotFoundError, ParameterError, ServiceError

__all__ = [
    "Creation",
    "Deletion",
    "Empty",
    "LenientInt",
    "Message",
    "Reply",
    "name_of",
    "parameter_error",
    "spelled",
]


class Message(BaseModel):
    """A request's parameters, wherever the route places them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
        ser_json_bytes="base64",
    )

    @property
    def forgiven(self) -> tuple[type[ServiceError], ...]:
        """The refusals that this caller takes for a success."""
        return ()

    def body(self, fields: dict[str, Any]) -> bytes:
        """Encode the fields that the route leaves for the body."""
        return orjson.dumps(fields)

    @classmethod
    def shape(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Give the fields of what came, where `body` writes them in another shape.

        Raises:
            ValidationError: it has not that shape.
        """
        return given


class Creation(Message):
    """Parameters of what makes a thing under a name."""

    # Whether a thing of that name that is there already will do, however it was made.
    exist_ok: Annotated[bool, Field(exclude=True)] = False

    @property
    def forgiven(self) -> tuple[type[ServiceError], ...]:
        """An existing thing, with `exist_ok`."""
        return (AlreadyExistsError,) if self.exist_ok else ()


class Deletion(Message):
    """Parameters of what removes a thing."""

    # Whether it is well when there is no such thing.
    missing_ok: Annotated[bool, Field(exclude=True)] = False

    @property
    def forgiven(self) -> tuple[type[ServiceError], ...]:
        """A missing thing, with `missing_ok`."""
        return (NotFoundError,) if self.missing_ok else ()


class Reply(BaseModel):
    """A reply's fields; each has a default, since the service leaves fields out at will.

    A null is a field left out.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, validate_by_name=True, validate_by_alias=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _null(cls, value: object) -> object:
        if value is None:
            raise PydanticUseDefault
        return value

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a reply; an empty body is a reply with nothing set."""
        return cls.model_validate_json(body or b"{}")

    def encode(self) -> bytes:
        """Write the reply as the service does: what is not set is not there."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class Empty(Reply):
    """A reply with no body."""

    def encode(self) -> bytes:
        """Write nothing: one of the vendor's clients fails on any byte (facts 8.10)."""
        return b""


def spelled(*names: str) -> FieldInfo:
    """Name a field as the service does: the first name is written, every name is read."""
    return Field(serialization_alias=names[0], validation_alias=AliasChoices(*names))  # type: ignore[no-any-return]


def name_of(maximum: int) -> Any:
    """Constrain a name to letters, digits, `_` and `-` (reference, chapters 5.1.1 and 5.2.1)."""
    return StringConstraints(min_length=1, max_length=maximum, pattern=r"^[A-Za-z0-9_-]+$")


def parameter_error(operation: str, exc: ValidationError) -> ParameterError:
    """Tell of the first thing that is wrong with an operation's parameters, or another value's."""
    first = exc.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "request"
    value = "(missing)" if first["type"] == "missing" else first["input"]
    if first["loc"][:1] == ("records",) or field.endswith("password"):
        value = type(value)  # the value holds payloads, or is a secret
    rule = first["msg"].removeprefix("Value error, ")
    return ParameterError(operation, field, value, rule)


def _digits(value: object) -> object:
    # The reference's own example of a time is the string "1599050091026." (chapter 5.1.4).
    if isinstance(value, str):
        digits = value.strip().rstrip(".")
        if not digits:
            raise PydanticUseDefault
        return digits
    return value


LenientInt = Annotated[int, BeforeValidator(_digits)]
"""A whole number, also where a reply has it as a string."""
