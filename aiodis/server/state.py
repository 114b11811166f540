"""What the handlers share: the streams with their logs, the catalog, the quotas.

Invariants: each stream of the catalog is in `State` with its log open, and what
follows from a stream's row is derived again whenever the row is replaced.
"""

import logging
import secrets
import shutil
import sqlite3
import string
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import cycle
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from aiodis.api.limits import limits_of
from aiodis.record import partition_name, partition_number
from aiodis.server import guesses
from aiodis.server.events import EventLog
from aiodis.server.faults import Faults
from aiodis.server.history import History
from aiodis.server.limits import PartitionLimits
from aiodis.server.quotas import AccountQuotas
from aiodis.server.refusal import Refusal
from aiodis.server.scaling import kind_of, next_allowed_ms, partitions_after
from aiodis.server.storage import LogDamagedError, RecordLog, holds_records
from aiodis.server.storage.catalog import (
    AppRow,
    Catalog,
    ChangeRow,
    PartitionRow,
    ScalingRow,
    StreamRow,
)
from aiodis.server.storage.events import EventStore
from aiodis.server.storage.log_places import LogPlace, LogPlaces
from aiodis.server.storage.minutes import MinuteTable
from aiodis.server.storage.remover import Remover
from aiodis.server.storage.transfer_tasks import TaskTable
from aiodis.server.traffic import Traffic
from aiodis.server.transitions import Transitions
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key

__all__ = ["State", "Stream", "new_id", "subfolders"]

logger = logging.getLogger(__name__)

_ALPHABET: Final = string.ascii_letters + string.digits
_CACHED_KEYS: Final = 16_384
_LONGEST_CACHED_KEY: Final = 256


def new_id() -> str:
    """Make an id in the service's form: 20 letters and digits (facts 8.12)."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(20))


class Stream:
    """A stream: its row in the catalog, its log, and what follows from its partitions."""

    def __init__(
        self, row: StreamRow, log: RecordLog, history: History, incarnation: str = ""
    ) -> None:
        self.log = log
        self.incarnation = incarnation
        self.rates = limits_of(row.stream_type)
        self.traffic = Traffic(partial(history.begin, row.stream_id))
        self._limits: dict[int, PartitionLimits] = {}
        self._expired_at_ms = 0
        self.calls_left = 0
        """How many calls see the change that is under way before it is done."""
        self.take(row)

    def take(self, row: StreamRow) -> None:
        """Take the row, and derive everything from it."""
        self.row = row
        self.retention_ms = row.retention_hours * 3_600_000
        self.active = [n for n, p in enumerate(row.partitions) if p.status == "ACTIVE"]
        self.hash_ranges = dict(zip(self.active, even_ranges(len(self.active)), strict=True))
        self.map = PartitionMap(self.hash_ranges.items())
        if not self.active:
            raise ValueError("a stream has an ACTIVE partition")
        self.turn_to(self.active[0])
        self._numbers = {str(n): n for n in range(len(row.partitions))}
        self._numbers |= {partition_name(n): n for n in range(len(row.partitions))}
        self._of_short_key = lru_cache(_CACHED_KEYS)(self._of_key)

    @property
    def status(self) -> str:
        """CREATING, or RUNNING, which a stream is while it is scaled as well."""
        change = self.row.change
        return "CREATING" if change is not None and change.target is None else "RUNNING"

    def turn_to(self, partition: int) -> None:
        """Let an ACTIVE partition be the next to get a record without a key."""
        turn = self.active.index(partition)
        self.in_turn = cycle(self.active[turn:] + self.active[:turn])  # guesses.SPREADS_IN_TURN

    def number(self, partition_id: str) -> int | None:
        """Give the partition of an id in either form; None without one."""
        found = self._numbers.get(partition_id)
        if found is None:
            try:
                found = partition_number(partition_id)
            except ValueError:
                return None
        return found if found < len(self.row.partitions) else None

    def partition_of_key(self, partition_key: str) -> int:
        """Give the partition that a key's records go to."""
        if len(partition_key) <= _LONGEST_CACHED_KEY:
            return self._of_short_key(partition_key)
        return self._of_key(partition_key)

    def _of_key(self, partition_key: str) -> int:
        return self.map.find(hash_key(partition_key))

    def partition(self, partition_id: str) -> int:
        """Give the partition of an id, whatever its status.

        Raises:
            Refusal: there is none.
        """
        number = self.number(partition_id)
        if number is None:
            raise Refusal("DIS.4302", self.row.stream_name, partition_id)
        return number

    def readable(self, partition_id: str) -> int:
        """Give the partition of an id, one that can be read.

        Raises:
            Refusal: there is none, or it is EXPIRED.
        """
        number = self.partition(partition_id)
        if self.row.partitions[number].status == "EXPIRED":
            raise Refusal("DIS.4319", self.row.stream_name, partition_name(number))
        return number

    def limits(self, partition: int, now_ms: int) -> PartitionLimits:
        """Give the partition's buckets; they begin full."""
        found = self._limits.get(partition)
        if found is None:
            found = self._limits[partition] = PartitionLimits(self.rates, now_ms)
        return found

    def visible_since(self, now_ms: int) -> int:
        """Tell the arrival time of the oldest record that retention leaves visible."""
        return now_ms - self.retention_ms

    def oldest(self, partition: int, now_ms: int) -> int:
        """Tell the first visible sequence of a partition; without a record, the next one."""
        return self.log.sequence_at(partition, self.visible_since(now_ms))

    def expire(self, now_ms: int) -> None:
        """Free the space of what is past retention, if it was not done just before."""
        if not 0 <= now_ms - self._expired_at_ms < guesses.EXPIRE_EVERY_MS:
            self._expired_at_ms = now_ms
            self.log.expire(self.visible_since(now_ms))


