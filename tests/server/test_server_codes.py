"""Each of the reference's codes over a socket: provoked, or else known as one for faults only."""

import inspect
import json
import re
from pathlib import Path

import pytest
from server_caller import calling, record

from aiodis import DISClient
from aiodis.api.metrics import MAX_PERIOD_S
from aiodis.credentials import AccessKey
from aiodis.errors import AuthError, ServiceError
from aiodis.server import Account, LocalDIS, Transitions, User
from aiodis.wire.cursor import CursorContent, encode_cursor

TESTS = Path(__file__).parents[1]
CODES = {
    row["code"]: row
    for row in json.loads((TESTS / "vectors" / "codes.json").read_text("utf-8"))["codes"]
}
ERRORS_PAGE = TESTS.parent / "docs" / "service" / "errors.md"

START_S = 1_700_000_000
AT = {"stream_name": "s", "partition_id": "0", "app_name": "app", "checkpoint_type": "LAST_READ"}
PERIOD = {
    "label": "total_put_bytes_per_stream",
    "start_time": START_S - 60,
    "end_time": START_S,
}
OBS = {
    "task_name": "task",
    "agency_name": "dis_admin_agency",
    "obs_bucket_path": "bucket",
    "deliver_time_interval": 30,
}
MRS = {
    **OBS,
    "mrs_cluster_name": "cluster",
    "mrs_cluster_id": "f8123fa6-99f1-4ed9-83f4-c827c7277d41",
    "mrs_hdfs_path": "/user",
}
TASKS = "streams/s/transfer-tasks"
KEY = AccessKey("AK", "SK")


def tag(key):
    return {"tag": {"key": key}}


def obs(**changes):
    return {"destination_type": "OBS", "obs_destination_descriptor": {**OBS, **changes}}


def mrs(**changes):
    return {"destination_type": "MRS", "mrs_destination_descriptor": {**MRS, **changes}}


def cursor(**changes):
    content = {
        "stream_name": "s",
        "partition_id": "0",
        "cursor_type": "AT_SEQUENCE_NUMBER",
        "sequence_number": 0,
        "issued_ms": START_S * 1000,
    }
    return {"partition-cursor": encode_cursor(CursorContent(**{**content, **changes}))}


# What one request provokes, on a server with the stream `s`, its 2 partitions and the app `app`.
SIMPLE = {
    "DIS.4200": ("POST", "streams", {"stream_name": "a b", "partition_count": 1}),
    "DIS.4201": ("GET", "checkpoints", {**AT, "partition_id": "x"}),
    "DIS.4202": ("POST", "streams", None),
    "DIS.4203": ("GET", "streams/s/metrics", {**PERIOD, "start_time": "yesterday"}),
    "DIS.4204": ("GET", "streams/s/metrics", {**PERIOD, "start_time": START_S - MAX_PERIOD_S - 99}),
    "DIS.4208": ("POST", TASKS, mrs(mrs_cluster_id="none")),
    "DIS.4209": ("GET", "streams/s/metrics", {**PERIOD, "label": "none"}),
    "DIS.4215": (
        "GET",
        "cursors",
        {"stream-name": "s", "partition-id": "0", "cursor-type": "none"},
    ),
    "DIS.4216": ("POST", "checkpoints", {**AT, "sequence_number": "none"}),
    "DIS.4217": ("GET", "records", {"partition-cursor": "none"}),
    "DIS.4224": (
        "GET",
        "cursors",
        {"stream-name": "s", "partition-id": "0", "starting-sequence-number": "7"},
    ),
    "DIS.4225": ("GET", "records", cursor(issued_ms=(START_S - 301) * 1000)),
    "DIS.4226": ("GET", "records", cursor(sequence_number=7)),
    "DIS.4301": ("GET", "streams/none", None),
    "DIS.4302": ("GET", "checkpoints", {**AT, "partition_id": "2"}),
    "DIS.4306": ("POST", TASKS, obs(obs_bucket_path="No Bucket")),
    "DIS.4307": ("POST", "streams", {"stream_name": "s", "partition_count": 1}),
    "DIS.4308": ("POST", "streams", {"stream_name": "many", "partition_count": 51}),
    "DIS.4330": ("POST", "apps", {"app_name": "app"}),
    "DIS.4332": ("GET", "apps/none", None),
    "DIS.4335": ("POST", TASKS, obs(agency_name="")),
    "DIS.4336": ("POST", TASKS, mrs(mrs_hdfs_path="user")),
    "DIS.4354": ("GET", f"{TASKS}/none", None),
    "DIS.4360": (
        "POST",
        "streams",
        {"stream_name": "j", "partition_count": 1, "data_type": "JSON", "data_schema": "none"},
    ),
    "DIS.4602": ("GET", "disk/s/tags", None),
    "DIS.4603": ("GET", "stream/none/tags", None),
    "DIS.4604": ("DELETE", "stream/s/tags/none", None),
    "DIS.4605": ("POST", "stream/s/tags/action", {"action": "none", "tags": []}),
}

# What takes more than one request, or another server; the decorated functions below.
STORIES = {}


def provokes(code):
    def keep(story):
        STORIES[code] = story
        return story

    return keep


@pytest.fixture
async def dis(clock):
    async with calling(clock=clock) as dis:
        await dis.create(partitions=2)
        await dis.call("POST", "apps", {"app_name": "app"}, status=201)
        yield dis


