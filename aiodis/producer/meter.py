"""What the producer tells its observer: once a batch or a request, never a record."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from aiodis.observe import NO_OBSERVER, Observer, Span, catalog
from aiodis.observe.catalog import request_outcome

__all__ = ["Meter"]


class Meter:
    """One producer's view of an observer: its calls bear the stream's name."""

    def __init__(self, observer: Observer, stream_name: str) -> None:
        self._observer, self._stream = observer, stream_name
        self._off: Final = observer is NO_OBSERVER

    def delivered(self, records: int, data: int) -> None:
        """Count delivered records and their bytes of data."""
        if not self._off:
            stream = self._stream
            self._observer.count(catalog.PRODUCER_RECORDS_DELIVERED, records, stream=stream)
            self._observer.count(catalog.PRODUCER_BYTES_DELIVERED, data, stream=stream)

    def failed(self, records: int, reason: str) -> None:
        """Count records that failed for good."""
        if not self._off:
            self._observer.count(
                catalog.PRODUCER_RECORDS_FAILED, records, stream=self._stream, reason=reason
            )

    def again(self, retried: int, throttled: int) -> None:
        """Count records that will be sent again."""
        if not self._off:
            self._observer.count(catalog.PRODUCER_RECORDS_RETRIED, retried, stream=self._stream)
            if throttled:
                self._observer.count(
                    catalog.PRODUCER_RECORDS_THROTTLED, throttled, stream=self._stream
                )

    def reordered(self) -> None:
        """Count a record that was overtaken in its partition."""
        if not self._off:
            self._observer.count(catalog.PRODUCER_RECORDS_REORDERED, 1, stream=self._stream)

    def misrouted(self, records: int) -> None:
        """Count records that went to another partition than foretold."""
        if not self._off:
            self._observer.count(catalog.PRODUCER_RECORDS_MISROUTED, records, stream=self._stream)

    def pace(self, partition_id: str, share: float) -> None:
        """Tell the share of a partition's rate in use."""
        if not self._off:
            self._observer.gauge(
                catalog.PRODUCER_PACE_SHARE, share, stream=self._stream, partition=partition_id
            )

    def buffered(self, size: int) -> None:
        """Tell the memory taken."""
        if not self._off:
            self._observer.gauge(catalog.PRODUCER_BUFFER_BYTES, size, stream=self._stream)

    @contextmanager
    def request(self, batches: list[int], body_bytes: int) -> Iterator[Span]:
        """Observe one request around its exchange; `batches` are records by partition."""
        with self._observer.span(
            "producer.request",
            stream=self._stream,
            records=sum(batches),
            bytes=body_bytes,
            partitions=len(batches),
        ) as span:
            outcome = "answered"
            try:
                yield span
            except BaseException as exc:
                outcome = request_outcome(exc)
                raise
            finally:
                self._requested(outcome)
                span.set(outcome=outcome)
        if not self._off:
            stream = self._stream
            self._observer.observe(catalog.PRODUCER_REQUEST_BYTES, body_bytes, stream=stream)
            for records in batches:
                self._observer.observe(catalog.PRODUCER_BATCH_RECORDS, records, stream=stream)

    def took(self, request_s: float, delivery_s: float) -> None:
        """Observe how long a request took, and the oldest of its records."""
        if not self._off:
            stream = self._stream
            self._observer.observe(catalog.PRODUCER_REQUEST_SECONDS, request_s, stream=stream)
            self._observer.observe(catalog.PRODUCER_DELIVERY_SECONDS, delivery_s, stream=stream)

    def span(self, name: str, **attributes: str | int) -> AbstractContextManager[Span]:
        """Give a span of the producer's own."""
        return self._observer.span(name, stream=self._stream, **attributes)

    def _requested(self, outcome: str) -> None:
        if not self._off:
            self._observer.count(catalog.PRODUCER_REQUESTS, stream=self._stream, outcome=outcome)
