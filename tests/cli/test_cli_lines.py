"""Lines of what is read, in whatever pieces it comes."""

import asyncio
import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.api.records import MAX_RECORD_BYTES
from aiodis.cli.lines import LineError, LineSplitter, read_chunks


def split(pieces):
    splitter = LineSplitter("x")
    chunks = [splitter.feed(piece) for piece in pieces] + [splitter.end()]
    return [chunk for chunk in chunks if chunk is not None]


@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\0", b"\n"))))
def test_lines_do_not_depend_on_the_pieces(pieces):
    whole = b"".join(pieces)
    lines = [line for chunk in split(pieces) for line in chunk.lines]
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert lines == [line.removesuffix(b"\r") for line in expected]


def test_chunks_say_where_their_first_line_is():
    chunks = split([b"a\nb", b"\nc\nd\n", b"e"])
    assert [(chunk.first_line, chunk.lines) for chunk in chunks] == [
        (1, [b"a"]),
        (2, [b"b", b"c", b"d"]),
        (5, [b"e"]),
    ]


def test_the_longest_line_is_a_record_and_one_byte_more_is_an_error_with_its_number():
    longest = b"x" * MAX_RECORD_BYTES
    assert split([longest + b"\r\n"])[0].lines == [longest]
    with pytest.raises(LineError, match="x:2: more than"):
        split([b"a\n" + longest + b"y\n"])


def test_a_line_without_an_end_is_given_up_when_it_cannot_become_a_record():
    splitter = LineSplitter("x")
    for _ in range(MAX_RECORD_BYTES // 1024):
        assert splitter.feed(b"x" * 1024) is None
    with pytest.raises(LineError):
        splitter.feed(b"x" * 1024)


async def test_sources_are_read_one_after_the_other(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"a\nb")
    second.write_bytes(b"\x00\n\n")
    chunks = [chunk async for chunk in read_chunks([first, second], whole=False)]
    assert [line for chunk in chunks for line in chunk.lines] == [b"a", b"b", b"\x00", b""]
    whole = [chunk async for chunk in read_chunks([first, second], whole=True)]
    assert [chunk.lines for chunk in whole] == [[b"a\nb"], [b"\x00\n\n"]]


async def test_a_slow_taker_holds_the_reading_up(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    written = 0

    def write():
        nonlocal written
        with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as file:
            for _ in range(200):
                written += file.write(b"x" * 65535 + b"\n")

    writer = asyncio.get_running_loop().run_in_executor(None, write)
    async with contextlib.aclosing(read_chunks([pipe], whole=False)) as chunks:
        await anext(chunks)
        before = -1
        while before != written:  # until nothing more fits into what is held
            before = written
            await asyncio.sleep(0.2)
        assert 0 < written < 4 * 1024 * 1024
        taken = 1
        async for chunk in chunks:
            taken += len(chunk.lines)
            if taken > 100:
                break
    await writer


async def test_a_source_that_cannot_be_read_is_an_error_behind_what_was_read(tmp_path):
    first = tmp_path / "1"
    first.write_bytes(b"a\n")
    chunks = read_chunks([first, tmp_path / "none"], whole=False)
    assert (await anext(chunks)).lines == [b"a"]
    with pytest.raises(FileNotFoundError):
        await anext(chunks)
