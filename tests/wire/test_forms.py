import sys

import pytest

from aiodis.errors import ConfigError
from aiodis.wire import compression, forms
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.codec_protobuf import ProtobufCodec
from aiodis.wire.forms import codec_for, codec_of, require_wire


@pytest.fixture
def without(monkeypatch):
    """Take a library away, as on a machine that lacks it."""

    def take(name):
        for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, "aiodis.wire.codec_protobuf", raising=False)
        forms._protobuf.cache_clear()
        compression._library.cache_clear()

    yield take
    forms._protobuf.cache_clear()
    compression._library.cache_clear()


def test_each_setting_has_its_codec():
    assert isinstance(codec_of("json"), JsonCodec)
    assert isinstance(codec_of("protobuf"), ProtobufCodec)
    assert codec_of("json") is codec_of("json")
    assert codec_of("protobuf") is codec_of("protobuf")


@pytest.mark.parametrize("wire_format", ["json", "protobuf"])
def test_a_codecs_own_type_names_that_codec(wire_format):
    assert codec_for(codec_of(wire_format).content_type) is codec_of(wire_format)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-protobuf",
        "application/x-protobuf;charset=utf-8",
        "Application/X-Protobuf ; charset=UTF-8",
    ],
)
def test_protobufs_type_is_known_in_each_spelling(content_type):
    assert codec_for(content_type) is codec_of("protobuf")


@pytest.mark.parametrize(
    "content_type", ["", "application/json; charset=utf-8", "text/plain", "application/x-proto"]
)
def test_whatever_else_is_read_as_json(content_type):
    assert codec_for(content_type) is codec_of("json")


def test_what_is_installed_is_not_complained_about():
    for chosen in ("none", "lz4", "snappy", "zstd"):
        require_wire("json", chosen)
        require_wire("protobuf", chosen)


def test_a_missing_library_is_a_setting_that_cannot_work_and_names_the_extra(without):
    without("google.protobuf")
    with pytest.raises(ConfigError, match=r"protobuf: install aiodis\[protobuf\]$"):
        require_wire("protobuf", "none")
    with pytest.raises(ConfigError, match="protobuf"):
        codec_for("application/x-protobuf")
    without("cramjam")
    with pytest.raises(ConfigError, match=r"cramjam: install aiodis\[compression\]$"):
        require_wire("json", "lz4")
    require_wire("json", "none")
