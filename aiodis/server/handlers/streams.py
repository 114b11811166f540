"""Streams: what each operation of the reference's chapter 5.1 does."""

from collections.abc import Sequence
from typing import Any, Final

from aiodis.api.streams import (
    CreateStream,
    DeleteStream,
    DescribeStream,
    ListStreams,
    Partition,
    PartitionCountChange,
    ReadScalingLog,
    ScaleResult,
    ScaleStream,
    ScalingLog,
    StreamDescription,
    StreamInfo,
    StreamList,
    UpdateResult,
    UpdateStream,
    UpdateStreamV2,
)
from aiodis.record import partition_name, partition_number
from aiodis.server import guesses
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream, new_id
from aiodis.server.storage.catalog import PartitionRow, StreamRow
from aiodis.wire.message import Empty

__all__ = ["StreamHandlers", "page_after"]

_DEFAULT_STREAMS: Final = 10
_DEFAULT_PARTITIONS: Final = 100

_AUTO_SCALE: Final = (
    "auto_scale_enabled",
    "auto_scale_min_partition_count",
    "auto_scale_max_partition_count",
)

# Fields that are kept and told again.
_KEPT: Final = (
    "data_schema",
    "csv_properties",
    "compression_format",
    "tags",
    "sys_tags",
    *_AUTO_SCALE,
)


