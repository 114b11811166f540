"""What a consumer tells its observer."""

import asyncio
from collections import Counter
from contextlib import contextmanager

import pytest
from consuming import P0, P1, filled, take
from scripted_service import refusal

from aiodis.config import ConsumerSettings
from aiodis.consumer import Consumer
from aiodis.observe import SPANS, guarded

pytestmark = pytest.mark.looptime


class Recorder:
    """Adds up what it is told, and refuses what the table does not have."""

    def __init__(self):
        self.counts = Counter()
        self.gauges = {}
        self.observed = {}
        self.spans = []
        self.calls = 0

    def count(self, metric, amount=1, **labels):
        metric.check("counter", labels)
        self.calls += 1
        self.counts[metric.name, *sorted(v for k, v in labels.items() if k != "stream")] += amount

    def observe(self, metric, value, **labels):
        metric.check("histogram", labels)
        self.calls += 1
        self.observed.setdefault(metric.name, []).append(value)

    def gauge(self, metric, value, **labels):
        metric.check("gauge", labels)
        self.gauges[metric.name, *sorted(v for k, v in labels.items() if k != "stream")] = value

    @contextmanager
    def span(self, name, **attributes):
        SPANS[name].check(attributes)
        told = {**attributes}
        self.spans.append((name, told))

        class Span:
            def set(self, **more):
                SPANS[name].check(more)
                told.update(more)

            def fail(self, error):
                told["failed"] = error

        yield Span()

    def spans_of(self, name):
        return [told for kind, told in self.spans if kind == name]


def observed(service, **settings):
    recorder = Recorder()
    settings = {"app": "billing", "offset_reset": "earliest", **settings}
    guard = guarded(recorder)
    return Consumer(service, "events", ConsumerSettings(**settings), guard), recorder, guard


async def test_reading_is_counted_by_reads_and_not_by_records():
    service = filled(2, 300)
    consumer, told, guard = observed(service, partition_refresh_ms=1000)
    async with consumer:
        await take(consumer, 600)
        calls = told.calls
        assert calls < 100
        service.add(0, b"0-300")
        await asyncio.sleep(3)
        assert told.gauges["consumer_lag_records", P0] == 1
        assert told.gauges["consumer_lag_records", P1] == 0
        assert told.gauges["consumer_partitions",] == 2
        assert told.gauges["consumer_buffer_bytes",] > 0
    assert guard.failures == 0
    assert told.counts["consumer_records_fetched",] == 601
    assert told.counts["consumer_bytes_fetched",] == sum(
        len(stored.data) for n in range(2) for stored in service.stored[n]
    )
    assert sorted(told.observed["consumer_batch_records"]) == [1, 300, 300]
    assert told.counts["consumer_commits",] == consumer.stats().commits > 0
    assert told.counts["consumer_partition_changes", "assigned"] == 2
    (start,) = told.spans_of("consumer.start")
    assert start == {"stream": "events", "partitions": 2}
    full = [span for span in told.spans_of("consumer.request") if span["records"] == 300]
    assert {span["partition"] for span in full} == {P0, P1}
    assert told.spans_of("consumer.commit")
    assert len(told.spans_of("consumer.close")) == 1


async def test_failed_reads_and_commits_say_how_they_ended():
    service = filled(1, 3)
    service.get_faults = [refusal("DIS.4303"), refusal("DIS.5000", 500)]
    service.commit_faults = [refusal("DIS.5000", 500)]
    consumer, told, guard = observed(service, auto_commit_interval_ms=1000)
    async with consumer:
        await take(consumer, 3)
        await asyncio.sleep(5)
    assert guard.failures == 0
    assert told.counts["consumer_requests", "throttled"] == 1
    assert told.counts["consumer_requests", "server_error"] == 1
    assert told.counts["consumer_requests", "answered"] > 1
    assert told.counts["consumer_commits_failed",] == 1
    assert any("failed" in span for span in told.spans_of("consumer.commit"))


@pytest.mark.parametrize("by", ["partition", "key"])
async def test_handlers_are_counted_by_how_records_end(by):
    service = filled(2, 50)

    class Letters:
        async def send_and_wait(self, data, *, partition_key=None):
            pass

    async def handler(record):
        if record.data.endswith(b"7"):
            raise LookupError

    consumer, told, guard = observed(service)
    running = asyncio.create_task(
        consumer.run(handler, concurrency_by=by, retries=1, dead_letter=Letters())
    )
    await asyncio.sleep(60)
    await consumer.close()
    await running
    assert guard.failures == 0
    assert told.counts["consumer_records_handled", "handled"] == 90
    assert told.counts["consumer_records_handled", "dead_letter"] == 10
    assert told.counts["consumer_handler_retries",] == 10
    assert consumer.stats().handled == 90
    assert consumer.stats().dead_letters == 10
    assert len(told.observed["consumer_handler_seconds"]) == 2
    # By key, a batch is the work of many tasks, and no span of one of them.
    spans = [span["records"] for span in told.spans_of("consumer.handle")]
    assert spans == ([50, 50] if by == "partition" else [])