@pytest.mark.parametrize("code", SIMPLE)
async def test_one_request_provokes_it(dis, code):
    method, path, fields = SIMPLE[code]
    said = await dis.refused(code, method, path, fields)
    assert is_told(code, said), said


@pytest.mark.parametrize("code", sorted(CODES))
async def test_a_fault_provokes_any(dis, code):
    status = CODES[code]["status"]
    dis.server.faults.push("streams.list", error=code)
    said = await dis.refused(code, "GET", "streams", status=status)
    assert is_told(code, said), said


def test_every_code_is_provoked_or_told_to_be_for_faults_only():
    provoked = set(SIMPLE) | set(STORIES)
    assert len(CODES) == 45
    assert provoked | for_faults_only() == set(CODES)
    assert not provoked & for_faults_only()


def for_faults_only():
    """The codes in the table of the docs' section about them."""
    text = ERRORS_PAGE.read_text("utf-8")
    section = text.split("## Codes that only faults bring\n")[1].split("\n## ")[0]
    return {f"DIS.{number}" for number in re.findall(r"^\| (\d{4}) \|", section, re.MULTILINE)}


def is_told(code, said):
    """Whether a message is the reference's, with details where they may be."""
    return said.startswith(CODES[code]["message"].replace(" %s", "").rstrip("."))


@provokes("DIS.4116")
async def a_user_without_the_permission():
    users = (User("clerk", None, (KEY,), frozenset({"dis:streams:get"})),)
    async with LocalDIS(accounts=[Account("shop", "p", users)]) as server:
        settings = server.settings_of("shop", "clerk")
        async with DISClient(**settings, retries=0) as client:
            with pytest.raises(AuthError) as caught:
                await client.streams.list()
    assert (caught.value.status, caught.value.code) == (403, "DIS.4116")


@provokes("DIS.4117")
async def another_project():
    async with LocalDIS() as server:
        settings = {**server.client_settings, "project_id": "another"}
        async with DISClient(**settings, retries=0) as client:
            with pytest.raises(ServiceError) as caught:
                await client.streams.list()
    assert (caught.value.status, caught.value.code) == (400, "DIS.4117")


@provokes("DIS.4205")
async def a_stream_that_is_not_made_yet():
    async with calling(transitions=Transitions(after_ms=60_000)) as slow:
        await slow.create()
        body = {"stream_name": "s", "records": [record()]}
        await slow.refused("DIS.4205", "POST", "records", body)


@provokes("DIS.4300")
async def a_body_that_is_no_json(dis):
    await dis.refused("DIS.4300", "POST", "streams", data=b"{")


@provokes("DIS.4303")
async def more_reads_than_a_second_has(dis):
    await dis.put([record(bytes(900_000), partition_id="0")])
    cursor = await dis.cursor()
    for _ in range(3):
        await dis.get(cursor)
    await dis.refused("DIS.4303", "GET", "records", {"partition-cursor": cursor})


@provokes("DIS.4310")
async def a_file_where_the_bucket_would_be(tmp_path):
    async with calling(tmp_path) as dis:
        await dis.create()
        place = dis.server.buckets.folder / "bucket"
        place.parent.mkdir(exist_ok=True)
        place.write_text("in the way")
        await dis.refused("DIS.4310", "POST", TASKS, obs())


@provokes("DIS.4319")
async def a_partition_that_expired(dis, clock):
    await dis.call("PUT", "streams/s", {"stream_name": "s", "target_partition_count": 1})
    clock.advance(hours=25)
    asked = {"stream-name": "s", "partition-id": "1"}
    await dis.refused("DIS.4319", "GET", "cursors", asked)


@provokes("DIS.4329")
async def more_apps_than_the_quota_allows(dis):
    for number in range(99):
        await dis.call("POST", "apps", {"app_name": f"a{number}"}, status=201)
    await dis.refused("DIS.4329", "POST", "apps", {"app_name": "one-more"})


async def join(dis, client_id, **options):
    fields = {"groupId": "app", "clientId": client_id, "interestedStream": ["s"]}
    return await dis.call("POST", "apps/app/consumers", fields, **options)


@provokes("DIS.4331")
async def an_app_that_has_members(dis):
    await join(dis, "c")
    await dis.refused("DIS.4331", "DELETE", "apps/app")


@provokes("DIS.4339")
async def more_members_than_a_group_may_have(dis):
    for number in range(100):
        await join(dis, f"c{number}")
    await join(dis, "one-more", status=400, code="DIS.4339")


@provokes("DIS.4355")
async def a_task_of_a_name_that_is_there(dis):
    await dis.call("POST", TASKS, obs(), status=201)
    await dis.refused("DIS.4355", "POST", TASKS, obs())


@provokes("DIS.4357")
async def more_tasks_than_a_stream_may_have(dis):
    for number in range(5):
        await dis.call("POST", TASKS, obs(task_name=f"t{number}"), status=201)
    await dis.refused("DIS.4357", "POST", TASKS, obs(task_name="one-more"))


@provokes("DIS.4601")
async def an_eleventh_tag(dis):
    for number in range(10):
        await dis.call("POST", "stream/s/tags", tag(f"k{number}"), status=204)
    await dis.refused("DIS.4601", "POST", "stream/s/tags", tag("one-more"))


@pytest.mark.parametrize("code", STORIES)
async def test_a_story_provokes_it(dis, clock, tmp_path, code):
    known = {"dis": dis, "clock": clock, "tmp_path": tmp_path}
    story = STORIES[code]
    await story(**{name: known[name] for name in inspect.signature(story).parameters})
