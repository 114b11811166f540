"""Results as tables for people."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from benchmarks.baseline import Change
from benchmarks.figures import Spread
from benchmarks.harness import Result

__all__ = ["change_table", "cost_table", "paced_table", "ratio_table"]


def cost_table(results: Sequence[Result]) -> Table:
    """Show what a record costs each."""
    table = Table(title="The client's CPU, and the answerer's share of its core", box=box.SIMPLE)
    for name in ("case", "client"):
        table.add_column(name, no_wrap=True)
    for name in ("µs/record", "from", "to", "per CPU-s", "a request", "answerer"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in results:
        table.add_row(
            each.contestant.case,
            each.contestant.name,
            *_spread(each.cost),
            f"{1e6 / each.cost.median:,.0f}",
            f"{each.records_per_request:,.0f}",
            f"{each.answerer_share:.0%}",
        )
    return table


def ratio_table(ratios: Mapping[str, Mapping[str, Spread]]) -> Table:
    """Show how the clients compare."""
    table = Table(title="Ratios of CPU per record, round by round", box=box.SIMPLE)
    for name in ("case", "what"):
        table.add_column(name)
    for name in ("times", "from", "to"):
        table.add_column(name, justify="right")
    for case, row in ratios.items():
        for name, spread in row.items():
            what = "aiodis over the floor" if name == "floor" else f"{name} over aiodis"
            table.add_row(case, what, *_spread(spread))
    return table


def paced_table(results: Sequence[Result]) -> Table:
    """Show the share of a core, and latency where it was measured."""
    table = Table(title="A load that keeps its timetable", box=box.SIMPLE)
    table.add_column("case")
    percentiles = {"p50": "p50 ms", "p99": "p99 ms", "p99_9": "p99.9 ms", "max": "max ms"}
    for name in ("records/s", "MB/s", "of a core", *percentiles.values()):
        table.add_column(name, justify="right")
    for result in results:
        for each in result.rounds:
            measured, latency = each.measured, each.measured.details.get("latency", {})
            rate = measured.records / measured.wall_s
            table.add_row(
                result.contestant.case,
                f"{rate:,.0f}",
                f"{rate * result.contestant.job.size / 1e6:,.1f}",
                f"{measured.cpu_s / measured.wall_s:.1%}",
                *(f"{latency[name]:,.1f}" if latency else "" for name in percentiles),
            )
    return table


def change_table(changes: Sequence[Change], commit: str) -> Table:
    """Show what has changed since a baseline."""
    table = Table(title=f"Against the baseline of {commit}", box=box.SIMPLE)
    table.add_column("what")
    for name in ("then", "now", "change", "unit", ""):
        table.add_column(name, justify="right")
    for each in changes:
        table.add_row(
            each.name,
            f"{each.then:,.4g}",
            f"{each.now:,.4g}",
            f"{each.percent:+.1f}%",
            each.unit,
            "" if each.verdict == "same" else each.verdict,
        )
    return table


def _spread(spread: Spread) -> tuple[str, str, str]:
    return f"{spread.median:.2f}", f"{spread.low:.2f}", f"{spread.high:.2f}"
