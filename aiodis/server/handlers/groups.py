"""Consumer groups: what each operation does that only the vendor's adapter shows (facts 6.4)."""

from collections.abc import Mapping

from aiodis.api.groups import (
    GroupHeartbeat,
    HeartbeatReply,
    JoinGroup,
    JoinReply,
    LeaveGroup,
    SyncGroup,
    SyncReply,
)
from aiodis.server.group import Interest, Partition
from aiodis.server.memberships import Memberships
from aiodis.server.state import State, Stream
from aiodis.wire.message import Empty

__all__ = ["GroupHandlers"]

_NO_GROUP = "GROUP_NOT_EXIST"


class GroupHandlers:
    """One method a row of `aiodis.api.Groups`."""

    def __init__(self, state: State, memberships: Memberships) -> None:
        self._state, self._memberships = state, memberships

    def join(self, request: JoinGroup, now_ms: int) -> JoinReply:
        if not self._exists(request.app_name):
            return JoinReply(state=_NO_GROUP)
        interest = Interest(
            tuple(request.stream_names or ()),
            tuple(request.stream_ids or ()),
            request.stream_pattern,
        )
        if not self._memberships.understands(interest, now_ms):
            return JoinReply(state="ERR_SUBSCRIPTION")
        wait_ms = self._memberships.join(
            request.app_name,
            request.client_id,
            interest,
            now_ms,
            window_ms=request.rebalance_timeout_ms,
            accelerates=bool(request.accelerate),
        )
        called = sorted(self._memberships.streams(interest, now_ms))
        return JoinReply(state="OK", subscription=called, sync_delay_ms=wait_ms)

    def sync(self, request: SyncGroup, now_ms: int) -> SyncReply:
        if not self._exists(request.app_name):
            return SyncReply(state=_NO_GROUP)
        group = self._memberships.group(request.app_name, now_ms)
        state, generation, partitions = group.sync(request.client_id, now_ms)
        if state != "OK":
            return SyncReply(state=state)
        streams = self._memberships.streams(group.members[request.client_id].interest, now_ms)
        return SyncReply(state=state, generation=generation, assignment=_named(partitions, streams))

    def heartbeat(self, request: GroupHeartbeat, now_ms: int) -> HeartbeatReply:
        if not self._exists(request.app_name):
            return HeartbeatReply(state=_NO_GROUP)
        group = self._memberships.group(request.app_name, now_ms)
        return HeartbeatReply(state=group.heartbeat(request.client_id, request.generation, now_ms))

    def leave(self, request: LeaveGroup, now_ms: int) -> Empty:
        self._state.app(request.app_name)
        self._memberships.group(request.app_name, now_ms).leave(request.client_id, now_ms)
        return Empty()

    def _exists(self, app_name: str) -> bool:
        return self._state.catalog.app(app_name) is not None


def _named(
    partitions: tuple[Partition, ...], streams: Mapping[str, Stream]
) -> dict[str, list[int]]:
    """Put partitions under what the member calls their streams."""
    called = {stream.row.stream_id: name for name, stream in streams.items()}
    assignment: dict[str, list[int]] = {}
    for stream_id, number in partitions:
        if stream_id in called:  # else the stream was deleted since
            assignment.setdefault(called[stream_id], []).append(number)
    return assignment
