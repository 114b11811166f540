"""Monitoring: what each operation of the reference's chapter 5.6 does."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiodis.api.metrics import (
    MAX_PERIOD_S,
    DataPoint,
    ReadMetrics,
    ReadPartitionMetrics,
    ReadStreamMetrics,
    Series,
    SeriesList,
)
from aiodis.server import guesses
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream
from aiodis.server.traffic import MINUTE_MS, Flow, Minute

__all__ = ["MetricHandlers"]

_MINUTE_S: Final = MINUTE_MS // 1000

_Value = Callable[[Minute], int | None]


class MetricHandlers:
    """One method a row of `aiodis.api.Metrics`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def of_stream(self, request: ReadStreamMetrics, now_ms: int) -> SeriesList:
        stream = self._state.find(request.stream_name, now_ms)
        return self._answer(stream, request, _OF_STREAM, now_ms)

    def of_partition(self, request: ReadPartitionMetrics, now_ms: int) -> SeriesList:
        stream = self._state.find(request.stream_name, now_ms)
        number = stream.partition(request.partition_id)
        values = {label: _of_flow(number, count) for label, count in _OF_PARTITION.items()}
        return self._answer(stream, request, values, now_ms)

    def _answer(
        self, stream: Stream, asked: ReadMetrics[Any], values: Mapping[str, _Value], now_ms: int
    ) -> SeriesList:
        oldest_s = now_ms // 1000 - MAX_PERIOD_S - guesses.OLDEST_PERIOD_GRACE_S
        if asked.start_time < oldest_s:
            raise Refusal("DIS.4204", f"start_time: {oldest_s} or later")
        # guesses.PERIODS_TAKE_WHOLE_MINUTES
        first, last = asked.start_time // _MINUTE_S, asked.end_time // _MINUTE_S
        minutes = self._state.history.between(stream.row.stream_id, first, last)
        labels: list[str] = asked.label_list or [asked.label]
        series = [_series(label, values[label], minutes) for label in labels]
        if asked.label_list:
            return SeriesList(metrics_list=series)
        return SeriesList(metrics=series[0])


def _series(label: str, value_of: _Value, minutes: Mapping[int, Minute]) -> Series:
    values = ((number, value_of(minute)) for number, minute in minutes.items())
    return Series(
        label=label,
        data_points=[
            DataPoint(timestamp=number * _MINUTE_S, value=value)
            for number, value in values
            if value is not None  # guesses.QUIET_MINUTES_HAVE_NO_POINT
        ],
    )


def _of_all_flows(count: Callable[[Flow], int]) -> _Value:
    return lambda minute: sum(map(count, minute.flows.values()))


def _of_flow(partition: int, count: Callable[[Flow], int]) -> _Value:
    def value(minute: Minute) -> int | None:
        flow = minute.flows.get(partition)
        return None if flow is None else count(flow)

    return value


def _average_ms(microseconds: int, requests: int) -> int | None:
    return round(microseconds / requests / 1000) if requests else None


_OF_PARTITION: Final[dict[str, Callable[[Flow], int]]] = {
    "total_put_bytes_per_partition": lambda flow: flow.bytes_in,
    "total_get_bytes_per_partition": lambda flow: flow.bytes_out,
    "total_put_records_per_partition": lambda flow: flow.records_in,
    "total_get_records_per_partition": lambda flow: flow.records_out,
}

_OF_STREAM: Final[dict[str, _Value]] = {
    "total_put_bytes_per_stream": _of_all_flows(lambda flow: flow.bytes_in),
    "total_get_bytes_per_stream": _of_all_flows(lambda flow: flow.bytes_out),
    "total_put_records_per_stream": _of_all_flows(lambda flow: flow.records_in),
    "total_get_records_per_stream": _of_all_flows(lambda flow: flow.records_out),
    "total_put_req_latency": lambda m: _average_ms(m.put_us, m.puts + m.puts_throttled),
    "total_get_req_latency": lambda m: _average_ms(m.get_us, m.gets),
    "total_put_req_suc_per_stream": lambda m: m.puts,
    "total_get_req_suc_per_stream": lambda m: m.gets,
    "traffic_control_put": lambda m: m.puts_throttled,
    "traffic_control_get": lambda m: m.gets_throttled,
}
