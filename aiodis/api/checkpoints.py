"""Checkpoints: reference, chapter 5.3."""

from typing import Annotated

from pydantic import Field

from aiodis.api.shared import (
    AppName,
    CheckpointType,
    ClientId,
    PartitionId,
    SequenceNumber,
    StreamName,
)
from aiodis.wire.message import Empty, LenientInt, Message, Reply
from aiodis.wire.operation import Operation, Resource

__all__ = ["Checkpoint", "Checkpoints", "CommitCheckpoint", "DeleteCheckpoint", "GetCheckpoint"]


class CommitCheckpoint(Message):
    """Parameters of `checkpoints.commit`; the service stores `sequence_number` as it comes.

    A commit that names a member of the app's group, or a generation, is refused when
    the member is none or the generation is not the group's (DIS.4701 to 4703).
    """

    app_name: AppName
    stream_name: StreamName
    partition_id: PartitionId
    sequence_number: SequenceNumber
    checkpoint_type: CheckpointType = "LAST_READ"
    metadata: Annotated[str, Field(max_length=1000)] | None = None
    # *Seen in the SDK*: who commits, which the service then checks (facts 6.4).
    client_id: ClientId | None = None
    generation_id: int | None = None
    # Seen in the SDK: the id of a stream that another account shares.
    stream_id: str | None = None


class GetCheckpoint(Message):
    """Parameters of `checkpoints.get`."""

    app_name: AppName
    stream_name: StreamName
    partition_id: PartitionId
    checkpoint_type: CheckpointType = "LAST_READ"
    # Seen in the SDK: the id of a stream that another account shares.
    stream_id: str | None = None


class DeleteCheckpoint(Message):
    """Parameters of `checkpoints.delete`; without a partition, all of the stream's go."""

    app_name: AppName
    stream_name: StreamName
    partition_id: PartitionId | None = None
    checkpoint_type: CheckpointType = "LAST_READ"
    # Seen in the SDK: the id of a stream that another account shares.
    stream_id: str | None = None


class Checkpoint(Reply):
    """A checkpoint; `sequence_number` is -1 where none was committed (*seen*, facts 6.3)."""

    sequence_number: LenientInt = -1
    metadata: str | None = None


class Checkpoints(Resource):
    """The checkpoint operations, in the order of the service's reference."""

    commit = Operation("POST /v2/{project_id}/checkpoints", CommitCheckpoint, Empty, status=201)
    # The reference says 204 with a body; the service answers 200 (facts 6.3).
    get = Operation("GET /v2/{project_id}/checkpoints", GetCheckpoint, Checkpoint)
    delete = Operation("DELETE /v2/{project_id}/checkpoints", DeleteCheckpoint, Empty, status=204)
