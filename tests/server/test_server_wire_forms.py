"""Protobuf and compressed bodies, over the socket, by a caller that has no client of ours."""

import json
import sys
from io import BytesIO

import cramjam
import lz4.block
import pytest
import zstandard
from server_caller import calling, record
from yarl import URL

from aiodis.api import OPERATIONS
from aiodis.credentials import AccessKey
from aiodis.record import ReceivedRecord, Record
from aiodis.server import guesses
from aiodis.wire import compression, forms
from aiodis.wire.codec import PutResult
from aiodis.wire.codec_protobuf import ProtobufCodec
from aiodis.wire.signing import Scheme, Unsigned, payload_hash, sign

CODEC = ProtobufCodec()
PROTOBUF = {"Content-Type": "application/x-protobuf; charset=utf-8"}
AK, SK = "AKIDEXAMPLE", "SKEXAMPLEKEY0123456789"


def packed(form, body):
    """Compress with another library where there is one; give the headers too."""
    match form:
        case "lz4":
            sent = lz4.block.compress(body, store_size=False)
            headers = {"x-dis-lz4-content-length": str(len(body))}
        case "zstd":
            sent = zstandard.ZstdCompressor().compress(body)
            headers = {"x-dis-zstd-content-length": str(len(body))}
        case "snappy":
            sent, headers = bytes(cramjam.snappy.compress_raw(body)), {}
    return sent, {"Content-Encoding": form, "Accept-Encoding": form, **headers}


each_form = pytest.mark.parametrize("form", ["lz4", "snappy", "zstd"])


async def send(dis, method, path, body=b"", *, headers, status=200, **options):
    """Send a raw body; give the answer's body and its type."""
    url = path if path.startswith("/") else f"/v2/{dis.server.project_id}/{path}"
    data = BytesIO(body) if body else None
    async with dis.session.request(method, url, data=data, headers=headers, **options) as response:
        found = await response.read()
        assert response.status == status, found
        assert "Content-Encoding" not in response.headers
        return found, response.headers.get("Content-Type")


async def put_protobuf(dis, records, name="s", **options):
    body, content_type = await send(
        dis, "POST", "records", CODEC.encode_put(name, records), headers=PROTOBUF, **options
    )
    assert content_type.startswith("application/x-protobuf")
    return CODEC.decode_put_reply(body)


async def get_protobuf(dis, cursor):
    body, content_type = await send(
        dis, "GET", "records", headers=PROTOBUF, params={"partition-cursor": cursor}
    )
    assert content_type.startswith("application/x-protobuf")
    return CODEC.decode_get_reply(body)


