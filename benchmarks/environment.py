"""What a result was measured on: without it, two results cannot be compared."""

import dataclasses
import hashlib
import os
import platform
import ssl
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ["Cores", "Environment", "load_average"]

_LIBRARIES: Final = (
    "aiodis",
    "aiohttp",
    "aiolimiter",
    "msgspec",
    "orjson",
    "pybase64",
    "uvloop",
    "isal",
    "huaweicloudsdkdis",
)
_BUSY: Final = 0.5
"""Share of the cores in use before the run above which the machine counts as busy."""


@dataclass(frozen=True)
class Cores:
    """Where the client and the answerer stay; None where they cannot be held."""

    client: int | None
    answerer: int | None

    @classmethod
    def choose(cls) -> "Cores":
        """Take two different cores of those this process may use."""
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(allowed) < 2:
            return cls(None, None)
        return cls(client=allowed[-1], answerer=allowed[0])


@dataclass(frozen=True)
class Environment:
    """The machine, the code and the libraries. `machine` is one name for the same hardware."""

    machine: str
    cpu: str
    cores: int
    system: str
    python: str
    openssl: str
    commit: str
    libraries: dict[str, str]
    load_before: float | None

    @classmethod
    def now(cls) -> "Environment":
        """Look at this machine, before a run."""
        cpu, cores = _cpu(), os.cpu_count() or 1
        identity = f"{cpu}|{cores}|{platform.node()}|{platform.machine()}"
        return cls(
            machine=hashlib.sha256(identity.encode()).hexdigest()[:12],
            cpu=cpu,
            cores=cores,
            system=platform.platform(),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            openssl=ssl.OPENSSL_VERSION,
            commit=_commit(),
            libraries={name: found for name in _LIBRARIES if (found := _version(name))},
            load_before=load_average(),
        )

    def warnings(self, cores: Cores) -> list[str]:
        """Say what makes the figures less sure."""
        found: list[str] = []
        if self.load_before is not None and self.load_before > _BUSY * self.cores:
            found.append(
                f"the machine was busy before the run (load {self.load_before:.1f} on "
                f"{self.cores} cores): repeat it on a quiet one"
            )
        if cores.client is None:
            found.append("client and answerer could not be held on a core each")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return dataclasses.asdict(self)


def load_average() -> float | None:
    """Give the load of the last minute, where the system knows it."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    """Give the commit, marked with a plus where files differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    return head + ("+" if _git("status", "--porcelain", "--", "aiodis", "benchmarks") else "")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
