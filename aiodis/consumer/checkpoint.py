"""What is committed, and when: read at the start, written as the work is finished."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from aiodis.config import CheckpointStore
from aiodis.consumer.coordinator import Coordinator
from aiodis.consumer.meter import Meter
from aiodis.consumer.reader import Reader
from aiodis.consumer.stats import ConsumerStats
from aiodis.consumer.together import together
from aiodis.errors import FencedError, PartitionExpiredError

__all__ = ["CheckpointKeeper"]

_log = logging.getLogger("aiodis.consumer")

_AT_ONCE: Final = 16


class CheckpointKeeper:
    """Commits through a store, with the coordinator's fence."""

    def __init__(
        self,
        store: CheckpointStore,
        app_name: str,
        coordinator: Coordinator,
        *,
        stats: ConsumerStats,
        meter: Meter,
    ) -> None:
        self._store, self._app, self._coordinator = store, app_name, coordinator
        self._stats, self._meter = stats, meter
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._committing = asyncio.Lock()

    async def load(self, partition_id: str) -> int | None:
        """Give the position that was committed last, or None."""
        async with self._at_once:
            return await self._store.load(partition_id)

    async def commit(self, readers: Iterable[Reader]) -> list[Exception]:
        """Commit what is finished and not committed; give the errors of those that failed.

        Cancelled, some partitions may be committed and others not.
        """
        async with self._committing:
            readers = list(readers)
            for reader in readers:
                reader.catch_up()
            due = [reader for reader in readers if reader.progress.due() is not None]
            if not due:
                return []
            with self._meter.span("consumer.commit", partitions=len(due)) as span:
                errors = await together(self._commit(reader) for reader in due)
                failed = [error for error in errors if error is not None]
                if failed:
                    span.fail(failed[0])
            self._meter.tell(self._stats)
        return failed

    async def _commit(self, reader: Reader) -> Exception | None:
        progress = reader.progress
        async with self._at_once:
            position = progress.due()  # a seek may have moved it meanwhile
            if position is None:
                return None
            fence = self._coordinator.fence()
            progress.doubt()
            try:
                await self._store.commit(reader.partition_id, position, fence)
            except PartitionExpiredError:
                # Nothing is left there to come back to: each later commit would fail like this.
                _log.info("%s: %s has expired, not committed", self._app, reader.partition_id)
            except Exception as exc:  # noqa: BLE001 - whatever a user's store raises
                self._stats.failed_commits += 1
                _log.warning(
                    "%s: commit of %s in %s failed: %s",
                    self._app,
                    position,
                    reader.partition_id,
                    exc,
                )
                if isinstance(exc, FencedError) and fence is not None:
                    self._coordinator.fenced(fence)
                return exc
            else:
                self._stats.commits += 1
        progress.commit(position)
        return None
