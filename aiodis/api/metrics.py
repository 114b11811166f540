"""What the service measures of streams and partitions: reference, chapter 5.6."""

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from aiodis.api.shared import PartitionId, StreamName
from aiodis.wire.message import LenientInt, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "MAX_PERIOD_S",
    "DataPoint",
    "Metrics",
    "PartitionLabel",
    "ReadMetrics",
    "ReadPartitionMetrics",
    "ReadStreamMetrics",
    "Series",
    "SeriesList",
    "StreamLabel",
]

MAX_PERIOD_S: Final = 7 * 24 * 3600
"""Seven days: the longest period, and how long measurements are kept (reference 7.1, DIS.4204)."""

StreamLabel = Literal[
    "total_put_bytes_per_stream",
    "total_get_bytes_per_stream",
    "total_put_records_per_stream",
    "total_get_records_per_stream",
    "total_put_req_latency",
    "total_get_req_latency",
    "total_put_req_suc_per_stream",
    "total_get_req_suc_per_stream",
    "traffic_control_put",
    "traffic_control_get",
]
PartitionLabel = Literal[
    "total_put_bytes_per_partition",
    "total_get_bytes_per_partition",
    "total_put_records_per_partition",
    "total_get_records_per_partition",
]

_L = TypeVar("_L")


def _as_spelled(label: Any) -> Any:
    # Other pages of the vendor, and its .NET client, have two l.
    return label.replace("traffic_controll_", "traffic_control_") if _is_text(label) else label


def _as_list(labels: Any) -> Any:
    return [label.strip() for label in labels.split(",")] if _is_text(labels) else labels


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_Label = Annotated[_L, BeforeValidator(_as_spelled)]
_Labels = Annotated[
    list[_Label[_L]],
    Field(min_length=1),
    BeforeValidator(_as_list),
    PlainSerializer(",".join, when_used="json-unless-none"),
]
_Second = Annotated[int, Field(ge=1_000_000_000, le=9_999_999_999)]


class ReadMetrics(Message, Generic[_L]):
    """A period in whole seconds since the epoch, of ten digits, and what to tell of it.

    `label` asks for one series, `label_list` for several; with both, the list counts.
    """

    stream_name: StreamName
    label: _Label[_L] | None = None
    label_list: _Labels[_L] | None = None
    start_time: _Second
    end_time: _Second

    # Errors of their own types: the service has a code for each (see `refusal`).
    @model_validator(mode="after")
    def _checked(self) -> "ReadMetrics[_L]":
        if self.label is None and self.label_list is None:
            raise PydanticCustomError("metrics_label", "label or label_list is needed")
        if self.start_time > self.end_time:
            raise PydanticCustomError("metrics_period", "start_time is after end_time")
        if self.end_time - self.start_time > MAX_PERIOD_S:
            raise PydanticCustomError("metrics_long_period", "a period is 7 days at most")
        return self


class ReadStreamMetrics(ReadMetrics[StreamLabel]):
    """Parameters of `metrics.of_stream`. Times are in whole seconds since the epoch.

    One of `label` and `label_list` is needed; with both, the list counts.
    """


class ReadPartitionMetrics(ReadMetrics[PartitionLabel]):
    """Parameters of `metrics.of_partition`. Times are in whole seconds since the epoch.

    One of `label` and `label_list` is needed; with both, the list counts.
    """

    partition_id: PartitionId


class DataPoint(Reply):
    """A measurement. Its time is in seconds (*guessed*: the reference says "timestamp")."""

    timestamp: LenientInt = 0
    value: LenientInt = 0


class Series(Reply):
    """What one label says over a period."""

    label: str = ""
    data_points: Annotated[list[DataPoint], spelled("dataPoints", "data_points")] = []


class SeriesList(Reply):
    """The answer: `metrics` where one label was asked for, `metrics_list` where a list was."""

    metrics: Series | None = None
    metrics_list: list[Series] | None = None


class Metrics(Resource):
    """The monitoring operations, in the order of the service's reference."""

    of_stream = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/metrics", ReadStreamMetrics, SeriesList
    )
    of_partition = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/partitions/{partition_id}/metrics",
        ReadPartitionMetrics,
        SeriesList,
    )
