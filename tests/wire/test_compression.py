import tracemalloc

import cramjam
import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aiodis.wire.compression import BodyTooLargeError, compress, decompress

MIB = 1024 * 1024
BODY = b'{"stream_name":"s1","records":[]}' * 20
FORMS = ["lz4", "snappy", "zstd"]
each_form = pytest.mark.parametrize("form", FORMS)
LENGTHS = {"lz4": "x-dis-lz4-content-length", "zstd": "x-dis-zstd-content-length"}
each_length = pytest.mark.parametrize(("form", "header"), LENGTHS.items())


class TestCompress:
    def test_without_a_compression_nothing_changes(self):
        packed, headers = compress(BODY, "none")
        assert packed is BODY
        assert headers == {}
        assert decompress(BODY, headers, 1) is BODY

    @each_form
    def test_the_headers_are_those_of_the_vendors_clients(self, form):
        packed, headers = compress(BODY, form)
        assert len(packed) < len(BODY) / 4
        length = {LENGTHS[form]: str(len(BODY))} if form in LENGTHS else {}
        assert headers == {"Content-Encoding": form, "Accept-Encoding": form, **length}

    @each_form
    @given(st.binary(max_size=3000) | st.binary(max_size=30).map(lambda b: b * 1000))
    def test_what_is_compressed_is_had_back(self, form, body):
        packed, headers = compress(body, form)
        assert decompress(packed, headers, len(body)) == body
        assert decompress(packed, CIMultiDict(headers), MIB) == body

    def test_other_libraries_read_what_is_written(self):
        assert lz4.block.decompress(compress(BODY, "lz4")[0], uncompressed_size=len(BODY)) == BODY
        assert zstandard.ZstdDecompressor().decompress(compress(BODY, "zstd")[0]) == BODY

    def test_what_other_libraries_write_is_read(self):
        for form, packed in [
            ("lz4", lz4.block.compress(BODY, mode="high_compression", store_size=False)),
            ("zstd", zstandard.ZstdCompressor(level=19, write_checksum=True).compress(BODY)),
            ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(BODY)),
        ]:
            headers = {"Content-Encoding": form, LENGTHS[form]: str(len(BODY))}
            assert decompress(packed, headers, len(BODY)) == BODY


class TestHeaders:
    @pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "identity"}])
    def test_a_body_without_an_encoding_is_given_as_it_is(self, headers):
        assert decompress(BODY, headers, 1) is BODY

    @each_form
    def test_an_encoding_is_known_in_any_case(self, form):
        packed, headers = compress(BODY, form)
        headers["Content-Encoding"] = f" {form.upper()} "
        assert decompress(packed, headers, MIB) == BODY

    @pytest.mark.parametrize("encoding", ["gzip", "lz4, zstd", "none", "x" * 1000])
    def test_an_unknown_encoding_is_told_with_those_that_are_known(self, encoding):
        with pytest.raises(ValueError, match=r"is none of lz4, snappy, zstd$") as raised:
            decompress(BODY, {"Content-Encoding": encoding}, MIB)
        assert len(str(raised.value)) < 120

    @each_length
    def test_a_missing_length_is_told(self, form, header):
        packed, headers = compress(BODY, form)
        del headers[header]
        with pytest.raises(ValueError, match=f"^{header} is missing$"):
            decompress(packed, headers, MIB)

    @each_length
    @pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "0x10", "\u0663", "9" * 400])
    def test_a_length_that_is_no_number_is_told(self, form, header, value):
        packed, headers = compress(BODY, form)
        headers[header] = value
        with pytest.raises(ValueError, match=f"^{header} is no number of bytes$"):
            decompress(packed, headers, MIB)

    @each_length
    @pytest.mark.parametrize("off", [-1, 1, 1000])
    def test_a_wrong_length_is_told_in_one_line(self, form, header, off):
        packed, headers = compress(BODY * 2, form)
        headers[header] = str(len(BODY) * 2 + off)
        with pytest.raises(ValueError, match="claims") as raised:
            decompress(packed, headers, MIB)
        assert "\n" not in str(raised.value)


class TestGarbage:
    @each_form
    @given(body=st.binary(max_size=300), length=st.integers(0, 10_000))
    def test_whatever_comes_is_read_or_refused(self, form, body, length):
        headers = {"Content-Encoding": form, **dict.fromkeys(LENGTHS.values(), str(length))}
        try:
            found = decompress(body, headers, 10_000)
        except ValueError as exc:
            assert "\n" not in str(exc)  # noqa: PT017 - some bytes are a body
        else:
            assert len(found) <= 10_000

    @each_form
    def test_a_body_of_another_form_is_refused(self, form):
        packed, headers = compress(BODY, form)
        for other in FORMS:
            headers["Content-Encoding"] = other
            headers |= dict.fromkeys(LENGTHS.values(), str(len(BODY)))
            if other != form:
                with pytest.raises(ValueError, match=f"no {other} of the length it claims"):
                    decompress(packed, headers, MIB)

    @each_form
    def test_a_body_cut_short_or_with_something_behind_it_is_refused(self, form):
        packed, headers = compress(BODY, form)
        for spoilt in (packed[:-1], packed[: len(packed) // 2], b"", packed + b"more"):
            with pytest.raises(ValueError, match="claims"):
                decompress(spoilt, headers, MIB)


class TestBombs:
    @each_form
    def test_a_body_that_says_it_is_too_large_is_not_unpacked(self, form):
        packed, headers = compress(bytes(64 * MIB), form)
        assert peak_of(lambda: refused(packed, headers, BodyTooLargeError)) < MIB

    @each_form
    def test_a_body_larger_than_it_says_is_not_unpacked_further(self, form):
        packed, headers = compress(bytes(64 * MIB), form)
        if form == "snappy":  # its length stands in front, in seven bits a byte
            assert packed[:4] == b"\x80\x80\x80\x20"
            packed = b"\x80\x80\x40" + packed[4:]
        else:
            headers[LENGTHS[form]] = str(MIB)
        assert peak_of(lambda: refused(packed, headers, ValueError)) < 3 * MIB

    def test_many_frames_count_as_one_body(self):
        frame = bytes(cramjam.zstd.compress(bytes(MIB)))
        headers = {"Content-Encoding": "zstd", LENGTHS["zstd"]: str(MIB)}
        assert peak_of(lambda: refused(frame * 64, headers, ValueError)) < 3 * MIB


def refused(packed, headers, error):
    with pytest.raises(error):
        decompress(packed, headers, 2 * MIB)


def peak_of(act):
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
