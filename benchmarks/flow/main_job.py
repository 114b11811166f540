"""The main job: a producer, an embedded DIS, and a consumer that is killed and resumes.

Three processes: this one sends; `aiodis serve` stores; the reader reads, is
killed with `kill -9` when half of the events have come, and is started again.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from aiodis import AlreadyExistsError, DISClient, DISError, FlushReport, Receipt
from aiodis.producer import ProducerStats
from benchmarks.flow.flights import read_flights
from benchmarks.flow.reader import STREAM
from benchmarks.flow.tally import Tally, tally

_ACCESS_KEY, _SECRET_KEY = "DEMOKEY", "demo-secret"
_PROJECT = "0123456789abcdef0123456789abcdef"
_NUMBER_BYTES = array("I").itemsize


class JobError(Exception):
    """The job could not run, or did not end."""


def main(events: int, partitions: int, deadline: int, keep: Path | None) -> int:
    """Run the job and print its figures; give the exit status."""
    console = Console()
    try:
        with contextlib.ExitStack() as stack:
            folder = keep or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="aiodis-"))
            )
            folder.mkdir(parents=True, exist_ok=True)
            return asyncio.run(_run(console, folder, events, partitions, deadline))
    except (JobError, DISError, FileNotFoundError) as exc:
        print(f"main-job: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("main-job: interrupted", file=sys.stderr)
        return 130


async def _run(console: Console, folder: Path, events: int, partitions: int, deadline: int) -> int:
    with _server(folder) as endpoint:
        os.environ.update(
            AIODIS_ENDPOINT=endpoint,
            AIODIS_PROJECT_ID=_PROJECT,
            HUAWEICLOUD_SDK_AK=_ACCESS_KEY,
            HUAWEICLOUD_SDK_SK=_SECRET_KEY,
        )
        job = _Job(console, folder, events, deadline)
        async with DISClient.from_env() as dis:
            with contextlib.suppress(AlreadyExistsError):
                await dis.streams.create(stream_name=STREAM, partition_count=partitions)
            await dis.streams.wait_until_running(STREAM)
            started = time.monotonic()
            await job.run(dis)
            seconds = time.monotonic() - started
    return job.report(seconds, partitions)


class _Job:
    """One run. Invariant: `keys[n]` is the key of the event with number `n`."""

    def __init__(self, console: Console, folder: Path, events: int, deadline: int) -> None:
        self._console, self._events = console, events
        self._log = folder / "reader.log"
        self._file = folder / "received"
        self._deadline = time.monotonic() + deadline
        self._keys: list[str] = []
        self._sent = FlushReport(0, 0, 0)
        self._stats = ProducerStats()
        self._killed_at = 0

    async def run(self, dis: DISClient) -> None:
        """Send and read, until all has come or time is up."""
        async with _progress(self._console, self._events) as (progress, accepted, received):
            sending = asyncio.create_task(self._send(dis))
            try:
                async for count in self._read(sending):
                    progress.update(accepted, completed=len(self._keys))
                    progress.update(received, completed=min(count, self._events))
                await sending
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, dis: DISClient) -> None:
        async with dis.producer(STREAM) as producer:
            receipts: list[Receipt] = []
            for event in read_flights(self._events):
                receipts.append(await producer.send(event.data, partition_key=event.key))
                self._keys.append(event.key)
                self._stats = producer.stats() if event.number % 1000 == 0 else self._stats
            self._sent = await producer.flush()
            self._stats = producer.stats()
            places = {await receipt for receipt in receipts if receipt.exception() is None}
            if len(places) != self._sent.delivered:
                raise JobError("two receipts name the same place")
        self._events = len(self._keys)

    async def _read(self, sending: asyncio.Task[None]) -> AsyncIterator[int]:
        """Run the reader, kill it half way, run it again; give how much came, now and then."""
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(_process(self._log, "-m", *self._command()))
            while not (sending.done() and self._killed_at and self._all_came()):
                self._check(sending, reader)
                count = self._count()
                if not self._killed_at and count >= self._events // 2:
                    os.kill(reader.pid, signal.SIGKILL)
                    reader.wait()
                    self._killed_at = count
                    self._console.print(
                        f"reader killed with kill -9 at {count:,}, and started again"
                    )
                    reader = stack.enter_context(_process(self._log, "-m", *self._command()))
                yield count
                await asyncio.sleep(0.1)
            yield self._count()

    def _command(self) -> tuple[str, str]:
        return "benchmarks.flow.reader", str(self._file)

    def _check(self, sending: asyncio.Task[None], reader: "subprocess.Popen[bytes]") -> None:
        if sending.done() and (exc := sending.exception()) is not None:
            raise exc
        if reader.poll() is not None:
            raise JobError(f"the reader ended by itself:\n{self._log.read_text()[-2000:]}")
        if time.monotonic() > self._deadline:
            raise JobError(f"not done in time: {self._count():,} of {self._events:,} received")

    def _count(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self._file.stat().st_size // _NUMBER_BYTES
        return 0

    def _all_came(self) -> bool:
        # Duplicates count in the size of the file, so it only says when looking is worth it.
        delivered = self._sent.delivered
        return self._count() >= delivered and len(set(self._numbers())) >= delivered

    def _numbers(self) -> "array[int]":
        numbers = array("I")
        raw = self._file.read_bytes()
        numbers.frombytes(raw[: len(raw) // _NUMBER_BYTES * _NUMBER_BYTES])
        return numbers

    def report(self, seconds: float, partitions: int) -> int:
        """Print the table and the line of JSON; give the exit status."""
        found = tally(self._keys, self._numbers())
        self._console.print(self._table(found, seconds, partitions))
        print(
            orjson.dumps(
                {
                    "events": len(self._keys),
                    "delivered": self._sent.delivered,
                    "received": found.received,
                    "lost": found.lost,
                    "duplicates": found.duplicates,
                    "out_of_order_keys": found.out_of_order_keys,
                    "seconds": round(seconds, 1),
                }
            ).decode()
        )
        return 1 if found.lost or found.out_of_order_keys or self._sent.failed else 0

    def _table(self, found: Tally, seconds: float, partitions: int) -> Table:
        stats = self._stats
        table = Table(title="The main job", show_header=False)
        rows = {
            "events, keyed by aircraft": f"{len(self._keys):,} ({len(set(self._keys)):,} keys)",
            "partitions (COMMON, limits on)": f"{partitions}",
            "delivered": f"{self._sent.delivered:,} in {stats.requests:,} requests",
            "failed · retried · throttled": f"{self._sent.failed} · {stats.retried} · "
            f"{stats.throttled}",
            "reader killed at": f"{self._killed_at:,}",
            "received": f"{found.received:,}",
            "lost": f"{found.lost}",
            "duplicates (read, not yet committed)": f"{found.duplicates:,}",
            "keys out of order": f"{found.out_of_order_keys}",
            "seconds": f"{seconds:.1f} ({len(self._keys) / seconds:,.0f} events/s)",
        }
        for row in rows.items():
            table.add_row(*row)
        return table


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Run `aiodis serve` on a fresh folder; give its endpoint."""
    ready, log = folder / "ready", folder / "server.log"
    arguments = ["serve", "--port", "0", "--data", str(folder / "data"), "--ready-file", str(ready)]
    keys = ["--project-id", _PROJECT, "--access-key", _ACCESS_KEY, "--secret-key", _SECRET_KEY]
    with _process(log, "-m", "aiodis", *arguments, *keys) as server:
        until = time.monotonic() + 30
        while not ready.exists():
            if server.poll() is not None or time.monotonic() > until:
                raise JobError(f"the server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield ready.read_text().strip()


@contextlib.contextmanager
def _process(log: Path, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run Python with the arguments; end it with SIGTERM, and with SIGKILL if that is ignored."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def _progress(
    console: Console, total: int
) -> "AsyncIterator[tuple[Progress, TaskID, TaskID]]":
    """Show two bars on a terminal, and a line now and then elsewhere."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        accepted = progress.add_task("sent", total=total)
        received = progress.add_task("received", total=total)
        lines = asyncio.create_task(_lines(progress)) if not console.is_terminal else None
        try:
            yield progress, accepted, received
        finally:
            if lines is not None:
                lines.cancel()


async def _lines(progress: Progress) -> None:
    while True:
        await asyncio.sleep(2)
        sent, received = progress.tasks
        print(f"sent {sent.completed:,.0f}, received {received.completed:,.0f}", flush=True)
