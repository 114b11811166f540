import asyncio
import logging
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from scripted import EPOCH, Hang, Slow, answer, client, http_date, refusal

from aiodis.api import Records
from aiodis.credentials import IAMPassword
from aiodis.errors import (
    AuthError,
    CircuitOpenError,
    ClosedError,
    ConfigError,
    ConnectError,
    RequestTimeoutError,
)

pytestmark = pytest.mark.looptime

OK = answer()
PASSWORD = IAMPassword("jane", "SECRET-password", "acme")
HOUR = 3600


class Service:
    """IAM and the service behind one session: counts tokens, refuses those it was told to."""

    def __init__(self, *, life_s=24 * HOUR, fetch_s=0.0, iam=None):
        self.life_s, self.fetch_s, self.iam = life_s, fetch_s, iam
        self.bodies = []
        self.refused = set()
        self.seen = []

    def __call__(self, sent):
        if "/v3/auth/tokens" in sent.url:
            self.bodies.append(orjson.loads(sent.body))
            number = len(self.bodies)
            return Slow(self.fetch_s, self.iam or self.token(f"SECRET-token-{number}", sent.at))
        token = sent.headers["X-Auth-Token"]
        self.seen.append(token)
        return refusal(401) if token in self.refused else OK

    def token(self, text, at):
        until = datetime.fromtimestamp(EPOCH + at, UTC) + timedelta(seconds=self.life_s)
        body = orjson.dumps({"token": {"expires_at": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}})
        return answer(201, body, X_Subject_Token=text)


def login(service, credentials=PASSWORD, **settings):
    given = {"endpoint": None, "region": "cn-north-4"} | settings
    return client(service, credentials=credentials, **given)


def put(exchange, **more):
    return exchange.send(Records.put, body=b"{}", **more)


async def test_a_password_becomes_a_token_of_the_project():
    service = Service()
    exchange, session = login(service)
    await put(exchange)
    fetch, sent = session.requests
    assert (fetch.method, fetch.url) == (
        "POST",
        "https://iam.cn-north-4.myhuaweicloud.com/v3/auth/tokens",
    )
    assert service.bodies == [
        {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": "jane",
                            "password": "SECRET-password",
                            "domain": {"name": "acme"},
                        }
                    },
                },
                "scope": {"project": {"id": "the-project"}},
            }
        }
    ]
    assert "X-Auth-Token" not in fetch.headers
    assert sent.headers["X-Auth-Token"] == "SECRET-token-1"
    assert "Authorization" not in sent.headers


async def test_without_a_project_the_token_is_the_regions_and_finds_the_project():
    def service(sent):
        if sent.method == "GET":
            return answer(body=b'{"projects":[{"id":"found","name":"cn-north-4"}]}')
        return tokens(sent)

    tokens = Service()
    exchange, session = login(service, project_id=None)
    await put(exchange)
    assert tokens.bodies[0]["auth"]["scope"] == {"project": {"name": "cn-north-4"}}
    _, look_up, sent = session.requests
    assert look_up.headers["X-Auth-Token"] == "SECRET-token-1"
    assert sent.url.endswith("/v2/found/records")


async def test_a_password_needs_a_project_or_a_region():
    with pytest.raises(ConfigError, match="project_id or a region"):
        login(Service(), endpoint="https://dis.example.com", region=None, project_id=None)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://iam.example.com/", "https://iam.example.com/v3/auth/tokens"),
        ("iam.example.com", "https://iam.example.com/v3/auth/tokens"),
        ("http://127.0.0.1:99", "http://127.0.0.1:99/v3/auth/tokens"),
    ],
)
async def test_iam_may_be_elsewhere(given, url):
    exchange, session = login(Service(), IAMPassword("jane", "pw", "acme", given))
    await put(exchange)
    assert session.requests[0].url == url


@pytest.mark.parametrize("given", ["http://iam.example.com", "ftp://iam", "https://u:p@iam"])
def test_a_password_does_not_go_out_in_the_clear(given):
    with pytest.raises(ConfigError, match="iam_endpoint"):
        login(Service(), IAMPassword("jane", "pw", "acme", given))


