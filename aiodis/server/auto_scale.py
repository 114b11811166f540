"""Scaling on load: the service's triggers as plain code, and the duty that looks each minute.

The triggers are *documented* (facts 3). Up: something was throttled in the last minute and
what came in was more than 80 % of what the partitions may take; to n / 0.6, rounded up.
Down: what came in and what went out were both less than 30 %; to n / 2, rounded down.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from aiodis.api.limits import StreamLimits
from aiodis.server import guesses
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream
from aiodis.server.traffic import MINUTE_MS, Flow, Minute

__all__ = ["AutoScaler", "Load", "load_of", "target_of"]

_UP_ABOVE: Final = 0.8
_DOWN_BELOW: Final = 0.3


class Load(NamedTuple):
    """A stream's minute: the shares of what its ACTIVE partitions may take and give."""

    share_in: float
    share_out: float
    is_throttled: bool


def load_of(minute: Minute | None, active: Sequence[int], rates: StreamLimits) -> Load:
    """Tell the load of a minute; None is one in which nothing happened.

    Records count as well as bytes: guesses.LOAD_COUNTS_RECORDS.
    """
    flows = [minute.flows.get(number, Flow()) for number in active] if minute else []
    seconds = MINUTE_MS / 1000 * len(active)
    bytes_in = sum(flow.bytes_in for flow in flows) / (rates.write_bytes * seconds)
    records_in = sum(flow.records_in for flow in flows) / (rates.write_records * seconds)
    bytes_out = sum(flow.bytes_out for flow in flows) / (rates.read_bytes * seconds)
    is_throttled = any(flow.throttled_in or flow.throttled_out for flow in flows)
    return Load(max(bytes_in, records_in), bytes_out, is_throttled)


def target_of(load: Load, count: int, least: int, most: int) -> int | None:
    """Tell how many partitions there should be; None: as many as there are."""
    if load.is_throttled and load.share_in > _UP_ABOVE:
        target = min(-(-5 * count // 3), most)  # n / 0.6, in whole numbers
        return target if target > count else None
    if load.share_in < _DOWN_BELOW and load.share_out < _DOWN_BELOW:
        target = max(count // 2, least)
        return target if target < count else None
    return None


class AutoScaler:
    """A duty: looks at each stream that wants it when a minute is over.

    A stream is looked at over whole minutes since its last change only, so that a
    scaling shows its effect before the next one.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._next_ms = 0

    def due_ms(self) -> int | None:
        changes = [stream.row.modified_ms for stream in self._state.auto_scaling.values()]
        if not changes:
            return None
        first_whole_minute = -(-min(changes) // MINUTE_MS) + 1
        return max(self._next_ms, first_whole_minute * MINUTE_MS)

    def run(self, at_ms: int) -> None:
        end_ms = at_ms - at_ms % MINUTE_MS
        self._next_ms = end_ms + MINUTE_MS
        for stream in tuple(self._state.auto_scaling.values()):
            is_settled = stream.row.change is None
            if is_settled and stream.row.modified_ms <= end_ms - MINUTE_MS:
                self._look(stream, end_ms, at_ms)

    def _look(self, stream: Stream, end_ms: int, at_ms: int) -> None:
        count, extra = len(stream.active), stream.row.extra
        number = end_ms // MINUTE_MS - 1
        minute = self._state.history.between(stream.row.stream_id, number, number).get(number)
        load = load_of(minute, stream.active, stream.rates)
        least = extra.get("auto_scale_min_partition_count") or 1
        most = extra.get("auto_scale_max_partition_count") or guesses.MOST_PARTITIONS_BY_LOAD
        target = target_of(load, count, least, most)
        if target is None:
            return
        if self._state.scaling_allowed_ms(stream, target, at_ms, is_auto=True) > at_ms:
            return  # no failure: the next minutes look again
        try:
            self._state.check_quota(stream.row.stream_type, target - count)
        except Refusal as refusal:
            self._state.note_failed_scaling(stream, target, at_ms, refusal.message)
        else:
            self._state.scale(stream, target, at_ms, is_auto=True)
