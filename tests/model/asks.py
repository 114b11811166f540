"""What the steps ask for: mostly what can be, of few names, so that they meet; sometimes not."""

from base64 import b64encode
from typing import Any

from hypothesis import strategies as st
from stream_model import MIB, PARTITION_LABELS, STREAM_LABELS

__all__ = ["ASKS"]

KIB = 1024
DAY_MS = 24 * 3_600_000
Draw = Any


def mostly(right, *wrong, of=12):
    """One of `right`, and once in `of` times one of `wrong`."""
    several = [*right] * (1 + of * len(wrong) // len(right)) + [*wrong] if wrong else right
    return st.sampled_from(several)


STREAM = mostly(["s", "s", "t", "u-2"], "none", "no name", "n" * 65)
APP = mostly(["a", "a", "b_1"], "none", "?")
TASK = mostly(["one", "two", "three"], "none", "no/task")
CLIENT = st.sampled_from(["c.1", "c2", "c-3"])
PARTITION = mostly(["0", "1", "2", "shardId-0000000000", "shardId-0000000001", "3"], "9", "x", "-1")
COUNT = mostly([1, 2, 3, 4, 5], 0, 12)
LIMIT = mostly([1, 2, 3, 100], 0, 101)
KEY = st.sampled_from(["k", "l-1", "用户"])
VALUE = st.sampled_from(["", "v", "V.1", "用"])
TAG = st.fixed_dictionaries({"key": KEY}, optional={"value": VALUE})
BAD_TAG = st.sampled_from(
    [{"key": ""}, {"key": "a b"}, {"key": "k" * 37}, {"key": "k", "value": "?"}]
)


def fields(needed, optional=None):
    """An ask of these fields; an optional one is there half of the time."""

    def made(draw, model):
        return draw(st.fixed_dictionaries(needed, optional=optional or {}))

    return made


def stream_id(draw, model):
    """The id of a stream, as far as it was told, or a wrong one."""
    known = [stream.id.value for stream in model.streams.values() if stream.id.value]
    return draw(mostly(known, "none", of=6) if known else st.just("none"))


AUTO = {
    "auto_scale_enabled": st.booleans(),
    "auto_scale_min_partition_count": st.integers(1, 3),
    "auto_scale_max_partition_count": st.integers(2, 5),
}


def create_stream(draw, model):
    needed = {"stream_name": STREAM, "partition_count": COUNT}
    tags = st.lists(TAG, max_size=2) | st.just([{"key": f"k{n}"} for n in range(11)])
    optional = {
        "stream_type": mostly(["COMMON", "ADVANCED"], "OTHER"),
        "data_duration": mostly([24, 25, 72], 23, 169),
        "data_type": mostly(["BLOB", "JSON"], "XML"),
        "tags": tags,
    }
    if draw(st.sampled_from([True, False, False, False])):
        optional |= AUTO
    return draw(st.fixed_dictionaries(needed, optional=optional))


def update_stream(draw, model):
    optional = {"data_duration": mostly([24, 25, 48, 72], 23), "data_type": mostly(["JSON"], "XML")}
    return draw(st.fixed_dictionaries({"stream_name": STREAM}, optional=optional | AUTO))


def data(draw, model):
    """A few bytes, or very many, no two alike."""
    size = draw(st.sampled_from([1, 3, 10, 10, 50, 50, 200, 40 * KIB, 300 * KIB, 700 * KIB]))
    model.made = getattr(model, "made", 0) + 1
    return (b"%d." % model.made).ljust(size, b"-")


def record(draw, model):
    made = {"data": b64encode(data(draw, model)).decode()}
    if draw(st.integers(0, 30)) == 30:
        made["data"] = ""
    route = draw(st.sampled_from(["key", "key", "hash", "partition", "partition", "none"]))
    if route == "key":
        made["partition_key"] = draw(st.sampled_from(["a", "k", "key-1", "hello", "用户", ""]))
    elif route == "hash":
        hashes = st.integers(0, 2**63 - 1) | st.sampled_from([0, 2**62, 2**62 - 1, 2**63 - 1])
        made["explicit_hash_key"] = str(draw(hashes))
        made["partition_key"] = "a"
    elif route == "partition":
        made["partition_id"] = draw(mostly(["0", "1", "2", "shardId-0000000001", "3"], "9"))
        if draw(st.booleans()):
            made["partition_key"] = "unseen"
    if draw(st.integers(0, 9)) == 9:
        made["timestamp"] = draw(st.integers(0, model.now + DAY_MS))
    return made


def put(draw, model):
    if draw(st.integers(0, 15)) == 15:  # enough to be throttled
        tiny = {"data": "eA==", "partition_id": draw(st.sampled_from(["0", "1"]))}
        return {"stream_name": draw(STREAM), "records": [tiny] * draw(st.sampled_from([300, 1001]))}
    records = [record(draw, model) for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3, 5])))]
    return {"stream_name": draw(STREAM), "records": records}


