"""Tags, policies, quotas, events and dump tasks (reference 5.1.7, 5.5, 5.7; facts 7)."""

import re

from stream_model import page, shard, shown_tags
from told import Is, No, OneOf, Opaque, Unordered

DAYS_15_MS = 15 * 24 * 3_600_000
TYPES = {  # name, severity (guessed), category
    "000": ("Dump task restored", 0, 2),
    "001": ("Dump task abnormal", 1, 2),
    "002": ("Quota insufficient", 1, 0),
    "003": ("Traffic limited", 1, 1),
    "004": ("Auto scaling succeeded", 0, 1),
    "005": ("Auto scaling failed", 1, 1),
    "006": ("Stream Traffic Abnormal", 1, 1),
    "007": ("Stream Traffic Recovery", 0, 1),
    "008": ("Manual scaling failed", 1, 1),
}


def shown_type(number):
    name, severity, category = TYPES[number]
    return {
        "type_id": f"dis_event.{number}",
        "type_name": name,
        "severity": severity,
        "category": category,
    }


class Tags:
    """The chapter 5.7. A stream goes by its id, or its name."""

    def tagged(self, ask):
        wanted = ask["stream_id"]
        for stream in self.streams.values():
            if wanted in (stream.name, stream.id.value):
                return stream
        raise No("4603")

    def tags_add(self, ask):
        self._add(self.tagged(ask), [ask["tag"]])

    def tags_add_batch(self, ask):
        if len({tag["key"] for tag in ask["tags"]}) < len(ask["tags"]):
            raise No("4200")
        self._add(self.tagged(ask), ask["tags"])

    def _add(self, stream, tags):
        """Add tags; a key that is there gets the new value (guess ADDING_A_TAG_REPLACES)."""
        both = {**stream.tags, **{tag["key"]: tag.get("value", "") for tag in tags}}
        if len(both) > 10:
            raise No("4601")
        stream.tags = both

    def tags_list(self, ask):
        return {"tags": shown_tags(self.tagged(ask).tags)}

    def tags_delete(self, ask):
        tags = self.tagged(ask).tags
        if ask["key"] not in tags:
            raise No("4604")
        del tags[ask["key"]]

    def tags_delete_batch(self, ask):
        stream = self.tagged(ask)
        for doomed in ask["tags"]:  # guess DELETES_THE_VALUE_THAT_IS_NAMED
            if stream.tags.get(doomed["key"]) in (doomed.get("value"), None) or (
                "value" not in doomed
            ):
                stream.tags.pop(doomed["key"], None)

    def tags_list_region(self, ask):
        found = {}
        for stream in self.streams.values():
            for key, value in stream.tags.items():
                found.setdefault(key, set()).add(value)
        return {
            "tags": [
                {"key": key, "values": sorted(values)} for key, values in sorted(found.items())
            ]
        }

    def tags_find(self, ask):
        names = self._matching(ask)
        start, most = int(ask.get("offset", 0)), int(ask.get("limit", 1000))
        return {
            "resources": [
                {
                    "resource_id": self.streams[name].id,
                    "resource_name": name,
                    "tags": shown_tags(self.streams[name].tags),
                }
                for name in names[start : start + most]
            ],
            "total_count": len(names),
        }

    def tags_count(self, ask):
        return {"total_count": len(self._matching(ask))}

    def _matching(self, ask):
        for name in ("tags_any", "not_tags", "not_tags_any"):
            filters = ask.get(name, [])
            if len({f["key"] for f in filters}) < len(filters):
                raise No("4200")
        return sorted(
            name for name, stream in self.streams.items() if self._fits(ask, name, stream.tags)
        )

    @staticmethod
    def _fits(ask, name, tags):
        def has(wanted):
            values = wanted.get("values") or ["*"]
            return wanted["key"] in tags and any(
                v[1:] in tags[wanted["key"]] if v.startswith("*") else v == tags[wanted["key"]]
                for v in values
            )

        return (
            all(map(has, ask.get("tags", [])))
            and (not ask.get("tags_any") or any(map(has, ask["tags_any"])))
            and (not ask.get("not_tags") or not all(map(has, ask["not_tags"])))
            and not any(map(has, ask.get("not_tags_any", [])))
            # guess NAMES_MATCH_IN_PART
            and all(m["value"].lower() in name.lower() for m in ask.get("matches", []))
        )


