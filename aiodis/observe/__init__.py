"""What an operator sees: metrics and spans, told to an observer once a batch or a request.

The adapters are in modules of their own, so that nobody imports a library unasked:
`aiodis.observe.prometheus` (extra `metrics`) and `aiodis.observe.opentelemetry` (extra `otel`).
"""

from aiodis.observe.catalog import METRICS, SPANS, Label, Metric, SpanRow
from aiodis.observe.observer import NO_OBSERVER, Observer, Span, guarded

__all__ = [
    "METRICS",
    "NO_OBSERVER",
    "SPANS",
    "Label",
    "Metric",
    "Observer",
    "Span",
    "SpanRow",
    "guarded",
]
