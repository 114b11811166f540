import hashlib
import hmac
import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodis.credentials import AccessKey
from aiodis.errors import ConfigError, DISError
from aiodis.wire import signing
from aiodis.wire.signing import (
    REFUSALS,
    UNSIGNED_PAYLOAD,
    Identified,
    Scheme,
    SignatureError,
    Unsigned,
    payload_hash,
    sign,
    verify,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/signing.json").read_text("utf-8"))
REGION, NOW, DATE = VECTORS["region"], VECTORS["now"], VECTORS["date"]
KEY = AccessKey(VECTORS["access_key"], VECTORS["secret_key"])
TEMPORARY = replace(KEY, security_token="TOKEN-THAT-IS-SECRET")
SCOPE = f"{DATE[:8]}/{REGION}/dis/sdk_request"
EMPTY_HASH = VECTORS["payload_hashes"][0]["value"]
BODY = b'{"records":[]}'
each_vector = pytest.mark.parametrize("vector", VECTORS["requests"], ids=lambda v: v["name"])
each_scheme = pytest.mark.parametrize("scheme", list(Scheme))


def unsigned(vector):
    body_hash = payload_hash(vector["body"].encode())
    return Unsigned(vector["method"], vector["path"], vector["query"], vector["headers"], body_hash)


def post(**changes):
    headers = {"Host": "127.0.0.1:8080", "Content-Type": "application/json", "X-Project-Id": "p"}
    request = Unsigned("POST", "/v2/p/records", "a=1&b=2", headers, payload_hash(BODY))
    return replace(request, **changes)


def arrived(request, added):
    """What the server sees of a request that was sent with the signature's headers."""
    return replace(request, headers={**request.headers, **added})


def check(request, authorization=None, *, key=KEY, region=REGION, now=NOW, **options):
    if authorization is None:
        authorization = request.headers.get("Authorization")
    keys = {key.access_key: key}
    return verify(request, authorization, find_key=keys.get, region=region, now=now, **options)


def refusal(*args, **options):
    with pytest.raises(SignatureError) as caught:
        check(*args, **options)
    assert caught.value.message.startswith(REFUSALS[caught.value.code])
    return caught.value.code


def signed(request, scheme=Scheme.SCOPED, key=KEY):
    return arrived(request, sign(request, key, scheme=scheme, region=REGION, now=NOW))


# The vendor's vectors


@each_vector
def test_a_vendor_request_is_signed_as_the_vendor_signs_it(vector):
    key = replace(KEY, security_token=vector["security_token"])
    added = sign(unsigned(vector), key, scheme=Scheme(vector["scheme"]), region=REGION, now=NOW)
    assert added["X-Sdk-Date"] == DATE
    assert added.get("X-Security-Token") == vector["security_token"]
    assert f"SignedHeaders={vector['signed_headers']}, " in added["Authorization"]
    assert added["Authorization"].endswith(f", Signature={vector['signature']}")


@each_vector
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_vendor_request_is_accepted_with_and_without_the_last_slash(vector, slash):
    key = replace(KEY, security_token=vector["security_token"])
    scheme = Scheme(vector["scheme"])
    request = replace(unsigned(vector), path=vector["path"] + slash)
    extra = {"X-Sdk-Date": DATE, "User-Agent": "added after signing"}
    if key.security_token:
        extra["X-Security-Token"] = key.security_token
    identity = {
        Scheme.SCOPED: f"SDK-HMAC-SHA256 Credential={KEY.access_key}/{SCOPE}",
        Scheme.V11: f"V11-HMAC-SHA256 Credential={KEY.access_key}/{SCOPE}",
        Scheme.V3: f"SDK-HMAC-SHA256 Access={KEY.access_key}",
        Scheme.V11_V3: f"V11-HMAC-SHA256 Credential={KEY.access_key}/{DATE[:8]}/{REGION}/dis",
    }[scheme]
    names, signature = vector["signed_headers"], vector["signature"]
    authorization = f"{identity}, SignedHeaders={names}, Signature={signature}"
    found = check(arrived(request, extra), authorization, key=key)
    assert found == Identified(KEY.access_key, scheme)


def test_the_derived_secret_is_the_vendors():
    hkdf = VECTORS["hkdf"]
    assert signing._derived_secret(KEY, hkdf["info"]) == hkdf["value"]


def test_the_canonical_request_is_the_vendors_in_every_dialect():
    expected = VECTORS["canonical_request"]
    vector = next(v for v in VECTORS["requests"] if v["name"] == expected["of"])
    request = unsigned(vector)
    headers = {**request.headers, "x-sdk-date": DATE}
    for slash, query in [("", request.query), ("/", f"{request.query}&")]:
        wire = replace(request, path=request.path + slash, query=query)
        texts = list(signing._candidates(wire, ("host", "x-sdk-date"), headers))
        assert expected["text"] in texts
    in_order = "&".join(sorted(request.query.split("&")))
    wire = replace(request, path=f"{request.path}/", query=in_order)
    assert set(signing._candidates(wire, ("host", "x-sdk-date"), headers)) == {expected["text"]}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bodies_of_any_kind_are_hashed(kind):
    for row in VECTORS["payload_hashes"]:
        assert payload_hash(kind(row["body"].encode())) == row["value"]


# What sign() makes


@each_scheme
def test_what_is_signed_is_accepted(scheme):
    assert check(signed(post(), scheme)) == Identified(KEY.access_key, scheme)


segments = st.lists(st.text(min_size=1, max_size=8), max_size=4)
parameters = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=5)


