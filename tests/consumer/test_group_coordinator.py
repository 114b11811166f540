"""A place in a group, kept on virtual time against the embedded DIS's engine."""

import asyncio
import itertools
from math import inf

import pytest
from engine_service import APP, STREAM, EngineService
from group_member import Member, now

from aiodis.api import Apps, Groups
from aiodis.config import ConsumerSettings
from aiodis.consumer.coordinator import DISGroup, Fence, Seat
from aiodis.errors import ConfigError, FencedError, QuotaError
from aiodis.record import partition_name

pytestmark = pytest.mark.looptime


@pytest.fixture
async def service():
    return EngineService()


@pytest.fixture
async def members(service):
    made = []

    async def make(*names, **group):
        new = [await Member(service, name, **group).open() for name in names]
        made.extend(new)
        return new[0] if len(new) == 1 else new

    yield make
    for member in made:
        member.line.down = None
        await member.place.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_first_member_gets_everything_after_the_window(members):
    a = await members("a")
    at, _, partitions = await a.host.until("assigned")
    assert partitions == (0, 1, 2, 3)
    assert 20 < at < 20.1
    assert a.place.fence() == Fence("a", 1)
    assert 17.9 < a.place.held_until(partition_name(0)) - at < 18
    assert a.place.held_until(partition_name(9)) == -inf


async def test_a_heartbeat_goes_out_every_ten_seconds_and_says_nothing_new(service, members):
    a = await members("a")
    await a.host.until("assigned")
    await asyncio.sleep(100)
    times = service.of("a", "groups.heartbeat")
    assert all(9.9 < y - x < 10.1 for x, y in itertools.pairwise(times))
    assert a.host.words() == ["assigned"]


async def test_two_members_share_and_no_partition_is_held_twice(members):
    a, b = await members("a", "b")
    await a.host.until("assigned")
    await b.host.until("assigned")
    assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3]


async def test_a_newcomer_gets_its_part_only_after_it_was_handed_over(members):
    a = await members("a")
    await a.host.until("assigned")
    a.host.handing_over_takes = 5
    b = await members("b")
    handed, _, _ = await a.host.until("handed over")
    began, _, theirs = await b.host.until("assigned")
    assert handed < began
    await a.host.until("assigned", 2)
    assert len(theirs) == len(a.holds()) == 2
    assert a.place.fence().generation_id == b.place.fence().generation_id == 2


async def test_a_hand_over_that_takes_too_long_is_lost_before_the_newcomer_begins(members):
    a = await members("a")
    await a.host.until("assigned")
    a.host.handing_over_takes = 1000
    b = await members("b")
    lost, _, _ = await a.host.until("lost")
    began, _, _ = await b.host.until("assigned")
    assert lost < began
    await a.host.until("assigned", 2)  # it missed nothing: the window was open still
    assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3]


async def test_a_member_that_leaves_is_followed_by_the_others_at_once(members):
    a, b = await members("a", "b")
    await a.host.until("assigned")
    left = now()
    await b.place.close()
    at, _, partitions = await a.host.until("assigned", 2)
    assert partitions == (0, 1, 2, 3)
    assert at < left + 10 + 20 + 1  # a heartbeat, and a window


async def test_a_member_that_crashed_is_followed_after_a_minute(members):
    a, b = await members("a", "b")
    await b.host.until("assigned")
    held = b.place.held_until(partition_name(b.holds()[0]))
    await b.crash()
    at, _, partitions = await a.host.until("assigned", 2)
    assert partitions == (0, 1, 2, 3)
    assert held < at < held + 60 + 20 + 10


async def test_a_killed_member_of_the_same_name_takes_its_own_place_at_once(service, members):
    _a, b = await members("a", "b")
    await b.host.until("assigned")
    had = b.holds()
    await b.crash()
    again = Member(service, "b")
    came = now()
    await again.open()
    at, _, partitions = await again.host.until("assigned")
    assert list(partitions) == had
    assert at < came + 21
    await again.place.close()


async def test_a_scaling_comes_to_all_members(service, members):
    a, b = await members("a", "b")
    await b.host.until("assigned")
    service.scale(7)
    await a.host.until("assigned", 2)
    await b.host.until("assigned", 2)
    assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3, 4, 5, 6]


async def test_a_short_outage_withholds_and_then_goes_on(members):
    a = await members("a")
    await a.host.until("assigned")
    a.line.down = "refused"
    await asyncio.sleep(17)
    assert a.holds()
    await asyncio.sleep(13)
    assert not a.holds()
    a.line.down = None
    await a.host.until("assigned", 2)
    assert a.holds() == [0, 1, 2, 3]
    assert a.host.words() == ["assigned", "assigned"]
    assert a.place.fence() == Fence("a", 1)  # nobody joined again