def get_cursor(draw, model):
    kinds = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "TRIM_HORIZON"]
    ask = {"stream-name": draw(STREAM), "partition-id": draw(PARTITION)}
    if draw(st.integers(0, 9)):
        ask["cursor-type"] = draw(mostly([*kinds, "LATEST", "AT_TIMESTAMP"], "NOWHERE"))
    if draw(st.booleans()):
        numbers = st.integers(0, 12).map(str)
        wrong = st.sampled_from(["-1", "x", str(2**63), str(2**63 - 1)])
        ask["starting-sequence-number"] = draw(st.one_of(numbers, numbers, numbers, wrong))
    if ask.get("cursor-type") == "AT_TIMESTAMP" and draw(st.integers(0, 9)):
        times = sorted(
            {at for s in model.streams.values() for p in s.partitions for at in p.arrivals}
        )
        near = st.sampled_from(times or [model.now])
        ask["timestamp"] = max(0, draw(near) + draw(st.sampled_from([-1, 0, 0, 1])))
    return ask


def get_records(draw, model):
    # The latest cursors, and sometimes old ones or texts that are none.
    known = [*model.cursors][-6:]
    cursors = mostly(known or ["x"], *[*model.cursors][:1], "x", "e30", "é")
    ask = {"partition-cursor": draw(cursors)}
    if draw(st.integers(0, 3)) == 0:
        ask["max_fetch_bytes"] = draw(mostly([1, 20, 100, 60 * KIB, MIB, 4 * MIB, 9 * MIB], 0))
    return ask


def checkpoint(draw, model):
    """The place of a checkpoint, half of the time of one that is there."""
    known = [
        {"app_name": app.name, "stream_name": stream, "partition_id": str(number)}
        for app in model.apps.values()
        for stream, number in app.checkpoints
    ]
    if known and draw(st.booleans()):
        return dict(draw(st.sampled_from(known)))
    names = {"app_name": APP, "stream_name": STREAM, "partition_id": PARTITION}
    return draw(st.fixed_dictionaries(names))


def commit(draw, model):
    ask = checkpoint(draw, model) | {
        "sequence_number": draw(mostly(["0", "1", "7", "1000"], "-1", "x", str(2**63))),
    }
    if draw(st.integers(0, 3)) == 0:
        ask["metadata"] = draw(mostly(["", "m"], "m" * 1001))
    if ask["app_name"] in model.groups_by_app and draw(st.integers(0, 2)):
        ask |= as_member(draw, model, ask["app_name"])
    return ask


def as_member(draw, model, app):
    group = model.groups_by_app.get(app)
    generation, names = (group.generation, sorted(group.members)) if group else (0, [])
    near = st.sampled_from([generation] * 3 + [generation - 1, generation + 1])
    return {"client_id": draw(st.sampled_from(names * 3) | CLIENT if names else CLIENT)} | {
        "generation_id": draw(near)
    }


def period(labels):
    def made(draw, model):
        now_s = model.now // 1000
        start = now_s - draw(st.sampled_from([0, 60, 3600, 86_400, 6 * 86_400, 8 * 86_400]))
        ask = {"stream_name": draw(STREAM), "start_time": start, "end_time": now_s}
        if draw(st.integers(0, 9)) == 9:
            ask["end_time"] = draw(st.sampled_from([now_s + 60, start - 1, start, model.now]))
        known = mostly(labels, "unknown", of=8)
        if draw(st.booleans()):
            ask["label"] = draw(known)
        else:
            ask["label_list"] = ",".join(draw(st.lists(known, min_size=1, max_size=3)))
        if labels is PARTITION_LABELS:
            ask["partition_id"] = draw(PARTITION)
        return ask

    return made


def by_id(more):
    """An ask of the tags' chapter, where a stream goes by its id or its name."""

    def made(draw, model):
        name = draw(st.sampled_from([True, False]))
        found = draw(STREAM.filter(lambda n: " " not in n and len(n) < 65)) if name else None
        return {"stream_id": found or stream_id(draw, model)} | draw(st.fixed_dictionaries(more))

    return made


