"""Consumer groups: the service shares an app's partitions out among the processes that ask.

*Seen in the SDK* (the vendor's Kafka adapter), not in the public reference
(facts 6.4). The names on the wire are the vendor's, in camelCase; a group bears
the name of its app. A member joins, waits until the others have, syncs to learn
which partitions are its own, and sends heartbeats; it is dropped after a minute
without a sign of life.
"""

from typing import Annotated

from pydantic import Field

from aiodis.api.shared import AppName, ClientId, StreamName
from aiodis.wire.message import Empty, LenientInt, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "GroupHeartbeat",
    "Groups",
    "HeartbeatReply",
    "JoinGroup",
    "JoinReply",
    "LeaveGroup",
    "SyncGroup",
    "SyncReply",
]

_App = Annotated[AppName, spelled("groupId")]
_Client = Annotated[ClientId, spelled("clientId")]
_Generation = Annotated[int, Field(ge=-1), spelled("generation")]


class JoinGroup(Message):
    """Parameters of `groups.join`: streams by name, by id, or all whose name matches the pattern.

    `rebalance_timeout_ms` is how long the members that are there have for joining
    again. `accelerate` asks for less: for a group of one.
    """

    app_name: _App
    client_id: _Client
    stream_names: Annotated[list[StreamName] | None, spelled("interestedStream")] = None
    stream_ids: Annotated[list[str] | None, spelled("interestedStreamIdList")] = None
    stream_pattern: Annotated[str | None, Field(max_length=256), spelled("streamPattern")] = None
    accelerate: Annotated[bool | None, spelled("accelerateAssignEnabled")] = None
    rebalance_timeout_ms: Annotated[
        int | None, Field(ge=0, le=86_400_000), spelled("rebalanceTimeoutMs")
    ] = None


class SyncGroup(Message):
    """Parameters of `groups.sync`. The generation is the last that was known, or -1."""

    app_name: _App
    client_id: _Client
    generation: _Generation = -1


class GroupHeartbeat(Message):
    """Parameters of `groups.heartbeat`."""

    app_name: _App
    client_id: _Client
    generation: _Generation = -1


class LeaveGroup(Message):
    """Parameters of `groups.leave`."""

    app_name: _App
    client_id: _Client


class JoinReply(Reply):
    """What became of a join, and the streams that were understood."""

    # OK, REJOIN, ERR_SUBSCRIPTION, GROUP_NOT_EXIST, ERROR.
    state: str = "ERROR"
    subscription: list[str] = []
    # How long to wait before the first sync.
    sync_delay_ms: Annotated[LenientInt, spelled("syncDelayedTimeMs")] = 0


class SyncReply(Reply):
    """A member's partitions: their numbers, by the stream's name, or id where it joined by id."""

    # OK, WAITING, REJOIN, GROUP_NOT_EXIST, ERROR.
    state: str = "ERROR"
    # What commits and heartbeats have to name from now on.
    generation: LenientInt = -1
    assignment: dict[str, list[int]] = {}


class HeartbeatReply(Reply):
    """What a member has to do: JOINING: join; SYNCING: sync; STABLE: nothing."""

    # JOINING, SYNCING, STABLE, GROUP_NOT_EXIST.
    state: str = ""


class Groups(Resource):
    """The operations of consumer groups, which only the vendor's Kafka adapter shows."""

    join = Operation(
        "POST /v2/{project_id}/apps/{groupId}/consumers",
        JoinGroup,
        JoinReply,
        also_in_body=("groupId",),
        source="seen in the SDK",
    )
    sync = Operation(
        "POST /v2/{project_id}/apps/{groupId}/consumers/{clientId}/partitions",
        SyncGroup,
        SyncReply,
        also_in_body=("groupId", "clientId"),
        source="seen in the SDK",
    )
    heartbeat = Operation(
        "POST /v2/{project_id}/apps/{groupId}/consumers/{clientId}/heartbeats",
        GroupHeartbeat,
        HeartbeatReply,
        also_in_body=("groupId", "clientId"),
        source="seen in the SDK",
    )
    # The status is guessed.
    leave = Operation(
        "DELETE /v2/{project_id}/apps/{groupId}/consumers/{clientId}",
        LeaveGroup,
        Empty,
        status=204,
        source="seen in the SDK",
    )
