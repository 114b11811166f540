"""The table of all metrics and spans, which producer, consumer, adapters, docs and tests read.

A metric's name is `<part>_<what>`; what a backend wants besides, such as a prefix or
`_total`, is its adapter's business. What a label may say is bounded: by the account
(streams, partitions) or by the values listed here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from aiodis.errors import (
    AuthError,
    CircuitOpenError,
    ClosedError,
    DecodeError,
    ServerError,
    ServiceError,
    ThrottledError,
    TransportError,
)

__all__ = ["METRICS", "SPANS", "Kind", "Label", "Metric", "SpanRow", "Unit", "request_outcome"]

Kind = Literal["counter", "histogram", "gauge"]
Unit = Literal["records", "requests", "bytes", "seconds", "ratio", "partitions"]


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What a metric is split by. `values` are all there can be; with none, the account's names."""

    name: str
    help: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One row. It is equal to itself only, which makes it a cheap key."""

    name: str
    kind: Kind
    unit: Unit
    labels: tuple[Label, ...]
    help: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, without the infinite one."""

    def check(self, kind: Kind, labels: Mapping[str, str]) -> None:
        """Refuse a use that the row does not provide for.

        Raises:
            ValueError: another kind, another set of labels, or a value that is not listed.
        """
        if kind != self.kind:
            raise ValueError(f"{self.name} is a {self.kind}, not a {kind}")
        if labels.keys() != {label.name for label in self.labels}:
            wanted = ", ".join(label.name for label in self.labels)
            raise ValueError(f"{self.name} has the labels {wanted}, not {', '.join(labels)}")
        for label in self.labels:
            value = labels[label.name]
            if label.values and value not in label.values:
                raise ValueError(f"{self.name}: {label.name} cannot be {value!r}")


@dataclass(frozen=True, slots=True, eq=False)
class SpanRow:
    """One kind of span. Its attributes are names and counts, never data."""

    name: str
    attributes: tuple[str, ...]
    help: str
    kind: Literal["client", "internal"] = "internal"
    background: bool = False
    """Whether it begins a trace: it serves many callers, or none."""

    def check(self, attributes: Iterable[str]) -> None:
        """Refuse attributes that the row does not list.

        Raises:
            ValueError: there is such a one.
        """
        if unknown := set(attributes).difference(self.attributes):
            raise ValueError(f"the span {self.name} has no {', '.join(sorted(unknown))}")


# What metrics are split by

STREAM: Final = Label("stream", "the stream's name")
PARTITION: Final = Label("partition", "the partition's id, such as `shardId-0000000000`")
REASON: Final = Label(
    "reason",
    "why records failed for good",
    (
        "refused",  # by the service, alone or with their request
        "expired",  # not acknowledged within delivery_timeout_ms
        "key_paused",  # an earlier record of the key failed
        "stream_gone",
        "closed",  # close() gave up waiting
        "crashed",  # a task of the producer failed
    ),
)
OUTCOME: Final = Label(
    "outcome",
    "how a request ended, after the retries of the HTTP core",
    (
        "answered",  # with a result for each record, which may be a refusal
        "throttled",
        "unauthorized",
        "refused",
        "server_error",
        "no_answer",
        "circuit_open",  # nothing was sent
        "unreadable",
        "closed",
        "cancelled",
        "crashed",
    ),
)

CHANGE: Final = Label("change", "what happened to a partition", ("assigned", "revoked", "lost"))
ENDING: Final = Label(
    "ending",
    "how a record was finished",
    ("handled", "dead_letter", "skipped"),
)

# Bounds of buckets

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_RECORDS: Final = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
# From 4 KiB to 8 MiB: base64 makes 6.7 MiB of the 5 MiB that a request takes at most.
_BYTES: Final = tuple(4096 * 2**step for step in range(12))

# Metrics of the producer

