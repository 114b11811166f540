"""A fixed share of the partitions: nobody to talk to, and nothing to lose."""

from math import inf

from aiodis.config import Static
from aiodis.consumer.coordinator.protocol import Fence, Host
from aiodis.record import partition_number

__all__ = ["StaticCoordinator"]


class StaticCoordinator:
    """Assigns the partitions of `Static(index, count)`, for ever."""

    follows_stream = True

    def __init__(self, share: Static) -> None:
        self._share = share

    async def open(self, host: Host) -> None:
        """Do nothing: the consumer finds its partitions by itself."""

    def held_until(self, partition_id: str) -> float:
        """Give for ever or never."""
        return inf if self._share.owns(partition_number(partition_id)) else -inf

    def fence(self) -> Fence | None:
        """Give none: nobody takes these partitions away."""
        return None

    def fenced(self, fence: Fence) -> None:
        """Do nothing: there is no fence to refuse."""

    async def close(self) -> None:
        """Do nothing: nobody waits for these partitions."""
