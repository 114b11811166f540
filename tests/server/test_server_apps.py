"""Apps and checkpoints: what is kept for consumers."""

import pytest
from server_caller import calling, record

COMMIT = {
    "app_name": "app",
    "stream_name": "s",
    "partition_id": "0",
    "checkpoint_type": "LAST_READ",
    "sequence_number": "5",
}
ASKED = {key: value for key, value in COMMIT.items() if key != "sequence_number"}


@pytest.fixture
async def app(dis):
    await dis.create(partitions=3)
    await dis.call("POST", "apps", {"app_name": "app"}, status=201)
    return dis


async def test_an_app_is_created_once(app, clock):
    assert app.last.headers["Content-Length"] == "0"
    await app.refused("DIS.4330", "POST", "apps", {"app_name": "app"})
    found = await app.call("GET", "apps/app")
    assert found["app_name"] == "app"
    assert found["create_time"] == clock.now_ms()
    assert len(found["app_id"]) == 20
    assert found["commit_checkpoint_stream_names"] == []


async def test_apps_have_a_quota():
    async with calling(limits=True) as dis:
        for number in range(100):
            await dis.call("POST", "apps", {"app_name": f"a{number}"}, status=201)
        await dis.refused("DIS.4329", "POST", "apps", {"app_name": "b"})


async def test_an_app_that_is_not_there_is_said_so(dis):
    await dis.create()
    await dis.refused("DIS.4332", "GET", "apps/app")
    await dis.refused("DIS.4332", "DELETE", "apps/app")
    await dis.refused("DIS.4332", "GET", "apps/app/streams/s")
    await dis.refused("DIS.4332", "POST", "checkpoints", COMMIT)
    await dis.refused("DIS.4332", "GET", "checkpoints", ASKED)
    await dis.refused("DIS.4332", "DELETE", "checkpoints", ASKED)


async def test_apps_are_listed_by_name_in_pages(dis):
    names = [f"a{number:02}" for number in range(12)]
    for name in reversed(names):
        await dis.call("POST", "apps", {"app_name": name}, status=201)
    page = await dis.call("GET", "apps")
    assert [app["app_name"] for app in page["apps"]] == names[:10]
    assert (page["has_more_app"], page["total_number"]) == (True, 12)
    page = await dis.call("GET", "apps", {"start_app_name": names[9], "limit": 2})
    assert [app["app_name"] for app in page["apps"]] == names[10:]
    assert page["has_more_app"] is False


async def test_apps_are_listed_by_the_streams_they_committed_in(app):
    await app.call("POST", "apps", {"app_name": "idle"}, status=201)
    await app.create("other")
    await app.call("POST", "checkpoints", COMMIT, status=201)
    page = await app.call("GET", "apps", {"stream_name": "s"})
    assert [found["app_name"] for found in page["apps"]] == ["app"]
    assert page["apps"][0]["commit_checkpoint_stream_names"] == ["s"]
    assert (await app.call("GET", "apps", {"stream_name": "other"}))["apps"] == []


async def test_a_checkpoint_is_minus_one_until_it_is_committed(app):
    assert await app.call("GET", "checkpoints", ASKED) == {"sequence_number": "-1"}
    assert await app.call("POST", "checkpoints", COMMIT, status=201) is None
    assert app.last.headers["Content-Length"] == "0"
    assert await app.call("GET", "checkpoints", ASKED) == {"sequence_number": "5"}


async def test_a_checkpoint_keeps_its_metadata_and_may_go_back(app):
    await app.call("POST", "checkpoints", {**COMMIT, "metadata": "m" * 1000}, status=201)
    assert (await app.call("GET", "checkpoints", ASKED))["metadata"] == "m" * 1000
    await app.call("POST", "checkpoints", {**COMMIT, "sequence_number": "2"}, status=201)
    assert await app.call("GET", "checkpoints", ASKED) == {"sequence_number": "2"}
    largest = {**COMMIT, "sequence_number": str(2**63 - 1)}
    await app.call("POST", "checkpoints", largest, status=201)
    assert (await app.call("GET", "checkpoints", ASKED))["sequence_number"] == str(2**63 - 1)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("metadata", "m" * 1001, "DIS.4200"),
        ("checkpoint_type", "OTHER", "DIS.4200"),
        ("partition_id", "x", "DIS.4201"),
        ("partition_id", "3", "DIS.4302"),
        ("stream_name", "none", "DIS.4301"),
        ("sequence_number", "-1", "DIS.4216"),
        ("sequence_number", str(2**63), "DIS.4216"),
    ],
)
async def test_a_commit_is_checked(app, field, value, code):
    await app.refused(code, "POST", "checkpoints", {**COMMIT, field: value})


