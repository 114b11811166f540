"""Streams: reference, chapter 5.1."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Literal, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from aiodis.api.shared import PartitionId, StreamName
from aiodis.errors import DISError, RequestTimeoutError
from aiodis.wire.avro import AvroSchema
from aiodis.wire.message import (
    Creation,
    Deletion,
    Empty,
    LenientInt,
    Message,
    Reply,
    spelled,
)
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "CreateStream",
    "CsvProperties",
    "DeleteStream",
    "DescribeStream",
    "ListStreams",
    "Partition",
    "PartitionCountChange",
    "ReadScalingLog",
    "ScaleResult",
    "ScaleStream",
    "ScalingLog",
    "StreamDescription",
    "StreamInfo",
    "StreamList",
    "Streams",
    "SysTag",
    "Tag",
    "TagInfo",
    "UpdateResult",
    "UpdateStream",
    "UpdateStreamV2",
    "each_key_once",
]

StreamType = Literal["COMMON", "ADVANCED"]
DataType = Literal["BLOB", "JSON", "CSV"]
Compression = Literal["snappy", "gzip", "zip"]

# The text says 24-72 hours, the table's maximum says 168 (seven days): both are let through.
RetentionHours = Annotated[int, Field(ge=24, le=168)]
PartitionCount = Annotated[int, Field(ge=1)]
TagText = r"^[A-Za-z0-9_\-\u4e00-\u9fff]*$"


class TagInfo(Reply):
    """A tag as a reply has it, whatever the rules for its text are by then."""

    key: str = ""
    value: str = ""


class Tag(TagInfo):
    """A stream's tag (reference, table 5-5)."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, StringConstraints(min_length=1, max_length=36, pattern=TagText)]
    value: Annotated[
        str, StringConstraints(max_length=43, pattern=r"^[A-Za-z0-9._\-\u4e00-\u9fff]*$")
    ] = ""


def _enterprise_project(value: str) -> str:
    if value != "0" and not re.fullmatch(
        r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value
    ):
        raise ValueError("an enterprise project is 0 or a UUID of 36 characters")
    return value


class SysTag(TagInfo):
    """The enterprise project of a stream (reference, table 5-6)."""

    model_config = ConfigDict(extra="forbid")

    key: Literal["_sys_enterprise_project_id"] = "_sys_enterprise_project_id"
    # That `0` is taken, the project that every account has, is *guessed*.
    value: Annotated[str, AfterValidator(_enterprise_project)]


class Keyed(Protocol):
    """What has a key."""

    @property
    def key(self) -> str: ...


_T = TypeVar("_T", bound=Keyed)


def each_key_once(tags: list[_T]) -> list[_T]:
    """Give the tags back, each of which has another key; "unique for each resource" (5.1.1)."""
    keys = [tag.key for tag in tags]
    if len(set(keys)) < len(keys):
        raise ValueError("each key may stand once")
    return tags