class Policies:
    """The chapters 5.1.7 and 5.1.8, without other accounts."""

    def policies_create(self, ask):
        stream = self._of(ask)
        for principal in self._principals(ask):  # guess ANY_PRINCIPAL
            if (principal, ask["action_type"]) not in stream.policies:
                stream.policies.append((principal, ask["action_type"]))

    def policies_list(self, ask):
        stream = self.stream(ask)
        return {
            "stream_id": stream.id,
            "rules": Unordered(
                {
                    "principal": principal,
                    "principal_name": principal,
                    "action_type": action,
                    "effect": "accept",
                }
                for principal, action in stream.policies
            ),
        }

    def policies_delete(self, ask):
        stream = self._of(ask)
        doomed = [(principal, ask["action_type"]) for principal in self._principals(ask)]
        if not set(doomed) <= set(stream.policies):
            raise No("4603")  # guess MISSING_POLICY_CODE
        stream.policies = [policy for policy in stream.policies if policy not in doomed]

    def _of(self, ask):
        stream = self.stream(ask)
        if stream.id.value != ask["stream_id"]:
            raise No("4200")
        return stream

    @staticmethod
    def _principals(ask):
        names = [name.strip() for name in ask["principal_name"].split(",")]
        return list(dict.fromkeys(name if "." in name else f"{name}.*" for name in names))


class Events:
    """What happened, subscriptions and quotas (facts 7)."""

    def note(self, number, stream, at=None):
        self.happened.append(
            {
                **shown_type(number),
                "description": Is(lambda text: isinstance(text, str), "a description"),
                "occur_time": self.now if at is None else at,
                "source_name": stream.name if stream else "",
                "source_id": stream.id if stream else "",
                "id": Opaque(),  # last, so that only what fits otherwise gets it
            }
        )

    def events_list(self, ask):
        shown = [e for e in self.happened if self.now - e["occur_time"] <= DAYS_15_MS][-1000:]
        return {"count": len(shown), "events": Unordered(shown)}

    def events_list_types(self, ask):
        return {"count": 9, "events": [shown_type(number) for number in TYPES]}

    def events_list_subscriptions(self, ask):
        return {
            "quota": self.quotas["subscription"],
            "used": len(self.subscriptions),
            "eventSubscriptions": Unordered(self.subscriptions),
        }

    def events_create_subscription(self, ask):
        no = self._wrong(ask)
        if len(self.subscriptions) >= self.quotas["subscription"]:
            no.add("4308")
        if "4308" in no and self.refusal == "DIS.4308":
            self.note("002", None)
        if no:
            raise No(*no)
        defaults = {"enable": self.subscription_enable, "event_ids": [], "event_streamids": []}
        self.subscriptions.append({"topic_type": 0, **defaults, **ask, "id": Opaque()})

    def events_update_subscription(self, ask):
        kept = self._subscription(ask)
        no = self._wrong({"topic_type": kept["topic_type"], **ask}, kept)
        if no:
            raise No(*no)
        kept.update({name: value for name, value in ask.items() if name != "subscription_id"})

    def events_delete_subscription(self, ask):
        self.subscriptions.remove(self._subscription(ask))

    def _subscription(self, ask):
        for kept in self.subscriptions:
            if kept["id"].value == ask["subscription_id"]:
                return kept
        raise No("4603")  # guess NO_SUBSCRIPTION_CODE

    def _wrong(self, ask, own=None):
        no = set()
        ids = {stream.id.value for stream in self.streams.values()}
        if any(kept["name"] == ask.get("name") and kept is not own for kept in self.subscriptions):
            no.add("4200")
        if not set(ask.get("event_ids", [])) <= {f"dis_event.{number}" for number in TYPES}:
            no.add("4200")
        if not set(ask.get("event_streamids", [])) <= ids:
            no.add("4301")
        is_stream = ask.get("topic_type") == 1
        if is_stream and "topic_name" in ask and ask["topic_name"] not in self.streams:
            no.add("4301")
        return no

    subscription_enable = OneOf(True, False)

    def quotas_get(self, ask):
        used = [
            ("common_partition", self.quotas["COMMON"], self.used("COMMON")),
            ("advanced_partition", self.quotas["ADVANCED"], self.used("ADVANCED")),
            ("app", self.quotas["app"], len(self.apps)),
        ]
        shown = [{"type": kind, "quota": quota, "used": count} for kind, quota, count in used]
        return {"quotas": {"resources": Unordered(shown)}}


