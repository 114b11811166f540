"""The whole service as plain Python: what it must answer to each request, and at each time."""

import re

from app_model import SILENCE_MS, Apps
from catalog_model import Events, Policies, Tags, TransferTasks, wrong_in_descriptor
from stream_model import CURSOR_MS, HOUR_MS, PARTITION_LABELS, STREAM_LABELS, Streams
from told import No

__all__ = ["ServiceModel"]

TOP = 2**63 - 1


def _name(longest):
    return lambda v: isinstance(v, str) and re.fullmatch(f"[A-Za-z0-9_-]{{1,{longest}}}", v)


def _whole(low, high=TOP):
    return lambda v: type(v) is int and low <= v <= high


def _word(*words):
    return lambda v: v in words


def _is_partition(value):
    return re.fullmatch(r"(shardId-)?[0-9]{1,10}", value)


def _is_number(value):
    return re.fullmatch(r"[0-9]{1,19}", value) and int(value) <= TOP


def _is_tag(tag):
    key, value = tag.get("key", ""), tag.get("value", "")
    return re.fullmatch("[A-Za-z0-9_\u4e00-\u9fff-]{1,36}", key) and re.fullmatch(
        "[A-Za-z0-9._\u4e00-\u9fff-]{0,43}", value
    )


def _up_to(most, check):
    return lambda values: len(values) <= most and all(map(check, values))


def _labels(known):
    return {
        "label": ("4209", _word(*known)),
        "label_list": ("4209", lambda text: set(text.split(",")) <= set(known)),
    }


_PARTITION = ("4201", _is_partition)
_TYPES = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_SECONDS = ("4203", _whole(10**9, 10**10 - 1))
# What each field may hold, and the code of one that does not (reference, the tables and 7.1).
FIELDS = {
    **dict.fromkeys(("stream_name", "stream-name"), ("4200", _name(64))),
    **dict.fromkeys(("app_name", "groupId"), ("4200", _name(200))),
    "task_name": ("4200", _name(64)),
    **dict.fromkeys(("partition_id", "partition-id"), _PARTITION),
    **dict.fromkeys(("start_partition_id", "start_partitionId"), _PARTITION),
    **dict.fromkeys(("partition_count", "target_partition_count"), ("4200", _whole(1))),
    "data_duration": ("4200", _whole(24, 168)),
    "data_type": ("4200", _word("BLOB", "JSON", "CSV")),
    "stream_type": ("4200", _word("COMMON", "ADVANCED")),
    "limit_partitions": ("4200", _whole(1, 1000)),
    "cursor-type": ("4215", _word(*_TYPES)),
    **dict.fromkeys(("starting-sequence-number", "sequence_number"), ("4216", _is_number)),
    "timestamp": ("4200", _whole(0)),
    "max_fetch_bytes": ("4200", _whole(1)),
    "metadata": ("4200", lambda v: len(v) <= 1000),
    "checkpoint_type": ("4200", _word("LAST_READ")),
    "update_type": ("4200", _word("AUTO_SCALE", "DATA_TYPE")),
    "start_time": _SECONDS,
    "end_time": _SECONDS,
    "action_type": ("4200", _word("putRecords", "getRecords")),
    "name": ("4200", _name(64)),
    "topic_type": ("4200", _word(0, 1)),
    "tag": ("4200", _is_tag),
}
# Where a field means another thing.
FIELDS_OF = {
    "streams.create": {"tags": ("4200", _up_to(10, _is_tag))},
    "tags.add_batch": {"tags": ("4200", lambda tags: tags and _up_to(10, _is_tag)(tags))},
    "tags.delete_batch": {"tags": ("4200", lambda tags: tags and all(t.get("key") for t in tags))},
    "tags.find": {"limit": ("4200", lambda v: _whole(1, 1000)(int(v)))},
    "metrics.of_stream": _labels(STREAM_LABELS),
    "metrics.of_partition": _labels(PARTITION_LABELS),
    "apps.describe_state": {"limit": ("4200", _whole(1, 1000))},
    "apps.list": {"limit": ("4200", _whole(1, 100)), "stream_name": (None, None)},
    "streams.list": {"limit": ("4200", _whole(1, 100))},
    "transfer_tasks.list": {"limit": ("4200", _whole(1, 100))},
}
NEEDED = {
    "streams.create": ("stream_name", "partition_count"),
    "streams.scale": ("stream_name", "target_partition_count"),
    "records.get_cursor": ("stream-name", "partition-id"),
    "records.get": ("partition-cursor",),
    "apps.create": ("app_name",),
    "checkpoints.commit": ("app_name", "stream_name", "partition_id", "sequence_number"),
    "checkpoints.get": ("app_name", "stream_name", "partition_id"),
    "checkpoints.delete": ("app_name", "stream_name"),
    "metrics.of_stream": ("start_time", "end_time"),
    "metrics.of_partition": ("start_time", "end_time"),
    "events.create_subscription": ("name", "topic_name"),
    "policies.create": ("stream_id", "principal_name", "action_type"),
}


