"""A service that has its answers ready: the plain half of the canned answerer.

It reads no more of a request than an answer needs: which partition each record of
a PutRecords goes to, which a client may check. Sequence numbers rise. Its streams
have a backlog without end, of records as their names say (`benchmarks.job.Job.stream`).
"""

from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from aiodis.record import ReceivedRecord, partition_name, partition_number
from aiodis.wire.codec import GetReply, PutBody, PutReply, PutResult, RecordCodec
from aiodis.wire.compression import decompress
from aiodis.wire.forms import codec_for
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key
from benchmarks.job import KEY_FORM, backlog_of, payloads

__all__ = ["Answer", "CannedService"]

_JSON: Final = "application/json"
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_LARGEST: Final = 64 * 1024 * 1024
_UNKNOWN: Final = b'{"errorCode":"DIS.4100","message":"the answerer has no such answer"}'

# The backlog comes in blocks, one an answer. All its numbers have 13 digits, so that the next
# block differs from the one before in eight of them, at places that are known.
_BLOCK: Final = 10_000
_FIRST: Final = 10**12
_END: Final = 2 * _FIRST
_DIGITS: Final = 8
_PARTITION_DIGITS: Final = 4


class Answer(NamedTuple):
    """An answer's status, body, and the body's form."""

    status: int
    body: bytes
    content_type: str = _JSON


