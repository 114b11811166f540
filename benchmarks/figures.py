"""What a suite hands on beside its tables: measures to compare, and charts to draw."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Chart", "Measure", "Spread"]


@dataclass(frozen=True)
class Spread:
    """Several rounds' values of one figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Take the median, the least and the greatest."""
        return cls(statistics.median(values), min(values), max(values))

    def to_dict(self, digits: int = 3) -> dict[str, float]:
        """Give it for JSON."""
        return {
            "median": round(self.median, digits),
            "min": round(self.low, digits),
            "max": round(self.high, digits),
        }


@dataclass(frozen=True)
class Measure:
    """One figure by which two runs are compared."""

    unit: str
    spread: Spread
    better: Literal["lower", "higher"] = "lower"

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {"unit": self.unit, "better": self.better, **self.spread.to_dict()}


@dataclass(frozen=True)
class Chart:
    """One picture, as data: points by the name of their series.

    `x` of bars is a text, of lines a number.
    """

    title: str
    kind: Literal["bars", "lines"]
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[Any, float]]] = field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give it for JSON."""
        return {
            "title": self.title,
            "kind": self.kind,
            "x_label": self.x_label,
            "y_label": self.y_label,
            "log_x": self.log_x,
            "log_y": self.log_y,
            "series": {name: [list(point) for point in each] for name, each in self.series.items()},
        }
