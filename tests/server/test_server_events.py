"""Events that happened, and subscriptions to them."""

import pytest
from server_caller import calling, record

DAY_H = 24


@pytest.fixture
async def strict(clock):
    async with calling(clock=clock) as caller:
        yield caller


async def call(dis, method, path, fields=None, **options):
    return await dis.call(method, f"/v1/{dis.server.project_id}/{path}", fields, **options)


async def subscriptions(dis):
    return (await call(dis, "GET", "event-subs"))["eventSubscriptions"]


async def test_the_nine_types_of_the_service_are_told(dis):
    found = await call(dis, "GET", "event-list")
    assert found["count"] == 9
    assert [event["type_id"] for event in found["events"]] == [f"dis_event.00{n}" for n in range(9)]
    scaled = {
        "type_id": "dis_event.004",
        "type_name": "Auto scaling succeeded",
        "severity": 0,
        "category": 1,
    }
    assert found["events"][4] == scaled


async def test_a_throttled_stream_has_one_event_an_hour(strict, clock):
    await strict.create()
    for _ in range(3):
        await strict.put([record(b"x")] * 1001)
    (event,) = (await call(strict, "GET", "events"))["events"]
    stream = await strict.describe()
    assert len(event["id"]) == 20
    assert (event["type_id"], event["type_name"]) == ("dis_event.003", "Traffic limited")
    assert (event["source_name"], event["source_id"]) == ("s", stream["stream_id"])
    assert event["occur_time"] == clock.now_ms()
    clock.advance(hours=1)
    await strict.put([record(b"x")] * 1001)
    found = await call(strict, "GET", "events")
    assert [e["occur_time"] for e in found["events"]] == [clock.now_ms(), event["occur_time"]]


async def test_events_are_shown_for_15_days_through_restarts(tmp_path, clock):
    async with calling(tmp_path, clock=clock) as dis:
        fields = {"stream_name": "s", "partition_count": 51}
        await dis.refused("DIS.4308", "POST", "streams", fields)
    clock.advance(hours=15 * DAY_H)
    async with calling(tmp_path, clock=clock) as dis:
        assert (await call(dis, "GET", "events"))["count"] == 1
        clock.advance(milliseconds=1)
        assert (await call(dis, "GET", "events"))["count"] == 0


async def test_the_last_thousand_events_are_shown(strict, clock):
    fields = {"stream_name": "s", "partition_count": 51}
    for _ in range(1005):
        clock.advance(milliseconds=1)
        await strict.refused("DIS.4308", "POST", "streams", fields)
    found = await call(strict, "GET", "events")
    assert found["count"] == 1000
    times = [event["occur_time"] for event in found["events"]]
    assert times == list(range(clock.now_ms(), clock.now_ms() - 1000, -1))


async def test_a_subscription_is_kept_changed_and_removed(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        stream_id = (await dis.describe())["stream_id"]
        fields = {
            "name": "n",
            "topic_name": "s",
            "topic_type": 1,
            "enable": True,
            "event_ids": ["dis_event.004"],
            "event_streamids": [stream_id],
        }
        assert await call(dis, "POST", "event-subs", fields) is None
    async with calling(tmp_path) as dis:
        (kept,) = await subscriptions(dis)
        assert kept.items() >= fields.items()
        path = f"event-subs/{kept['id']}"
        await call(dis, "PUT", path, {"enable": False, "name": "m"})
        (changed,) = await subscriptions(dis)
        assert changed == {**kept, "enable": False, "name": "m"}
        await call(dis, "DELETE", path, status=204)
        assert await subscriptions(dis) == []
        await call(dis, "DELETE", path, status=400, code="DIS.4603")
        await call(dis, "PUT", path, {"enable": True}, status=400, code="DIS.4603")


async def test_a_subscription_can_still_be_changed_when_its_streams_are_gone(dis):
    await dis.create()
    stream_id = (await dis.describe())["stream_id"]
    fields = {"name": "n", "topic_name": "s", "topic_type": 1, "event_streamids": [stream_id]}
    await call(dis, "POST", "event-subs", fields)
    await dis.call("DELETE", "streams/s", status=204)
    (kept,) = await subscriptions(dis)
    path = f"event-subs/{kept['id']}"
    await call(dis, "PUT", path, {"enable": False})
    assert await subscriptions(dis) == [{**kept, "enable": False}]
    for named in ({"event_streamids": [stream_id]}, {"topic_name": "s"}):
        await call(dis, "PUT", path, named, status=400, code="DIS.4301")


async def test_the_vendors_own_example_is_understood(dis):
    await dis.create()
    example = {
        "enable": True,
        "events_ids": "dis_event.000\ndis_event.001",
        "name": "dis-test1",
        "topic_name": "s",
        "topic_type": 1,
    }
    await call(dis, "POST", "event-subs", example)
    (kept,) = await subscriptions(dis)
    assert kept["event_ids"] == ["dis_event.000", "dis_event.001"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"name": ""}, "DIS.4200"),
        ({"topic_name": None}, "DIS.4200"),
        ({"topic_type": 2}, "DIS.4200"),
        ({"event_ids": ["dis_event.009"]}, "DIS.4200"),
        ({"event_ids": ["x"]}, "DIS.4200"),
        ({"topic_type": 1, "topic_name": "none"}, "DIS.4301"),
        ({"event_streamids": ["none"]}, "DIS.4301"),
        ({"name": "taken"}, "DIS.4200"),
    ],
)
async def test_a_subscription_that_cannot_work_is_refused(dis, wrong, code):
    fields = {"name": "taken", "topic_name": "t"}
    await call(dis, "POST", "event-subs", fields)
    fields = {"name": "n", "topic_name": "t", **wrong}
    await call(dis, "POST", "event-subs", fields, status=400, code=code)
    assert len(await subscriptions(dis)) == 1


async def test_subscriptions_have_a_quota(strict):
    for number in range(10):
        await call(strict, "POST", "event-subs", {"name": f"n{number}", "topic_name": "t"})
    fields = {"name": "n", "topic_name": "t"}
    await call(strict, "POST", "event-subs", fields, status=400, code="DIS.4308")
    found = await call(strict, "GET", "event-subs")
    assert (found["quota"], found["used"]) == (10, 10)
