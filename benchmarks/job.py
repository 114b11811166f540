"""What the harness and its children say to each other, one line of JSON each way.

Standard library only: a peer may run in an environment of its own that lacks
everything else.
"""

import dataclasses
import json
import os
import random
import string
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TextIO

__all__ = [
    "ACCESS_KEY",
    "KEY_FORM",
    "PROJECT",
    "SECRET_KEY",
    "STREAM",
    "TOKEN",
    "Job",
    "Measured",
    "Meter",
    "backlog_of",
    "payloads",
    "resident_bytes",
]

STREAM: Final = "bench"
PROJECT: Final = "0123456789abcdef0123456789abcdef"
ACCESS_KEY, SECRET_KEY = "BENCHKEY", "benchmark-secret"
TOKEN: Final = "t" * 2000  # as long as IAM's
KEY_FORM: Final = "key-{:08d}"

# Distinct payloads, so that nobody's input stays in the processor's first cache.
_PAYLOADS: Final = 2_000
_POOL_BYTES: Final = 64 * 1024 * 1024
_WINDOW_BYTES: Final = 32 * 1024 * 1024
# A run that mostly waits ends by the clock on the wall: paced, or with a slow answerer.
_WALL_FACTOR: Final = 10


def payloads(size: int) -> list[bytes]:
    """Make records' data: ASCII, since the oldest vendor SDK sends text only."""
    chance = random.Random(size)  # noqa: S311 - the same data in each run
    letters = string.ascii_letters + string.digits
    count = max(1, min(_PAYLOADS, _POOL_BYTES // size))
    return ["".join(chance.choices(letters, k=size)).encode() for _ in range(count)]


def backlog_of(stream: str) -> tuple[int, int]:
    """Read from a stream's name how large its records are, and how many an answer has.

    Raises:
        ValueError: it is not the name of a stream to read.
    """
    kind, size, count = stream.split("-")
    if kind != "get":
        raise ValueError(f"{stream!r} is no stream to read")
    return int(size), int(count)


@dataclass(frozen=True)
class Job:
    """What one child does: which client, which work, on what, and for how long.

    `seconds` is CPU time, except for paced work, where it is time on the wall.
    """

    client: str
    work: str
    endpoint: str
    size: int
    keys: list[str] = field(repr=False)
    batch: int = 500
    partitions: int = 50
    seconds: float = 2.0
    auth: str = "aksk"
    wire: str = "json"
    compression: str = "none"
    ordering: str = "partition"
    loop: str = "asyncio"
    rate_limit: str = "off"
    rate: int = 0
    sample: int = 1
    ca_file: str | None = None
    core: int | None = None
    stream: str = STREAM
    app: str = "bench"
    count: int = 0
    """Records to write, of work that ends by them."""
    member: int = 0
    members: int = 0
    """How many processes share `stream`, of which this is `member`; 0 reads the canned backlog."""
    buffer_memory: int = 0
    linger_ms: int = 50

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def window(self) -> int:
        """How many records are accepted before a flush: a full batch of each partition.

        So a request carries as many records as one of the peers', which send `batch` at a time.
        """
        return max(1, min(self.partitions * self.batch, _WINDOW_BYTES // self.size))

    @property
    def backlog(self) -> str:
        """The stream to read: its name says what an answer of the canned answerer has."""
        return f"get-{self.size}-{self.batch}"

    def payloads(self) -> list[bytes]:
        """Make the records' data."""
        return payloads(self.size)


@dataclass(frozen=True)
class Measured:
    """What a child measured. `details` holds what only some work has, such as percentiles."""

    records: int
    requests: int | None
    cpu_user_s: float
    cpu_system_s: float
    wall_s: float
    max_rss_bytes: int
    waited_s: float = 0.0
    """How long the client had work but no core, since others were busy there (Linux only)."""
    slack: int = 0
    """How many records more or fewer the answerer may have counted: those read ahead."""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        """All the CPU time it took."""
        return self.cpu_user_s + self.cpu_system_s

    @classmethod
    def read(cls, line: str) -> Self:
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return dataclasses.asdict(self)


class Meter:
    """The child's watch. It starts when the harness says so, after the warm-up."""

    def __init__(self, seconds: float, commands: TextIO, answers: TextIO) -> None:
        self._seconds, self._commands, self._answers = seconds, commands, answers
        self._cpu = self._wall = 0.0
        self._usage = _Usage.now()
        self._measured: Measured | None = None

    def start(self) -> None:
        """Report the end of the warm-up, wait for the word to go, and start the watch.

        This blocks, also the event loop: nothing of the client is under way.
        """
        print("ready", file=self._answers, flush=True)
        if not self._commands.readline():
            raise SystemExit("the harness went away")
        self._usage = _Usage.now()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def running(self) -> bool:
        """Say whether there is time left."""
        return (
            time.process_time() - self._cpu < self._seconds
            and time.perf_counter() - self._wall < self._seconds * _WALL_FACTOR
        )

    def stop(self, records: int, requests: int | None = None, *, slack: int = 0) -> None:
        """Stop the watch: so many records were delivered."""
        wall_s = time.perf_counter() - self._wall
        usage = _Usage.now()
        self._measured = Measured(
            records=records,
            requests=requests,
            cpu_user_s=usage.user_s - self._usage.user_s,
            cpu_system_s=usage.system_s - self._usage.system_s,
            wall_s=wall_s,
            max_rss_bytes=usage.max_rss_bytes,
            waited_s=usage.waited_s - self._usage.waited_s,
            slack=slack,
        )

    def report(self, details: dict[str, Any]) -> None:
        """Tell the harness, with what the work itself has to say."""
        assert self._measured is not None, "the work never stopped the watch"
        measured = dataclasses.replace(self._measured, details=details)
        print(measured.to_json(), file=self._answers, flush=True)


@dataclass(frozen=True)
class _Usage:
    user_s: float
    system_s: float
    max_rss_bytes: int
    waited_s: float

    @classmethod
    def now(cls) -> Self:
        """Ask the operating system what this process has used."""
        if sys.platform == "win32":  # has no getrusage; the sum is what counts
            return cls(time.process_time(), 0.0, 0, 0.0)
        import resource  # noqa: PLC0415 - not on Windows

        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024
        return cls(usage.ru_utime, usage.ru_stime, usage.ru_maxrss * unit, _waited_s())


def resident_bytes() -> int:
    """Ask Linux how much memory this process has now; 0 elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _waited_s() -> float:
    """Ask Linux how long this process's first thread was ready to run and did not."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
