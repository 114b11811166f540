"""What a project holds, at one glance, for the admin page and the metrics. Changes nothing."""

from dataclasses import dataclass

from aiodis.record import partition_name
from aiodis.server.memberships import Memberships
from aiodis.server.state import State, Stream
from aiodis.server.traffic import MINUTE_MS, Flow

__all__ = ["AppView", "Overview", "PartitionView", "StreamView", "overview_of"]


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition: its visible sequences, `[oldest, following)`, and its flow in a minute."""

    name: str
    status: str
    oldest: int
    following: int
    flow: Flow


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream and its partitions."""

    name: str
    stream_id: str
    status: str
    stream_type: str
    retention_hours: int
    created_ms: int
    log_bytes: int
    partitions: tuple[PartitionView, ...]


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """What an app committed in a partition, and the sequence that its next record will get."""

    stream: str
    partition: str
    sequence: int
    following: int


@dataclass(frozen=True, slots=True)
class AppView:
    """An app, its checkpoints, and its group."""

    name: str
    checkpoints: tuple[CheckpointView, ...]
    generation: int
    members: tuple[tuple[str, tuple[str, ...]], ...]
    """Each with its partitions, `stream/partition`."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All of one project. Flows are those of the last whole minute, or of the current one."""

    project_id: str
    streams: tuple[StreamView, ...]
    apps: tuple[AppView, ...]


def overview_of(project_id: str, state: State, memberships: Memberships, now_ms: int) -> Overview:
    """Look at a project as it is now."""
    streams = sorted(state.streams(), key=lambda stream: stream.row.stream_name)
    return Overview(
        project_id,
        tuple(_stream(stream, now_ms) for stream in streams),
        tuple(_app(app.app_name, state, memberships, streams) for app in state.catalog.apps()),
    )


def _stream(stream: Stream, now_ms: int) -> StreamView:
    row, log = stream.row, stream.log
    minute = stream.traffic.minute(now_ms - MINUTE_MS) or stream.traffic.minute(now_ms)
    flows = minute.flows if minute else {}
    partitions = tuple(
        PartitionView(
            partition_name(number),
            partition.status,
            stream.oldest(number, now_ms),
            log.next_sequence(number),
            flows.get(number) or Flow(),
        )
        for number, partition in enumerate(row.partitions)
    )
    return StreamView(
        row.stream_name,
        row.stream_id,
        stream.status,
        row.stream_type,
        row.retention_hours,
        row.create_ms,
        log.disk_bytes,
        partitions,
    )


def _app(name: str, state: State, memberships: Memberships, streams: list[Stream]) -> AppView:
    checkpoints = tuple(
        CheckpointView(
            stream.row.stream_name,
            partition_name(number),
            row.sequence,
            stream.log.next_sequence(number),
        )
        for stream in streams
        for number, row in sorted(state.catalog.checkpoints(name, stream.row.stream_id).items())
    )
    group = memberships.peek(name)
    if group is None:
        return AppView(name, checkpoints, 0, ())
    members = tuple(
        (member, tuple(_called(state, *partition) for partition in group.owned_by(member)))
        for member in sorted(group.members)
    )
    return AppView(name, checkpoints, group.generation, members)


def _called(state: State, stream_id: str, number: int) -> str:
    stream = state.of_id(stream_id)
    return f"{stream.row.stream_name if stream else stream_id}/{number}"
