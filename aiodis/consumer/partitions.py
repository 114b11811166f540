"""Which partitions there are, and where reading them starts."""

from collections.abc import Iterable
from math import inf
from typing import Final, Literal

from aiodis.api.records import Records
from aiodis.api.streams import Partition, StreamDescription, Streams
from aiodis.clock import Clock
from aiodis.config import ConsumerSettings
from aiodis.consumer.coordinator.protocol import Coordinator
from aiodis.errors import DecodeError, PartitionExpiredError
from aiodis.record import partition_name, partition_number
from aiodis.transport.exchange import Exchange
from aiodis.wire.cursor import decode_cursor
from aiodis.wire.routing import parse_range

__all__ = ["Start", "Whereabouts", "start_of_new"]

Start = Literal["earliest", "latest", "error"]


def start_of_new(offset_reset: Start, committed: Iterable[int | None]) -> Start:
    """Say where partitions without a checkpoint start, from the checkpoints of all.

    Where some have one, the app has been here before: the others appeared while
    it was away, and are read from their first record, or it would be lost.
    """
    return offset_reset if all(number is None for number in committed) else "earliest"


class Whereabouts:
    """Asks the service for the stream's partitions and their ranges."""

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        settings: ConsumerSettings,
        coordinator: Coordinator,
        clock: Clock,
    ) -> None:
        self._streams, self._records = Streams(exchange), Records(exchange)
        self._coordinator, self._clock = coordinator, clock
        self.ends: dict[str, int] = {}
        """Where the partitions ended when they were looked up last."""
        self._stream_name: Final = stream_name
        self._settings: Final = settings

    async def describe(self) -> StreamDescription:
        """Describe the stream with all its partitions, and note where these end."""
        description = await self._streams.describe_all(self._stream_name)
        for pid, partition in self.readable(description.partitions).items():
            if span := parse_range(partition.sequence_number_range):
                self.ends[pid] = span[1]
        return description

    def readable(self, partitions: Iterable[Partition]) -> dict[str, Partition]:
        """Choose the partitions that have records to read, by their full ids."""
        return {
            partition_name(partition_number(partition.partition_id)): partition
            for partition in partitions
            if partition.status in {"ACTIVE", "DELETED"}
        }

    def mine(self, partitions: Iterable[Partition]) -> dict[str, Partition]:
        """Choose the readable partitions that are this member's, by their full ids."""
        return {
            pid: partition
            for pid, partition in self.readable(partitions).items()
            if self._coordinator.held_until(pid) > -inf
        }

    async def position(self, partition: Partition, where: Literal["earliest", "latest"]) -> int:
        """Turn "earliest" or "latest" into a sequence number, so that nothing later is missed.

        A LATEST cursor taken anew after a pause would skip what came in between;
        a number does not.

        Raises:
            PartitionExpiredError: it has gone.
        """
        first, following = await self._span(partition)
        return first if where == "earliest" else following

    async def held(self, partition: Partition, position: int) -> int:
        """Give the position if the partition holds it, else that of its first record.

        Raises:
            PartitionExpiredError: it has gone.
        """
        first, following = await self._span(partition)
        return position if first <= position <= following else first

    async def _span(self, partition: Partition) -> tuple[int, int]:
        """Give the numbers of the partition's oldest record and of the next one to come."""
        pid = partition_name(partition_number(partition.partition_id))
        while (span := parse_range(partition.sequence_number_range)) is None:
            # "Scaling in progress" (facts 4): it passes.
            await self._clock.sleep(self._settings.poll_max_ms / 1000)
            partition = await self._look_up(pid)
        return span

    async def reset(self, partition_id: str, where: Literal["earliest", "latest"]) -> int:
        """Look up where a position goes that has left the partition.

        Raises:
            PartitionExpiredError: it has gone.
        """
        return await self.position(await self._look_up(partition_id), where)

    async def _look_up(self, partition_id: str) -> Partition:
        found = self.mine((await self.describe()).partitions).get(partition_id)
        if found is None:
            raise PartitionExpiredError(
                f"partition {partition_id} has gone", status=400, code="DIS.4319"
            )
        return found

    async def at_time(self, partition_id: str, timestamp_ms: int) -> int:
        """Give the first sequence number at or after a time; it stands in the cursor.

        Raises:
            DecodeError: the cursor is in no known form.
        """
        answer = await self._records.get_cursor(
            stream_name=self._stream_name,
            partition_id=partition_id,
            cursor_type="AT_TIMESTAMP",
            timestamp=timestamp_ms,
        )
        cursor = answer.partition_cursor
        try:
            return decode_cursor(cursor).sequence_number
        except ValueError as exc:
            raise DecodeError(
                f"{partition_id}: the time has no number, as its cursor could not be read",
                status=200,
                head=cursor.encode(),
            ) from exc
