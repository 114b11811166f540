import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from aiodis.record import ReceivedRecord, Record
from aiodis.wire.codec import GetReply, PutBody, PutEntry, PutReply, PutResult
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.codec_protobuf import ProtobufCodec

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/protobuf.json").read_text("utf-8"))
MAX = 2**63 - 1
CODEC, JSON = ProtobufCodec(), JsonCodec()
text = st.text(min_size=1)
time_ms = st.integers(0, MAX)
records = st.builds(
    Record,
    data=st.binary(),
    partition_key=st.none() | text,
    explicit_hash_key=st.none() | st.integers(0, MAX),
    partition_id=st.none() | text,
    timestamp_ms=st.none() | time_ms,
)
results = st.builds(
    PutResult,
    partition_id=st.none() | text,
    sequence_number=st.none() | text,
    error_code=st.none() | text,
    error_message=st.none() | text,
)
received = st.builds(
    ReceivedRecord,
    sequence_number=st.integers(0, MAX),
    data=st.binary(),
    partition_key=st.none() | text,
    timestamp=time_ms,
    timestamp_type=text,
)


def vendors_messages():
    """Make the classes of the Python SDK's record.proto (facts 2.2), required fields and all."""
    kind = descriptor_pb2.FieldDescriptorProto
    types = {"bytes": 12, "string": 9, "int64": 3, "int32": 5, "bool": 8}
    labels = {"optional": 1, "required": 2, "repeated": 3}
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", syntax="proto2")
    for line in (
        """
        PutRecordsRequest: required string streamName 1, required string streamId 30,
            repeated PutRecordsRequestEntry records 2
        PutRecordsRequestEntry: optional bytes data 3, optional string explicitHashKey 4,
            optional string partitionKey 5, optional string partitionId 6,
            optional ExtendedInfo extendedInfo 7, optional int64 timestamp 29
        ExtendedInfo: required string fileName 8, required string deliverDataId 9,
            optional bool endFlag 10, required int64 seqNum 11
        PutRecordsResult: required int32 failedRecordCount 21,
            repeated PutRecordsResultEntry records 22
        PutRecordsResultEntry: optional string shardId 23, optional string sequenceNumber 24,
            optional string errorCode 25, optional string errorMessage 26
        GetRecordsResult: required string nextShardIterator 14, repeated Record records 16
        Record: optional string partitionKey 17, required string sequenceNumber 18,
            optional bytes data 19, optional int64 timestamp 27, optional string timestampType 28
    """.replace(",\n", ",")
        .strip()
        .split("\n")
    ):
        name, _, fields = line.strip().partition(": ")
        message = file.message_type.add(name=name)
        for field in fields.split(","):
            label, type_name, field_name, number = field.split()
            made = message.field.add(name=field_name, number=int(number), label=labels[label])
            if type_name in types:
                made.type = types[type_name]
            else:
                made.type, made.type_name = kind.TYPE_MESSAGE, f".{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(message.name))
        for message in file.message_type
    }


VENDOR = vendors_messages()


def read_by_vendor(name, body):
    """Parse with the vendor's descriptor: everything it requires is there, nothing is unknown."""
    message = VENDOR[name].FromString(body)
    assert message.IsInitialized(), message.FindInitializationErrors()
    assert len(message.SerializeToString()) == len(body)
    message.DiscardUnknownFields()
    assert len(message.SerializeToString()) == len(body)
    return message


def fields_of(message):
    return {field.name: value for field, value in message.ListFields()}


def record_of(fields):
    return Record(fields["text"].encode(), **{k: v for k, v in fields.items() if k != "text"})


def as_read(record):
    hashed = record.explicit_hash_key
    return PutEntry.of(
        data=record.data,
        explicit_hash_key=None if hashed is None else str(hashed),
        partition_id=record.partition_id,
        partition_key=record.partition_key,
        timestamp=record.timestamp_ms,
    )


