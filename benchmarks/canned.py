"""A service that has its answers ready: the plain half of the canned answerer.

It reads no more of a request than an answer needs: which partition each record of
a PutRecords goes to, which a client may check. Sequence numbers rise.
"""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import orjson

from aiodis.record import partition_name
from aiodis.wire.routing import PartitionMap, even_ranges, hash_key

__all__ = ["CannedService"]


class CannedService:
    """Answers as a stream that exists under every name, and never refuses.

    Invariant: `requests` and `records` count what was answered to PutRecords.
    """

    def __init__(self, partitions: int) -> None:
        self._ranges = even_ranges(partitions)
        self._results = _Results(partitions)
        self.requests = self.records = 0

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Give an answer's status and body."""
        match method, urlsplit(target).path.strip("/").split("/"):
            case "POST", ["v2", _, "records"]:
                return 200, self._put(body)
            case "GET", ["v2", _, "streams", name]:
                return 200, self._describe(unquote(name))
        return 404, b'{"errorCode":"DIS.4100","message":"the answerer has no such answer"}'

    def _put(self, body: bytes) -> bytes:
        results = [self._results[key] for key in _keys(body)]
        first = self.records
        self.requests += 1
        self.records += len(results)
        # One formatting for all numbers costs a quarter of one for each record.
        template = b'{"failed_record_count":0,"records":[' + b",".join(results) + b"]}"
        return template % tuple(range(first, self.records))

    def _describe(self, name: str) -> bytes:
        partitions = [
            {
                "status": "ACTIVE",
                "partition_id": partition_name(number),
                "hash_range": f"[{span.first} : {span.last}]",
                "sequence_number_range": f"[0 : {self.records}]",
            }
            for number, span in enumerate(self._ranges)
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


class _Results(dict[bytes, bytes]):
    """The result of a record by its key, with a place for its sequence number."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._map = PartitionMap(enumerate(even_ranges(partitions)))

    def __missing__(self, key: bytes) -> bytes:
        name = partition_name(self._map.find(hash_key(key.decode())))
        made = self[key] = b'{"partition_id":"%b","sequence_number":"%%d"}' % name.encode()
        return made


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
