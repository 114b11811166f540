"""A DIS of one stream inside the test's loop, without sockets: it stands in for an `Exchange`.

Time is the loop's, so that looptime moves it. Faults are functions that the
test puts in front of a call.
"""

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from urllib.parse import parse_qs

import msgspec
import orjson
import pybase64

from aiodis.api.apps import App
from aiodis.api.checkpoints import Checkpoint
from aiodis.api.limits import limits_of
from aiodis.api.records import Cursor
from aiodis.api.streams import Partition, StreamDescription
from aiodis.errors import ConnectError, DISError, RequestTimeoutError, error_class
from aiodis.record import partition_name, partition_number
from aiodis.server.limits import PartitionLimits
from aiodis.transport.exchange import Exchanged
from aiodis.transport.session import Answer
from aiodis.wire.codec import GetReply
from aiodis.wire.forms import codec_for
from aiodis.wire.message import Empty
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key

__all__ = ["ScriptedService", "refusal"]


def refusal(code: str, status: int = 400, **marks: object) -> DISError:
    """Make a service's error."""
    error = error_class(status, code)(f"scripted {code}", status=status, code=code)
    for name, value in marks.items():
        setattr(error, name, value)
    return error


@dataclasses.dataclass
class Stored:
    data: bytes
    key: str | None
    sequence: int
    at: int = 0


