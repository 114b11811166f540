"""Rounds: each contestant once a round, in turn, each in a fresh interpreter; then medians."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.environment import Environment, load_average
from benchmarks.figures import Chart, Measure, Spread
from benchmarks.job import Job, Measured
from benchmarks.processes import BenchmarkError, Counts, Service, measure

__all__ = [
    "Contestant",
    "Result",
    "Round",
    "cost_chart",
    "costs",
    "disturbed",
    "document",
    "ratio",
    "run_rounds",
    "saturated",
    "steps",
    "write_json",
]

_SATURATED: Final = 0.9
# In a shorter round the answerer's first answers, and what it still has to answer, weigh too much.
_TELLING_S: Final = 0.5
_DISTURBED: Final = 0.05


@dataclass(frozen=True)
class Contestant:
    """One line of a result: what is measured, under which case and name, with which Python."""

    case: str
    name: str
    job: Job
    python: str = sys.executable


@dataclass(frozen=True)
class Round:
    """One contestant's part in one round."""

    measured: Measured
    answerer: Counts

    @property
    def us_per_record(self) -> float:
        """The client's CPU time."""
        return self.measured.cpu_s / self.measured.records * 1e6

    @property
    def answerer_share(self) -> float:
        """The share of its core that the answerer took: near 1, it held the client up."""
        return self.answerer.cpu_s / self.measured.wall_s


@dataclass(frozen=True)
class Result:
    """All rounds of one contestant."""

    contestant: Contestant
    rounds: Sequence[Round]

    @property
    def cost(self) -> Spread:
        """CPU microseconds per record."""
        return Spread.of([each.us_per_record for each in self.rounds])

    @property
    def records_per_request(self) -> float:
        """As the answerer counted them."""
        requests = sum(each.answerer.requests for each in self.rounds)
        return sum(each.answerer.records for each in self.rounds) / max(1, requests)

    @property
    def answerer_share(self) -> float:
        """The share of its core that the answerer took, in the worst round."""
        return max(each.answerer_share for each in self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {
            "cpu_us_per_record": self.cost.to_dict(),
            "records_per_cpu_second": round(1e6 / self.cost.median),
            "records_per_request": round(self.records_per_request, 1),
            "answerer_cpu_share": round(self.answerer_share, 3),
            "rounds": [
                {
                    "records": each.measured.records,
                    "requests": each.answerer.requests,
                    "cpu_user_s": round(each.measured.cpu_user_s, 4),
                    "cpu_system_s": round(each.measured.cpu_system_s, 4),
                    "wall_s": round(each.measured.wall_s, 4),
                    "max_rss_bytes": each.measured.max_rss_bytes,
                    "waited_s": round(each.measured.waited_s, 4),
                    "answerer_records": each.answerer.records,
                    "slack": each.measured.slack,
                    "answerer_cpu_s": round(each.answerer.cpu_s, 4),
                    **each.measured.details,
                }
                for each in self.rounds
            ],
        }


def ratio(above: Result, below: Result) -> Spread:
    """Say how many times the cost of one is that of the other, round by round."""
    pairs = zip(above.rounds, below.rounds, strict=True)
    return Spread.of([one.us_per_record / other.us_per_record for one, other in pairs])


def run_rounds(
    contestants: Sequence[Contestant],
    service_of: Callable[[Contestant], Service],
    rounds: int,
    console: Console,
) -> list[Result]:
    """Run all contestants, interleaved; who begins changes from round to round.

    Raises:
        BenchmarkError: one of them failed.
    """
    found: dict[int, list[Round]] = {index: [] for index in range(len(contestants))}
    with steps(console, rounds * len(contestants)) as advance:
        for number in range(rounds):
            for place in range(len(contestants)):
                index = (place + number) % len(contestants)
                each = contestants[index]
                advance(f"round {number + 1}: {each.case} {each.name}")
                service = service_of(each)
                found[index].append(Round(*measure(service.tell(each.job), service, each.python)))
    return [Result(each, found[index]) for index, each in enumerate(contestants)]


def saturated(results: Sequence[Result]) -> list[str]:
    """Warn where the answerer may have been the bottleneck."""
    return [
        f"{each.contestant.case} {each.contestant.name}: the answerer took "
        f"{each.answerer_share:.0%} of its core"
        for each in results
        if each.answerer_share > _SATURATED and each.rounds[0].measured.wall_s > _TELLING_S
    ]


def costs(results: Sequence[Result]) -> dict[str, Measure]:
    """Give what a record costs each, to compare with another run."""
    return {
        f"{each.contestant.case} {each.contestant.name}": Measure("µs CPU/record", each.cost)
        for each in results
    }


def cost_chart(results: Sequence[Result]) -> Chart:
    """Show what a record costs each."""
    series: dict[str, list[tuple[str, float]]] = {}
    for each in results:
        point = each.contestant.case, each.cost.median
        series.setdefault(each.contestant.name, []).append(point)
    return Chart("The client's CPU per record", "bars", "case", "µs", series)


def document(
    command: str,
    environment: Environment,
    settings: Mapping[str, Any],
    results: Sequence[Result],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Give a whole run for JSON, with what it was measured on."""
    cases: dict[str, dict[str, Any]] = {}
    for each in results:
        cases.setdefault(each.contestant.case, {})[each.contestant.name] = each.to_dict()
    return {
        "command": command,
        "environment": {**environment.to_dict(), "load_after": load_average()},
        "settings": dict(settings),
        "warnings": list(warnings),
        "cases": cases,
    }


def disturbed(results: Sequence[Result]) -> list[str]:
    """Warn where others took the client's core: CPU time suffers little, latency much."""
    found: list[str] = []
    for each in results:
        worst = max(one.measured.waited_s / one.measured.wall_s for one in each.rounds)
        if worst > _DISTURBED:
            found.append(
                f"{each.contestant.case} {each.contestant.name}: the client waited for its "
                f"core {worst:.0%} of the time; its latency and throughput mean little"
            )
    return found


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result.

    Raises:
        BenchmarkError: the file cannot be written.
    """
    try:
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as exc:
        raise BenchmarkError(f"--json: {path}: {exc.strerror}") from None


@contextlib.contextmanager
def steps(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on a terminal, and a line for each step elsewhere."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        begun = 0

        def advance(what: str) -> None:
            nonlocal begun
            progress.update(task, completed=begun, description=what)
            begun += 1
            if not console.is_terminal:
                print(f"[{begun}/{total}] {what}", file=sys.stderr, flush=True)

        yield advance
        progress.update(task, completed=total)
