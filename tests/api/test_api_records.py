import pytest

from aiodis.api.limits import MAX_RECORDS_PER_REQUEST, limits_of
from aiodis.api.records import MAX_RECORD_BYTES, Records, check_record
from aiodis.api.shared import MAX_SEQUENCE
from aiodis.errors import ParameterError
from aiodis.record import Record

MIB = 1024 * 1024
REFUSED = [
    (Record(b""), "data is empty, which the service refuses"),
    (Record(b"x" * (MIB + 1)), f"data has {MIB + 1} bytes, more than {MIB}"),
    (Record("s3cret"), "data must be bytes"),
    (Record(bytearray(b"s3cret")), "data must be bytes"),
    (Record(None), "data must be bytes"),
    (Record(b"a", 5), "partition_key must be str"),
    (Record(b"a", b"k"), "partition_key must be str"),
    (Record(b"a", "\ud800"), "partition_key is no valid Unicode"),
    (Record(b"a", explicit_hash_key=-1), f"explicit_hash_key is not between 0 and {MAX_SEQUENCE}"),
    (
        Record(b"a", explicit_hash_key=2**63),
        f"explicit_hash_key is not between 0 and {MAX_SEQUENCE}",
    ),
    (Record(b"a", explicit_hash_key="5"), "explicit_hash_key must be int"),
    (Record(b"a", explicit_hash_key=True), "explicit_hash_key must be int"),
    (Record(b"a", partition_id="x"), "not a partition id: 'x'"),
    (Record(b"a", partition_id=""), "not a partition id: ''"),
    (Record(b"a", partition_id=0), "partition_id must be str"),
    (Record(b"a", timestamp_ms=-1), f"timestamp_ms is not between 0 and {MAX_SEQUENCE}"),
    (Record(b"a", timestamp_ms=1.5), "timestamp_ms must be int"),
]
each_refused = pytest.mark.parametrize(
    ("record", "rule"), REFUSED, ids=[str(index) for index in range(len(REFUSED))]
)


@pytest.mark.parametrize(
    "record",
    [
        Record(b"\x00"),
        Record(b"x" * MAX_RECORD_BYTES),
        Record(b"a", ""),
        Record(b"a", "用户"),
        Record(b"a", explicit_hash_key=0),
        Record(b"a", explicit_hash_key=MAX_SEQUENCE),
        Record(b"a", partition_id="0"),
        Record(b"a", partition_id="shardId-0000000000"),
        Record(b"a", timestamp_ms=0),
    ],
)
def test_a_record_that_the_service_takes_is_good(record):
    check_record(record)
    assert Records.put.build(stream_name="s", records=[record]).records == [record]


@each_refused
def test_a_record_that_the_service_refuses_is_named_with_its_rule(record, rule):
    with pytest.raises(ValueError) as caught:
        check_record(record)
    assert str(caught.value) == rule


@each_refused
def test_a_put_names_the_first_bad_record_and_never_shows_its_data(record, rule):
    with pytest.raises(ParameterError) as caught:
        Records.put.build(stream_name="s", records=[Record(b"s3cret"), record])
    assert caught.value.rule == f"record 1: {rule}"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "records",
    [
        b"s3cret",
        [b"s3cret"],
        ["s3cret"],
        [{"data": b"s3cret", "partition_id": "x"}],
        [{"data": b"s3cret", "extra": 1}],
        [{"data": 5, "partition_key": "s3cret"}],
        [("s3cret",)],
    ],
)
def test_records_of_another_shape_are_refused_and_not_shown(records):
    with pytest.raises(ParameterError) as caught:
        Records.put.build(stream_name="s", records=records)
    assert caught.value.field.startswith("records")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value)


def test_a_put_needs_a_record():
    with pytest.raises(ParameterError):
        Records.put.build(stream_name="s", records=[])


@pytest.mark.parametrize(
    ("stream_type", "request_bytes", "write_records"),
    [("COMMON", MIB, 1_000), ("ADVANCED", 5 * MIB, 2_000), ("", MIB, 1_000), ("NEW", MIB, 1_000)],
)
def test_a_streams_type_sets_its_limits_and_an_unknown_one_has_the_smaller(
    stream_type, request_bytes, write_records
):
    limits = limits_of(stream_type)
    assert (limits.request_bytes, limits.write_records) == (request_bytes, write_records)
    assert limits.read_bytes == 2 * limits.write_bytes
    assert limits.request_bytes >= MAX_RECORD_BYTES
    assert MAX_RECORDS_PER_REQUEST == 10_000
