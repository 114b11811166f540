"""Records and cursors: what each operation of the reference's chapter 5.4 does.

The path that is measured. Nothing is done here per record that could be done
per partition or per request, and no model of pydantic is made.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiodis.api.limits import MAX_RECORDS_PER_REQUEST, StreamLimits
from aiodis.api.records import MAX_RECORD_BYTES, Cursor, GetCursor, GetRecords
from aiodis.api.shared import MAX_SEQUENCE
from aiodis.record import partition_name
from aiodis.server import guesses
from aiodis.server.faults import Faults
from aiodis.server.refusal import CODES, Refusal
from aiodis.server.state import State, Stream
from aiodis.server.storage import PutBlock
from aiodis.server.traffic import Minute
from aiodis.wire.codec import GetReply, PutBody, PutEntry, PutReply, PutResult
from aiodis.wire.codec_json import JsonCodec, fragments
from aiodis.wire.cursor import CURSOR_LIFE_MS, CursorContent, decode_cursor, encode_cursor
from aiodis.wire.routing import MAX_HASH

__all__ = ["RecordHandlers", "RecordSlice", "Touched", "partitions_of"]

_JSON: Final = JsonCodec()
_DEFAULT_TYPE: Final = "AT_SEQUENCE_NUMBER"  # facts 6.1

_THROTTLED: Final = PutResult(error_code="DIS.4303", error_message=CODES["DIS.4303"].message)


@dataclass(frozen=True, slots=True)
class RecordSlice:
    """The answer to GetRecords, made of a slice of the log: the records' JSON as it was stored."""

    next_partition_cursor: str
    payload: bytes

    def encode(self) -> bytes:
        """Write the reply around the slice."""
        head = b'{"next_partition_cursor":"%b","records":[' % self.next_partition_cursor.encode()
        return b"".join((head, self.payload, b"]}"))

    def read(self) -> GetReply:
        """Read the records, for an answer in another form than JSON."""
        return _JSON.decode_get_reply(self.encode())


class Touched(NamedTuple):
    """What a put or a read came to: for a put, the partitions are all that it had records for."""

    stream_name: str
    partitions: tuple[int, ...]
    records: int
    failed: int
    data_bytes: int
    faults: tuple[str, ...] = ()


