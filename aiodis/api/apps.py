"""Consumer apps: reference, chapter 5.2."""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field

from aiodis.api.shared import AppName, CheckpointType, PartitionId, StreamName
from aiodis.wire.message import Creation, Deletion, Empty, LenientInt, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "App",
    "AppList",
    "Apps",
    "ConsumerState",
    "CreateApp",
    "DeleteApp",
    "DescribeApp",
    "DescribeConsumerState",
    "ListApps",
    "PartitionState",
]

# The reference spells this one both ways, in tables and in examples (facts 8.4).
StreamNames = Annotated[
    list[str], spelled("commit_checkpoint_stream_names", "commit_check_point_stream_names")
]


class CreateApp(Creation):
    """Parameters of `apps.create`."""

    app_name: AppName


class ListApps(Message):
    """Parameters of `apps.list`. `start_app_name` itself is not in the answer."""

    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    start_app_name: str | None = None
    stream_name: str | None = None


class DeleteApp(Deletion):
    """Parameters of `apps.delete`."""

    app_name: AppName


class DescribeApp(Message):
    """Parameters of `apps.describe`."""

    app_name: AppName


class DescribeConsumerState(Message):
    """Parameters of `apps.describe_state`. The start partition itself is not in the answer."""

    app_name: AppName
    stream_name: StreamName
    checkpoint_type: CheckpointType = "LAST_READ"
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None
    start_partition_id: Annotated[
        PartitionId | None, spelled("start_partition_id", "start_partitionId")
    ] = None
    # Seen in the SDK: the id of a stream that another account shares.
    stream_id: str | None = None


class App(Reply):
    """An app and the streams it committed checkpoints for."""

    app_name: str = ""
    app_id: str = ""
    create_time: LenientInt = 0
    commit_checkpoint_stream_names: StreamNames = []


class AppList(Reply):
    """One page of apps."""

    has_more_app: bool = False
    apps: list[App] = []
    total_number: LenientInt = 0


class PartitionState(Reply):
    """How far an app is in one partition; `sequence_number` is -1 before the first commit."""

    partition_id: Annotated[str, Field(coerce_numbers_to_str=True)] = ""
    sequence_number: LenientInt = -1
    latest_offset: LenientInt = 0
    earliest_offset: LenientInt = 0
    checkpoint_type: str = "LAST_READ"


class ConsumerState(Reply):
    """How far an app is in a stream."""

    stream_name: str = ""
    app_name: str = ""
    has_more: bool = False
    # The reference has two m's; all the vendor's clients read one (facts 8.3).
    partition_consuming_states: Annotated[
        list[PartitionState],
        spelled("partition_consuming_states", "partition_consumming_states"),
    ] = []


class Apps(Resource):
    """The app operations, in the order of the service's reference."""

    create = Operation("POST /v2/{project_id}/apps", CreateApp, Empty, status=201)
    list = Operation("GET /v2/{project_id}/apps", ListApps, AppList)
    delete = Operation("DELETE /v2/{project_id}/apps/{app_name}", DeleteApp, Empty, status=204)
    describe = Operation("GET /v2/{project_id}/apps/{app_name}", DescribeApp, App)
    describe_state = Operation(
        "GET /v2/{project_id}/apps/{app_name}/streams/{stream_name}",
        DescribeConsumerState,
        ConsumerState,
    )

    async def list_all(
        self, *, stream_name: str | None = None, page_size: int = 100
    ) -> AsyncIterator[App]:
        """Give every app, or every app of a stream, page by page."""
        start: str | None = None
        while True:
            page = await self.list(limit=page_size, start_app_name=start, stream_name=stream_name)
            for app in page.apps:
                yield app
            if not (page.has_more_app and page.apps):
                return
            start = page.apps[-1].app_name
