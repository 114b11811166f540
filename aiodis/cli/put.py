"""`aiodis put`: lines, or whole files, become records."""

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
import typer

from aiodis.cli.connection import Connection
from aiodis.cli.lines import Chunk, LineError, read_chunks
from aiodis.cli.outcome import NotAllDoneError, run, say
from aiodis.cli.output import print_json
from aiodis.cli.parameters import one_of
from aiodis.errors import RecordError
from aiodis.producer import Producer, Receipt

__all__ = ["key_reader", "put"]

_SHOWN_FAILURES: Final = 3

MissingKey = Literal["stop", "skip", "none"]
Ordering = Literal["partition", "key", "none"]
RateLimit = Literal["adaptive", "fixed", "off"]
Compression = Literal["none", "lz4", "zstd", "snappy"]
WireFormat = Literal["json", "protobuf"]

KeyReader = Callable[[bytes], str | None]


def put(
    connection: Connection,
    stream: Annotated[str, typer.Argument(help="The stream.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files to read; stdin if there is none, or for -.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Partition key of all records.")
    ] = None,
    key_field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Take the key from this field of JSON lines, such as user.id."
        ),
    ] = None,
    key_regex: Annotated[
        str | None,
        typer.Option(
            metavar="RE", help="Take the key from what this finds: its first group, or all of it."
        ),
    ] = None,
    missing_key: Annotated[
        MissingKey,
        typer.Option(
            metavar=one_of(MissingKey),
            help="What to do with a line without a key; none sends it without one.",
        ),
    ] = "stop",
    partition_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Put all records into this partition.")
    ] = None,
    whole_files: Annotated[
        bool, typer.Option("--whole-files", help="Make one record of each file, as it is.")
    ] = False,
    ordering: Annotated[
        Ordering, typer.Option(metavar=one_of(Ordering), help="The order that is kept.")
    ] = "partition",
    rate_limit: Annotated[
        RateLimit,
        typer.Option(metavar=one_of(RateLimit), help="Whether to keep to the service's limits."),
    ] = "adaptive",
    compression: Annotated[
        Compression, typer.Option(metavar=one_of(Compression), help="How requests are compressed.")
    ] = "none",
    wire_format: Annotated[
        WireFormat, typer.Option(metavar=one_of(WireFormat), help="The form of requests.")
    ] = "json",
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on behind a record that was not delivered.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and no summary.")
    ] = False,
) -> None:
    """Put lines of files or stdin into a stream, a record each.

    Empty lines are passed over. Nothing is lost silently: the summary counts what was
    delivered, and the exit code is 1 unless that is all.
    """
    given = [
        name
        for name, value in (("--key", key), ("--key-field", key_field), ("--key-regex", key_regex))
        if value is not None
    ]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} do not go together")
    try:
        read_key = key_reader(key, key_field, key_regex)
    except re.error as exc:
        raise typer.BadParameter(str(exc), param_hint="--key-regex") from None
    job = _Put(
        sources=[None if str(path) == "-" else path for path in files or [Path("-")]],
        whole=whole_files,
        read_key=read_key,
        missing_key=missing_key,
        partition_id=partition_id,
        keep_going=keep_going,
    )
    settings = {
        "ordering": ordering,
        "rate_limit": rate_limit,
        "compression": compression,
        "wire_format": wire_format,
        "on_ordered_failure": "continue",
    }
    run(_run(connection, stream, job, settings, quiet=quiet))


def key_reader(key: str | None, field: str | None, regex: str | None) -> KeyReader | None:
    """Give what finds a line's key, which gives None where there is none; None: no keys at all.

    Raises:
        re.error: the expression cannot be read.
    """
    if field is not None:
        return partial(_field_key, field.split("."))
    if regex is not None:
        return partial(_regex_key, re.compile(regex.encode()))
    return None if key is None else lambda _: key


def _field_key(path: list[str], line: bytes) -> str | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or isinstance(value, (dict, list)):
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _regex_key(pattern: re.Pattern[bytes], line: bytes) -> str | None:
    match = pattern.search(line)
    if match is None:
        return None
    found: bytes | None = match[1] if pattern.groups else match[0]
    return None if found is None else found.decode(errors="backslashreplace")


