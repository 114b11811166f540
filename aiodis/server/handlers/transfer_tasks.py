"""Dump tasks: what each operation of the reference's chapter 5.5 does."""

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from aiodis.api.destinations import Destination, MrsDestination, ObsDestination
from aiodis.api.transfer_tasks import (
    CreateTransferTask,
    DeleteTransferTask,
    DescribeTransferTask,
    ListTransferTasks,
    PartitionProgress,
    PauseTransferTasks,
    StartTransferTasks,
    TransferTask,
    TransferTaskDescription,
    TransferTaskList,
    UpdateTransferTask,
)
from aiodis.record import partition_name
from aiodis.server.dump.buckets import Buckets, is_bucket_name
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream, new_id
from aiodis.server.storage.transfer_tasks import PartitionDump, TransferTaskRow
from aiodis.wire.message import Empty

__all__ = ["TASK_QUOTA", "TransferTaskHandlers"]

TASK_QUOTA: Final = 5  # per stream (reference 7.1, DIS.4357)

_DEFAULT_TASKS: Final = 10
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

logger = logging.getLogger(__name__)


class TransferTaskHandlers:
    """One method a row of `aiodis.api.TransferTasks`."""

    def __init__(self, state: State, buckets: Buckets) -> None:
        self._state, self._buckets = state, buckets

    def create(self, request: CreateTransferTask, now_ms: int) -> Empty:
        stream = self._state.find(request.stream_name, now_ms)
        name, tasks = request.destination.task_name, self._tasks(stream)
        if name in tasks:
            raise Refusal("DIS.4355", name)
        if self._state.limited and len(tasks) >= TASK_QUOTA:
            raise Refusal("DIS.4357", f"{TASK_QUOTA} tasks")
        self._check(request.destination, stream)
        row = TransferTaskRow(
            task_id=new_id(),
            task_name=name,
            stream_id=stream.row.stream_id,
            destination_type=request.destination.word,
            descriptor=_kept(request.destination),
            create_ms=now_ms,
            since_ms=now_ms,
            partitions=_start(stream, request.destination, now_ms),
        )
        self._state.tasks.save(row)
        _tell_what_is_not_simulated(row, stream)
        return Empty()

    def list(self, request: ListTransferTasks, now_ms: int) -> TransferTaskList:
        tasks = self._state.tasks.of(self._state.find(request.stream_name, now_ms).row.stream_id)
        rest = [row for row in tasks if row.task_name > (request.start_task_name or "")]
        page = rest[: request.limit or _DEFAULT_TASKS]
        return TransferTaskList(
            total_number=len(tasks),
            quota=TASK_QUOTA,
            tasks=[TransferTask(**_shown(row)) for row in page],
            has_more_tasks=len(page) < len(rest),
        )

    def delete(self, request: DeleteTransferTask, now_ms: int) -> Empty:
        stream = self._state.find(request.stream_name, now_ms)
        self._state.tasks.remove(self._task(stream, request.task_name).task_id)
        return Empty()

    def describe(self, request: DescribeTransferTask, now_ms: int) -> TransferTaskDescription:
        stream = self._state.find(request.stream_name, now_ms)
        row = self._task(stream, request.task_name)
        description = f"{row.destination_type.lower()}_destination_description"
        return TransferTaskDescription.model_validate(
            {
                **_shown(row),
                "stream_name": stream.row.stream_name,
                "stream_id": stream.row.stream_id,
                "partitions": _progress(row, stream),
                description: {"task_name": row.task_name, **row.descriptor},
            }
        )

    def start(self, request: StartTransferTasks, now_ms: int) -> Empty:
        rows = [row for row in self._named(request, now_ms) if row.paused]
        # guesses.A_START_BEGINS_THE_INTERVAL_ANEW
        self._state.tasks.save(*(replace(row, paused=False, since_ms=now_ms) for row in rows))
        return Empty()

    def pause(self, request: PauseTransferTasks, now_ms: int) -> Empty:
        rows = self._named(request, now_ms)
        self._state.tasks.save(*(replace(row, paused=True) for row in rows))
        return Empty()

    def update(self, request: UpdateTransferTask, now_ms: int) -> Empty:
        stream = self._state.find(request.stream_name, now_ms)
        row = self._task(stream, request.destination.task_name)
        if row.destination_type != request.destination.word:
            detail = f"destination_type: it is {row.destination_type}, and stays so"
            raise Refusal("DIS.4200", detail)
        self._check(request.destination, stream)
        row = replace(row, descriptor=_kept(request.destination), failing=False)
        self._state.tasks.save(row)  # guesses.AN_UPDATE_KEEPS_THE_POSITION
        _tell_what_is_not_simulated(row, stream)
        return Empty()

    def _tasks(self, stream: Stream) -> dict[str, TransferTaskRow]:
        return {row.task_name: row for row in self._state.tasks.of(stream.row.stream_id)}

    def _task(self, stream: Stream, name: str) -> TransferTaskRow:
        row = self._tasks(stream).get(name)
        if row is None:
            raise Refusal("DIS.4354", name)
        return row

    def _named(self, request: StartTransferTasks, now_ms: int) -> Sequence[TransferTaskRow]:
        """Give the tasks of the request's ids; nothing is done when one is unknown."""
        stream = self._state.find(request.stream_name, now_ms)
        known = {row.task_id: row for row in self._tasks(stream).values()}
        for task_id in request.task_ids:
            if task_id not in known:
                raise Refusal("DIS.4354", task_id)
        return [known[task_id] for task_id in dict.fromkeys(request.task_ids)]

    def _check(self, destination: Destination, stream: Stream) -> None:
        """See that the destination can exist, as far as `guesses` tells, and make its bucket."""
        if isinstance(destination, MrsDestination):
            # guesses.MRS_CLUSTERS_HAVE_UUIDS, guesses.HDFS_PATHS_BEGIN_WITH_A_SLASH
            if not _UUID.fullmatch(destination.mrs_cluster_id):
                raise Refusal("DIS.4208", destination.mrs_cluster_id)
            if not destination.mrs_hdfs_path.startswith("/"):
                raise Refusal("DIS.4336", destination.mrs_hdfs_path)
        if isinstance(destination, ObsDestination):
            file_type = destination.destination_file_type or "text"
            if file_type != "text" and stream.row.data_type != "JSON":
                detail = f"destination_file_type: {file_type} needs a stream of JSON"
                raise Refusal("DIS.4200", detail)
        for field in ("obs_bucket_path", "obs_backup_bucket_path"):
            if bucket := getattr(destination, field, None):
                self._make(bucket)

    def _make(self, bucket: str) -> None:
        """Make a bucket: guesses.BUCKETS_COME_WITH_TASKS."""
        if not is_bucket_name(bucket):
            raise Refusal("DIS.4306", bucket)
        try:
            self._buckets.make(bucket)
        except OSError as exc:
            raise Refusal("DIS.4310", f"{bucket}: {exc.strerror or exc}") from exc