class CannedService:
    """Answers as a stream that exists under every name, and never refuses.

    Invariant: `requests` and `records` count what was answered to PutRecords and GetRecords.
    """

    def __init__(self, partitions: int) -> None:
        self._ranges = even_ranges(partitions)
        self._results = _Results(partitions)
        self._backlogs: dict[tuple[int, int, str], _Backlog] = {}
        self._written = 0
        self.requests = self.records = 0

    def answer(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Answer:
        """Answer a request; the names of its headers may be looked up in any case."""
        url = urlsplit(target)
        codec = codec_for(headers.get("Content-Type", ""))
        match method, url.path.strip("/").split("/"):
            case "POST", ["v2", _, "records"]:
                found = self._put(decompress(body, headers, _LARGEST), codec)
            case "GET", ["v2", _, "records"]:
                found = self._get(_query(url.query, "partition-cursor"), codec)
            case "GET", ["v2", _, "cursors"]:
                found = Answer(200, self._cursor(url.query))
            case "GET", ["v2", _, "streams", name]:
                found = Answer(200, self._describe(unquote(name)))
            case "GET", ["v2", _, "checkpoints"]:
                found = Answer(200, b'{"sequence_number":"-1"}')
            case "POST", ["v2", _, "checkpoints"]:
                found = Answer(201, b"")
            case "GET", ["v2", _, "apps", name]:
                found = Answer(200, orjson.dumps({"app_name": name, "app_id": name}))
            case _:
                found = Answer(404, _UNKNOWN)
        return found

    def _put(self, body: bytes, codec: RecordCodec) -> Answer:
        if codec.content_type != _JSON:
            return self._put_decoded(codec.decode_put(body), codec)
        results = [self._results[key] for key in _keys(body)]
        numbers = self._take(len(results))
        # One formatting for all numbers costs a quarter of one for each record.
        template = b'{"failed_record_count":0,"records":[' + b",".join(results) + b"]}"
        return Answer(200, template % tuple(numbers))

    def _put_decoded(self, put: PutBody, codec: RecordCodec) -> Answer:
        numbers = self._take(len(put.records))
        results = [
            PutResult(self._results.name((entry.partition_key or "").encode()), str(number))
            for entry, number in zip(put.records, numbers, strict=True)
        ]
        return Answer(200, codec.encode_put_reply(PutReply(0, results)), codec.content_type)

    def _take(self, count: int) -> range:
        first = self._written
        self._written += count
        self.requests += 1
        self.records += count
        return range(first, self._written)

    def _cursor(self, query: str) -> bytes:
        size, count = backlog_of(_query(query, "stream-name"))
        partition = partition_number(_query(query, "partition-id"))
        number = int(_query(query, "starting-sequence-number", "0"))
        block = max(0, -(-(number - _FIRST) // _BLOCK))
        return orjson.dumps({"partition_cursor": _token(size, count, partition, block)})

    def _get(self, cursor: str, codec: RecordCodec) -> Answer:
        size, count, partition, block = map(int, cursor.split("."))
        kind = size, count, codec.name
        backlog = self._backlogs.get(kind)
        if backlog is None:
            backlog = self._backlogs[kind] = _Backlog(size, count, codec)
        self.requests += 1
        self.records += count
        return Answer(200, backlog.block(partition, block), codec.content_type)

    def _describe(self, name: str) -> bytes:
        span = f"[{_FIRST} : {_END}]" if name.startswith("get-") else f"[0 : {self._written}]"
        partitions = [
            {
                "status": "ACTIVE",
                "partition_id": partition_name(number),
                "hash_range": f"[{hashes.first} : {hashes.last}]",
                "sequence_number_range": span,
            }
            for number, hashes in enumerate(self._ranges)
        ]
        return orjson.dumps(
            {
                "stream_name": name,
                "stream_id": name,
                "create_time": 1,
                "last_modified_time": 1,
                "retention_period": 24,
                "status": "RUNNING",
                "stream_type": "COMMON",
                "data_type": "BLOB",
                "writable_partition_count": len(partitions),
                "readable_partition_count": len(partitions),
                "partitions": partitions,
                "has_more_partitions": False,
            }
        )


def _query(query: str, name: str, default: str | None = None) -> str:
    found = parse_qs(query).get(name)
    if found is None and default is None:
        raise ValueError(f"a request without {name}")
    return found[0] if found else str(default)


def _token(size: int, count: int, partition: int, block: int) -> str:
    return f"{size}.{count}.{partition:0{_PARTITION_DIGITS}d}.{block:0{_DIGITS}d}"


class _Backlog:
    """Answers to GetRecords that differ in a few digits only, which are written into a copy.

    Invariant: `_numbers` is where the numbers' changing digits begin, one place a record.
    """

    def __init__(self, size: int, count: int, codec: RecordCodec) -> None:
        data = islice(cycle(payloads(size)), count)
        cursor = _token(size, count, 0, 0)
        records = [
            ReceivedRecord(_FIRST + number, each, KEY_FORM.format(number), 1_700_000_000_000)
            for number, each in enumerate(data)
        ]
        body = codec.encode_get_reply(GetReply(cursor, records))
        self._body = body
        digits = len(str(_BLOCK - 1))
        self._cursor = body.index(cursor.encode()) + len(f"{size}.{count}.")
        first = body.index(str(_FIRST).encode()) + len(str(_FIRST)) - digits - _DIGITS
        last = body.index(str(_FIRST + count - 1).encode()) + len(str(_FIRST)) - digits - _DIGITS
        stride = (last - first) // (count - 1) if count > 1 else len(body)
        self._numbers = range(first, last + 1, stride)
        assert len(self._numbers) == count, "the records are not of one length"

    def block(self, partition: int, number: int) -> bytes:
        """Give one partition's block of this number."""
        body = bytearray(self._body)
        following = f"{partition:0{_PARTITION_DIGITS}d}.{number + 1:0{_DIGITS}d}".encode()
        body[self._cursor : self._cursor + len(following)] = following
        places = self._numbers
        for place, digit in enumerate(f"{number:0{_DIGITS}d}".encode()):
            if digit != ord("0"):
                wanted = slice(places.start + place, places.stop + place, places.step)
                body[wanted] = bytes([digit]) * len(places)
        return bytes(body)


class _Results(dict[bytes, bytes]):
    """The result of a record by its key, with a place for its sequence number."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._map = PartitionMap(enumerate(even_ranges(partitions)))
        self._names: dict[bytes, str] = {}

    def __missing__(self, key: bytes) -> bytes:
        name = self.name(key).encode()
        made = self[key] = b'{"partition_id":"%b","sequence_number":"%%d"}' % name
        return made

    def name(self, key: bytes) -> str:
        """Give the id of a key's partition."""
        if key not in self._names:
            self._names[key] = partition_name(self._map.find(hash_key(key.decode())))
        return self._names[key]


def _keys(body: bytes) -> Iterator[bytes]:
    """Give each record's key, as it is written.

    Records are often of one length, so the next key is looked for where it would
    be then; the search through the data in between costs four times as much. It
    misses a record only where two records weigh as much as the one before them,
    which the client notices by the count.
    """
    spaced = b'": "' in body[:64]  # after "stream_name"
    marker = b'"partition_key": "' if spaced else b'"partition_key":"'
    find, starts, width = body.find, body.startswith, len(marker)
    at, stride = find(marker), 0
    while at >= 0:
        start = at + width
        end = find(b'"', start)
        yield body[start:end]
        if stride and starts(marker, at + stride):
            at += stride
        else:
            following = find(marker, end)
            at, stride = following, following - at
