"""Requests: several partitions' batches in one PutRecords, a bounded number in flight."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from aiodis.api.limits import MAX_RECORDS_PER_REQUEST
from aiodis.api.records import Records
from aiodis.errors import DecodeError, DISError
from aiodis.producer.accumulator import Entry
from aiodis.producer.ledger import Ledger
from aiodis.producer.outcome import Next, Verdict, after_error, record_error
from aiodis.transport.exchange import Exchange
from aiodis.wire.codec import PutReply
from aiodis.wire.codec_json import JsonCodec

__all__ = ["Dispatcher"]

# A request refused as a whole is halved until the record at fault is alone. Where nothing at
# all gets through, it was no record's fault, and the search ends.
_SEARCH_LIMIT: Final = 8

_AGAIN: Final = {Verdict.RETRY: Next.RETRY, Verdict.REROUTE: Next.REROUTE}


class _Job:
    """One partition's batch on its way."""

    __slots__ = ("done", "entries", "size")

    def __init__(self, entries: list[Entry], done: asyncio.Future[list[Next]]) -> None:
        self.entries, self.done = entries, done
        self.size = sum(len(entry.data) for entry in entries)


class _Search:
    """How the halving of a refused request goes."""

    __slots__ = ("delivered", "refused")

    def __init__(self) -> None:
        self.delivered = self.refused = 0

    @property
    def hopeless(self) -> bool:
        return self.refused >= _SEARCH_LIMIT and not self.delivered


class Dispatcher:
    """Packs the batches that lanes hand over, sends them, and tells the lanes the outcome."""

    def __init__(
        self,
        exchange: Exchange,
        stream_name: str,
        ledger: Ledger,
        *,
        max_in_flight: int,
        request_bytes: int,
        on_stream_gone: Callable[[DISError], None],
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._exchange, self._stream_name, self._ledger = exchange, stream_name, ledger
        self.request_bytes = request_bytes
        self._on_stream_gone, self._spawn = on_stream_gone, spawn
        self._codec = JsonCodec()
        self._slots = asyncio.Semaphore(max_in_flight)
        self._outbox: deque[_Job] = deque()
        self._filled = asyncio.Event()

    async def deliver(self, entries: list[Entry]) -> list[Next]:
        """Send one partition's batch, and say what becomes of each record.

        Delivered and failed records are settled by then. Cancelled, the batch
        may still be sent.
        """
        job = _Job(entries, asyncio.get_running_loop().create_future())
        self._outbox.append(job)
        self._filled.set()
        return await job.done

    async def run(self) -> None:
        """Send what is handed over, until cancelled."""
        while True:
            await self._filled.wait()
            await self._slots.acquire()
            await asyncio.sleep(0)  # lanes that came due in this same turn travel along
            jobs = self._pack()
            if jobs:
                self._spawn(self._request(jobs))
            else:
                self._slots.release()
            if not self._outbox:
                self._filled.clear()

    def _pack(self) -> list[_Job]:
        jobs: list[_Job] = []
        size = count = 0
        while self._outbox:
            job = self._outbox[0]
            size += job.size
            count += len(job.entries)
            full = size > self.request_bytes or count > MAX_RECORDS_PER_REQUEST
            if jobs and full:
                break
            jobs.append(self._outbox.popleft())
        return jobs

    async def _request(self, jobs: Sequence[_Job]) -> None:
        try:
            nexts = await self._put([e for job in jobs for e in job.entries], _Search())
        except BaseException as exc:
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(exc) if isinstance(exc, Exception) else job.done.cancel()
            raise
        finally:
            self._slots.release()
        start = 0
        for job in jobs:
            end = start + len(job.entries)
            if not job.done.done():
                job.done.set_result(nexts[start:end])
            start = end

    async def _put(self, entries: list[Entry], search: _Search) -> list[Next]:
        body = self._codec.encode_put(self._stream_name, entries)
        self._ledger.stats.requests += 1
        try:
            exchanged = await self._exchange.send(
                Records.put, body=body, deadline=min(entry.deadline for entry in entries)
            )
            reply = self._read(exchanged.answer.body, len(entries))
        except DISError as error:
            return await self._after(error, entries, search)
        search.delivered += 1
        return self._ledger.settle(
            entries, reply.records, attempts=exchanged.attempts, ambiguous=exchanged.ambiguous
        )

    def _read(self, body: bytes, count: int) -> PutReply:
        reply = Records.put.decode(body, status=200)
        if len(reply.records) != count:
            raise DecodeError(
                f"records.put: {count} records sent, {len(reply.records)} results came back",
                status=200,
                head=body,
            )
        return reply

    async def _after(self, error: DISError, entries: list[Entry], search: _Search) -> list[Next]:
        ambiguous = isinstance(error, DecodeError) or bool(getattr(error, "ambiguous", False))
        for entry in entries:
            entry.attempts += 1
            entry.ambiguous = entry.ambiguous or ambiguous
        verdict = after_error(error, entries)
        if verdict is Verdict.SPLIT and not search.hopeless:
            half = len(entries) // 2
            first = await self._put(entries[:half], search)
            return first + await self._put(entries[half:], search)
        if verdict in _AGAIN:
            self._ledger.stats.retried += len(entries)
            return [_AGAIN[verdict]] * len(entries)
        search.refused += 1
        self._ledger.fail(entries, lambda entry: record_error(error, ambiguous=entry.ambiguous))
        if verdict is Verdict.STREAM_GONE:
            self._on_stream_gone(error)
        return [Next.FAILED] * len(entries)
