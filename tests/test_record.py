import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.record import Record, RecordMetadata, partition_name, partition_number


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "shardId-0000000000"), (12, "shardId-0000000012"), (9_999_999_999, "shardId-9999999999")],
)
def test_a_partition_has_the_services_name(number, name):
    assert partition_name(number) == name


@given(st.integers(0, 10**10 - 1))
def test_both_forms_of_a_partition_id_name_the_same_partition(number):
    assert partition_number(partition_name(number)) == number
    assert partition_number(str(number)) == number


@pytest.mark.parametrize("text", ["shardId-1", "0000000001", "shardId-0000000001", "01"])
def test_zeros_in_front_do_not_matter(text):
    assert partition_number(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shardId-",
        "-1",
        "+1",
        " 1",
        "1.0",
        "shardid-0",
        "shardId-shardId-0",
        "٣",
        "²",
        "0" * 11,
        "x" * 1000,
    ],
)
def test_anything_else_is_no_partition_id(text):
    with pytest.raises(ValueError, match="not a partition id") as caught:
        partition_number(text)
    assert len(str(caught.value)) < 80


def test_a_records_repr_does_not_show_its_data():
    record = Record(b"s3cret", "key")
    assert "s3cret" not in repr(record)
    assert "key" in repr(record)


def test_a_record_is_a_value():
    assert Record(b"a", "k") == Record(b"a", partition_key="k")
    with pytest.raises(AttributeError):
        Record(b"a").data = b"b"


def test_metadata_is_of_the_first_try_unless_said_otherwise():
    made = RecordMetadata("shardId-0000000000", 7)
    assert (made.attempts, made.reordered) == (1, False)
