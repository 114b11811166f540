"""Requests that are nearly right, made from the models of the table's rows.

A row's fields, their types, words and limits come from its request's schema, so a row
that is added is covered.
"""

import json
import re
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from aiodis.api import OPERATIONS, Operation
from aiodis.api.destinations import DESTINATIONS
from aiodis.wire.codec_protobuf import ProtobufCodec
from aiodis.wire.compression import compress
from aiodis.wire.cursor import CursorContent, encode_cursor

__all__ = ["NOW_MS", "OddRequest", "anything", "nearly_right"]

NOW_MS = 1_700_000_000_000

CURSORS = [
    encode_cursor(CursorContent("s", "0", "AT_SEQUENCE_NUMBER", 0, NOW_MS)),
    encode_cursor(CursorContent("s", "9" * 40, "x", 2**70, NOW_MS, "id")),
]
# What means something to the server that the tests prepare, and digits that are none.
WORDS = ["s", "app", "task", "k", "c.1", "shardId-0000000000", "a.*", "", "ZGF0YQ==", *CURSORS]
DIGITS = ["0", "1", "-1", "1.5", "9" * 400, "1" * 19, "\u0663", "\uff11", "1700000000"]
NUMBERS = [0, 1, 2, 24, 100, 300, 1_700_000_000, NOW_MS, -1, 2**31, 2**63, 10**400]

