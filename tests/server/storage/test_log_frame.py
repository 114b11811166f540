import random
import zlib
from pathlib import Path

import pytest

from aiodis.errors import DISError
from aiodis.server.storage.frame import (
    OPENING,
    RECORDS,
    VERSION,
    BlockRow,
    LogDamagedError,
    Opening,
    PutBlock,
    crc32,
    decode_opening,
    decode_records,
    encode_opening,
    encode_records,
    find_frame,
    payload_offsets,
    read_frame,
    unpack_numbers,
)

BLOCKS = [
    PutBlock(3, 10, ['{"a":1}', '{"bb":22}'], [5, 6]),
    PutBlock(4_000_000_000, 2**40, ["{}"], [0]),
]


def test_a_frame_of_records_says_where_its_payloads_lie():
    buffers, rows = encode_records(1234, BLOCKS)
    data = b"before" + b"".join(buffers)
    frame = read_frame(memoryview(data), 6)
    assert frame is not None
    assert (frame.version, frame.kind, frame.end) == (VERSION, RECORDS, len(data))
    assert decode_records(frame.body) == (1234, rows)
    assert rows == [BlockRow(10, 3, 2, 17, 11), BlockRow(2**40, 4_000_000_000, 1, 2, 0)]
    first, second = payload_offsets(rows, 6)
    assert data[first : first + 17] == b'{"a":1},{"bb":22}'
    assert unpack_numbers(data[first - 16 : first]) == (7, 9, 5, 6)
    assert data[second:] == b"{}"


@pytest.mark.parametrize("pairs", [(), ((0, 5), (7, 2**50))])
def test_an_opening_comes_back_as_it_was(pairs):
    opening = Opening(9, 1_700_000_000_000, pairs)
    frame = read_frame(memoryview(b"".join(encode_opening(opening))), 0)
    assert frame is not None
    assert frame.kind == OPENING
    assert decode_opening(frame.body) == opening


@pytest.mark.parametrize(("fragments", "sizes"), [([], []), (["{}"], []), (["{}"], [1, 2])])
def test_a_block_without_records_or_with_other_sizes_is_refused(fragments, sizes):
    with pytest.raises(ValueError, match="fragments"):
        encode_records(0, [PutBlock(0, 0, fragments, sizes)])


def test_a_frame_cut_anywhere_is_no_frame():
    data = b"".join(encode_records(1234, BLOCKS)[0])
    for length in range(len(data)):
        assert read_frame(memoryview(data[:length]), 0) is None


def test_a_frame_with_any_bit_changed_is_no_frame():
    data = bytearray(b"".join(encode_records(1234, BLOCKS)[0]))
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            assert read_frame(memoryview(data), 0) is None
            data[place] ^= 1 << bit


def test_rows_that_do_not_add_up_are_refused():
    frame = read_frame(memoryview(b"".join(encode_records(1, BLOCKS)[0])), 0)
    assert frame is not None
    with pytest.raises(ValueError, match="add up"):
        decode_records(frame.body[:-1])


def test_a_right_frame_is_found_behind_damage_and_behind_false_magic():
    frame = b"".join(encode_records(1, BLOCKS)[0])
    junk = b"\xffDIS" * 3 + b"\0" * 40
    assert find_frame(junk + frame, 0) == len(junk)
    assert find_frame(junk + frame, len(junk) + 1) is None
    assert find_frame(junk + frame[:-1], 0) is None


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000, 100_000])
def test_the_checksum_is_zlibs_whoever_computes_it(size):
    data = random.Random(size).randbytes(size)
    assert crc32(data, 7) == zlib.crc32(data, 7)


def test_the_magic_cannot_stand_in_a_fragment():
    with pytest.raises(UnicodeDecodeError):
        b"".join(encode_records(1, BLOCKS)[0])[:4].decode()


def test_damage_names_the_file_and_the_offset():
    error = LogDamagedError(Path("x/0000000001.log"), 77, "why")
    assert isinstance(error, DISError)
    assert str(error) == "x/0000000001.log, byte 77: why"
    assert (error.path, error.offset, error.reason) == (Path("x/0000000001.log"), 77, "why")
