"""The loop of one partition: cursor, fetch, keep, again.

A partition's trouble is its own: a throttled or failing one waits alone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiodis.api.records import Records
from aiodis.config import ConsumerSettings
from aiodis.consumer.reader import Reader
from aiodis.errors import (
    CircuitOpenError,
    CursorExpiredError,
    DecodeError,
    DISError,
    PartitionExpiredError,
    SequenceOutOfRangeError,
)
from aiodis.pacing.budget import ByteBudget
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.record import Batch
from aiodis.transport.exchange import Exchange
from aiodis.wire.codec import GetReply

__all__ = ["ConsumerStats", "Poller"]

# A fetch that brought nearly all it may bring leaves more behind: ask again at once.
_FULL: Final = 0.5


@dataclass(slots=True)
class ConsumerStats:
    """Counts since the consumer started."""

    records: int = 0
    bytes: int = 0
    fetches: int = 0
    empty_fetches: int = 0
    cursors: int = 0
    retries: int = 0
    commits: int = 0
    resets: int = 0


class Poller:
    """Fetches one partition ahead of the user, within the bounds of the settings."""

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        reader: Reader,
        settings: ConsumerSettings,
        *,
        budget: ByteBudget,
        limiter: PartitionLimiter | None,
        stats: ConsumerStats,
        on_batch: Callable[[Reader], None],
        reset: Callable[[Reader], Awaitable[int]],
    ) -> None:
        self._exchange, self._stream_name = exchange, stream_name
        self._reader, self._settings = reader, settings
        self._records = Records(exchange)
        self._budget, self._limiter, self._stats = budget, limiter, stats
        self._on_batch, self._reset = on_batch, reset
        self._room = asyncio.Event()

    def poke(self) -> None:
        """Tell the loop that a batch was taken, or that the partition was resumed or moved."""
        self._room.set()

    async def run(self) -> None:
        """Poll until cancelled, or until the partition has expired.

        Raises:
            DISError: what no retry mends, such as a stream that is gone.
        """
        idle = tries = 0
        while True:
            await self._until_room()
            try:
                fetched = await self._fetch()
            except PartitionExpiredError:
                return
            except DISError as exc:
                if self._reader.cursor.generation != self._asked:
                    continue
                try:
                    await self._recover(exc, tries)
                except PartitionExpiredError:
                    return
                tries += 1
                continue
            tries = 0
            idle = 0 if fetched else idle + 1
            if fetched < self._settings.max_fetch_bytes * _FULL:
                wait = self._settings.poll_min_ms * 2 ** min(idle, 10)
                await asyncio.sleep(min(wait, self._settings.poll_max_ms) / 1000)

    async def _until_room(self) -> None:
        while self._reader.paused or len(self._reader.batches) >= self._settings.prefetch_batches:
            self._room.clear()
            await self._room.wait()

    async def _fetch(self) -> int:
        """Fetch once; give the bytes of data that came."""
        most = self._settings.max_fetch_bytes
        await self._budget.take(most)
        kept = 0
        if self._reader.paused:
            self._budget.give(most)
            return most
        try:
            self._asked = generation = self._reader.cursor.generation
            reply = await self._ask()
            if self._reader.cursor.generation == generation:
                kept = self._keep(reply)
        finally:
            self._budget.give(most - kept)
        if self._limiter is not None and kept:
            await self._limiter.acquire(kept)
        return kept

    async def _ask(self) -> GetReply:
        token = await self._cursor()
        query = urlencode(
            {
                "partition-cursor": token,
                "max_fetch_bytes": self._settings.max_fetch_bytes,
                "app_name": self._settings.app,
            }
        )
        self._stats.fetches += 1
        exchanged = await self._exchange.send(Records.get, query=query)
        return Records.get.decode(exchanged.answer.body, status=exchanged.answer.status)

    async def _cursor(self) -> str:
        loop = asyncio.get_running_loop()
        cursor = self._reader.cursor
        token = cursor.token(loop.time(), max_age=self._settings.cursor_max_age_ms / 1000)
        if token is not None:
            return token
        generation = cursor.generation
        # The service counts the five minutes from its own answer, which we see later than it.
        asked_at = loop.time()
        self._stats.cursors += 1
        answer = await self._records.get_cursor(
            stream_name=self._stream_name,
            partition_id=self._reader.partition_id,
            cursor_type="AT_SEQUENCE_NUMBER",
            starting_sequence_number=str(cursor.position),
        )
        if cursor.generation == generation:
            cursor.take(answer.partition_cursor, asked_at)
        return answer.partition_cursor

    def _keep(self, reply: GetReply) -> int:
        now = asyncio.get_running_loop().time()
        cursor, records = self._reader.cursor, reply.records
        if not records:
            self._stats.empty_fetches += 1
            cursor.advance(cursor.position, reply.next_partition_cursor, now)
            return 0
        partition_id = self._reader.partition_id
        for record in records:
            record.partition_id = partition_id
        following = records[-1].sequence_number + 1
        batch = Batch(partition_id, records, following)
        size = sum([len(record.data) for record in records])
        self._stats.records += len(records)
        self._stats.bytes += size
        cursor.advance(following, reply.next_partition_cursor, now)
        self._reader.add(batch, size)
        self._on_batch(self._reader)
        return size

    async def _recover(self, exc: DISError, tries: int) -> None:
        """Mend what can be mended, and wait; raise what cannot."""
        reader = self._reader
        if isinstance(exc, CursorExpiredError):
            reader.cursor.drop()
        elif isinstance(exc, SequenceOutOfRangeError):
            generation = reader.cursor.generation
            try:
                position = await self._reset(reader)
            except DISError as again:
                if not again.retryable:
                    raise
                exc = again
            else:
                if reader.cursor.generation == generation:
                    reader.reset(position)
                    self._stats.resets += 1
        elif not (exc.retryable or isinstance(exc, DecodeError)) or (
            isinstance(exc, CircuitOpenError) and exc.refused
        ):
            raise exc
        self._stats.retries += 1
        settings = self._settings
        longest = min(
            settings.retry_backoff_ms * 2 ** min(tries, 30), settings.retry_backoff_max_ms
        )
        # Full jitter; the first renewal of a cursor does not wait at all.
        at_once = tries == 0 and not exc.retryable
        await asyncio.sleep(0 if at_once else random.uniform(0, longest / 1000))  # noqa: S311