class ScriptedService:
    """Answers what the producer and the consumer call.

    `put_faults` are asked in turn, one a put: each gets the request's entries and
    gives an error to raise before or after the effect, or codes by index for a
    partial failure. With `limited`, a partition takes what the stream's type allows: its
    bucket holds a second's worth, and once a record of a request is throttled, so are the
    partition's later ones in it.
    """

    def __init__(
        self, partitions: int = 2, *, stream_type: str = "COMMON", limited: bool = False
    ) -> None:
        self.stream_type = stream_type
        self.limited = limited
        self._limits: dict[int, PartitionLimits] = {}
        self.status = dict.fromkeys(range(partitions), "ACTIVE")
        self.stored: dict[int, list[Stored]] = defaultdict(list)
        self.oldest: dict[int, int] = defaultdict(int)
        self.put_faults: list[Callable[[list[dict]], object]] = []
        self.get_faults: list[BaseException] = []
        self.commit_faults: list[BaseException] = []
        self.latency = 0.01
        self.puts: list[list[dict]] = []
        self.cursors: list[tuple[str, int]] = []
        self.checkpoints: dict[str, int] = {}
        self.commits: list[tuple[str, int]] = []
        self.apps: set[str] = set()
        self.in_flight: dict[int, int] = defaultdict(int)
        self.most_in_flight: dict[int, int] = defaultdict(int)
        self.requests_in_flight = self.most_requests_in_flight = 0
        self.describes = self.writes = 0
        self.gone = False
        self.down: str | None = None
        """Which outage there is: "refused" connections, or "silent" ones that meet no answer."""
        self.request_timeout_s = 30.0
        self.clock_skew_s = 0.0
        """How far the service's clock is ahead of the client's."""
        self.overhead = 0.0
        """What it counts of a record towards `max_fetch_bytes` beside the data, as a share."""
        self.written_ms = 1
        """The timestamp of what is read."""

    # What Exchange offers

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def service_time(self) -> float:
        return self._now()

    async def call(self, operation, request):
        await self._travel(None)
        if self.gone:
            raise refusal("DIS.4301")
        return getattr(self, operation.name.replace(".", "_"))(request)

    async def send(
        self, operation, *, query="", body=None, deadline=None, content_type="application/json", **_
    ):
        if operation.name == "records.put":
            reply = await self._put(orjson.loads(body), deadline)
        else:
            await self._travel(deadline)
            reply = self._get({k: v[0] for k, v in parse_qs(query).items()})
            codec = codec_for(content_type)
            got = msgspec.convert(reply, GetReply, strict=False)
            headers = {"Content-Type": codec.content_type}
            return Exchanged(Answer(200, headers, codec.encode_get_reply(got)), 1, ambiguous=False)
        return Exchanged(Answer(200, {}, orjson.dumps(reply)), 1, ambiguous=False)

    # Rows

    def streams_describe(self, request):
        self.describes += 1
        active = [n for n, status in self.status.items() if status == "ACTIVE"]
        spans = dict(zip(active, even_ranges(len(active)), strict=True)) if active else {}
        return StreamDescription(
            stream_name=request.stream_name,
            status="RUNNING",
            stream_type=self.stream_type,
            partitions=[
                Partition(
                    status=status,
                    partition_id=partition_name(n),
                    hash_range="[{} : {}]".format(*spans[n]) if n in spans else None,
                    sequence_number_range=f"[{self.oldest[n]} : {self.next(n)}]",
                )
                for n, status in self.status.items()
            ],
        )

    def apps_describe(self, request):
        if request.app_name not in self.apps:
            raise refusal("DIS.4332")
        return App(app_name=request.app_name)

    def apps_create(self, request):
        if request.app_name in self.apps:
            raise refusal("DIS.4330")
        self.apps.add(request.app_name)
        return Empty()

    def checkpoints_get(self, request):
        return Checkpoint(sequence_number=self.checkpoints.get(request.partition_id, -1))

    def checkpoints_commit(self, request):
        if self.commit_faults:
            raise self.commit_faults.pop(0)
        number = int(request.sequence_number)
        self.checkpoints[request.partition_id] = number
        self.commits.append((request.partition_id, number))
        return Empty()

    def records_get_cursor(self, request):
        n = partition_number(request.partition_id)
        if self.status[n] == "EXPIRED":
            raise refusal("DIS.4319")
        position = int(request.starting_sequence_number)
        if not self.oldest[n] <= position <= self.next(n):
            raise refusal("DIS.4224")
        self.cursors.append((request.partition_id, position))
        return Cursor(partition_cursor=self._cursor(n, position))

    # Records

    def next(self, partition: int) -> int:
        return self.oldest[partition] + len(self.stored[partition])

    def add(self, partition: int, *data: bytes) -> None:
        for item in data:
            self.stored[partition].append(Stored(item, None, self.next(partition)))

    def forget(self) -> None:
        """Drop what was put so far, as if its retention were over."""
        for n, stored in self.stored.items():
            self.oldest[n] += len(stored)
            stored.clear()
        self.puts.clear()

    def all_data(self) -> list[bytes]:
        return [record.data for stored in self.stored.values() for record in stored]

    def _now(self) -> float:
        return asyncio.get_running_loop().time() + self.clock_skew_s

    def _cursor(self, partition: int, position: int) -> str:
        return f"{partition}:{position}:{self._now()}"

    def _get(self, query):
        if self.get_faults:
            raise self.get_faults.pop(0)
        partition, position, issued = query["partition-cursor"].split(":")
        n, at = int(partition), int(position)
        if self.gone:
            raise refusal("DIS.4301")
        if self.status[n] == "EXPIRED":
            raise refusal("DIS.4319")
        if self._now() - float(issued) > 300:
            raise refusal("DIS.4225")
        if not self.oldest[n] <= at <= self.next(n):
            raise refusal("DIS.4226")
        records, size = [], 0
        for stored in self.stored[n][at - self.oldest[n] :]:
            size += len(stored.data) * (1 + self.overhead)
            if size > int(query["max_fetch_bytes"]):
                break
            records.append(
                {
                    "sequence_number": str(stored.sequence),
                    "data": pybase64.b64encode(stored.data).decode(),
                    "timestamp": self.written_ms,
                    **({"partition_key": stored.key} if stored.key else {}),
                }
            )
        return {
            "records": records,
            "next_partition_cursor": self._cursor(n, at + len(records)),
        }

    async def _travel(self, deadline) -> None:
        """Take the time of the way, and fail as the outage has it."""
        await asyncio.sleep(self.latency)
        if self.down == "refused":
            raise ConnectError("refused")
        if self.down == "silent":
            left = (
                float("inf") if deadline is None else deadline - asyncio.get_running_loop().time()
            )
            if left > 0:
                await asyncio.sleep(min(left, self.request_timeout_s))
            raise RequestTimeoutError("no complete answer", ambiguous=left > 0)

    async def _put(self, body, deadline):
        entries = body["records"]
        if self.down is None:
            self.puts.append(entries)
        touched = {self._route(entry) for entry in entries}
        self.requests_in_flight += 1
        self.most_requests_in_flight = max(self.most_requests_in_flight, self.requests_in_flight)
        for n in touched:
            self.in_flight[n] += 1
            self.most_in_flight[n] = max(self.most_in_flight[n], self.in_flight[n])
        try:
            await self._travel(deadline)
            return self._answer_put(entries)
        finally:
            self.requests_in_flight -= 1
            for n in touched:
                self.in_flight[n] -= 1

    def _answer_put(self, entries):
        if self.gone:
            raise refusal("DIS.4301")
        fault = self.put_faults.pop(0)(entries) if self.put_faults else None
        if isinstance(fault, BaseException) and not getattr(fault, "carried_out", False):
            raise fault
        codes = fault if isinstance(fault, dict) else self._throttled(entries)
        results = [self._store(entry, codes.get(i)) for i, entry in enumerate(entries)]
        if isinstance(fault, BaseException):
            raise fault
        failed = sum("error_code" in result for result in results)
        return {"failed_record_count": failed, "records": results}

    def _throttled(self, entries) -> dict[int, str]:
        """Tell the records that are over a partition's limits."""
        if not self.limited:
            return {}
        now_ms = self._now() * 1000
        groups: dict[int, list[int]] = defaultdict(list)
        for index, entry in enumerate(entries):
            groups[self._route(entry)].append(index)
        codes = {}
        for n, indexes in groups.items():
            if n not in self._limits:
                self._limits[n] = PartitionLimits(limits_of(self.stream_type), now_ms)
            sizes = [len(entries[index]["data"]) * 3 // 4 for index in indexes]
            admitted = self._limits[n].admit(sizes, now_ms)
            codes |= dict.fromkeys(indexes[admitted:], "DIS.4303")
        return codes

    def _store(self, entry, code):
        n = self._route(entry)
        if code is None and self.status.get(n) != "ACTIVE":
            code = "DIS.4302"
        if code is not None:
            return {"error_code": code, "error_message": "scripted"}
        sequence = self.next(n)
        data = pybase64.b64decode(entry["data"])
        self.writes += 1
        self.stored[n].append(Stored(data, entry.get("partition_key"), sequence, self.writes))
        return {"partition_id": partition_name(n), "sequence_number": str(sequence)}

    def _route(self, entry) -> int:
        if "partition_id" in entry:
            return partition_number(entry["partition_id"])
        spans = _map(tuple(n for n, status in self.status.items() if status == "ACTIVE"))
        if "explicit_hash_key" in entry:
            return spans.find(int(entry["explicit_hash_key"]))
        return spans.find(hash_key(entry["partition_key"]))


@cache
def _map(active: tuple[int, ...]) -> PartitionMap:
    return PartitionMap(zip(active, even_ranges(len(active)), strict=True))