# What is right for a field of that name: it is there, and the others' counterpart.
RIGHT = {
    **dict.fromkeys(["stream_name", "stream-name", "stream_id", "start_stream_name"], "s"),
    **dict.fromkeys(["app_name", "groupId", "start_app_name"], "app"),
    **dict.fromkeys(["client_id", "clientId"], "c.1"),
    **dict.fromkeys(["partition_id", "partition-id", "start_partitionId"], "0"),
    **dict.fromkeys(["sequence_number", "starting-sequence-number"], "0"),
    **dict.fromkeys(["start_time", "end_time"], NOW_MS // 1000),
    **dict.fromkeys(["task_name", "id"], "task"),
    "agency_name": "agency",
    "obs_bucket_path": "bucket",
    "deliver_time_interval": 30,
    "mrs_cluster_id": "f8123fa6-99f1-4ed9-83f4-c827c7277d41",
    "mrs_hdfs_path": "/path",
    "partition-cursor": CURSORS[0],
    "principal_name": "a.*",
    "key": "k",
    "partition_count": 1,
    "target_partition_count": 3,
    "data": "ZGF0YQ==",
}

TEXTS = st.sampled_from(WORDS + DIGITS) | st.text(max_size=20)
LEAVES = TEXTS | st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats()


class OddRequest(NamedTuple):
    """A request as bytes. `path` and `query` are percent-encoded, as far as they are."""

    method: str
    path: str
    query: str
    body: bytes
    headers: dict[str, str]


Schema = dict[str, Any]


def schema_of(row: Operation) -> Schema:
    return row.request.model_json_schema(by_alias=True)


def names_in(value: Any) -> set[str]:
    """All property names in a schema, however deep."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    own = value.get("properties", {})
    return set(own).union(*map(names_in, value.values()))


SCHEMAS = {row.name: schema_of(row) for row in OPERATIONS}
FIELDS = sorted(set().union(*map(names_in, SCHEMAS.values())) | {"auth", "action"})
NAMES = st.sampled_from(FIELDS) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=8,
)


def value_of(schema: Schema, whole: Schema) -> st.SearchStrategy:
    """Values that a schema allows, most of the time."""
    if "$ref" in schema:
        return st.deferred(lambda: value_of(whole["$defs"][schema["$ref"].split("/")[-1]], whole))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.one_of([value_of(one, whole) for one in schema[several]])
    make = OF_TYPE.get(schema.get("type"))
    return make(schema, whole) if make else VALUES


def object_of(schema: Schema, whole: Schema) -> st.SearchStrategy:
    fields = {
        name: field_of(name, one, whole) for name, one in schema.get("properties", {}).items()
    }
    needed = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in needed},
        optional={name: fields[name] for name in fields if name not in needed},
    )


def field_of(name: str, schema: Schema, whole: Schema) -> st.SearchStrategy:
    value = value_of(schema, whole)
    if name not in RIGHT:
        return value
    return st.sampled_from([True] * 5 + [False]).flatmap(
        lambda right: st.just(RIGHT[name]) if right else value
    )


def integers_of(schema: Schema, whole: Schema) -> st.SearchStrategy:
    low, high = schema.get("minimum", 0), schema.get("maximum", 10_000)
    return st.sampled_from(NUMBERS) | st.integers(low, high)


OF_TYPE = {
    "object": object_of,
    "array": lambda schema, whole: st.lists(value_of(schema.get("items", {}), whole), max_size=3),
    "string": lambda *_: TEXTS,
    "integer": integers_of,
    "number": lambda *_: st.sampled_from(NUMBERS) | st.floats(),
    "boolean": lambda *_: st.booleans(),
    "null": lambda *_: st.none(),
}
OF_ROW = {name: object_of(schema, schema) for name, schema in SCHEMAS.items()}

SEGMENTS = st.sampled_from(["s", "app", "a%20b", "%FF", "%2F", "..", "%00", "a" * 300]) | st.text(
    "abc-_~%2E", min_size=1, max_size=5
)
HEADERS = st.sampled_from(
    [
        {},
        {"Authorization": "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=0"},
        {"Authorization": "V11-HMAC-SHA256 Credential=a/b/c/dis, SignedHeaders=;, Signature=x"},
        {"X-Auth-Token": "a.b"},
        {"Content-Encoding": "gzip"},
        {"Content-Type": "application/x-protobuf"},
        {"Content-Encoding": "lz4", "x-dis-lz4-content-length": "20"},
        {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
    ]
)
PROTOBUF = ProtobufCodec()
PROTOBUF_TYPE = {"Content-Type": "application/x-protobuf; charset=utf-8"}
OTHER_ROUTES = [("POST", "/v3/auth/tokens"), ("GET", "/v3/projects"), ("PUT", "/{stream_name}")]


@st.composite
def nearly_right(draw, row: Operation) -> OddRequest:
    """A request of a row whose fields are right, but for a few."""
    fields = draw(OF_ROW[row.name])
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        fields[draw(st.sampled_from(sorted(fields)) | NAMES if fields else NAMES)] = draw(VALUES)
    path = {"project_id": "p"}
    for name in row.path_names[1:]:
        value = fields.get(name)
        if name not in row.also_in_body:
            fields.pop(name, None)
        path[name] = quote(value, safe="") if isinstance(value, str) else draw(SEGMENTS)
        path[name] = path[name] or draw(SEGMENTS)
    place = row.path.format_map(path) + draw(st.sampled_from(["", "/"]))
    if row.method in {"GET", "DELETE"}:
        query = urlencode([(name, text_of(value)) for name, value in fields.items()])
        return OddRequest(row.method, place, query, draw(bodies_of(fields)), {})
    if isinstance(fields.get("destination"), dict):
        fields |= described(fields.pop("destination"))
    if draw(st.sampled_from([True] * 9 + [False])):
        fields |= row.always
    body, headers = draw(wired(fields, carries_records=row.name == "records.put"))
    return OddRequest(row.method, place, "", body, headers)


def described(destination: dict[str, Any]) -> dict[str, Any]:
    """A dump task's destination as the wire has it."""
    kinds = DESTINATIONS.values()
    kind = max(kinds, key=lambda kind: len(kind.model_fields.keys() & destination))
    return {"destination_type": kind.word, kind.descriptor: destination}


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@st.composite
def wired(draw, fields: dict[str, Any], *, carries_records: bool) -> tuple[bytes, dict[str, str]]:
    """A body of the fields, in any form, sometimes spoilt in it; and its headers."""
    body, headers = draw(bodies_of(fields)), {}
    if carries_records and draw(st.booleans()):
        body, headers = draw(protobufs()), PROTOBUF_TYPE
    if draw(st.sampled_from([False] * 3 + [True])):
        packed, more = compress(body, draw(st.sampled_from(["lz4", "zstd", "snappy"])))
        headers = {**headers, **more}
        for name in headers:
            if name.endswith("length") and draw(st.booleans()):
                headers[name] = draw(st.sampled_from(["0", "-1", "x", "9" * 30, "99999999"]))
        body = draw(spoilt(packed))
    return body, headers


@st.composite
def bodies_of(draw, fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields).encode()
    match draw(st.sampled_from(["as it is"] * 12 + ["spoilt", "bytes", "other"])):
        case "spoilt":
            return draw(spoilt(body))
        case "bytes":
            return draw(st.binary(max_size=50))
        case "other":
            return json.dumps(draw(VALUES)).encode()
    return body


@st.composite
def protobufs(draw) -> bytes:
    body = PROTOBUF.encode_put(draw(st.sampled_from(["s", "none", ""])), [], "id")
    entry = bytes([0x12, 10, 0x1A, 3]) + b"abc" + bytes([0x32, 3]) + b"0.0"
    return draw(spoilt(body + entry * draw(st.integers(0, 3))))


@st.composite
def spoilt(draw, body: bytes) -> bytes:
    """Bytes of which some are missing, doubled or others; or all as they were."""
    at = draw(st.integers(0, len(body)))
    match draw(st.integers(0, 4)):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + draw(st.binary(min_size=1, max_size=4)) + body[at:]
        case 2:
            return body[:at] + draw(st.binary(min_size=1, max_size=2)) + body[at + 1 :]
        case 3:
            return body[:at] * 2
    return body


@st.composite
def anything(draw) -> OddRequest:
    """A request of any route, with no regard to what it takes."""
    rows = [(row.method, row.path) for row in OPERATIONS]
    method, route = draw(st.sampled_from(rows) | st.sampled_from(OTHER_ROUTES))
    names = {name: draw(SEGMENTS) for name in re.findall(r"{(\w+)}", route)} | {"project_id": "p"}
    place = route.format_map(names) + draw(st.sampled_from(["", "/", "//"]))
    query = urlencode(draw(st.lists(st.tuples(NAMES, TEXTS), max_size=5)))
    body = draw(bodies_of(draw(st.dictionaries(NAMES, VALUES, max_size=8))))
    return OddRequest(method, place, query, body, draw(HEADERS))