class TestPut:
    @pytest.mark.parametrize("vector", VECTORS["put"], ids=lambda v: v["name"])
    def test_a_body_of_the_vendors_client_is_read(self, vector):
        found = CODEC.decode_put(bytes.fromhex(vector["hex"]))
        assert (found.stream_name, found.stream_id) == (vector["stream_name"], vector["stream_id"])
        assert found.records == [as_read(record_of(fields)) for fields in vector["records"]]

    @pytest.mark.parametrize(
        "vector", [v for v in VECTORS["put"] if v["written_alike"]], ids=lambda v: v["name"]
    )
    def test_a_body_is_written_as_the_vendors_client_does(self, vector):
        sent = [record_of(fields) for fields in vector["records"]]
        written = CODEC.encode_put(vector["stream_name"], sent, vector["stream_id"])
        assert written.hex() == vector["hex"]

    @given(st.lists(records, min_size=1), text, st.none() | text)
    def test_what_is_written_is_read_back_and_alike_in_json(self, sent, stream_name, stream_id):
        found = CODEC.decode_put(CODEC.encode_put(stream_name, sent, stream_id))
        assert found == PutBody([as_read(record) for record in sent], stream_name, stream_id)
        assert found == JSON.decode_put(JSON.encode_put(stream_name, sent, stream_id))

    @given(st.lists(records, min_size=1), text)
    def test_what_is_written_is_read_by_the_vendors_messages(self, sent, stream_name):
        message = read_by_vendor("PutRecordsRequest", CODEC.encode_put(stream_name, sent))
        assert (message.streamName, message.streamId) == (stream_name, "")
        for entry, record in zip(message.records, sent, strict=True):
            hashed = record.explicit_hash_key
            expected = {
                "data": record.data,
                "explicitHashKey": None if hashed is None else str(hashed),
                "partitionKey": record.partition_key,
                "partitionId": record.partition_id,
                "timestamp": record.timestamp_ms,
            }
            assert fields_of(entry) == {k: v for k, v in expected.items() if v is not None}

    def test_a_request_without_name_and_id_is_read_for_the_server_to_judge(self):
        assert CODEC.decode_put(bytes.fromhex("12061a0464617461")) == PutBody(
            [PutEntry.of(b"data")]
        )

    def test_an_empty_text_counts_as_left_out(self):
        sent = Record(b"x", partition_key="", partition_id="")
        assert CODEC.decode_put(CODEC.encode_put("", [sent], "")) == PutBody([PutEntry.of(b"x")])

    def test_an_entry_without_data_is_read_as_empty_for_the_server_to_refuse(self):
        assert CODEC.decode_put(bytes.fromhex("1200")).records == [PutEntry.of(b"")]


class TestPutReply:
    VECTOR = VECTORS["put_reply"]

    def test_the_vendors_form_is_read_and_written(self):
        expected = PutReply(
            self.VECTOR["failed_record_count"],
            [PutResult(**fields) for fields in self.VECTOR["results"]],
        )
        assert CODEC.decode_put_reply(bytes.fromhex(self.VECTOR["hex"])) == expected
        assert CODEC.encode_put_reply(expected).hex() == self.VECTOR["hex"]

    @given(st.lists(results), st.integers(0, 10_000))
    def test_what_is_written_is_read_back_here_and_by_the_vendors_messages(self, sent, failed):
        reply = PutReply(failed, sent)
        body = CODEC.encode_put_reply(reply)
        assert CODEC.decode_put_reply(body) == reply
        message = read_by_vendor("PutRecordsResult", body)
        assert message.failedRecordCount == failed
        for entry, result in zip(message.records, sent, strict=True):
            expected = {
                "shardId": result.partition_id,
                "sequenceNumber": result.sequence_number,
                "errorCode": result.error_code,
                "errorMessage": result.error_message,
            }
            assert fields_of(entry) == {k: v for k, v in expected.items() if v is not None}

    @pytest.mark.parametrize("body", [b"", bytes.fromhex("b201020a00")])
    def test_an_answer_without_its_count_is_none(self, body):
        with pytest.raises(msgspec.MsgspecError, match="PutRecordsResult without"):
            CODEC.decode_put_reply(body)


