"""A result as pictures: one PNG, and one HTML page that needs nothing else.

Both are drawn from the JSON document alone, so an old result can be drawn too.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import BenchmarkError

__all__ = ["draw", "require_matplotlib"]

_WIDTH, _HEIGHT = 9.0, 4.2
_DPI: Final = 110

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100% }}
.warning {{ color: #a40 }}
</style>
<h1>{title}</h1>
{warnings}
<h2>Figures</h2>
{measures}
<h2>Pictures</h2>
<img alt="{title}" src="data:image/png;base64,{png}">
<h2>Settings</h2>
{settings}
<h2>Environment</h2>
{environment}
</html>
"""


def require_matplotlib() -> None:
    """See that pictures can be drawn, before there is anything to draw.

    Raises:
        BenchmarkError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - a heavy library that only pictures need
    except ImportError:
        raise BenchmarkError("--plot needs matplotlib: pip install --group bench") from None
    mpl.use("Agg")


def draw(document: Mapping[str, Any], path: Path) -> tuple[Path, Path]:
    """Write the picture and the page, which differ in their suffix; give both paths.

    Raises:
        BenchmarkError: a file cannot be written.
    """
    require_matplotlib()
    png = _picture(document)
    picture, page = path.with_suffix(".png"), path.with_suffix(".html")
    try:
        picture.write_bytes(png)
        page.write_text(_page(document, png), encoding="utf-8")
    except OSError as exc:
        raise BenchmarkError(f"--plot: {exc.filename}: {exc.strerror}") from None
    return picture, page


def _picture(document: Mapping[str, Any]) -> bytes:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above

    charts = document["charts"]
    figure = Figure(figsize=(_WIDTH, _HEIGHT * max(1, len(charts))), layout="constrained")
    axes = figure.subplots(max(1, len(charts)), squeeze=False)
    for chart, (axis,) in zip(charts, axes, strict=False):
        _draw_chart(chart, axis)
    figure.suptitle(_title(document))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _draw_chart(chart: Mapping[str, Any], axis: Any) -> None:
    if chart["kind"] == "bars":
        _draw_bars(chart["series"], axis)
    else:
        for name, points in chart["series"].items():
            marker = "o" if len(points) <= 20 else ""
            axis.plot([x for x, _ in points], [y for _, y in points], marker=marker, label=name)
        axis.grid(visible=True, alpha=0.3)
    if chart["log_x"]:
        axis.set_xscale("log")
    if chart["log_y"]:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set(title=chart["title"], xlabel=chart["x_label"], ylabel=chart["y_label"])
    if len(chart["series"]) <= 12:
        axis.legend(fontsize="small")


def _draw_bars(series: Mapping[str, Any], axis: Any) -> None:
    places = list(dict.fromkeys(x for points in series.values() for x, _ in points))
    width = 0.8 / max(1, len(series))
    for number, (name, points) in enumerate(series.items()):
        at = [places.index(x) + (number + 0.5) * width - 0.4 for x, _ in points]
        bars = axis.bar(at, [y for _, y in points], width, label=name)
        if len(series) * len(places) <= 40:
            axis.bar_label(bars, fmt="%.3g", fontsize=7)
    axis.set_xticks(range(len(places)), places)


def _page(document: Mapping[str, Any], png: bytes) -> str:
    warnings = "".join(
        f'<p class="warning">warning: {html.escape(each)}</p>' for each in document["warnings"]
    )
    rows = [("", "median", "from", "to", "unit")]
    rows += [
        (name, f"{each['median']:,.4g}", f"{each['min']:,.4g}", f"{each['max']:,.4g}", each["unit"])
        for name, each in document["measures"].items()
    ]
    return _PAGE.format(
        title=html.escape(_title(document)),
        warnings=warnings,
        measures=_table(rows),
        png=base64.b64encode(png).decode(),
        settings=_table([("", "")] + [(k, str(v)) for k, v in document["settings"].items()]),
        environment=_table([("", "")] + [(k, str(v)) for k, v in document["environment"].items()]),
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    ]
    return "<table>" + "".join(lines) + "</table>"


def _title(document: Mapping[str, Any]) -> str:
    environment = document["environment"]
    return f"aiodis benchmarks {document['command']}, {environment['commit']}, {environment['cpu']}"
