"""Checkpoints: what each operation of the reference's chapter 5.3 does."""

from pydantic import field_serializer

from aiodis.api.checkpoints import Checkpoint, CommitCheckpoint, DeleteCheckpoint, GetCheckpoint
from aiodis.server.memberships import Memberships
from aiodis.server.state import State
from aiodis.server.storage.catalog import CheckpointRow
from aiodis.wire.message import Empty

__all__ = ["CheckpointHandlers"]


class _Checkpoint(Checkpoint):
    """A checkpoint with its number as a text, which is how the service writes it (facts 6.3)."""

    @field_serializer("sequence_number")
    def _as_text(self, value: int) -> str:
        return str(value)


class CheckpointHandlers:
    """One method a row of `aiodis.api.Checkpoints`."""

    def __init__(self, state: State, memberships: Memberships) -> None:
        self._state, self._memberships = state, memberships

    def commit(self, request: CommitCheckpoint, now_ms: int) -> Empty:
        self._state.app(request.app_name)
        stream = self._state.find(request.stream_name, now_ms)
        partition = stream.partition(request.partition_id)
        self._memberships.check_commit(
            request.app_name, request.client_id, request.generation_id, now_ms
        )
        # The number is taken as it comes: guesses.CHECKPOINTS_MAY_GO_BACK.
        self._state.catalog.commit(
            request.app_name,
            stream.row.stream_id,
            partition,
            CheckpointRow(int(request.sequence_number), request.metadata),
        )
        return Empty()

    def get(self, request: GetCheckpoint, now_ms: int) -> Checkpoint:
        self._state.app(request.app_name)
        stream = self._state.find(request.stream_name, now_ms)
        partition = stream.partition(request.partition_id)
        commits = self._state.catalog.checkpoints(request.app_name, stream.row.stream_id)
        sequence, metadata = commits.get(partition, CheckpointRow(-1, None))
        return _Checkpoint(sequence_number=sequence, metadata=metadata)

    def delete(self, request: DeleteCheckpoint, now_ms: int) -> Empty:
        self._state.app(request.app_name)
        stream = self._state.find(request.stream_name, now_ms)
        partition = None
        if request.partition_id is not None:
            partition = stream.partition(request.partition_id)
        self._state.catalog.remove_checkpoints(request.app_name, stream.row.stream_id, partition)
        return Empty()
