"""Streams, their partitions and their records, as the reference tells of them.

Plain Python, written from the reference and from what its authors' clients show. It
shares no code with the embedded DIS; what nobody knows stands in `aiodis.server.guesses`,
whose names stand beside the line that follows one.
"""

from base64 import b64decode, b64encode
from bisect import bisect_left
from fractions import Fraction
from hashlib import md5
from math import ceil

from told import CursorAt, Is, No, OneOf, Opaque, Place, Unordered

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MIB = 1024 * 1024
TOP = 2**63 - 1
# Per partition and second: bytes and records in, bytes out; and bytes in one request (facts 3).
RATES = {"COMMON": (MIB, 1_000, 2 * MIB, MIB), "ADVANCED": (5 * MIB, 2_000, 10 * MIB, 5 * MIB)}
CURSOR_MS = 300_000
WEEK_S = 7 * 24 * 3600

STREAM_LABELS = [
    "total_put_bytes_per_stream",
    "total_get_bytes_per_stream",
    "total_put_records_per_stream",
    "total_get_records_per_stream",
    "total_put_req_latency",
    "total_get_req_latency",
    "total_put_req_suc_per_stream",
    "total_get_req_suc_per_stream",
    "traffic_control_put",
    "traffic_control_get",
]
PARTITION_LABELS = [label.replace("stream", "partition") for label in STREAM_LABELS[:4]]
_COUNTER = {
    "total_put_bytes": "put_bytes",
    "total_get_bytes": "get_bytes",
    "total_put_records": "put_records",
    "total_get_records": "get_records",
    "total_put_req_suc": "put_ok",
    "total_get_req_suc": "get_ok",
    "traffic_control_put": "put_refused",
    "traffic_control_get": "get_refused",
}


def shard(number):
    return f"shardId-{number:010d}"


def number_of(partition_id):
    return int(partition_id.removeprefix("shardId-"))


def hash_of(key):
    return int.from_bytes(md5(key.encode()).digest()[:8], "big") & TOP


class Bucket:
    """Holds a second's worth, begins full (guess BURST_MS), and never counts time twice."""

    def __init__(self, per_second, now):
        self.rate, self.level, self.at = per_second, Fraction(per_second), now

    def at_time(self, now):
        gained = Fraction(self.rate * (now - self.at), 1000)
        self.level, self.at = min(Fraction(self.rate), self.level + gained), now
        return self.level


class Partition:
    """All records that it ever had; their places in the list are their sequence numbers."""

    def __init__(self, number, stream_type, now):
        self.number = number
        self.records = []  # (data, key, shown_ms)
        self.arrivals = []
        self.deleted_ms = None  # None while it is ACTIVE
        self.begin_anew(stream_type, now)

    def begin_anew(self, stream_type, now):
        """Fill the buckets, as a start of the service does."""
        in_bytes, in_records, out_bytes, _ = RATES[stream_type]
        self.bytes_in, self.records_in = Bucket(in_bytes, now), Bucket(in_records, now)
        self.bytes_out = Bucket(out_bytes, now)

    @property
    def end(self):
        return len(self.records)

    def first(self, oldest_ms):
        return bisect_left(self.arrivals, oldest_ms)


