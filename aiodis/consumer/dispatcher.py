"""Handlers: one batch of a partition at a time, several partitions at once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from aiodis.clock import Clock
from aiodis.consumer.meter import Meter
from aiodis.consumer.reader import Reader
from aiodis.consumer.stats import ConsumerStats
from aiodis.errors import HandlerError
from aiodis.record import Batch, ReceivedRecord

__all__ = ["DeadLetter", "Handler", "HandlerRunner"]

_log = logging.getLogger("aiodis.consumer")

Handler = Callable[[ReceivedRecord], Awaitable[object]]


class DeadLetter(Protocol):
    """Where records go that no retry could handle: a `Producer` is one."""

    async def send_and_wait(self, data: bytes, *, partition_key: str | None = None) -> object: ...


class HandlerRunner:
    """Runs the handler over a partition's batch, in order, with retries.

    A record is finished when the handler returned, or when the record went to
    the dead letters or was skipped; never before.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        retries: int,
        retry_backoff_ms: int,
        retry_backoff_max_ms: int,
        dead_letter: DeadLetter | None,
        on_error: Literal["stop", "skip"],
        may_go_on: Callable[[Reader], bool],
        stats: ConsumerStats,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._handler, self._retries = handler, retries
        self._backoff_ms, self._backoff_max_ms = retry_backoff_ms, retry_backoff_max_ms
        self._dead_letter, self._on_error = dead_letter, on_error
        self._may_go_on = may_go_on
        self._stats, self._meter = stats, meter

    async def handle(self, reader: Reader, batch: Batch, moves: int) -> None:
        """Handle each record of the batch, and move the partition's mark behind it.

        Ends after the record in hand when the consumer closes, or when the
        partition is withheld, lost, or was moved since it had made `moves`.

        Raises:
            HandlerError: a record failed for good and `on_error` is "stop".
        """
        now = self._clock.now
        begun = now()
        with self._meter.span(
            "consumer.handle", partition=reader.partition_id, records=len(batch.records)
        ):
            try:
                for record in batch.records:
                    if reader.withheld or reader.moves != moves or not self._may_go_on(reader):
                        return
                    await self.handle_one(record)
                    reader.progress.finish(record.sequence_number + 1)
                reader.progress.finish(batch.next_sequence_number)
            finally:
                self.worked(now() - begun)

    def worked(self, seconds: float) -> None:
        """Observe that a batch was worked on for so long."""
        self._meter.worked(seconds)
        self._meter.tell(self._stats)

    async def handle_one(self, record: ReceivedRecord) -> None:
        """Call the handler until the record is finished.

        Raises:
            HandlerError: it failed for good and `on_error` is "stop".
        """
        for attempt in range(self._retries + 1):
            try:
                await self._handler(record)
            except (Exception, asyncio.CancelledError) as exc:
                if _is_being_cancelled(exc):
                    raise
                if attempt == self._retries:
                    await self._give_up(record, exc)
                    return
                self._stats.handler_retries += 1
                longest = min(self._backoff_ms * 2 ** min(attempt, 30), self._backoff_max_ms)
                await self._clock.sleep(random.uniform(0, longest / 1000))  # noqa: S311 - jitter
            else:
                self._stats.handled += 1
                return

    async def _give_up(self, record: ReceivedRecord, exc: BaseException) -> None:
        where = f"record {record.sequence_number} of {record.partition_id}"
        if self._dead_letter is not None:
            # Its failure is raised as it is, with the handler's as its context.
            await self._dead_letter.send_and_wait(record.data, partition_key=record.partition_key)
            self._stats.dead_letters += 1
            _log.warning("%s went to the dead letters: %s", where, type(exc).__name__)
        elif self._on_error == "skip":
            self._stats.skipped += 1
            _log.warning("%s was skipped: %s", where, type(exc).__name__)
        else:
            raise HandlerError(
                f"the handler failed on {where} after {self._retries + 1} attempts: "
                f"{type(exc).__name__}"
            ) from exc


def _is_being_cancelled(exc: BaseException) -> bool:
    """Tell a cancellation of this task from one that the handler let out of something it awaited.

    The latter is a failure like any other: passed on, it would end the task
    without an error, and the record with it.
    """
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling() > 0