class RecordHandlers:
    """One method a row of `aiodis.api.Records`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.counted = Minute()
        """The minute that the last put or get was counted in."""
        self.touched: Touched | None = None
        """What the last put or get that was carried out came to."""

    def put(self, request: PutBody, now_ms: int) -> PutReply:
        name = request.stream_name
        if self._state.peek(name) is None and request.stream_id:
            name = request.stream_id
        stream = self._state.find_running(name, now_ms)
        sizes = _check_sizes(request, stream.rates)
        stream.expire(now_ms)
        put = _Put(stream, request.records, sizes, now_ms)
        groups = put.route()
        partitions = tuple(sorted(groups))
        if self._state.faults.partials:
            groups = put.fail(groups, self._state.faults)
        blocks = [
            block
            for number, indexes in groups.items()
            if (block := put.place(number, indexes, limited=self._state.limited))
        ]
        stream.log.append(blocks, now_ms)
        self.counted = put.count(blocks)
        if put.is_throttled:
            self._state.events.traffic_limited(stream.row, now_ms)
        reply = put.reply(stored=sum(len(block.sizes) for block in blocks))
        self.touched = Touched(
            stream.row.stream_name,
            partitions,
            len(sizes),
            reply.failed_record_count,
            sum(sum(block.sizes) for block in blocks),
            put.faults,
        )
        return reply

    def get(self, request: GetRecords, now_ms: int) -> RecordSlice:
        try:
            cursor = decode_cursor(request.partition_cursor)
        except ValueError:
            raise Refusal("DIS.4217") from None
        age_ms = now_ms - cursor.issued_ms
        if not -guesses.CURSOR_AHEAD_MS <= age_ms <= CURSOR_LIFE_MS:
            raise Refusal("DIS.4225")
        stream = self._state.find(cursor.stream_name, now_ms)
        number = stream.readable(cursor.partition_id)
        position = _position(cursor)
        is_inside = stream.oldest(number, now_ms) <= position <= stream.log.next_sequence(number)
        if not (is_inside and _is_of(cursor, stream)):
            raise Refusal("DIS.4226")
        limits = stream.limits(number, now_ms)
        minute = stream.traffic.at(now_ms)
        if self._state.limited and not limits.may_read(now_ms):
            minute.gets_throttled += 1
            minute.flows[number].throttled_out += 1
            self._state.events.traffic_limited(stream.row, now_ms)
            raise Refusal(guesses.READ_THROTTLE_CODE)
        stream.expire(now_ms)
        wanted = request.max_fetch_bytes or guesses.DEFAULT_FETCH_BYTES
        found = stream.log.read(
            number,
            position,
            max_bytes=min(wanted, guesses.MAX_FETCH_BYTES),
            max_records=guesses.MAX_GET_RECORDS,
        )
        limits.take_read(found.data_bytes)
        self.counted = minute
        minute.gets += 1
        flow = minute.flows[number]
        flow.records_out += found.count
        flow.bytes_out += found.data_bytes
        self.touched = Touched(stream.row.stream_name, (number,), found.count, 0, found.data_bytes)
        following = CursorContent(
            stream.row.stream_name,
            cursor.partition_id,
            _DEFAULT_TYPE,
            found.next_sequence,
            now_ms,
            stream.row.stream_id,
            stream.incarnation,
        )
        return RecordSlice(encode_cursor(following), found.payload)

    def get_cursor(self, request: GetCursor, now_ms: int) -> Cursor:
        stream = self._state.find_running(request.stream_name, now_ms)
        number = stream.readable(request.partition_id)
        content = CursorContent(
            stream.row.stream_name,
            request.partition_id,
            request.cursor_type or _DEFAULT_TYPE,
            _starting_sequence(stream, number, request, now_ms),
            now_ms,
            stream.row.stream_id,
            stream.incarnation,
        )
        return Cursor(partition_cursor=encode_cursor(content))


class _Put:
    """One request's records, and what becomes of each: a place or a failure."""

    def __init__(
        self, stream: Stream, records: Sequence[PutEntry], sizes: Sequence[int], now_ms: int
    ) -> None:
        self._stream, self._records, self._sizes = stream, records, sizes
        self._now_ms = now_ms
        self._results: list[PutResult | None] = [None] * len(records)
        self._throttled: dict[int, int] = {}  # records by partition
        self.faults: tuple[str, ...] = ()
        """The names of the faults that records met."""

    @property
    def is_throttled(self) -> bool:
        """Whether the limits refused any record."""
        return bool(self._throttled)

    def route(self) -> dict[int, list[int]]:
        """Give each partition the indexes of its records; those without one fail here."""
        stream = self._stream
        groups: dict[int, list[int]] = defaultdict(list)
        for index, record in enumerate(self._records):
            if record.partition_id:
                target = _named_partition(stream, record.partition_id)
                if isinstance(target, PutResult):
                    self._results[index] = target
                    continue
            elif record.explicit_hash_key and _is_hash(record.explicit_hash_key):
                target = stream.map.find(int(record.explicit_hash_key))
            elif record.partition_key:
                target = stream.partition_of_key(record.partition_key)
            else:
                target = next(stream.in_turn)
            groups[target].append(index)
        return groups

    def fail(self, groups: dict[int, list[int]], faults: Faults) -> dict[int, list[int]]:
        """Let the records fail that a fault is aimed at; give the groups of the others."""
        name = self._stream.row.stream_name
        kept = {}
        for number, indexes in groups.items():
            failed = faults.fail_records(name, number, indexes)
            self.faults = tuple({*self.faults, *(fault.name for fault in failed.values())})
            for index, fault in failed.items():
                self._results[index] = PutResult(error_code=fault.code, error_message=fault.message)
            if len(failed) < len(indexes):
                kept[number] = [index for index in indexes if index not in failed]
        return kept

    def place(self, number: int, indexes: list[int], *, limited: bool) -> PutBlock | None:
        """Number one partition's records, as far as its limits allow; the others fail here."""
        records, results = self._records, self._results
        sizes = [self._sizes[index] for index in indexes]
        if limited:
            admitted = self._stream.limits(number, self._now_ms).admit(sizes, self._now_ms)
            if admitted < len(sizes):
                self._throttled[number] = len(sizes) - admitted
                for index in indexes[admitted:]:
                    results[index] = _THROTTLED
                del indexes[admitted:], sizes[admitted:]
                if not sizes:
                    return None
        first = self._stream.log.next_sequence(number)
        name = partition_name(number)
        # What the producer says of the time is for show only: guesses.CLIENT_TIMESTAMP_IS_SHOWN.
        stored = fragments([records[index] for index in indexes], first, self._now_ms)
        for sequence, index in enumerate(indexes, first):
            results[index] = PutResult(name, str(sequence))
        return PutBlock(number, first, stored, sizes)

    def count(self, blocks: Sequence[PutBlock]) -> Minute:
        """Count what was stored and what was throttled; give the minute that has it."""
        minute = self._stream.traffic.at(self._now_ms)
        for block in blocks:
            flow = minute.flows[block.partition]
            flow.records_in += len(block.sizes)
            flow.bytes_in += sum(block.sizes)
        for number, throttled in self._throttled.items():
            minute.flows[number].throttled_in += throttled
        if self.is_throttled:  # guesses.A_PUT_IS_REFUSED_WITH_ANY_RECORD
            minute.puts_throttled += 1
        else:
            minute.puts += 1
        return minute

    def reply(self, *, stored: int) -> PutReply:
        """Give the results in the order of the records."""
        results = [result for result in self._results if result is not None]
        return PutReply(len(results) - stored, results)