@given(segments, parameters, st.sampled_from(Scheme), st.binary(max_size=20))
def test_any_path_and_query_is_accepted_once_signed(names, pairs, scheme, body):
    def percent(text):
        return quote(text, safe="", errors="replace")

    path = "".join(f"/{percent(name)}" for name in names)
    query = "&".join(f"{percent(name)}={percent(value)}" for name, value in pairs)
    request = Unsigned("GET", path, query, {"host": "h"}, payload_hash(body))
    assert check(signed(request, scheme)).scheme is scheme


def test_names_with_an_underscore_and_an_old_signature_are_left_unsigned():
    request = post(headers={"host": "h", "x_trace": "1", "Authorization": "old", "X-Sdk-Date": "o"})
    added = sign(request, KEY, scheme=Scheme.V3, region=None, now=NOW)
    assert "SignedHeaders=host;x-sdk-date, " in added["Authorization"]
    assert check(arrived(request, added), added["Authorization"])


@each_scheme
def test_a_scheme_with_a_scope_needs_a_region(scheme):
    for region in (None, ""):
        if scheme is Scheme.V3:
            assert sign(post(), KEY, scheme=scheme, region=region, now=NOW)
        else:
            with pytest.raises(ConfigError, match="needs a region"):
                sign(post(), KEY, scheme=scheme, region=region, now=NOW)


def test_a_request_without_a_host_is_not_signed():
    with pytest.raises(ConfigError, match="host"):
        sign(post(headers={}), KEY, scheme=Scheme.V3, region=None, now=NOW)


def test_the_key_of_a_day_is_derived_once():
    signing._signing_key.cache_clear()
    for second in range(5):
        sign(post(), KEY, scheme=Scheme.V11, region=REGION, now=NOW + second)
    assert signing._signing_key.cache_info().misses == 1


# What the clients sign


def chain(secret=KEY.secret_key):
    mac = f"SDK{secret}".encode()
    for part in SCOPE.split("/"):
        mac = hmac.new(mac, part.encode(), "sha256").digest()
    return mac


