"""Metrics and spans for OpenTelemetry, through its API alone: the extra `otel`.

Where they go is the business of the SDK that the program sets up; without one, nowhere.
"""

from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Final

from aiodis.errors import RecordError, ServiceError
from aiodis.observe.catalog import METRICS, SPANS, Kind, Metric, SpanRow, Unit
from aiodis.observe.observer import Span

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context, attach, detach, get_current
except ModuleNotFoundError as exc:
    raise ImportError(
        "aiodis.observe.opentelemetry needs opentelemetry-api: install aiodis[otel]", name=exc.name
    ) from exc

__all__ = ["OpenTelemetryObserver"]

_UNITS: Final[dict[Unit, str]] = {
    "records": "{record}",
    "requests": "{request}",
    "bytes": "By",
    "seconds": "s",
    "ratio": "1",
    "partitions": "{partition}",
}
_KINDS: Final = {"client": trace.SpanKind.CLIENT, "internal": trace.SpanKind.INTERNAL}


class OpenTelemetryObserver:
    """Tells the metrics to a meter and the spans to a tracer, by default the global providers'.

    A metric `producer_requests` is named `aiodis.producer.requests`; its labels
    become attributes of the same names. A span's attributes get the prefix
    `aiodis.`. Share one between clients.
    """

    def __init__(
        self,
        *,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        own = _own_version()
        meter = metrics.get_meter("aiodis", own, meter_provider)
        self._tracer = trace.get_tracer("aiodis", own, tracer_provider)
        self._counters = {
            row: meter.create_counter(_dotted(row), _UNITS[row.unit], row.help)
            for row in METRICS
            if row.kind == "counter"
        }
        self._histograms = {
            row: meter.create_histogram(
                _dotted(row),
                _UNITS[row.unit],
                row.help,
                explicit_bucket_boundaries_advisory=row.buckets,
            )
            for row in METRICS
            if row.kind == "histogram"
        }
        self._gauges = {
            row: meter.create_gauge(_dotted(row), _UNITS[row.unit], row.help)
            for row in METRICS
            if row.kind == "gauge"
        }
        self._checked: set[tuple[object, ...]] = set()

    def __repr__(self) -> str:
        return "<OpenTelemetryObserver>"

    def count(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        self._check(metric, "counter", labels)
        self._counters[metric].add(amount, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        self._check(metric, "histogram", labels)
        self._histograms[metric].record(value, labels)

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._check(metric, "gauge", labels)
        self._gauges[metric].set(value, labels)

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Give a block's span. It is the current one inside, also for tasks that begin there.

        Raises:
            ValueError: there is no such row, or it has no such attribute.
        """
        row = SPANS.get(name)
        if row is None:
            raise ValueError(f"there is no span {name!r}")
        return _OpenSpan(row, self._tracer, _prefixed(row, attributes))

    def _check(self, metric: Metric, kind: Kind, labels: dict[str, str]) -> None:
        key = (metric, kind, *labels.items())
        if key not in self._checked:
            metric.check(kind, labels)
            self._checked.add(key)


class _OpenSpan:
    """One span, and its own context. It begins when the block is entered."""

    __slots__ = ("_attributes", "_row", "_span", "_token", "_tracer")

    def __init__(
        self, row: SpanRow, tracer: trace.Tracer, attributes: dict[str, str | int]
    ) -> None:
        self._row, self._tracer, self._attributes = row, tracer, attributes

    def __enter__(self) -> Span:
        # Work in the background runs in a copy of the context in which the producer was
        # started; that trace is over, or somebody else's.
        around = Context() if self._row.background else get_current()
        self._span = self._tracer.start_span(
            self._row.name, around, _KINDS[self._row.kind], self._attributes
        )
        self._token = attach(trace.set_span_in_context(self._span, around))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        detach(self._token)
        if error is not None:
            self.fail(error)
        self._span.end()

    def set(self, **attributes: str | int) -> None:
        self._span.set_attributes(_prefixed(self._row, attributes))

    def fail(self, error: BaseException) -> None:
        """Tell the kind of error. Its text is left out: it may be anybody's."""
        known = error if isinstance(error, ServiceError | RecordError) else None
        self._span.set_attribute("error.type", (known and known.code) or type(error).__name__)
        if isinstance(error, ServiceError) and error.request_id:
            self._span.set_attribute("aiodis.request_id", error.request_id)
        if isinstance(error, Exception):  # else it was cancelled, which is no failure
            self._span.set_status(trace.StatusCode.ERROR)


def _prefixed(row: SpanRow, attributes: dict[str, str | int]) -> dict[str, str | int]:
    row.check(attributes)
    return {f"aiodis.{name}": value for name, value in attributes.items()}


def _dotted(row: Metric) -> str:
    part, _, what = row.name.partition("_")
    return f"aiodis.{part}.{what}"


def _own_version() -> str:
    try:
        return version("aiodis")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
