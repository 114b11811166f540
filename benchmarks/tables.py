"""Results as tables for people."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich import box
from rich.table import Table

from benchmarks.baseline import Change
from benchmarks.figures import Measure, Spread
from benchmarks.harness import Result

__all__ = [
    "change_table",
    "cost_table",
    "figure_table",
    "latency_table",
    "paced_table",
    "ratio_table",
]


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


def latency_table(results: Sequence[Result]) -> Table:
    """Show how late receipts and handlers were, in the median round."""
    table = Table(title="From when a record was due: corrected for omission", box=box.SIMPLE)
    for name in ("load", "service", "to"):
        table.add_column(name)
    percentiles = {"p50": "p50 ms", "p90": "p90", "p99": "p99", "p99_9": "p99.9", "max": "max"}
    for name in percentiles.values():
        table.add_column(name, justify="right")
    for each in results:
        for what, key in (("receipt", "latency"), ("handler", "handler")):
            found = [one.measured.details[key] for one in each.rounds]
            table.add_row(
                *(each.contestant.case, each.contestant.name, what),
                *(f"{median(one[name] for one in found):,.1f}" for name in percentiles),
            )
    return table


def figure_table(title: str, measures: Mapping[str, Measure]) -> Table:
    """Show figures, one a line; with their range where there were rounds."""
    table = Table(title=title, box=box.SIMPLE)
    table.add_column("what")
    for name in ("figure", "from", "to", "unit"):
        table.add_column(name, justify="right")
    for name, each in measures.items():
        spread = each.spread
        is_one = spread.low == spread.high
        ends = ("", "") if is_one else (_short(spread.low), _short(spread.high))
        table.add_row(name, _short(spread.median), *ends, each.unit)
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
            _short(each.then),
            _short(each.now),
            f"{each.percent:+.1f}%",
            each.unit,
            "" if each.verdict == "same" else each.verdict,
        )
    return table


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _spread(spread: Spread) -> tuple[str, str, str]:
    return f"{spread.median:.2f}", f"{spread.low:.2f}", f"{spread.high:.2f}"
