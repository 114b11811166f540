import orjson
import pydantic
import pytest

from aiodis import deserializers, serializers
from aiodis.record import ReceivedRecord


class Event(pydantic.BaseModel):
    name: str
    count: int = 0


def record(data, deserializer=None):
    return ReceivedRecord(1, data, deserializer=deserializer)


@pytest.mark.parametrize("value", ["", "text", "ключ"])
def test_text_comes_out_as_it_went_in(value):
    assert record(serializers.text(value), deserializers.text).value == value


@pytest.mark.parametrize("value", [None, 1, {"a": [1.5, "b"]}])
def test_json_comes_out_as_it_went_in(value):
    assert record(serializers.json(value), deserializers.json).value == value


def test_a_model_comes_out_as_it_went_in():
    event = Event(name="a", count=3)
    assert record(serializers.json(event), deserializers.model(Event)).value == event
    assert record(b"[1, 2]", deserializers.model(list[int])).value == [1, 2]


def test_without_a_deserializer_the_value_is_the_data():
    assert record(b"\xff").value == b"\xff"


@pytest.mark.parametrize(
    ("deserializer", "error"),
    [
        (deserializers.text, UnicodeDecodeError),
        (deserializers.json, orjson.JSONDecodeError),
        (deserializers.model(Event), pydantic.ValidationError),
    ],
)
def test_what_cannot_be_read_raises_where_the_value_is_asked_for(deserializer, error):
    bad = record(b"\xff{", deserializer)
    with pytest.raises(error):
        _ = bad.value


def test_no_deserializer_comes_over_the_wire():
    from aiodis.wire.codec import GetReply

    record = b'{"sequence_number":"1","data":"eA==","deserializer":"x"}'
    sent = b'{"next_partition_cursor":"c","records":[%b]}' % record
    assert GetReply.decode(sent).records[0].value == b"x"
    assert b"deserializer" not in GetReply("c", [ReceivedRecord(1, b"x")]).encode()