class TestProtobuf:
    @pytest.mark.parametrize(
        "content_type",
        [
            "application/x-protobuf",
            "application/x-protobuf;charset=utf-8",
            "Application/X-Protobuf",
        ],
    )
    async def test_a_put_is_read_and_answered_in_it(self, dis, content_type):
        await dis.create()
        body = CODEC.encode_put("s", [Record(b"a", "k"), Record(b"b", "k")])
        answer, given = await send(
            dis, "POST", "records", body, headers={"Content-Type": content_type}
        )
        assert given.startswith("application/x-protobuf")
        reply = CODEC.decode_put_reply(answer)
        assert reply.failed_record_count == 0
        assert reply.records == [PutResult("shardId-0000000000", str(n)) for n in range(2)]

    async def test_records_are_the_same_in_both_forms_whichever_brought_them(self, dis, clock):
        await dis.create()
        await put_protobuf(dis, [Record(b"\x00\xff", "k\u00fc"), Record(b"a", partition_id="0")])
        await dis.put([record(b"\x00\xff", partition_key="k\u00fc"), record(b"a", timestamp=5)])
        cursor = await dis.cursor()
        found = await get_protobuf(dis, cursor)
        now = clock.now_ms()
        assert found.records == [
            ReceivedRecord(0, b"\x00\xff", "k\u00fc", now),
            ReceivedRecord(1, b"a", None, now),
            ReceivedRecord(2, b"\x00\xff", "k\u00fc", now),
            ReceivedRecord(3, b"a", None, 5),
        ]
        in_json = await dis.get(cursor)
        assert found.next_partition_cursor == in_json["next_partition_cursor"]
        assert [int(r["sequence_number"]) for r in in_json["records"]] == [0, 1, 2, 3]
        assert in_json["records"][0]["partition_key"] == "k\u00fc"
        assert (await get_protobuf(dis, found.next_partition_cursor)).records == []

    async def test_every_way_to_a_partition_works(self, dis):
        await dis.create(partitions=2)
        reply = await put_protobuf(
            dis,
            [
                Record(b"a", explicit_hash_key=0),
                Record(b"a", explicit_hash_key=2**63 - 1),
                Record(b"a", "k", partition_id="shardId-0000000001"),
                Record(b"a", timestamp_ms=0),
            ],
        )
        assert [r.partition_id[-1] for r in reply.records[:3]] == ["0", "1", "1"]
        assert reply.failed_record_count == 0

    async def test_a_record_that_fails_has_its_error_inside_the_answer(self, dis):
        await dis.create()
        reply = await put_protobuf(dis, [Record(b"a", partition_id="7"), Record(b"a")])
        assert reply.failed_record_count == 1
        failed, stored = reply.records
        assert failed.error_code == "DIS.4302"
        assert failed.error_message
        assert failed.partition_id is failed.sequence_number is None
        assert stored == PutResult("shardId-0000000000", "0")

    async def test_a_stream_is_found_by_its_id_where_it_has_no_name(self, dis):
        await dis.create()
        stream_id = (await dis.describe())["stream_id"]
        body = CODEC.encode_put("", [Record(b"a")], stream_id)
        answer, _ = await send(dis, "POST", "records", body, headers=PROTOBUF)
        assert CODEC.decode_put_reply(answer).failed_record_count == 0

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "DIS.4202"),
            (b"{}", "DIS.4300"),
            (b"\x0a\x02\xff\xfe", "DIS.4300"),
            (b"\x0a\x01s", "DIS.4200"),  # no records
            (b"\x0a\x01s\x12\x00", "DIS.4200"),  # a record without data
            (CODEC.encode_put("other", [Record(b"a")]), "DIS.4301"),
            (CODEC.encode_put("s", [Record(b"a", timestamp_ms=-1)]), "DIS.4200"),
        ],
    )
    async def test_errors_are_json(self, dis, body, code):
        await dis.create()
        data = BytesIO(body) if body else None
        await dis.refused(code, "POST", "records", data=data, headers=PROTOBUF)
        assert dis.last.content_type == "application/json"

    async def test_a_read_that_is_refused_is_json_too(self, dis):
        await dis.refused("DIS.4217", "GET", "records", {"partition-cursor": "x"}, headers=PROTOBUF)
        assert dis.last.content_type == "application/json"

    async def test_the_other_operations_know_json_only(self, dis):
        await dis.create()
        found, content_type = await send(dis, "GET", "streams/s", headers=PROTOBUF)
        assert content_type == "application/json"
        assert json.loads(found)["stream_name"] == "s"

    async def test_without_the_library_it_is_refused_plainly(self, dis, monkeypatch):
        monkeypatch.setitem(sys.modules, "google.protobuf", None)
        monkeypatch.delitem(sys.modules, "aiodis.wire.codec_protobuf")
        forms._protobuf.cache_clear()
        try:
            message = await dis.refused(
                "DIS.4200", "POST", "records", data=BytesIO(b"x"), headers=PROTOBUF
            )
            assert "Content-Type: protobuf bodies need protobuf: install aiodis[" in message
        finally:
            forms._protobuf.cache_clear()