def signed_as(request, *, uri, query, values, body_hash=None):
    """Sign a scoped request over a canonical request that the test spells itself."""
    values = {"x-sdk-date": DATE, **values}
    names = sorted(values)
    lines = [request.method, uri, query, *(f"{name}:{values[name]}" for name in names)]
    text = "\n".join([*lines, "", ";".join(names), body_hash or request.payload_hash])
    digest = hashlib.sha256(text.encode()).hexdigest()
    to_sign = f"SDK-HMAC-SHA256\n{DATE}\n{SCOPE}\n{digest}"
    signature = hmac.new(chain(), to_sign.encode(), "sha256").hexdigest()
    authorization = (
        f"SDK-HMAC-SHA256 Credential={KEY.access_key}/{SCOPE}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return arrived(request, {"X-Sdk-Date": DATE, "Authorization": authorization})


def get(path, query, host="127.0.0.1:8080", **headers):
    return Unsigned("GET", path, query, {"Host": host, **headers}, EMPTY_HASH)


@pytest.mark.parametrize(
    ("wire", "canonical"),
    [
        ("limit=10&start_app_name=", "limit=10&start_app_name"),
        ("a=1&a-b=2&a0=3", "a-b=2&a0=3&a=1"),
        ("name=two+words&plus=%2B", "name=two%20words&plus=%2B"),
    ],
    ids=["an empty value is bare", "sorted as whole strings", "spaces are plus on the wire"],
)
def test_p2_signs_the_host_without_its_port_and_the_query_in_its_own_way(wire, canonical):
    request = get("/v2/p/apps", wire)
    request = signed_as(request, uri="/v2/p/apps/", query=canonical, values={"host": "127.0.0.1"})
    assert check(request)


def test_p2_drops_empty_segments_and_resolves_dots():
    request = get("/v2/p/streams/s/../t/./transfer-tasks//", "", host="h")
    uri = "/v2/p/streams/t/transfer-tasks/"
    assert check(signed_as(request, uri=uri, query="", values={"host": "h"}))


def test_j_leaves_its_query_in_any_order_with_an_ampersand_at_the_end():
    request = get("/v2/p/cursors/", "stream-name=s&cursor=a+b/c==&empty=&")
    query = "cursor=a%2Bb%2Fc%3D%3D&empty=&stream-name=s"
    values = {"host": "127.0.0.1:8080"}
    assert check(signed_as(request, uri="/v2/p/cursors/", query=query, values=values))


def test_j_collapses_space_and_encodes_the_path_twice():
    request = get("/v2/p/apps/a%20b/", "", accept="*/*;   charset=utf-8")
    values = {"host": "127.0.0.1:8080", "accept": "*/*; charset=utf-8"}
    assert check(signed_as(request, uri="/v2/p/apps/a%2520b/", query="", values=values))


def test_go_sends_the_hash_of_nothing_and_signs_the_hash_of_the_body():
    request = post(headers={"Host": "h", "X-Sdk-Content-Sha256": EMPTY_HASH})
    values = {"host": "h", "x-sdk-content-sha256": EMPTY_HASH}
    uri = "/v2/p/records/"
    assert check(signed_as(request, uri=uri, query="a=1&b=2", values=values))
    forged = signed_as(request, uri=uri, query="a=1&b=2", values=values, body_hash=EMPTY_HASH)
    assert refusal(forged) == "DIS.4100"


def test_an_unsigned_payload_is_accepted_when_the_header_says_so():
    values = {"host": "h", "x-sdk-content-sha256": UNSIGNED_PAYLOAD}
    spelled = {"uri": "/v2/p/records/", "query": "a=1&b=2", "body_hash": UNSIGNED_PAYLOAD}
    request = post(headers={"Host": "h", "X-Sdk-Content-Sha256": UNSIGNED_PAYLOAD})
    assert check(signed_as(request, **spelled, values=values))
    silent = post(headers={"Host": "h"})
    assert refusal(signed_as(silent, **spelled, values={"host": "h"})) == "DIS.4100"


def test_the_token_may_be_unsigned():
    request = get("/v2/p/apps/", "", host="h")
    request = signed_as(request, uri="/v2/p/apps/", query="", values={"host": "h"})
    request = arrived(request, {"X-Security-Token": TEMPORARY.security_token})
    assert check(request, key=TEMPORARY)


# The vendor's own code, as installed


@pytest.fixture
def vendor():
    # The vendor's modules warn (invalid escapes, utcnow), and warnings are errors here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signer = pytest.importorskip("huaweicloudsdkcore.signer.signer")
        request = pytest.importorskip("huaweicloudsdkcore.sdk_request")
        requests = pytest.importorskip("requests")
        yield SimpleNamespace(signer=signer, SdkRequest=request.SdkRequest, requests=requests)


def signed_by_vendor(vendor, scheme, *, path, query, headers, body=BODY):
    """Sign with huaweicloudsdkcore, and give the request as `requests` puts it on the wire."""
    request = vendor.SdkRequest(
        "POST", "http", "127.0.0.1:8080", path, None, query, {**headers, "X-Sdk-Date": DATE}, body
    )
    credentials = SimpleNamespace(ak=KEY.access_key, sk=KEY.secret_key)
    if scheme is Scheme.V3:
        vendor.signer.Signer(credentials).sign(request)
    else:
        vendor.signer.DerivationAKSKSigner(credentials).sign(request, "dis", REGION)
    wire = vendor.requests.Request("POST", request.url).prepare().path_url
    wire_path, _, wire_query = wire.partition("?")
    arriving = {
        name: value.encode("latin-1").decode() for name, value in request.header_params.items()
    }
    return Unsigned("POST", wire_path, wire_query, arriving, payload_hash(body))


PATHS = [
    "/v2/p/streams",
    "/v2/p/streams/",
    "/v2/p/streams/two%20words",
    "/v2/p/streams/流",
    "/v2/p/streams/%E6%B5%81/",
    "/v2/p/streams/a:b@c*d(e)'!,;+~",
    "/v2/p/streams/a%2Fb",
    "/v2/p//streams",
]
QUERIES = [
    [],
    [("limit", 10), ("start_stream_name", "")],
    [("name", "two words"), ("plus", "a+b"), ("流", "ü&=/?#~*")],
    [("tag", ["b", "a", "c d"]), ("flag", True), ("a-b", "1"), ("a", "2"), ("a0", "3")],
    [("n", [10, 2, 33])],
]


@pytest.mark.parametrize("scheme", [Scheme.V3, Scheme.V11_V3])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", QUERIES)
def test_the_vendors_own_signature_is_accepted(vendor, scheme, path, query):
    headers = {
        "Content-Type": "application/json;charset=utf8",
        "X-Project-Id": "p",
        "X-Note": "  ü  and  流 ",
        "x_not_signed": "1",
    }
    request = signed_by_vendor(vendor, scheme, path=path, query=query, headers=headers)
    assert check(request).scheme is scheme
    assert refusal(replace(request, payload_hash=EMPTY_HASH)) == "DIS.4100"


@pytest.mark.parametrize("body", [b"", BODY])
def test_the_vendors_unsigned_payload_is_accepted(vendor, body):
    headers = {"Content-Type": "application/x-protobuf"}
    request = signed_by_vendor(
        vendor, Scheme.V3, path="/v2/p/records", query=[], headers=headers, body=body
    )
    assert request.headers["X-Sdk-Content-Sha256"] == UNSIGNED_PAYLOAD
    assert check(request)


@pytest.mark.parametrize("scheme", [Scheme.V3, Scheme.V11_V3])
def test_the_vendor_signs_what_we_sign(vendor, scheme):
    for path in PATHS:
        for query in QUERIES[:-1]:
            headers = {"Host": "h:1", "Content-Type": "application/json"}
            theirs = signed_by_vendor(vendor, scheme, path=path, query=query, headers=headers)
            ours = sign(
                replace(theirs, headers=headers), KEY, scheme=scheme, region=REGION, now=NOW
            )
            assert ours["Authorization"] == theirs.headers["Authorization"]


# What is refused


def with_header(request, name, value):
    return arrived(request, {name: value})


TAMPERINGS = {
    "method": (lambda r: replace(r, method="PUT"), "DIS.4100"),
    "path": (lambda r: replace(r, path="/v2/p/record"), "DIS.4100"),
    "a segment": (lambda r: replace(r, path="/v2/p/records/x"), "DIS.4100"),
    "query value": (lambda r: replace(r, query="a=1&b=3"), "DIS.4100"),
    "query name": (lambda r: replace(r, query="a=1&c=2"), "DIS.4100"),
    "query dropped": (lambda r: replace(r, query=""), "DIS.4100"),
    "query added": (lambda r: replace(r, query="a=1&b=2&c="), "DIS.4100"),
    "header": (lambda r: with_header(r, "X-Project-Id", "q"), "DIS.4100"),
    "host": (lambda r: with_header(r, "Host", "127.0.0.2:8080"), "DIS.4100"),
    "header twice": (lambda r: with_header(r, "x-project-id", "q"), "DIS.4100"),
    "body": (lambda r: replace(r, payload_hash=payload_hash(b"other")), "DIS.4100"),
    "second": (lambda r: with_header(r, "X-Sdk-Date", "20240102T030406Z"), "DIS.4100"),
    "day": (lambda r: with_header(r, "X-Sdk-Date", "20240103T030405Z"), "DIS.4105"),
    "header dropped": (
        lambda r: replace(r, headers={k: v for k, v in r.headers.items() if k != "X-Project-Id"}),
        "DIS.4112",
    ),
}


@each_scheme
@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_request_changed_on_its_way_is_refused(scheme, what):
    change, code = TAMPERINGS[what]
    assert refusal(change(signed(post(), scheme))) == code


@each_scheme
def test_another_secret_is_refused(scheme):
    assert refusal(signed(post(), scheme), key=replace(KEY, secret_key="other")) == "DIS.4100"


@each_scheme
def test_another_region_is_refused_unless_none_is_asked_for(scheme):
    request = signed(post(), scheme)
    assert check(request, region=None)
    if scheme is Scheme.V3:
        assert check(request, region="eu-west-101")
    else:
        assert refusal(request, region="eu-west-101") == "DIS.4111"


def test_the_date_may_be_as_far_away_as_the_skew():
    request = signed(post())
    for now in (NOW - 900, NOW + 900):
        assert check(request, now=now)
    for now in (NOW - 901, NOW + 901, NOW - 86_400, float("nan")):
        assert refusal(request, now=now) == "DIS.4105"
    assert refusal(request, now=NOW + 11, max_skew_s=10) == "DIS.4105"


def test_a_token_must_be_the_keys():
    request = signed(post(), key=TEMPORARY)
    assert check(request, key=TEMPORARY)
    assert refusal(request, key=KEY) == "DIS.4107"
    assert refusal(with_header(request, "X-Security-Token", "x"), key=TEMPORARY) == "DIS.4107"
    assert refusal(signed(post()), key=TEMPORARY) == "DIS.4107"


GOOD = f"SDK-HMAC-SHA256 Credential={KEY.access_key}/{SCOPE}, SignedHeaders=host, Signature=0a"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (GOOD, "DIS.4100"),
        (f"{GOOD}é", "DIS.4102"),
        ("", "DIS.4101"),
        ("  ", "DIS.4101"),
        ("garbage", "DIS.4102"),
        ("AWS4-HMAC-SHA256" + GOOD.removeprefix("SDK-HMAC-SHA256"), "DIS.4102"),
        (GOOD.replace("/sdk_request", ""), "DIS.4102"),
        (GOOD.replace("sdk_request", "other"), "DIS.4102"),
        (GOOD.replace("SignedHeaders=host", "SignedHeaders=host;Host"), "DIS.4102"),
        (GOOD + "0" * 10_000, "DIS.4102"),
        (GOOD.replace(DATE[:8], "20240103"), "DIS.4105"),
        (GOOD.replace(KEY.access_key, ""), "DIS.4106"),
        ("SDK-HMAC-SHA256 Access=, SignedHeaders=host, Signature=0", "DIS.4106"),
        (GOOD.replace(KEY.access_key, "AKIDOTHER"), "DIS.4107"),
        (GOOD.replace("/dis/", "//"), "DIS.4108"),
        (GOOD.replace("/dis/", "/obs/"), "DIS.4112"),
        ("SDK-HMAC-SHA256", "DIS.4109"),
        ("V11-HMAC-SHA256 Access=A, SignedHeaders=host, Signature=0", "DIS.4109"),
        (GOOD.replace("Credential", "Credentials"), "DIS.4109"),
        (GOOD.replace("SignedHeaders=host", "SignedHeaders="), "DIS.4109"),
        (GOOD.replace(", SignedHeaders=host", ""), "DIS.4109"),
        (GOOD.removesuffix(", Signature=0a"), "DIS.4109"),
        (GOOD.removesuffix("0a"), "DIS.4110"),
        (GOOD.replace(REGION, ""), "DIS.4111"),
        (GOOD.replace(REGION, "eu-west-101"), "DIS.4111"),
        (GOOD.replace("=host,", "=host;x-absent,"), "DIS.4112"),
        (GOOD.replace("=host,", "=host;,"), "DIS.4112"),
    ],
)
def test_a_bad_authorization_header_gets_its_code(authorization, code):
    request = get("/v2/p/apps", "", host="h", **{"X-Sdk-Date": DATE})
    assert refusal(request, authorization) == code


