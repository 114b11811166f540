"""What a test asks of its DIS: the keywords of `@pytest.mark.dis(...)`. Plain code."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from pydantic import ValidationError

from aiodis.api.streams import CreateStream
from aiodis.clock import ClockKind
from aiodis.errors import ConfigError
from aiodis.server import Transitions
from aiodis.server.quotas import AccountQuotas
from aiodis.wire.message import parameter_error

__all__ = ["Wishes", "read_wishes"]

Limits = Literal["strict", "off"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a test asks for. `streams` are there before it begins."""

    streams: tuple[CreateStream, ...] = ()
    limits: Limits = "strict"
    clock: ClockKind = "real"
    quotas: Mapping[str, int] = field(default_factory=dict)
    transitions: Transitions | None = None

    @property
    def of_project(self) -> dict[str, Any]:
        """The settings that a project may have for itself, for `LocalDIS.add_account`."""
        settings: dict[str, Any] = {"limited": self.limits == "strict"}
        if self.quotas:
            settings["quotas"] = self.quotas
        if self.transitions is not None:
            settings["transitions"] = self.transitions
        return settings

    @property
    def beyond_streams(self) -> list[str]:
        """What is asked for that a server which runs already cannot give."""
        plain = Wishes()
        return [
            each.name
            for each in fields(self)
            if each.name != "streams" and getattr(self, each.name) != getattr(plain, each.name)
        ]


def read_wishes(given: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Wishes:
    """Read the arguments of a test's marks, those of the test itself last; they beat the others.

    Raises:
        ConfigError: a mark asks for what there is not.
    """
    asked: dict[str, Any] = {}
    for arguments, keywords in given:
        if arguments:
            raise ConfigError(f"takes keywords only, not {arguments[0]!r}")
        asked |= keywords
    if unknown := asked.keys() - _READERS.keys():
        known = ", ".join(_READERS)
        raise ConfigError(f"there is no keyword {min(unknown)!r}; there are: {known}")
    read: dict[str, Any] = {name: _READERS[name](value) for name, value in asked.items()}
    return Wishes(**read)


def _streams(value: Any) -> tuple[CreateStream, ...]:
    if isinstance(value, str):
        value = {value: 1}
    if not isinstance(value, Mapping):
        try:
            value = dict.fromkeys(value, 1)
        except TypeError:
            raise ConfigError(
                f'streams={value!r} is neither {{"orders": 3}} nor a list of names'
            ) from None
    return tuple(_stream(name, asked) for name, asked in value.items())


def _stream(name: Any, asked: Any) -> CreateStream:
    """Read a number of partitions, or the parameters of `streams.create`."""
    if not isinstance(asked, Mapping):
        asked = {"partition_count": asked}
    try:
        return CreateStream(**{"stream_name": name, "partition_count": 1, **asked})
    except ValidationError as exc:
        raise ConfigError(f"streams: {name!r}: {parameter_error('streams', exc)}") from None


def _one_of(name: str, known: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in known:
            raise ConfigError(f"{name}={value!r} is not one of {', '.join(map(repr, known))}")
        return value

    return read


def _quotas(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ConfigError(f'quotas={value!r} is not like {{"common_partition": 200}}')
    AccountQuotas.of(value)
    return dict(value)


def _transitions(value: Any) -> Transitions:
    if not isinstance(value, Transitions):
        raise ConfigError(f"transitions={value!r} is no aiodis.server.Transitions")
    return value


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "streams": _streams,
    "limits": _one_of("limits", get_args(Limits)),
    "clock": _one_of("clock", get_args(ClockKind)),
    "quotas": _quotas,
    "transitions": _transitions,
}
