"""Whatever comes, the server answers, and never with a failure of its own."""

import asyncio
import json
import re

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_caller import record
from yarl import URL

from aiodis.api import OPERATIONS
from aiodis.server import LocalDIS, ManualClock
from aiodis.wire.cursor import CursorContent, encode_cursor

NOW_MS = 1_700_000_000_000
FIELDS = [
    "stream_name",
    "stream-name",
    "stream_id",
    "partition_id",
    "partition-id",
    "cursor-type",
    "partition-cursor",
    "starting-sequence-number",
    "timestamp",
    "limit",
    "start_stream_name",
    "start_app_name",
    "start_partitionId",
    "start_partition_id",
    "limit_partitions",
    "max_fetch_bytes",
    "app_name",
    "checkpoint_type",
    "metadata",
    "sequence_number",
    "partition_count",
    "target_partition_count",
    "data_duration",
    "stream_type",
    "data_type",
    "tags",
    "sys_tags",
    "csv_properties",
    "auto_scale_min_partition_count",
    "records",
    "data",
    "partition_key",
    "explicit_hash_key",
    "auth",
    "clientId",
    "client_id",
    "generation",
    "generation_id",
    "interestedStream",
    "interestedStreamIdList",
    "streamPattern",
    "accelerateAssignEnabled",
    "rebalanceTimeoutMs",
    "principal_name",
    "action_type",
    "effect",
]
CURSORS = [
    encode_cursor(CursorContent("s", "0", "AT_SEQUENCE_NUMBER", 0, NOW_MS)),
    encode_cursor(CursorContent("s", "9" * 40, "x", 2**70, NOW_MS, "id")),
]
NUMBERS = ["0", "-1", "9" * 400, "1" * 19, "\u0663", "\uff11"]  # the last two are digits too
WORDS = ["s", "app", "shardId-0000000000", "LATEST", "AT_TIMESTAMP", "AFTER_SEQUENCE_NUMBER"]
KNOWN = st.sampled_from(
    [*CURSORS, *NUMBERS, *WORDS, "COMMON", "LAST_READ", "putRecords", "a.*", "", "ZGF0YQ=="]
)
TEXTS = KNOWN | st.text(max_size=20)
LEAVES = TEXTS | st.none() | st.booleans() | st.integers() | st.floats()
NAMES = st.sampled_from(FIELDS) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=8)
BODIES = st.binary(max_size=50) | (OBJECTS | VALUES).map(lambda value: json.dumps(value).encode())
SEGMENTS = st.sampled_from(["s", "app", "a%20b", "%FF", "%2F", "..", "%00", "a" * 300]) | st.text(
    "abc-_~%2E", min_size=1, max_size=5
)
ROUTES = st.sampled_from([(row.method, row.path) for row in OPERATIONS]) | st.sampled_from(
    [("POST", "/v3/auth/tokens"), ("GET", "/v3/projects"), ("PUT", "/{stream_name}")]
)
QUERIES = st.lists(st.tuples(NAMES, TEXTS), max_size=5)
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


@st.composite
def requests(draw):
    method, route = draw(ROUTES)
    names = {name: draw(SEGMENTS) for name in re.findall(r"{(\w+)}", route)} | {"project_id": "p"}
    url = URL(route.format_map(names) + draw(st.sampled_from(["", "/", "//"])), encoded=True)
    return method, url.with_query(draw(QUERIES)), draw(BODIES), draw(HEADERS)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.lists(requests(), min_size=10, max_size=30))
def test_no_request_makes_the_server_fail(calls):
    asyncio.run(send_all(calls))


async def send_all(calls):
    clock = ManualClock(NOW_MS)
    async with (
        LocalDIS(anonymous=True, clock=clock) as open_server,
        LocalDIS(clock=clock) as guarded,
        aiohttp.ClientSession() as session,
    ):
        await prepare(session, open_server)
        for method, url, body, headers in calls:
            for server in (open_server, guarded):
                target = URL(server.endpoint + str(url), encoded=True)
                async with session.request(method, target, data=body, headers=headers) as response:
                    answer = await response.read()
                assert response.status < 500, (method, url, body, answer)
                if response.content_type != "application/x-protobuf":
                    assert not answer or json.loads(answer) is not None


async def prepare(session, server):
    for path, body in [
        ("streams", {"stream_name": "s", "partition_count": 2}),
        ("apps", {"app_name": "app"}),
        ("records", {"stream_name": "s", "records": [record()]}),
    ]:
        async with session.post(f"{server.endpoint}/v2/p/{path}", json=body) as response:
            assert response.status < 300
