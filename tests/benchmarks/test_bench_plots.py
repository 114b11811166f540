"""A result becomes a picture, and a page that loads nothing."""

import pytest

from benchmarks.figures import Chart
from benchmarks.plots import draw
from benchmarks.processes import BenchmarkError

pytest.importorskip("matplotlib")

CHARTS = [
    Chart("Bars", "bars", "case", "µs", {"a": [("x", 1.0), ("y", 2.0)], "b": [("y", 3.0)]}),
    Chart("Lines", "lines", "n", "µs", {"a": [(1, 1.0), (10, 2.0)]}, log_x=True, log_y=True),
    Chart("Empty", "lines", "n", "µs", {"a": []}),
]
DOCUMENT = {
    "command": "put",
    "environment": {"commit": "abc", "cpu": "a <fast> one"},
    "settings": {"partitions": 50},
    "warnings": ["the machine was <busy>"],
    "measures": {"put_100 aiodis": {"unit": "µs", "median": 2.5, "min": 2.0, "max": 3.0}},
    "charts": [each.to_dict() for each in CHARTS],
}


def test_the_page_holds_its_picture_and_figures_and_asks_for_nothing_else(tmp_path):
    picture, page = draw(DOCUMENT, tmp_path / "out.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert page.name == "out.html"
    assert "data:image/png;base64," in text
    assert "http" not in text
    assert "<td>put_100 aiodis</td><td>2.5</td><td>2</td><td>3</td>" in text
    assert "warning: the machine was &lt;busy&gt;" in text
    assert "a &lt;fast&gt; one" in text


def test_a_result_without_charts_is_drawn_too(tmp_path):
    picture, _ = draw(DOCUMENT | {"charts": []}, tmp_path / "out.html")
    assert picture.exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "out.png").mkdir()
    with pytest.raises(BenchmarkError, match=r"--plot: .*out\.png"):
        draw(DOCUMENT, tmp_path / "out.html")
