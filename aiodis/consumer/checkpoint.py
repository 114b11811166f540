"""Checkpoints at the service: read at the start, written as the work is finished."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from aiodis.api.apps import Apps
from aiodis.api.checkpoints import Checkpoints
from aiodis.config import ConsumerSettings
from aiodis.consumer.poller import ConsumerStats
from aiodis.consumer.progress import from_checkpoint, to_checkpoint
from aiodis.consumer.reader import Reader
from aiodis.consumer.together import together
from aiodis.errors import AlreadyExistsError, DISError, NotFoundError, PartitionExpiredError
from aiodis.transport.exchange import Exchange

__all__ = ["CheckpointKeeper"]

_log = logging.getLogger("aiodis.consumer")

_AT_ONCE: Final = 16


class CheckpointKeeper:
    """Reads and commits one app's checkpoints in one stream."""

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        settings: ConsumerSettings,
        stats: ConsumerStats,
    ) -> None:
        self._apps, self._checkpoints = Apps(exchange), Checkpoints(exchange)
        self._stream_name, self._settings, self._stats = stream_name, settings, stats
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._committing = asyncio.Lock()

    async def ensure_app(self) -> None:
        """Create the app when it does not exist."""
        try:
            await self._apps.describe(app_name=self._settings.app)
        except NotFoundError:
            try:
                await self._apps.create(app_name=self._settings.app)
            except AlreadyExistsError:  # another member was faster
                return

    async def load(self, partition_id: str) -> int | None:
        """Give the position that the partition's checkpoint stands for, or None."""
        async with self._at_once:
            found = await self._checkpoints.get(
                app_name=self._settings.app,
                stream_name=self._stream_name,
                partition_id=partition_id,
            )
        return from_checkpoint(found.sequence_number, self._settings.checkpoint_convention)

    async def commit(self, readers: Iterable[Reader]) -> list[DISError]:
        """Commit what is finished and not committed; give the errors of those that failed.

        Cancelled, some partitions may be committed and others not.
        """
        async with self._committing:
            errors = await together(self._commit(reader) for reader in readers)
        return [error for error in errors if error is not None]

    async def _commit(self, reader: Reader) -> DISError | None:
        progress = reader.progress
        position = progress.due()
        if position is None:
            return None
        number = to_checkpoint(position, self._settings.checkpoint_convention)
        if number is None and not progress.may_be_stored:
            return None
        progress.doubt()
        try:
            async with self._at_once:
                await self._write(reader.partition_id, number)
        except PartitionExpiredError:
            # Nothing is left there to come back to, and every later commit would fail like this.
            _log.info("%s: %s has expired, not committed", self._settings.app, reader.partition_id)
        except DISError as exc:
            _log.warning("%s: commit of %s failed: %s", self._settings.app, position, exc)
            return exc
        else:
            self._stats.commits += 1
        progress.commit(position)
        return None

    async def _write(self, partition_id: str, number: int | None) -> None:
        app, stream = self._settings.app, self._stream_name
        if number is None:
            await self._checkpoints.delete(
                app_name=app, stream_name=stream, partition_id=partition_id
            )
        else:
            await self._checkpoints.commit(
                app_name=app,
                stream_name=stream,
                partition_id=partition_id,
                sequence_number=str(number),
            )