def partitions_of(stream: Stream, records: Sequence[PutEntry]) -> frozenset[int]:
    """Tell where records would go; those without a key do not use up their turns by that."""
    turn = next(stream.in_turn)
    stream.turn_to(turn)
    found = frozenset(_Put(stream, records, (), 0).route())
    stream.turn_to(turn)
    return found


def _check_sizes(request: PutBody, rates: StreamLimits) -> list[int]:
    """See that a request may be taken as a whole; give the size of each record's data."""
    records = request.records
    if not 1 <= len(records) <= MAX_RECORDS_PER_REQUEST:
        raise Refusal("DIS.4200", f"records: 1 to {MAX_RECORDS_PER_REQUEST}, not {len(records)}")
    try:
        sizes = request.sizes()
    except ValueError as exc:
        raise Refusal("DIS.4200", exc) from None
    for size in (min(sizes), max(sizes)):
        if not 0 < size <= MAX_RECORD_BYTES:
            rule = f"data has {size} bytes, not 1 to {MAX_RECORD_BYTES}"
            raise Refusal("DIS.4200", f"records.{sizes.index(size)}: {rule}")
    if (total := sum(sizes)) > rates.request_bytes:
        rule = f"{total} bytes of data, more than {rates.request_bytes}"
        raise Refusal("DIS.4200", rule, status=guesses.TOO_LARGE_STATUS)
    times = [record.timestamp for record in records if record.timestamp is not None]
    if times and not 0 <= min(times) <= max(times) <= MAX_SEQUENCE:
        raise Refusal("DIS.4200", f"timestamp is not between 0 and {MAX_SEQUENCE}")
    return sizes


def _named_partition(stream: Stream, partition_id: str) -> int | PutResult:
    number = stream.number(partition_id)
    if number is None:
        return _failure("DIS.4302", stream, partition_id)
    match stream.row.partitions[number].status:
        case "ACTIVE":
            return number
        case "DELETED":
            return _failure(guesses.DELETED_PARTITION_CODE, stream, partition_name(number))
        case "EXPIRED":
            return _failure(guesses.EXPIRED_PARTITION_CODE, stream, partition_name(number))


def _failure(code: str, stream: Stream, partition_id: str) -> PutResult:
    message = Refusal(code, stream.row.stream_name, partition_id).message
    return PutResult(error_code=code, error_message=message)


def _is_hash(text: str) -> bool:
    # What is no number in range is passed over: guesses.BAD_HASH_KEY_IS_IGNORED.
    return text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_HASH


def _is_of(cursor: CursorContent, stream: Stream) -> bool:
    """Say whether a cursor is of this very stream: guesses.CURSOR_KNOWS_ITS_STREAM."""
    if cursor.stream_id is None:  # one of the service's own form
        return True
    this = (stream.row.stream_id, stream.incarnation)
    return (cursor.stream_id, cursor.incarnation) == this


def _position(cursor: CursorContent) -> int:
    """Give the first sequence to read; only AFTER points to the one before it."""
    return cursor.sequence_number + (cursor.cursor_type == "AFTER_SEQUENCE_NUMBER")


def _starting_sequence(stream: Stream, number: int, request: GetCursor, now_ms: int) -> int:
    """Give the number a cursor is to hold. The ranges are those of facts 6.1."""
    oldest, following = stream.oldest(number, now_ms), stream.log.next_sequence(number)
    match request.cursor_type:
        case "TRIM_HORIZON":
            return oldest
        case "LATEST":
            return following
        case "AT_TIMESTAMP":
            return _sequence_at(stream, number, request.timestamp, now_ms)
        case "AFTER_SEQUENCE_NUMBER":
            low, high = oldest - 1, following - 1
        case _:
            low, high = oldest, following
    sequence = int(request.starting_sequence_number or "0")
    if not low <= sequence <= high:
        raise Refusal("DIS.4224", sequence, " should be within ", oldest, " ", following)
    return sequence


def _sequence_at(stream: Stream, number: int, timestamp_ms: int | None, now_ms: int) -> int:
    if timestamp_ms is None:
        raise Refusal("DIS.4200", "timestamp: AT_TIMESTAMP needs one")
    oldest_ms = stream.log.oldest_time(number, stream.visible_since(now_ms))
    if oldest_ms is None:
        return stream.log.next_sequence(number)
    if timestamp_ms < oldest_ms:
        # The vendor's Kafka adapter reads the number and asks again with it (facts 6.1).
        detail = f"timestamp is expired, timestamp should be larger than {oldest_ms}"
        raise Refusal("DIS.4300", detail)
    return stream.log.sequence_at(number, timestamp_ms)
