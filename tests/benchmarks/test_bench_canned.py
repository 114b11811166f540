"""The canned answerer gives answers that a client can check, and counts what it answers."""

import asyncio
import json
from base64 import b64encode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodis.api.streams import StreamDescription
from aiodis.producer.router import Router
from aiodis.record import Record, partition_name
from aiodis.wire.codec import PutReply
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.compression import compress
from benchmarks.answerer import _Connection
from benchmarks.canned import CannedService

PUT = "/v2/project/records"


def body_of(*records):
    return JsonCodec().encode_put("bench", [Record(data, key) for data, key in records])


def describe(service, name="bench"):
    answer = service.answer("GET", f"/v2/project/streams/{name}?limit_partitions=1000", b"")
    assert answer.status == 200
    return StreamDescription.decode(answer.body)


def test_its_stream_has_the_partitions_asked_for_and_covers_all_hashes():
    description = describe(CannedService(50))
    assert (description.stream_name, description.status) == ("bench", "RUNNING")
    assert len(description.partitions) == 50
    assert {p.status for p in description.partitions} == {"ACTIVE"}
    assert Router(description.partitions).active == list(range(50))


@settings(deadline=None)
@given(st.lists(st.text("abcdef0123456789-", min_size=1, max_size=12), min_size=1, max_size=30))
def test_each_record_is_answered_with_the_partition_of_its_key(keys):
    service = CannedService(7)
    router = Router(describe(service).partitions)
    answer = service.answer("POST", PUT, body_of(*((b"x" * 50, key) for key in keys))).body
    expected = [partition_name(router.route(key, None, None)) for key in keys]
    assert [result.partition_id for result in PutReply.decode(answer).records] == expected


def test_sequence_numbers_rise_from_answer_to_answer():
    service = CannedService(2)
    numbers = []
    for _ in range(3):
        answer = service.answer("POST", PUT, body_of((b"a", "k"), (b"b", "k"))).body
        numbers += [int(result.sequence_number) for result in PutReply.decode(answer).records]
    assert numbers == list(range(6))
    assert (service.requests, service.records) == (3, 6)


def test_records_of_mixed_length_are_all_seen():
    service = CannedService(4)
    records = [(b"x" * size, f"key-{size}") for size in (10, 10, 10, 500, 7, 1000, 3, 3, 3)]
    answer = service.answer("POST", PUT, body_of(*records)).body
    assert len(PutReply.decode(answer).records) == len(records)


def test_a_body_with_spaces_is_read_as_well():
    # The vendor's SDKs write what json.dumps makes.
    entries = [{"data": b64encode(b"x").decode(), "partition_key": f"key-{n}"} for n in range(3)]
    body = json.dumps({"stream_name": "bench", "records": entries}).encode()
    answer = CannedService(4).answer("POST", PUT, body).body
    assert len(PutReply.decode(answer).records) == 3


def test_what_it_does_not_know_is_not_found():
    answer = CannedService(1).answer("DELETE", "/v2/project/streams/bench", b"")
    assert answer.status == 404
    assert orjson.loads(answer.body)["errorCode"]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_records_in_any_form_are_answered_in_theirs(compression):
    pytest.importorskip("cramjam")
    for codec in codecs():
        service = CannedService(4)
        entries = [Record(b"x" * 100, f"key-{number}") for number in range(20)]
        body, headers = compress(codec.encode_put("bench", entries), compression)
        headers |= {"Content-Type": codec.content_type}
        answer = service.answer("POST", PUT, body, headers)
        results = codec.decode_put_reply(answer.body).records
        assert [int(result.sequence_number) for result in results] == list(range(20))
        assert (service.requests, service.records) == (1, 20)
        expected, plain = CannedService(4), body_of(*((r.data, r.partition_key) for r in entries))
        same = PutReply.decode(expected.answer("POST", PUT, plain).body).records
        assert [r.partition_id for r in results] == [r.partition_id for r in same]


def cursor_of(service, stream, number):
    query = (
        f"stream-name={stream}&partition-id=shardId-0000000003&starting-sequence-number={number}"
    )
    answer = service.answer("GET", f"/v2/project/cursors?{query}", b"")
    return orjson.loads(answer.body)["partition_cursor"]


def read(service, cursor, codec):
    target = f"{PUT}?partition-cursor={cursor}&max_fetch_bytes=1048576"
    answer = service.answer("GET", target, b"", {"Content-Type": codec.content_type})
    assert answer.content_type == codec.content_type
    return codec.decode_get_reply(answer.body)


def codecs():
    yield JsonCodec()
    yield pytest.importorskip("aiodis.wire.codec_protobuf").ProtobufCodec()


@pytest.mark.parametrize("size", [1, 100, 1024])
def test_a_backlog_goes_on_with_rising_numbers_in_either_form(size):
    service = CannedService(5)
    stream = f"get-{size}-7"
    first = int(describe(service, stream).partitions[0].sequence_number_range[1:].split(" ")[0])
    for codec in codecs():
        cursor, numbers = cursor_of(service, stream, first), []
        for _ in range(12):  # a second digit of the block's number changes on the way
            reply = read(service, cursor, codec)
            assert [len(record.data) for record in reply.records] == [size] * 7
            numbers += [record.sequence_number for record in reply.records]
            cursor = reply.next_partition_cursor
        assert len(numbers) == 84
        assert numbers[0] == first
        assert numbers == sorted(set(numbers))
        # A cursor at the number behind the last one goes on there, as the last answer's did.
        assert cursor_of(service, stream, numbers[-1] + 1) == cursor
    assert service.records == 2 * 84


def test_an_answer_may_have_one_record_or_ten_thousand():
    service = CannedService(1)
    for count in (1, 10_000):
        first = cursor_of(service, f"get-16-{count}", 0)
        records = read(service, first, JsonCodec()).records
        assert len({record.sequence_number for record in records}) == count


class Transport(asyncio.WriteTransport):
    def __init__(self):
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True


def feed(connection, data, piece):
    while data:
        room = connection.get_buffer(-1)
        taken = min(piece, len(room), len(data))
        room[:taken] = data[:taken]
        room.release()
        connection.buffer_updated(taken)
        data = data[taken:]


def request(body, length="Content-Length"):
    return f"POST {PUT} HTTP/1.1\r\nHost: x\r\n{length}: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("piece", [1, 7, 100, 1_000_000])
def test_requests_are_answered_however_they_are_cut(piece):
    service = CannedService(3)
    connection, transport = _Connection(service), Transport()
    connection.connection_made(transport)
    small, large = body_of((b"a", "k")), body_of(*[(b"x" * 900, "k")] * (2 if piece == 1 else 200))
    describing = b"GET /v2/project/streams/s HTTP/1.1\r\nHost: x\r\n\r\n"
    feed(connection, request(small) + request(large, "CONTENT-LENGTH") + describing, piece)
    assert transport.written.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert service.requests == 2
    assert transport.written.endswith(b"}")


def test_a_body_of_unknown_length_is_refused():
    connection, transport = _Connection(CannedService(1)), Transport()
    connection.connection_made(transport)
    feed(connection, b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 1000)
    assert transport.written.startswith(b"HTTP/1.1 411 ")
    assert transport.closed
