"""Requests: several partitions' batches in one PutRecords, a bounded number in flight."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, NamedTuple

import msgspec

from aiodis.api.limits import MAX_RECORDS_PER_REQUEST
from aiodis.api.records import Records
from aiodis.clock import Clock
from aiodis.config import ProducerSettings
from aiodis.errors import DecodeError, DISError
from aiodis.producer.accumulator import Entry
from aiodis.producer.ledger import Ledger
from aiodis.producer.outcome import Next, Verdict, after_error, record_error
from aiodis.record import RecordMetadata
from aiodis.transport.exchange import Exchange
from aiodis.transport.session import MAX_ANSWER_BYTES, Answer
from aiodis.wire.codec import RecordResult
from aiodis.wire.compression import compress, decompress
from aiodis.wire.forms import codec_for, codec_of

__all__ = ["Dispatcher"]

# A request refused as a whole is halved until the record at fault is alone. Where nothing at
# all gets through, it was no record's fault, and the search ends.
_SEARCH_LIMIT: Final = 8

_AGAIN: Final = {Verdict.RETRY: Next.RETRY, Verdict.REROUTE: Next.REROUTE}


class _Job:
    """One partition's batch on its way, and its size in bytes of data."""

    __slots__ = ("done", "entries", "is_fresh", "size")

    def __init__(
        self,
        entries: list[Entry],
        size: int,
        done: asyncio.Future[list[Next] | None],
        *,
        is_fresh: bool,
    ) -> None:
        self.entries, self.size, self.done, self.is_fresh = entries, size, done, is_fresh


