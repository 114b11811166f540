"""Who gets in: signatures and tokens over the socket, and IAM's two endpoints."""

import json
import logging

import pytest
from server_caller import calling, record
from yarl import URL

from aiodis.credentials import AccessKey
from aiodis.wire.signing import Scheme, Unsigned, payload_hash, sign

AK, SK = "AKIDEXAMPLE", "SKEXAMPLEKEY0123456789"


@pytest.fixture
async def guarded(clock):
    async with calling(clock=clock, access_key=AK, secret_key=SK, anonymous=False) as caller:
        yield caller


def signed(caller, method, target, body=b"", *, scheme=Scheme.V3, key=None, region="r", **headers):
    path, _, query = target.partition("?")
    given = {"Host": caller.server.endpoint.removeprefix("http://"), **headers}
    request = Unsigned(method, path, query, given, payload_hash(body))
    key = key or AccessKey(AK, SK)
    now = caller.server.clock.now_ms() / 1000
    return given | sign(request, key, scheme=scheme, region=region, now=now)


async def send(caller, method, path, body=b"", *, headers, status=200, code=None):
    url = URL(caller.server.endpoint + path, encoded=True)
    async with caller.session.request(method, url, data=body or None, headers=headers) as response:
        found = json.loads(await response.read() or b"null")
        assert response.status == status, found
        assert code is None or found["errorCode"] == found["error_code"] == code, found
        return found


def path_of(caller, rest):
    return f"/v2/{caller.server.project_id}/{rest}"


@pytest.mark.parametrize("scheme", Scheme)
async def test_each_scheme_is_let_in(guarded, scheme):
    body = json.dumps({"stream_name": "s", "partition_count": 1}).encode()
    path = path_of(guarded, "streams")
    headers = signed(guarded, "POST", path, body, scheme=scheme)
    headers["Content-Type"] = "application/json"
    await send(guarded, "POST", path, body, headers=headers, status=201)
    path = path_of(guarded, "streams/?limit=5&start_stream_name=&")
    await send(guarded, "GET", path, headers=signed(guarded, "GET", path, scheme=scheme))


@pytest.mark.parametrize("name", ["a%20b", "a%2Db", "a%2db", "a~b", "a%7Eb", "%E7%94%A8"])
async def test_path_and_query_are_verified_as_they_came(guarded, name):
    for target in (f"streams/{name}", f"streams/{name}/", f"streams?start_stream_name={name}&"):
        path = path_of(guarded, target)
        headers = signed(guarded, "GET", path)
        url = URL(guarded.server.endpoint + path, encoded=True)
        async with guarded.session.get(url, headers=headers) as response:
            assert response.status in {200, 400}, await response.read()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "DIS.4101"),
        ({"Authorization": ""}, "DIS.4101"),
        ({"Authorization": "nonsense"}, "DIS.4102"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "DIS.4102"),
        ({"Authorization": "SDK-HMAC-SHA256 Access=AKIDEXAMPLE"}, "DIS.4109"),
        ({"X-Auth-Token": ""}, "DIS.4113"),
        ({"X-Auth-Token": "nonsense"}, "DIS.4114"),
        ({"X-Auth-Token": "e30.e30"}, "DIS.4114"),
        ({"X-Auth-Token": "é.é"}, "DIS.4114"),
    ],
)
async def test_who_is_nobody_is_refused_with_441(guarded, headers, code):
    await guarded.refused(code, "GET", "streams", headers=headers, status=441)


async def test_what_is_wrong_with_a_signature_has_its_code(guarded, clock):
    path = path_of(guarded, "streams")

    async def refused(code, headers, method="GET", body=b""):
        await send(guarded, method, path, body, headers=headers, status=441, code=code)

    good = signed(guarded, "GET", path)
    await refused("DIS.4100", {**good, "Authorization": good["Authorization"][:-1] + "g"})
    await refused("DIS.4100", signed(guarded, "GET", path, key=AccessKey(AK, "another")))
    await refused("DIS.4107", signed(guarded, "GET", path, key=AccessKey("another", SK)))
    await refused("DIS.4107", signed(guarded, "GET", path, key=AccessKey(AK, SK, "token")))
    await refused("DIS.4100", signed(guarded, "GET", path + "?limit=1"))
    await refused("DIS.4100", signed(guarded, "POST", path, b"{}"), "POST", b'{"a":1}')
    await refused("DIS.4103", {k: v for k, v in good.items() if k != "X-Sdk-Date"})
    await send(guarded, "GET", path, headers=good)
    clock.advance(minutes=15)
    await send(guarded, "GET", path, headers=good)
    clock.advance(seconds=1)
    await refused("DIS.4105", good)


async def test_a_refused_request_changes_nothing(guarded):
    body = json.dumps({"stream_name": "s", "partition_count": 1}).encode()
    path = path_of(guarded, "streams")
    headers = signed(guarded, "POST", path, body, key=AccessKey(AK, "another"))
    await send(guarded, "POST", path, body, headers=headers, status=441, code="DIS.4100")
    found = await send(guarded, "GET", path, headers=signed(guarded, "GET", path))
    assert found["total_number"] == 0


