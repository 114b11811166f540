"""Consumer groups over sockets, as the vendor's Kafka adapter calls them."""

import pytest
from server_caller import Caller, calling

from aiodis.server import ManualClock

WINDOW_S = 20
COMMIT = {
    "app_name": "app",
    "stream_name": "s",
    "partition_id": "0",
    "checkpoint_type": "LAST_READ",
    "sequence_number": "5",
}


class Member:
    """One member: sends what the vendor's adapter sends, slash at the end included."""

    def __init__(self, dis: Caller, client_id: str, app: str = "app") -> None:
        self.dis, self.client_id, self.app = dis, client_id, app
        self.path = f"apps/{app}/consumers/"
        self.who = {"groupId": app, "clientId": client_id}
        self.generation = -1

    async def join(self, *, streams=("s",), **fields):
        asked = {**self.who, "interestedStream": list(streams) if streams else None, **fields}
        return await self.dis.call("POST", self.path, asked)

    async def sync(self):
        asked = {**self.who, "generation": self.generation}
        found = await self.dis.call("POST", f"{self.path}{self.client_id}/partitions/", asked)
        self.generation = found["generation"]
        return found

    async def beat(self):
        asked = {**self.who, "generation": self.generation}
        found = await self.dis.call("POST", f"{self.path}{self.client_id}/heartbeats/", asked)
        return found["state"]

    async def leave(self):
        assert await self.dis.call("DELETE", f"{self.path}{self.client_id}/", status=204) is None

    def commit(self, **fields):
        who = {"client_id": self.client_id, "generation_id": self.generation}
        return {**COMMIT, **who, **fields}


@pytest.fixture
async def app(dis):
    await dis.create(partitions=4)
    await dis.call("POST", "apps", {"app_name": "app"}, status=201)
    return dis


async def formed(clock, *members):
    for member in members:
        found = await member.join()
        assert found["state"] == "OK"
    clock.advance(milliseconds=found["syncDelayedTimeMs"])
    for member in members:
        assert (await member.sync())["state"] == "OK"
        assert await member.beat() == "STABLE"


async def test_two_members_form_a_group_and_share_the_partitions(app, clock):
    a, b = Member(app, "a"), Member(app, "b")
    assert await a.beat() == "JOINING"
    found = await a.join()
    assert found == {"state": "OK", "subscription": ["s"], "syncDelayedTimeMs": WINDOW_S * 1000}
    await b.join()
    assert (await a.sync())["state"] == "WAITING"
    clock.advance(seconds=WINDOW_S)
    mine, others = await a.sync(), await b.sync()
    assert mine == {"state": "OK", "generation": 1, "assignment": {"s": [0, 2]}}
    assert others == {"state": "OK", "generation": 1, "assignment": {"s": [1, 3]}}
    assert await a.beat() == await b.beat() == "STABLE"


async def test_a_group_without_an_app_does_not_exist(dis):
    await dis.create()
    nobody = Member(dis, "a", "none")
    assert (await nobody.join())["state"] == "GROUP_NOT_EXIST"
    assert (await nobody.sync())["state"] == "GROUP_NOT_EXIST"
    assert await nobody.beat() == "GROUP_NOT_EXIST"
    await dis.refused("DIS.4332", "DELETE", "apps/none/consumers/a")


@pytest.mark.parametrize(
    "asked",
    [
        {"streams": ["none"]},
        {"streams": ["s", "none"]},
        {"streams": None},
        {"streams": None, "interestedStreamIdList": ["none"]},
        {"streams": None, "streamPattern": "("},
    ],
)
async def test_a_subscription_that_means_nothing_is_said_so(app, asked):
    assert (await Member(app, "a").join(**asked))["state"] == "ERR_SUBSCRIPTION"


async def test_streams_are_named_as_the_member_named_them(app, clock):
    await app.create("other")
    stream_id = (await app.describe())["stream_id"]
    by_id, by_pattern = Member(app, "a"), Member(app, "b")
    found = await by_id.join(streams=None, interestedStreamIdList=[stream_id])
    assert found["subscription"] == [stream_id]
    found = await by_pattern.join(streams=None, streamPattern="s|o.*")
    assert found["subscription"] == ["other", "s"]
    clock.advance(seconds=WINDOW_S)
    mine, others = (await by_id.sync())["assignment"], (await by_pattern.sync())["assignment"]
    assert set(mine) == {stream_id}
    assert others["other"] == [0]
    assert sorted(mine[stream_id] + others["s"]) == [0, 1, 2, 3]


async def test_a_new_stream_that_a_pattern_matches_is_shared_out_too(app, clock):
    member = Member(app, "a")
    await member.join(streams=None, streamPattern="s.*")
    clock.advance(seconds=WINDOW_S)
    await member.sync()
    await app.create("s2")
    assert await member.beat() == "JOINING"


async def test_a_member_that_comes_late_has_to_join_again(app, clock):
    a, b = Member(app, "a"), Member(app, "b")
    await formed(clock, a)
    await b.join()
    assert await a.beat() == "JOINING"
    clock.advance(seconds=WINDOW_S)
    assert (await a.sync()) == {"state": "REJOIN", "generation": -1, "assignment": {}}
    assert len((await b.sync())["assignment"]["s"]) == 4


