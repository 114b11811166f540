"""Scaling over HTTP: hourly limits, scaling on load, changes that take their time."""

import pytest
from server_caller import calling, record

from aiodis.errors import ConfigError
from aiodis.server import LocalDIS, Transitions

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
async def strict(clock):
    async with calling(clock=clock) as caller:
        yield caller


async def scale(dis, target, **options):
    fields = {"stream_name": "s", "target_partition_count": target}
    return await dis.call("PUT", "streams/s", fields, **options)


async def counts(dis):
    found = await dis.describe()
    return found["writable_partition_count"], found["readable_partition_count"]


async def log(dis):
    found = await dis.call("GET", "streams/s/update_partition_counts")
    assert found == {"update_partition_counts": (await dis.describe())["update_partition_counts"]}
    return [
        (c["src_partition_count"], c["target_partition_count"], c["result_code"], c["auto_scale"])
        for c in found["update_partition_counts"]
    ]


async def events(dis):
    found = await dis.call("GET", f"/v1/{dis.server.project_id}/events")
    assert found["count"] == len(found["events"])
    return [(event["type_id"], event["description"]) for event in found["events"]]


class TestHourlyLimits:
    async def test_a_second_scale_down_within_the_hour_is_refused(self, strict, clock):
        await strict.create(partitions=4)
        await scale(strict, 3)
        clock.advance(milliseconds=HOUR_MS - 1)
        message = await strict.refused(
            "DIS.4308", "PUT", "streams/s", {"target_partition_count": 2}
        )
        assert message.endswith("[too many scalings down in an hour, again in 1 ms]")
        assert await counts(strict) == (3, 4)
        clock.advance(milliseconds=1)
        await scale(strict, 2)

    async def test_the_eleventh_scale_up_within_the_hour_is_refused(self, strict, clock):
        await strict.create(partitions=1)
        for target in range(2, 12):
            await scale(strict, target)
            clock.advance(minutes=1)
        await strict.refused("DIS.4308", "PUT", "streams/s", {"target_partition_count": 12})
        await scale(strict, 10)  # the one scale-down is of another kind
        clock.advance(minutes=50)
        await scale(strict, 12)
        assert len(await log(strict)) == 12

    async def test_another_stream_has_numbers_of_its_own(self, strict):
        await strict.create(partitions=3)
        await strict.create("other", partitions=3)
        await scale(strict, 2)
        await strict.call("PUT", "streams/other", {"target_partition_count": 2})

    async def test_they_are_still_known_after_a_restart(self, tmp_path, clock):
        async with calling(tmp_path, clock=clock) as dis:
            await dis.create(partitions=4)
            await scale(dis, 3)
        async with calling(tmp_path, clock=clock) as dis:
            await dis.refused("DIS.4308", "PUT", "streams/s", {"target_partition_count": 2})

    async def test_without_limits_one_may_scale_at_will(self, dis):
        await dis.create(partitions=30)
        for target in range(29, 0, -1):
            await scale(dis, target)

    async def test_a_refusal_is_an_event(self, strict):
        await strict.create(partitions=4)
        await scale(strict, 3)
        await scale(strict, 2, status=400, code="DIS.4308")
        await scale(strict, 60, status=400, code="DIS.4308")
        failed, quota, hourly = await events(strict)
        assert failed[0] == hourly[0] == "dis_event.008"
        assert hourly[1].startswith("call scale from 3 to 2: ")
        assert failed[1].startswith("call scale from 3 to 60: ")
        assert quota[0] == "dis_event.002"
        assert quota[1].endswith("[COMMON partitions: 3 used, 57 more asked, 50 allowed]")
        assert await log(strict) == [(4, 3, 1, False)]


AUTO = {
    "auto_scale_enabled": True,
    "auto_scale_min_partition_count": 1,
    "auto_scale_max_partition_count": 9,
}


async def fill_a_minute(dis, clock, partitions, *, each=1000):
    """Write for a minute, each second and partition so many small records."""
    for _ in range(60):
        for number in range(partitions):
            await dis.put([record(b"x", partition_id=str(number))] * each)
        clock.advance(seconds=1)


async def to_the_next_minute(clock):
    clock.advance(milliseconds=MINUTE_MS - clock.now_ms() % MINUTE_MS)


