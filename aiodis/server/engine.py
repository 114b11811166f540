"""The service as plain code: a request and the time in, a reply or a refusal out.

No sockets, no tasks, no clock of its own. A request is carried out as a whole
before the next one, so the order of calls is the order of effects.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from aiodis.api import OPERATIONS
from aiodis.record import ReceivedRecord, partition_name
from aiodis.server.accounts import Accounts
from aiodis.server.agenda import Agenda, Duty
from aiodis.server.auto_scale import AutoScaler
from aiodis.server.content import Content, Exchange, content_of
from aiodis.server.dump.buckets import Buckets, MemoryBuckets
from aiodis.server.dump.dumper import Dumper
from aiodis.server.fault import Target
from aiodis.server.faults import Faults
from aiodis.server.handlers.apps import AppHandlers
from aiodis.server.handlers.checkpoints import CheckpointHandlers
from aiodis.server.handlers.events import EventHandlers
from aiodis.server.handlers.groups import GroupHandlers
from aiodis.server.handlers.metrics import MetricHandlers
from aiodis.server.handlers.policies import PolicyHandlers
from aiodis.server.handlers.quotas import QuotaHandlers
from aiodis.server.handlers.records import RecordHandlers, Touched
from aiodis.server.handlers.streams import StreamHandlers
from aiodis.server.handlers.tags import TagHandlers
from aiodis.server.handlers.transfer_tasks import TransferTaskHandlers
from aiodis.server.memberships import Memberships
from aiodis.server.overview import Overview, overview_of
from aiodis.server.quotas import AccountQuotas
from aiodis.server.retention import Retention
from aiodis.server.state import State, subfolders
from aiodis.server.storage import holds_records
from aiodis.server.storage.catalog import Catalog
from aiodis.server.storage.policies import PolicyTable
from aiodis.server.storage.store import Store
from aiodis.server.target import target_of
from aiodis.server.transitions import Transitions
from aiodis.wire.codec import PutBody
from aiodis.wire.codec_json import decode_fragments
from aiodis.wire.message import Message
from aiodis.wire.operation import Encodable, Operation

__all__ = ["Engine"]


class Engine:
    """Carries out operations on the streams, apps and checkpoints of one project.

    The projects of a server share its `agenda`, so that what comes with time comes in
    the order of its times.
    """

    def __init__(
        self,
        state: State,
        buckets: Buckets,
        accounts: Accounts | None = None,
        agenda: Agenda | None = None,
    ) -> None:
        self._buckets, self._accounts = buckets, accounts
        self.agenda = Agenda() if agenda is None else agenda
        self._duties: list[Duty] = []
        self._go_on_with(state)
        self.recovery: tuple[str, ...] = ()
        """What the start found that was not as a stop leaves it."""

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        limited: bool = True,
        faults: Faults | None = None,
        accounts: Accounts | None = None,
        agenda: Agenda | None = None,
        quotas: AccountQuotas | None = None,
        transitions: Transitions | None = None,
        buckets: Buckets | None = None,
    ) -> Self:
        """Open the data of a folder, made if need be; None keeps all in memory.

        `limited=False` lifts the traffic limits, the quotas and the hourly limits of
        scaling. `buckets` are where dump tasks deliver to; without them, buckets in
        memory. The caller sees to it that nobody else has the folder open.

        Raises:
            CatalogDamagedError: the catalog cannot be read.
            LogDamagedError: a log cannot be trusted.
        """
        logs = None if folder is None else folder / "streams"
        catalog = Catalog.open(
            folder and folder / "catalog.db",
            may_begin=logs is None or not any(map(holds_records, subfolders(logs))),
        )
        state = State(
            folder,
            catalog,
            limited=limited,
            faults=faults,
            quotas=quotas,
            transitions=transitions,
        )
        engine = cls(state, buckets or MemoryBuckets(), accounts, agenda)
        try:
            engine.recovery = (*state.load(), *state.remove_rests())
        except BaseException:
            state.close()
            raise
        return engine

    def close(self) -> None:
        """Give all files back. Repeating it does nothing."""
        while self._duties:
            self.agenda.remove(self._duties.pop())
        self._state.close()

    def handles(self, operation: Operation[..., Any]) -> bool:
        """Say whether there is a handler of the row's name."""
        return operation.name in self._handlers

    def handle(
        self, operation: Operation[..., Any], request: Message | PutBody, now_ms: int
    ) -> Encodable:
        """Carry out one operation. `records.put` takes a `PutBody`, the others their model.

        Raises:
            Refusal: the service says no; nothing was changed.
        """
        reply: Encodable = self._handlers[operation.name](request, now_ms)
        return reply

    def records(self, stream_name: str, now_ms: int) -> list[ReceivedRecord]:
        """Give all records of a stream, partition by partition; no limit and no fault counts.

        Raises:
            Refusal: there is no such stream.
        """
        stream = self._state.find(stream_name, now_ms)
        found: list[ReceivedRecord] = []
        for number in range(len(stream.row.partitions)):
            first, after = stream.oldest(number, now_ms), stream.log.next_sequence(number)
            read = stream.log.read(number, first, max_bytes=sys.maxsize, max_records=after - first)
            records = decode_fragments(read.payload)
            for record in records:
                record.partition_id = partition_name(number)
            found += records
        return found

    def took(self, operation: Operation[..., Any], seconds: float) -> None:
        """Note how long the request took that was just carried out; only records' requests count.

        The one time that is not told: it is measured, whatever the clock says.
        """
        if operation.name == "records.put":
            self._records.counted.put_us += round(seconds * 1e6)
        elif operation.name == "records.get":
            self._records.counted.get_us += round(seconds * 1e6)

    @property
    def touched(self) -> Touched | None:
        """What the last put or get that was carried out came to."""
        return self._records.touched

    def overview(self, project_id: str, now_ms: int) -> Overview:
        """Look at all that the project holds."""
        return overview_of(project_id, self._state, self._memberships, now_ms)

    @property
    def is_fresh(self) -> bool:
        """Whether there are neither streams nor apps."""
        return not (any(self._state.streams()) or self._state.catalog.apps())

    def has_app(self, app_name: str) -> bool:
        """Say whether there is an app of that name."""
        return self._state.catalog.app(app_name) is not None

    def content(self) -> Content:
        """Take all that the project holds."""
        return content_of(self._state)

    @contextmanager
    def exchange(self, content: Content, *, keep: bool = False) -> Iterator[Callable[[], None]]:
        """Write a content that takes the place of all there is, or (`keep`) is added to it.

        Gives the function that lets it be; without a call of it, nothing changes.

        Raises:
            StateError: it cannot be.
        """
        with Exchange(self._state, content, keep=keep) as exchange:

            def commit() -> None:
                state = exchange.commit()
                if state is not self._state:
                    self._go_on_with(state)

            yield commit

    def purge(self, name_or_id: str, now_ms: int) -> None:
        """Remove the records of a stream; its sequences go on.

        Raises:
            Refusal: there is no such stream.
        """
        self._state.purge(self._state.find(name_or_id, now_ms))

    def stores_of(self, operation: Operation[..., Any], request: Message | PutBody) -> list[Store]:
        """Tell what a request that was just carried out may have written to, as files."""
        if isinstance(request, PutBody):
            stream = self._state.peek(request.stream_name) or self._state.peek(request.stream_id)
            return [] if stream is None else [stream.log]
        if operation.name == "records.get" or not self._state.catalog.is_dirty:
            return []
        return [self._state.catalog]

    def stores(self) -> list[Store]:
        """Give all that is kept in files: the catalog first, then each stream's log."""
        return [self._state.catalog, *(stream.log for stream in self._state.streams())]

    def target(self, request: Message | PutBody) -> Target:
        """Tell which stream and partitions a request is for."""
        return target_of(self._state, request)

    def name_of_stream(self, stream_id: str) -> str | None:
        """Give the name of the stream of an id, or None."""
        stream = self._state.peek(stream_id)
        return None if stream is None else stream.row.stream_name

    def name_of_stream_id(self, stream_id: str) -> str | None:
        """Give the name of the stream of an id, or None; a name is none."""
        stream = self._state.of_id(stream_id)
        return None if stream is None else stream.row.stream_name

    def lets(self, stream_id: str, principals: Sequence[str], action_types: Sequence[str]) -> bool:
        """Say whether a stream's policies let one of the principals do one of the actions."""
        return any(
            row.principal in principals and row.action_type in action_types
            for row in self._policies.of_stream(stream_id)
        )

    def has_stream(self, name: object) -> bool:
        """Say whether there is a stream of that name or id."""
        return isinstance(name, str) and self._state.peek(name) is not None

    def _go_on_with(self, state: State) -> None:
        """Take a state, and forget all that hung on the one before."""
        self._state = state
        self._policies = PolicyTable(state.catalog)
        for duty in self._duties:
            self.agenda.remove(duty)
        self._duties = [
            state.history,
            AutoScaler(state),
            Retention(state),
            Dumper(state, self._buckets),
        ]
        for duty in self._duties:
            self.agenda.add(duty)
        memberships = self._memberships = Memberships(state)
        self._records = RecordHandlers(state)
        chapters = {
            "streams": StreamHandlers(state),
            "policies": PolicyHandlers(state, self._policies, self._accounts),
            "apps": AppHandlers(state, memberships),
            "checkpoints": CheckpointHandlers(state, memberships),
            "records": self._records,
            "groups": GroupHandlers(state, memberships),
            "metrics": MetricHandlers(state),
            "tags": TagHandlers(state),
            "quotas": QuotaHandlers(state),
            "events": EventHandlers(state),
            "transfer_tasks": TransferTaskHandlers(state, self._buckets),
        }
        self._handlers = {}
        for operation in OPERATIONS:
            chapter, _, name = operation.name.partition(".")
            if handler := getattr(chapters.get(chapter), name, None):
                self._handlers[operation.name] = handler