async def test_all_who_need_a_token_wait_for_one_fetch():
    service = Service(fetch_s=2)
    exchange, _ = login(service)
    await asyncio.gather(*(put(exchange) for _ in range(20)))
    assert len(service.bodies) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_token_is_kept_and_renewed_in_the_last_tenth_of_its_life():
    service = Service()
    exchange, _ = login(service)
    await put(exchange)
    await asyncio.sleep(21.5 * HOUR)
    await put(exchange)
    assert len(service.bodies) == 1
    await asyncio.sleep(0.2 * HOUR)
    await put(exchange)  # goes out with the old one while the new one is fetched
    await asyncio.sleep(1)
    await put(exchange)
    assert service.seen == ["SECRET-token-1"] * 3 + ["SECRET-token-2"]


async def test_a_token_that_ended_is_never_sent():
    service = Service(life_s=600)
    exchange, _ = login(service)
    await put(exchange)
    await asyncio.sleep(600)
    await put(exchange)
    assert service.seen == ["SECRET-token-1", "SECRET-token-2"]


async def test_a_renewal_that_fails_leaves_the_old_token_in_use():
    service = Service()
    exchange, _ = login(service)
    await put(exchange)
    service.iam = refusal(400)
    await asyncio.sleep(22 * HOUR)
    for _ in range(10):
        await put(exchange)
        await asyncio.sleep(1)
    assert len(service.bodies) == 2  # it is not tried with every call
    service.iam = None
    await asyncio.sleep(60)
    await put(exchange)
    await asyncio.sleep(1)
    await put(exchange)
    assert service.seen == ["SECRET-token-1"] * 12 + ["SECRET-token-3"]


async def test_a_slow_renewal_holds_nobody_up(looptime):
    service = Service()
    exchange, _ = login(service)
    await put(exchange)
    await asyncio.sleep(22 * HOUR)
    service.iam = Hang()
    start = float(looptime)
    await put(exchange)
    assert looptime == start
    await exchange.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":{}}', b'{"token":{"expires_at":"soon"}}'])
async def test_a_token_without_a_readable_end_lives_a_day(body):
    service = Service(iam=answer(201, body, X_Subject_Token="t"))
    exchange, _ = login(service)
    await put(exchange)
    await asyncio.sleep(21 * HOUR)
    await put(exchange)
    assert len(service.bodies) == 1
    await asyncio.sleep(4 * HOUR)
    await put(exchange)
    assert len(service.bodies) == 2


async def test_a_token_that_seems_to_have_ended_already_is_used_for_a_minute():
    service = Service(life_s=-100)
    exchange, _ = login(service)
    for _ in range(5):
        await put(exchange)
    assert len(service.bodies) == 1


async def test_the_life_of_a_token_is_counted_by_the_services_clock():
    token = Service(life_s=HOUR).token("t", 2 * HOUR)
    late = answer(201, token.body, X_Subject_Token="t", Date=http_date(EPOCH + 2 * HOUR))
    service = Service(iam=late)
    exchange, _ = login(service)
    await put(exchange)
    await asyncio.sleep(HOUR - 10)
    await put(exchange)
    await asyncio.sleep(20)
    service.iam = None
    await put(exchange)
    assert service.seen[:2] == ["t", "t"]


async def test_a_refused_token_is_replaced_once_and_the_call_repeated():
    service = Service()
    exchange, _ = login(service)
    await put(exchange)
    service.refused.add("SECRET-token-1")
    done = await put(exchange)
    assert done.attempts == 2
    assert service.seen[-1] == "SECRET-token-2"


async def test_many_calls_refused_with_one_token_fetch_one_new_one():
    service = Service(fetch_s=1)
    exchange, _ = login(service)
    await put(exchange)
    service.refused.add("SECRET-token-1")
    await asyncio.gather(*(put(exchange) for _ in range(10)))
    assert len(service.bodies) == 2


