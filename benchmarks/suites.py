"""The suites against the canned answerer: who runs on what, and what is made of the results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console

from benchmarks.harness import Result, Spread, ratio
from benchmarks.processes import BenchmarkError
from benchmarks.run import Options, Run
from benchmarks.tables import cost_table, paced_table, ratio_table
from benchmarks.vendor import require_v3, v2_python

__all__ = ["PEERS", "WORKS", "floor", "get", "paced", "peers", "put"]

PEERS: Final = ("v3_sync", "v2", "floor")
WORKS: Final = ("put", "get")
_OURS: Final = "aiodis"
_EACH: Final = "async for"

Ratios = dict[str, dict[str, Spread]]


def put(options: Options, rate_limits: Sequence[str], console: Console) -> None:
    """Measure what a record costs aiodis to send."""
    run = Run("put", options, console)
    results = run.measure(
        [
            run.contestant(_OURS, "put", size, name=f"rate_limit={limit}", rate_limit=limit)
            for size in options.sizes
            for limit in rate_limits
        ]
    )
    console.print(cost_table(results))
    run.finish(results)


def get(options: Options, console: Console) -> None:
    """Measure what a record costs aiodis to read, in batches and one by one."""
    run = Run("get", options, console)
    results = run.measure(
        [run.contestant(name, "get", size) for size in options.sizes for name in (_OURS, _EACH)]
    )
    _tell(run, results, console)


def floor(options: Options, works: Sequence[str], console: Console) -> None:
    """Measure what a record costs without any client."""
    run = Run("floor", options, console)
    results = run.measure(
        [run.contestant("floor", work, size) for work in works for size in options.sizes]
    )
    console.print(cost_table(results))
    run.finish(results)


def peers(
    options: Options, works: Sequence[str], names: Sequence[str] | None, console: Console
) -> None:
    """Measure aiodis and its peers, interleaved, and say how they compare.

    Without names it is all of them; v2 is then left out where it cannot be installed.
    """
    run = Run("peers", options, console)
    if names is None or "v3_sync" in names:
        require_v3()
    pythons: dict[str, str] = {}
    try:
        if names is None or "v2" in names:
            pythons["v2"] = v2_python()
    except BenchmarkError as exc:
        if names is not None:
            raise
        run.warn(f"without v2: {exc}")
    names = names or [name for name in PEERS if name != "v2" or pythons]
    ours = {"put": (_OURS,), "get": (_OURS, _EACH)}
    results = run.measure(
        [
            run.contestant(name, work, size, python=pythons.get(name))
            for work in works
            for size in options.sizes
            for name in (*ours[work], *names)
        ]
    )
    _tell(run, results, console)


def paced(options: Options, work: str, rate: int, sample: int, console: Console) -> None:
    """Measure the share of a core, and latency, under a load that keeps a timetable."""
    run = Run("paced", options, console, work=work, rate=rate)
    kind = {"put": "paced", "get": "paced_get"}[work]
    results = run.measure(
        [
            run.contestant(_OURS, kind, size, rate_limit="fixed", rate=rate, sample=sample)
            for size in options.sizes
        ]
    )
    console.print(paced_table(results))
    run.finish(results)


def _tell(run: Run, results: Sequence[Result], console: Console) -> None:
    ratios = _compare(results)
    console.print(cost_table(results))
    console.print(ratio_table(ratios))
    run.finish(
        results,
        ratios=_each(ratios, lambda spread: round(spread.median, 3)),
        spreads=_each(ratios, Spread.to_dict),
    )


def _compare(results: Sequence[Result]) -> Ratios:
    """Say how many times a peer's cost is ours, and how many times ours is the floor's."""
    ours = {each.contestant.case: each for each in results if each.contestant.name == _OURS}
    found: Ratios = {case: {} for case in ours}
    for each in results:
        case, name = each.contestant.case, each.contestant.name
        if name == "floor":
            found[case][name] = ratio(ours[case], each)
        elif name != _OURS:
            found[case][name.replace(" ", "_")] = ratio(each, ours[case])
    return found


def _each(ratios: Ratios, show: Callable[[Spread], Any]) -> Mapping[str, Mapping[str, Any]]:
    return {
        case: {name: show(spread) for name, spread in row.items()} for case, row in ratios.items()
    }
