"""The reference's own examples: requests as the client sends them, replies as it reads them.

`mended` in `examples.json` says what is broken in the reference's text.
"""

import json
from base64 import b64decode
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from aiodis.api import OPERATIONS
from aiodis.record import Record
from aiodis.wire.codec_json import JsonCodec

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))
CODEC = JsonCodec()
ROWS = {row.name: row for row in OPERATIONS}


def each(kind):
    return pytest.mark.parametrize(
        "example",
        [pytest.param(found, id=f"{found['chapter']}-{found['row']}") for found in EXAMPLES[kind]],
    )


def parameters_of(row, example):
    """What a caller of the client would give."""
    if row.name == "records.put":  # records have a codec, and no model
        body = CODEC.decode_put(json.dumps(example["body"]).encode())
        return {
            "stream_name": body.stream_name,
            "records": [Record(b64decode(entry.text)) for entry in body.records],
        }
    request = row.read(example.get("path", {}), example.get("query", {}), example.get("body"))
    return {name: getattr(request, name) for name in request.model_fields_set}


@each("requests")
def test_the_client_sends_an_example_as_it_stands(example):
    row = ROWS[example["row"]]
    parts = row.encode(row.build(**parameters_of(row, example)), "p")
    for name, value in example.get("path", {}).items():
        assert value in parts.path.split("/"), name
    sent = dict(parse_qsl(parts.query)) if parts.body is None else json.loads(parts.body)
    told = example.get("query") or example.get("body") or {}
    lost = list(missing(told, sent))
    assert not lost, (lost, sent)


@each("replies")
def test_the_client_reads_an_example_and_loses_nothing(example):
    row = ROWS[example["row"]]
    found = row.decode(json.dumps(example["body"]).encode(), status=200)
    again = json.loads(found.encode())
    lost = list(missing(example["body"], again))
    assert not lost, (lost, again)


# What the models write otherwise: the spelling of the service or of the reference's tables.
SPELLED = {"partition_consumming_states": "partition_consuming_states", "streamId": "stream_id"}
WORDS = {"CLOUDBASE": "CLOUDTABLE"}
FIELDS_LEFT_OUT = (None, "")


def missing(told, read, where=""):
    """Tell what of an example is not in what was made of it; numbers may be texts."""
    if isinstance(told, dict):
        for name, value in told.items():
            key = name if name in read else SPELLED.get(name, name)
            if value not in FIELDS_LEFT_OUT:
                yield from missing(value, read.get(key), f"{where}.{name}")
    elif isinstance(told, list):
        if len(told) != len(read or ()):
            yield where
        else:
            for index, (one, other) in enumerate(zip(told, read, strict=True)):
                yield from missing(one, other, f"{where}.{index}")
    elif str(WORDS.get(told, told)).rstrip(".") != str(read):
        yield f"{where}: {told!r} is {read!r}"


def test_every_chapter_of_the_reference_has_an_example_request():
    ends = {1: 8, 2: 5, 3: 3, 4: 3, 5: 10, 6: 2, 7: 7}
    chapters = {f"5.{part}.{number}" for part in ends for number in range(1, ends[part] + 1)}
    assert {found["chapter"] for found in EXAMPLES["requests"]} == chapters
    assert len(chapters) == 38
