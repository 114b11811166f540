"""Who reads which partition: the protocol, and what the setting `group` makes of it."""

from aiodis.config import Static
from aiodis.consumer.coordinator.group import DISGroup, GroupCoordinator
from aiodis.consumer.coordinator.protocol import Coordinator, Fence, Host, Seat
from aiodis.consumer.coordinator.static import StaticCoordinator

__all__ = [
    "Coordinator",
    "DISGroup",
    "Fence",
    "GroupCoordinator",
    "Host",
    "Seat",
    "StaticCoordinator",
    "coordinator_of",
]


def coordinator_of(seat: Seat) -> Coordinator:
    """Make the coordinator that the consumer's settings ask for."""
    group = seat.settings.group
    if isinstance(group, Static):
        return StaticCoordinator(group)
    made: Coordinator = group(seat)
    return made
