"""The path of a record in: cursor, poller, reader, shelf, user or handlers, checkpoint."""

from aiodis.consumer.consumer import Consumer, Lag
from aiodis.consumer.coordinator import DISGroup
from aiodis.consumer.stats import ConsumerStats

__all__ = ["Consumer", "ConsumerStats", "DISGroup", "Lag"]
