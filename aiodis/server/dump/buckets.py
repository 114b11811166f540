"""Stand-ins for OBS: buckets of files, in a folder or in memory.

A file is written whole or not at all; one of the same name is replaced.
"""

import re
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Buckets", "FolderBuckets", "MemoryBuckets", "is_bucket_name"]

# OBS's own rule for names, but for those that look like IP addresses.
_NAME: Final = re.compile(r"[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")
_UNFINISHED: Final = ".unfinished"


def is_bucket_name(name: str) -> bool:
    """Say whether OBS can have a bucket of that name. Such a name is a safe name of a folder."""
    return _NAME.fullmatch(name) is not None


class Buckets(Protocol):
    """The buckets of an account."""

    def make(self, bucket: str) -> None:
        """Make a bucket; one that exists stays as it is.

        Raises:
            OSError: it cannot be made.
        """

    def names(self) -> list[str]:
        """Name all buckets, in order."""

    def files(self, bucket: str) -> list[str]:
        """Name a bucket's files with their directories, `a/b`, in order; none without a bucket."""

    def read(self, bucket: str, name: str) -> bytes:
        """Give a file's content.

        Raises:
            FileNotFoundError: there is none.
        """

    def write(self, bucket: str, name: str, content: bytes) -> None:
        """Write a file.

        Raises:
            OSError: it could not be written.
        """


class FolderBuckets:
    """Buckets as folders of one folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, bucket: str) -> None:
        (self.folder / bucket).mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def files(self, bucket: str) -> list[str]:
        root = self.folder / bucket
        found = (path for path in root.rglob("*") if path.is_file())
        names = (path.relative_to(root).as_posix() for path in found)
        return sorted(name for name in names if not name.endswith(_UNFINISHED))

    def read(self, bucket: str, name: str) -> bytes:
        return (self.folder / bucket / name).read_bytes()

    def write(self, bucket: str, name: str, content: bytes) -> None:
        path = self.folder / bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + _UNFINISHED)
        unfinished.write_bytes(content)
        unfinished.replace(path)

    def __repr__(self) -> str:
        return f"FolderBuckets({str(self.folder)!r})"


class MemoryBuckets:
    """Buckets in memory. They last as long as this object."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, bytes]] = {}

    def make(self, bucket: str) -> None:
        self._buckets.setdefault(bucket, {})

    def names(self) -> list[str]:
        return sorted(self._buckets)

    def files(self, bucket: str) -> list[str]:
        return sorted(self._buckets.get(bucket, ()))

    def read(self, bucket: str, name: str) -> bytes:
        try:
            return self._buckets[bucket][name]
        except KeyError:
            raise FileNotFoundError(f"{bucket}/{name}") from None

    def write(self, bucket: str, name: str, content: bytes) -> None:
        self._buckets.setdefault(bucket, {})[name] = content

    def __repr__(self) -> str:
        return "MemoryBuckets()"