class CsvProperties(BaseModel):
    """How CSV data is separated."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    delimiter: str | None = None


class _AutoScale(Message):
    auto_scale_enabled: bool | None = None
    auto_scale_min_partition_count: PartitionCount | None = None
    auto_scale_max_partition_count: PartitionCount | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "_AutoScale":
        low, high = self.auto_scale_min_partition_count, self.auto_scale_max_partition_count
        if low is not None and high is not None and low > high:
            raise ValueError("auto_scale_min_partition_count is above auto_scale_max_…")
        return self


class CreateStream(_AutoScale, Creation):
    """Parameters of `streams.create`. `data_duration` is the retention, in hours."""

    stream_name: StreamName
    partition_count: PartitionCount
    stream_type: StreamType | None = None
    data_type: DataType | None = None
    data_duration: RetentionHours | None = None
    # An Avro schema, checked with the extra `avro`; it is sent as text.
    data_schema: AvroSchema | None = None
    csv_properties: CsvProperties | None = None
    compression_format: Compression | None = None
    tags: Annotated[list[Tag], Field(max_length=10), AfterValidator(each_key_once)] | None = None
    sys_tags: Annotated[list[SysTag], AfterValidator(each_key_once)] | None = None


class ListStreams(Message):
    """Parameters of `streams.list`. `start_stream_name` itself is not in the answer."""

    limit: Annotated[int, Field(ge=1, le=100)] | None = None
    start_stream_name: str | None = None


class DeleteStream(Deletion):
    """Parameters of `streams.delete`."""

    stream_name: StreamName


class DescribeStream(Message):
    """Parameters of `streams.describe`. The start partition itself is not in the answer."""

    stream_name: StreamName
    # All the vendor's clients write `start_partitionId`; the reference has the other (facts 8.2).
    start_partition_id: Annotated[
        PartitionId | None, spelled("start_partitionId", "start_partition_id")
    ] = None
    limit_partitions: Annotated[int, Field(ge=1, le=1000)] | None = None
    stream_id: str | None = None


class ScaleStream(Message):
    """Parameters of `streams.scale`."""

    stream_name: StreamName
    target_partition_count: PartitionCount


class UpdateStream(_AutoScale):
    """Parameters of `streams.update`; what is None stays as it is."""

    stream_name: StreamName
    data_duration: RetentionHours | None = None
    data_type: DataType | None = None
    # An Avro schema, checked with the extra `avro`; it is sent as text.
    data_schema: AvroSchema | None = None


class UpdateStreamV2(_AutoScale):
    """Parameters of `streams.update_v2`; only what belongs to the `update_type` counts."""

    stream_name: StreamName
    # The vendor's pages have AUTO_SCALE; DATA_TYPE is *seen in the SDK*.
    update_type: Literal["AUTO_SCALE", "DATA_TYPE"] = "AUTO_SCALE"
    data_type: DataType | None = None
    # An Avro schema, checked with the extra `avro`; it is sent as text.
    data_schema: AvroSchema | None = None


class ReadScalingLog(Message):
    """Parameters of `streams.scaling_log`."""

    stream_name: StreamName


class StreamInfo(Reply):
    """One stream of a list."""

    stream_name: str = ""
    stream_id: str = ""
    create_time: LenientInt = 0
    retention_period: LenientInt = 24
    status: str = ""
    stream_type: str = "COMMON"
    data_type: str = "BLOB"
    partition_count: LenientInt = 0
    tags: list[TagInfo] = []
    sys_tags: list[TagInfo] | None = None
    auto_scale_enabled: bool = False
    auto_scale_min_partition_count: int | None = None
    auto_scale_max_partition_count: int | None = None


class StreamList(Reply):
    """One page of streams."""

    total_number: LenientInt = 0
    stream_names: list[str] = []
    stream_info_list: list[StreamInfo] = []
    has_more_streams: bool = False


class Partition(Reply):
    """One partition. Both ranges are texts such as `[0 : 42]` (`wire.routing.parse_range`).

    The sequence range runs from the oldest record to the next one to be
    written; it can be missing for an EXPIRED partition.
    """

    status: str = "ACTIVE"
    partition_id: str = ""
    hash_range: str | None = None
    sequence_number_range: str | None = None
    parent_partitions: str | None = None


class PartitionCountChange(Reply):
    """One scaling of a stream."""

    create_timestamp: LenientInt = 0
    src_partition_count: int = 0
    target_partition_count: int = 0
    result_code: int | None = None
    result_msg: str | int | None = None
    auto_scale: bool = False


class StreamDescription(Reply):
    """A stream and one page of its partitions."""

    stream_name: str = ""
    stream_id: str = ""
    create_time: LenientInt = 0
    last_modified_time: LenientInt = 0
    retention_period: LenientInt = 24
    status: str = ""
    stream_type: str = "COMMON"
    data_type: str = "BLOB"
    data_schema: str | None = None
    compression_format: str | None = None
    csv_properties: CsvProperties | None = None
    writable_partition_count: LenientInt = 0
    readable_partition_count: LenientInt = 0
    update_partition_counts: list[PartitionCountChange] | None = None
    tags: list[TagInfo] = []
    sys_tags: list[TagInfo] | None = None
    auto_scale_enabled: bool = False
    auto_scale_min_partition_count: int | None = None
    auto_scale_max_partition_count: int | None = None
    partitions: list[Partition] = []
    has_more_partitions: bool = False


class ScaleResult(Reply):
    """The answer to a scaling: *seen in the SDK*, the reference says none (facts 8.6)."""

    stream_name: str | None = None
    current_partition_count: int | None = None
    target_partition_count: int | None = None


class UpdateResult(Reply):
    """The answer to an update by the v2 form: *seen in the SDK*, the pages say none."""

    stream_name: str | None = None
    target_data_type: str | None = None


class ScalingLog(Reply):
    """A stream's scalings, the oldest first. That the list bears this name is *guessed*."""

    update_partition_counts: list[PartitionCountChange] = []