class Stream:
    """A stream, with a count of what happened in each minute."""

    def __init__(self, ask, now):
        self.name, self.id = ask["stream_name"], Opaque()
        self.type = ask.get("stream_type") or "COMMON"
        self.data_type = ask.get("data_type") or "BLOB"
        self.hours = ask.get("data_duration") or 24
        self.created_ms = self.modified_ms = now
        self.auto = {
            name: ask[name]
            for name in (
                "auto_scale_enabled",
                "auto_scale_min_partition_count",
                "auto_scale_max_partition_count",
            )
            if ask.get(name) is not None
        }
        self.tags = {tag["key"]: tag.get("value", "") for tag in ask.get("tags") or ()}
        self.partitions = [
            Partition(number, self.type, now) for number in range(ask["partition_count"])
        ]
        self.scalings = []  # (at, from, to, result, auto)
        self.minutes = {}  # (minute, partition or None) -> counters
        self.limited_ms = None
        self.policies, self.tasks = [], {}

    def oldest_ms(self, now):
        """The arrival of the oldest record that is not past retention, if there is one of then."""
        return now - self.hours * HOUR_MS

    def status(self, partition, now):
        if partition.deleted_ms is None:
            return "ACTIVE"
        expired = now >= partition.deleted_ms + self.hours * HOUR_MS
        return "EXPIRED" if expired else "DELETED"

    def of_status(self, now, *statuses):
        return [p for p in self.partitions if self.status(p, now) in statuses]

    @property
    def active(self):
        return [p for p in self.partitions if p.deleted_ms is None]

    def ranges(self):
        """The hashes in even parts over the ACTIVE partitions (facts 4)."""
        active, step = self.active, TOP // len(self.active)
        return {
            p.number: (
                index and index * step + 1,
                TOP if index == len(active) - 1 else (index + 1) * step,
            )
            for index, p in enumerate(active)
        }

    def holder_of(self, hashed):
        return next(n for n, (low, high) in self.ranges().items() if low <= hashed <= high)

    def first(self, partition, now):
        return partition.first(self.oldest_ms(now))

    def count(self, now, partition=None, **counts):
        for place in {None, partition}:
            counter = self.minutes.setdefault((now // MINUTE_MS, place), {})
            for name, value in counts.items():
                counter[name] = counter.get(name, 0) + value

    def rescale(self, target, now, *, auto):
        active = self.active
        self.scalings.append((now, len(active), target, 1, auto))
        self.modified_ms = now
        if target < len(active):
            for partition in active[target:]:  # guess HIGHEST_PARTITIONS_GO_FIRST
                partition.deleted_ms = now
            return
        # DELETED ones come back first, then EXPIRED ones, then there are new ones (facts 4).
        back = self.of_status(now, "DELETED") + self.of_status(now, "EXPIRED")
        for partition in back[: target - len(active)]:
            partition.deleted_ms = None
        for number in range(len(self.partitions), len(self.partitions) + target - len(self.active)):
            self.partitions.append(Partition(number, self.type, now))

    def refusing_until(self, target, now, *, auto):
        """Until when the hourly limits refuse a scaling; None if they do not (facts 3)."""
        up = target > len(self.active)
        same = [
            at
            for at, source, to, result, by_load in self.scalings
            if result and (to > source) == up and (not up or by_load == auto)
        ]
        most = 10 if up else 1
        recent = [at for at in same if now - at < HOUR_MS]
        return None if len(recent) < most else recent[-most] + HOUR_MS


class Streams:
    """The chapters 5.1, 5.4 and 5.6."""

    # -- 5.1 ------------------------------------------------------------------------------

    def streams_create(self, ask):
        kind = ask.get("stream_type") or "COMMON"
        tags = ask.get("tags") or ()
        if len({tag["key"] for tag in tags}) < len(tags):
            raise No("4200")
        if ask["stream_name"] in self.streams:
            raise No("4307")
        if self.used(kind) + ask["partition_count"] > self.quotas[kind]:
            self.note("002", None)
            raise No("4308")
        self.streams[ask["stream_name"]] = Stream(ask, self.now)

    def used(self, kind):
        return sum(len(s.active) for s in self.streams.values() if s.type == kind)

    def streams_list(self, ask):
        names, more = page(self.streams, ask.get("start_stream_name"), ask.get("limit") or 10)
        return {
            "total_number": len(self.streams),
            "stream_names": names,
            "has_more_streams": more,
            "stream_info_list": [
                self._shown(self.streams[name])
                | {"partition_count": len(self.streams[name].active)}
                for name in names
            ],
        }

    def _shown(self, stream):
        return {
            "stream_name": stream.name,
            "stream_id": stream.id,
            "create_time": stream.created_ms,
            "retention_period": stream.hours,
            "status": "RUNNING",
            "stream_type": stream.type,
            "data_type": stream.data_type,
            "tags": shown_tags(stream.tags),
            "auto_scale_enabled": False,
            **stream.auto,
        }

    def streams_describe(self, ask):
        stream = self.stream(ask)
        start = number_of(ask["start_partitionId"]) if "start_partitionId" in ask else -1
        most = ask.get("limit_partitions") or 100
        rest = stream.partitions[start + 1 :]
        return self._shown(stream) | {
            "last_modified_time": stream.modified_ms,
            "writable_partition_count": len(stream.active),
            "readable_partition_count": len(stream.of_status(self.now, "ACTIVE", "DELETED")),
            "update_partition_counts": self._log(stream),
            "partitions": [self._partition(stream, p) for p in rest[:most]],
            "has_more_partitions": len(rest) > most,
        }

    def _partition(self, stream, partition):
        status = stream.status(partition, self.now)
        shown = {
            "status": status,
            "partition_id": shard(partition.number),
            "parent_partitions": "",  # guess PARENTS_OF_A_PARTITION
        }
        if status == "ACTIVE":  # guess HASH_RANGE_OF_ACTIVE_ONLY
            low, high = stream.ranges()[partition.number]
            shown["hash_range"] = f"[{low} : {high}]"
        if status != "EXPIRED":
            first = stream.first(partition, self.now)
            shown["sequence_number_range"] = f"[{first} : {partition.end}]"
        return shown

    @staticmethod
    def _log(stream):
        return [
            {
                "create_timestamp": at,
                "src_partition_count": source,
                "target_partition_count": target,
                "result_code": result,
                "auto_scale": auto,
            }
            for at, source, target, result, auto in stream.scalings[-100:]  # guess KEPT_SCALINGS
        ]

    def streams_scaling_log(self, ask):
        return {"update_partition_counts": self._log(self.stream(ask))}

    def streams_scale(self, ask):
        stream, target = self.stream(ask), ask["target_partition_count"]
        count = len(stream.active)
        if target == count:
            raise No("4200")  # guess SCALING_TO_THE_SAME_COUNT_CODE
        if self.used(stream.type) + target - count > self.quotas[stream.type]:
            self.note("002", None)
            self.note("008", stream)
            raise No("4308")
        if stream.refusing_until(target, self.now, auto=False) is not None:
            self.note("008", stream)
            raise No("4308")  # guess SCALING_LIMIT_CODE
        stream.rescale(target, self.now, auto=False)
        return {
            "stream_name": stream.name,
            "current_partition_count": count,
            "target_partition_count": target,
        }

    def streams_update(self, ask):
        stream = self.stream(ask)
        self._take(stream, ask, "data_duration", "data_type", auto=True)

    def streams_update_v2(self, ask):
        stream = self.stream(ask)
        if ask.get("update_type", "AUTO_SCALE") == "AUTO_SCALE":
            self._take(stream, ask, auto=True)
            return {"stream_name": stream.name}
        self._take(stream, ask, "data_type", auto=False)
        return {"stream_name": stream.name} | (
            {"target_data_type": ask["data_type"]} if "data_type" in ask else {}
        )

    def _take(self, stream, ask, *names, auto):
        wanted = {
            name: value
            for name, value in ask.items()
            if auto and name.startswith("auto_scale") and value is not None
        }
        both = {**stream.auto, **wanted}
        low = both.get("auto_scale_min_partition_count")
        high = both.get("auto_scale_max_partition_count")
        if low and high and low > high:
            raise No("4200")
        stream.auto = both
        stream.modified_ms = self.now
        if "data_duration" in names and "data_duration" in ask:
            stream.hours = ask["data_duration"]
        if "data_type" in names and "data_type" in ask:
            stream.data_type = ask["data_type"]

    def streams_delete(self, ask):
        stream = self.stream(ask)
        del self.streams[stream.name]
        for app in self.apps.values():
            app.checkpoints = {k: v for k, v in app.checkpoints.items() if k[0] != stream.name}

    def stream(self, ask, code="4301"):
        name = ask.get("stream_name") or ask.get("stream-name")
        if name not in self.streams:
            raise No(code)
        return self.streams[name]

    def partition(self, stream, partition_id):
        number = number_of(partition_id)
        if number >= len(stream.partitions):
            raise No("4302")
        return stream.partitions[number]

    def scale_by_load(self, stream, until):
        """Let the minutes pass: an idle stream shrinks to its half, once an hour (facts 3).

        What the steps write never fills 30 % of a minute, so nothing grows.
        """
        minute = (stream.looked_ms // MINUTE_MS + 1) * MINUTE_MS
        while minute <= until and stream.auto.get("auto_scale_enabled"):
            count = len(stream.active)
            target = max(count // 2, stream.auto.get("auto_scale_min_partition_count") or 1)
            if target >= count:
                return
            refusing = stream.refusing_until(target, minute, auto=True)
            settled = stream.modified_ms <= minute - MINUTE_MS
            if refusing is None and settled:
                stream.rescale(target, minute, auto=True)
                self.note("004", stream, minute)
            wait = refusing if refusing is not None else minute + 1
            minute = ceil(wait / MINUTE_MS) * MINUTE_MS

    # -- 5.4 ------------------------------------------------------------------------------

    def records_put(self, ask):
        records = ask["records"]
        sizes = [len(b64decode(record["data"])) for record in records]
        no = {"4200"} if not records or not all(sizes) else set()
        if ask["stream_name"] not in self.streams:
            no.add("4301")
        if no:
            raise No(*no)
        stream = self.stream(ask)
        if sum(sizes) > RATES[stream.type][3]:
            raise No("4200", status=413)  # guess TOO_LARGE_STATUS
        told = self.told.get("records", [{}] * len(records)) if self.told else [{}] * len(records)
        blocked, results = set(), []
        for record, size, seen in zip(records, sizes, told, strict=True):
            results.append(self._put_one(stream, record, size, seen, blocked))
        failed = [r for r in results if "error_code" in r]
        if blocked:  # guess A_PUT_IS_REFUSED_WITH_ANY_RECORD
            stream.count(self.now, put_refused=1)
            self.limited(stream)
        else:
            stream.count(self.now, put_ok=1)
        return {"failed_record_count": len(failed), "records": results}

    def _put_one(self, stream, record, size, seen, blocked):
        try:
            partition = self._route(stream, record, seen, blocked)
        except No as no:
            return {"error_code": OneOf(*no.codes), "error_message": Is(bool, "a message")}
        number = partition.number
        fits = (
            partition.bytes_in.at_time(self.now) >= size
            and partition.records_in.at_time(self.now) >= 1
        )
        if number in blocked or not fits:  # guess THROTTLES_THE_REST
            blocked.add(number)
            message = Is(bool, "a message")
            return {"error_code": "DIS.4303", "error_message": message}
        partition.bytes_in.level -= size
        partition.records_in.level -= 1
        shown = record.get("timestamp", self.now)  # guess CLIENT_TIMESTAMP_IS_SHOWN
        key = None if "partition_id" in record else record.get("partition_key")
        partition.records.append((b64decode(record["data"]), key, shown))
        partition.arrivals.append(self.now)
        stream.count(self.now, number, put_bytes=size, put_records=1)
        return {"partition_id": shard(number), "sequence_number": str(partition.end - 1)}

    def _route(self, stream, record, seen, blocked):
        if "partition_id" in record:
            partition = self.partition(stream, record["partition_id"])
            status = stream.status(partition, self.now)
            if status == "DELETED":
                raise No("4302")  # guess DELETED_PARTITION_CODE
            if status == "EXPIRED":
                raise No("4319")  # guess EXPIRED_PARTITION_CODE
            return partition
        explicit = record.get("explicit_hash_key", "")
        if explicit.isdigit() and int(explicit) <= TOP:  # guess BAD_HASH_KEY_IS_IGNORED
            return stream.partitions[stream.holder_of(int(explicit))]
        if record.get("partition_key"):
            return stream.partitions[stream.holder_of(hash_of(record["partition_key"]))]
        # Anywhere: only the answer tells. One that was throttled tells nothing.
        if "partition_id" in seen:
            partition = stream.partitions[number_of(seen["partition_id"])]
            assert partition.deleted_ms is None, "a record went to a partition that is not ACTIVE"
            return partition
        return min(stream.active, key=lambda p: (p.number not in blocked, p.records_in.level))

    def records_get_cursor(self, ask):
        stream = self.stream(ask)
        partition = self.partition(stream, ask["partition-id"])
        if stream.status(partition, self.now) == "EXPIRED":
            raise No("4319")
        kind = ask.get("cursor-type", "AT_SEQUENCE_NUMBER")
        number = self._place(stream, partition, kind, ask)
        place = Place(stream.name, stream.id, ask["partition-id"], number, self.now)
        return {"partition_cursor": CursorAt(self.cursors, place, kind)}

    def _place(self, stream, partition, kind, ask):
        first, end = stream.first(partition, self.now), partition.end
        asked = int(ask.get("starting-sequence-number", 0))
        match kind:
            case "TRIM_HORIZON":
                return first
            case "LATEST":
                return end
            case "AT_SEQUENCE_NUMBER" if first <= asked <= end:
                return asked
            case "AFTER_SEQUENCE_NUMBER" if first - 1 <= asked <= end - 1:
                return asked + 1
            case "AT_TIMESTAMP":
                if "timestamp" not in ask:
                    raise No("4200")
                if first < end and ask["timestamp"] < partition.arrivals[first]:
                    raise No("4300")
                return max(first, partition.first(ask["timestamp"]))
        raise No("4224")

    def records_get(self, ask):
        place = self.cursors.get(ask["partition-cursor"])
        if place is None:
            raise No("4217")
        if self.now - place.issued_ms > CURSOR_MS:
            raise No("4225")
        stream, number = self.stream({"stream_name": place.stream_name}), place.number
        if stream.id is not place.stream_id:  # guess CURSOR_KNOWS_ITS_STREAM
            raise No("4226", "4302")
        partition = self.partition(stream, place.partition_id)
        if stream.status(partition, self.now) == "EXPIRED":
            raise No("4319")
        if not stream.first(partition, self.now) <= number <= partition.end:
            raise No("4226")
        if partition.bytes_out.at_time(self.now) <= 0:  # guess READ_THROTTLE_CODE
            stream.count(self.now, get_refused=1)
            self.limited(stream)
            raise No("4303")
        # guesses DEFAULT_FETCH_BYTES, MAX_FETCH_BYTES, MAX_GET_RECORDS
        room = min(ask.get("max_fetch_bytes", MIB), 5 * MIB)
        found = []
        for data, key, shown in partition.records[number : number + 10_000]:
            room -= len(data)
            if room < 0:
                break
            found.append((data, key, shown))
        taken = sum(len(data) for data, _, _ in found)
        partition.bytes_out.level -= taken
        stream.count(self.now, partition.number, get_bytes=taken, get_records=len(found))
        stream.count(self.now, get_ok=1)
        following = place._replace(number=number + len(found), issued_ms=self.now)
        return {
            "next_partition_cursor": CursorAt(self.cursors, following, "AT_SEQUENCE_NUMBER"),
            "records": [
                {
                    "sequence_number": str(number + index),
                    "data": b64encode(data).decode(),
                    "timestamp": shown,
                    "timestamp_type": "CreateTime",
                }
                | ({} if key is None else {"partition_key": key})
                for index, (data, key, shown) in enumerate(found)
            ],
        }

    def limited(self, stream):
        """Note a throttled stream, once an hour (guess TRAFFIC_LIMITED_EVERY_MS)."""
        if stream.limited_ms is None or self.now - stream.limited_ms >= HOUR_MS:
            stream.limited_ms = self.now
            self.note("003", stream)

    # -- 5.6 ------------------------------------------------------------------------------

    def metrics_of_stream(self, ask):
        no = self._wrong_period(ask)
        if ask["stream_name"] not in self.streams:
            no.add("4301")
        if no:
            raise No(*no)
        return self._series(ask, self.stream(ask), None)

    def metrics_of_partition(self, ask):
        no, number = self._wrong_period(ask), number_of(ask["partition_id"])
        if ask["stream_name"] not in self.streams:
            no.add("4301")
        elif number >= len(self.stream(ask).partitions):
            no.add("4302")
        if no:
            raise No(*no)
        return self._series(ask, self.stream(ask), number)

    def _wrong_period(self, ask):
        start, end = ask["start_time"], ask["end_time"]
        if start > end:
            return {"4203"}
        # guess OLDEST_PERIOD_GRACE_S
        old = start < self.now // 1000 - WEEK_S - 60
        return {"4204"} if old or end - start > WEEK_S else set()

    def _series(self, ask, stream, partition):
        labels = ask["label_list"].split(",") if "label_list" in ask else [ask["label"]]
        made = [self._one_series(ask, stream, partition, label) for label in labels]
        return {"metrics_list": made} if "label_list" in ask else {"metrics": made[0]}

    def _one_series(self, ask, stream, partition, label):
        first, last = ask["start_time"] // 60, ask["end_time"] // 60
        points = []
        for (minute, place), counts in sorted(stream.minutes.items(), key=lambda item: item[0][0]):
            if place != partition or not first <= minute <= last:
                continue
            if label.endswith("latency"):
                kind = label.split("_")[1]
                if f"{kind}_ok" not in counts and f"{kind}_refused" not in counts:
                    continue
                value = Is(lambda found: 0 <= found < 5_000, "a latency")
            else:
                value = counts.get(_COUNTER[label.partition("_per_")[0]], 0)
            points.append({"timestamp": minute * 60, "value": value})
        return {"label": label, "dataPoints": points}


def page(named, start, most):
    """A page of names in their order, and whether there are more."""
    names = sorted(name for name in named if start is None or name > start)
    return names[:most], len(names) > most


def shown_tags(tags):
    return Unordered({"key": key, "value": value} for key, value in tags.items())