async def test_both_spellings_of_a_partition_have_one_checkpoint(app):
    await app.call("POST", "checkpoints", COMMIT, status=201)
    asked = {**ASKED, "partition_id": "shardId-0000000000"}
    assert (await app.call("GET", "checkpoints", asked))["sequence_number"] == "5"


async def test_checkpoints_are_removed_one_by_one_or_all_of_a_stream(app):
    for partition in "012":
        await app.call("POST", "checkpoints", {**COMMIT, "partition_id": partition}, status=201)

    async def numbers():
        found = [
            await app.call("GET", "checkpoints", {**ASKED, "partition_id": partition})
            for partition in "012"
        ]
        return [reply["sequence_number"] for reply in found]

    await app.call("DELETE", "checkpoints", {**ASKED, "partition_id": "1"}, status=204)
    assert await numbers() == ["5", "-1", "5"]
    await app.call("DELETE", "checkpoints", {"app_name": "app", "stream_name": "s"}, status=204)
    assert await numbers() == ["-1", "-1", "-1"]


async def test_a_removed_app_loses_its_checkpoints(app):
    await app.call("POST", "checkpoints", COMMIT, status=201)
    await app.call("DELETE", "apps/app", status=204)
    await app.refused("DIS.4332", "GET", "checkpoints", ASKED)
    await app.call("POST", "apps", {"app_name": "app"}, status=201)
    assert await app.call("GET", "checkpoints", ASKED) == {"sequence_number": "-1"}


async def test_the_state_of_an_app_lists_all_readable_partitions(app, clock):
    await app.put([record(partition_id="1")] * 7)
    await app.call(
        "POST", "checkpoints", {**COMMIT, "partition_id": "1", "sequence_number": "3"}, status=201
    )
    found = await app.call("GET", "apps/app/streams/s")
    assert (found["stream_name"], found["app_name"]) == ("s", "app")
    states = found["partition_consuming_states"]
    assert [state["partition_id"][-1] for state in states] == ["0", "1", "2"]
    assert [state["sequence_number"] for state in states] == [-1, 3, -1]
    assert [state["latest_offset"] for state in states] == [0, 7, 0]
    assert [state["earliest_offset"] for state in states] == [0, 0, 0]
    clock.advance(hours=25)
    states = (await app.call("GET", "apps/app/streams/s"))["partition_consuming_states"]
    assert states[1]["earliest_offset"] == 7

    fields = {"stream_name": "s", "target_partition_count": 2}
    await app.call("PUT", "streams/s", fields)
    found = await app.call("GET", "apps/app/streams/s")
    assert len(found["partition_consuming_states"]) == 3  # DELETED, but readable
    clock.advance(hours=24)
    found = await app.call("GET", "apps/app/streams/s")
    assert len(found["partition_consuming_states"]) == 2


async def test_the_state_of_an_app_comes_in_pages(app):
    page = await app.call("GET", "apps/app/streams/s", {"limit": 2})
    assert page["has_more"] is True
    assert len(page["partition_consuming_states"]) == 2
    for spelling in ("start_partition_id", "start_partitionId"):
        page = await app.call("GET", "apps/app/streams/s", {spelling: "1", "limit": 2})
        assert page["has_more"] is False
        assert [s["partition_id"] for s in page["partition_consuming_states"]] == [
            "shardId-0000000002"
        ]
    await app.refused("DIS.4301", "GET", "apps/app/streams/none")