class TestOnLoad:
    async def test_a_stream_that_is_throttled_and_full_grows(self, strict, clock):
        await strict.create(partitions=3, **AUTO)
        await to_the_next_minute(clock)
        await fill_a_minute(strict, clock, 3, each=1001)
        assert await counts(strict) == (5, 5)
        assert await log(strict) == [(3, 5, 1, True)]
        grown, limited = await events(strict)
        assert grown == ("dis_event.004", "call scale from 3 to 5")
        assert limited[0] == "dis_event.003"

    async def test_the_maximum_holds(self, strict, clock):
        await strict.create(partitions=3, **{**AUTO, "auto_scale_max_partition_count": 4})
        await to_the_next_minute(clock)
        await fill_a_minute(strict, clock, 3, each=1001)
        assert await counts(strict) == (4, 4)

    async def test_a_full_stream_that_is_not_throttled_stays(self, strict, clock):
        await strict.create(partitions=2, **AUTO)
        await to_the_next_minute(clock)
        await fill_a_minute(strict, clock, 2, each=900)
        assert await counts(strict) == (2, 2)

    async def test_an_idle_stream_shrinks_once_an_hour_down_to_its_minimum(self, strict, clock):
        await strict.create(partitions=9, **{**AUTO, "auto_scale_min_partition_count": 2})
        await to_the_next_minute(clock)
        assert await counts(strict) == (9, 9)
        clock.advance(minutes=1)
        assert await counts(strict) == (4, 9)
        clock.advance(minutes=59)
        assert await counts(strict) == (4, 9)
        clock.advance(minutes=1)
        assert await counts(strict) == (2, 9)
        clock.advance(hours=5)
        assert await counts(strict) == (2, 9)
        assert await log(strict) == [(9, 4, 1, True), (4, 2, 1, True)]

    async def test_what_a_jump_of_hours_leaves_is_what_the_hours_leave(self, strict, clock):
        await strict.create(partitions=8, **AUTO)
        clock.advance(hours=4)
        assert await log(strict) == [(8, 4, 1, True), (4, 2, 1, True), (2, 1, 1, True)]

    async def test_a_stream_that_did_not_ask_for_it_stays(self, strict, clock):
        await strict.create(partitions=4)
        clock.advance(hours=3)
        assert await counts(strict) == (4, 4)
        await strict.call(
            "PUT", "streams/s/update", {"update_type": "AUTO_SCALE", "auto_scale_enabled": True}
        )
        clock.advance(minutes=2)
        assert await counts(strict) == (2, 4)

    async def test_a_minute_counts_through_a_restart(self, tmp_path, clock):
        async with calling(tmp_path, clock=clock) as dis:
            await dis.create(partitions=1, **AUTO)
            await to_the_next_minute(clock)
            for _ in range(59):
                await dis.put([record(b"x")] * 1001)
                clock.advance(seconds=1)
        async with calling(tmp_path, clock=clock) as dis:
            clock.advance(seconds=1)
            assert await counts(dis) == (2, 2)

    async def test_a_quota_that_is_used_up_is_told_once(self, clock):
        async with calling(clock=clock, quotas={"common_partition": 2}) as dis:
            await dis.create(partitions=2, **AUTO)
            await to_the_next_minute(clock)
            await fill_a_minute(dis, clock, 2, each=1001)
            await fill_a_minute(dis, clock, 2, each=1001)
            assert await counts(dis) == (2, 2)
            assert await log(dis) == [(2, 4, 0, True)]
            told = [event[0] for event in await events(dis)]
            assert told == ["dis_event.005", "dis_event.002", "dis_event.003"]


class TestUpdateV2:
    async def test_only_what_belongs_to_the_type_is_changed(self, dis):
        await dis.create()
        path = "streams/s/update"
        found = await dis.call(
            "PUT", path, {**AUTO, "update_type": "DATA_TYPE", "data_type": "CSV"}
        )
        assert found == {"stream_name": "s", "target_data_type": "CSV"}
        told = await dis.describe()
        assert (told["data_type"], told["auto_scale_enabled"]) == ("CSV", False)
        assert await dis.call("PUT", path, {**AUTO, "data_type": "BLOB"}) == {"stream_name": "s"}
        told = await dis.describe()
        assert (told["data_type"], told["auto_scale_enabled"]) == ("CSV", True)
        await dis.refused("DIS.4200", "PUT", path, {"update_type": "RETENTION"})

    @pytest.mark.parametrize("path", ["streams/s/update", "/v3/{}/streams/s"])
    async def test_bounds_are_in_order_with_those_from_before(self, dis, path):
        await dis.create(**{**AUTO, "auto_scale_min_partition_count": 5})
        fields = {"auto_scale_max_partition_count": 4}
        await dis.refused("DIS.4200", "PUT", path.format(dis.server.project_id), fields)


