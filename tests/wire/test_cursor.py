import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodis.api.shared import MAX_SEQUENCE
from aiodis.wire.cursor import CursorContent, decode_cursor, encode_cursor

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/cursors.json").read_text("utf-8"))
each_real = pytest.mark.parametrize(
    "vector", VECTORS["cursors"], ids=[v["cursor_type"] for v in VECTORS["cursors"]]
)
TYPES = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
contents = st.builds(
    CursorContent,
    stream_name=names,
    partition_id=st.sampled_from(["0", "7", "shardId-0000000000", "shardId-9999999999"]),
    cursor_type=st.sampled_from(TYPES),
    sequence_number=st.integers(0, MAX_SEQUENCE),
    issued_ms=st.integers(0, 9_999_999_999_999),
    stream_id=st.none() | st.from_regex(r"[A-Za-z0-9]{20}", fullmatch=True),
)


def on_the_wire(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def content_of(vector):
    return CursorContent(**{k: v for k, v in vector.items() if k != "json"})


@each_real
def test_a_cursor_of_the_real_service_is_read(vector):
    assert decode_cursor(on_the_wire(vector["json"])) == content_of(vector)


@each_real
def test_a_cursor_is_written_byte_for_byte_as_the_real_service_does(vector):
    assert encode_cursor(content_of(vector)) == on_the_wire(vector["json"])


@given(contents)
def test_a_cursor_is_read_back_as_written(content):
    cursor = encode_cursor(content)
    assert decode_cursor(cursor) == content
    assert "=" not in cursor
    assert cursor.isascii()


@given(contents)
def test_a_padded_cursor_is_read_too(content):
    cursor = encode_cursor(content)
    assert decode_cursor(cursor + "=" * (-len(cursor) % 4)) == content


def test_the_longest_cursor_keeps_within_the_references_512_characters():
    longest = CursorContent(
        stream_name="s" * 64,
        partition_id="shardId-0000000000",
        cursor_type="AFTER_SEQUENCE_NUMBER",
        sequence_number=MAX_SEQUENCE,
        issued_ms=9_999_999_999_999,
        stream_id="i" * 20,
    )
    assert len(encode_cursor(longest)) <= 512


@given(st.text())
@example("")
@example("=")
@example("AAAAA")
@example("ключ")
@example("\ud800")
def test_any_text_is_no_cursor(text):
    with pytest.raises(ValueError, match="not a partition cursor"):
        decode_cursor(text)


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
@example(b"{}")
@example(b"\xff\xfe")
@example(b"[" * 100_000)
def test_base64_of_anything_else_is_no_cursor(raw):
    with pytest.raises(ValueError, match="not a partition cursor"):
        decode_cursor(on_the_wire(raw))


@given(contents, st.data())
def test_a_cut_cursor_is_none(content, data):
    cursor = encode_cursor(content)
    cut = data.draw(st.integers(0, len(cursor) - 2))
    with pytest.raises(ValueError, match="not a partition cursor"):
        decode_cursor(cursor[:cut])


@pytest.mark.parametrize("number", ["", "-1", "1.5", "x", "٣", " 1", "9" * 20, "9" * 5000])
def test_a_starting_sequence_number_that_is_none_makes_no_cursor(number):
    text = VECTORS["cursors"][0]["json"]
    fields = json.loads(text)
    fields["getIteratorParam"]["starting-sequence-number"] = number
    with pytest.raises(ValueError, match="not a partition cursor"):
        decode_cursor(on_the_wire(json.dumps(fields)))


def test_fields_that_the_service_may_add_are_passed_over():
    fields = json.loads(VECTORS["cursors"][0]["json"])
    fields["new"] = fields["getIteratorParam"]["new"] = 1
    assert decode_cursor(on_the_wire(json.dumps(fields))) == content_of(VECTORS["cursors"][0])
