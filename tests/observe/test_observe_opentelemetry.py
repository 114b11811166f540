import asyncio

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import aiodis
from aiodis.errors import DecodeError, RecordError, ServiceError, ThrottledError
from aiodis.observe import METRICS, SPANS
from aiodis.observe.catalog import (
    PRODUCER_BUFFER_BYTES,
    PRODUCER_RECORDS_DELIVERED,
    PRODUCER_RECORDS_FAILED,
    PRODUCER_REQUEST_SECONDS,
)
from aiodis.observe.opentelemetry import OpenTelemetryObserver


class Backend:
    """A real SDK that keeps what it is told."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.exporter = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracer_provider.get_tracer("test")

    def close(self):
        self.meter_provider.shutdown()
        self.tracer_provider.shutdown()

    @property
    def scopes(self):
        data = self.reader.get_metrics_data()
        return data.resource_metrics[0].scope_metrics if data else []

    @property
    def metrics(self):
        return {metric.name: metric for scope in self.scopes for metric in scope.metrics}

    def points(self, name):
        points = self.metrics[name].data.data_points
        return {tuple(sorted(point.attributes.items())): point for point in points}

    @property
    def spans(self):
        return self.exporter.get_finished_spans()


@pytest.fixture
def backend():
    backend = Backend()
    yield backend
    backend.close()


@pytest.fixture
def observer(backend):
    return OpenTelemetryObserver(
        meter_provider=backend.meter_provider, tracer_provider=backend.tracer_provider
    )


class TestMetrics:
    def test_counts_add_up_by_their_labels(self, backend, observer):
        observer.count(PRODUCER_RECORDS_DELIVERED, 500, stream="a")
        observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
        observer.count(PRODUCER_RECORDS_DELIVERED, 7, stream="b")
        points = backend.points("aiodis.producer.records_delivered")
        assert points[("stream", "a"),].value == 501
        assert points[("stream", "b"),].value == 7

    def test_a_histogram_has_the_rows_buckets(self, backend, observer):
        observer.observe(PRODUCER_REQUEST_SECONDS, 0.02, stream="a")
        [point] = backend.points("aiodis.producer.request_seconds").values()
        assert point.explicit_bounds == PRODUCER_REQUEST_SECONDS.buckets
        assert point.bucket_counts[2] == point.count == 1

    def test_a_gauge_shows_the_latest_value(self, backend, observer):
        observer.gauge(PRODUCER_BUFFER_BYTES, 1000, stream="a")
        observer.gauge(PRODUCER_BUFFER_BYTES, 10, stream="a")
        [point] = backend.points("aiodis.producer.buffer_bytes").values()
        assert point.value == 10

    def test_every_metric_of_the_table_is_told_with_its_unit_and_help(self, backend, observer):
        calls = {"counter": observer.count, "histogram": observer.observe, "gauge": observer.gauge}
        for row in METRICS:
            labels = {label.name: (*label.values, "x")[0] for label in row.labels}
            calls[row.kind](row, 1, **labels)
        told = backend.metrics
        assert len(told) == len(METRICS)
        for row in METRICS:
            metric = told["aiodis." + row.name.replace("_", ".", 1)]
            assert metric.description == row.help
            assert metric.unit in {"{record}", "{request}", "{partition}", "By", "s", "1"}

    def test_the_meter_is_aiodis_in_its_version(self, backend, observer):
        observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
        [scope] = backend.scopes
        assert (scope.scope.name, scope.scope.version) == ("aiodis", aiodis.__version__)

    @pytest.mark.parametrize("labels", [{}, {"stream": "a", "key": "user-1"}])
    def test_labels_that_the_table_lacks_are_refused(self, backend, observer, labels):
        with pytest.raises(ValueError, match="has the labels"):
            observer.count(PRODUCER_RECORDS_DELIVERED, **labels)
        assert backend.metrics == {}

    def test_a_value_that_the_table_lacks_is_refused_each_time(self, backend, observer):
        for _ in range(2):
            with pytest.raises(ValueError, match="reason cannot be"):
                observer.count(PRODUCER_RECORDS_FAILED, stream="a", reason="user-1")
        assert backend.metrics == {}

    def test_a_metric_is_used_as_its_kind_only(self, observer):
        observer.gauge(PRODUCER_BUFFER_BYTES, 1, stream="a")
        with pytest.raises(ValueError, match="is a gauge"):
            observer.count(PRODUCER_BUFFER_BYTES, stream="a")


class TestSpans:
    @pytest.mark.parametrize("row", SPANS.values(), ids=lambda row: row.name)
    def test_a_span_bears_its_rows_name_and_kind(self, backend, observer, row):
        with observer.span(row.name, stream="a"):
            pass
        [span] = backend.spans
        assert span.name == row.name
        assert span.kind.name.lower() == row.kind
        assert span.status.status_code is trace.StatusCode.UNSET

    def test_attributes_are_set_at_the_beginning_and_later(self, backend, observer):
        with observer.span("producer.request", stream="a", records=500) as span:
            span.set(attempts=2)
        [span] = backend.spans
        assert span.attributes == {
            "aiodis.stream": "a",
            "aiodis.records": 500,
            "aiodis.attempts": 2,
        }

    def test_a_name_that_the_table_lacks_is_refused(self, observer):
        with pytest.raises(ValueError, match="there is no span"):
            observer.span("producer.send")

    def test_an_attribute_that_the_table_lacks_is_refused(self, backend, observer):
        with pytest.raises(ValueError, match="has no data"):
            observer.span("producer.request", data="secret")
        with (
            pytest.raises(ValueError, match="has no data"),
            observer.span("producer.request") as span,
        ):
            span.set(data="secret")
        [span] = backend.spans
        assert set(span.attributes) == {"error.type"}


class TestFailures:
    def test_an_error_that_leaves_the_block_fails_the_span(self, backend, observer):
        with pytest.raises(KeyError), observer.span("producer.flush"):
            raise KeyError
        [span] = backend.spans
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.attributes["error.type"] == "KeyError"

    def test_an_error_that_was_caught_fails_it_too(self, backend, observer):
        with observer.span("producer.flush") as span:
            span.fail(DecodeError("", status=200, head=b"secret"))
        [span] = backend.spans
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.attributes["error.type"] == "DecodeError"

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (ThrottledError("", status=429, code="DIS.4303"), "DIS.4303"),
            (RecordError("", code="DIS.4302"), "DIS.4302"),
            (RecordError(""), "RecordError"),
        ],
    )
    def test_the_services_code_beats_the_class(self, backend, observer, error, kind):
        with observer.span("producer.request") as span:
            span.fail(error)
        assert backend.spans[0].attributes["error.type"] == kind

    def test_the_services_id_of_the_request_is_kept(self, backend, observer):
        with observer.span("producer.request") as span:
            span.fail(ServiceError("", status=500, code="DIS.5000", request_id="r-1"))
        assert backend.spans[0].attributes["aiodis.request_id"] == "r-1"

    def test_no_text_of_an_error_is_told(self, backend, observer):
        with pytest.raises(ValueError, match="secret"), observer.span("producer.request"):
            raise ValueError("secret")
        assert "secret" not in backend.spans[0].to_json()

    async def test_cancelling_ends_the_span_and_is_no_failure(self, backend, observer):
        async def work():
            with observer.span("producer.flush"):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        [span] = backend.spans
        assert span.status.status_code is trace.StatusCode.UNSET
        assert span.attributes["error.type"] == "CancelledError"


class TestContext:
    def test_the_callers_work_is_a_child_of_the_callers_span(self, backend, observer):
        with backend.tracer.start_as_current_span("mine") as mine, observer.span("producer.flush"):
            pass
        [flush, _] = backend.spans
        assert flush.parent.span_id == mine.get_span_context().span_id

    def test_the_callers_context_is_back_afterwards(self, backend, observer):
        with backend.tracer.start_as_current_span("mine") as mine:
            for name in SPANS:
                with observer.span(name):
                    assert trace.get_current_span() is not mine
                assert trace.get_current_span() is mine

    def test_work_in_the_background_begins_a_trace(self, backend, observer):
        token = attach(baggage.set_baggage("user", "somebody"))
        try:
            with (
                backend.tracer.start_as_current_span("mine"),
                observer.span("producer.request"),
            ):
                assert baggage.get_baggage("user") is None
        finally:
            detach(token)
        [request, mine] = backend.spans
        assert request.parent is None
        assert request.context.trace_id != mine.context.trace_id

    async def test_tasks_of_one_time_do_not_mix_their_spans(self, backend, observer):
        async def request(number):
            with observer.span("producer.request", records=number):
                await asyncio.sleep(0)
                with backend.tracer.start_as_current_span(f"http {number}"):
                    await asyncio.sleep(0)

        await asyncio.gather(*(request(number) for number in range(5)))
        spans = {span.context.span_id: span for span in backend.spans}
        inner = [span for span in spans.values() if span.name.startswith("http")]
        assert len(inner) == 5
        for span in inner:
            outer = spans[span.parent.span_id]
            assert span.name == f"http {outer.attributes['aiodis.records']}"

    async def test_a_task_that_begins_in_a_block_belongs_to_it(self, backend, observer):
        async def inner():
            with backend.tracer.start_as_current_span("inner"):
                pass

        with observer.span("producer.request"):
            await asyncio.create_task(inner())
        [inner_span, outer] = backend.spans
        assert inner_span.parent.span_id == outer.context.span_id


def test_without_an_sdk_everything_goes_nowhere():
    observer = OpenTelemetryObserver()
    observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
    observer.observe(PRODUCER_REQUEST_SECONDS, 1, stream="a")
    observer.gauge(PRODUCER_BUFFER_BYTES, 1, stream="a")
    with observer.span("producer.request", stream="a") as span:
        span.set(attempts=1)
        span.fail(ValueError())