PRODUCER_RECORDS_DELIVERED: Final = Metric(
    "producer_records_delivered",
    "counter",
    "records",
    (STREAM,),
    "Records that the service acknowledged.",
)
PRODUCER_RECORDS_FAILED: Final = Metric(
    "producer_records_failed",
    "counter",
    "records",
    (STREAM, REASON),
    "Accepted records that ended in an error.",
)
PRODUCER_RECORDS_RETRIED: Final = Metric(
    "producer_records_retried",
    "counter",
    "records",
    (STREAM,),
    "Records queued to be sent again, once for each time.",
)
PRODUCER_RECORDS_THROTTLED: Final = Metric(
    "producer_records_throttled",
    "counter",
    "records",
    (STREAM,),
    "Records refused because their partition was over its limit (DIS.4303).",
)
PRODUCER_RECORDS_REORDERED: Final = Metric(
    "producer_records_reordered",
    "counter",
    "records",
    (STREAM,),
    "Records written after a record that was accepted later.",
)
PRODUCER_RECORDS_MISROUTED: Final = Metric(
    "producer_records_misrouted",
    "counter",
    "records",
    (STREAM,),
    "Records written to another partition than the producer's map foretold.",
)
PRODUCER_BYTES_DELIVERED: Final = Metric(
    "producer_bytes_delivered",
    "counter",
    "bytes",
    (STREAM,),
    "Data of the delivered records, before base64.",
)
PRODUCER_REQUESTS: Final = Metric(
    "producer_requests",
    "counter",
    "requests",
    (STREAM, OUTCOME),
    "PutRecords calls that ended.",
)
PRODUCER_REQUEST_SECONDS: Final = Metric(
    "producer_request_seconds",
    "histogram",
    "seconds",
    (STREAM,),
    "Time of a PutRecords call, with the retries of the HTTP core.",
    _SECONDS,
)
PRODUCER_REQUEST_BYTES: Final = Metric(
    "producer_request_bytes",
    "histogram",
    "bytes",
    (STREAM,),
    "Size of a request's body as it is sent.",
    _BYTES,
)
PRODUCER_BATCH_RECORDS: Final = Metric(
    "producer_batch_records",
    "histogram",
    "records",
    (STREAM,),
    "Records of one partition in a request.",
    _RECORDS,
)
PRODUCER_DELIVERY_SECONDS: Final = Metric(
    "producer_delivery_seconds",
    "histogram",
    "seconds",
    (STREAM,),
    "Time from acceptance to receipt, of the oldest record of a request.",
    _SECONDS,
)
PRODUCER_BUFFER_BYTES: Final = Metric(
    "producer_buffer_bytes",
    "gauge",
    "bytes",
    (STREAM,),
    "Memory taken of `buffer_memory`, at the latest request.",
)
PRODUCER_PACE_SHARE: Final = Metric(
    "producer_pace_share",
    "gauge",
    "ratio",
    (STREAM, PARTITION),
    "Share of the partition's limits that the producer allows itself, 0 to 1.",
)

# Metrics of the consumer

