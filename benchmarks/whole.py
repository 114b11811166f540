"""The suites against an embedded DIS: latency, a whole account, memory, and the server itself."""

import asyncio
import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from rich.console import Console

from aiodis import Credentials, DISClient
from aiodis.wire.routing import parse_range
from benchmarks.figures import Chart, Measure, Spread
from benchmarks.harness import Contestant, Result, Round, steps
from benchmarks.job import ACCESS_KEY, PROJECT, SECRET_KEY, STREAM, Measured
from benchmarks.processes import BenchmarkError, Counts, Embedded, measure, measure_together
from benchmarks.run import Options, Run
from benchmarks.tables import figure_table, latency_table

__all__ = ["account", "latency", "memory", "server"]

_OURS: Final = "aiodis"
_MIB: Final = 1024 * 1024
_GB: Final = 1_000_000_000
_PERCENTILES: Final = ("p50", "p90", "p99", "p99_9", "max")
_KEPT_PARTS: Final = 4
"""Into how many parts a gigabyte is cut that is kept: what a retention of a day takes at once."""


def latency(
    options: Options, rates: Sequence[int], service_ms: Sequence[int], console: Console
) -> None:
    """Measure how late receipts and handlers are, at several loads and latencies of the service."""
    run = Run("latency", options, console, rates=list(rates), service_ms=list(service_ms))
    (size,) = options.sizes
    results: list[Result] = []
    cases = [(rate, slow) for rate in rates for slow in service_ms]
    with steps(console, len(cases) * options.rounds) as advance:
        for rate, slow in cases:
            job = run.job("ours_flow", "latency", size, rate=rate)
            with Embedded.start(run.cores, tls=options.tls, latency_ms=slow) as embedded:
                _make_stream(embedded, options.partitions)
                rounds = []
                for number in range(options.rounds):
                    advance(f"{rate} records/s, {slow} ms, round {number + 1}")
                    fresh = dataclasses.replace(job, app=f"bench-{number}")
                    rounds.append(Round(*measure(embedded.tell(fresh), embedded)))
            results.append(Result(Contestant(f"{rate}/s", f"{slow} ms", job), rounds))
    measures = _latencies(results)
    for each in results:
        if lost := sum(one.measured.details["lost"] for one in each.rounds):
            run.warn(f"{each.contestant.case} {each.contestant.name}: {lost} records never came")
    console.print(latency_table(results))
    run.finish(results, measures=measures, charts=_latency_charts(results))


def _latencies(results: Sequence[Result]) -> dict[str, Measure]:
    return {
        f"{each.contestant.case} {each.contestant.name} {what} {name}": Measure(
            "ms", Spread.of([one.measured.details[key][name] for one in each.rounds])
        )
        for each in results
        for what, key in (("receipt", "latency"), ("handler", "handler"))
        for name in _PERCENTILES
    }


def _latency_charts(results: Sequence[Result]) -> list[Chart]:
    charts = []
    for what, key in (("From accept to receipt", "latency"), ("From put to handler", "handler")):
        series = {
            f"{each.contestant.case}, {each.contestant.name}": [
                (name.replace("_", "."), each.rounds[0].measured.details[key][name])
                for name in _PERCENTILES
            ]
            for each in results
        }
        charts.append(Chart(what, "bars", "percentile", "ms", series))
    return charts


