"""The heap of the process: what a burst of requests frees is kept for the next one."""

import ctypes
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_ALONE_BYTES: Final = 32 * 1024 * 1024
"""The most that glibc takes for it."""

_kept_bytes = 0


def keep_freed_memory(most_bytes: int) -> None:
    """Let glibc keep that much free memory at its heap's end, for the whole process.

    By default it maps each block of some 100 KB anew, and gives the heap's end back soon, so
    the bodies and records of each burst have their pages mapped and cleared again. The most that
    was asked for counts. Who sets any `MALLOC_` variable keeps what they set; other C libraries
    are left alone.
    """
    global _kept_bytes  # noqa: PLW0603 - the heap is the process's
    if most_bytes <= _kept_bytes or any(name.startswith("MALLOC_") for name in os.environ):
        return
    _kept_bytes = most_bytes
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE_BYTES)
            mallopt(_M_TRIM_THRESHOLD, most_bytes)