CONSUMER_RECORDS_FETCHED: Final = Metric(
    "consumer_records_fetched",
    "counter",
    "records",
    (STREAM,),
    "Records that reads brought, also those that are fetched again after a pause or a seek.",
)
CONSUMER_BYTES_FETCHED: Final = Metric(
    "consumer_bytes_fetched", "counter", "bytes", (STREAM,), "Their data, before base64."
)
CONSUMER_REQUESTS: Final = Metric(
    "consumer_requests",
    "counter",
    "requests",
    (STREAM, OUTCOME),
    "Reads and the cursors for them, that ended.",
)
CONSUMER_REQUEST_SECONDS: Final = Metric(
    "consumer_request_seconds",
    "histogram",
    "seconds",
    (STREAM,),
    "Time of a read, with its cursor if it needed one and the retries of the HTTP core.",
    _SECONDS,
)
CONSUMER_BATCH_RECORDS: Final = Metric(
    "consumer_batch_records",
    "histogram",
    "records",
    (STREAM,),
    "Records that a read brought; empty reads are not in it.",
    _RECORDS,
)
CONSUMER_BUFFER_BYTES: Final = Metric(
    "consumer_buffer_bytes",
    "gauge",
    "bytes",
    (STREAM,),
    "Memory taken of `prefetch_bytes`, at the latest read.",
)
CONSUMER_LAG_RECORDS: Final = Metric(
    "consumer_lag_records",
    "gauge",
    "records",
    (STREAM, PARTITION),
    "Records not handed out yet, whenever the partitions are looked up.",
)
CONSUMER_PARTITIONS: Final = Metric(
    "consumer_partitions", "gauge", "partitions", (STREAM,), "Partitions that this member reads."
)
CONSUMER_PARTITION_CHANGES: Final = Metric(
    "consumer_partition_changes",
    "counter",
    "partitions",
    (STREAM, CHANGE),
    "Partitions that came to this member, or went.",
)
CONSUMER_RECORDS_HANDLED: Final = Metric(
    "consumer_records_handled",
    "counter",
    "records",
    (STREAM, ENDING),
    "Records that `run` has finished.",
)
CONSUMER_HANDLER_RETRIES: Final = Metric(
    "consumer_handler_retries",
    "counter",
    "records",
    (STREAM,),
    "Calls of a handler that failed and were made again.",
)
CONSUMER_HANDLER_SECONDS: Final = Metric(
    "consumer_handler_seconds",
    "histogram",
    "seconds",
    (STREAM,),
    "Time that handlers took for a batch of a partition.",
    _SECONDS,
)
CONSUMER_COMMITS: Final = Metric(
    "consumer_commits", "counter", "requests", (STREAM,), "Checkpoints that were committed."
)
CONSUMER_COMMITS_FAILED: Final = Metric(
    "consumer_commits_failed", "counter", "requests", (STREAM,), "Commits that failed."
)
CONSUMER_RESETS: Final = Metric(
    "consumer_resets",
    "counter",
    "partitions",
    (STREAM,),
    "Positions that had left their partition and followed `offset_reset`.",
)

METRICS: Final = tuple(row for row in globals().values() if isinstance(row, Metric))

# Spans

SPANS: Final[Mapping[str, SpanRow]] = {
    row.name: row
    for row in (
        SpanRow("producer.start", ("stream", "partitions"), "Learn the stream's partitions."),
        SpanRow(
            "producer.request",
            ("stream", "records", "bytes", "partitions", "attempts", "outcome"),
            "Send one PutRecords, with the retries of the HTTP core.",
            kind="client",
            background=True,
        ),
        SpanRow(
            "producer.refresh",
            ("stream", "partitions"),
            "Learn the partitions again.",
            background=True,
        ),
        SpanRow(
            "producer.flush",
            ("stream", "delivered", "failed", "pending"),
            "Wait for the outcome of what was accepted.",
        ),
        SpanRow(
            "producer.close",
            ("stream", "delivered", "failed", "pending"),
            "Take no more, flush, and fail the rest.",
        ),
        SpanRow(
            "consumer.start", ("stream", "partitions"), "Read the checkpoints and begin to poll."
        ),
        SpanRow(
            "consumer.request",
            ("stream", "partition", "records", "bytes", "outcome"),
            "Read once, with a cursor if it needs one and the retries of the HTTP core.",
            kind="client",
            background=True,
        ),
        SpanRow(
            "consumer.handle",
            ("stream", "partition", "records"),
            "Let handlers work on a batch, one record after the other.",
            background=True,
        ),
        SpanRow(
            "consumer.commit",
            ("stream", "partitions"),
            "Commit what is finished.",
            background=True,
        ),
        SpanRow(
            "consumer.hand_over",
            ("stream", "partitions"),
            "Let partitions go to another member.",
            background=True,
        ),
        SpanRow("consumer.close", ("stream",), "Let handlers end, commit, leave."),
    )
}

_OUTCOMES: Final[dict[type, str]] = {
    ThrottledError: "throttled",
    AuthError: "unauthorized",
    ServerError: "server_error",
    ServiceError: "refused",
    CircuitOpenError: "circuit_open",
    TransportError: "no_answer",
    DecodeError: "unreadable",
    ClosedError: "closed",
    Exception: "crashed",
    BaseException: "cancelled",
}


def request_outcome(error: BaseException | None) -> str:
    """Give the label `outcome` of a request that ended with this error, or with none."""
    if error is None:
        return "answered"
    return next(_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES)