def test_a_request_without_an_authorization_header_is_refused():
    assert refusal(get("/v2/p/apps", "")) == "DIS.4101"


@pytest.mark.parametrize(
    ("date", "code"),
    [
        (None, "DIS.4103"),
        ("  ", "DIS.4103"),
        ("2024-01-02T03:04:05Z", "DIS.4104"),
        ("20240102T030405", "DIS.4104"),
        ("20240102T030405+0000", "DIS.4104"),
        ("20240102T040405+0100", "DIS.4104"),
        ("20240102T030405z", "DIS.4104"),
        ("20240102", "DIS.4104"),
        ("20241302T030405Z", "DIS.4104"),
        ("00000102T030405Z", "DIS.4104"),
        ("２０２４0102T030405Z", "DIS.4104"),  # noqa: RUF001 - digits that are no ASCII
        ("Tue, 02 Jan 2024 03:04:05 GMT", "DIS.4104"),
        ("\ud800", "DIS.4104"),
        ("20240102T040405Z", "DIS.4105"),
        ("99991231T235959Z", "DIS.4105"),
    ],
)
def test_a_bad_date_gets_its_code(date, code):
    headers = {} if date is None else {"X-Sdk-Date": date}
    assert refusal(get("/v2/p/apps", "", **headers), GOOD) == code


