"""What the account may have, as numbers that a server can be started with."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from aiodis.errors import ConfigError

__all__ = ["AccountQuotas"]


@dataclass(frozen=True, slots=True)
class AccountQuotas:
    """The service's quotas, by its own words; the defaults are *documented* (facts 3)."""

    common_partition: int = 50
    advanced_partition: int = 10
    app: int = 100
    subscription: int = 10

    @classmethod
    def of(cls, given: Mapping[str, int]) -> Self:
        """Take what is given, and the service's own numbers for the rest.

        Raises:
            ConfigError: there is no such quota, or a number is no count.
        """
        known = [field.name for field in fields(cls)]
        for name, count in given.items():
            if name not in known:
                raise ConfigError(f"quota {name!r} is none of {', '.join(known)}")
            if type(count) is not int or count < 0:
                raise ConfigError(f"quota {name} is {count!r}, not a count")
        return cls(**given)

    def partitions(self, stream_type: str) -> int:
        """Give how many partitions all streams of a type may have."""
        return self.advanced_partition if stream_type == "ADVANCED" else self.common_partition