class _Answered(NamedTuple):
    """The answer to one request, and what earlier tries met, as in `Exchanged`."""

    results: Sequence[RecordResult]
    attempts: int
    ambiguous: bool
    throttled: bool
    is_clean: bool


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
        settings: ProducerSettings,
        request_bytes: int,
        on_stream_gone: Callable[[DISError], None],
        spawn: Callable[[Coroutine[None, None, None]], object],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._exchange, self._stream_name, self._ledger = exchange, stream_name, ledger
        self.request_bytes = request_bytes
        self.codec = codec_of(settings.wire_format)
        self._compression = settings.compression
        self._timeout = settings.delivery_timeout_ms / 1000
        self._on_stream_gone, self._spawn = on_stream_gone, spawn
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._outbox: deque[_Job] = deque()
        self._filled = asyncio.Event()

    async def deliver(
        self, entries: list[Entry], size: int, *, is_fresh: bool
    ) -> list[Next] | None:
        """Send one partition's batch, and say what becomes of each record.

        None says that all were delivered. Delivered and failed records are
        settled by then. Cancelled, the batch may still be sent.
        """
        done = asyncio.get_running_loop().create_future()
        self._outbox.append(_Job(entries, size, done, is_fresh=is_fresh))
        self._filled.set()
        nexts: list[Next] | None = await done
        return nexts

    def expire(self, now: float) -> None:
        """Fail the records past their deadline in batches that wait for their turn."""
        for job in [job for job in self._outbox if job.entries[0].deadline <= now]:
            self._outbox.remove(job)
            self._ledger.expire(job.entries, now)
            _end(job, [Next.FAILED if entry.settled else Next.RETRY for entry in job.entries])

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

    async def _request(self, jobs: list[_Job]) -> None:
        try:
            await self._carry_out(jobs)
        except BaseException as exc:
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(exc) if isinstance(exc, Exception) else job.done.cancel()
            raise
        finally:
            self._slots.release()

    async def _carry_out(self, jobs: list[_Job]) -> None:
        begun = self._clock.now()
        try:
            answered = await self._put(
                [job.entries for job in jobs], min(job.entries[0].deadline for job in jobs)
            )
        except DISError as error:
            entries = [entry for job in jobs for entry in job.entries]
            nexts = await self._after(error, entries, _Search())
            start = 0
            for job in jobs:
                _end(job, nexts[start : start + len(job.entries)])
                start += len(job.entries)
            return
        now = self._clock.now()
        oldest = min(job.entries[0].deadline for job in jobs) - self._timeout
        self._ledger.meter.took(now - begun, now - oldest)
        start = 0
        for job in jobs:
            if answered.throttled:
                job.entries[0].route.lane.slow_down()
            part = answered.results[start : start + len(job.entries)]
            start += len(job.entries)
            if not job.done.done():  # else its lane is gone, and its records have their outcome
                _end(
                    job,
                    self._ledger.settle(
                        job.entries,
                        part,
                        job.size,
                        attempts=answered.attempts,
                        ambiguous=answered.ambiguous,
                        is_clean=job.is_fresh and answered.is_clean,
                    ),
                )

    async def _put(self, batches: list[list[Entry]], deadline: float) -> _Answered:
        """Send one request of several partitions' batches."""
        body, headers = compress(
            self.codec.encode_batches(self._stream_name, batches), self._compression
        )
        ledger = self._ledger
        ledger.stats.requests += 1
        ledger.meter.buffered(ledger.buffer.limit - ledger.buffer.free)
        counts = [len(batch) for batch in batches]
        with ledger.meter.request(counts, len(body)) as span:
            answer, attempts, ambiguous, throttled = await self._exchange.send(
                Records.put,
                body=body,
                deadline=deadline,
                content_type=self.codec.content_type,
                headers=headers,
            )
            try:
                results = self._read(answer, sum(counts))
            except DecodeError as exc:
                exc.tries = attempts
                raise
            span.set(attempts=attempts)
        is_clean = isinstance(results[0], RecordMetadata)
        return _Answered(results, attempts, ambiguous, throttled, is_clean)

    def _read(self, answer: Answer, count: int) -> Sequence[RecordResult]:
        codec = codec_for(answer.headers.get("Content-Type", ""))
        try:
            results = codec.decode_results(_unpacked(answer))
        except (msgspec.MsgspecError, ValueError) as exc:
            raise _unreadable(answer, f"the answer is no {codec.name} of results") from exc
        if len(results) != count:
            raise _unreadable(answer, f"{count} records sent, {len(results)} results came back")
        return results

    async def _after(self, error: DISError, entries: list[Entry], search: _Search) -> list[Next]:
        """Decide on a request that failed as a whole; say what becomes of each record."""
        ambiguous = isinstance(error, DecodeError) or bool(getattr(error, "ambiguous", False))
        tries: int = getattr(error, "tries", 1)
        for entry in entries:
            entry.attempts += tries
            entry.ambiguous = entry.ambiguous or ambiguous
        verdict = after_error(error, entries)
        if verdict is Verdict.SPLIT and not search.hopeless:
            half = len(entries) // 2
            first = await self._again(entries[:half], search)
            return first + await self._again(entries[half:], search)
        if verdict in _AGAIN:
            self._ledger.again(0, len(entries))
            return [_AGAIN[verdict]] * len(entries)
        search.refused += 1
        gone = verdict is Verdict.STREAM_GONE
        self._ledger.fail(
            entries,
            lambda entry: record_error(error, ambiguous=entry.ambiguous),
            "stream_gone" if gone else "refused",
        )
        if gone:
            self._on_stream_gone(error)
        return [Next.FAILED] * len(entries)

    async def _again(self, entries: list[Entry], search: _Search) -> list[Next]:
        """Send a part of a request that was refused as a whole."""
        try:
            answered = await self._put([entries], min(entry.deadline for entry in entries))
        except DISError as error:
            return await self._after(error, entries, search)
        search.delivered += 1
        nexts = [
            self._ledger.settle(
                [entry],
                [result],
                len(entry.data),
                attempts=answered.attempts,
                ambiguous=answered.ambiguous,
                is_clean=False,
            )
            for entry, result in zip(entries, answered.results, strict=True)
        ]
        return [Next.DELIVERED if found is None else found[0] for found in nexts]


def _end(job: _Job, nexts: list[Next] | None) -> None:
    if not job.done.done():
        job.done.set_result(nexts)


def _unpacked(answer: Answer) -> bytes:
    # Compressing a request asks for a compressed answer, as the vendor's client does; that the
    # service gives one was never seen. The HTTP library unpacks what it knows itself.
    if answer.headers.get("Content-Encoding", "") in {"lz4", "snappy"}:
        return decompress(answer.body, answer.headers, MAX_ANSWER_BYTES)
    return answer.body


def _unreadable(answer: Answer, why: str) -> DecodeError:
    return DecodeError(f"records.put: {why}", status=answer.status, head=answer.body)
