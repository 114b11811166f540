import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest

from aiodis.errors import ConfigError
from aiodis.observe import METRICS
from aiodis.observe.catalog import (
    PRODUCER_BUFFER_BYTES,
    PRODUCER_PACE_SHARE,
    PRODUCER_RECORDS_DELIVERED,
    PRODUCER_RECORDS_FAILED,
    PRODUCER_REQUEST_SECONDS,
)
from aiodis.observe.prometheus import PrometheusObserver


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def observer(registry):
    return PrometheusObserver(registry)


class TestValues:
    def test_counts_add_up_by_their_labels(self, registry, observer):
        observer.count(PRODUCER_RECORDS_DELIVERED, 500, stream="a")
        observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
        observer.count(PRODUCER_RECORDS_DELIVERED, 7, stream="b")
        name = "aiodis_producer_records_delivered_total"
        assert registry.get_sample_value(name, {"stream": "a"}) == 501
        assert registry.get_sample_value(name, {"stream": "b"}) == 7

    def test_the_order_of_the_labels_does_not_matter(self, registry, observer):
        observer.count(PRODUCER_RECORDS_FAILED, stream="expired", reason="closed")
        observer.count(PRODUCER_RECORDS_FAILED, reason="expired", stream="closed")
        observer.count(PRODUCER_RECORDS_FAILED, reason="closed", stream="expired")
        name = "aiodis_producer_records_failed_total"
        assert registry.get_sample_value(name, {"stream": "expired", "reason": "closed"}) == 2
        assert registry.get_sample_value(name, {"stream": "closed", "reason": "expired"}) == 1

    def test_a_histogram_has_the_rows_buckets(self, registry, observer):
        for seconds in (0.003, 0.02, 0.3, 500):
            observer.observe(PRODUCER_REQUEST_SECONDS, seconds, stream="a")
        name = "aiodis_producer_request_seconds"
        assert registry.get_sample_value(f"{name}_count", {"stream": "a"}) == 4
        assert registry.get_sample_value(f"{name}_bucket", {"stream": "a", "le": "0.025"}) == 2
        assert registry.get_sample_value(f"{name}_bucket", {"stream": "a", "le": "120.0"}) == 3

    def test_a_gauge_shows_the_latest_value(self, registry, observer):
        observer.gauge(PRODUCER_BUFFER_BYTES, 1000, stream="a")
        observer.gauge(PRODUCER_BUFFER_BYTES, 10, stream="a")
        assert registry.get_sample_value("aiodis_producer_buffer_bytes", {"stream": "a"}) == 10

    def test_a_span_comes_to_nothing(self, registry, observer):
        with observer.span("producer.request", stream="a") as span:
            span.set(records=5)
            span.fail(ValueError())
        assert b"request{" not in generate_latest(registry)


class TestNames:
    def test_every_metric_of_the_table_is_there_before_it_is_used(self, registry, observer):
        text = generate_latest(registry).decode()
        for row in METRICS:
            suffix = "_total" if row.kind == "counter" else ""
            assert f"# TYPE aiodis_{row.name}{suffix} {row.kind}\n" in text
            assert f"# HELP aiodis_{row.name}{suffix} {row.help}\n" in text

    def test_another_prefix_may_be_chosen(self, registry):
        observer = PrometheusObserver(registry, prefix="shop_dis")
        observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
        name = "shop_dis_producer_records_delivered_total"
        assert registry.get_sample_value(name, {"stream": "a"}) == 1

    def test_the_default_is_the_global_registry(self):
        observer = PrometheusObserver(prefix="aiodis_test_of_default")
        try:
            observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")
            name = "aiodis_test_of_default_producer_records_delivered_total"
            assert REGISTRY.get_sample_value(name, {"stream": "a"}) == 1
        finally:
            for collector in observer._collectors.values():
                REGISTRY.unregister(collector)

    def test_a_second_observer_in_a_registry_is_told_to_share(self, registry, observer):
        with pytest.raises(ConfigError, match="share one PrometheusObserver"):
            PrometheusObserver(registry)
        observer.count(PRODUCER_RECORDS_DELIVERED, stream="a")

    def test_one_that_cannot_be_registered_whole_leaves_nothing(self, registry):
        Counter("aiodis_producer_requests", "Somebody else's.", registry=registry)
        with pytest.raises(ConfigError):
            PrometheusObserver(registry)
        assert generate_latest(registry).count(b"# TYPE aiodis_") == 2  # with its _created

    @pytest.mark.parametrize("prefix", ["", "1", "a-b", "a\n", "größe"])
    def test_a_prefix_that_begins_no_name_is_refused(self, registry, prefix):
        with pytest.raises(ConfigError, match="prefix must be"):
            PrometheusObserver(registry, prefix=prefix)


class TestCardinality:
    @pytest.mark.parametrize(
        "labels",
        [{}, {"stream": "a", "key": "user-1"}, {"key": "user-1"}],
    )
    def test_labels_that_the_table_lacks_are_refused(self, registry, observer, labels):
        with pytest.raises(ValueError, match="has the labels"):
            observer.count(PRODUCER_RECORDS_DELIVERED, **labels)
        assert b"user-1" not in generate_latest(registry)

    def test_a_value_that_the_table_lacks_is_refused_each_time(self, registry, observer):
        for _ in range(2):
            with pytest.raises(ValueError, match="reason cannot be"):
                observer.count(PRODUCER_RECORDS_FAILED, stream="a", reason="user-1")
        assert b"user-1" not in generate_latest(registry)

    def test_a_metric_is_used_as_its_kind_only(self, observer):
        observer.gauge(PRODUCER_PACE_SHARE, 0.5, stream="a", partition="0")
        with pytest.raises(ValueError, match="is a gauge"):
            observer.count(PRODUCER_PACE_SHARE, stream="a", partition="0")
        with pytest.raises(ValueError, match="is a counter"):
            observer.observe(PRODUCER_RECORDS_DELIVERED, 1, stream="a")
