"""Segments: the pieces a log is written in, and removed in; in files or in memory.

A segment grows at its end only. A failed append leaves it as it was: what the
system did write of it is cut off, at once or, if that fails too, before the next
append. What the process leaves behind when it dies in between is a torn tail,
which the next start cuts.
"""

import os
import re
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from aiodis.server.storage.frame import LogDamagedError

__all__ = [
    "FileSegment",
    "MemorySegment",
    "Segment",
    "find_segments",
    "has_segments",
    "sync_file",
    "sync_folder",
]

_NAME: Final = re.compile(r"([0-9]{10})\.log")
_FLAGS: Final = os.O_RDWR | os.O_APPEND
_MOST_BUFFERS: Final = 512
"""A vectored write takes at most IOV_MAX buffers: 1024 on Linux and macOS."""

if sys.platform == "darwin":
    _sync = os.fsync
else:
    _sync = os.fdatasync


class Segment(Protocol):
    """What a log needs of a segment.

    `newest_ms` is the arrival time of the last frame of records, None without
    one; the log sets it.
    """

    path: Path
    """What damage in it is reported of."""
    serial: int
    size: int
    newest_ms: int | None
    dirty: bool
    """Whether bytes were written that `sync` has not brought to the disk."""

    @property
    def rests(self) -> bool:
        """Whether it holds no file descriptor now."""

    def append(self, buffers: Sequence[bytes]) -> None:
        """Write all at the end, or raise OSError and leave the segment as it was."""

    def read(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes, all of one buffer as it was appended."""

    def content(self) -> bytes:
        """Give all of it."""

    def sync(self) -> None:
        """Bring it to the disk. May run in another thread than the rest."""

    def rest(self) -> None:
        """Give the file descriptor back; the next read or append takes one again."""

    def remove(self) -> None:
        """Delete it for good."""


class FileSegment:
    """A segment in a file named by its serial."""

    def __init__(self, path: Path, serial: int, size: int) -> None:
        self.path, self.serial, self.size = path, serial, size
        self.newest_ms: int | None = None
        self.dirty = False
        self._fd: int | None = None
        self._torn = False  # bytes of a failed append may lie behind `size`

    @classmethod
    def create(cls, folder: Path, serial: int) -> "FileSegment":
        """Make a new, empty file. It must not exist."""
        segment = cls(folder / f"{serial:010d}.log", serial, 0)
        segment._fd = os.open(segment.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        return segment

    @property
    def rests(self) -> bool:
        return self._fd is None

    def append(self, buffers: Sequence[bytes]) -> None:
        self._mend()
        self._torn = True
        try:
            _write_all(self._open(), buffers)
        except BaseException:
            with suppress(OSError):
                self._mend()
            raise
        self._torn = False
        self.size += sum(map(len, buffers))
        self.dirty = True

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._open(), length, offset)
        if len(data) != length:
            raise LogDamagedError(self.path, offset, f"{len(data)} of {length} bytes are there")
        return data

    def content(self) -> bytes:
        return self.read(0, self.size)

    def truncate(self, size: int) -> None:
        os.truncate(self.path, size)
        self.size = size
        self.dirty = True

    def sync(self) -> None:
        # By a descriptor of its own, as the other thread may close ours meanwhile. The
        # mark goes first: what is appended during the call must set it again.
        self.dirty = False
        try:
            sync_file(self.path)
        except FileNotFoundError:  # removed meanwhile
            return
        except OSError:
            self.dirty = True
            raise

    def rest(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.dirty = False
        self.rest()

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, _FLAGS)
        return self._fd

    def _mend(self) -> None:
        if self._torn:
            os.ftruncate(self._open(), self.size)
            self._torn = False


class MemorySegment:
    """A segment in memory: the buffers as they came. A read must lie within one of them."""

    rests = False

    def __init__(self, serial: int) -> None:
        self.path = Path("memory") / f"{serial:010d}.log"
        self.serial = serial
        self.size = 0
        self.newest_ms: int | None = None
        self.dirty = False
        self._starts = array("Q")
        self._buffers: list[bytes] = []

    def append(self, buffers: Sequence[bytes]) -> None:
        for buffer in buffers:
            self._starts.append(self.size)
            self._buffers.append(buffer)
            self.size += len(buffer)

    def read(self, offset: int, length: int) -> bytes:
        place = bisect_right(self._starts, offset) - 1
        start = offset - self._starts[place]
        return self._buffers[place][start : start + length]

    def content(self) -> bytes:
        if len(self._buffers) != 1:
            self._buffers = [b"".join(self._buffers)]
            self._starts = array("Q", [0])
        return self._buffers[0]

    def sync(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def remove(self) -> None:
        pass


def find_segments(folder: Path) -> list[FileSegment]:
    """List the segments of a folder, oldest first; files of other names are ignored.

    Raises:
        LogDamagedError: a serial is missing between two that are there.
    """
    paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    segments = [FileSegment(path, int(path.stem), path.stat().st_size) for path in paths]
    for before, segment in pairwise(segments):
        if segment.serial != before.serial + 1:
            missing = folder / f"{before.serial + 1:010d}.log"
            raise LogDamagedError(missing, 0, "this segment is missing")
    return segments


def has_segments(folder: Path, *, least_bytes: int) -> bool:
    """Say whether a folder is there and holds a segment of that size or more."""
    return folder.is_dir() and any(
        _NAME.fullmatch(path.name) and path.stat().st_size >= least_bytes
        for path in folder.iterdir()
    )


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Bring the content of a file to the disk, all that any process has written to it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        _sync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, buffers: Sequence[bytes]) -> None:
    if len(buffers) > _MOST_BUFFERS:
        buffers = [b"".join(buffers)]
    written = os.writev(fd, buffers)
    if written < sum(map(len, buffers)):
        # The system tells why a write was short only when asked to go on.
        rest = memoryview(b"".join(buffers))[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]
