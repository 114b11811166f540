"""The loop of one partition: cursor, fetch, keep, again.

A partition's trouble is its own: a throttled or failing one waits alone.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, Protocol
from urllib.parse import urlencode

import msgspec

from aiodis.api.records import Records
from aiodis.clock import Clock
from aiodis.config import ConsumerSettings
from aiodis.consumer.meter import Meter
from aiodis.consumer.reader import Reader
from aiodis.consumer.recovery import Remedy, is_passing, remedy
from aiodis.consumer.stats import ConsumerStats
from aiodis.errors import DecodeError, DISError
from aiodis.pacing.budget import ByteBudget
from aiodis.pacing.limiter import PartitionLimiter
from aiodis.record import Batch
from aiodis.transport.exchange import Exchange
from aiodis.wire.codec import GetReply
from aiodis.wire.forms import codec_for, codec_of

__all__ = ["Poller"]

# A fetch that brought nearly all it may bring leaves more behind: ask again at once.
_FULL: Final = 0.5
# So does one of many small records, whose bytes say little.
_MANY: Final = 500

# A record is at most 1 MiB of data, which base64 and JSON make larger: should the service count
# that, then a read of `max_fetch_bytes` may bring nothing where there is something. It grows then.
_MOST_GROWTH: Final = 8

# What a record holds beside its data: measured 166 without a key, 239 with one of 25 characters.
_RECORD_BYTES: Final = 200


class Reset(Protocol):
    """Looks up where a position goes that has left its partition."""

    async def __call__(self, partition_id: str, where: Literal["earliest", "latest"]) -> int: ...


class _Fetched(NamedTuple):
    """How many records came, and whether there are more for sure."""

    records: int
    is_more: bool


_IN_VAIN: Final = _Fetched(1, is_more=True)


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
        meter: Meter,
        on_batch: Callable[[Reader], None],
        reset: Reset,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._exchange, self._stream_name = exchange, stream_name
        self._reader, self._settings = reader, settings
        self._records = Records(exchange)
        self._budget, self._limiter, self._stats, self._meter = budget, limiter, stats, meter
        self._codec = codec_of(settings.wire_format)
        self._on_batch, self._reset = on_batch, reset
        self._room = asyncio.Event()
        self._woken = asyncio.Event()
        self._tries = self._refusals = 0
        self._growth = 1
        # The first pause is longer by chance, or all partitions would ask at the same times for
        # ever: reading 100 MB/s that way takes a sixth more CPU, and bursts of memory.
        self._stretch = 1 + random.random()  # noqa: S311 - no secret

    def poke(self) -> None:
        """Tell the loop that a batch was taken, or that the partition is not withheld any more."""
        self._room.set()

    def wake(self) -> None:
        """Tell it that there is something new to do: the partition was resumed, or moved."""
        self._room.set()
        self._woken.set()

    async def run(self) -> None:
        """Poll until cancelled, or until the partition has expired.

        Raises:
            DISError: what no retry mends, such as a stream that is gone.
        """
        idle = 0
        while True:
            await self._until_room()
            try:
                fetched = await self._fetch()
            except DISError as exc:
                if not await self._recover(exc):
                    return
                continue
            self._tries = self._refusals = 0
            idle = 0 if fetched.records else idle + 1
            if not fetched.is_more:
                wait = self._settings.poll_min_ms * 2 ** min(idle, 10)
                await self._rest(min(wait, self._settings.poll_max_ms) / 1000)

    async def _until_room(self) -> None:
        while self._reader.withheld or len(self._reader.batches) >= self._settings.prefetch_batches:
            self._room.clear()
            await self._room.wait()

    async def _rest(self, seconds: float) -> None:
        """Pause, unless the partition is moved meanwhile."""
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(seconds):
                await self._woken.wait()

    async def _fetch(self) -> _Fetched:
        """Fetch once, when there is room for it."""
        most = min(self._settings.max_fetch_bytes * self._growth, self._budget.limit)
        await self._budget.take(most)
        held = 0
        try:
            if self._reader.withheld:  # while it waited for room
                return _IN_VAIN
            generation = self._reader.cursor.generation
            try:
                reply = await self._ask(most)
            except DISError:
                if self._reader.cursor.generation == generation:
                    raise
                return _IN_VAIN  # the reader moved meanwhile: this was about the old place
            if self._reader.cursor.generation != generation:
                return _IN_VAIN
            size, held = self._keep(reply)
        finally:
            # Many small records hold more than was taken for them; then the budget is overdrawn,
            # and nobody fetches before enough of it is handed out.
            self._budget.give(most - held)
        if size:
            self._meter.fetched(len(reply.records), self._budget.limit - self._budget.free)
            self._meter.tell(self._stats)
            if self._limiter is not None:
                await self._limiter.acquire(round(size * self._stretch))
                self._stretch = 1.0
        return self._judge(size, len(reply.records))

    def _judge(self, size: int, count: int) -> _Fetched:
        """Say whether to ask again at once, and for how much."""
        is_known = self._reader.cursor.position < self._reader.end
        if count:
            self._growth = 1
            is_large = size >= self._settings.max_fetch_bytes * _FULL or count >= _MANY
            return _Fetched(count, is_more=is_large or is_known)
        if is_known:  # there is a record, and it does not fit
            self._growth = min(self._growth * 2, _MOST_GROWTH)
        return _Fetched(0, is_more=False)

    async def _ask(self, most: int) -> GetReply:
        with self._meter.request(self._reader.partition_id) as span:
            token = await self._cursor()
            query = urlencode(
                {
                    "partition-cursor": token,
                    "max_fetch_bytes": most,
                    "app_name": self._settings.app,
                }
            )
            self._stats.fetches += 1
            exchanged = await self._exchange.send(
                Records.get, query=query, content_type=self._codec.content_type
            )
            answer = exchanged.answer
            codec = codec_for(answer.headers.get("Content-Type", ""))
            try:
                reply = codec.decode_get_reply(answer.body)
            except msgspec.MsgspecError as exc:
                raise DecodeError(
                    f"{self._reader.partition_id}: the answer ({len(answer.body)} bytes) is no"
                    f" {codec.name} of records",
                    status=answer.status,
                    head=answer.body,
                ) from exc
            span.set(records=len(reply.records), bytes=len(answer.body))
        return reply

    async def _cursor(self) -> str:
        cursor = self._reader.cursor
        token = cursor.token(self._clock.now(), max_age=self._settings.cursor_max_age_ms / 1000)
        if token is not None:
            return token
        generation = cursor.generation
        # The service counts the five minutes from its own answer, which we see later than it.
        asked_at = self._clock.now()
        self._stats.cursors += 1
        answer = await self._records.get_cursor(
            stream_name=self._stream_name,
            partition_id=self._reader.partition_id,
            cursor_type="AT_SEQUENCE_NUMBER",
            starting_sequence_number=str(cursor.position),
        )
        if not answer.partition_cursor:
            raise DecodeError(
                f"the cursor of {self._reader.partition_id} is empty", status=200, head=b""
            )
        if cursor.generation == generation:
            cursor.take(answer.partition_cursor, asked_at)
        return answer.partition_cursor

    def _keep(self, reply: GetReply) -> tuple[int, int]:
        """Keep what came; give its bytes of data, and those that it holds in memory."""
        now = self._clock.now()
        cursor, records = self._reader.cursor, reply.records
        if not records:
            self._stats.empty_fetches += 1
            cursor.advance(cursor.position, reply.next_partition_cursor, now)
            return 0, 0
        partition_id = self._reader.partition_id
        for record in records:
            record.partition_id = partition_id
        if (deserializer := self._settings.deserializer) is not None:
            for record in records:
                record.deserializer = deserializer
        following = records[-1].sequence_number + 1
        size = sum([len(record.data) for record in records])
        held = size + _RECORD_BYTES * len(records)
        self._stats.records += len(records)
        self._stats.bytes += size
        cursor.advance(following, reply.next_partition_cursor, now)
        self._reader.add(Batch(partition_id, records, following), held)
        self._on_batch(self._reader)
        return size, held

    async def _recover(self, exc: DISError) -> bool:
        """Mend what can be mended, and wait; raise what cannot. False: nothing is left to read."""
        self._refusals = self._refusals + 1 if is_passing(exc) else 0
        at_once = False
        match remedy(exc, self._refusals, self._settings.offset_reset):
            case Remedy.LEAVE:
                return False
            case Remedy.FAIL:
                raise exc
            case Remedy.RENEW:
                self._reader.cursor.drop()
                at_once = self._tries == 0
            case Remedy.RESET:
                try:
                    await self._follow_offset_reset()
                except DISError as again:
                    return await self._recover(again)
                at_once = self._tries == 0
            case Remedy.WAIT:
                pass
        await self._back_off(at_once=at_once)
        return True

    async def _follow_offset_reset(self) -> None:
        where = self._settings.offset_reset
        assert where != "error"
        generation = self._reader.cursor.generation
        position = await self._reset(self._reader.partition_id, where)
        if self._reader.cursor.generation == generation:
            self._reader.reset(position)
            self._stats.resets += 1

    async def _back_off(self, *, at_once: bool) -> None:
        """Pause with full jitter, longer with each failure in a row."""
        settings = self._settings
        longest = min(
            settings.retry_backoff_ms * 2 ** min(self._tries, 30), settings.retry_backoff_max_ms
        )
        self._tries += 1
        self._stats.retries += 1
        await self._rest(0 if at_once else random.uniform(0, longest / 1000))  # noqa: S311
