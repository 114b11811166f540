"""The harness's two kinds of child processes: the answerer, and one for each measurement."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol, Self

from benchmarks.environment import Cores
from benchmarks.job import Job, Measured

__all__ = [
    "Answerer",
    "BenchmarkError",
    "Counts",
    "Embedded",
    "Service",
    "measure",
    "measure_together",
]

_ROOT: Final = Path(__file__).parent.parent
_GRACE_S: Final = 60


class BenchmarkError(Exception):
    """The benchmark cannot run, or its result is not valid. One line for the user."""


@dataclass(frozen=True)
class Counts:
    """What the answerer answered, and the CPU time it took."""

    requests: int
    records: int
    cpu_s: float

    def __sub__(self, other: Self) -> "Counts":
        return Counts(
            self.requests - other.requests,
            self.records - other.records,
            self.cpu_s - other.cpu_s,
        )


class Service(Protocol):
    """What clients are measured against: a process of ours."""

    def tell(self, job: Job) -> Job:
        """Give a job that knows where the service is."""

    def counts(self) -> Counts:
        """Ask what it has answered so far."""

    def check(self, measured: Measured, counts: Counts) -> None:
        """See that both sides counted the same."""


class Answerer:
    """The canned answerer, running. Made by `Answerer.start`."""

    def __init__(self, child: "_Child", ca_file: Path | None) -> None:
        self._child = child
        self.ca_file = ca_file
        scheme = "http" if ca_file is None else "https"
        self.endpoint = f"{scheme}://127.0.0.1:{int(child.hear())}"

    @classmethod
    @contextlib.contextmanager
    def start(cls, partitions: int, cores: Cores, *, tls: bool) -> Iterator[Self]:
        """Start it, with a certificate of its own authority, and end it with the context."""
        with tempfile.TemporaryDirectory(prefix="aiodis-bench-") as folder:
            arguments = ["benchmarks.answerer", str(partitions)]
            if cores.answerer is not None:
                arguments += ["--core", str(cores.answerer)]
            ca_file = None
            if tls:
                ca_file, certificate = _certificates(Path(folder))
                arguments += ["--certificate", str(certificate)]
            with _child(sys.executable, arguments) as child:
                yield cls(child, ca_file)

    def tell(self, job: Job) -> Job:
        """Give a job that knows where the answerer is."""
        ca_file = str(self.ca_file) if self.ca_file else None
        return dataclasses.replace(job, endpoint=self.endpoint, ca_file=ca_file)

    def counts(self) -> Counts:
        """Ask what it has answered so far."""
        self._child.tell("counts")
        return Counts(**json.loads(self._child.hear()))

    def check(self, measured: Measured, counts: Counts) -> None:
        """See that the client delivered what was answered, but for what it read ahead."""
        if abs(counts.records - measured.records) > measured.slack:
            raise BenchmarkError(
                f"{measured.records} records delivered, but the answerer counted {counts.records}"
            )


class Embedded:
    """An embedded DIS, running. Made by `Embedded.start`."""

    def __init__(self, child: "_Child", ca_file: Path | None) -> None:
        self._child = child
        self.ca_file = ca_file
        self.endpoint = child.hear().strip()

    @classmethod
    @contextlib.contextmanager
    def start(
        cls,
        cores: Cores,
        *,
        tls: bool,
        in_memory: bool = False,
        limits: bool = True,
        latency_ms: float = 0,
        by_hand: bool = False,
    ) -> Iterator[Self]:
        """Start it on a fresh data folder, and end it with the context.

        `latency_ms` is what its answers about records take longer. With `by_hand` its
        clock stands still until `advance`, and it asks nobody for credentials.
        """
        with tempfile.TemporaryDirectory(prefix="aiodis-bench-") as name:
            folder = Path(name)
            arguments = ["benchmarks.embedded", "--latency-ms", str(latency_ms)]
            if not in_memory:
                arguments += ["--data", str(folder / "data")]
            if cores.answerer is not None:
                arguments += ["--core", str(cores.answerer)]
            if not limits:
                arguments.append("--no-limits")
            if by_hand:
                arguments.append("--by-hand")
            ca_file = None
            if tls:
                ca_file, certificate = _certificates(folder)
                arguments += ["--certificate", str(certificate)]
            with _child(sys.executable, arguments) as child:
                yield cls(child, ca_file)

    def tell(self, job: Job) -> Job:
        """Give a job that knows where the server is."""
        ca_file = str(self.ca_file) if self.ca_file else None
        return dataclasses.replace(job, endpoint=self.endpoint, ca_file=ca_file)

    def counts(self) -> Counts:
        """Ask for its CPU time; it counts no records."""
        return Counts(0, 0, self._ask("counts")["cpu_s"])

    def check(self, measured: Measured, counts: Counts) -> None:
        """Believe the client."""

    def resident_bytes(self) -> int:
        """Ask how much memory it has; 0 where the system does not tell."""
        return int(self._ask("counts")["rss_bytes"])

    def advance(self, hours: float) -> None:
        """Move its clock, which is moved by hand."""
        self._ask(f"advance {hours}")

    def stall(self) -> None:
        """Let it stand still."""
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._child.signal(signal.SIGCONT)

    def _ask(self, line: str) -> dict[str, float]:
        self._child.tell(line)
        found: dict[str, float] = json.loads(self._child.hear())
        return found


Meanwhile = Sequence[tuple[float, Callable[[], None]]]
"""What to do how many seconds after the watch started."""


def measure(job: Job, service: Service, python: str = sys.executable) -> tuple[Measured, Counts]:
    """Run a job in a fresh interpreter; give what it measured, and the service's part.

    Raises:
        BenchmarkError: it failed, or the service counted other records than the client.
    """
    (measured,), counts = measure_together([job], service, python)
    return measured, counts


def measure_together(
    jobs: Sequence[Job],
    service: Service,
    python: str = sys.executable,
    meanwhile: Meanwhile = (),
) -> tuple[list[Measured], Counts]:
    """Run jobs at the same time, each in a fresh interpreter. For the rest see `measure`."""
    with contextlib.ExitStack() as stack:
        children = [
            stack.enter_context(_child(python, ["benchmarks.child"], job.seconds * 20 + _GRACE_S))
            for job in jobs
        ]
        for child, job in zip(children, jobs, strict=True):
            child.tell(job.to_json())
        for child in children:
            child.hear()  # the warm-up is over
        before = service.counts()
        for child in children:
            child.tell("go")
        timers = [threading.Timer(seconds, act) for seconds, act in meanwhile]
        for timer in timers:
            stack.callback(timer.cancel)
            timer.start()
        found = [Measured.read(child.hear()) for child in children]
        for timer in timers:
            timer.join()
        counts = service.counts() - before
    for job, measured in zip(jobs, found, strict=True):
        try:
            service.check(measured, counts)
        except BenchmarkError as exc:
            raise BenchmarkError(f"{job.client}: {exc}") from None
    return found, counts


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Write an authority's certificate, and the answerer's key and chain."""
    try:
        import trustme  # noqa: PLC0415 - only those who run benchmarks have it
    except ImportError:
        raise BenchmarkError(
            "TLS needs the package trustme: pip install trustme, or use --no-tls"
        ) from None
    authority, own = folder / "authority.pem", folder / "answerer.pem"
    maker = trustme.CA()
    maker.cert_pem.write_to_path(str(authority))
    maker.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(own))
    return authority, own


class _Child:
    """A Python process that is told lines and says lines."""

    def __init__(self, process: "subprocess.Popen[str]", name: str, errors: IO[str]) -> None:
        self._process, self._name, self._errors = process, name, errors

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._failure() from None

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        return line

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def _failure(self) -> BenchmarkError:
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-3000:].strip()
        if status < 0 and not said:
            said = f"ended by signal {-status}; it may have taken too long"
        return BenchmarkError(f"{self._name} failed: {said or f'status {status}'}")


@contextlib.contextmanager
def _child(python: str, arguments: Sequence[str], seconds: float | None = None) -> Iterator[_Child]:
    """Run a module of ours; end it with the context, or after so many seconds."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [python, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        ) as process,
    ):
        limit = threading.Timer(seconds or threading.TIMEOUT_MAX, process.kill)
        limit.daemon = True
        limit.start()
        try:
            yield _Child(process, arguments[0], errors)
        finally:
            limit.cancel()
            process.kill()