class ServiceModel(Streams, Apps, Tags, Policies, Events, TransferTasks):
    """One account. `answer` is the only way in; time goes on with each call of it."""

    def __init__(self, quotas, now):
        self.quotas, self.now = quotas, now
        self.streams, self.apps, self.groups_by_app = {}, {}, {}
        self.cursors = {}
        self.happened, self.subscriptions = [], []
        self.finished = []  # dump tasks that are gone; what they delivered stays

    def answer(self, operation, ask, now, told=None, refusal=None):
        """Give what the service must answer: the fields of its reply, or None for an empty one.

        `told` is its reply, or `refusal` its code. They count only where it is free to choose.

        Raises:
            No: it must refuse.
        """
        self.pass_time(now)
        self.told, self.refusal = told, refusal
        if wrong := _wrong_fields(operation, ask):
            raise No(*wrong)
        return getattr(self, operation.replace(".", "_"))(ask)

    def pass_time(self, now):
        """Let happen what the service does by itself: deliveries, and scaling on load."""
        since, self.now = self.now, now
        for stream in self.streams.values():
            for task in stream.tasks.values():
                task.deliver(since, now)
            stream.looked_ms = since
            self.scale_by_load(stream, now)

    def edges(self):
        """The times at which something is about to be over, or to begin."""
        found = {place.issued_ms + CURSOR_MS for place in [*self.cursors.values()][-4:]}
        for stream in self.streams.values():
            kept = stream.hours * HOUR_MS
            for p in stream.partitions:
                found |= {at + kept for at in p.arrivals[-2:] + p.arrivals[:2]}
                found |= set() if p.deleted_ms is None else {p.deleted_ms + kept}
            found |= {at + HOUR_MS for at, *_ in stream.scalings[-1:]}
        for group in self.groups_by_app.values():
            found |= {member.alive_ms + SILENCE_MS for member in group.members.values()}
            found |= set() if group.closes_ms is None else {group.closes_ms}
        return sorted(at for at in found if at > self.now)


def _wrong_fields(operation, ask):
    if operation == "records.put":
        return set()  # it looks for itself
    rules = {**FIELDS, **FIELDS_OF.get(operation, {})}
    wrong = {
        code
        for name, value in ask.items()
        for code, fits in [rules.get(name, (None, None))]
        if code and not fits(value)
    }
    for name, value in ask.items():
        if name.endswith("_destination_descriptor"):
            wrong |= wrong_in_descriptor(value)
    low, high = (ask.get(f"auto_scale_{end}_partition_count") for end in ("min", "max"))
    if low and high and low > high:
        wrong.add("4200")
    missing = [name for name in NEEDED.get(operation, ()) if name not in ask]
    return wrong | ({"4200"} if missing else set())
