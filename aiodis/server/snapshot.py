"""What a server held at one moment: kept in memory, pickled, sent, or in a file."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from aiodis.server.content import Content, StateError

__all__ = ["Snapshot", "SnapshotError"]

_MAGIC: Final = b"aiodis snapshot 1\n"
_CRC_BYTES: Final = 4


class SnapshotError(StateError, ValueError):
    """It is no snapshot, or not one for this server. Nothing was changed."""


class _Kept(msgspec.Struct):
    projects: dict[str, Content]


class Snapshot:
    """The streams with their records, apps, checkpoints, … of some projects of a server.

    It stays as it is whatever the server does, and may be restored any number of times, in
    memory and on disk. It holds all records in memory. `bytes(snapshot)` and pickle keep
    it elsewhere; two are equal when they hold the same.
    """

    def __init__(self, projects: Mapping[str, Content]) -> None:
        self._projects: Final = dict(projects)

    @property
    def project_ids(self) -> tuple[str, ...]:
        """The projects that it is of."""
        return tuple(self._projects)

    def content(self, project_id: str) -> Content:
        """Give what a project held.

        Raises:
            SnapshotError: it is not among them.
        """
        if project_id not in self._projects:
            raise SnapshotError(f"the snapshot has no project {project_id!r}")
        return self._projects[project_id]

    def __bytes__(self) -> bytes:
        kept = msgspec.msgpack.encode(_Kept(self._projects))
        return b"".join((_MAGIC, zlib.crc32(kept).to_bytes(_CRC_BYTES), kept))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Undo `bytes(snapshot)`.

        Raises:
            SnapshotError: it is no whole snapshot of this version of aiodis.
        """
        start = len(_MAGIC) + _CRC_BYTES
        if not data.startswith(_MAGIC):
            raise SnapshotError("this is no snapshot that this version of aiodis can read")
        kept = memoryview(data)[start:]
        if zlib.crc32(kept).to_bytes(_CRC_BYTES) != data[len(_MAGIC) : start]:
            raise SnapshotError("the snapshot is damaged")
        try:
            return cls(msgspec.msgpack.decode(kept, type=_Kept).projects)
        except msgspec.MsgspecError as exc:
            raise SnapshotError(f"the snapshot cannot be read: {exc}") from exc

    def write(self, path: Path | str) -> None:
        """Write a file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(bytes(self))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read what `write` wrote.

        Raises:
            OSError: the file cannot be read.
            SnapshotError: it is no whole snapshot of this version of aiodis.
        """
        try:
            return cls.from_bytes(Path(path).read_bytes())
        except SnapshotError as exc:
            raise SnapshotError(f"{path}: {exc}") from None

    def __eq__(self, other: object) -> bool:
        return self._projects == other._projects if isinstance(other, Snapshot) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_bytes, (bytes(self),))

    def __repr__(self) -> str:
        held = (content for content in self._projects.values())
        count = sum(len(content.logs) for content in held)
        return f"<Snapshot of {', '.join(self._projects)}: {count} streams>"
