"""The path of a record in: cursor, poller, reader, consumer or dispatcher, progress, checkpoint."""

from aiodis.consumer.consumer import Consumer
from aiodis.consumer.poller import ConsumerStats

__all__ = ["Consumer", "ConsumerStats"]
