"""The suites against the canned answerer: who runs on what, and what is made of the results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from rich.console import Console

from benchmarks.figures import Chart, Measure, Spread
from benchmarks.harness import Contestant, Result, cost_chart, costs, ratio
from benchmarks.job import Job
from benchmarks.processes import BenchmarkError
from benchmarks.run import Options, Run
from benchmarks.tables import cost_table, paced_table, ratio_table
from benchmarks.vendor import require_v3, v2_python

__all__ = ["PEERS", "VARIATIONS", "WORKS", "floor", "get", "paced", "peers", "put"]

PEERS: Final = ("v3_sync", "v3_threads", "v3_async", "v2", "floor")
WORKS: Final = ("put", "get")
VARIATIONS: Final[Mapping[str, Sequence[Any]]] = {
    "size": (16, 100, 1024, 10_240, 102_400, 1_048_576),
    "batch": (10, 50, 100, 500, 1_000),
    "partitions": (1, 10, 50, 200, 1_000),
    "wire": ("json", "json+lz4", "json+zstd", "protobuf", "protobuf+lz4", "protobuf+zstd"),
    "auth": ("aksk", "token"),
    "ordering": ("partition", "key", "none"),
    "loop": ("asyncio", "uvloop"),
}
"""The values of each setting that `--vary` goes through."""
_OURS: Final = "aiodis"
_EACH: Final = "async for"

Ratios = dict[str, dict[str, Spread]]


def put(
    options: Options, rate_limits: Sequence[str], vary: Sequence[str], console: Console
) -> None:
    """Measure what a record costs aiodis to send; with `vary`, by one setting after the other."""
    run = Run("put", options, console, vary=list(vary))
    if vary:
        contestants = _varied(run, "put", options, vary)
    else:
        contestants = [
            run.contestant(_OURS, "put", size, name=f"rate_limit={limit}", rate_limit=limit)
            for size in options.sizes
            for limit in rate_limits
        ]
    results = run.measure(contestants)
    console.print(cost_table(results))
    run.finish(results, charts=_variation_charts(results, vary) if vary else None)


def get(options: Options, vary: Sequence[str], console: Console) -> None:
    """Measure what a record costs aiodis to read, in batches and one by one."""
    run = Run("get", options, console, vary=list(vary))
    if vary:
        results = run.measure(_varied(run, "get", options, vary))
        console.print(cost_table(results))
        run.finish(results, charts=_variation_charts(results, vary))
        return
    results = run.measure(
        [run.contestant(name, "get", size) for size in options.sizes for name in (_OURS, _EACH)]
    )
    _tell(run, results, console)


def _varied(run: Run, work: str, options: Options, vary: Sequence[str]) -> list[Contestant]:
    """Make a contestant for each value of each setting, all other settings as in the options."""
    found = []
    for setting in vary:
        for name, changes in _variation(work, setting):
            sizes = [changes["size"]] if setting == "size" else options.sizes
            rest = {key: value for key, value in changes.items() if key != "size"}
            found += [
                run.contestant(_OURS, work, size, name=f"{setting}={name}", **rest)
                for size in sizes
            ]
    return found


def _variation(work: str, setting: str) -> list[tuple[str, dict[str, Any]]]:
    """Give a setting's values, each with its name and what it changes."""
    if setting == "wire":
        forms = VARIATIONS[setting] if work == "put" else ("json", "protobuf")
        return [
            (form, {"wire": wire, "compression": compression or "none"})
            for form in forms
            for wire, _, compression in [form.partition("+")]
        ]
    name = "fetch" if (work, setting) == ("get", "batch") else setting
    return [(str(value), {name: value}) for value in VARIATIONS[setting]]


def _variation_charts(results: Sequence[Result], vary: Sequence[str]) -> list[Chart]:
    charts = []
    for setting in vary:
        is_number = isinstance(VARIATIONS[setting][0], int)
        series: dict[str, list[tuple[Any, float]]] = {}
        for each in results:
            name, _, value = each.contestant.name.partition("=")
            if name == setting:
                case = "record" if setting == "size" else each.contestant.case
                x = int(value) if is_number else value
                series.setdefault(case, []).append((x, each.cost.median))
        kind: Literal["lines", "bars"] = "lines" if is_number else "bars"
        title, y_label, is_size = f"Cost by {setting}", "CPU µs per record", setting == "size"
        charts.append(Chart(title, kind, setting, y_label, series, log_x=is_number, log_y=is_size))
    return charts


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
    if names is None or any(name.startswith("v3") for name in names):
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


def paced(
    options: Options, work: str, rate: int, lingers: Sequence[int], sample: int, console: Console
) -> None:
    """Measure the share of a core, and latency, under a load that keeps a timetable."""
    run = Run("paced", options, console, work=work, rate=rate, lingers=lingers)
    kind = {"put": "paced", "get": "paced_get"}[work]
    common: dict[str, Any] = {"rate_limit": "fixed", "rate": rate, "sample": sample}
    results = run.measure(
        [
            _lingering(run.contestant(_OURS, kind, size, linger_ms=linger, **common))
            for size in options.sizes
            for linger in lingers
        ]
    )
    console.print(paced_table(results))
    run.finish(results, measures=_paced_measures(results))


def _lingering(contestant: Contestant) -> Contestant:
    linger = contestant.job.linger_ms
    if linger == Job.linger_ms:
        return contestant
    return replace(contestant, case=f"{contestant.case}_linger_{linger}")


def _paced_measures(results: Sequence[Result]) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    for result in results:
        case, measured = result.contestant.case, [each.measured for each in result.rounds]
        shares = [each.cpu_s / each.wall_s * 100 for each in measured]
        found[f"{case} share of a core"] = Measure("%", Spread.of(shares))
        rates = [each.records / each.wall_s for each in measured]
        found[f"{case} records"] = Measure("records/s", Spread.of(rates), "higher")
        for name in ("p50", "p99"):
            if latencies := [
                each.details["latency"][name] for each in measured if "latency" in each.details
            ]:
                found[f"{case} {name}"] = Measure("ms", Spread.of(latencies))
    return found


def _tell(run: Run, results: Sequence[Result], console: Console) -> None:
    ratios = _compare(results)
    console.print(cost_table(results))
    console.print(ratio_table(ratios))
    measures = costs(results)
    for case, row in ratios.items():
        for name, spread in row.items():
            better: Literal["lower", "higher"] = "higher" if name.startswith("v") else "lower"
            measures[f"{case} ratio {name}"] = Measure("times", spread, better)
    run.finish(
        results,
        measures=measures,
        charts=[cost_chart(results), _ratio_chart(ratios)],
        ratios=_each(ratios, lambda spread: round(spread.median, 3)),
        spreads=_each(ratios, Spread.to_dict),
    )


def _ratio_chart(ratios: Ratios) -> Chart:
    series: dict[str, list[tuple[str, float]]] = {}
    for case, row in ratios.items():
        for name, spread in row.items():
            what = "aiodis over the floor" if name == "floor" else f"{name} over aiodis"
            series.setdefault(what, []).append((case, spread.median))
    return Chart("Ratios of CPU per record", "bars", "case", "times", series)


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
