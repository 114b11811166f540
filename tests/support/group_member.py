"""A member of a consumer group that reads nothing, and notes what it is told and when."""

import asyncio

from engine_service import APP, STREAM, EngineService

from aiodis.api import Checkpoints
from aiodis.config import ConsumerSettings
from aiodis.consumer.coordinator import Coordinator, DISGroup, Host, Seat
from aiodis.record import partition_name, partition_number

__all__ = ["Member", "Recorder", "now"]


def now() -> float:
    return asyncio.get_running_loop().time()


class Recorder(Host):
    """A consumer that reads nothing, and notes what it is told and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str, tuple[int, ...]]] = []
        self.in_hand: set[str] = set()
        self.error: BaseException | None = None
        self.handing_over_takes = 0.0
        self._changed = asyncio.Event()
        self._lost = asyncio.Event()

    def assigned(self, partition_ids):
        self._note("assigned", partition_ids)
        self.in_hand |= set(partition_ids)

    async def revoke(self, partition_ids, until):
        self._note("revoke", partition_ids)
        self._lost.clear()
        try:
            async with asyncio.timeout(self.handing_over_takes):
                await self._lost.wait()
        except TimeoutError:
            self._note("handed over", partition_ids)
        self.in_hand -= set(partition_ids)

    def lost(self, partition_ids):
        self._note("lost", partition_ids)
        self.in_hand -= set(partition_ids)
        self._lost.set()

    def failed(self, error):
        self.error = error
        self._note("failed", ())

    def words(self):
        return [word for _, word, _ in self.told]

    def at(self, word):
        return [at for at, told, _ in self.told if told == word]

    async def until(self, word, count=1):
        while self.words().count(word) < count:
            self._changed.clear()
            await self._changed.wait()
        return [told for told in self.told if told[1] == word][count - 1]

    def _note(self, word, partition_ids):
        numbers = tuple(partition_number(pid) for pid in partition_ids)
        self.told.append((now(), word, numbers))
        self._changed.set()


class Member:
    """A coordinator with its host and its own line to the service."""

    def __init__(self, service: EngineService, name: str, **group) -> None:
        self.service, self.name = service, name
        self.line, self.host = service.line(name), Recorder()
        settings = ConsumerSettings(app=APP)
        made = DISGroup(client_id=name, **group)(Seat(self.line, STREAM, settings))
        self.place: Coordinator = made

    async def open(self):
        await self.place.open(self.host)
        return self

    def holds(self) -> list[int]:
        """Tell which partitions it may deliver from now."""
        every = self.service.partitions("ACTIVE", "DELETED")
        return [n for n in every if self.place.held_until(partition_name(n)) > now()]

    async def crash(self):
        """End without a word, as a killed process does."""
        self.line.down = "silent"
        task = self.place._task
        task.cancel()
        await asyncio.wait([task])

    async def commit(self, fence=None):
        fence = fence or self.place.fence()
        asked = Checkpoints.commit.build(
            app_name=APP,
            stream_name=STREAM,
            partition_id="0",
            sequence_number="1",
            client_id=fence.client_id,
            generation_id=fence.generation_id,
        )
        await self.service.line(self.name).call(Checkpoints.commit, asked)