def test_every_code_of_the_table_is_provoked_above():
    marks = [
        *test_a_bad_authorization_header_gets_its_code.pytestmark,
        *test_a_bad_date_gets_its_code.pytestmark,
    ]
    assert {row[1] for mark in marks for row in mark.args[1]} == set(REFUSALS)


def test_a_line_feed_in_a_value_does_not_pass_for_a_line():
    honest = Unsigned("GET", "/", "", {"host": "h", "x-a": "1", "x-b": "2"}, EMPTY_HASH)
    added = sign(honest, KEY, scheme=Scheme.V3, region=None, now=NOW)
    forged = replace(honest, headers={"host": "h", "x-a": "1\nx-b:2", **added})
    authorization = added["Authorization"].replace("host;x-a;x-b;", "host;x-a;")
    assert refusal(forged, authorization) == "DIS.4100"


# Garbage and size

wild = st.text(max_size=40) | st.text(
    st.characters(codec=None, categories=["Cs", "Cc", "Lu"]), max_size=10
)
pieces = st.sampled_from(
    [
        *["SDK-HMAC-SHA256", "V11-HMAC-SHA256", " ", ",", ", ", "=", ";", "/", "Credential=", "é"],
        *["Access=", "SignedHeaders=", "Signature=", KEY.access_key, SCOPE, SCOPE[:-12], "host"],
        *["x-sdk-date", "x-odd", "0a", DATE, "sdk_request", "dis", "\n", "\udcff", "\ud800"],
    ]
)
headers_like_a_signature = st.tuples(
    st.sampled_from(["SDK-HMAC-SHA256 ", "V11-HMAC-SHA256 "]),
    st.sampled_from([f"Access={KEY.access_key}", f"Credential={KEY.access_key}/{SCOPE}"]),
    st.lists(st.sampled_from(["host", "x-odd", "x-sdk-date", "", "x-no"]), max_size=4).map(
        lambda names: f", SignedHeaders={';'.join(names)}"
    ),
    st.builds(", Signature={}".format, wild),
).map("".join)