async def test_a_region_is_checked_only_when_it_was_given(clock):
    options = {"clock": clock, "access_key": AK, "secret_key": SK, "anonymous": False}
    for region, status in [(None, 200), ("r", 200), ("other", 441)]:
        async with calling(region=region, **options) as caller:
            path = path_of(caller, "streams")
            headers = signed(caller, "GET", path, scheme=Scheme.SCOPED)
            code = "DIS.4111" if status == 441 else None
            await send(caller, "GET", path, headers=headers, status=status, code=code)
            await send(caller, "GET", path, headers=signed(caller, "GET", path))


async def test_another_project_is_refused_after_the_caller_is_known(guarded):
    path = "/v2/another/streams"
    await send(guarded, "GET", path, headers={}, status=441, code="DIS.4101")
    headers = signed(guarded, "GET", path)
    found = await send(guarded, "GET", path, headers=headers, status=400, code="DIS.4117")
    assert found["message"] == "Invalid Project Id. [another]"


async def test_an_anonymous_server_asks_nothing(dis):
    await dis.create()
    await send(dis, "GET", "/v2/any/streams", headers={"Authorization": "nonsense"})
    await send(dis, "GET", "/v2/any/streams", headers={"X-Auth-Token": "nonsense"})


def password(user=AK, secret=SK, **auth):
    user = {"name": user, "password": secret, "domain": {"name": "domain"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": {"project": {"name": "local"}}, **auth}}


async def ask_token(caller, body, status=201):
    url = f"{caller.server.endpoint}/v3/auth/tokens"
    async with caller.session.post(url, data=json.dumps(body).encode()) as response:
        assert response.status == status
        return response.headers.get("X-Subject-Token"), await response.json()


async def test_a_password_gives_a_token_of_24_hours(guarded, clock):
    token, body = await ask_token(guarded, password())
    assert body["token"]["expires_at"] == "2023-11-15T22:13:20.000000Z"
    assert body["token"]["project"]["id"] == guarded.server.project_id
    assert SK not in json.dumps(body)
    headers = {"X-Auth-Token": token}
    await guarded.call("GET", "streams", headers=headers)
    clock.advance(hours=24, milliseconds=-1)
    await guarded.call("GET", "streams", headers=headers)
    clock.advance(milliseconds=1)
    await guarded.refused("DIS.4114", "GET", "streams", headers=headers, status=441)


async def test_a_token_outlives_a_restart_but_not_its_secret_or_project(clock):
    options = {"clock": clock, "access_key": AK, "anonymous": False}
    async with calling(secret_key=SK, **options) as caller:
        token, _ = await ask_token(caller, password())
    headers = {"X-Auth-Token": token}
    async with calling(secret_key=SK, **options) as caller:
        await caller.call("GET", "streams", headers=headers)
    async with calling(secret_key="another", **options) as caller:
        await caller.refused("DIS.4114", "GET", "streams", headers=headers, status=441)
    async with calling(secret_key=SK, project_id="another", **options) as caller:
        await caller.refused("DIS.4114", "GET", "streams", headers=headers, status=441)


@pytest.mark.parametrize(
    ("body", "status", "title"),
    [
        (password(secret="wrong"), 401, "Unauthorized"),
        (password(user="wrong"), 401, "Unauthorized"),
        (password(user=1), 400, "Bad Request"),
        (password(identity={"methods": ["token"], "token": {"id": "x"}}), 400, "Bad Request"),
        ({}, 400, "Bad Request"),
        ([], 400, "Bad Request"),
    ],
)
async def test_iam_refuses_in_keystones_form(guarded, body, status, title):
    token, found = await ask_token(guarded, body, status)
    assert token is None
    assert set(found) == {"error"}
    assert found["error"]["code"] == status
    assert found["error"]["title"] == title
    assert found["error"]["message"]


async def test_projects_lists_the_one_project_by_the_regions_name(clock):
    options = {"clock": clock, "access_key": AK, "secret_key": SK, "anonymous": False}
    async with calling(region="cn-north-4", **options) as caller:
        path = "/v3/projects"
        found = await send(caller, "GET", path, headers=signed(caller, "GET", path))
        (project,) = found["projects"]
        assert project["id"] == caller.server.project_id
        assert project["name"] == "cn-north-4"
        token, _ = await ask_token(caller, password())
        for name, count in [("cn-north-4", 1), ("other", 0)]:
            path = f"/v3/projects/?name={name}"
            found = await send(caller, "GET", path, headers={"X-Auth-Token": token})
            assert len(found["projects"]) == count
        found = await send(caller, "GET", "/v3/projects", headers={}, status=401)
        assert found["error"]["code"] == 401


async def test_no_secret_shows_in_logs_or_reprs(guarded, caplog):
    with caplog.at_level(logging.DEBUG):
        token, _ = await ask_token(guarded, password())
        await ask_token(guarded, password(secret=SK + "x"), 401)
        path = path_of(guarded, "streams")
        headers = signed(guarded, "GET", path)
        await send(guarded, "GET", path, headers=headers)
        tampered = {**headers, "Authorization": headers["Authorization"] + "0"}
        await send(guarded, "GET", path, headers=tampered, status=441)
        await guarded.put([record(b"payload")], headers={"X-Auth-Token": token}, status=400)
    server = guarded.server
    signature = headers["Authorization"].rpartition("=")[2]
    shown = caplog.text + repr(server) + repr(server.credentials) + repr(server._gate)
    for secret in (SK, token, signature, "payload"):
        assert secret not in shown