FILTER = st.fixed_dictionaries(
    {"key": KEY},
    optional={"values": st.lists(VALUE | st.sampled_from(["*", "*v", "*1"]), unique=True)},
)
FILTERS = st.lists(FILTER, max_size=2)
CONDITIONS = {
    **dict.fromkeys(("tags", "tags_any", "not_tags", "not_tags_any"), FILTERS),
    "matches": st.lists(
        st.fixed_dictionaries(
            {"key": st.just("resource_name"), "value": st.sampled_from(["S", "u", "-2", "x"])}
        ),
        max_size=1,
    ),
}
PAGE = {"limit": mostly(["1", "2", "1000"], "0"), "offset": st.sampled_from(["0", "1", "5"])}


def policy(draw, model):
    name = draw(STREAM)
    known = model.streams[name].id.value if name in model.streams else None
    return {
        "stream_name": name,
        "stream_id": draw(mostly([known or "unknown"], "none", of=6)),
        "principal_name": draw(st.sampled_from(["ann", "ann.*", "ann.joe", "ann, bob.*"])),
        "action_type": draw(mostly(["putRecords", "getRecords"], "getStreamInfo")),
        "effect": "accept",
    }


def subscription(needed):
    def made(draw, model):
        ask = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "enable": st.booleans(),
                    "event_ids": st.lists(
                        mostly(["dis_event.000", "dis_event.008"], "dis_event.009"), max_size=2
                    ),
                    "topic_name": st.sampled_from(["s", "t", "topic"]),
                    "name": mostly(["n", "m", "o"], "no name"),
                },
            )
        )
        if draw(st.booleans()):
            ask["event_streamids"] = [stream_id(draw, model)]
        if needed:
            ask = {"name": draw(mostly(["n", "m", "o"], "no name")), "topic_name": "s", **ask}
            if draw(st.booleans()):
                ask["topic_type"] = draw(mostly([0, 1], 2))
            return ask
        return ask | one_subscription(draw, model)

    return made


def one_subscription(draw, model):
    known = [s["id"].value for s in model.subscriptions if s["id"].value]
    return {"subscription_id": draw(mostly(known or ["none"], "none"))}


def destination(draw, model):
    kind = draw(mostly(["OBS"], "DLI", "MRS", of=2))
    common = {
        "task_name": draw(TASK),
        "agency_name": draw(mostly(["agency"], "", of=20)),
        "deliver_time_interval": draw(mostly([30, 60, 900], 29, 901)),
        "obs_bucket_path": draw(mostly(["bucket", "other"], "No_Bucket")),
    }
    if draw(st.booleans()):
        common["consumer_strategy"] = draw(st.sampled_from(["LATEST", "TRIM_HORIZON"]))
    if kind == "OBS":
        common |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "record_delimiter": st.sampled_from([",", "\n"]),
                    "file_prefix": mostly(["a/b"], "/a"),
                    "partition_format": st.sampled_from(["yyyy", "yyyy/MM/dd/HH/mm"]),
                    "destination_file_type": mostly(["text"], "parquet", of=3),
                },
            )
        )
    elif kind == "DLI":
        common |= {"dli_database_name": "d", "dli_table_name": "t"}
    else:
        uuid = "f8123fa6-99f1-4ed9-83f4-c827c7277d41"
        common |= {
            "mrs_cluster_name": "c",
            "mrs_cluster_id": draw(mostly([uuid], "none", of=4)),
            "mrs_hdfs_path": draw(mostly(["/user"], "user", of=4)),
        }
    descriptor = f"{kind.lower()}_destination_descriptor"
    return {"stream_name": draw(STREAM), "destination_type": kind, descriptor: common}


def some_tasks(draw, model):
    name = draw(STREAM)
    tasks = model.streams[name].tasks.values() if name in model.streams else ()
    known = [task.id.value for task in tasks if task.id.value]
    ids = st.lists(mostly(known or ["none"], "none"), min_size=1, max_size=3)
    return {"stream_name": name, "tasks": [{"id": found} for found in draw(ids)]}


