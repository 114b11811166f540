"""A result beside an earlier one of the same machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from benchmarks.processes import BenchmarkError

__all__ = ["Change", "baseline_path", "compare", "read_baseline"]

# A setting that differs is told, but for these.
_FREE: Final = {"rounds"}
_NOISE: Final = 0.03
"""The part of a figure that says nothing: runs of a few rounds have narrow ranges by chance."""


@dataclass(frozen=True)
class Change:
    """One measure, then and now.

    The verdict is "same" while the ranges of both runs' rounds overlap, or are close.
    """

    name: str
    unit: str
    then: float
    now: float
    verdict: Literal["same", "better", "worse"]

    @property
    def percent(self) -> float:
        """How much more it is now."""
        return (self.now / self.then - 1) * 100 if self.then else 0.0


def baseline_path(path: Path, machine: str, command: str) -> Path:
    """Give a file in a folder of baselines, which has one for each machine and command."""
    return path / f"{machine}-{command}.json" if path.is_dir() else path


def read_baseline(path: Path, machine: str, command: str) -> dict[str, Any]:
    """Read an earlier result.

    Raises:
        BenchmarkError: it is none, or it is another machine's or another command's.
    """
    path = baseline_path(path, machine, command)
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        theirs, of = found["environment"]["machine"], found["command"]
        _ = found["measures"], found["settings"]
    except OSError as exc:
        raise BenchmarkError(f"--against: {path}: {exc.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"--against: {path} is no result of a benchmark") from None
    if theirs != machine:
        raise BenchmarkError(
            f"--against: {path} was measured on another machine ({theirs}, this is {machine}): "
            "times of two machines say nothing about the code"
        )
    if of != command:
        raise BenchmarkError(f"--against: {path} is a result of {of!r}, not of {command!r}")
    return found


def compare(
    baseline: Mapping[str, Any], document: Mapping[str, Any]
) -> tuple[list[Change], list[str]]:
    """Give the changes of what both have measured, and what makes them less sure."""
    then, now = baseline["measures"], document["measures"]
    changes = [
        Change(name, each["unit"], then[name]["median"], each["median"], _verdict(then[name], each))
        for name, each in now.items()
        if name in then
    ]
    warnings = [
        f"{name} was {baseline['settings'].get(name)} in the baseline, and is {value}"
        for name, value in document["settings"].items()
        if name not in _FREE
        and name in baseline["settings"]
        and baseline["settings"][name] != value
    ]
    if baseline.get("warnings"):
        warnings.append(f"the baseline has warnings of its own: {baseline['warnings'][0]}")
    if not changes:
        warnings.append("the baseline has none of these measures")
    return changes, warnings


def _verdict(then: Mapping[str, Any], now: Mapping[str, Any]) -> Literal["same", "better", "worse"]:
    overlap = now["min"] <= then["max"] and then["min"] <= now["max"]
    if overlap or abs(now["median"] - then["median"]) <= _NOISE * then["median"]:
        return "same"
    is_higher = now["median"] > then["median"]
    return "better" if is_higher == (now["better"] == "higher") else "worse"
