"""Where reading a partition begins: its checkpoint, or what stands for one."""

from aiodis.api.streams import Partition
from aiodis.config import ConsumerSettings
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.partitions import Start, Whereabouts, start_of_new
from aiodis.consumer.reader import Reader
from aiodis.consumer.succession import Succession
from aiodis.consumer.together import together
from aiodis.errors import ConfigError

__all__ = ["Beginning"]


class Beginning:
    """Makes the readers of partitions that come."""

    def __init__(
        self,
        settings: ConsumerSettings,
        where: Whereabouts,
        keeper: CheckpointKeeper,
        succession: Succession,
    ) -> None:
        self._settings, self._where = settings, where
        self._keeper, self._succession = keeper, succession

    async def of_start(self, found: dict[str, Partition]) -> list[Reader]:
        """Begin with the partitions that there are at the start."""
        committed = await together(self._keeper.load(pid) for pid in found)
        return await self._at(found, committed, committed)

    async def of_share(
        self, fresh: dict[str, Partition], readable: dict[str, Partition]
    ) -> list[Reader]:
        """Begin with what a group assigned.

        Where one has no checkpoint, those of the whole stream say whether the app was here.
        """
        committed = await together(self._keeper.load(pid) for pid in fresh)
        everywhere = committed
        if None in committed:
            others = [pid for pid in readable if pid not in fresh]
            everywhere = committed + await together(self._keeper.load(pid) for pid in others)
        return await self._at(fresh, committed, everywhere)

    async def late(self, pid: str, partition: Partition) -> Reader:
        """Begin with a partition that appeared: from its first record, or what came is lost."""
        self._succession.newcomer(pid)
        return await self._reader(pid, partition, await self._keeper.load(pid), "earliest")

    async def again(self, reader: Reader, partition: Partition) -> Reader:
        """Go on with a partition that had expired, and that a scaling brought back."""
        reader.reset(await self._where.held(partition, reader.cursor.position))
        return reader

    async def _at(
        self,
        found: dict[str, Partition],
        committed: list[int | None],
        everywhere: list[int | None],
    ) -> list[Reader]:
        start = start_of_new(self._settings.offset_reset, everywhere)
        known = list(zip(found.items(), committed, strict=True))
        if any(number is not None for number in everywhere):
            for (pid, _), number in known:
                if number is None:
                    self._succession.newcomer(pid)
        return await together(
            self._reader(pid, partition, number, start) for (pid, partition), number in known
        )

    async def _reader(
        self, pid: str, partition: Partition, committed: int | None, start: Start
    ) -> Reader:
        if committed is not None:
            return Reader(pid, committed, committed)
        if start == "error":
            raise ConfigError(
                f"app {self._settings.app} has no checkpoint in {pid}, and offset_reset is 'error'"
            )
        return Reader(pid, await self._where.position(partition, start), None)
