"""The suite against a real endpoint: the user's own credentials, a cap, and a question first."""

import asyncio
from typing import Any, Final

from rich.console import Console

from aiodis import ClientSettings, ConfigError, DISClient, DISError
from benchmarks.figures import Chart, Measure, Spread
from benchmarks.harness import Contestant, Result, Round, steps
from benchmarks.job import Job, Measured
from benchmarks.processes import BenchmarkError, Counts, measure
from benchmarks.run import Options, Run
from benchmarks.tables import figure_table

__all__ = ["live", "plan"]

_WARM_UP_S: Final = 1
_PERCENTILES: Final = ("p50", "p90", "p99", "p99_9", "max")


class _Elsewhere:
    """A service that is not ours: it is where the environment says, and tells us nothing."""

    def tell(self, job: Job) -> Job:
        """Change nothing; the child has our environment."""
        return job

    def counts(self) -> Counts:
        """Give nothing."""
        return Counts(0, 0, 0.0)

    def check(self, measured: Measured, counts: Counts) -> None:
        """Believe the client."""


def plan(options: Options, stream: str, rate: int, cap_mb: float) -> str:
    """Say what would be sent where, for the question; nothing is sent for it.

    Raises:
        BenchmarkError: it is above the cap, or the environment does not say where and who.
    """
    (size,) = options.sizes
    records = int(rate * (options.seconds + _WARM_UP_S)) * options.rounds
    megabytes = records * size / 1e6
    if megabytes > cap_mb:
        raise BenchmarkError(
            f"{megabytes:,.1f} MB would be sent, above --cap-mb {cap_mb:g}: "
            "lower --rate, --seconds or --sizes, or raise the cap"
        )
    try:
        endpoint = DISClient.from_env().settings.base_url
    except ConfigError as exc:
        raise BenchmarkError(f"{exc}; live takes {_environment()}") from None
    return (
        f"{records:,} records of {size} B ({megabytes:,.1f} MB) go to stream {stream!r} at "
        f"{endpoint}, and are read once. They stay there until its retention is over, and "
        "your account pays for them."
    )


def _environment() -> str:
    assert ClientSettings.model_fields.keys() >= {"endpoint", "region", "project_id"}
    return (
        "AIODIS_ENDPOINT or AIODIS_REGION, AIODIS_PROJECT_ID, HUAWEICLOUD_SDK_AK and "
        "HUAWEICLOUD_SDK_SK from the environment"
    )


def live(options: Options, stream: str, rate: int, cap_mb: float, console: Console) -> None:
    """Measure latency and throughput of a stream that is there; `plan` has been agreed to."""
    run = Run("live", options, console, stream=stream, rate=rate, cap_mb=cap_mb)
    (size,) = options.sizes
    partitions = _partitions(stream)
    job = run.job(
        *("ours_flow", "latency", size),
        partitions=partitions,
        auth="env",
        stream=stream,
        rate=rate,
        rate_limit="adaptive",
        app="aiodis-bench",
    )
    rounds: list[Round] = []
    with steps(console, options.rounds) as advance:
        for number in range(options.rounds):
            advance(f"round {number + 1}")
            rounds.append(Round(*measure(job, _Elsewhere())))
    measures = _measures(rounds, size)
    console.print(figure_table(f"{stream}, {partitions} partitions", measures))
    series: dict[str, list[tuple[Any, float]]] = {
        what: [
            (name.replace("_", "."), measures[f"{what} {name}"].spread.median)
            for name in _PERCENTILES
        ]
        for what in ("receipt", "handler")
    }
    chart = Chart("From when a record was due", "bars", "percentile", "ms", series)
    run.finish([Result(Contestant("live", stream, job), rounds)], measures=measures, charts=[chart])


def _measures(rounds: list[Round], size: int) -> dict[str, Measure]:
    found = {
        f"{what} {name}": Measure(
            "ms", Spread.of([each.measured.details[key][name] for each in rounds])
        )
        for what, key in (("receipt", "latency"), ("handler", "handler"))
        for name in _PERCENTILES
    }
    rates = [each.measured.records / each.measured.wall_s for each in rounds]
    found["records"] = Measure("records/s", Spread.of(rates), "higher")
    found["data"] = Measure("MB/s", Spread.of([rate * size / 1e6 for rate in rates]), "higher")
    for name in ("throttled", "failed", "lost"):
        counts = [each.measured.details[name] for each in rounds]
        found[name] = Measure("records", Spread.of(counts))
    return found


def _partitions(stream: str) -> int:
    """Ask how many partitions the stream has; this is the first call that goes out.

    Raises:
        BenchmarkError: it is not there, or the service refuses.
    """

    async def ask() -> int:
        async with DISClient.from_env() as dis:
            return (await dis.streams.describe(stream_name=stream)).writable_partition_count

    try:
        return asyncio.run(ask()) or 1
    except DISError as exc:
        raise BenchmarkError(f"{stream}: {exc}") from None
