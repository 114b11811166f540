"""Tags of streams: reference, chapter 5.7.

The service calls a stream a resource here, and its routes say `stream` where all
others say `streams`.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

from aiodis.api.streams import Tag, TagInfo, each_key_once
from aiodis.wire.message import Empty, LenientInt, Message, Reply, name_of
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "AddTag",
    "AddTags",
    "CountResources",
    "DeleteTag",
    "DeleteTags",
    "FindResources",
    "ListRegionTags",
    "ListTags",
    "Match",
    "RegionTags",
    "ResourceCount",
    "Resources",
    "TagFilter",
    "TagList",
    "TagValues",
    "TaggedResource",
    "Tags",
]

MAX_TAGS = 10

# The reference says 60; the embedded DIS takes a stream's name as well, which has up to 64.
StreamId = Annotated[str, name_of(64)]


def _tag_key(value: str) -> str:
    if not value.strip():
        raise ValueError("a tag's key is not blank")
    if value in {".", ".."}:
        raise ValueError("a tag's key cannot stand in a path")
    return value


def _each_once(filters: "list[TagFilter]") -> "list[TagFilter]":
    for found in filters:
        if len(set(found.values)) < len(found.values):
            raise ValueError("each value of a key may stand once")
    return each_key_once(filters)


# Of a tag to delete neither the characters nor the value are checked (reference 5.7.7).
ExistingKey = Annotated[str, StringConstraints(min_length=1), AfterValidator(_tag_key)]


class AddTag(Message):
    """Parameters of `tags.add`. A key that the stream has gets the new value (*guessed*)."""

    stream_id: StreamId
    tag: Tag


class ListTags(Message):
    """Parameters of `tags.list`."""

    stream_id: StreamId


class DeleteTag(Message):
    """Parameters of `tags.delete`."""

    stream_id: StreamId
    key: ExistingKey


class AddTags(Message):
    """Parameters of `tags.add_batch`. Keys that the stream has get their new values."""

    stream_id: StreamId
    tags: Annotated[
        list[Tag], Field(min_length=1, max_length=MAX_TAGS), AfterValidator(each_key_once)
    ]


class DoomedTag(BaseModel):
    """A tag to delete. With a value, only if the tag has that value (*guessed*)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: ExistingKey
    value: str | None = None


class DeleteTags(Message):
    """Parameters of `tags.delete_batch`. A tag that is not there counts as deleted."""

    stream_id: StreamId
    tags: Annotated[list[DoomedTag], Field(min_length=1)]


class ListRegionTags(Message):
    """Parameters of `tags.list_region`."""


class TagFilter(BaseModel):
    """A key to look for, with one of some values; without values, with any.

    A value that begins with `*` stands for all values that contain the rest of it:
    *documented* by an example only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[
        str,
        StringConstraints(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9_\-\u4e00-\u9fff]*$"),
    ]
    values: Annotated[list[str], Field(max_length=10)] = []


class Match(BaseModel):
    """A condition on a stream's name: that `value` is in it, in upper or lower case (*guessed*)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Literal["resource_name"] = "resource_name"
    value: str


def _text_of_list(value: object) -> object:
    # The reference's table says String where its examples have a list.
    if isinstance(value, str):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise ValueError("a list of conditions") from None
    return value


# Only of `tags` does the reference not say that keys and values are unique.
_AllOf = Annotated[list[TagFilter], Field(max_length=MAX_TAGS)]
_Filters = Annotated[_AllOf, AfterValidator(_each_once)]
_SentAsText = PlainSerializer(str, when_used="json-unless-none")


class CountResources(Message):
    """Parameters of `tags.count`. All conditions hold at once; without any, every stream counts."""

    # The streams that match all of these.
    tags: _AllOf | None = None
    # The streams that match at least one of these.
    tags_any: _Filters | None = None
    # Not the streams that match all of these.
    not_tags: _Filters | None = None
    # Not the streams that match any of these.
    not_tags_any: _Filters | None = None
    matches: Annotated[list[Match], BeforeValidator(_text_of_list)] | None = None


class FindResources(CountResources):
    """Parameters of `tags.find`. All conditions hold at once. `offset` is the first one's place."""

    limit: Annotated[int, Field(ge=1, le=1000), _SentAsText] | None = None
    offset: Annotated[int, Field(ge=0), _SentAsText] | None = None


class TagList(Reply):
    """The tags of a stream."""

    tags: list[TagInfo] = []


class TagValues(Reply):
    """A key, and the values that it has on the streams of the region."""

    key: str = ""
    values: list[str] = []


class RegionTags(Reply):
    """All tags of the project's streams."""

    tags: list[TagValues] = []


class TaggedResource(Reply):
    """A stream that was found. What `resource_detail` holds is nowhere told."""

    resource_id: str = ""
    resource_name: str = ""
    resource_detail: dict[str, Any] | None = None
    tags: list[TagInfo] = []


class Resources(Reply):
    """One page of what was found; `total_count` is the number on all pages."""

    resources: list[TaggedResource] = []
    total_count: LenientInt = 0


class ResourceCount(Reply):
    """How many there are."""

    total_count: LenientInt = 0


class Tags(Resource):
    """The tag operations, in the order of the service's reference.

    A stream goes by its id (`streams.describe` tells it). The embedded DIS takes its
    name as well.
    """

    add = Operation("POST /v2/{project_id}/stream/{stream_id}/tags", AddTag, Empty, status=204)
    list = Operation("GET /v2/{project_id}/stream/{stream_id}/tags", ListTags, TagList)
    delete = Operation(
        "DELETE /v2/{project_id}/stream/{stream_id}/tags/{key}", DeleteTag, Empty, status=204
    )
    add_batch = Operation(
        "POST /v2/{project_id}/stream/{stream_id}/tags/action",
        AddTags,
        Empty,
        status=204,
        always={"action": "create"},
    )
    list_region = Operation("GET /v2/{project_id}/stream/tags", ListRegionTags, RegionTags)
    find = Operation(
        "POST /v2/{project_id}/stream/resource_instances/action",
        FindResources,
        Resources,
        always={"action": "filter"},
    )
    # The other action of the same chapter (5.7.6): its request has no page, its answer no list.
    count = Operation(
        "POST /v2/{project_id}/stream/resource_instances/action",
        CountResources,
        ResourceCount,
        always={"action": "count"},
    )
    delete_batch = Operation(
        "POST /v2/{project_id}/stream/{stream_id}/tags/action",
        DeleteTags,
        Empty,
        status=204,
        always={"action": "delete"},
    )

    async def find_all(
        self,
        *,
        tags: Sequence[TagFilter] = (),
        tags_any: Sequence[TagFilter] = (),
        not_tags: Sequence[TagFilter] = (),
        not_tags_any: Sequence[TagFilter] = (),
        matches: Sequence[Match] = (),
        page_size: int = 1000,
    ) -> AsyncIterator[TaggedResource]:
        """Give every stream that fits, page by page.

        Pages are cut by position: what is tagged or deleted meanwhile can make a stream
        be missed, or come twice.
        """
        offset = 0
        while True:
            page = await self.find(
                tags=[*tags] or None,
                tags_any=[*tags_any] or None,
                not_tags=[*not_tags] or None,
                not_tags_any=[*not_tags_any] or None,
                matches=[*matches] or None,
                limit=page_size,
                offset=offset,
            )
            for resource in page.resources:
                yield resource
            offset += len(page.resources)
            if not page.resources or offset >= page.total_count:
                return
