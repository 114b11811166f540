"""The suites: which contestants run on what, and what is made of their results."""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from rich.console import Console

from aiodis.api.limits import limits_of
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key
from benchmarks.environment import Cores, Environment
from benchmarks.harness import (
    Contestant,
    Result,
    Spread,
    disturbed,
    document,
    ratio,
    run_rounds,
    saturated,
    write_json,
)
from benchmarks.job import Job
from benchmarks.processes import Answerer, BenchmarkError
from benchmarks.tables import cost_table, paced_table, ratio_table
from benchmarks.vendor import require_v3, v2_python

__all__ = ["PEERS", "Options", "floor", "paced", "peers", "put"]

PEERS: Final = ("v3_sync", "v2", "floor")
_OURS: Final = "aiodis"
_KEYS: Final = 1_000

Ratios = dict[str, dict[str, Spread]]


@dataclass(frozen=True)
class Options:
    """What all suites let a user choose."""

    sizes: Sequence[int] = (100, 1024)
    batch: int = 500
    partitions: int = 50
    rounds: int = 5
    seconds: float = 2.0
    auth: str = "aksk"
    loop: str = "asyncio"
    tls: bool = True
    json: Path | None = None


def put(options: Options, rate_limits: Sequence[str], console: Console) -> None:
    """Measure what a record costs aiodis."""
    run = _Run("put", options, console)
    results = run.measure(
        [
            run.contestant(_OURS, "put", size, name=f"rate_limit={limit}", rate_limit=limit)
            for size in options.sizes
            for limit in rate_limits
        ]
    )
    console.print(cost_table(results))
    run.finish(results)


def floor(options: Options, console: Console) -> None:
    """Measure what a record costs without any client."""
    run = _Run("floor", options, console)
    results = run.measure([run.contestant("floor", "put", size) for size in options.sizes])
    console.print(cost_table(results))
    run.finish(results)


def peers(options: Options, names: Sequence[str] | None, console: Console) -> None:
    """Measure aiodis and its peers, interleaved, and say how they compare.

    Without names it is all of them; v2 is then left out where it cannot be installed.
    """
    run = _Run("peers", options, console)
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
    results = run.measure(
        [
            run.contestant(name, "put", size, python=pythons.get(name))
            for size in options.sizes
            for name in (_OURS, *names)
        ]
    )
    ratios = _compare(results)
    console.print(cost_table(results))
    console.print(ratio_table(ratios))
    run.finish(
        results,
        ratios=_each(ratios, lambda spread: round(spread.median, 3)),
        spreads=_each(ratios, Spread.to_dict),
    )


def paced(options: Options, rate: int, sample: int, console: Console) -> None:
    """Measure latency, and the share of a core, under a load that keeps a timetable."""
    run = _Run("paced", options, console, rate=rate)
    results = run.measure(
        [
            run.contestant(_OURS, "paced", size, rate_limit="fixed", rate=rate, sample=sample)
            for size in options.sizes
        ]
    )
    console.print(paced_table(results))
    run.finish(results)


class _Run:
    """One run of one suite, from the look at the machine to the file of results."""

    def __init__(self, command: str, options: Options, console: Console, **settings: Any) -> None:
        if options.loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
            raise BenchmarkError("--loop uvloop needs the package uvloop: pip install uvloop")
        if options.json is not None and not options.json.absolute().parent.is_dir():
            raise BenchmarkError(f"--json: there is no folder {options.json.parent}")
        self._command, self._options, self._console = command, options, console
        self._settings = {**dataclasses.asdict(options), **settings}
        del self._settings["json"]
        self._environment = Environment.now()
        self._cores = Cores.choose()
        self._warnings: list[str] = []
        for warning in self._environment.warnings(self._cores):
            self.warn(warning)

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
        **job: Any,
    ) -> Contestant:
        """Describe one; the answerer is not there yet, so its address comes later."""
        options = self._options
        made = Job(
            client="ours" if client == _OURS else client,
            work=work,
            endpoint="",
            size=size,
            keys=_balanced_keys(options.partitions),
            batch=max(1, min(options.batch, limits_of("COMMON").request_bytes // size)),
            partitions=options.partitions,
            seconds=options.seconds,
            auth=options.auth,
            loop=options.loop,
            core=self._cores.client,
            **job,
        )
        contestant = Contestant(f"{work}_{size}", name or client, made)
        return dataclasses.replace(contestant, python=python) if python else contestant

    def measure(self, contestants: Sequence[Contestant]) -> list[Result]:
        """Start the answerer, and run all rounds against it."""
        options = self._options
        with Answerer.start(options.partitions, self._cores, tls=options.tls) as answerer:
            ca_file = str(answerer.ca_file) if answerer.ca_file else None
            ready = [
                dataclasses.replace(
                    each,
                    job=dataclasses.replace(each.job, endpoint=answerer.endpoint, ca_file=ca_file),
                )
                for each in contestants
            ]
            return run_rounds(ready, answerer, options.rounds, self._console)

    def finish(self, results: Sequence[Result], **more: Any) -> None:
        """Warn, and write the JSON."""
        late = disturbed(results) if self._command == "paced" else []
        for warning in [*saturated(results), *late]:
            self.warn(warning)
        if self._options.json is not None:
            found = document(
                self._command, self._environment, self._settings, results, self._warnings
            )
            write_json(self._options.json, {**found, **more})


def _compare(results: Sequence[Result]) -> Ratios:
    """Say how many times a peer's cost is ours, and how many times ours is the floor's."""
    ours = {each.contestant.case: each for each in results if each.contestant.name == _OURS}
    found: Ratios = {case: {} for case in ours}
    for each in results:
        case, name = each.contestant.case, each.contestant.name
        if name == "floor":
            found[case][name] = ratio(ours[case], each)
        elif name != _OURS:
            found[case][name] = ratio(each, ours[case])
    return found


def _each(ratios: Ratios, show: Callable[[Spread], Any]) -> Mapping[str, Mapping[str, Any]]:
    return {
        case: {name: show(spread) for name, spread in row.items()} for case, row in ratios.items()
    }


def _balanced_keys(partitions: int) -> list[str]:
    """Make keys that fill all partitions alike, in an order without a pattern."""
    where = PartitionMap(enumerate(even_ranges(partitions)))
    wanted = max(1, _KEYS // partitions)
    found: dict[int, list[str]] = {number: [] for number in range(partitions)}
    missing = partitions * wanted
    for number in count():
        if not missing:
            break
        key = f"key-{number:08d}"
        mine = found[where.find(hash_key(key))]
        if len(mine) < wanted:
            mine.append(key)
            missing -= 1
    keys = [key for mine in found.values() for key in mine]
    Random(0).shuffle(keys)  # noqa: S311 - the same order in each run
    return keys
