"""Metrics for Prometheus, through prometheus-client: the extra `metrics`."""

import re
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from aiodis.errors import ConfigError
from aiodis.observe.catalog import METRICS, Kind, Metric
from aiodis.observe.observer import NO_SPAN, Span

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ModuleNotFoundError as exc:
    raise ImportError(
        "aiodis.observe.prometheus needs prometheus-client: install aiodis[metrics]", name=exc.name
    ) from exc

__all__ = ["PrometheusObserver"]

C = TypeVar("C", Counter, Histogram, Gauge)
Collector = Counter | Histogram | Gauge
Key = tuple[object, ...]


class PrometheusObserver:
    """Keeps the metrics in a registry, by default the one that `start_http_server` serves.

    Share one between clients: a registry takes each name once. Spans come to
    nothing, as Prometheus has none.

    Invariant: what a cache holds has passed its row's check.

    Raises:
        ConfigError: the registry has these metrics already, or the prefix begins no name.
    """

    def __init__(self, registry: CollectorRegistry | None = None, prefix: str = "aiodis") -> None:
        if not re.fullmatch(r"[A-Za-z_]\w*", prefix, re.ASCII):
            raise ConfigError("prefix must be a letter or _, then letters, digits and _")
        registry = REGISTRY if registry is None else registry
        self._prefix: Final = prefix
        self._collectors = _register(registry, prefix)
        self._counters: dict[Key, Counter] = {}
        self._histograms: dict[Key, Histogram] = {}
        self._gauges: dict[Key, Gauge] = {}

    def __repr__(self) -> str:
        return f"<PrometheusObserver prefix={self._prefix!r}>"

    # A key holds the labels' names too: in another order they make another key, no wrong hit.

    def count(self, metric: Metric, amount: int = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (metric, *labels.items())
        child = self._counters.get(key)
        if child is None:
            child = self._counters[key] = self._child(Counter, metric, "counter", labels)
        child.inc(amount)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        key = (metric, *labels.items())
        child = self._histograms.get(key)
        if child is None:
            child = self._histograms[key] = self._child(Histogram, metric, "histogram", labels)
        child.observe(value)

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = (metric, *labels.items())
        child = self._gauges.get(key)
        if child is None:
            child = self._gauges[key] = self._child(Gauge, metric, "gauge", labels)
        child.set(value)

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:  # noqa: ARG002 - no spans here
        """Give a span that does nothing."""
        return NO_SPAN

    def _child(self, type_: type[C], metric: Metric, kind: Kind, labels: dict[str, str]) -> C:
        metric.check(kind, labels)
        collector = self._collectors[metric]
        assert isinstance(collector, type_)
        return collector.labels(**labels)


def _register(registry: CollectorRegistry, prefix: str) -> dict[Metric, Collector]:
    """Register all metrics or, where one cannot be, none."""
    made: dict[Metric, Collector] = {}
    try:
        for row in METRICS:
            made[row] = _collector(row, registry, prefix)
    except ValueError as exc:
        for collector in made.values():
            registry.unregister(collector)
        raise ConfigError(
            f"no metrics named {prefix}_… can be added to this registry: share one"
            f" PrometheusObserver, or give another prefix ({exc})"
        ) from exc
    return made


def _collector(row: Metric, registry: CollectorRegistry, prefix: str) -> Collector:
    labels = [label.name for label in row.labels]
    match row.kind:
        case "counter":
            return Counter(row.name, row.help, labels, namespace=prefix, registry=registry)
        case "histogram":
            return Histogram(
                row.name,
                row.help,
                labels,
                namespace=prefix,
                registry=registry,
                buckets=row.buckets,
            )
        case "gauge":
            return Gauge(row.name, row.help, labels, namespace=prefix, registry=registry)
