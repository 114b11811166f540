"""Avro schemas: what is none is told with the field that is wrong."""

import pytest

from aiodis.api import Streams
from aiodis.errors import ParameterError
from aiodis.wire import avro
from aiodis.wire.avro import check_schema

INNER = '{"type":"record","name":"q","fields":[{"name":"c","type":"x"}]}'


def record(*fields):
    return f'{{"type":"record","name":"r","fields":[{",".join(fields)}]}}'


@pytest.mark.parametrize(
    "schema",
    [
        '"string"',
        '["null","string"]',
        '{"type":"map","values":"long"}',
        record(),
        record('{"name":"next","type":["null","r"]}'),
        record(
            '{"name":"a","type":{"type":"enum","name":"e","symbols":["x"]}}',
            '{"name":"b","type":"e"}',  # a type that the field before it defines
        ),
    ],
)
def test_a_schema_is_given_back_as_it_came(schema):
    assert check_schema(schema) == schema


@pytest.mark.parametrize(
    ("schema", "rule"),
    [
        ("x", "is no JSON"),
        ("null", "is no Avro schema: a schema is a name, an object or a list"),
        ("{}", "is no Avro schema: 'type' is missing"),
        ('"strng"', "is no Avro schema: unknown type 'strng'"),
        ('{"type":"record","fields":[]}', 'is no Avro schema: "name" is a required field'),
        (record('{"name":"a","type":"int"}', '{"name":"b","type":"x"}'), "b: unknown type 'x'"),
        (record(f'{{"name":"b","type":{INNER}}}'), r"schema: b\.c: unknown type 'x'"),
        (record('{"name":"b","type":"int","default":"x"}'), "b: Default value <x> must match"),
        (record('{"name":"b","type":"e"}', '{"name":"c","type":"int"}'), "b: unknown type 'e'"),
        (record('{"name":"a","type":"int"}', "5"), r"fields\.1: "),
        (record('{"type":"int"}'), r"fields\.0: "),
        ('{"type":"record","name":"r","fields":5}', "is no Avro schema: "),
        ("[" * 3000 + "]" * 3000, "schema|JSON"),
    ],
)
def test_what_is_none_is_said_with_the_field(schema, rule):
    with pytest.raises(ValueError, match=rule):
        check_schema(schema)


def test_an_object_is_sent_as_text():
    schema = {"type": "array", "items": "string"}
    request = Streams.create.build(stream_name="s", partition_count=1, data_schema=schema)
    assert request.data_schema == '{"type":"array","items":"string"}'
    with pytest.raises(ParameterError, match="unknown type") as caught:
        Streams.update.build(stream_name="s", data_schema={"type": "strng"})
    assert caught.value.field == "data_schema"


def test_without_the_library_only_the_json_is_looked_at(monkeypatch):
    monkeypatch.setattr(avro, "_CAN_CHECK", False)
    assert check_schema('"strng"') == '"strng"'
    with pytest.raises(ValueError, match="is no JSON"):
        check_schema("strng")
