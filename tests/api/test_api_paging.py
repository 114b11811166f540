"""The calls that take several requests: lists page by page, and the wait for a stream."""

import asyncio

import pytest

from aiodis.api import Apps, Streams, Tags, TransferTasks
from aiodis.api.apps import App, AppList
from aiodis.api.streams import Partition, StreamDescription, StreamInfo, StreamList
from aiodis.api.tags import Match, Resources, TagFilter, TaggedResource
from aiodis.api.transfer_tasks import TransferTask, TransferTaskList
from aiodis.errors import AlreadyExistsError, NotFoundError, QuotaError, RequestTimeoutError


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
        await asyncio.sleep(seconds)

    def within(self, seconds, /):
        return asyncio.timeout(seconds)


def streams(*names, more=False):
    infos = [StreamInfo(stream_name=name) for name in names]
    return StreamList(stream_names=list(names), stream_info_list=infos, has_more_streams=more)


def apps(*names, more=False):
    return AppList(apps=[App(app_name=name) for name in names], has_more_app=more)


def tasks(*names, more=False):
    return TransferTaskList(
        tasks=[TransferTask(task_name=name) for name in names], has_more_tasks=more
    )


def description(*ids, more=False, status="RUNNING"):
    partitions = [Partition(partition_id=partition_id) for partition_id in ids]
    return StreamDescription(
        stream_name="s",
        status=status,
        partitions=partitions,
        has_more_partitions=more,
        writable_partition_count=len(ids),
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

    async def test_every_page_starts_behind_the_last_task_of_the_one_before(self):
        script = Script(tasks("a", "b", more=True), tasks("c"))
        found = [t.task_name async for t in TransferTasks(script).list_all("s", page_size=2)]
        assert found == ["a", "b", "c"]
        assert script.asked == [
            {"stream_name": "s", "limit": 2},
            {"stream_name": "s", "limit": 2, "start_task_name": "b"},
        ]

    async def test_a_service_that_does_not_page_tasks_is_asked_once(self):
        script = Script(TransferTaskList(tasks=[TransferTask(task_name="a")]))
        assert [t.task_name async for t in TransferTasks(script).list_all("s")] == ["a"]
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


class TestPartitions:
    async def test_every_page_starts_behind_the_last_partition_of_the_one_before(self):
        script = Script(description("0", "1", more=True), description("2"))
        found = [p.partition_id async for p in Streams(script).partitions("s", page_size=2)]
        assert found == ["0", "1", "2"]
        assert [asked["limit_partitions"] for asked in script.asked] == [2, 2]
        assert [asked.get("start_partition_id") for asked in script.asked] == [None, "1"]

    async def test_nothing_is_asked_beyond_what_is_used(self):
        script = Script(description("0", "1", more=True))
        async for partition in Streams(script).partitions("s"):
            assert partition.partition_id == "0"
            break
        assert len(script.asked) == 1


class TestWaitUntilRunning:
    async def test_a_running_stream_is_described_at_once(self):
        script = Script(description("0"))
        assert (await Streams(script).wait_until_running("s")).status == "RUNNING"
        assert script.slept == []

    @pytest.mark.looptime
    async def test_a_stream_that_is_being_made_is_asked_again(self):
        script = Script(
            description(status="CREATING"), description(status="CREATING"), description("0")
        )
        found = await Streams(script).wait_until_running("s", interval=0.5)
        assert [partition.partition_id for partition in found.partitions] == ["0"]
        assert script.slept == [0.5, 0.5]

    @pytest.mark.looptime
    async def test_a_stream_that_never_runs_is_given_up(self):
        script = Script(*[description(status="FROZEN")] * 9)
        began = asyncio.get_running_loop().time()
        with pytest.raises(RequestTimeoutError, match=r"within 2\.2 s; it was FROZEN") as caught:
            await Streams(script).wait_until_running("s", timeout=2.2, interval=0.5)
        assert caught.value.ambiguous is False
        assert asyncio.get_running_loop().time() - began == pytest.approx(2.2)

    @pytest.mark.looptime
    async def test_calls_that_take_long_do_not_make_the_wait_longer(self):
        class Slow(Script):
            async def call(self, operation, request, /):
                await asyncio.sleep(3)
                return await super().call(operation, request)

        began = asyncio.get_running_loop().time()
        with pytest.raises(RequestTimeoutError, match="was not running within 5 s"):
            await Streams(Slow(*[description(status="CREATING")] * 9)).wait_until_running(
                "s", timeout=5
            )
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)

    @pytest.mark.looptime
    async def test_after_a_scaling_it_waits_until_the_partitions_are_there(self):
        script = Script(
            description("0"), description("0", "1", status="CREATING"), description("0", "1")
        )
        found = await Streams(script).wait_until_running("s", partition_count=2)
        assert found.writable_partition_count == 2
        assert len(script.slept) == 2

    @pytest.mark.looptime
    async def test_a_call_that_finds_no_answer_is_no_end_of_the_wait(self):
        script = Script(RequestTimeoutError("no answer", ambiguous=True))
        with pytest.raises(RequestTimeoutError, match="no answer"):
            await Streams(script).wait_until_running("s")

    async def test_a_stream_that_is_not_there_is_an_error(self):
        script = Script(NotFoundError("gone", status=400, code="DIS.4301"))
        with pytest.raises(NotFoundError):
            await Streams(script).wait_until_running("s")


class TestForgiving:
    async def test_a_stream_or_app_that_exists_is_well_only_when_said(self):
        exists = AlreadyExistsError("there", status=400, code="DIS.4307")
        script = Script(*[exists] * 4)
        await Streams(script).create(stream_name="s", partition_count=1, exist_ok=True)
        await Apps(script).create(app_name="a", exist_ok=True)
        with pytest.raises(AlreadyExistsError):
            await Streams(script).create(stream_name="s", partition_count=1)
        with pytest.raises(AlreadyExistsError):
            await Apps(script).create(app_name="a", exist_ok=False)

    async def test_a_stream_or_app_that_is_missing_is_well_only_when_said(self):
        script = Script(*[NotFoundError("gone", status=400, code="DIS.4301")] * 4)
        await Streams(script).delete(stream_name="s", missing_ok=True)
        await Apps(script).delete(app_name="a", missing_ok=True)
        with pytest.raises(NotFoundError):
            await Streams(script).delete(stream_name="s")
        with pytest.raises(NotFoundError):
            await Apps(script).delete(app_name="a", missing_ok=False)

    async def test_no_other_refusal_is_forgiven(self):
        script = Script(QuotaError("full", status=400, code="DIS.4308"))
        with pytest.raises(QuotaError):
            await Streams(script).create(stream_name="s", partition_count=1, exist_ok=True)

    def test_what_is_the_clients_alone_is_neither_sent_nor_read(self):
        row = Streams.create
        request = row.build(stream_name="s", partition_count=1, exist_ok=True)
        assert b"exist_ok" not in row.encode(request, "p").body
        read = row.read({}, {}, {"stream_name": "s", "partition_count": 1, "exist_ok": "junk"})
        assert read.exist_ok is False