class StreamHandlers:
    """One method a row of `aiodis.api.Streams`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def create(self, request: CreateStream, now_ms: int) -> Empty:
        if self._state.peek(request.stream_name):
            raise Refusal("DIS.4307", request.stream_name)
        stream_type = request.stream_type or guesses.DEFAULT_STREAM_TYPE
        self._check_quota(stream_type, request.partition_count, now_ms)
        self._state.add_stream(
            StreamRow(
                stream_name=request.stream_name,
                stream_id=new_id(),
                create_ms=now_ms,
                modified_ms=now_ms,
                stream_type=stream_type,
                data_type=request.data_type or guesses.DEFAULT_DATA_TYPE,
                retention_hours=request.data_duration or guesses.DEFAULT_RETENTION_HOURS,
                partitions=(PartitionRow(),) * request.partition_count,
                extra=_kept(request),
            )
        )
        return Empty()

    def delete(self, request: DeleteStream, now_ms: int) -> Empty:
        self._state.remove_stream(self._state.find(request.stream_name, now_ms))
        return Empty()

    def describe(self, request: DescribeStream, now_ms: int) -> StreamDescription:
        stream = self._state.find(request.stream_name, now_ms)
        row, numbers = stream.row, range(len(stream.row.partitions))
        page, has_more = page_after(
            numbers, request.start_partition_id, request.limit_partitions or _DEFAULT_PARTITIONS
        )
        expired = sum(p.status == "EXPIRED" for p in row.partitions)
        return StreamDescription(
            **_shown(stream),
            last_modified_time=row.modified_ms,
            writable_partition_count=len(stream.active),
            readable_partition_count=len(numbers) - expired,
            update_partition_counts=_changes(row),
            partitions=[_partition(stream, number, now_ms) for number in page],
            has_more_partitions=has_more,
        )

    def scale(self, request: ScaleStream, now_ms: int) -> ScaleResult:
        stream = self._state.find_running(request.stream_name, now_ms)
        if stream.row.change is not None:
            raise Refusal(guesses.SCALING_UNDER_WAY_CODE, "a scaling is under way")
        source, target = len(stream.active), request.target_partition_count
        if source == target:
            detail = f"target_partition_count: there are {source} partitions already"
            raise Refusal(guesses.SCALING_TO_THE_SAME_COUNT_CODE, detail)
        try:
            self._check_scaling(stream, target, now_ms)
        except Refusal as refusal:
            self._state.events.manual_scaling_failed(
                stream.row, source, target, refusal.message, now_ms
            )
            raise
        self._state.scale(stream, target, now_ms)
        return ScaleResult(
            stream_name=stream.row.stream_name,
            current_partition_count=source,
            target_partition_count=target,
        )

    def update(self, request: UpdateStream, now_ms: int) -> Empty:
        stream = self._state.find_running(request.stream_name, now_ms)
        row = stream.row
        self._state.change(
            stream,
            data_type=request.data_type or row.data_type,
            retention_hours=request.data_duration or row.retention_hours,
            extra=_in_order(row.extra | _kept(request)),
            modified_ms=now_ms,
        )
        return Empty()

    def update_v2(self, request: UpdateStreamV2, now_ms: int) -> UpdateResult:
        is_of_type = request.update_type == "DATA_TYPE"
        counted = {"data_type", "data_schema"} if is_of_type else _AUTO_SCALE
        fields = {name: value for name, value in request if name in counted}
        self.update(UpdateStream(stream_name=request.stream_name, **fields), now_ms)
        return UpdateResult(
            stream_name=request.stream_name,
            target_data_type=request.data_type if is_of_type else None,
        )

    def scaling_log(self, request: ReadScalingLog, now_ms: int) -> ScalingLog:
        stream = self._state.find(request.stream_name, now_ms)
        return ScalingLog(update_partition_counts=_changes(stream.row))

    def list(self, request: ListStreams, now_ms: int) -> StreamList:
        self._state.settle(now_ms)
        streams = sorted(self._state.streams(), key=lambda stream: stream.row.stream_name)
        after = request.start_stream_name or ""
        rest = [stream for stream in streams if stream.row.stream_name > after]
        page = rest[: request.limit or _DEFAULT_STREAMS]
        return StreamList(
            total_number=len(streams),
            stream_names=[stream.row.stream_name for stream in page],
            stream_info_list=[
                StreamInfo(**_shown(stream), partition_count=len(stream.active)) for stream in page
            ],
            has_more_streams=len(page) < len(rest),
        )

    def _check_scaling(self, stream: Stream, target: int, now_ms: int) -> None:
        allowed_ms = self._state.scaling_allowed_ms(stream, target, now_ms)
        if allowed_ms > now_ms:
            way = "down" if target < len(stream.active) else "up"
            detail = f"too many scalings {way} in an hour, again in {allowed_ms - now_ms} ms"
            raise Refusal(guesses.SCALING_LIMIT_CODE, detail)
        self._check_quota(stream.row.stream_type, target - len(stream.active), now_ms)

    def _check_quota(self, stream_type: str, added: int, now_ms: int) -> None:
        try:
            self._state.check_quota(stream_type, added)
        except Refusal as refusal:
            self._state.events.quota_insufficient(refusal.message, now_ms)
            raise


def page_after(
    numbers: Sequence[int], start_partition_id: str | None, limit: int
) -> tuple[Sequence[int], bool]:
    """Give the partitions after the start one, which is not among them, and whether more follow."""
    start = -1 if start_partition_id is None else partition_number(start_partition_id)
    rest = [number for number in numbers if number > start]
    return rest[:limit], len(rest) > limit


def _kept(request: CreateStream | UpdateStream) -> dict[str, Any]:
    return request.model_dump(mode="json", include=set(_KEPT), exclude_none=True)


def _in_order(extra: dict[str, Any]) -> dict[str, Any]:
    """See that the bounds of auto scaling are in order with those that were there before."""
    least = extra.get("auto_scale_min_partition_count")
    most = extra.get("auto_scale_max_partition_count")
    if least is not None and most is not None and least > most:
        raise Refusal("DIS.4200", f"auto_scale_min_partition_count {least} is above {most}")
    return extra


def _shown(stream: Stream) -> dict[str, Any]:
    """Give the fields that a list and a description of a stream share."""
    row = stream.row
    return {
        **row.extra,
        "stream_name": row.stream_name,
        "stream_id": row.stream_id,
        "create_time": row.create_ms,
        "retention_period": row.retention_hours,
        "status": stream.status,
        "stream_type": row.stream_type,
        "data_type": row.data_type,
    }


def _changes(row: StreamRow) -> list[PartitionCountChange]:
    return [
        PartitionCountChange(
            create_timestamp=scaling.at_ms,
            src_partition_count=scaling.source,
            target_partition_count=scaling.target,
            result_code=int(scaling.is_done),
            result_msg=scaling.message,
            auto_scale=scaling.is_auto,
        )
        for scaling in row.scalings
    ]


def _partition(stream: Stream, number: int, now_ms: int) -> Partition:
    status = stream.row.partitions[number].status
    hashes = stream.hash_ranges.get(number)  # guesses.HASH_RANGE_OF_ACTIVE_ONLY
    sequences = None
    if status != "EXPIRED":
        next_sequence = stream.log.next_sequence(number)
        sequences = f"[{stream.oldest(number, now_ms)} : {next_sequence}]"
    return Partition(
        status=status,
        partition_id=partition_name(number),
        hash_range=hashes and f"[{hashes.first} : {hashes.last}]",
        sequence_number_range=sequences,
        parent_partitions=guesses.PARENTS_OF_A_PARTITION,
    )
