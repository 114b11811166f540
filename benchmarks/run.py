"""One run of one suite: from the look at the machine to the file of results."""

import dataclasses
import importlib.util
from collections.abc import Sequence
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
    disturbed,
    document,
    run_rounds,
    saturated,
    write_json,
)
from benchmarks.job import KEY_FORM, Job
from benchmarks.processes import Answerer, BenchmarkError

__all__ = ["Options", "Run", "balanced_keys"]

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
class Options:
    """What all suites let a user choose."""

    sizes: Sequence[int] = (100, 1024)
    batch: int = 500
    fetch: int = 1_000
    partitions: int = 50
    rounds: int = 5
    seconds: float = 2.0
    auth: str = "aksk"
    wire: str = "json"
    compression: str = "none"
    ordering: str = "partition"
    loop: str = "asyncio"
    tls: bool = True
    json: Path | None = None


class Run:
    """A suite's hand on the machine, the answerer and the results."""

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
        **changes: Any,
    ) -> Contestant:
        """Describe one; the answerer is not there yet, so its address comes later."""
        options = self._options
        module, function = _MODULES.get((client, work), (client, work))
        if work.endswith("get"):
            batch = min(options.fetch, _FETCH_BYTES // size)
        else:
            batch = min(options.batch, limits_of("COMMON").request_bytes // size)
        job = Job(
            client=module,
            work=function,
            endpoint="",
            size=size,
            keys=balanced_keys(options.partitions),
            batch=max(1, batch),
            partitions=options.partitions,
            seconds=options.seconds,
            auth=options.auth,
            wire=options.wire,
            compression=options.compression,
            ordering=options.ordering,
            loop=options.loop,
            core=self._cores.client,
        )
        job = dataclasses.replace(job, **changes)
        contestant = Contestant(f"{work}_{size}", name or client, job)
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
