"""Lines of files and of stdin, a chunk at a time, without holding more than a few chunks."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from aiodis.api.records import MAX_RECORD_BYTES
from aiodis.errors import DISError

__all__ = ["Chunk", "LineError", "LineSplitter", "read_chunks"]

_READ_BYTES: Final = 256 * 1024
_CHUNKS_AHEAD: Final = 4
_TOO_LONG: Final = f"more than {MAX_RECORD_BYTES} bytes, which is the most a record has"


class Chunk(NamedTuple):
    """Lines that follow each other in one source."""

    source: str
    first_line: int
    lines: list[bytes]
    size: int
    """Bytes read for them."""


class LineError(DISError):
    """A line, or a file, that cannot be a record; what came before it can be sent."""

    def __init__(self, source: str, number: int | None, rule: str) -> None:
        super().__init__(f"{source}:{number}: {rule}" if number else f"{source}: {rule}")


class LineSplitter:
    """Makes lines of what is read, in whatever pieces. Plain code.

    A line ends with a newline, with or without a carriage return before it; both
    are left out.

    Raises:
        LineError: a line is longer than a record can be; what follows is not kept.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._rest = b""
        self._line = 1

    def feed(self, piece: bytes) -> Chunk | None:
        """Take a piece in; give the lines that it ends, if any."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_RECORD_BYTES + 1:  # a carriage return may be its last byte
            raise self._too_long(len(lines))
        return self._chunk(lines, len(piece))

    def end(self) -> Chunk | None:
        """Give the last line, if no newline ended it."""
        rest, self._rest = self._rest, b""
        return self._chunk([rest] if rest else [], 0)

    def _chunk(self, lines: list[bytes], size: int) -> Chunk | None:
        if not lines:
            return None
        for index, line in enumerate(lines):
            if len(line) > MAX_RECORD_BYTES and len(line.removesuffix(b"\r")) > MAX_RECORD_BYTES:
                raise self._too_long(index)
        chunk = Chunk(self._source, self._line, [li.removesuffix(b"\r") for li in lines], size)
        self._line += len(lines)
        return chunk

    def _too_long(self, index: int) -> LineError:
        return LineError(self._source, self._line + index, _TOO_LONG)


async def read_chunks(sources: list[Path | None], *, whole: bool) -> AsyncGenerator[Chunk]:
    """Read sources one after the other; None is stdin. `whole` makes a line of each.

    A thread reads, since a pipe or a terminal may keep it waiting, and is left behind
    when the reading ends early. At most a few chunks are held.

    Raises:
        OSError: a source cannot be read.
        LineError: a line, or a whole file, is longer than a record can be.
    """
    handover = _Handover(asyncio.get_running_loop())
    work = partial(handover.fill, (c for source in sources for c in _chunks(source, whole=whole)))
    threading.Thread(target=work, name="aiodis-lines", daemon=True).start()
    try:
        while (item := await handover.ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            handover.room.release()
    finally:
        handover.stop()


class _Handover:
    """Brings chunks from a thread to the loop, a few ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ahead: asyncio.Queue[Chunk | BaseException | None] = asyncio.Queue()
        self.room = threading.Semaphore(_CHUNKS_AHEAD)
        self._loop = loop
        self._stopped = False

    def fill(self, chunks: Iterator[Chunk]) -> None:
        """Hand over all chunks, then None, or what ended them; the thread's work."""
        try:
            for chunk in chunks:
                self._put(chunk)
                if self._stopped:
                    return
        except BaseException as exc:  # noqa: BLE001 - whoever waits for the chunks gets it
            self._put(exc)
        else:
            self._put(None)

    def stop(self) -> None:
        """Take nothing more."""
        self._stopped = True
        self.room.release()

    def _put(self, item: Chunk | BaseException | None) -> None:
        self.room.acquire()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            if not self._stopped:
                self._loop.call_soon_threadsafe(self.ahead.put_nowait, item)


def _chunks(source: Path | None, *, whole: bool) -> Iterator[Chunk]:
    name = "stdin" if source is None else str(source)
    # By its number, not through `sys.stdin`: a thread that still waits inside that object
    # when Python ends makes the end a crash.
    number = sys.stdin.fileno() if source is None else os.open(source, os.O_RDONLY)
    try:
        yield from _whole(number, name) if whole else _lines(number, name)
    finally:
        if source is not None:
            os.close(number)


def _lines(number: int, name: str) -> Iterator[Chunk]:
    splitter = LineSplitter(name)
    while piece := os.read(number, _READ_BYTES):
        if chunk := splitter.feed(piece):
            yield chunk
    if chunk := splitter.end():
        yield chunk


def _whole(number: int, name: str) -> Iterator[Chunk]:
    pieces: list[bytes] = []
    size = 0
    while piece := os.read(number, _READ_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_RECORD_BYTES:
            raise LineError(name, None, _TOO_LONG)
    yield Chunk(name, 1, [b"".join(pieces)], size)
