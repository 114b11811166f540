"""Checkpoints at the service, the default store."""

from typing import Final

from aiodis.api.apps import Apps
from aiodis.api.checkpoints import Checkpoints
from aiodis.config import ConsumerSettings
from aiodis.consumer.progress import from_checkpoint, to_checkpoint
from aiodis.errors import AlreadyExistsError, NotFoundError
from aiodis.record import Fence
from aiodis.transport.exchange import Exchange

__all__ = ["ServiceStore", "ensure_app"]


async def ensure_app(exchange: Exchange, app_name: str) -> None:
    """Create the app when it does not exist."""
    apps = Apps(exchange)
    try:
        await apps.describe(app_name=app_name)
    except NotFoundError:
        try:
            await apps.create(app_name=app_name)
        except AlreadyExistsError:  # another member was faster
            return


class ServiceStore:
    """Reads and writes one app's checkpoints in one stream, in the convention of the settings."""

    def __init__(self, exchange: Exchange, stream_name: str, settings: ConsumerSettings) -> None:
        self._checkpoints = Checkpoints(exchange)
        self._app: Final = settings.app
        self._stream_name: Final = stream_name
        self._convention: Final = settings.checkpoint_convention
        self._stored: set[str] = set()

    async def load(self, partition_id: str) -> int | None:
        """Give the position that the partition's checkpoint stands for, or None."""
        found = await self._checkpoints.get(
            app_name=self._app, stream_name=self._stream_name, partition_id=partition_id
        )
        if found.sequence_number >= 0:
            self._stored.add(partition_id)
        return from_checkpoint(found.sequence_number, self._convention)

    async def commit(self, partition_id: str, position: int, fence: Fence | None) -> None:
        """Write the checkpoint that stands for a position."""
        number = to_checkpoint(position, self._convention)
        if number is not None:
            self._stored.add(partition_id)  # also if the answer is lost
            await self._checkpoints.commit(
                app_name=self._app,
                stream_name=self._stream_name,
                partition_id=partition_id,
                sequence_number=str(number),
                client_id=fence.client_id if fence else None,
                generation_id=fence.generation_id if fence else None,
            )
        elif partition_id in self._stored:
            # No number says "before the first record": having no checkpoint does.
            await self._checkpoints.delete(
                app_name=self._app, stream_name=self._stream_name, partition_id=partition_id
            )
            self._stored.discard(partition_id)