class _Put:
    """What is read, and what became of it."""

    def __init__(
        self,
        *,
        sources: list[Path | None],
        whole: bool,
        read_key: KeyReader | None,
        missing_key: MissingKey,
        partition_id: str | None,
        keep_going: bool,
    ) -> None:
        self.sources, self._whole = sources, whole
        self._read_key, self._missing_key = read_key, missing_key
        self._partition_id, self._keep_going = partition_id, keep_going
        self.accepted = self.passed_over = self.without_key = self.bytes = 0
        self.failures: list[str] = []
        self.failed = 0

    async def send_all(self, producer: Producer, tell: Callable[[Chunk], None]) -> None:
        """Send every line; ends early at the first record that failed, unless it keeps going.

        Raises:
            LineError: a line has no key, or is longer than a record can be.
        """
        async with contextlib.aclosing(read_chunks(self.sources, whole=self._whole)) as chunks:
            async for chunk in chunks:
                for number, line in enumerate(chunk.lines, chunk.first_line):
                    await self._send(producer, line, chunk.source, number)
                tell(chunk)
                if self.failed and not self._keep_going:
                    return

    async def _send(self, producer: Producer, line: bytes, source: str, number: int) -> None:
        if not line:
            self.passed_over += 1
            return
        key = None
        if self._read_key is not None:
            key = self._read_key(line)
            if key is None and not self._may_go_without(source, number):
                return
        receipt = await producer.send(line, partition_key=key, partition_id=self._partition_id)
        receipt.add_done_callback(partial(self._note, source, number))
        self.accepted += 1
        self.bytes += len(line)

    def _may_go_without(self, source: str, number: int) -> bool:
        if self._missing_key == "stop":
            raise LineError(source, number, "it has no key; see --missing-key")
        self.without_key += 1
        return self._missing_key == "none"

    def _note(self, source: str, number: int, receipt: Receipt) -> None:
        error: RecordError | None = receipt.exception()
        if error is None:
            return
        self.failed += 1
        if len(self.failures) < _SHOWN_FAILURES:
            doubt = " (it may have been written)" if error.ambiguous else ""
            self.failures.append(f"{source}:{number}: {error}{doubt}")


async def _run(
    connection: Connection, stream: str, job: _Put, settings: dict[str, Any], *, quiet: bool
) -> None:
    begun = time.monotonic()
    async with connection.client() as dis:
        producer = dis.producer(stream, **settings)
        await producer.start()
        try:
            with _progress(job, shown=not quiet and sys.stderr.isatty()) as tell:
                await job.send_all(producer, tell)
        finally:
            # Whatever ended the reading, what was accepted is still sent and told of; each
            # record has its outcome behind `close`, which an impatient user may cut short.
            try:
                await producer.close()
            finally:
                _tell(connection, stream, job, time.monotonic() - begun, quiet=quiet)
    if job.failed:
        raise NotAllDoneError(f"{job.failed} records were not delivered")


def _tell(connection: Connection, stream: str, job: _Put, seconds: float, *, quiet: bool) -> None:
    delivered = job.accepted - job.failed
    for line in job.failures:
        say(line)
    if connection.json:
        print_json(_summary(stream, job, delivered, seconds))
    elif not quiet:
        say(_told(stream, job, delivered, seconds))


def _summary(stream: str, job: _Put, delivered: int, seconds: float) -> dict[str, Any]:
    return {
        "stream_name": stream,
        "delivered": delivered,
        "failed": job.failed,
        "bytes": job.bytes,
        "empty_lines": job.passed_over,
        "without_key": job.without_key,
        "seconds": round(seconds, 3),
    }


def _told(stream: str, job: _Put, delivered: int, seconds: float) -> str:
    rate = delivered / max(seconds, 1e-9)
    what = f"{delivered:,} records ({_size(job.bytes)})"
    parts = [f"{what} put into {stream} in {seconds:.1f} s, {rate:,.0f} a second"]
    if job.failed:
        parts.append(f"{job.failed:,} not delivered")
    if job.passed_over:
        parts.append(f"{job.passed_over:,} empty lines passed over")
    if job.without_key:
        parts.append(f"{job.without_key:,} without a key")
    return "; ".join(parts)


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


@contextlib.contextmanager
def _progress(job: _Put, *, shown: bool) -> Iterator[Callable[[Chunk], None]]:
    """Show how far the reading is, on a terminal."""
    if not shown:
        yield lambda _: None
        return
    import rich.progress as bars  # noqa: PLC0415 - only a terminal pays for it
    from rich.console import Console  # noqa: PLC0415

    columns = (
        bars.TextColumn("{task.fields[records]:,} records"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeElapsedColumn(),
    )
    shown_on = Console(stderr=True)
    with bars.Progress(*columns, console=shown_on, transient=True) as progress:
        task = progress.add_task("put", total=_total(job.sources), records=0)

        def tell(chunk: Chunk) -> None:
            progress.update(task, advance=chunk.size, records=job.accepted)

        yield tell


def _total(sources: list[Path | None]) -> int | None:
    """Add up the bytes to read, if that is known."""
    if any(path is None or not path.is_file() for path in sources):
        return None
    return sum(path.stat().st_size for path in sources if path is not None)
