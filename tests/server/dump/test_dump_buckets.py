"""The stand-ins for OBS: the same whether in a folder or in memory."""

import pytest

from aiodis.server.dump.buckets import FolderBuckets, MemoryBuckets, is_bucket_name


@pytest.fixture(params=["folder", "memory"])
def buckets(request, tmp_path):
    return MemoryBuckets() if request.param == "memory" else FolderBuckets(tmp_path / "obs")


def test_files_are_listed_and_read_by_their_paths(buckets):
    assert (buckets.names(), buckets.files("none")) == ([], [])
    buckets.make("two")
    buckets.make("two")
    buckets.write("one", "b", b"1")
    buckets.write("one", "a/c", b"2")
    assert (buckets.names(), buckets.files("one")) == (["one", "two"], ["a/c", "b"])
    assert [buckets.read("one", name) for name in buckets.files("one")] == [b"2", b"1"]


def test_a_file_of_the_same_name_is_replaced(buckets):
    buckets.write("one", "a", b"longer")
    buckets.write("one", "a", b"new")
    assert (buckets.files("one"), buckets.read("one", "a")) == (["a"], b"new")


def test_a_file_that_is_not_there_is_told(buckets):
    with pytest.raises(FileNotFoundError):
        buckets.read("one", "a")


def test_a_file_that_was_not_finished_is_none(tmp_path):
    buckets = FolderBuckets(tmp_path)
    buckets.write("one", "a/b", b"whole")
    (tmp_path / "one/a/b.unfinished").write_bytes(b"ha")
    assert buckets.files("one") == ["a/b"]


def test_names_of_buckets_are_those_of_obs():
    for good in ("abc", "a-b.c", "0" * 63):
        assert is_bucket_name(good)
    for bad in ("", "ab", "A" * 3, "a_b", "-ab", "ab-", "a..b", "../a", "a/b", "x" * 64, "abc\n"):
        assert not is_bucket_name(bad)