def account(options: Options, processes: Sequence[int], rate: int, console: Console) -> None:
    """Write and read at the limits of all partitions, with one process and with several."""
    run = Run("account", options, console, processes=list(processes), rate=rate)
    (size,) = options.sizes
    results: list[Result] = []
    measures: dict[str, Measure] = {}
    shares: dict[str, list[tuple[Any, float]]] = {}
    with (
        steps(console, 2 * len(processes)) as advance,
        Embedded.start(run.cores, tls=options.tls) as embedded,
    ):
        _make_stream(embedded, options.partitions)
        for count in processes:
            name = f"write, {_processes(count)}"
            advance(name)
            before = _ends(embedded)
            job = run.job("ours", "paced", size, rate=max(1, rate // count), rate_limit="adaptive")
            jobs = [dataclasses.replace(job, sample=17)] * count
            measured, counts = measure_together([embedded.tell(each) for each in jobs], embedded)
            results.append(_joined(Contestant("account", name, job), measured, counts))
            written = [after - then for then, after in zip(before, _ends(embedded), strict=True)]
            measures[f"{name} fairness"] = Measure("", Spread.of([_fairness(written)]), "higher")
            shares[name] = list(enumerate(written))
        for count in processes:
            name = f"read, {_processes(count)}"
            advance(name)
            job = run.job("ours_reading", "paced", size, app=f"bench-{count}", rate_limit="fixed")
            # Reading is twice as fast, and so much is left for sure when the watch starts.
            seconds = options.seconds * len(processes) / 3
            job = dataclasses.replace(job, batch=10_000, members=count, seconds=seconds)
            jobs = [dataclasses.replace(job, member=number) for number in range(count)]
            measured, counts = measure_together([embedded.tell(each) for each in jobs], embedded)
            results.append(_joined(Contestant("account", name, job), measured, counts))
    for each in results:
        measures |= _account_measures(each, size)
    console.print(figure_table("A whole account: all partitions at their limits", measures))
    charts = [
        Chart("Records written, by partition", "lines", "partition", "records", shares),
        _core_chart(results),
    ]
    run.finish(results, measures=measures, charts=charts)


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _joined(contestant: Contestant, found: Sequence[Measured], counts: Counts) -> Result:
    """Make one round of what several processes measured at the same time.

    Raises:
        BenchmarkError: all was done before the watches started.
    """
    if not all(each.records for each in found):
        raise BenchmarkError(f"{contestant.name}: nothing was left to do; take more --seconds")
    details: dict[str, Any] = {
        name: sum(each.details[name] for each in found)
        for name in ("failed", "throttled", "retried")
        if name in found[0].details
    }
    details["processes"] = [each.to_dict() for each in found]
    joined = Measured(
        records=sum(each.records for each in found),
        requests=None,
        cpu_user_s=sum(each.cpu_user_s for each in found),
        cpu_system_s=sum(each.cpu_system_s for each in found),
        wall_s=max(each.wall_s for each in found),
        max_rss_bytes=max(each.max_rss_bytes for each in found),
        waited_s=max(each.waited_s for each in found) if len(found) == 1 else 0.0,
        details=details,
    )
    return Result(contestant, [Round(joined, counts)])


def _account_measures(result: Result, size: int) -> dict[str, Measure]:
    (only,) = result.rounds
    measured, name = only.measured, result.contestant.name
    rate = measured.records / measured.wall_s
    latencies = [each["details"].get("latency") for each in measured.details["processes"]]
    found = {
        f"{name} records": Measure("records/s", Spread.of([rate]), "higher"),
        f"{name} data": Measure("MB/s", Spread.of([rate * size / 1e6]), "higher"),
        f"{name} share of a core": Measure(
            "%", Spread.of([measured.cpu_s / measured.wall_s * 100])
        ),
        f"{name} server's share": Measure("%", Spread.of([only.answerer_share * 100])),
    }
    for what in ("throttled", "failed", "retried"):
        if what in measured.details:
            found[f"{name} {what}"] = Measure("", Spread.of([measured.details[what]]))
    if all(latencies):
        p99 = [each["p99"] for each in latencies if each]
        found[f"{name} p99"] = Measure("ms", Spread.of(p99))
    return found


def _core_chart(results: Sequence[Result]) -> Chart:
    series: dict[str, list[tuple[Any, float]]] = {"clients": [], "server": []}
    for each in results:
        (only,) = each.rounds
        share = only.measured.cpu_s / only.measured.wall_s * 100
        series["clients"].append((each.contestant.name, share))
        series["server"].append((each.contestant.name, only.answerer_share * 100))
    return Chart("Share of a core", "bars", "", "%", series)


def _fairness(written: Sequence[int]) -> float:
    """Give Jain's index: 1 when all partitions got the same, 1/n when one got all."""
    squares = sum(count * count for count in written)
    return sum(written) ** 2 / (len(written) * squares) if squares else 0.0


def memory(options: Options, rate: int, buffer_memory: int, console: Console) -> None:
    """Follow the client's memory under load, while the service stands still, and afterwards."""
    run = Run("memory", options, console, rate=rate, buffer_memory=buffer_memory)
    (size,) = options.sizes
    third = options.seconds / 3
    job = run.job("ours_flow", "memory", size, rate=rate, buffer_memory=buffer_memory)
    with (
        steps(console, 1) as advance,
        Embedded.start(run.cores, tls=options.tls, limits=False) as embedded,
    ):
        _make_stream(embedded, options.partitions)
        advance("load, stall, recovery")
        meanwhile = ((third, embedded.stall), (2 * third, embedded.resume))
        try:
            (measured,), counts = measure_together(
                [embedded.tell(job)], embedded, meanwhile=meanwhile
            )
        finally:
            embedded.resume()
    samples = measured.details["samples"]
    phases = {"load": (0.0, third), "stall": (third, 2 * third), "recovery": (2 * third, 1e9)}
    measures: dict[str, Measure] = {}
    for phase, (begin, end) in phases.items():
        found = [rss / _MIB for at, rss, _ in samples if begin <= at < end]
        if not found:
            raise BenchmarkError("memory needs Linux's /proc, or more --seconds")
        measures[f"{phase} peak"] = Measure("MiB", Spread.of([max(found)]))
        measures[f"{phase} end"] = Measure("MiB", Spread.of([found[-1]]))
    console.print(figure_table("The client's memory", measures))
    charts = [
        Chart(
            f"Memory; the service stands still from {third:.0f} to {2 * third:.0f} s",
            "lines",
            "s",
            "MiB",
            {"resident": [(at, rss / _MIB) for at, rss, _ in samples]},
        ),
        Chart("Records handled", "lines", "s", "records/s", {"handled": _rates(samples)}),
    ]
    contestant = Contestant("memory", _OURS, job)
    run.finish([Result(contestant, [Round(measured, counts)])], measures=measures, charts=charts)


def _rates(samples: Sequence[tuple[float, int, int]]) -> list[tuple[Any, float]]:
    return [
        (at, (count - before) / (at - then))
        for (then, _, before), (at, _, count) in pairwise(samples)
        if at > then
    ]


def server(options: Options, gigabytes: float, console: Console) -> None:
    """Measure the embedded DIS: what a record costs it, and its memory as gigabytes pass."""
    run = Run("server", options, console, gigabytes=gigabytes)
    (size,) = options.sizes
    parts = max(1, round(gigabytes * _KEPT_PARTS))
    put = run.job("ours", "put", size)
    get = run.job("ours_flow", "read", size)
    results: dict[str, list[Round]] = {"put": [], "get": []}
    with steps(console, 2 * options.rounds + parts) as advance:
        with Embedded.start(run.cores, tls=options.tls, limits=False) as embedded:
            _make_stream(embedded, options.partitions)
            for number in range(options.rounds):
                for name, job in (("put", put), ("get", get)):
                    advance(f"{name}, round {number + 1}")
                    results[name].append(Round(*measure(embedded.tell(job), embedded)))
        memory = _as_gigabytes_pass(run, options, parts, advance)
    measures: dict[str, Measure] = {}
    for name, rounds in results.items():
        costs = [each.answerer.cpu_s / each.measured.records for each in rounds]
        rates = [each.measured.records / each.measured.wall_s for each in rounds]
        per_core = Spread.of([1 / cost for cost in costs])
        measures[f"{name} per CPU second"] = Measure("records/s", per_core, "higher")
        measures[f"{name} as it went"] = Measure("records/s", Spread.of(rates), "higher")
    measures["resident at the start"] = Measure("MiB", Spread.of([memory[0][1]]))
    measures["resident at the end"] = Measure("MiB", Spread.of([memory[-1][1]]))
    measures["resident at most"] = Measure("MiB", Spread.of([max(rss for _, rss in memory)]))
    console.print(figure_table("The embedded DIS, limits off, on one core", measures))
    chart = Chart(
        "Memory, with a retention of 1 GB", "lines", "GB passed", "MiB", {"resident": memory}
    )
    found = [
        Result(Contestant(name, "embedded DIS", put), rounds) for name, rounds in results.items()
    ]
    run.finish(found, measures=measures, charts=[chart])


def _as_gigabytes_pass(
    run: Run, options: Options, parts: int, advance: Any
) -> list[tuple[Any, float]]:
    """Write a quarter of a gigabyte each six hours of the server's, which keeps a day."""
    (size,) = options.sizes
    count = _GB // _KEPT_PARTS // size
    job = run.job("ours_flow", "write", size, count=count, seconds=60.0, rate_limit="off")
    with Embedded.start(run.cores, tls=options.tls, limits=False, by_hand=True) as embedded:
        _make_stream(embedded, options.partitions)
        found: list[tuple[Any, float]] = [(0.0, embedded.resident_bytes() / _MIB)]
        for number in range(parts):
            advance(f"{(number + 1) / _KEPT_PARTS:.2f} GB")
            measure(embedded.tell(job), embedded)
            found.append(((number + 1) / _KEPT_PARTS, embedded.resident_bytes() / _MIB))
            embedded.advance(24 / _KEPT_PARTS)
    return found


def _make_stream(embedded: Embedded, partitions: int) -> None:
    """Make the stream under test, as large as a default account lets it be."""

    async def make() -> None:
        async with _client(embedded) as dis:
            await dis.streams.create(stream_name=STREAM, partition_count=partitions)
            await dis.streams.wait_until_running(STREAM)

    asyncio.run(make())


def _ends(embedded: Embedded) -> list[int]:
    """Ask where each partition ends."""

    async def ask() -> list[int]:
        async with _client(embedded) as dis:
            partitions = (await dis.streams.describe_all(STREAM)).partitions
        spans = [parse_range(each.sequence_number_range) for each in partitions]
        return [span[1] if span else 0 for span in spans]

    return asyncio.run(ask())


def _client(embedded: Embedded) -> DISClient:
    return DISClient(
        endpoint=embedded.endpoint,
        project_id=PROJECT,
        credentials=Credentials.static(ACCESS_KEY, SECRET_KEY),
        ca_file=embedded.ca_file,
    )