odd_names = wild | st.sampled_from(["host", "x-odd", "x-sdk-content-sha256"])
odd_headers = st.builds(
    lambda odd, date: {"host": "h", "x-odd": "o", **odd, "x-sdk-date": date},
    st.dictionaries(odd_names, wild),
    st.sampled_from([DATE, "x"]),
)
odd_requests = st.builds(
    Unsigned, method=wild, path=wild, query=wild, headers=odd_headers, payload_hash=wild
)


@given(
    odd_requests,
    headers_like_a_signature | st.lists(pieces, max_size=12).map("".join) | wild,
)
def test_garbage_is_refused_and_nothing_else_happens(request, authorization):
    with pytest.raises(SignatureError):
        check(request, authorization, region=None)


@given(wild, wild, st.sampled_from(Scheme))
def test_text_that_was_no_utf8_is_signed_as_it_arrived(path, query, scheme):
    request = post(path=f"/{path}", query=query, headers={"host": "h", "x-odd": "\udcff\ud800"})
    assert check(signed(request, scheme))


def test_a_long_request_is_verified_and_one_too_long_is_refused():
    request = signed(post(query="a=1&" * 4_000))
    assert check(request)
    assert refusal(signed(post(query="a=1&" * 5_000))) == "DIS.4112"
    assert refusal(signed(post(path="/" * 20_000))) == "DIS.4112"
    assert refusal(with_header(request, "x-large", "v" * 70_000)) == "DIS.4112"
    assert refusal(request, "SDK-HMAC-SHA256 " + "," * 8_000) == "DIS.4109"


# Secrets


def test_no_text_holds_a_secret_or_the_expected_signature():
    request = signed(post(), key=TEMPORARY)
    expected = request.headers["Authorization"][-64:]
    forged = request.headers["Authorization"].replace(expected, "0" * 64)
    texts = [repr(request), repr(TEMPORARY), repr(signing._signing_key)]
    texts.append(repr(signing._signing_key.cache_info()))
    for change in (forged, forged[:-64], forged.replace(KEY.access_key, "AKIDOTHER")):
        with pytest.raises(DISError) as caught:
            check(request, change, key=TEMPORARY)
        texts += [str(caught.value), repr(caught.value), caught.value.message]
    for secret in (TEMPORARY.secret_key, TEMPORARY.security_token, expected):
        assert not any(secret in text for text in texts)


def test_a_refusal_is_an_answer_of_http_441():
    error = SignatureError("DIS.4100", "detail")
    assert isinstance(error, DISError)
    assert (error.status, error.code) == (441, "DIS.4100")
    assert error.message == "Authorization error: detail"
    assert str(error) == "DIS.4100: Authorization error: detail"
    assert not error.retryable
