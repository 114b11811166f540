"""Which partitions wait until others are drained, with `partition_order="parent_first"`.

DIS has no parents: a scaling changes how many partitions there are, and spreads all
keys anew over those that are ACTIVE. So a key's older records may be in a DELETED
partition, or in an ACTIVE one that was there before. Hence two rules: nothing ACTIVE is
read while a DELETED partition has unread records; and a newcomer waits until its
elders were read up to where they ended when it was found.
"""

import logging
from collections.abc import Collection

from aiodis.api.streams import Partition
from aiodis.clock import Clock
from aiodis.config import ConsumerSettings
from aiodis.consumer.checkpoint import CheckpointKeeper
from aiodis.consumer.hand import Hand
from aiodis.consumer.reader import Reader
from aiodis.consumer.shelf import Shelf
from aiodis.errors import DISError
from aiodis.record import partition_name, partition_number
from aiodis.wire.routing import parse_range

__all__ = ["Succession"]

_log = logging.getLogger("aiodis.consumer")


class Succession:
    """Marks the readers that are `behind`.

    How far partitions are that another member reads is seen by their checkpoints.
    """

    def __init__(
        self,
        shelf: Shelf,
        hand: Hand,
        keeper: CheckpointKeeper,
        settings: ConsumerSettings,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._shelf, self._hand, self._keeper, self._settings = shelf, hand, keeper, settings
        self._is_on = settings.partition_order == "parent_first"
        self._deleted: dict[str, int | None] = {}
        self._active: dict[str, int | None] = {}
        self._newcomers: dict[str, dict[str, int | None]] = {}
        self._elsewhere: dict[str, int] = {}

    def note(self, partitions: Collection[Partition]) -> None:
        """Take in the stream's partitions as they are now."""
        if not self._is_on:
            return
        ends = {"ACTIVE": self._active, "DELETED": self._deleted}
        for known in ends.values():
            known.clear()
        for partition in partitions:
            if partition.status in ends:
                pid = partition_name(partition_number(partition.partition_id))
                span = parse_range(partition.sequence_number_range)
                ends[partition.status][pid] = span[1] if span else None
        self.arrange()

    def newcomer(self, partition_id: str) -> None:
        """Let a partition that appeared wait for the records that were there before it."""
        if self._is_on and partition_id not in self._newcomers:
            self._newcomers[partition_id] = {
                pid: end
                for pid, end in self._active.items()
                if pid != partition_id and pid not in self._newcomers
            }

    def arrange(self) -> None:
        """Mark who waits, and let those go on who need not any longer."""
        if not self._is_on:
            return
        self._hand.settle()
        for pid, reader in self._shelf.readers.items():
            was_behind, reader.behind = reader.behind, bool(self._unread_elders(pid))
            if reader.behind and not was_behind:
                self._hand.stow()
            elif was_behind and not reader.behind:
                self._newcomers.pop(pid, None)
                self._shelf.offer(reader)
                reader.on_room()

    async def watch(self) -> None:
        """Look again and again whether the elders are drained, as long as somebody waits."""
        while True:
            await self._clock.sleep(self._settings.poll_max_ms / 1000)
            waiting = [pid for pid, reader in self._shelf.readers.items() if reader.behind]
            elders = {elder for pid in waiting for elder in self._unread_elders(pid)}
            for elder in elders - self._shelf.readers.keys():
                try:
                    self._elsewhere[elder] = await self._keeper.load(elder) or 0
                except DISError as exc:
                    _log.warning("the checkpoint of %s was not read: %s", elder, exc)
            self.arrange()

    def _unread_elders(self, pid: str) -> list[str]:
        if pid in self._deleted:
            return []
        elders = self._deleted | self._newcomers.get(pid, {})
        return [elder for elder, end in elders.items() if not self._is_read(elder, end)]

    def _is_read(self, elder: str, end: int | None) -> bool:
        if elder not in self._deleted and elder not in self._active:
            return True  # it has expired
        reader = self._shelf.readers.get(elder)
        if reader is not None and _is_over(reader):
            return True
        if end is None:
            return False
        done = reader.progress.finished if reader else self._elsewhere.get(elder, -1)
        return done >= end


def _is_over(reader: Reader) -> bool:
    progress = reader.progress
    return reader.gone and not reader.batches and progress.finished == progress.handed_out
