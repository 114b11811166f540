"""Which stream and partitions a request is for, so that faults can be aimed there."""

from aiodis.api.records import GetRecords
from aiodis.record import partition_number
from aiodis.server.fault import NOWHERE, Target
from aiodis.server.handlers.records import partitions_of
from aiodis.server.state import State
from aiodis.wire.codec import PutBody
from aiodis.wire.cursor import decode_cursor
from aiodis.wire.message import Message

__all__ = ["target_of"]


def target_of(state: State, request: Message | PutBody) -> Target:
    """Tell what a request is for, as far as it says. Nothing is changed by it."""
    if isinstance(request, PutBody):
        stream = state.peek(request.stream_name) or state.peek(request.stream_id)
        if stream is None:
            return Target(request.stream_name, frozenset())
        return Target(stream.row.stream_name, partitions_of(stream, request.records))
    name = getattr(request, "stream_name", None) or getattr(request, "stream_id", None)
    partition_id = getattr(request, "partition_id", None)
    try:
        if isinstance(request, GetRecords):
            cursor = decode_cursor(request.partition_cursor)
            name, partition_id = cursor.stream_name, cursor.partition_id
        numbers = () if partition_id is None else (partition_number(partition_id),)
    except ValueError:
        return NOWHERE
    stream = state.peek(name)
    return Target(stream.row.stream_name if stream else name, frozenset(numbers))
