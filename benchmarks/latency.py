"""Latencies as percentiles, in an HdrHistogram."""

from collections.abc import Iterable
from typing import Any, Final

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

__all__ = ["summary"]

_LONGEST_US: Final = 600_000_000
_DIGITS: Final = 3
_PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


def summary(latencies_s: Iterable[float]) -> dict[str, Any]:
    """Give percentiles in milliseconds, and the histogram itself in its own encoding."""
    histogram = HdrHistogram(1, _LONGEST_US, _DIGITS)
    for latency in latencies_s:
        histogram.record_value(min(max(1, round(latency * 1e6)), _LONGEST_US))
    found = {
        name: round(histogram.get_value_at_percentile(percentile) / 1000, 2)
        for name, percentile in _PERCENTILES.items()
    }
    return {
        **found,
        "samples": histogram.get_total_count(),
        "hdr": histogram.encode().decode(),
    }