class TestCompression:
    @each_form
    async def test_json_is_read_from_it(self, dis, form):
        stream = json.dumps({"stream_name": "s", "partition_count": 1}).encode()
        body, headers = packed(form, stream)
        await send(dis, "POST", "streams", body, headers=headers, status=201)
        put = json.dumps({"stream_name": "s", "records": [record(b"x" * 1000)] * 20}).encode()
        body, headers = packed(form, put)
        answer, content_type = await send(dis, "POST", "records", body, headers=headers)
        assert content_type == "application/json"
        assert json.loads(answer)["failed_record_count"] == 0
        assert len(await dis.read_all()) == 20
        body, headers = packed(form, json.dumps({"data_duration": 48}).encode())
        path = f"/v3/{dis.server.project_id}/streams/s"
        await send(dis, "PUT", path, body, headers=headers, status=204)
        assert (await dis.describe())["retention_period"] == 48

    @each_form
    async def test_protobuf_is_read_from_it(self, dis, form):
        await dis.create()
        body, headers = packed(form, CODEC.encode_put("s", [Record(b"x" * 1000)] * 20))
        answer, _ = await send(dis, "POST", "records", body, headers=headers | PROTOBUF)
        assert CODEC.decode_put_reply(answer).failed_record_count == 0
        found = await get_protobuf(dis, await dis.cursor())
        assert [r.data for r in found.records] == [b"x" * 1000] * 20

    @each_form
    async def test_a_get_or_delete_has_nothing_to_unpack(self, dis, form):
        await dis.create()
        for method, status in (("GET", 200), ("DELETE", 204)):
            await send(
                dis,
                method,
                "streams/s",
                b"no body",
                headers={"Content-Encoding": form},
                status=status,
            )

    @each_form
    async def test_an_empty_body_is_an_empty_request(self, dis, form):
        await dis.refused("DIS.4202", "POST", "records", headers={"Content-Encoding": form})

    @each_form
    @pytest.mark.parametrize("path", ["records", "streams", "apps", "checkpoints"])
    async def test_what_cannot_be_unpacked_is_a_request_error(self, dis, form, path):
        _, headers = packed(form, b"abc")
        message = await dis.refused(
            guesses.UNPACKABLE_CODE, "POST", path, data=BytesIO(b"\xffgarbage"), headers=headers
        )
        assert f"no {form} of the length it claims" in message

    @pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "lz4,zstd"])
    async def test_an_unknown_encoding_is_told_with_those_that_are_known(self, dis, encoding):
        message = await dis.refused(
            "DIS.4300",
            "POST",
            "records",
            data=BytesIO(b"x"),
            headers={"Content-Encoding": encoding},
        )
        assert f"Content-Encoding: '{encoding}' is none of lz4, snappy, zstd" in message

    @pytest.mark.parametrize("form", ["lz4", "zstd"])
    async def test_a_length_that_is_missing_or_wrong_is_told(self, dis, form):
        body, headers = packed(form, b"{}" * 100)
        name = f"x-dis-{form}-content-length"
        for value, told in ((None, f"{name} is missing"), ("199", "claims"), ("201", "claims")):
            given = {**headers, name: value} if value else {"Content-Encoding": form}
            message = await dis.refused(
                "DIS.4300", "POST", "records", data=BytesIO(body), headers=given
            )
            assert told in message

    @each_form
    async def test_a_body_too_large_once_unpacked_is_413(self, dis, form):
        body, headers = packed(form, bytes(16 * 1024**2 + 1))
        message = await dis.refused(
            "DIS.4200", "POST", "records", data=BytesIO(body), headers=headers, status=413
        )
        assert "the body has 16777217 bytes, more than 16777216" in message

    async def test_the_limit_of_a_request_counts_what_was_unpacked(self, dis):
        await dis.create()
        put = json.dumps({"stream_name": "s", "records": [record(bytes(700_000))] * 2}).encode()
        body, headers = packed("lz4", put)
        await dis.refused(
            "DIS.4200",
            "POST",
            "records",
            data=BytesIO(body),
            headers=headers,
            status=guesses.TOO_LARGE_STATUS,
        )

    async def test_without_the_library_it_is_refused_plainly(self, dis, monkeypatch):
        monkeypatch.setitem(sys.modules, "cramjam", None)
        compression._library.cache_clear()
        try:
            message = await dis.refused(
                "DIS.4300",
                "POST",
                "records",
                data=BytesIO(b"x"),
                headers={"Content-Encoding": "lz4"},
            )
            assert "compressed bodies need cramjam: install aiodis[compression]" in message
        finally:
            compression._library.cache_clear()


class TestSigned:
    @pytest.fixture
    async def guarded(self, clock):
        async with calling(clock=clock, access_key=AK, secret_key=SK, anonymous=False) as caller:
            yield caller

    @each_form
    @pytest.mark.parametrize("scheme", Scheme)
    async def test_the_signature_covers_the_bytes_as_sent_and_the_headers(
        self, guarded, form, scheme
    ):
        path = f"/v2/{guarded.server.project_id}/streams"
        raw = json.dumps({"stream_name": "s", "partition_count": 1}).encode()
        body, headers = packed(form, raw)
        signed = self.sign(guarded, path, body, headers, scheme)
        url = URL(guarded.server.endpoint + path, encoded=True)
        for spoilt in ({"Accept-Encoding": "x"}, {"Content-Encoding": "zstd, lz4"}):
            async with guarded.session.post(url, data=body, headers=signed | spoilt) as response:
                assert response.status == 441
        over_raw = self.sign(guarded, path, raw, headers, scheme)
        async with guarded.session.post(url, data=body, headers=over_raw) as response:
            assert response.status == 441
        async with guarded.session.post(url, data=body, headers=signed) as response:
            assert response.status == 201, await response.read()

    async def test_nothing_is_unpacked_for_a_caller_who_may_not_call(self, guarded):
        _, headers = packed("lz4", bytes(100))
        await guarded.refused(
            "DIS.4101", "POST", "records", data=BytesIO(b"garbage"), headers=headers, status=441
        )

    @staticmethod
    def sign(caller, path, body, headers, scheme):
        host = caller.server.endpoint.removeprefix("http://")
        covered = {"Host": host, "Content-Type": "application/json", **headers}
        request = Unsigned("POST", path, "", covered, payload_hash(body))
        now = caller.server.clock.now_ms() / 1000
        return covered | sign(request, AccessKey(AK, SK), scheme=scheme, region="r", now=now)


def test_only_two_operations_carry_records():
    names = [row.name for row in OPERATIONS if row.path.endswith("/records")]
    assert names == ["records.put", "records.get"]
