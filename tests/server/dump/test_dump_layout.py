"""Which files a dump makes of records: plain decisions, told the time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.api.destinations import ObsDestination, ProcessingSchema
from aiodis.server.dump.layout import files_of, time_in

NOW_MS = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
NAME = "id_shardId-0000000003_0000000000000000007"


def obs(**fields):
    return ObsDestination(
        task_name="t", agency_name="a", deliver_time_interval=30, obs_bucket_path="bucket", **fields
    )


def files(*records, **fields):
    return files_of(obs(**fields), "id", 3, 7, records, NOW_MS)


def at(form=None):
    kind = "Timestamp" if form is None else "String"
    return ProcessingSchema(timestamp_name="at", timestamp_type=kind, timestamp_format=form)


@pytest.mark.parametrize("delimiter", [None, ",", ";", "|", "\n"])
def test_a_file_holds_each_record_with_the_delimiter_behind_it(delimiter):
    end = (delimiter or "\n").encode()
    assert files(b"one", b"\x00\xff", record_delimiter=delimiter) == {
        NAME: b"one" + end + b"\x00\xff" + end
    }


@pytest.mark.parametrize(
    ("prefix", "form", "path"),
    [
        (None, None, NAME),
        ("", "yyyy", f"2023/{NAME}"),
        ("a", None, f"a/{NAME}"),
        ("a/b", "yyyy/MM", f"a/b/2023/11/{NAME}"),
        ("a//b/", "yyyy/MM/dd", f"a/b/2023/11/14/{NAME}"),
        (None, "yyyy/MM/dd/HH", f"2023/11/14/22/{NAME}"),
        ("x", "yyyy/MM/dd/HH/mm", f"x/2023/11/14/22/13/{NAME}"),
    ],
)
def test_a_file_is_in_the_directories_of_the_prefix_and_of_the_deliverys_time(prefix, form, path):
    assert list(files(b"r", file_prefix=prefix, partition_format=form)) == [path]


def test_records_with_their_own_times_go_to_their_own_directories_in_their_order():
    early, late, none = (b'{"at":0,"n":1}', b'{"at":86400000}', b"no JSON")
    found = files(early, none, late, early, partition_format="yyyy/MM/dd", processing_schema=at())
    assert found == {
        f"1970/01/01/{NAME}": early + b"\n" + early + b"\n",
        f"2023/11/14/{NAME}": none + b"\n",
        f"1970/01/02/{NAME}": late + b"\n",
    }


def test_own_times_without_a_time_directory_change_nothing():
    assert list(files(b'{"at":0}', processing_schema=at())) == [NAME]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("yyyy/MM/dd HH:mm:ss", "2023/11/14 22:13:20"),
        ("MM/dd/yyyy HH:mm:ss", "11/14/2023 22:13:20"),
        ("dd/MM/yyyy HH:mm:ss", "14/11/2023 22:13:20"),
        ("yyyy-MM-dd HH:mm:ss", "2023-11-14 22:13:20"),
        ("MM-dd-yyyy HH:mm:ss", "11-14-2023 22:13:20"),
        ("dd-MM-yyyy HH:mm:ss", "14-11-2023 22:13:20"),
    ],
)
def test_a_time_as_text_is_read_by_its_format(form, text):
    assert time_in(json.dumps({"at": text}).encode(), at(form)) == NOW_MS
    assert time_in(json.dumps({"at": f"{text} "[1:]}).encode(), at(form)) is None


@pytest.mark.parametrize("value", [NOW_MS, str(NOW_MS)])
def test_a_timestamp_is_a_number_of_milliseconds(value):
    assert time_in(json.dumps({"a": [1], "at": value}).encode(), at()) == NOW_MS


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"5",
        b"{}",
        b'{"at":null}',
        b'{"at":true}',
        b'{"at":[]}',
        b'{"at":-1}',
        b'{"at":1.5}',
        b'{"at":9999999999999999999999}',
        b'{"at":253402300800000}',
        b'{"at":"' + b"9" * 5000 + b'"}',
        b'{"at":"x"}',
        b'{"b":' + b"[" * 200_000,
    ],
)
def test_what_tells_no_time_tells_none(data):
    assert time_in(data, at()) is None
    assert time_in(data, at("yyyy-MM-dd HH:mm:ss")) is None


@given(st.lists(st.binary(max_size=5) | st.integers().map(lambda n: b'{"at":%d}' % n)))
def test_no_record_is_lost_or_doubled_whatever_they_hold(records):
    found = files(*records, record_delimiter="|", partition_format="yyyy", processing_schema=at())
    assert sum(map(len, found.values())) == sum(len(r) + 1 for r in records)
    joined = b"".join(found.values())
    assert all(record + b"|" in joined for record in records)
