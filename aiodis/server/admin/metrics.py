"""The server's metrics for Prometheus, through prometheus-client: the extra `metrics`.

Nothing is counted here: each scrape reads what the server has counted anyway.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aiodis.server.admin.admin import Admin
from aiodis.server.admin.answer import Raw
from aiodis.server.projects import Projects

try:
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as exc:
    raise ImportError("metrics need prometheus-client: install aiodis[metrics]") from exc

__all__ = ["exposition"]

_PREFIX: Final = "aiodis_server_"
_Sample = tuple[tuple[str, ...], float]


def exposition(admin: Admin, projects: Projects) -> Raw:
    """Write all metrics as text."""
    registry = CollectorRegistry()
    registry.register(_Collector(admin, projects))
    ProcessCollector(registry=registry)  # resident memory, processor time, open files
    return Raw(generate_latest(registry), CONTENT_TYPE_LATEST)


class _Collector(Collector):
    def __init__(self, admin: Admin, projects: Projects) -> None:
        self._admin, self._projects = admin, projects

    def collect(self) -> Iterator[Metric]:
        totals, counter, gauge = (
            self._admin.server.requests.totals,
            CounterMetricFamily,
            GaugeMetricFamily,
        )
        overviews = self._projects.overview(self._admin.now_ms)
        streams = [(view.project_id, stream) for view in overviews for stream in view.streams]
        yield _family(
            counter,
            "requests",
            "Requests that were answered, by operation and HTTP status.",
            ("operation", "status"),
            (
                ((operation or "none", str(status or "none")), count)
                for (operation, status), count in totals.answers.items()
            ),
        )
        yield _family(
            counter,
            "request_seconds",
            "Real time from a request's head to its answer.",
            ("operation",),
            (((operation or "none",), seconds) for operation, seconds in totals.seconds.items()),
        )
        yield _family(
            counter,
            "faults",
            "Requests that met a fault on purpose.",
            ("operation", "fault"),
            (
                ((operation or "none", name), count)
                for (operation, name), count in totals.faults.items()
            ),
        )
        yield _family(
            counter,
            "records",
            "Records that were stored, read, or failed within a put.",
            ("direction",),
            [
                (("in",), totals.records_in),
                (("out",), totals.records_out),
                (("failed",), totals.records_failed),
            ],
        )
        yield _family(
            counter,
            "record_bytes",
            "Data of the records that were stored or read.",
            ("direction",),
            [(("in",), totals.data_bytes_in), (("out",), totals.data_bytes_out)],
        )
        yield _family(
            counter,
            "body_bytes",
            "Bodies of requests and answers, as on the wire.",
            ("direction",),
            [(("in",), totals.bytes_in), (("out",), totals.bytes_out)],
        )
        yield _family(
            gauge,
            "open_connections",
            "Connections to the server.",
            (),
            [((), self._admin.connections())],
        )
        yield _family(
            gauge,
            "streams",
            "Streams.",
            ("project",),
            (((view.project_id,), len(view.streams)) for view in overviews),
        )
        yield _family(
            gauge,
            "partitions",
            "Partitions that are ACTIVE.",
            ("project",),
            (
                (
                    (view.project_id,),
                    sum(p.status == "ACTIVE" for s in view.streams for p in s.partitions),
                )
                for view in overviews
            ),
        )
        yield _family(
            gauge,
            "log_bytes",
            "Size of a stream's log, on disk or, without a data folder, in memory.",
            ("project", "stream"),
            (((project_id, stream.name), stream.log_bytes) for project_id, stream in streams),
        )


def _family(
    kind: Callable[..., CounterMetricFamily | GaugeMetricFamily],
    name: str,
    about: str,
    labels: tuple[str, ...],
    samples: Iterable[_Sample],
) -> Metric:
    family = kind(_PREFIX + name, about, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