class TestTransitions:
    async def test_a_new_stream_is_creating_for_its_time(self, clock):
        async with calling(clock=clock, transitions=Transitions(after_ms=500)) as dis:
            await dis.create()
            assert (await dis.describe())["status"] == "CREATING"
            (listed,) = (await dis.call("GET", "streams"))["stream_info_list"]
            assert listed["status"] == "CREATING"
            body = {"stream_name": "s", "records": [record()]}
            await dis.refused("DIS.4205", "POST", "records", body)
            await dis.refused("DIS.4205", "PUT", "streams/s", {"target_partition_count": 2})
            asked = {"stream-name": "s", "partition-id": "0"}
            await dis.refused("DIS.4205", "GET", "cursors", asked)
            clock.advance(milliseconds=500)
            (listed,) = (await dis.call("GET", "streams"))["stream_info_list"]
            assert listed["status"] == "RUNNING"
            await dis.put([record()])

    async def test_a_new_stream_is_creating_for_its_number_of_calls(self, clock):
        async with calling(clock=clock, transitions=Transitions(after_calls=2)) as dis:
            await dis.create()
            seen = [(await dis.describe())["status"] for _ in range(4)]
            assert seen == ["CREATING", "CREATING", "RUNNING", "RUNNING"]

    async def test_a_scaling_shows_when_its_time_has_come(self, clock):
        async with calling(clock=clock, transitions=Transitions(after_ms=500)) as dis:
            await dis.create(partitions=2)
            clock.advance(seconds=1)
            assert (await scale(dis, 4))["target_partition_count"] == 4
            assert await counts(dis) == (2, 2)
            assert (await dis.describe())["status"] == "RUNNING"
            await dis.put([record()])  # it serves as before meanwhile
            await dis.refused("DIS.4205", "PUT", "streams/s", {"target_partition_count": 3})
            clock.advance(milliseconds=500)
            assert await counts(dis) == (4, 4)
            assert await log(dis) == [(2, 4, 1, False)]

    async def test_partitions_that_are_being_made_count_for_the_quota(self, clock):
        transitions = Transitions(after_ms=500)
        async with calling(clock=clock, transitions=transitions) as dis:
            await dis.create(partitions=2)
            clock.advance(seconds=1)
            await scale(dis, 45)
            fields = {"stream_name": "t", "partition_count": 6}
            await dis.refused("DIS.4308", "POST", "streams", fields)

    async def test_what_was_under_way_is_done_after_a_restart(self, tmp_path, clock):
        transitions = Transitions(after_ms=500)
        async with calling(tmp_path, clock=clock, transitions=transitions) as dis:
            await dis.create(partitions=2)
            clock.advance(seconds=1)
            await scale(dis, 4)
        async with calling(tmp_path, clock=clock, transitions=transitions) as dis:
            assert await counts(dis) == (2, 2)
            clock.advance(milliseconds=500)
            assert await counts(dis) == (4, 4)

    def test_negative_numbers_are_refused(self):
        for wrong in ({"after_ms": -1}, {"after_calls": -1}):
            with pytest.raises(ConfigError):
                Transitions(**wrong)


class TestQuotas:
    async def used(self, dis):
        found = await dis.call("GET", f"/v1/{dis.server.project_id}/quotas")
        return {q["type"]: (q["used"], q["quota"]) for q in found["quotas"]["resources"]}

    async def test_they_tell_what_there_is(self, strict):
        await strict.create(partitions=3)
        await strict.create("a", partitions=2, stream_type="ADVANCED")
        await strict.call("POST", "apps", {"app_name": "a"}, status=201)
        await scale(strict, 2)
        assert await self.used(strict) == {
            "common_partition": (2, 50),
            "advanced_partition": (2, 10),
            "app": (1, 100),
        }

    async def test_a_server_may_have_other_ones(self, clock):
        quotas = {"common_partition": 3, "app": 0}
        async with calling(clock=clock, quotas=quotas) as dis:
            await dis.create(partitions=3)
            fields = {"stream_name": "t", "partition_count": 1}
            await dis.refused("DIS.4308", "POST", "streams", fields)
            await dis.refused("DIS.4329", "POST", "apps", {"app_name": "a"})
            assert (await self.used(dis))["common_partition"] == (3, 3)
            assert {e[0] for e in await events(dis)} == {"dis_event.002"}

    @pytest.mark.parametrize("wrong", [{"streams": 5}, {"app": -1}, {"app": 1.5}, {"app": True}])
    def test_a_quota_that_makes_no_sense_is_refused_at_once(self, wrong):
        with pytest.raises(ConfigError, match="quota"):
            LocalDIS(quotas=wrong)
