"""One run of one suite: from the look at the machine to the file of results."""

import contextlib
import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
from rich.console import Console

from aiodis.api.limits import limits_of
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key
from benchmarks.baseline import baseline_path, compare, read_baseline
from benchmarks.environment import Cores, Environment
from benchmarks.figures import Chart, Measure
from benchmarks.harness import (
    Contestant,
    Result,
    cost_chart,
    costs,
    disturbed,
    document,
    run_rounds,
    saturated,
    write_json,
)
from benchmarks.job import KEY_FORM, Job
from benchmarks.plots import draw, require_matplotlib
from benchmarks.processes import Answerer, BenchmarkError
from benchmarks.tables import change_table

__all__ = ["Options", "Output", "Run", "balanced_keys"]

# What a variation may change of the options; all else of a contestant goes into its job.
_OPTIONS: Final = {
    "auth", "batch", "compression", "fetch", "loop", "ordering", "partitions", "wire"
}  # fmt: skip
# Where the time on the wall counts, so that others on the client's core spoil it.
_PACED: Final = {"paced", "latency", "account", "live"}
_KEYS: Final = 1_000
_FETCH_BYTES: Final = 1024 * 1024

# Who does the work: a module of `benchmarks.peers` and a function of it, where it is not
# just the client's name and the work's.
_MODULES: Final = {
    ("aiodis", "put"): ("ours", "put"),
    ("aiodis", "paced"): ("ours", "paced"),
    ("aiodis", "get"): ("ours_reading", "get"),
    ("async for", "get"): ("ours_reading", "get_each"),
    ("aiodis", "paced_get"): ("ours_reading", "paced"),
}


@dataclass(frozen=True)
class Output:
    """Where a result goes beside the screen, and what it is compared with."""

    json: Path | None = None
    plot: Path | None = None
    against: Path | None = None


@dataclass(frozen=True)
class Options:
    """What all suites let a user choose."""

    sizes: Sequence[int] = (100, 1024)
    batch: int = 500
    fetch: int = 10_000
    partitions: int = 50
    rounds: int = 5
    seconds: float = 2.0
    auth: str = "aksk"
    wire: str = "json"
    compression: str = "none"
    ordering: str = "partition"
    loop: str = "asyncio"
    tls: bool = True
    output: Output = Output()


class Run:
    """A suite's hand on the machine, the answerer and the results."""

    def __init__(self, command: str, options: Options, console: Console, **settings: Any) -> None:
        if options.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            raise BenchmarkError("--loop uvloop needs the package uvloop: pip install uvloop")
        self._command, self._options, self._console = command, options, console
        self._settings = {**dataclasses.asdict(options), **settings}
        del self._settings["output"]
        self._environment = Environment.now()
        self.cores = Cores.choose()
        self._baseline = self._prepare(options.output)
        self._warnings: list[str] = []
        for warning in self._environment.warnings(self.cores):
            self.warn(warning)

    def _prepare(self, output: Output) -> dict[str, Any] | None:
        """See that there will be a place for the result, and read what it is compared with."""
        for name, path in (("--json", output.json), ("--plot", output.plot)):
            if path is not None and not (path.is_dir() or path.absolute().parent.is_dir()):
                raise BenchmarkError(f"{name}: there is no folder {path.parent}")
        if output.plot is not None:
            require_matplotlib()
        if output.against is None:
            return None
        return read_baseline(output.against, self._environment.machine, self._command)

    def warn(self, warning: str) -> None:
        """Say it now, and keep it for the JSON."""
        self._warnings.append(warning)
        self._console.print(f"warning: {warning}", style="yellow")

    def contestant(
        self,
        client: str,
        work: str,
        size: int,
        *,
        name: str | None = None,
        python: str | None = None,
        **changes: Any,
    ) -> Contestant:
        """Describe one; the answerer is not there yet, so its address comes later."""
        module, function = _MODULES.get((client, work), (client, work))
        limit = _FETCH_BYTES if work.endswith("get") else limits_of("COMMON").request_bytes
        job = self.job(module, function, size, **changes)
        records = changes.get("fetch", self._options.fetch) if work.endswith("get") else job.batch
        job = dataclasses.replace(job, batch=max(1, min(records, limit // size)))
        contestant = Contestant(f"{work}_{size}", name or client, job)
        return dataclasses.replace(contestant, python=python) if python else contestant

    def job(self, module: str, function: str, size: int, **changes: Any) -> Job:
        """Describe what a child does, by the options and what differs from them."""
        chosen = {name: changes.pop(name) for name in _OPTIONS & changes.keys()}
        options = dataclasses.replace(self._options, **chosen)
        job = Job(
            client=module,
            work=function,
            endpoint="",
            size=size,
            keys=balanced_keys(options.partitions),
            batch=options.batch,
            partitions=options.partitions,
            seconds=options.seconds,
            auth=options.auth,
            wire=options.wire,
            compression=options.compression,
            ordering=options.ordering,
            loop=options.loop,
            core=self.cores.client,
        )
        return dataclasses.replace(job, **changes)

    def measure(self, contestants: Sequence[Contestant]) -> list[Result]:
        """Start an answerer for each number of partitions, and run all rounds against them."""
        with contextlib.ExitStack() as stack:
            answerers = {
                count: stack.enter_context(Answerer.start(count, self.cores, tls=self._options.tls))
                for count in sorted({each.job.partitions for each in contestants})
            }
            return run_rounds(
                contestants,
                lambda each: answerers[each.job.partitions],
                self._options.rounds,
                self._console,
            )

    def finish(
        self,
        results: Sequence[Result],
        *,
        measures: Mapping[str, Measure] | None = None,
        charts: Sequence[Chart] | None = None,
        **more: Any,
    ) -> None:
        """Warn, compare, and write what was asked for. Costs are the measures if none are given."""
        late = disturbed(results) if self._command in _PACED else []
        for warning in [*saturated(results), *late]:
            self.warn(warning)
        measures = costs(results) if measures is None else measures
        charts = [cost_chart(results)] if charts is None else charts
        found = document(self._command, self._environment, self._settings, results, self._warnings)
        found["measures"] = {name: each.to_dict() for name, each in measures.items()}
        found["charts"] = [each.to_dict() for each in charts]
        found = orjson.loads(orjson.dumps(found | more))  # as it will be read
        self._compare(found)
        output = self._options.output
        if output.json is not None:
            write_json(baseline_path(output.json, self._environment.machine, self._command), found)
        if output.plot is not None:
            picture, page = draw(found, output.plot)
            self._console.print(f"drawn: {picture}, {page}")

    def _compare(self, found: dict[str, Any]) -> None:
        if self._baseline is None:
            return
        changes, warnings = compare(self._baseline, found)
        for warning in warnings:
            self.warn(warning)
        self._console.print(change_table(changes, self._baseline["environment"]["commit"]))
        found["against"] = [dataclasses.asdict(change) for change in changes]


def balanced_keys(partitions: int) -> list[str]:
    """Make keys that fill all partitions alike, in an order without a pattern."""
    where = PartitionMap(enumerate(even_ranges(partitions)))
    wanted = max(1, _KEYS // partitions)
    found: dict[int, list[str]] = {number: [] for number in range(partitions)}
    missing = partitions * wanted
    for number in count():
        if not missing:
            break
        key = KEY_FORM.format(number)
        mine = found[where.find(hash_key(key))]
        if len(mine) < wanted:
            mine.append(key)
            missing -= 1
    keys = [key for mine in found.values() for key in mine]
    Random(0).shuffle(keys)  # noqa: S311 - the same order in each run
    return keys