def join(draw, model):
    ask = {"groupId": draw(APP), "clientId": draw(CLIENT)}
    how = draw(st.sampled_from(["names"] * 5 + ["ids", "pattern", "none"]))
    if how == "names":
        ask["interestedStream"] = draw(
            mostly([["s"], ["s"], ["s", "t"], ["t"]], ["none"], ["s", "none"])
        )
    elif how == "ids":
        ask["interestedStreamIdList"] = [stream_id(draw, model)]
    elif how == "pattern":
        ask["streamPattern"] = draw(st.sampled_from(["s|t", "[st]", "x"]))
    if draw(st.booleans()):
        ask["accelerateAssignEnabled"] = draw(st.booleans())
    if draw(st.booleans()):
        ask["rebalanceTimeoutMs"] = draw(st.sampled_from([0, 1, 5_000, 20_000, 90_000]))
    return ask


def member(draw, model):
    app = draw(APP)
    who = as_member(draw, model, app)
    generation = max(-1, who["generation_id"])
    return {"groupId": app, "clientId": who["client_id"], "generation": generation}


def leave(draw, model):
    return {"groupId": draw(APP), "clientId": draw(CLIENT)}


APP_NAME, STREAM_NAME = {"app_name": APP}, {"stream_name": STREAM}
ASKS = {
    "streams.create": create_stream,
    "streams.list": fields({}, {"limit": LIMIT, "start_stream_name": STREAM}),
    "streams.delete": fields(STREAM_NAME),
    "streams.describe": fields(
        STREAM_NAME,
        {"limit_partitions": mostly([1, 2, 1000], 0, 1001), "start_partitionId": PARTITION},
    ),
    "streams.scale": fields(STREAM_NAME | {"target_partition_count": COUNT}),
    "streams.update": update_stream,
    "streams.update_v2": fields(
        STREAM_NAME,
        AUTO
        | {
            "update_type": mostly(["AUTO_SCALE", "DATA_TYPE"], "RETENTION"),
            "data_type": st.sampled_from(["JSON", "BLOB"]),
        },
    ),
    "streams.scaling_log": fields(STREAM_NAME),
    "policies.create": policy,
    "policies.list": fields(STREAM_NAME),
    "policies.delete": policy,
    "apps.create": fields(APP_NAME),
    "apps.list": fields({}, {"limit": LIMIT, "start_app_name": APP, "stream_name": STREAM}),
    "apps.delete": fields(APP_NAME),
    "apps.describe": fields(APP_NAME),
    "apps.describe_state": fields(
        APP_NAME | STREAM_NAME,
        {
            "checkpoint_type": mostly(["LAST_READ"], "OTHER"),
            "limit": mostly([1, 2, 1000], 0, 1001),
            "start_partition_id": PARTITION,
        },
    ),
    "checkpoints.commit": commit,
    "checkpoints.get": checkpoint,
    "checkpoints.delete": fields(APP_NAME | STREAM_NAME, {"partition_id": PARTITION}),
    "records.put": put,
    "records.get": get_records,
    "records.get_cursor": get_cursor,
    "transfer_tasks.create": destination,
    "transfer_tasks.list": fields(STREAM_NAME, {"limit": LIMIT, "start_task_name": TASK}),
    "transfer_tasks.delete": fields(STREAM_NAME | {"task_name": TASK}),
    "transfer_tasks.describe": fields(STREAM_NAME | {"task_name": TASK}),
    "transfer_tasks.start": some_tasks,
    "transfer_tasks.pause": some_tasks,
    "transfer_tasks.update": destination,
    "metrics.of_stream": period(STREAM_LABELS),
    "metrics.of_partition": period(PARTITION_LABELS),
    "tags.add": by_id({"tag": TAG | TAG | TAG | BAD_TAG}),
    "tags.list": by_id({}),
    "tags.delete": by_id({"key": KEY}),
    "tags.add_batch": by_id({"tags": st.lists(TAG | BAD_TAG, max_size=3)}),
    "tags.delete_batch": by_id({"tags": st.lists(TAG, max_size=2)}),
    "tags.list_region": fields({}),
    "tags.find": fields({}, CONDITIONS | PAGE),
    "tags.count": fields({}, CONDITIONS),
    "events.list": fields({}),
    "events.list_types": fields({}),
    "events.list_subscriptions": fields({}),
    "events.create_subscription": subscription(needed=True),
    "events.update_subscription": subscription(needed=False),
    "events.delete_subscription": one_subscription,
    "quotas.get": fields({}),
    "groups.join": join,
    "groups.sync": member,
    "groups.heartbeat": member,
    "groups.leave": leave,
}
"""For each operation, what makes an ask of it from what is known to be there."""