class Streams(Resource):
    """The stream operations, in the order of the service's reference; then two it does not have."""

    create = Operation("POST /v2/{project_id}/streams", CreateStream, Empty, status=201)
    list = Operation("GET /v2/{project_id}/streams", ListStreams, StreamList)
    delete = Operation(
        "DELETE /v2/{project_id}/streams/{stream_name}", DeleteStream, Empty, status=204
    )
    describe = Operation(
        "GET /v2/{project_id}/streams/{stream_name}", DescribeStream, StreamDescription
    )
    scale = Operation(
        "PUT /v2/{project_id}/streams/{stream_name}",
        ScaleStream,
        ScaleResult,
        also_in_body=("stream_name",),
    )
    # The reference puts this one call under /v3 (5.1.6).
    update = Operation(
        "PUT /v3/{project_id}/streams/{stream_name}",
        UpdateStream,
        Empty,
        status=204,
        also_in_body=("stream_name",),
    )
    update_v2 = Operation(
        "PUT /v2/{project_id}/streams/{stream_name}/update",
        UpdateStreamV2,
        UpdateResult,
        source="documented later",
    )
    # The pages describe a body of this GET, with the fields of an entry of the log.
    scaling_log = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/update_partition_counts",
        ReadScalingLog,
        ScalingLog,
        source="documented later",
    )

    async def list_all(self, *, page_size: int = 100) -> AsyncIterator[StreamInfo]:
        """Give every stream of the project, page by page."""
        start: str | None = None
        while True:
            page = await self.list(limit=page_size, start_stream_name=start)
            for info in page.stream_info_list:
                yield info
            if not (page.has_more_streams and page.stream_info_list):
                return
            start = page.stream_info_list[-1].stream_name

    async def partitions(
        self, stream_name: str, *, page_size: int = 100
    ) -> AsyncIterator[Partition]:
        """Give every partition of a stream, whatever its status, page by page."""
        async for page in self._pages(stream_name, page_size):
            for partition in page.partitions:
                yield partition

    async def describe_all(self, stream_name: str) -> StreamDescription:
        """Describe a stream with all its partitions, however many pages that takes."""
        pages = [page async for page in self._pages(stream_name, 1000)]
        partitions = [partition for page in pages for partition in page.partitions]
        update = {"partitions": partitions, "has_more_partitions": False}
        return pages[-1].model_copy(update=update)

    async def wait_until_running(
        self,
        stream_name: str,
        *,
        partition_count: int | None = None,
        timeout: float = 60.0,
        interval: float = 0.2,
    ) -> StreamDescription:
        """Wait until the stream is RUNNING, and describe it. Both times are in seconds.

        With a `partition_count`, wait until that many partitions can be written as well,
        which tells that a scaling to that number is done. The time of the calls counts.

        Raises:
            RequestTimeoutError: it was not so in time.
            NotFoundError: there is no such stream.
        """
        seen = "nothing of it was seen"
        try:
            async with self._caller.within(timeout):
                while True:
                    found = await self.describe_all(stream_name)
                    count = found.writable_partition_count
                    if found.status == "RUNNING" and partition_count in {None, count}:
                        return found
                    seen = f"it was {found.status} with {count} partitions"
                    await self._caller.sleep(interval)
        except TimeoutError as exc:
            if isinstance(exc, DISError):
                raise
        wanted = "" if partition_count is None else f" with {partition_count} partitions"
        raise RequestTimeoutError(
            f"stream {stream_name} was not running{wanted} within {timeout:g} s; {seen}",
            ambiguous=False,
        )

    async def _pages(self, stream_name: str, page_size: int) -> AsyncIterator[StreamDescription]:
        start: str | None = None
        while True:
            page = await self.describe(
                stream_name=stream_name, limit_partitions=page_size, start_partition_id=start
            )
            yield page
            if not (page.has_more_partitions and page.partitions):
                return
            start = page.partitions[-1].partition_id
