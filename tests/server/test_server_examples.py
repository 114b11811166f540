"""The reference's example requests, over a socket, against a server that has what they name."""

import json
from pathlib import Path

import pytest
from server_caller import record

from aiodis.api import OPERATIONS

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))
ROWS = {row.name: row for row in OPERATIONS}
NEW = {"streams.create": "newstream", "apps.create": "newapp"}  # what must not be there yet
TASK = {
    "destination_type": "OBS",
    "obs_destination_descriptor": {
        "task_name": "newtask",
        "agency_name": "dis_admin_agency",
        "obs_bucket_path": "obsbucket",
        "deliver_time_interval": 30,
    },
}


async def prepare(dis, row):
    """Make what the examples name; give the ids that stand here for those of the reference."""
    for name in {"newstream", "stz_test"} - {NEW.get(row)}:
        await dis.create(name)
    if row != "apps.create":
        await dis.call("POST", "apps", {"app_name": "newapp"}, status=201)
    ids = {}
    if row != "streams.create":
        await dis.put([record()], "newstream")
        ids["CiFdELMr0401K9GGZlp"] = (await dis.describe("newstream"))["stream_id"]
        ids["{cursor}"] = await dis.cursor(stream_name="newstream")
        tag = {"tag": {"key": "key", "value": "value"}}
        await dis.call("POST", "stream/newstream/tags", tag, status=204)
    if row.startswith("transfer_tasks.") and row != "transfer_tasks.create":
        await dis.call("POST", "streams/newstream/transfer-tasks", TASK, status=201)
        [task] = (await dis.call("GET", "streams/newstream/transfer-tasks"))["tasks"]
        ids["9dSu1wfCytSk1aOLxvF"] = task["task_id"]
    return ids


def with_ids(value, ids):
    text = json.dumps(value)
    for told, ours in ids.items():
        text = text.replace(told, ours)
    return json.loads(text)


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(found, id=f"{found['chapter']}-{found['row']}")
        for found in EXAMPLES["requests"]
    ],
)
async def test_the_server_carries_out_an_example(dis, example):
    row = ROWS[example["row"]]
    ids = await prepare(dis, row.name)
    example = with_ids(example, ids)
    path = row.path.format_map({"project_id": "p", **example.get("path", {})})
    fields = example.get("query") or example.get("body")
    found = await dis.call(row.method, path, fields, status=row.status)
    assert (found is None) == (row.reply.__name__ == "Empty")