async def test_a_silent_member_is_dropped_after_a_minute_by_the_servers_clock(app, clock):
    a, b = Member(app, "a"), Member(app, "b")
    await formed(clock, a, b)
    for _ in range(5):
        clock.advance(seconds=10)
        assert await a.beat() == "STABLE"
    clock.advance(seconds=10)
    assert await a.beat() == "JOINING"
    assert await b.beat() == "JOINING"
    await app.refused("DIS.4702", "POST", "checkpoints", b.commit())


async def test_a_member_that_leaves_is_replaced_by_the_others(app, clock):
    a, b = Member(app, "a"), Member(app, "b")
    await formed(clock, a, b)
    await b.leave()
    await b.leave()
    assert await a.beat() == "JOINING"
    await formed(clock, a)
    assert (await a.sync())["assignment"] == {"s": [0, 1, 2, 3]}


async def test_a_scaling_makes_the_members_join_again(app, clock):
    member = Member(app, "a")
    await formed(clock, member)
    await app.call("PUT", "streams/s", {"stream_name": "s", "target_partition_count": 6})
    assert await member.beat() == "JOINING"
    await formed(clock, member)
    assert (await member.sync())["assignment"] == {"s": [0, 1, 2, 3, 4, 5]}


async def test_deleted_partitions_are_shared_out_and_expired_ones_are_not(app, clock):
    await app.call("PUT", "streams/s", {"stream_name": "s", "target_partition_count": 3})
    member = Member(app, "a")
    await formed(clock, member)
    assert (await member.sync())["assignment"] == {"s": [0, 1, 2, 3]}
    clock.advance(hours=24)
    await formed(clock, member)
    assert (await member.sync())["assignment"] == {"s": [0, 1, 2]}


class TestCommits:
    async def test_a_member_commits_with_its_generation(self, app, clock):
        member = Member(app, "a")
        await formed(clock, member)
        await app.call("POST", "checkpoints", member.commit(), status=201)

    async def test_one_that_names_no_member_is_taken(self, app, clock):
        await formed(clock, Member(app, "a"))
        await app.call("POST", "checkpoints", COMMIT, status=201)

    async def test_an_owner_of_before_is_fenced(self, app, clock):
        a, b = Member(app, "a"), Member(app, "b")
        await formed(clock, a)
        old = a.commit()
        await formed(clock, b, a)
        await app.refused("DIS.4703", "POST", "checkpoints", old)
        await app.refused("DIS.4702", "POST", "checkpoints", a.commit(client_id="c"))
        await app.call("POST", "checkpoints", a.commit(), status=201)

    async def test_a_member_that_did_not_sync_is_told_to_wait(self, app, clock):
        member = Member(app, "a")
        await member.join()
        await app.refused("DIS.4701", "POST", "checkpoints", member.commit(generation_id=0))

    async def test_nothing_is_stored_of_a_refused_one(self, app, clock):
        member = Member(app, "a")
        await formed(clock, member)
        await app.refused(
            "DIS.4703", "POST", "checkpoints", member.commit(generation_id=9, metadata="m")
        )
        asked = {key: value for key, value in COMMIT.items() if key != "sequence_number"}
        assert await app.call("GET", "checkpoints", asked) == {"sequence_number": "-1"}


async def test_an_app_with_members_cannot_be_deleted(app, clock):
    member = Member(app, "a")
    await formed(clock, member)
    await app.refused("DIS.4331", "DELETE", "apps/app")
    clock.advance(seconds=60)
    await app.call("DELETE", "apps/app", status=204)
    assert await member.beat() == "GROUP_NOT_EXIST"


async def test_an_app_made_anew_goes_on_counting_generations(app, clock):
    old = Member(app, "a")
    await formed(clock, old)
    await old.leave()
    await app.call("DELETE", "apps/app", status=204)
    await app.call("POST", "apps", {"app_name": "app"}, status=201)
    new = Member(app, "a")
    await formed(clock, new)
    assert new.generation == old.generation + 1
    await app.refused("DIS.4703", "POST", "checkpoints", old.commit())


async def test_a_group_has_a_quota():
    async with calling(limits=True) as dis:
        await dis.create()
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
        for number in range(100):
            await Member(dis, f"c{number}").join()
        asked = {"groupId": "app", "clientId": "c", "interestedStream": ["s"]}
        await dis.refused("DIS.4339", "POST", "apps/app/consumers", asked)
        assert (await Member(dis, "c7").join())["state"] == "OK"


async def test_a_restart_forgets_members_and_not_their_generation(tmp_path):
    clock = ManualClock(1_700_000_000_000)
    async with calling(tmp_path, clock=clock) as dis:
        await dis.create(partitions=4)
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
        before = Member(dis, "a")
        await formed(clock, before)
    async with calling(tmp_path, clock=clock) as dis:
        after = Member(dis, "a")
        after.generation = before.generation
        assert await after.beat() == "JOINING"
        await dis.refused("DIS.4702", "POST", "checkpoints", after.commit())
        await formed(clock, after)
        assert after.generation == before.generation + 1
