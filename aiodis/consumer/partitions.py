"""Which partitions there are, and where reading them starts."""

import asyncio
from collections.abc import Iterable
from typing import Literal

from aiodis.api.records import Records
from aiodis.api.streams import Partition, StreamDescription, Streams
from aiodis.config import ConsumerSettings
from aiodis.errors import DISError, PartitionExpiredError, SequenceOutOfRangeError
from aiodis.record import partition_name, partition_number
from aiodis.transport.exchange import Exchange
from aiodis.wire.cursor import decode_cursor
from aiodis.wire.routing import parse_range

__all__ = ["Whereabouts"]


class Whereabouts:
    """Asks the service for the stream's partitions and their ranges."""

    def __init__(self, exchange: Exchange, stream_name: str, settings: ConsumerSettings) -> None:
        self._streams, self._records = Streams(exchange), Records(exchange)
        self._stream_name, self._settings = stream_name, settings

    async def describe(self) -> StreamDescription:
        """Describe the stream with all its partitions."""
        return await self._streams.describe_all(self._stream_name)

    def mine(self, partitions: Iterable[Partition]) -> dict[str, Partition]:
        """Choose the readable partitions that are this member's, by their full ids."""
        return {
            partition_name(number): partition
            for partition in partitions
            if self._settings.group.owns(number := partition_number(partition.partition_id))
            and partition.status in {"ACTIVE", "DELETED"}
        }

    async def position(self, partition: Partition, where: Literal["earliest", "latest"]) -> int:
        """Turn "earliest" or "latest" into a sequence number, so that nothing later is missed.

        A LATEST cursor taken anew after a pause would skip what came in between;
        a number does not. The range runs from the oldest record to the next one.
        """
        span = parse_range(partition.sequence_number_range)
        while span is None:  # "scaling in progress" (facts 4): it passes
            await asyncio.sleep(self._settings.poll_max_ms / 1000)
            found = self.mine((await self.describe()).partitions)
            again = found.get(partition_name(partition_number(partition.partition_id)))
            if again is None:
                raise DISError(f"partition {partition.partition_id} has gone")
            span = parse_range(again.sequence_number_range)
        return span[0] if where == "earliest" else span[1]

    async def reset(self, partition_id: str) -> int:
        """Give the position that `offset_reset` says.

        Raises:
            SequenceOutOfRangeError: it says "error".
        """
        where = self._settings.offset_reset
        if where == "error":
            raise SequenceOutOfRangeError(
                f"{partition_id}: the position is not in the partition (offset_reset='error')",
                status=400,
                code="DIS.4224",
            )
        found = self.mine((await self.describe()).partitions).get(partition_id)
        if found is None:
            raise PartitionExpiredError(
                f"partition {partition_id} has gone", status=400, code="DIS.4319"
            )
        return await self.position(found, where)

    async def at_time(self, partition_id: str, timestamp_ms: int) -> int:
        """Give the first sequence number at or after a time; it stands in the cursor."""
        cursor = await self._records.get_cursor(
            stream_name=self._stream_name,
            partition_id=partition_id,
            cursor_type="AT_TIMESTAMP",
            timestamp=timestamp_ms,
        )
        return decode_cursor(cursor.partition_cursor).sequence_number