@pytest.mark.parametrize("outage", ["refused", "silent"])
async def test_a_long_outage_loses_all_before_the_service_drops_the_member(members, outage):
    a, b = await members("a", "b")
    await b.host.until("assigned")
    last = now()
    a.line.down = outage
    lost, _, _ = await a.host.until("lost")
    assert lost <= last + 54
    dropped, _, _ = await b.host.until("assigned", 2)
    assert lost < dropped
    assert b.holds() == [0, 1, 2, 3]
    assert a.holds() == []
    a.line.down = None
    await a.host.until("assigned", 2)
    await b.host.until("assigned", 3)
    assert sorted(a.holds() + b.holds()) == [0, 1, 2, 3]


async def test_a_member_whose_heartbeats_are_lost_holds_nothing_when_another_took_over(members):
    a = await members("a")
    await a.host.until("assigned")
    a.line.down = "silent"
    b = await members("b")  # 20 seconds later a is out
    await b.host.until("assigned")
    assert b.holds() == [0, 1, 2, 3]
    assert a.holds() == []


class TestZombies:
    """A process that was stopped (SIGSTOP) for longer than the others waited for it."""

    async def test_it_may_neither_deliver_nor_commit_when_it_wakes(self, service, members):
        a = await members("a")
        await a.host.until("assigned")
        old = a.place.fence()
        # Its loop is stopped: no timer and no answer reaches it.
        a.line.down = "silent"
        a.place._task.cancel()
        b = await members("b")
        await b.host.until("assigned")
        a.line.down = None
        assert b.holds() == [0, 1, 2, 3]
        assert a.holds() == []
        with pytest.raises(FencedError):
            await a.commit(old)
        await b.commit()

    async def test_a_refused_commit_makes_it_join_again(self, service, members):
        a = await members("a")
        await a.host.until("assigned")
        await a.place._groups.leave(app_name=APP, client_id="a")  # the service lost it
        with pytest.raises(FencedError):
            await a.commit()
        a.place.fenced(a.place.fence())
        assert a.holds() == []
        at, _, _ = await a.host.until("lost")
        assert at == now()
        await a.host.until("assigned", 2)
        assert a.holds() == [0, 1, 2, 3]


async def test_a_service_that_is_down_at_first_is_joined_when_it_is_back(service, members):
    member = Member(service, "a")
    member.line.down = "refused"
    await member.open()
    await asyncio.sleep(300)
    assert member.host.told == []
    member.line.down = None
    await member.host.until("assigned")
    await member.place.close()


@pytest.mark.parametrize("outage", ["refused", "silent"])
async def test_closing_while_the_service_is_down_takes_seconds_and_leaves_no_task(service, outage):
    member = await Member(service, "a").open()
    await member.host.until("assigned")
    member.line.down = outage
    began = now()
    await member.place.close()
    await member.place.close()
    assert now() - began <= 5
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_what_was_not_opened_says_nothing_to_the_service(service):
    member = Member(service, "a")
    await member.place.close()
    assert service.calls == []


async def test_closing_while_it_waits_to_sync_leaves(service):
    member = await Member(service, "a").open()
    await asyncio.sleep(5)
    await member.place.close()
    assert service.of("a", "groups.leave")
    assert member.host.told == []


async def test_a_cancelled_close_leaves_no_task(service):
    member = await Member(service, "a").open()
    await member.host.until("assigned")
    member.line.down = "silent"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await member.place.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_app_that_is_deleted_ends_reading_with_an_error(service, members):
    a = await members("a")
    await a.host.until("assigned")
    await a.place._groups.leave(app_name=APP, client_id="a")
    await service.line().call(Apps.delete, Apps.delete.build(app_name=APP))
    await a.host.until("failed")
    assert a.host.error.code == "DIS.4332"


async def test_a_join_that_is_refused_for_good_ends_reading_with_its_error(service):
    class Full(type(service.line())):
        async def call(self, operation, request):
            if operation is Groups.join:
                raise QuotaError("full", status=400, code="DIS.4339")
            return await super().call(operation, request)

    member = Member(service, "a")
    member.place = DISGroup()(Seat(Full(service, "a"), STREAM, ConsumerSettings(app=APP)))
    await member.open()
    await member.host.until("failed")
    assert member.host.error.code == "DIS.4339"
    await member.place.close()


async def test_each_consumer_of_one_setting_is_a_member_of_its_own(service):
    seat = Seat(service.line(), STREAM, ConsumerSettings(app=APP))
    group = DISGroup()
    assert group(seat).client_id != group(seat).client_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "a/b"},
        {"client_id": ""},
        {"heartbeat_interval_ms": 0},
        {"heartbeat_interval_ms": 10_001},
        {"heartbeat_interval_ms": 31_000, "rebalance_timeout_ms": 300_000},
    ],
)
def test_a_group_that_cannot_work_is_refused_when_it_is_made(wrong):
    with pytest.raises(ConfigError):
        DISGroup(**wrong)
