"""The drill: a group of four processes under a live producer, and all that befalls machines.

One member is killed with `kill -9`, one is stopped for longer than it holds its
partitions, the server is killed and started again, and the stream grows and shrinks.
Each member writes down what it does (`ledger`), and at the end that is held against
what a group promises (`ownership`).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson
from rich.console import Console
from rich.table import Table

from aiodis import DISClient, DISError
from aiodis.wire.routing import parse_range
from benchmarks.baseline import baseline_path
from benchmarks.environment import Environment
from benchmarks.flow.drill_member import APP, STREAM, MemberSettings
from benchmarks.flow.drill_writer import Written
from benchmarks.flow.ledger import ROW, read_notes, read_rows
from benchmarks.flow.ownership import Findings, Pause, examine
from benchmarks.harness import write_json
from benchmarks.processes import BenchmarkError

__all__ = ["LONG", "QUICK", "Plan", "main"]

_ACCESS_KEY, _SECRET_KEY = "DRILLKEY", "drill-secret"
_PROJECT: Final = "0123456789abcdef0123456789abcdef"
_PARTITIONS, _GROWN, _SHRUNK = 16, 24, 8
_NAMES: Final = ("a", "b", "c", "d")
_LOOK_S: Final = 0.1
_TELL_S: Final = 10.0


class DrillError(BenchmarkError):
    """The drill could not run, or something did not happen in time."""


class Plan(NamedTuple):
    """How hard, and how long. `misses` waits for the service to miss the member that is killed.

    Else it comes back at once, under its name, and the rebalance that it causes
    takes the partitions of the one that is stopped. A client that could not reach the
    server looks again after `breaker_open_ms`.
    """

    rate: int
    heartbeat_interval_ms: int
    rebalance_timeout_ms: int
    breaker_open_ms: int
    pause_s: float
    calm_s: float
    misses: bool
    step_s: float


LONG: Final = Plan(20_000, 1_000, 5_000, 10_000, 90, 8, misses=True, step_s=180)
QUICK: Final = Plan(2_000, 400, 2_000, 1_000, 5, 0.5, misses=False, step_s=40)


def main(plan: Plan, json: Path | None, keep: Path | None) -> int:
    """Run the drill and print its figures; give the exit status."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    try:
        if json is not None and not (json.is_dir() or json.absolute().parent.is_dir()):
            raise DrillError(f"--json: there is no folder {json.parent}")
        with contextlib.ExitStack() as stack:
            folder = keep or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="aiodis-"))
            )
            folder.mkdir(parents=True, exist_ok=True)
            environment = Environment.now()
            drill = _Drill(console, folder, plan)
            asyncio.run(drill.run())
            return drill.report(environment, json)
    except (BenchmarkError, DISError) as exc:
        print(f"group-drill: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("group-drill: interrupted", file=sys.stderr)
        return 130


class _Process:
    """Python with arguments, as a process of its own."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._popen.poll()

    @property
    def has_ended(self) -> bool:
        return self.status is not None

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it as `kill -9` does; also if it is stopped."""
        self._popen.kill()
        self._popen.wait()

    def said(self) -> str:
        return self.log.read_text()[-2000:]


class _Server:
    """`aiodis serve` on one folder and port, to kill and to start again. Its limits are off."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ready = folder, folder / "ready"
        self._port = 0
        self.process: _Process | None = None

    async def start(self) -> str:
        """Start it, and give its endpoint when it answers."""
        self._ready.unlink(missing_ok=True)
        where = ("--port", str(self._port), "--data", str(self._folder / "data"))
        keys = ("--project-id", _PROJECT, "--access-key", _ACCESS_KEY, "--secret-key", _SECRET_KEY)
        process = self.process = _Process(
            self._folder / "server.log",
            *("aiodis", "serve", "--no-limits", "--ready-file", str(self._ready), *where, *keys),
        )
        until = time.monotonic() + 60
        while not self._ready.exists():
            if process.has_ended or time.monotonic() > until:
                raise DrillError(f"the server did not start:\n{process.said()}")
            await asyncio.sleep(0.02)
        endpoint = self._ready.read_text().strip()
        self._port = int(endpoint.rpartition(":")[2])
        return endpoint

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self.process is not None
        self.process.kill()


class _Member:
    """One process of the group, as its notes show it."""

    def __init__(self, folder: Path, stem: str, settings: MemberSettings) -> None:
        self.stem = stem
        self.rows, self._notes = folder / f"{stem}.rows", folder / f"{stem}.notes"
        self._seen = 0
        self.mine: set[int] = set()
        self.generation = -1
        self.process = _Process(
            folder / f"{stem}.log",
            "benchmarks.flow.drill_member",
            str(folder / stem),
            msgspec.json.encode(settings).decode(),
        )

    def look(self) -> None:
        """Take in what it wrote down since the last look."""
        notes = read_notes(self._notes)
        for note in notes[self._seen :]:
            if note.what == "assigned":
                self.mine.update(note.partitions)
                self.generation = note.generation
            elif note.what == "gone":
                self.mine.difference_update(note.partitions)
        self._seen = len(notes)

    @property
    def handled(self) -> int:
        return self.rows.stat().st_size // ROW.size if self.rows.exists() else 0


class _Drill:
    """One run. `_members` are those at work, `_everybody` all that ever were."""

    def __init__(self, console: Console, folder: Path, plan: Plan) -> None:
        self._console, self._folder, self._plan = console, folder, plan
        self._server = _Server(folder)
        self._members: dict[str, _Member] = {}
        self._everybody: list[_Member] = []
        self._writer: _Process | None = None
        self._written = folder / "written"
        self._pause: Pause | None = None
        self._began = time.monotonic()
        self._told = self._began
        self._generation = -1
        self._took: dict[str, float] = {}
        self._stored = 0

    # What happens

    async def run(self) -> None:
        """Run all of it; every process is over when this returns."""
        if any(self._folder.glob("*.rows")):
            raise DrillError(f"--keep: {self._folder} has an earlier drill in it")
        try:
            os.environ.update(
                AIODIS_ENDPOINT=await self._server.start(),
                AIODIS_PROJECT_ID=_PROJECT,
                HUAWEICLOUD_SDK_AK=_ACCESS_KEY,
                HUAWEICLOUD_SDK_SK=_SECRET_KEY,
            )
            async with DISClient.from_env() as dis:
                await dis.streams.create(stream_name=STREAM, partition_count=_PARTITIONS)
                await dis.streams.wait_until_running(STREAM)
                await self._befall(dis)
        finally:
            for process in self._processes():
                process.kill()

    async def _befall(self, dis: DISClient) -> None:
        for name in _NAMES:
            self._start(name)
        self._writer = _Process(
            self._folder / "writer.log",
            "benchmarks.flow.drill_writer",
            *(str(self._written), str(self._plan.rate), str(self._plan.breaker_open_ms)),
        )
        await self._shared("four members share 16 partitions", _NAMES, _PARTITIONS)
        await self._calm()
        await self._kill_one_and_pause_another()
        await self._kill_the_server()
        await dis.streams.scale(stream_name=STREAM, target_partition_count=_GROWN)
        await self._shared("16 -> 24 partitions, shared", _NAMES, _GROWN)
        await self._calm()
        await dis.streams.scale(stream_name=STREAM, target_partition_count=_SHRUNK)
        self._tell("24 -> 8 partitions")
        await self._calm()
        await self._end(dis)

    async def _kill_one_and_pause_another(self) -> None:
        plan = self._plan
        self._members.pop("a").process.kill()
        self._tell("a killed with kill -9")
        if plan.misses:
            await self._shared("a missed, its partitions at the others", "bcd", _PARTITIONS)
            self._start("a")
            await self._shared("a new process instead of a", _NAMES, _PARTITIONS)
            await self._calm()
        stopped_ns, stopped = time.monotonic_ns(), time.monotonic()
        paused = self._members["b"]
        paused.process.send(signal.SIGSTOP)
        self._tell("b stopped with SIGSTOP")
        if not plan.misses:
            self._start("a")
        await self._shared("b missed, its partitions at the others", "acd", _PARTITIONS)
        await self._wait(stopped + plan.pause_s - time.monotonic())
        pause = time.monotonic() - stopped
        self._pause = Pause(paused.stem, stopped_ns, time.monotonic_ns())
        paused.process.send(signal.SIGCONT)
        self._tell(f"b goes on after {pause:.0f} s")
        await self._shared("b joined again", _NAMES, _PARTITIONS)
        await self._calm()
        self._took["the pause"] = pause

    async def _kill_the_server(self) -> None:
        killed = time.monotonic()
        self._server.kill()
        self._tell("the server killed with kill -9")
        await self._server.start()
        self._tell("the server started again")
        what = "all joined again after the server's end"
        await self._shared(what, _NAMES, _PARTITIONS, since=killed)
        await self._calm()

    async def _end(self, dis: DISClient) -> None:
        assert self._writer is not None
        self._writer.send(signal.SIGTERM)
        await self._until("the producer flushes", self._written.exists)
        self._tell("the producer is done")
        began = time.monotonic()
        while not await self._all_committed(dis):
            self._check(began, "all is read and committed")
            await asyncio.sleep(0.5)
        self._tell("all is read and committed")
        for member in self._members.values():
            member.process.send(signal.SIGTERM)
        await self._until(
            "members close",
            lambda: all(member.process.has_ended for member in self._members.values()),
            ends=True,
        )
        for member in self._members.values():
            if member.process.status != 0:
                raise DrillError(f"{member.stem} did not end well:\n{member.process.said()}")

    async def _all_committed(self, dis: DISClient) -> bool:
        """Ask the service itself, whatever members wrote down."""
        stored, is_done = 0, True
        async for partition in dis.streams.partitions(STREAM):
            _, end = parse_range(partition.sequence_number_range) or (0, 0)
            found = await dis.checkpoints.get(
                app_name=APP, stream_name=STREAM, partition_id=partition.partition_id
            )
            stored += end
            is_done = is_done and max(0, found.sequence_number) == end
        self._stored = stored
        return is_done

    def _start(self, name: str) -> None:
        plan = self._plan
        settings = MemberSettings(
            client_id=f"member-{name}",
            heartbeat_interval_ms=plan.heartbeat_interval_ms,
            rebalance_timeout_ms=plan.rebalance_timeout_ms,
            breaker_open_ms=plan.breaker_open_ms,
            reads_with="run" if name in "ac" else "async for",
        )
        member = _Member(self._folder, f"{name}.{len(self._everybody)}", settings)
        self._members[name] = member
        self._everybody.append(member)

    # Waiting

    async def _shared(
        self, what: str, names: Iterable[str], partitions: int, since: float | None = None
    ) -> None:
        """Wait until these members share the partitions in a generation that is new."""
        began, names = since or time.monotonic(), tuple(names)
        await self._until(what, lambda: self._is_shared(names, partitions))
        self._generation = max(self._members[name].generation for name in names)
        self._took[what] = time.monotonic() - began
        self._tell(f"{what} (after {self._took[what]:.1f} s)")

    def _is_shared(self, names: tuple[str, ...], partitions: int) -> bool:
        members = [self._members[name] for name in names]
        for member in members:
            member.look()
        owned = sorted(number for member in members for number in member.mine)
        return (
            owned == list(range(partitions))
            and all(member.mine for member in members)
            and min(member.generation for member in members) > self._generation
        )

    async def _calm(self) -> None:
        """Let them work until all have, at the least for the time of the plan."""
        before = {member: member.handled for member in self._members.values()}
        await self._wait(self._plan.calm_s)
        await self._until(
            "each member handles records",
            lambda: all(member.handled > count for member, count in before.items()),
        )

    async def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await self._until("its time", lambda: time.monotonic() >= until)

    async def _until(self, what: str, claim: Callable[[], bool], *, ends: bool = False) -> None:
        began = time.monotonic()
        while not claim():
            self._check(began, what, ends=ends)
            await asyncio.sleep(_LOOK_S)

    def _check(self, began: float, what: str, *, ends: bool = False) -> None:
        """See that all is well, and tell how far it is, now and then."""
        now = time.monotonic()
        if now > began + self._plan.step_s:
            raise DrillError(f"not in {self._plan.step_s:.0f} s: {what}")
        for process in self._processes():
            is_writer = process is self._writer
            if process.has_ended and not ends and not (is_writer and self._written.exists()):
                raise DrillError(f"{process.log.name}: it ended by itself:\n{process.said()}")
        if now > self._told + _TELL_S:
            self._tell(f"... waiting: {what}")

    def _processes(self) -> list[_Process]:
        members = [member.process for member in self._members.values()]
        return [p for p in (*members, self._writer, self._server.process) if p is not None]

    def _tell(self, what: str) -> None:
        self._told = time.monotonic()
        handled = sum(member.handled for member in self._everybody)
        self._console.print(
            f"{self._told - self._began:6.1f} s  {handled:>11,} handled  {what}", highlight=False
        )

    # What came of it

    def report(self, environment: Environment, json: Path | None) -> int:
        """Print the table and the line of JSON; give the exit status."""
        seconds = time.monotonic() - self._began
        written = msgspec.json.decode(self._written.read_bytes(), type=Written)
        found = examine(
            {member.stem: read_rows(member.rows) for member in self._everybody},
            {m.stem: read_notes(m.rows.with_suffix(".notes")) for m in self._everybody},
            written.sent,
            self._pause,
        )
        broken = found.broken + (["failed"] if written.failed else [])
        figures = self._figures(found, written, seconds)
        self._console.print(self._table(found, written, seconds))
        if json is not None:
            write_json(
                baseline_path(json, environment.machine, "group-drill"),
                {
                    **figures,
                    "plan": self._plan._asdict(),
                    "took_s": {what: round(took, 2) for what, took in self._took.items()},
                    "environment": environment.to_dict(),
                },
            )
        print(orjson.dumps(figures | {"broken": broken}).decode())
        return 1 if broken else 0

    def _figures(self, found: Findings, written: Written, seconds: float) -> dict[str, Any]:
        return {
            "sent": written.sent,
            "rate": round(written.sent / written.seconds),
            "failed": written.failed,
            "stored": self._stored,
            "handled": found.handled,
            "missing": found.missing,
            "skipped": found.skipped,
            "repeats": sum(found.repeats.values()),
            "repeats_of_committed": found.repeats_of_committed,
            "overlaps": found.overlaps,
            "after_waking": found.after_waking,
            "stale_commits": found.stale_commits,
            "early_commits": found.early_commits,
            "refused_commits": found.refused_commits,
            "seconds": round(seconds, 1),
        }

    def _table(self, found: Findings, written: Written, seconds: float) -> Table:
        plan = self._plan
        table = Table(title="The group drill", show_header=False)
        repeats = ", ".join(f"{count:,} of {who}" for who, count in sorted(found.repeats.items()))
        rows = {
            "records sent": f"{written.sent:,} ({written.sent / written.seconds:,.0f}/s"
            f" of {plan.rate:,}/s, limits off)",
            "failed · stored twice, as an answer was lost": f"{written.failed}"
            f" · {self._stored - written.delivered:,}",
            "heartbeat · window · pause": f"{plan.heartbeat_interval_ms} ms ·"
            f" {plan.rebalance_timeout_ms} ms · {self._took['the pause']:.0f} s",
            "handled": f"{found.handled:,}",
            "never handled · skipped": f"{found.missing} · {found.skipped}",
            "handled again, not yet committed": repeats or "none",
            "handled again, though committed": f"{found.repeats_of_committed}",
            "handled while another member had begun": f"{found.overlaps}",
            "handled by the paused one after it woke": f"{found.after_waking}",
            "commits too late · beyond the work": f"{found.stale_commits} · {found.early_commits}",
            "commits that were refused or failed": f"{found.refused_commits}",
            "seconds": f"{seconds:.1f}",
        }
        for row in rows.items():
            table.add_row(*row)
        return table
