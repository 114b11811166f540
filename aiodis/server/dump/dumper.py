"""The duty that carries records into buckets, one delivery an interval.

A delivery at a time takes what arrived before that time. It reads a part, writes
the part's files, and keeps the position, one after the other. A crash between the
last two is met at the next start: the part is delivered again at the same time,
into the same files.
"""

import logging
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from aiodis.api.destinations import ObsDestination
from aiodis.server import guesses
from aiodis.server.dump.buckets import Buckets
from aiodis.server.dump.layout import files_of
from aiodis.server.state import State, Stream
from aiodis.server.storage import Slice
from aiodis.server.storage.transfer_tasks import PartitionDump, TransferTaskRow

__all__ = ["Dumper"]

_RETRY_MS: Final = 60_000

logger = logging.getLogger(__name__)


class _Data(msgspec.Struct):
    data: bytes


_DECODER: Final = msgspec.json.Decoder(list[_Data])


@dataclass(slots=True)
class _Known:
    """When a task is due, as found for its row and for what its stream held by then."""

    row: TransferTaskRow
    appends: int
    due_ms: int | None


class Dumper:
    """Delivers the tasks that are simulated. It is due when there is something to deliver."""

    def __init__(self, state: State, buckets: Buckets) -> None:
        self._state, self._buckets = state, buckets
        self._known: dict[str, _Known] = {}
        self._not_before: dict[str, int] = {}

    def __repr__(self) -> str:
        return "Dumper()"

    def due_ms(self) -> int | None:
        """Tell when the next delivery is due; None while nothing waits for one."""
        dues = [
            max(due, self._not_before.get(row.task_id, due))
            for row in self._state.tasks
            if (due := self._due(row)) is not None
        ]
        return min(dues, default=None)

    def run(self, at_ms: int) -> None:
        """Deliver what is due by `at_ms`. A task that cannot is ABNORMAL, and tried again."""
        for row in list(self._state.tasks):
            if self._not_before.get(row.task_id, at_ms) <= at_ms:
                self._catch_up(row, at_ms)
        self._forget_the_gone()

    def _catch_up(self, row: TransferTaskRow, now_ms: int) -> None:
        """Make a task's deliveries, each as of the time it was due, however late it is."""
        while (due := self._due(row)) is not None and due <= now_ms:
            try:
                row = self._deliver(row, due)
            except OSError:
                logger.exception("dump task %s failed; tried again in a minute", row.task_name)
                self._not_before[row.task_id] = now_ms + _RETRY_MS
                if reached := self._state.tasks.get(row.task_id):  # some parts may be done
                    self._save(reached, failing=True)
                return
            self._not_before.pop(row.task_id, None)
            if row.failing:
                row = self._save(row, failing=False)

    def _due(self, row: TransferTaskRow) -> int | None:
        stream = self._state.peek(row.stream_id)
        if stream is None or row.paused or not row.is_simulated:
            return None
        known = self._known.get(row.task_id)
        # More records change nothing once something waits: they are no older than that.
        if (
            known is None
            or known.row is not row
            or (known.due_ms is None and known.appends != stream.log.appends)
        ):
            known = _Known(row, stream.log.appends, _next_delivery_ms(row, stream))
            self._known[row.task_id] = known
        return known.due_ms

    def _forget_the_gone(self) -> None:
        for task_id in [found for found in self._known if self._state.tasks.get(found) is None]:
            del self._known[task_id]
            self._not_before.pop(task_id, None)

    def _save(self, row: TransferTaskRow, **fields: object) -> TransferTaskRow:
        changed = replace(row, **fields)
        self._state.tasks.save(changed)
        return changed

    def _deliver(self, row: TransferTaskRow, at_ms: int) -> TransferTaskRow:
        stream = self._state.find(row.stream_id, at_ms)
        destination = ObsDestination.model_validate({"task_name": row.task_name, **row.descriptor})
        for partition in range(len(stream.row.partitions)):
            dump = row.partitions.get(partition, PartitionDump())
            end = stream.log.sequence_at(partition, at_ms)
            if dump.next_sequence >= end:
                continue
            first = max(dump.next_sequence, stream.oldest(partition, at_ms))
            # What retention took before it was delivered: guesses.EXPIRED_RECORDS_ARE_DISCARDED.
            gone = first - dump.next_sequence
            dump = PartitionDump(first, dump.last_ms, dump.discarded + gone)
            while dump.next_sequence < end:
                part = stream.log.read(
                    partition,
                    dump.next_sequence,
                    max_bytes=guesses.DUMP_FILE_BYTES,
                    max_records=end - dump.next_sequence,
                )
                self._write(destination, row.task_id, partition, part, at_ms)
                dump = PartitionDump(part.next_sequence, at_ms, dump.discarded)
                row = self._save(row, partitions={**row.partitions, partition: dump})
            if gone and first == end:
                row = self._save(row, partitions={**row.partitions, partition: dump})
        return row

    def _write(
        self, destination: ObsDestination, task_id: str, partition: int, part: Slice, at_ms: int
    ) -> None:
        records = [found.data for found in _DECODER.decode(b"[%b]" % part.payload)]
        first = part.next_sequence - part.count
        files = files_of(destination, task_id, partition, first, records, at_ms)
        for name, content in files.items():
            self._buckets.write(destination.obs_bucket_path, name, content)


def _next_delivery_ms(row: TransferTaskRow, stream: Stream) -> int | None:
    """Tell the first time of the task's grid after the arrival of a record that waits."""
    arrivals = [
        arrival
        for partition in range(len(stream.row.partitions))
        if (arrival := stream.log.arrival_of(partition, _position(row, partition))) is not None
    ]
    if not arrivals:
        return None
    interval_ms = row.descriptor["deliver_time_interval"] * 1000
    periods = max(1, (min(arrivals) - row.since_ms) // interval_ms + 1)
    return int(row.since_ms + periods * interval_ms)


def _position(row: TransferTaskRow, partition: int) -> int:
    # A partition that came later is delivered from its first record on.
    return row.partitions.get(partition, PartitionDump()).next_sequence