class TestGetReply:
    VECTOR = VECTORS["get_reply"]

    def test_the_vendors_form_is_read_and_written(self):
        expected = GetReply(
            self.VECTOR["next_partition_cursor"],
            [
                ReceivedRecord(
                    sequence_number=fields["sequence_number"],
                    data=fields["text"].encode(),
                    partition_key=fields["partition_key"],
                    timestamp=fields["timestamp"],
                )
                for fields in self.VECTOR["records"]
            ],
        )
        assert CODEC.decode_get_reply(bytes.fromhex(self.VECTOR["hex"])) == expected
        assert CODEC.encode_get_reply(expected).hex() == self.VECTOR["hex"]

    @given(st.lists(received), text)
    def test_what_is_written_is_read_back_here_and_by_the_vendors_messages(self, sent, cursor):
        reply = GetReply(cursor, sent)
        body = CODEC.encode_get_reply(reply)
        assert CODEC.decode_get_reply(body) == reply == JSON.decode_get_reply(reply.encode())
        message = read_by_vendor("GetRecordsResult", body)
        assert message.nextShardIterator == cursor
        for entry, record in zip(message.records, sent, strict=True):
            key = {} if record.partition_key is None else {"partitionKey": record.partition_key}
            assert fields_of(entry) == key | {
                "sequenceNumber": str(record.sequence_number),
                "data": record.data,
                "timestamp": record.timestamp,
                "timestampType": record.timestamp_type,
            }

    def test_a_record_may_lack_all_but_its_number(self):
        body = VENDOR["GetRecordsResult"](nextShardIterator="c")
        body.records.add(sequenceNumber="7")
        found = CODEC.decode_get_reply(body.SerializeToString())
        assert found == GetReply("c", [ReceivedRecord(sequence_number=7, data=b"")])

    def test_an_answer_without_a_cursor_is_none(self):
        with pytest.raises(msgspec.MsgspecError, match="without nextShardIterator"):
            CODEC.decode_get_reply(b"")

    @pytest.mark.parametrize("number", ["", "seven", "1.5"])
    def test_a_sequence_number_that_is_none_is_refused(self, number):
        body = VENDOR["GetRecordsResult"](nextShardIterator="c")
        body.records.add(sequenceNumber=number)
        with pytest.raises(msgspec.MsgspecError, match="sequenceNumber is no number"):
            CODEC.decode_get_reply(body.SerializeToString())


DECODERS = [CODEC.decode_put, CODEC.decode_put_reply, CODEC.decode_get_reply]
each_decoder = pytest.mark.parametrize("decode", DECODERS, ids=lambda d: d.__name__)


class TestGarbage:
    @each_decoder
    @given(body=st.binary(max_size=200))
    def test_whatever_comes_is_read_or_refused_in_one_way(self, decode, body):
        try:
            decode(body)
        except msgspec.MsgspecError as exc:
            assert "\n" not in str(exc)  # noqa: PT017 - most bytes are read, as unknown fields

    @each_decoder
    @pytest.mark.parametrize(
        "body", [b"\xff", b"\x0a\x05ab", b"{}", b"<html>", b"\x0a" + b"\xff" * 11]
    )
    def test_what_is_no_protobuf_is_told_with_the_messages_name(self, decode, body):
        with pytest.raises(msgspec.DecodeError, match=r"bytes are no (Put|Get)Records\w+ of proto"):
            decode(body)

    @given(st.data(), st.lists(records, min_size=1, max_size=3))
    def test_a_body_cut_short_is_refused_or_has_fewer_records(self, data, sent):
        body = CODEC.encode_put("s", sent, "an id")
        cut = body[: data.draw(st.integers(0, len(body) - 1))]
        try:
            found = CODEC.decode_put(cut)
        except msgspec.DecodeError:
            return
        assert found.stream_id is None
        assert found.records == [as_read(record) for record in sent][: len(found.records)]

    @pytest.mark.parametrize("body", ["0a02fffe", "12032a01ff", "12081a0464617461320180"])
    def test_a_text_that_is_no_utf_8_is_refused(self, body):
        with pytest.raises(msgspec.DecodeError):
            CODEC.decode_put(bytes.fromhex(body))

    def test_unknown_fields_are_passed_over(self):
        vector = VECTORS["put"][0]
        unknown = bytes.fromhex("e03f01" + "ea3f03616263" + "f13f0000000000000000")
        found = CODEC.decode_put(unknown + bytes.fromhex(vector["hex"]) + unknown)
        assert found == CODEC.decode_put(bytes.fromhex(vector["hex"]))


def test_the_library_is_not_imported_before_protobuf_is_used():
    program = (
        "import sys, aiodis, aiodis.server; from aiodis.wire.forms import codec_of;"
        "codec_of('json'); assert not {'google.protobuf', 'cramjam'} & set(sys.modules);"
        "codec_of('protobuf'); assert 'google.protobuf' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
