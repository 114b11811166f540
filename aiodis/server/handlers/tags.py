"""Tags: what each operation of the reference's chapter 5.7 does.

A stream's tags are part of its row, where `streams.create` puts them and
`streams.describe` finds them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from aiodis.api.streams import Tag, TagInfo
from aiodis.api.tags import (
    MAX_TAGS,
    AddTag,
    AddTags,
    CountResources,
    DeleteTag,
    DeleteTags,
    FindResources,
    ListRegionTags,
    ListTags,
    Match,
    RegionTags,
    ResourceCount,
    Resources,
    TagFilter,
    TaggedResource,
    TagList,
    TagValues,
)
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream
from aiodis.wire.message import Empty

__all__ = ["TagHandlers"]

_DEFAULT_RESOURCES: Final = 1000

_Values = Mapping[str, str]


class TagHandlers:
    """One method a row of `aiodis.api.Tags`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, request: AddTag, now_ms: int) -> Empty:  # noqa: ARG002
        return self._put(request.stream_id, [request.tag])  # guesses.ADDING_A_TAG_REPLACES

    def add_batch(self, request: AddTags, now_ms: int) -> Empty:  # noqa: ARG002
        return self._put(request.stream_id, request.tags)

    def list(self, request: ListTags, now_ms: int) -> TagList:  # noqa: ARG002
        return TagList(tags=_shown(_tags(self._resource(request.stream_id))))

    def list_region(self, request: ListRegionTags, now_ms: int) -> RegionTags:  # noqa: ARG002
        found: dict[str, set[str]] = {}
        for stream in self._state.streams():
            for key, value in _tags(stream).items():
                found.setdefault(key, set()).add(value)
        return RegionTags(
            tags=[TagValues(key=key, values=sorted(found[key])) for key in sorted(found)]
        )

    def delete(self, request: DeleteTag, now_ms: int) -> Empty:  # noqa: ARG002
        stream = self._resource(request.stream_id)
        tags = _tags(stream)
        if tags.pop(request.key, None) is None:
            raise Refusal("DIS.4604", request.key)
        return self._keep(stream, tags)

    def delete_batch(self, request: DeleteTags, now_ms: int) -> Empty:  # noqa: ARG002
        stream = self._resource(request.stream_id)
        tags = _tags(stream)
        for tag in request.tags:
            # guesses.DELETES_THE_VALUE_THAT_IS_NAMED
            if tag.value is None or tags.get(tag.key) == tag.value:
                tags.pop(tag.key, None)
        return self._keep(stream, tags)

    def find(self, request: FindResources, now_ms: int) -> Resources:  # noqa: ARG002
        found = self._found(request)
        start = request.offset or 0
        page = found[start : start + (request.limit or _DEFAULT_RESOURCES)]
        return Resources(
            resources=[
                TaggedResource(
                    resource_id=stream.row.stream_id,
                    resource_name=stream.row.stream_name,
                    tags=_shown(_tags(stream)),
                )
                for stream in page
            ],
            total_count=len(found),
        )

    def count(self, request: CountResources, now_ms: int) -> ResourceCount:  # noqa: ARG002
        return ResourceCount(total_count=len(self._found(request)))

    def _found(self, request: CountResources) -> Sequence[Stream]:
        streams = sorted(self._state.streams(), key=lambda stream: stream.row.stream_name)
        return [stream for stream in streams if _fits(stream, request)]

    def _resource(self, stream_id: str) -> Stream:
        stream = self._state.peek(stream_id)
        if stream is None:
            raise Refusal("DIS.4603", stream_id)
        return stream

    def _put(self, stream_id: str, new: Iterable[Tag]) -> Empty:
        stream = self._resource(stream_id)
        tags = _tags(stream) | {tag.key: tag.value for tag in new}
        if len(tags) > MAX_TAGS:
            raise Refusal("DIS.4601", f"{MAX_TAGS} tags")
        return self._keep(stream, tags)

    def _keep(self, stream: Stream, tags: _Values) -> Empty:
        shown = [{"key": key, "value": value} for key, value in tags.items()]
        if shown != stream.row.extra.get("tags", []):
            self._state.change(stream, extra={**stream.row.extra, "tags": shown})
        return Empty()


def _tags(stream: Stream) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in stream.row.extra.get("tags", ())}


def _shown(tags: _Values) -> list[TagInfo]:
    return [TagInfo(key=key, value=value) for key, value in tags.items()]


def _fits(stream: Stream, asked: CountResources) -> bool:
    """Say whether a stream is among what is asked for."""
    tags = _tags(stream)

    def has(how: Callable[[Iterable[bool]], bool], filters: Iterable[TagFilter]) -> bool:
        return how(_has(tags, found) for found in filters)

    return (
        (not asked.tags or has(all, asked.tags))
        and (not asked.tags_any or has(any, asked.tags_any))
        and not (asked.not_tags and has(all, asked.not_tags))
        and not (asked.not_tags_any and has(any, asked.not_tags_any))
        and all(_is_called(stream, match) for match in asked.matches or ())
    )


def _has(tags: _Values, wanted: TagFilter) -> bool:
    value = tags.get(wanted.key)
    if value is None:
        return False
    return not wanted.values or any(_is_value(value, text) for text in wanted.values)


def _is_value(value: str, wanted: str) -> bool:
    if wanted.startswith("*"):
        return wanted[1:] in value
    return value == wanted


def _is_called(stream: Stream, match: Match) -> bool:
    # guesses.NAMES_MATCH_IN_PART
    return match.value.lower() in stream.row.stream_name.lower()
