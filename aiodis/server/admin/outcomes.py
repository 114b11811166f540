"""The outcomes of faults as JSON: `{"type": "latency", "ms": 50}` is `latency(ms=50)`.

A type is the name of a function of `aiodis.server.fault_outcomes`, and its fields are that
function's parameters, so a new outcome is known here as soon as it stands in the tuple.
`reply` besides carries any ready-made answer, byte for byte.
"""

import inspect
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_type_hints

from pydantic import BeforeValidator, Field, create_model

from aiodis.server import fault_outcomes as outcomes
from aiodis.server.admin.model import Asked
from aiodis.server.fault_outcomes import Outcome, Reply

__all__ = ["MADE_BY", "OutcomeModel", "encode_outcome"]

MADE_BY: Final[tuple[Callable[..., Outcome], ...]] = (
    outcomes.error,
    outcomes.expired_cursor,
    outcomes.expired_token,
    outcomes.http_status,
    outcomes.gateway_page,
    outcomes.garbage_json,
    outcomes.latency,
    outcomes.hang,
    outcomes.reset,
    outcomes.reset_before,
    outcomes.reset_after,
    outcomes.restart,
    outcomes.frozen,
    outcomes.truncated,
    outcomes.bandwidth,
    outcomes.skewed_date,
)
"""What makes the outcomes, in the order of the docs."""


class _Made(Asked):
    """An outcome in JSON."""

    def make(self) -> Outcome:
        """Make the outcome.

        Raises:
            ConfigError: it could never come.
        """
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "type"}
        return _FUNCTIONS[type(self).__name__](**given)


def _unpacked(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("a text in base64")  # noqa: TRY004 - pydantic's own way to refuse
    return b64decode(text, validate=True)


class _Reply(_Made):
    """A ready-made answer; `name` is what it is counted as."""

    type: Literal["reply"]
    name: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Annotated[bytes, BeforeValidator(_unpacked)] = b""

    def make(self) -> Outcome:
        return outcomes.ready_made(self.name, self.status, self.headers, self.body)


def encode_outcome(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as JSON's values."""
    fields = asdict(outcome)
    if isinstance(outcome, Reply):
        return {**fields, "type": "reply", "body": b64encode(outcome.body).decode()}
    return {"type": fields.pop("name"), **fields}


def _model_of(function: Callable[..., Outcome]) -> type[_Made]:
    name, hints = function.__name__, get_type_hints(function)
    kind: Any = Literal[name]
    fields: dict[str, Any] = {
        parameter.name: (
            hints[parameter.name],
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(function).parameters.values()
    }
    return create_model(name, __base__=_Made, type=(kind, ...), **fields)


_FUNCTIONS: Final = {function.__name__: function for function in MADE_BY}

if TYPE_CHECKING:
    OutcomeModel = _Made
else:
    OutcomeModel = Annotated[
        Union[(*map(_model_of, MADE_BY), _Reply)],
        Field(discriminator="type"),
    ]