class Task:
    """A dump task, and how far it is in each partition: place -> (next, discarded, when)."""

    def __init__(self, stream, kind, fields, now):
        self.stream, self.kind, self.fields = stream, kind, dict(fields)
        self.name, self.id, self.created_ms = fields["task_name"], Opaque(), now
        self.begun_ms = now
        is_text = fields.get("destination_file_type", "text") == "text"
        # guess NOT_SIMULATED_STATE
        self.state = self.working = "RUNNING" if kind == "OBS" and is_text else "ABNORMAL"
        from_now = fields.get("consumer_strategy", "LATEST") == "LATEST"
        self.places = {
            p.number: (p.end if from_now else stream.first(p, now), 0, 0)
            for p in stream.of_status(now, "ACTIVE", "DELETED")
        }
        self.delivered = {}  # bucket -> partition -> bytes
        self.delivered_ms = 0

    @property
    def interval_ms(self):
        return self.fields["deliver_time_interval"] * 1000

    def deliver(self, since, until):
        """Deliver what arrived before the first time that is due, at that time.

        Nothing arrives in between, so the later ones have nothing to do.
        """
        due = self.begun_ms + ((since - self.begun_ms) // self.interval_ms + 1) * self.interval_ms
        if self.state != "RUNNING" or due > until:
            return
        for p in self.stream.partitions:
            at, discarded, _ = self.places.get(p.number, (0, 0, 0))
            first, end = self.stream.first(p, due), p.first(due)
            if self.stream.status(p, due) == "EXPIRED" or end <= max(at, first):
                continue
            gone = max(0, first - at)  # guess EXPIRED_RECORDS_ARE_DISCARDED
            taken = [data for data, _, _ in p.records[at + gone : end]]
            delimiter = self.fields.get("record_delimiter", "\n").encode()
            into = self.delivered.setdefault(self.fields["obs_bucket_path"], {})
            into[p.number] = into.get(p.number, b"") + b"".join(d + delimiter for d in taken)
            self.places[p.number] = (end, discarded + gone, due)
            self.delivered_ms = due


def wrong_in_descriptor(fields):
    """The codes of the fields that all destinations have."""
    rules = [
        ("4200", re.fullmatch("[A-Za-z0-9_-]{1,64}", fields["task_name"])),
        ("4200", 30 <= fields["deliver_time_interval"] <= 900),
        ("4335", 1 <= len(fields["agency_name"]) <= 64),
        ("4200", not fields.get("file_prefix", "").startswith("/")),
    ]
    return {code for code, fits in rules if not fits}


class TransferTasks:
    """The chapter 5.5."""

    def transfer_tasks_create(self, ask):
        kind, fields = self._destination(ask)
        stream = self.stream(ask)
        no = self._wrong_destination(stream, kind, fields)
        if fields["task_name"] in stream.tasks:
            no.add("4355")
        if len(stream.tasks) >= 5:
            no.add("4357")
        if no:
            raise No(*no)
        stream.tasks[fields["task_name"]] = Task(stream, kind, fields, self.now)

    def transfer_tasks_update(self, ask):
        kind, fields = self._destination(ask)
        stream = self.stream(ask)
        task = self._task(stream, fields["task_name"])
        no = self._wrong_destination(stream, kind, fields)
        if task.kind != kind:
            no.add("4200")
        if no:
            raise No(*no)
        task.fields = dict(fields)  # guess AN_UPDATE_KEEPS_THE_POSITION

    @staticmethod
    def _destination(ask):
        kind = ask["destination_type"]
        return kind, ask[f"{kind.lower()}_destination_descriptor"]

    @staticmethod
    def _wrong_destination(stream, kind, fields):
        no = set()
        if not fields["obs_bucket_path"].islower():
            no.add("4306")
        if kind == "MRS" and not fields["mrs_hdfs_path"].startswith("/"):
            no.add("4336")
        if kind == "MRS" and len(fields["mrs_cluster_id"]) != 36:
            no.add("4208")
        if fields.get("destination_file_type", "text") != "text" and stream.data_type != "JSON":
            no.add("4200")
        return no

    @staticmethod
    def _task(stream, name):
        if name not in stream.tasks:
            raise No("4354")
        return stream.tasks[name]

    def transfer_tasks_delete(self, ask):
        stream = self.stream(ask)
        task = self._task(stream, ask["task_name"])
        self.finished.append(task)
        del stream.tasks[task.name]

    def transfer_tasks_list(self, ask):
        stream = self.stream(ask)
        names, more = page(stream.tasks, ask.get("start_task_name"), ask.get("limit") or 10)
        return {
            "total_number": len(stream.tasks),
            "quota": 5,
            "has_more_tasks": more,
            "tasks": [self._shown_task(stream.tasks[name]) for name in names],
        }

    @staticmethod
    def _shown_task(task):
        return {
            "task_id": task.id,
            "task_name": task.name,
            "state": task.state,
            "destination_type": task.kind,
            "create_time": task.created_ms,
            "last_transfer_timestamp": task.delivered_ms,
        }

    def transfer_tasks_describe(self, ask):
        stream = self.stream(ask)
        task = self._task(stream, ask["task_name"])
        told = f"{task.kind.lower()}_destination_description"
        return {
            **self._shown_task(task),
            "stream_name": stream.name,
            "stream_id": stream.id,
            "partitions": [self._progress(task, p) for p in stream.partitions],
            told: Is(lambda found: found.items() >= task.fields.items(), f"{task.fields}"),
        }

    def _progress(self, task, partition):
        first = task.stream.first(partition, self.now)
        at, discarded, when = task.places.get(partition.number, (0, 0, 0))
        # What retention took may be told before, or with, the next delivery.
        gone = max(0, first - at)
        return {
            "partitionId": shard(partition.number),
            "status": task.stream.status(partition, self.now),
            "state": task.state,
            "last_transfer_offset": OneOf(at, at + gone),
            "discard": OneOf(discarded, discarded + gone),
            "last_transfer_timestamp": when,
        }

    def transfer_tasks_start(self, ask):
        for task in self._all_of(ask):
            if task.state == "PAUSED":
                task.state = task.working
                task.begun_ms = self.now  # guess A_START_BEGINS_THE_INTERVAL_ANEW

    def transfer_tasks_pause(self, ask):
        for task in self._all_of(ask):
            task.state = "PAUSED"

    def _all_of(self, ask):
        by_id = {task.id.value: task for task in self.stream(ask).tasks.values()}
        wanted = [task["id"] for task in ask["tasks"]]
        if not set(wanted) <= set(by_id):
            raise No("4354")
        return [by_id[task_id] for task_id in wanted]