def _kept(destination: Destination) -> dict[str, Any]:
    """Give what is kept of a destination; a password is not, as nothing here would use it."""
    left_out = {"task_name", "user_password"}
    return destination.model_dump(mode="json", exclude_none=True, exclude=left_out)


def _start(stream: Stream, destination: Destination, now_ms: int) -> dict[int, PartitionDump]:
    earliest = destination.consumer_strategy == "TRIM_HORIZON"
    return {
        number: PartitionDump(
            stream.oldest(number, now_ms) if earliest else stream.log.next_sequence(number)
        )
        for number in range(len(stream.row.partitions))
    }


def _shown(row: TransferTaskRow) -> dict[str, Any]:
    """Give the fields that a list and a description of a task share."""
    return {
        "task_id": row.task_id,
        "task_name": row.task_name,
        "state": row.state,
        "destination_type": row.destination_type,
        "create_time": row.create_ms,
        "last_transfer_timestamp": row.last_ms,
    }


def _progress(row: TransferTaskRow, stream: Stream) -> list[PartitionProgress]:
    dumps = (
        (number, partition, row.partitions.get(number, PartitionDump()))
        for number, partition in enumerate(stream.row.partitions)
    )
    return [
        PartitionProgress(
            partition_id=partition_name(number),
            status=partition.status,
            state=row.state,
            last_transfer_timestamp=dump.last_ms,
            last_transfer_offset=dump.next_sequence,  # guesses.LAST_OFFSET_IS_THE_NEXT
            discard=dump.discarded,
        )
        for number, partition, dump in dumps
    ]


def _tell_what_is_not_simulated(row: TransferTaskRow, stream: Stream) -> None:
    if not row.is_simulated:
        file_type = row.descriptor.get("destination_file_type")
        logger.warning(
            "dump task %s of stream %s is kept, but carries nothing: %s is not simulated",
            row.task_name,
            stream.row.stream_name,
            row.destination_type if row.destination_type != "OBS" else f"OBS as {file_type}",
        )