class State:
    """All that the embedded DIS holds. `folder` is None when it is all in memory."""

    def __init__(
        self,
        folder: Path | None,
        catalog: Catalog,
        *,
        limited: bool,
        faults: Faults | None = None,
        quotas: AccountQuotas | None = None,
        transitions: Transitions | None = None,
    ) -> None:
        self.catalog = catalog
        self.tasks = TaskTable(catalog.connection)
        self.places = LogPlaces(catalog.connection)
        self.limited = limited
        self.faults = faults or Faults()
        self.history = History(MinuteTable(catalog.connection))
        self.quotas = quotas or AccountQuotas()
        self.events = EventLog(EventStore(catalog.connection), new_id)
        self.auto_scaling: dict[str, Stream] = {}
        """The streams that want to be scaled on load, by their id."""
        self._transitions = transitions or Transitions()
        self._folder = folder
        self._remover = Remover()
        self._logs = folder / "streams" if folder else None
        self._by_name: dict[str, Stream] = {}
        self._by_id: dict[str, Stream] = {}

    def load(self, logs: Mapping[str, RecordLog] | None = None) -> list[str]:
        """Take the streams of the catalog that are not here yet; tell what was found amiss.

        Their logs are opened, but for those in `logs`, by stream id.

        Raises:
            LogDamagedError: a log cannot be trusted, or does not fit the catalog.
        """
        found, logs = [], logs or {}
        self.tasks.load()
        for row in self.catalog.streams():
            if row.stream_id in self._by_id:
                continue
            place = self.places.of(row.stream_id)
            folder = self.path_of(place)
            log = logs.get(row.stream_id) or RecordLog.open(folder, may_begin=folder is None)
            self._take(Stream(row, log, self.history, place.incarnation))
            if folder and log.partitions > len(row.partitions):
                last = f"partition {log.partitions - 1}, and the catalog has {len(row.partitions)}"
                raise LogDamagedError(folder, 0, f"there are records of {last}")
            if log.recovery.cut_bytes:
                found.append(f"stream {row.stream_name}: {log.recovery.summary}")
        return found

    def remove_rests(self) -> list[str]:
        """Remove the logs of no stream, and name them.

        They are what a making, a deletion or an exchange left that did not come to its
        end. One that holds records, and that the catalog does not know to be removed, is
        none of these: the catalog must have lost that stream.

        Raises:
            LogDamagedError: there is such a one.
        """
        if self._logs is None:
            return []
        removed, known = self.catalog.removed_streams(), set(self.log_folders())
        rests = [folder for folder in subfolders(self._logs) if folder not in known]
        for folder in rests:
            if folder.name not in removed and holds_records(folder):
                raise LogDamagedError(folder, 0, "there are records of no stream in the catalog")
        for folder in rests:
            shutil.rmtree(folder)
        for name in removed:
            self.catalog.forget_removed(name)
        return [
            f"removed {folder}, the rest of a stream that was being made or deleted"
            for folder in rests
        ]

    def successor(self, logs: Mapping[str, RecordLog], gone: Sequence[Path]) -> "State":
        """Give the state of a catalog whose rows were all replaced; this one is used no more.

        `gone` are the folders of the logs that there were.
        """
        fresh = State(
            self._folder,
            self.catalog,
            limited=self.limited,
            faults=self.faults,
            quotas=self.quotas,
            transitions=self._transitions,
        )
        fresh._remover = self._remover
        fresh.load(logs)
        self._remover.remove([stream.log for stream in self.streams()], gone)
        return fresh

    def close(self) -> None:
        """Close all logs and the catalog. Repeating it does nothing."""
        for stream in self._by_id.values():
            stream.log.close()
        try:
            if self._remover.wait():
                for name in self.catalog.removed_streams():
                    folder = self.path_of(LogPlace(name))
                    if folder and not folder.exists():
                        self.catalog.forget_removed(name)
            self.history.close()
        except sqlite3.OperationalError as exc:  # as of a full disk
            logger.error("the metrics of the last minutes are lost: %s", exc)  # noqa: TRY400
        finally:
            self.catalog.close()

    def streams(self) -> Iterator[Stream]:
        """Give all streams in no order."""
        yield from self._by_id.values()

    def find(self, name_or_id: str | None, now_ms: int) -> Stream:
        """Give a stream by its name, or else by its id, with its partitions' states as of now.

        Raises:
            Refusal: there is none.
        """
        stream = self.peek(name_or_id)
        if stream is None:
            raise Refusal("DIS.4301", name_or_id)
        if stream.row.change is not None:
            self._count_call(stream, now_ms)
        if len(stream.active) < len(stream.row.partitions):
            self._let_partitions_expire(stream, now_ms)
        return stream

    def find_running(self, name_or_id: str | None, now_ms: int) -> Stream:
        """Give a stream that can be worked with.

        Raises:
            Refusal: there is none, or it is still being made.
        """
        stream = self.find(name_or_id, now_ms)
        if stream.status != "RUNNING":
            raise Refusal("DIS.4205", stream.row.stream_name)
        return stream

    def settle(self, now_ms: int) -> None:
        """Let the changes come to their end whose time has come, as far as no call is missing."""
        for stream in tuple(self.streams()):
            if stream.row.change is not None and not stream.calls_left:
                self._settle(stream, stream.row.change, now_ms)

    def peek(self, name_or_id: str | None) -> Stream | None:
        """Give a stream by its name, or else by its id; None without one."""
        if name_or_id is None:
            return None
        return self._by_name.get(name_or_id) or self._by_id.get(name_or_id)

    def of_id(self, stream_id: str) -> Stream | None:
        """Give the stream of an id; None without one."""
        return self._by_id.get(stream_id)

    def app(self, app_name: str) -> AppRow:
        """Give an app.

        Raises:
            Refusal: there is none.
        """
        found = self.catalog.app(app_name)
        if found is None:
            raise Refusal("DIS.4332", app_name)
        return found

    def add_stream(self, row: StreamRow) -> None:
        """Make a stream and its log."""
        if not self._transitions.are_immediate:
            row = replace(row, change=ChangeRow(row.create_ms))
        folder = self.path_of(LogPlace(row.stream_id))
        log = RecordLog.open(folder)
        try:
            self.catalog.save_stream(row)
        except BaseException:
            log.close()
            _remove(folder)
            raise
        self._take(Stream(row, log, self.history))

    def change(self, stream: Stream, **fields: object) -> None:
        """Change fields of a stream's row: in the catalog first, then here."""
        row = replace(stream.row, **fields)
        self.catalog.save_stream(row)
        stream.take(row)
        self._note_auto_scaling(stream)

    def purge(self, stream: Stream) -> None:
        """Remove a stream's records, all at once; its sequences go on."""
        old, row = stream.log, stream.row
        old_folder = self.path_of(self.places.of(row.stream_id))
        place = LogPlace(f"{row.stream_id}.{new_id()}", stream.incarnation)
        folder = self.path_of(place)
        log = None
        if folder and old_folder:
            self.catalog.note_removed([folder.name])
        try:
            log = RecordLog.made_of(folder, old.emptied())
            with self.catalog.transaction():
                self.places.save(row.stream_id, place)
                if folder and old_folder:
                    self.catalog.note_removed([old_folder.name], instead_of=[folder.name])
        except BaseException:
            if log is not None:
                log.close()
            _remove(folder)
            raise
        log.appends = old.appends + 1
        stream.log = log
        self._remover.remove([old], [old_folder] if old_folder else [])

    def remove_stream(self, stream: Stream) -> None:
        """Remove a stream, its checkpoints and its records."""
        row = stream.row
        place = self.places.of(row.stream_id)
        folder = self.path_of(place)
        self.catalog.remove_stream(row.stream_id, place.folder)
        self.history.forget(row.stream_id)
        del self._by_name[row.stream_name], self._by_id[row.stream_id]
        self.auto_scaling.pop(row.stream_id, None)
        self.tasks.forget(row.stream_id)
        stream.log.close()
        _remove(folder)
        if folder is None or not folder.exists():
            self.catalog.forget_removed(place.folder)

    def used_partitions(self, stream_type: str) -> int:
        """Count the partitions that the account has of a type, with those being made."""
        return sum(
            max(len(stream.active), stream.row.change.target or 0)
            if stream.row.change
            else len(stream.active)
            for stream in self.streams()
            if stream.row.stream_type == stream_type
        )

    def check_quota(self, stream_type: str, added: int) -> None:
        """See that the account may have that many more partitions.

        Raises:
            Refusal: it may not.
        """
        used, quota = self.used_partitions(stream_type), self.quotas.partitions(stream_type)
        if self.limited and used + added > quota:
            detail = f"{stream_type} partitions: {used} used, {added} more asked, {quota} allowed"
            raise Refusal("DIS.4308", detail)

    def scaling_allowed_ms(
        self, stream: Stream, target: int, now_ms: int, *, is_auto: bool = False
    ) -> int:
        """Tell when the hourly limits let a stream be scaled so: now, or later."""
        if not self.limited:
            return now_ms
        kind = kind_of(ScalingRow(now_ms, len(stream.active), target, is_auto))
        return next_allowed_ms(stream.row.scalings, kind, now_ms)

    def scale(self, stream: Stream, target: int, now_ms: int, *, is_auto: bool = False) -> None:
        """Change the number of ACTIVE partitions to `target`, another one, or begin to do so."""
        change = ChangeRow(now_ms, target, is_auto)
        if self._transitions.are_immediate:
            self._scale(stream, change, now_ms)
        else:
            self.change(stream, change=change)
            stream.calls_left = self._transitions.after_calls

    def note_failed_scaling(self, stream: Stream, target: int, now_ms: int, why: str) -> None:
        """Record that the quota let no scaling on load be, once for all tries in a row."""
        row = ScalingRow(
            now_ms, len(stream.active), target, is_auto=True, is_done=False, message=why
        )
        last = stream.row.scalings[-1] if stream.row.scalings else None
        if last is None or last.is_done or (last.source, last.target) != (row.source, row.target):
            self.change(stream, scalings=_kept(stream.row.scalings, row))
            self.events.quota_insufficient(why, now_ms)
            self.events.auto_scaling_failed(stream.row, row.source, target, why, now_ms)

    def _take(self, stream: Stream) -> None:
        self._by_name[stream.row.stream_name] = self._by_id[stream.row.stream_id] = stream
        stream.calls_left = self._transitions.after_calls
        self._note_auto_scaling(stream)

    def _note_auto_scaling(self, stream: Stream) -> None:
        if stream.row.extra.get("auto_scale_enabled"):
            self.auto_scaling[stream.row.stream_id] = stream
        else:
            self.auto_scaling.pop(stream.row.stream_id, None)

    def _count_call(self, stream: Stream, now_ms: int) -> None:
        if stream.calls_left:
            stream.calls_left -= 1
        elif stream.row.change is not None:
            self._settle(stream, stream.row.change, now_ms)

    def _settle(self, stream: Stream, change: ChangeRow, now_ms: int) -> None:
        done_ms = change.since_ms + self._transitions.after_ms
        if now_ms < done_ms:
            return
        if change.target is None:
            self.change(stream, change=None)
        else:
            self._scale(stream, change, done_ms)

    def _scale(self, stream: Stream, change: ChangeRow, done_ms: int) -> None:
        assert change.target is not None
        source, target = len(stream.active), change.target
        scaling = ScalingRow(change.since_ms, source, target, change.is_auto)
        self.change(
            stream,
            partitions=partitions_after(stream.row.partitions, target, done_ms),
            scalings=_kept(stream.row.scalings, scaling),
            change=None,
            modified_ms=done_ms,
        )
        if change.is_auto:
            self.events.auto_scaled(stream.row, source, target, done_ms)

    @property
    def is_on_disk(self) -> bool:
        """Whether there are folders at all."""
        return self._logs is not None

    def log_folders(self) -> list[Path]:
        """Give the folders of all logs; none in memory."""
        places = (self.places.of(stream_id) for stream_id in self._by_id)
        return [folder for place in places if (folder := self.path_of(place))]

    def path_of(self, place: LogPlace) -> Path | None:
        """Give the folder of a log; None in memory."""
        return self._logs / place.folder if self._logs else None

    def _let_partitions_expire(self, stream: Stream, now_ms: int) -> None:
        partitions = tuple(
            PartitionRow("EXPIRED", p.deleted_ms)
            if p.status == "DELETED"
            and now_ms >= guesses.deleted_partition_expires_ms(p.deleted_ms, stream.retention_ms)
            else p
            for p in stream.row.partitions
        )
        if partitions != stream.row.partitions:
            self.change(stream, partitions=partitions)


def _kept(scalings: tuple[ScalingRow, ...], last: ScalingRow) -> tuple[ScalingRow, ...]:
    return (*scalings, last)[-guesses.KEPT_SCALINGS :]


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted; none where it is not there."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
