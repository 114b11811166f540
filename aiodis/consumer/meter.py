"""What the consumer tells its observer: once a batch or a request, never a record."""

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from aiodis.clock import Clock
from aiodis.consumer.stats import ConsumerStats
from aiodis.observe import NO_OBSERVER, Metric, Observer, Span, catalog
from aiodis.observe.catalog import request_outcome

__all__ = ["Meter"]

# A field of the stats -> the counter that follows it, and its further labels.
_COUNTERS: Final[tuple[tuple[str, Metric, dict[str, str]], ...]] = (
    ("records", catalog.CONSUMER_RECORDS_FETCHED, {}),
    ("bytes", catalog.CONSUMER_BYTES_FETCHED, {}),
    ("commits", catalog.CONSUMER_COMMITS, {}),
    ("failed_commits", catalog.CONSUMER_COMMITS_FAILED, {}),
    ("resets", catalog.CONSUMER_RESETS, {}),
    ("handled", catalog.CONSUMER_RECORDS_HANDLED, {"ending": "handled"}),
    ("dead_letters", catalog.CONSUMER_RECORDS_HANDLED, {"ending": "dead_letter"}),
    ("skipped", catalog.CONSUMER_RECORDS_HANDLED, {"ending": "skipped"}),
    ("handler_retries", catalog.CONSUMER_HANDLER_RETRIES, {}),
    ("assigned", catalog.CONSUMER_PARTITION_CHANGES, {"change": "assigned"}),
    ("revoked", catalog.CONSUMER_PARTITION_CHANGES, {"change": "revoked"}),
    ("lost", catalog.CONSUMER_PARTITION_CHANGES, {"change": "lost"}),
)


class Meter:
    """One consumer's view of an observer: its calls bear the stream's name."""

    def __init__(self, observer: Observer, stream_name: str, clock: Clock) -> None:
        self._clock = clock
        self._observer, self._stream = observer, stream_name
        self._off: Final = observer is NO_OBSERVER
        self._told = ConsumerStats()

    def tell(self, stats: ConsumerStats) -> None:
        """Count what the stats have gained since they were told last."""
        if self._off:
            return
        told, self._told = self._told, dataclasses.replace(stats)
        for name, metric, labels in _COUNTERS:
            if gained := getattr(stats, name) - getattr(told, name):
                self._observer.count(metric, gained, stream=self._stream, **labels)

    def partitions(self, count: int) -> None:
        """Tell how many partitions are read."""
        if not self._off:
            self._observer.gauge(catalog.CONSUMER_PARTITIONS, count, stream=self._stream)

    def lag(self, partition_id: str, records: int) -> None:
        """Tell how many records of a partition are not handed out."""
        if not self._off:
            self._observer.gauge(
                catalog.CONSUMER_LAG_RECORDS, records, stream=self._stream, partition=partition_id
            )

    def fetched(self, records: int, buffered: int) -> None:
        """Observe what a read brought, and the memory that is taken with it."""
        if not self._off:
            stream = self._stream
            self._observer.observe(catalog.CONSUMER_BATCH_RECORDS, records, stream=stream)
            self._observer.gauge(catalog.CONSUMER_BUFFER_BYTES, buffered, stream=stream)

    @contextmanager
    def request(self, partition_id: str) -> Iterator[Span]:
        """Observe one read around its exchange."""
        now = self._clock.now
        begun = now()
        with self._observer.span(
            "consumer.request", stream=self._stream, partition=partition_id
        ) as span:
            outcome = "answered"
            try:
                yield span
            except BaseException as exc:
                outcome = request_outcome(exc)
                raise
            finally:
                span.set(outcome=outcome)
                if not self._off:
                    stream = self._stream
                    self._observer.count(catalog.CONSUMER_REQUESTS, stream=stream, outcome=outcome)
                    self._observer.observe(
                        catalog.CONSUMER_REQUEST_SECONDS, now() - begun, stream=stream
                    )

    def worked(self, seconds: float) -> None:
        """Observe how long handlers worked on a batch."""
        if not self._off:
            self._observer.observe(catalog.CONSUMER_HANDLER_SECONDS, seconds, stream=self._stream)

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Give a span of the consumer's own."""
        return self._observer.span(name, stream=self._stream, **attributes)
