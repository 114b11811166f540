import json
from base64 import b64encode
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.record import ReceivedRecord, Record
from aiodis.wire.codec import GetReply, PutEntry, PutReply, PutResult
from aiodis.wire.codec_json import JsonCodec, fragments

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/records.json").read_text("utf-8"))
MAX = 2**63 - 1
CODEC = JsonCodec()
each_put = pytest.mark.parametrize("vector", VECTORS["put"], ids=lambda v: v["name"])
optional_text = st.none() | st.text()
records = st.builds(
    Record,
    data=st.binary(),
    partition_key=optional_text,
    explicit_hash_key=st.none() | st.integers(0, MAX),
    partition_id=optional_text,
    timestamp_ms=st.none() | st.integers(0, MAX),
)


def record_of(fields):
    return Record(fields["text"].encode(), **{k: v for k, v in fields.items() if k != "text"})


def as_read(record):
    """The record as a server reads it: the hash has become a text."""
    hashed = record.explicit_hash_key
    return PutEntry.of(
        data=record.data,
        explicit_hash_key=None if hashed is None else str(hashed),
        partition_id=record.partition_id,
        partition_key=record.partition_key,
        timestamp=record.timestamp_ms,
    )


class TestPut:
    @each_put
    def test_a_body_of_the_vendors_clients_is_read(self, vector):
        found = CODEC.decode_put(vector["body"].encode())
        assert found.stream_name == vector["stream_name"]
        assert found.records == [as_read(record_of(fields)) for fields in vector["records"]]

    @pytest.mark.parametrize(
        "vector", [v for v in VECTORS["put"] if v["written_alike"]], ids=lambda v: v["name"]
    )
    def test_a_body_is_written_as_the_vendors_clients_do(self, vector):
        written = CODEC.encode_put(
            vector["stream_name"], [record_of(fields) for fields in vector["records"]]
        )
        assert written.decode() == vector["body"]

    @given(st.lists(records, min_size=1), st.text(), optional_text)
    def test_what_is_written_is_read_back(self, sent, stream_name, stream_id):
        found = CODEC.decode_put(CODEC.encode_put(stream_name, sent, stream_id))
        assert found.stream_name == stream_name
        assert found.stream_id == (stream_id or None)
        assert found.records == [as_read(record) for record in sent]

    @given(st.lists(records, min_size=1))
    def test_what_is_written_is_plain_json(self, sent):
        found = json.loads(CODEC.encode_put("s", sent))
        assert list(found) == ["stream_name", "records"]
        assert [entry["data"] for entry in found["records"]] == [
            b64encode(record.data).decode() for record in sent
        ]

    @given(st.binary(max_size=2000))
    def test_data_grows_by_a_third_and_a_fixed_frame(self, data):
        bare = len(CODEC.encode_put("s", [Record(b"")]))
        assert len(CODEC.encode_put("s", [Record(data)])) == bare + (len(data) + 2) // 3 * 4

    @pytest.mark.parametrize("value", [5, 1.5, True, {}, []])
    @pytest.mark.parametrize("name", ["explicit_hash_key", "partition_id", "partition_key", "data"])
    def test_a_text_of_a_record_that_is_none_is_refused(self, name, value):
        body = {"stream_name": "s", "records": [{"data": "ZGF0YQ==", name: value}]}
        with pytest.raises(msgspec.ValidationError):
            CODEC.decode_put(json.dumps(body).encode())

    @pytest.mark.parametrize("name", ["stream_name", "stream_id"])
    def test_a_name_that_is_a_number_is_refused(self, name):
        body = {"stream_name": "s", "records": [{"data": "ZGF0YQ=="}], name: 5}
        with pytest.raises(msgspec.ValidationError):
            CODEC.decode_put(json.dumps(body).encode())

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"records":[{}]}', b"\xff"])
    def test_what_is_no_put_is_refused(self, body):
        with pytest.raises(msgspec.MsgspecError):
            CODEC.decode_put(body)

    @pytest.mark.parametrize(
        "text", ["!", "A", "ab=", "YQ=", "YQ==YQ==", "YQ==\n", " YQ==", "\u00e9"]
    )
    def test_data_that_is_no_base64_has_no_size(self, text):
        body = {"records": [{"data": "YQ=="}, {"data": text}]}
        with pytest.raises(ValueError, match=r"records\.1: data is no base64"):
            CODEC.decode_put(json.dumps(body).encode()).sizes()

    @given(st.lists(st.binary(max_size=2000), min_size=1))
    def test_the_sizes_are_those_of_the_data(self, data):
        put = CODEC.decode_put(CODEC.encode_put("s", [Record(item) for item in data]))
        assert put.sizes() == [len(item) for item in data]

    def test_a_record_without_data_is_read_as_empty_for_the_server_to_refuse(self):
        found = CODEC.decode_put(b'{"stream_name":"s","records":[{"data":""}]}')
        assert found.records == [PutEntry.of(data=b"")]


