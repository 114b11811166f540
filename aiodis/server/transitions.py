"""How long the service takes for a new stream, and for a scaling."""

from dataclasses import dataclass

from aiodis.errors import ConfigError

__all__ = ["Transitions"]


@dataclass(frozen=True, slots=True)
class Transitions:
    """Until a change of a stream is done: at once, after a time, after a number of calls, or both.

    A new stream is CREATING until then. A stream that is scaled has its old partitions
    until then. Each call that names the stream counts; the one after the last sees it done.

    Raises:
        ConfigError: a number is negative.
    """

    after_ms: int = 0
    after_calls: int = 0

    def __post_init__(self) -> None:
        if self.after_ms < 0 or self.after_calls < 0:
            raise ConfigError("transitions take no negative time and no negative number of calls")

    @property
    def are_immediate(self) -> bool:
        """Whether a change is done with its answer."""
        return not (self.after_ms or self.after_calls)
