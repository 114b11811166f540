"""The harness's two kinds of child processes: the answerer, and one for each measurement."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol, Self

from benchmarks.environment import Cores
from benchmarks.job import Job, Measured

__all__ = ["Answerer", "BenchmarkError", "Counts", "Service", "measure"]

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


def measure(job: Job, service: Service, python: str = sys.executable) -> tuple[Measured, Counts]:
    """Run a job in a fresh interpreter; give what it measured, and the service's part.

    Raises:
        BenchmarkError: it failed, or the service counted other records than the client.
    """
    with _child(python, ["benchmarks.child"], job.seconds * 20 + _GRACE_S) as child:
        child.tell(job.to_json())
        child.hear()  # the warm-up is over
        before = service.counts()
        child.tell("go")
        measured = Measured.read(child.hear())
        counts = service.counts() - before
    try:
        service.check(measured, counts)
    except BenchmarkError as exc:
        raise BenchmarkError(f"{job.client}: {exc}") from None
    return measured, counts


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