class TestPutReply:
    VECTOR = VECTORS["put_reply"]

    def test_the_services_form_is_read(self):
        found = CODEC.decode_put_reply(self.VECTOR["body"].encode())
        assert found.failed_record_count == self.VECTOR["failed_record_count"]
        assert found.records == [PutResult(**fields) for fields in self.VECTOR["results"]]

    def test_it_is_written_with_the_place_or_the_error_and_never_a_null(self):
        results = [PutResult(**fields) for fields in self.VECTOR["results"]]
        written = PutReply(self.VECTOR["failed_record_count"], results).encode()
        assert written.decode() == self.VECTOR["body"]

    def test_a_null_of_the_other_kind_is_read_as_left_out(self):
        body = b'{"failed_record_count":0,"records":[{"sequence_number":"1","error_code":null}]}'
        assert PutReply.decode(body).records == [PutResult(sequence_number="1")]

    def test_unknown_fields_are_passed_over(self):
        body = b'{"failed_record_count":0,"records":[{"sequence_number":"1","x":1}],"y":2}'
        assert PutReply.decode(body).records == [PutResult(sequence_number="1")]


class TestGetReply:
    VECTOR = VECTORS["get_reply"]

    def test_the_services_form_is_read(self):
        found = CODEC.decode_get_reply(self.VECTOR["body"].encode())
        assert found.next_partition_cursor == self.VECTOR["next_partition_cursor"]
        assert found.records == [
            ReceivedRecord(
                sequence_number=fields["sequence_number"],
                data=fields["text"].encode(),
                partition_key=fields["partition_key"],
                timestamp=fields["timestamp"],
            )
            for fields in self.VECTOR["records"]
        ]

    def test_an_empty_page_has_a_cursor_and_no_record(self):
        body = b'{"next_partition_cursor":"c","records":[]}'
        assert CODEC.decode_get_reply(body) == GetReply("c", [])
        assert GetReply("c", []).encode() == body
        assert CODEC.decode_get_reply(b'{"next_partition_cursor":"c"}') == GetReply("c", [])

    def test_an_answer_without_a_cursor_is_none(self):
        with pytest.raises(msgspec.MsgspecError):
            CODEC.decode_get_reply(b'{"records":[]}')

    @pytest.mark.parametrize("spaced", [False, True])
    @pytest.mark.parametrize("sizes", [(900, 0, 1), (0, 900), (900, 70_000)])
    def test_long_records_are_read_like_short_ones(self, sizes, spaced):
        fields = [
            {
                "sequence_number": str(number),
                "data": b64encode(bytes([number]) * size).decode(),
                "partition_key": "k\u00e9y" if number else None,
                "timestamp": 17 + number,
                "timestamp_type": "LogAppendTime",
                "partition_id": "shardId-0000000000",
            }
            for number, size in enumerate(sizes)
        ]
        separators = (", ", ": ") if spaced else (",", ":")
        body = json.dumps({"next_partition_cursor": "c", "records": fields}, separators=separators)
        assert CODEC.decode_get_reply(body.encode()) == GetReply.decode(body.encode())

    @pytest.mark.parametrize("spoilt", ["=", "*", "\u00e9", "\n", "AAA"])
    @pytest.mark.parametrize("length", [4, 4000])
    def test_data_that_is_no_base64_is_refused_short_or_long(self, length, spoilt):
        record = {"sequence_number": "1", "data": "A" * length + spoilt}
        body = json.dumps({"next_partition_cursor": "c", "records": [record]}).encode()
        with pytest.raises(msgspec.MsgspecError):
            CODEC.decode_get_reply(body)

    def test_the_row_and_the_codec_read_alike(self):
        body = self.VECTOR["body"].encode()
        assert GetReply.decode(body) == CODEC.decode_get_reply(body)

    @given(
        st.lists(
            st.tuples(
                st.integers(0, MAX), st.binary(), optional_text, st.integers(0, 9_999_999_999_999)
            )
        )
    )
    def test_fragments_are_read_back_as_records(self, stored):
        written = [
            fragments([PutEntry.of(data, partition_key=key, timestamp=at)], sequence, 0)[0]
            for sequence, data, key, at in stored
        ]
        body = '{"next_partition_cursor":"c","records":[' + ",".join(written) + "]}"
        found = CODEC.decode_get_reply(body.encode("ascii"))
        assert found.records == [
            ReceivedRecord(sequence_number=sequence, data=data, partition_key=key, timestamp=at)
            for sequence, data, key, at in stored
        ]

    def test_a_fragment_is_the_services_form_of_a_record(self):
        entries = [
            PutEntry.of(b"data", partition_key="k"),
            PutEntry.of(b"data", partition_id="0", partition_key="k", timestamp=1_700_000_000_001),
        ]
        keyed, bare = map(json.loads, fragments(entries, 289911, 1_700_000_000_000))
        assert [keyed, bare] == json.loads(self.VECTOR["body"])["records"]
