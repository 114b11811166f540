"""The embedded DIS inside the test's loop, without sockets: each line stands in for an `Exchange`.

Time is the loop's, so that looptime moves the server as well.
"""

import asyncio
import weakref
from urllib.parse import parse_qs

from aiodis.api import Apps, Groups, Records, Streams
from aiodis.errors import ConnectError, RequestTimeoutError, error_class
from aiodis.server.engine import Engine
from aiodis.server.refusal import Refusal
from aiodis.transport.exchange import Exchanged
from aiodis.transport.session import Answer
from aiodis.wire.codec import PutBody, PutEntry

__all__ = ["APP", "STREAM", "EngineService", "Line"]

START_MS = 1_700_000_000_000
STREAM, APP = "events", "billing"


class EngineService:
    """One stream and one app. `calls` holds all that arrived: who, which operation, when."""

    def __init__(self, partitions: int = 4) -> None:
        self.engine = Engine.open(None, limited=False)
        weakref.finalize(self, self.engine.close)  # Python 3.13 minds an open database
        self.calls: list[tuple[str, str, float]] = []
        self.commits: list[tuple[str, str, int]] = []
        self._do(Streams.create.build(stream_name=STREAM, partition_count=partitions))
        self._do(Apps.create.build(app_name=APP))

    def line(self, name: str = "line") -> "Line":
        """Give a member its own way here, which can be cut by itself."""
        return Line(self, name)

    def put(self, partition: int, *data: bytes) -> None:
        entries = [PutEntry.of(item, None, str(partition), None) for item in data]
        self.carry_out(Records.put, PutBody(stream_name=STREAM, records=entries))

    def scale(self, count: int) -> None:
        self._do(Streams.scale.build(stream_name=STREAM, target_partition_count=count))

    def delete_app(self) -> None:
        """Delete the app when its group has no members: all have to have left, or are made to."""
        for client_id in list(self.members()):
            row = Groups.leave
            self.carry_out(row, row.build(app_name=APP, client_id=client_id))
        self._do(Apps.delete.build(app_name=APP))

    def members(self):
        """Give the members that the service knows."""
        memberships = self.engine._handlers["groups.join"].__self__._memberships
        return memberships.group(APP, self.now_ms()).members

    def partitions(self, *statuses: str) -> list[int]:
        """Give the numbers of the stream's partitions in any of these states."""
        reply = self._do(Streams.describe.build(stream_name=STREAM))
        return [n for n, p in enumerate(reply.partitions) if p.status in statuses]

    def of(self, name: str, operation: str) -> list[float]:
        """Tell when a line's calls of an operation arrived."""
        return [at for who, what, at in self.calls if (who, what) == (name, operation)]

    @staticmethod
    def now_ms() -> int:
        return START_MS + round(asyncio.get_running_loop().time() * 1000)

    def carry_out(self, operation, request):
        try:
            return self.engine.handle(operation, request, self.now_ms())
        except Refusal as no:
            kind = error_class(no.status, no.code)
            raise kind(no.message, status=no.status, code=no.code) from None

    def _do(self, request):
        rows = {row.request: row for chapter in (Streams, Apps) for row in chapter.operations()}
        return self.carry_out(rows[type(request)], request)


class Line:
    """Carries calls to the service, unless it is `down`: "refused" or "silent".

    `deaf` loses the answers instead: what was asked is carried out.
    """

    def __init__(self, service: EngineService, name: str) -> None:
        self.service, self.name = service, name
        self.latency = 0.01
        self.down: str | None = None
        self.deaf = False

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def service_time(self) -> float:
        return self.service.now_ms() / 1000

    async def call(self, operation, request):
        await self._travel()
        self.service.calls.append((self.name, operation.name, asyncio.get_running_loop().time()))
        reply = self.service.carry_out(operation, request)
        if operation.name == "checkpoints.commit":
            number = int(request.sequence_number)
            self.service.commits.append((self.name, request.partition_id, number))
        if self.deaf:
            await self._silence()
        return reply

    async def send(self, operation, *, query="", body=None, deadline=None, **_):
        await self._travel()
        asked = operation.read({}, {k: v[0] for k, v in parse_qs(query).items()}, body)
        answer = self.service.carry_out(operation, asked).encode()
        headers = {"Content-Type": "application/json"}
        return Exchanged(Answer(200, headers, answer), 1, ambiguous=False)

    async def _travel(self) -> None:
        await asyncio.sleep(self.latency)
        if self.down == "refused":
            raise ConnectError("refused")
        if self.down == "silent":
            await self._silence()

    @staticmethod
    async def _silence() -> None:
        await asyncio.sleep(30)
        raise RequestTimeoutError("no complete answer")