async def test_a_fresh_token_that_is_refused_opens_the_breaker():
    service = Service()
    service.refused = {"SECRET-token-1", "SECRET-token-2"}
    exchange, _ = login(service)
    with pytest.raises(AuthError):
        await put(exchange)
    with pytest.raises(CircuitOpenError):
        await put(exchange)
    assert len(service.seen) == 2


@pytest.mark.parametrize(("status", "code"), [(401, ""), (403, ""), (404, ""), (400, "IAM.0011")])
async def test_what_iam_refuses_is_an_auth_error_of_ones_own_for_each(status, code):
    exchange, session = login(Service(fetch_s=1, iam=refusal(status, code)))
    errors = await asyncio.gather(*(put(exchange) for _ in range(3)), return_exceptions=True)
    assert {type(error) for error in errors} == {AuthError}
    assert len({id(error) for error in errors}) == 3
    assert str(errors[0]).startswith("iam.token: ")
    assert "\n" not in str(errors[0])
    assert len(session.requests) == 1


async def test_a_wrong_password_is_not_tried_again_and_again():
    exchange, session = login(Service(iam=refusal(401)))
    with pytest.raises(AuthError):
        await put(exchange)
    with pytest.raises(CircuitOpenError, match=r"iam\.token"):
        await put(exchange)
    assert len(session.requests) == 1


async def test_an_answer_without_a_token_is_an_auth_error():
    exchange, _ = login(Service(iam=answer(201)))
    with pytest.raises(AuthError, match="no X-Subject-Token"):
        await put(exchange)


async def test_iam_is_asked_again_when_it_could_not_be_reached():
    failing = [ConnectError("refused"), refusal(503)]
    service = Service()

    def flaky(sent):
        return failing.pop(0) if failing else service(sent)

    exchange, _ = login(flaky)
    assert (await put(exchange)).attempts == 1
    assert service.seen == ["SECRET-token-1"]


async def test_an_iam_that_stays_away_is_a_transport_error():
    exchange, _ = login(Service(iam=ConnectError("host: refused")), retries=1)
    with pytest.raises(ConnectError, match=r"iam\.token: host: refused") as caught:
        await put(exchange)
    assert caught.value.attempts == ("host: refused", "host: refused")


async def test_nobody_waits_for_a_token_beyond_its_deadline(looptime):
    exchange, session = login(Service(fetch_s=20))
    patient = asyncio.create_task(put(exchange))
    with pytest.raises(RequestTimeoutError, match="no token came in time") as caught:
        await put(exchange, deadline=3.0)
    assert looptime == 3.0
    assert not caught.value.ambiguous
    await patient
    assert len(session.requests) == 2


async def test_a_cancelled_waiter_leaves_the_fetch_to_the_others():
    service = Service(fetch_s=5)
    exchange, _ = login(service)
    first, second = (asyncio.create_task(put(exchange)) for _ in range(2))
    await asyncio.sleep(1)
    first.cancel()
    await second
    assert first.cancelled()
    assert len(service.bodies) == 1


async def test_the_last_cancelled_waiter_stops_the_fetch():
    exchange, session = login(Service(fetch_s=5))
    only = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    only.cancel()
    await asyncio.wait((only,))
    await asyncio.sleep(0)
    assert session.under_way == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_stops_a_fetch_and_turns_its_waiters_away(looptime):
    exchange, session = login(Service(fetch_s=50))
    waiting = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    await exchange.close()
    with pytest.raises(ClosedError):
        await waiting
    assert looptime == 1.0
    assert session.under_way == 0


async def test_neither_password_nor_token_shows(caplog):
    caplog.set_level(logging.DEBUG)
    service = Service()
    service.refused = {"SECRET-token-1", "SECRET-token-2"}
    exchange, _ = login(service)
    with pytest.raises(AuthError) as caught:
        await put(exchange)
    identity = exchange._identity
    shown = [repr(exchange), repr(identity), repr(vars(identity)), repr(caught.value)]
    shown += [record.getMessage() for record in caplog.records]
    assert "SECRET" not in "\n".join(shown)
    assert caplog.records
