"""The calls that take several requests: lists page by page, and the wait for a stream."""

import asyncio

import pytest

from aiodis.api import Apps, Streams, Tags
from aiodis.api.apps import App, AppList
from aiodis.api.streams import Partition, StreamDescription, StreamInfo, StreamList
from aiodis.api.tags import Match, Resources, TagFilter, TaggedResource
from aiodis.errors import NotFoundError, RequestTimeoutError


class Script:
    """A client that answers from a list and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.slept = []

    async def call(self, operation, request, /):
        self.asked.append(request.model_dump(exclude_none=True))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def sleep(self, seconds, /):
        self.slept.append(seconds)
        await asyncio.sleep(0)


def streams(*names, more=False):
    infos = [StreamInfo(stream_name=name) for name in names]
    return StreamList(stream_names=list(names), stream_info_list=infos, has_more_streams=more)


def apps(*names, more=False):
    return AppList(apps=[App(app_name=name) for name in names], has_more_app=more)


def description(*ids, more=False, status="RUNNING"):
    partitions = [Partition(partition_id=partition_id) for partition_id in ids]
    return StreamDescription(
        stream_name="s", status=status, partitions=partitions, has_more_partitions=more
    )


def resources(*names, total):
    found = [TaggedResource(resource_name=name) for name in names]
    return Resources(resources=found, total_count=total)


class TestFindAll:
    async def test_every_page_begins_where_the_one_before_ended(self):
        script = Script(resources("a", "b", total=3), resources("c", total=3))
        wanted, name = TagFilter(key="k"), Match(value="x")
        pages = Tags(script).find_all(not_tags=[wanted], matches=[name], page_size=2)
        assert [found.resource_name async for found in pages] == ["a", "b", "c"]
        asked = {
            "not_tags": [{"key": "k", "values": []}],
            "matches": [{"key": "resource_name", "value": "x"}],
            "limit": 2,
        }
        assert script.asked == [{**asked, "offset": 0}, {**asked, "offset": 2}]

    async def test_it_ends_where_streams_vanish_meanwhile(self):
        script = Script(resources("a", total=2), resources(total=2))
        assert len([found async for found in Tags(script).find_all()]) == 1

    async def test_nothing_is_found(self):
        assert [found async for found in Tags(Script(resources(total=0))).find_all()] == []


class TestListAll:
    async def test_every_page_starts_behind_the_last_stream_of_the_one_before(self):
        script = Script(streams("a", "b", more=True), streams("c"))
        found = [info.stream_name async for info in Streams(script).list_all(page_size=2)]
        assert found == ["a", "b", "c"]
        assert script.asked == [{"limit": 2}, {"limit": 2, "start_stream_name": "b"}]

    async def test_every_page_starts_behind_the_last_app_of_the_one_before(self):
        script = Script(apps("a", "b", more=True), apps("c", more=True), apps("d"))
        found = [app.app_name async for app in Apps(script).list_all(stream_name="s", page_size=2)]
        assert found == ["a", "b", "c", "d"]
        assert [asked.get("start_app_name") for asked in script.asked] == [None, "b", "c"]
        assert {asked["stream_name"] for asked in script.asked} == {"s"}

    async def test_nothing_is_asked_beyond_what_is_used(self):
        script = Script(streams("a", "b", more=True))
        async for info in Streams(script).list_all():
            assert info.stream_name == "a"
            break
        assert len(script.asked) == 1

    @pytest.mark.parametrize("more", [False, True])
    async def test_an_empty_page_is_the_end_whatever_it_says(self, more):
        assert [i async for i in Streams(Script(streams(more=more))).list_all()] == []
        assert [a async for a in Apps(Script(apps(more=more))).list_all()] == []


class TestDescribeAll:
    async def test_the_partitions_of_all_pages_come_as_one(self):
        script = Script(description("0", "1", more=True), description("2"))
        found = await Streams(script).describe_all("s")
        assert [partition.partition_id for partition in found.partitions] == ["0", "1", "2"]
        assert found.has_more_partitions is False
        assert [asked.get("start_partition_id") for asked in script.asked] == [None, "1"]

    async def test_an_empty_page_is_the_end_whatever_it_says(self):
        script = Script(description("0", more=True), description(more=True))
        found = await Streams(script).describe_all("s")
        assert [partition.partition_id for partition in found.partitions] == ["0"]


class TestWaitUntilRunning:
    async def test_a_running_stream_is_described_at_once(self):
        script = Script(description("0"))
        assert (await Streams(script).wait_until_running("s")).status == "RUNNING"
        assert script.slept == []

    async def test_a_stream_that_is_being_made_is_asked_again(self):
        script = Script(
            description(status="CREATING"), description(status="CREATING"), description("0")
        )
        found = await Streams(script).wait_until_running("s", interval=0.5)
        assert [partition.partition_id for partition in found.partitions] == ["0"]
        assert script.slept == [0.5, 0.5]

    async def test_a_stream_that_never_runs_is_given_up(self):
        script = Script(*[description(status="FROZEN")] * 4)
        with pytest.raises(RequestTimeoutError, match="within 2 s") as caught:
            await Streams(script).wait_until_running("s", timeout=2, interval=0.5)
        assert caught.value.ambiguous is False
        assert sum(script.slept) == 2

    async def test_a_stream_that_is_not_there_is_an_error(self):
        script = Script(NotFoundError("gone", status=400, code="DIS.4301"))
        with pytest.raises(NotFoundError):
            await Streams(script).wait_until_running("s")
