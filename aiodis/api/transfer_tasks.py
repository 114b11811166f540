"""Dump tasks, which carry a stream's records elsewhere: reference, chapter 5.5."""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, Final

import orjson
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from aiodis.api.destinations import DESTINATIONS, Destination, TaskName
from aiodis.api.shared import StreamName
from aiodis.wire.message import Creation, Deletion, Empty, LenientInt, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "CloudTableDescription",
    "CreateTransferTask",
    "DeleteTransferTask",
    "DescribeTransferTask",
    "DestinationDescription",
    "DliDescription",
    "DwsDescription",
    "ListTransferTasks",
    "MrsDescription",
    "ObsDescription",
    "PartitionProgress",
    "PauseTransferTasks",
    "ProcessingSchemaDescription",
    "StartTransferTasks",
    "TransferTask",
    "TransferTaskDescription",
    "TransferTaskList",
    "TransferTasks",
    "UpdateTransferTask",
]

# The word of the reference's own example for CloudTable; its tables have the other one.
_ALSO: Final = {"CLOUDBASE": "CLOUDTABLE"}


class _WithDestination(Message):
    """On the wire, a destination is a `destination_type` beside a descriptor named after it."""

    stream_name: StreamName
    destination: Destination

    def body(self, fields: dict[str, Any]) -> bytes:
        """Write the destination as its type and its descriptor."""
        kind = self.destination
        return orjson.dumps({"destination_type": kind.word, kind.descriptor: fields["destination"]})

    @classmethod
    def shape(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Read the destination that the type names. What is empty and may be left out, is."""
        word = given.get("destination_type")
        kind = DESTINATIONS.get(_ALSO.get(word, word)) if isinstance(word, str) else None
        if kind is None:
            words = ", ".join(DESTINATIONS)
            raise _wrong("destination_type", word, f"one of {words}")
        found = given.get(kind.descriptor)
        if not isinstance(found, Mapping):
            raise _wrong(kind.descriptor, found, f"destination_type {kind.word} needs this object")
        needed = {name for name, info in kind.model_fields.items() if info.is_required()}
        filled = {k: v for k, v in found.items() if v not in ("", None) or k in needed}
        return {**given, "destination": kind.model_validate(filled, extra="ignore")}


class CreateTransferTask(_WithDestination, Creation):
    """Parameters of `transfer_tasks.create`. The task's name is in the destination."""


class UpdateTransferTask(_WithDestination):
    """Parameters of `transfer_tasks.update`: the whole destination anew, found by its task's name.

    Its kind stays as it is.
    """


class ListTransferTasks(Message):
    """Parameters of `transfer_tasks.list`. `start_task_name` itself is not in the answer."""

    stream_name: StreamName
    limit: Annotated[int, Field(ge=1, le=100)] | None = None  # seen in the SDK
    start_task_name: str | None = None  # seen in the SDK


class DeleteTransferTask(Deletion):
    """Parameters of `transfer_tasks.delete`."""

    stream_name: StreamName
    task_name: TaskName


class DescribeTransferTask(Message):
    """Parameters of `transfer_tasks.describe`."""

    stream_name: StreamName
    task_name: TaskName


def _id(value: object) -> object:
    return value["id"] if isinstance(value, dict) and set(value) >= {"id"} else value


TaskId = Annotated[
    str,
    Field(min_length=1),
    BeforeValidator(_id),
    PlainSerializer(lambda value: {"id": value}, return_type=dict[str, str]),
]


class StartTransferTasks(Message):
    """Parameters of `transfer_tasks.start`. The ids are those that a list of tasks shows."""

    stream_name: StreamName
    # On the wire each is an object with an `id`.
    task_ids: Annotated[list[TaskId], Field(min_length=1), spelled("tasks")]


class PauseTransferTasks(StartTransferTasks):
    """Parameters of `transfer_tasks.pause`. The ids are those that a list of tasks shows."""


class TransferTask(Reply):
    """One task of a list. Its state: RUNNING, PAUSED, STARTING, ABNORMAL, ERROR or DELETE."""

    task_id: str = ""
    task_name: str = ""
    state: str = ""
    destination_type: str = ""
    create_time: LenientInt = 0
    last_transfer_timestamp: LenientInt = 0
    exception_strategy: str | None = None  # seen


class TransferTaskList(Reply):
    """One page of a stream's tasks."""

    total_number: LenientInt = 0
    quota: LenientInt | None = None
    # One of the vendor's clients reads the other name.
    tasks: Annotated[list[TransferTask], spelled("tasks", "details")] = []
    has_more_tasks: bool = False  # seen in the SDK


class PartitionProgress(Reply):
    """How far a task is in one partition.

    The reference's table and its example differ in all fields but the id; both are read.
    """

    partition_id: Annotated[
        str, Field(coerce_numbers_to_str=True), spelled("partitionId", "partition_id")
    ] = ""
    status: str | None = None
    state: Annotated[str | None, spelled("state", "transfer_state")] = None
    last_transfer_timestamp: LenientInt = 0
    last_transfer_offset: LenientInt = 0
    discard: LenientInt = 0  # records that were not carried on
    hash_range: str | None = None
    sequence_number_range: str | None = None
    parent_partitions: str | None = None


class ProcessingSchemaDescription(Reply):
    """A `ProcessingSchema` as a reply has it."""

    timestamp_name: str = ""
    timestamp_type: str = ""
    timestamp_format: str | None = None


class DestinationDescription(Reply):
    """What all destinations have in common."""

    task_name: str | None = None
    agency_name: str = ""
    deliver_time_interval: LenientInt = 300
    consumer_strategy: str = "LATEST"
    retry_duration: LenientInt | None = None
    file_prefix: str | None = None
    obs_bucket_path: str | None = None


class ObsDescription(DestinationDescription):
    """An `ObsDestination` as a reply has it."""

    partition_format: str | None = None
    destination_file_type: str = "text"
    processing_schema: ProcessingSchemaDescription | None = None
    record_delimiter: str = "\n"


class DwsDescription(DestinationDescription):
    """A `DwsDestination` as a reply has it."""

    dws_cluster_name: str = ""
    dws_cluster_id: str = ""
    dws_database_name: str = ""
    dws_schema: str = ""
    dws_table_name: str = ""
    dws_delimiter: str = ""
    user_name: str = ""
    kms_user_key_name: str = ""
    kms_user_key_id: str = ""
    dws_table_columns: str | None = None
    options: dict[str, Any] | None = None


class MrsDescription(DestinationDescription):
    """A `MrsDestination` as a reply has it."""

    mrs_cluster_name: str = ""
    mrs_cluster_id: str = ""
    mrs_hdfs_path: str = ""
    hdfs_prefix_folder: str | None = None
    destination_file_type: str | None = None


class DliDescription(DestinationDescription):
    """A `DliDestination` as a reply has it."""

    dli_database_name: str = ""
    dli_table_name: str = ""


class CloudTableDescription(DestinationDescription):
    """A `CloudTableDestination` as a reply has it."""

    cloudtable_cluster_name: str = ""
    cloudtable_cluster_id: str = ""
    cloudtable_table_name: str | None = None
    cloudtable_schema: dict[str, Any] | None = None
    opentsdb_schema: list[dict[str, Any]] | None = None
    cloudtable_row_key_delimiter: str | None = None
    obs_backup_bucket_path: str | None = None
    backup_file_prefix: str | None = None


class TransferTaskDescription(Reply):
    """A task with its destination and how far it is. One of the five descriptions is there."""

    stream_name: Annotated[str, spelled("stream_name", "streamName")] = ""
    stream_id: Annotated[str, spelled("stream_id", "streamId")] = ""
    task_name: str = ""
    task_id: str = ""
    state: str = ""
    destination_type: str = ""
    create_time: LenientInt = 0
    last_transfer_timestamp: LenientInt = 0
    exception_strategy: str | None = None  # seen
    partitions: list[PartitionProgress] = []
    obs_destination_description: ObsDescription | None = None
    # One of the vendor's clients leaves out a letter here and in the last one (facts 8.8).
    dws_destination_description: Annotated[
        DwsDescription | None,
        spelled("dws_destination_description", "dws_destination_descripton"),
    ] = None
    mrs_destination_description: MrsDescription | None = None
    dli_destination_description: DliDescription | None = None
    cloudtable_destination_description: Annotated[
        CloudTableDescription | None,
        spelled("cloudtable_destination_description", "cloudtable_destination_descripton"),
    ] = None


class TransferTasks(Resource):
    """The dump task operations, in the order of the service's reference."""

    # Some of the vendor's clients say `stream` to create and to describe (facts 8).
    create = Operation(
        "POST /v2/{project_id}/streams/{stream_name}/transfer-tasks",
        CreateTransferTask,
        Empty,
        status=201,
        also_at=("/v2/{project_id}/stream/{stream_name}/transfer-tasks",),
    )
    list = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/transfer-tasks",
        ListTransferTasks,
        TransferTaskList,
    )
    delete = Operation(
        "DELETE /v2/{project_id}/streams/{stream_name}/transfer-tasks/{task_name}",
        DeleteTransferTask,
        Empty,
        status=204,
    )
    describe = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/transfer-tasks/{task_name}",
        DescribeTransferTask,
        TransferTaskDescription,
        also_at=("/v2/{project_id}/stream/{stream_name}/transfer-tasks/{task_name}",),
    )
    start = Operation(
        "POST /v2/{project_id}/streams/{stream_name}/transfer-tasks/action",
        StartTransferTasks,
        Empty,
        always={"action": "start"},
    )
    pause = Operation(
        "POST /v2/{project_id}/streams/{stream_name}/transfer-tasks/action",
        PauseTransferTasks,
        Empty,
        always={"action": "stop"},
    )
    # The reference only lists it among the permissions.
    update = Operation(
        "PUT /v2/{project_id}/streams/{stream_name}/transfer-tasks",
        UpdateTransferTask,
        Empty,
        status=204,
        source="seen in the SDK",
    )

    async def list_all(
        self, stream_name: str, *, page_size: int = 100
    ) -> AsyncIterator[TransferTask]:
        """Give every dump task of a stream, page by page."""
        start: str | None = None
        while True:
            page = await self.list(stream_name=stream_name, limit=page_size, start_task_name=start)
            for task in page.tasks:
                yield task
            if not (page.has_more_tasks and page.tasks):
                return
            start = page.tasks[-1].task_name


def _wrong(field: str, value: object, rule: str) -> ValidationError:
    error = PydanticCustomError("destination", "{rule}", {"rule": rule})
    details = InitErrorDetails(type=error, loc=(field,), input=value)
    return ValidationError.from_exception_data("destination", [details])
