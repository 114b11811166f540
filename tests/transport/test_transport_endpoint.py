import asyncio
from datetime import UTC, datetime

import pytest
from scripted import (
    EPOCH,
    KEY,
    Hang,
    Slow,
    answer,
    client,
    http_date,
    refusal,
)

from aiodis.api import Records
from aiodis.credentials import StaticToken
from aiodis.errors import (
    AuthError,
    CertificateError,
    CircuitOpenError,
    ConnectError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RebalanceInProgressError,
    RequestTimeoutError,
    ServerError,
    ServiceError,
    ThrottledError,
    TransportError,
)
from aiodis.wire.signing import payload_hash

pytestmark = pytest.mark.looptime

OK = answer(body=b'{"failed_record_count":0,"records":[]}')
TRANSIENT = [
    refusal(500, "DIS.5000"),
    refusal(502),
    refusal(503),
    ConnectError("host: refused"),
    TransportError("host: reset", ambiguous=False),
    TransportError("host: reset"),
    RequestTimeoutError("host: slow"),
]


def put(exchange, **more):
    return exchange.send(Records.put, body=b'{"records":[]}', **more)


@pytest.mark.parametrize("met", TRANSIENT, ids=str)
async def test_a_transient_failure_is_repeated(met):
    exchange, session = client(met, OK)
    done = await put(exchange)
    assert done.attempts == 2
    assert session.times == [0.0, pytest.approx(0.1)]


@pytest.mark.parametrize("met", TRANSIENT, ids=str)
async def test_only_what_may_have_been_carried_out_is_marked(met):
    exchange, _ = client(met, OK)
    done = await put(exchange)
    marked = getattr(met, "ambiguous", getattr(met, "status", 0) in {500, 502})
    assert done.ambiguous is marked


@pytest.mark.parametrize("met", TRANSIENT, ids=str)
async def test_reading_again_is_never_ambiguous(met):
    exchange, _ = client(met, OK)
    done = await exchange.send(Records.get)
    assert not done.ambiguous
    exchange, _ = client(RequestTimeoutError("slow"), retries=0)
    with pytest.raises(RequestTimeoutError) as caught:
        await exchange.send(Records.get)
    assert not caught.value.ambiguous


@pytest.mark.parametrize("status", [429, 400])
async def test_a_throttled_request_is_repeated(status):
    exchange, session = client(refusal(status, "DIS.4303"), OK)
    assert (await put(exchange)).attempts == 2
    assert session.times[1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "DIS.4200", InvalidRequestError),
        (410, "DIS.4301", NotFoundError),
        (404, "", NotFoundError),
        (400, "DIS.4701", RebalanceInProgressError),
        (302, "", ServiceError),
    ],
)
async def test_an_answer_that_says_no_for_good_is_not_repeated(status, code, kind):
    exchange, session = client(refusal(status, code, X_Request_Id="r-1"))
    with pytest.raises(kind) as caught:
        await put(exchange)
    assert len(session.requests) == 1
    error = caught.value
    assert (error.operation, error.request_id, error.ambiguous) == ("records.put", "r-1", False)


async def test_a_redirect_says_where_to_but_not_with_what():
    exchange, _ = client(answer(302, Location="https://evil.example.com/?token=SECRET"))
    with pytest.raises(ServiceError, match=r"redirects to evil\.example\.com") as caught:
        await put(exchange)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("location", ["", "/here", "http://["])
async def test_a_redirect_to_nowhere_is_an_error_all_the_same(location):
    exchange, _ = client(answer(302, Location=location))
    with pytest.raises(ServiceError, match="redirects to another place"):
        await put(exchange)


async def test_a_bad_certificate_is_not_repeated():
    exchange, session = client(CertificateError("host: not trusted"))
    with pytest.raises(CertificateError):
        await put(exchange)
    assert len(session.requests) == 1


async def test_the_last_error_tells_each_try_oldest_first(looptime):
    exchange, _ = client(
        refusal(503), RequestTimeoutError("host: slow"), ConnectError("host: refused"), retries=2
    )
    with pytest.raises(ConnectError) as caught:
        await put(exchange)
    assert caught.value.attempts == ("X.503 (HTTP 503)", "host: slow", "host: refused")
    assert caught.value.ambiguous  # the second try may have been carried out
    assert str(caught.value) == "records.put: host: refused"


async def test_a_no_after_an_unanswered_try_is_marked_too():
    exchange, _ = client(RequestTimeoutError("host: slow"), refusal(409, "DIS.4307"))
    with pytest.raises(ServiceError) as caught:
        await put(exchange)
    assert caught.value.ambiguous


async def test_the_retries_setting_limits_the_tries():
    exchange, session = client(ConnectError("refused"), retries=3)
    with pytest.raises(ConnectError):
        await put(exchange)
    assert len(session.requests) == 4


async def test_a_call_with_a_deadline_is_repeated_up_to_it(looptime):
    exchange, session = client(ConnectError("refused"), retries=0, breaker_failures=1000)
    with pytest.raises(ConnectError) as caught:
        await put(exchange, deadline=3.0)
    assert 2.8 <= looptime < 3.0
    assert len(session.requests) == len(caught.value.attempts) == 30


async def test_the_last_try_is_cut_to_what_the_deadline_leaves(looptime):
    exchange, session = client(Hang(), breaker_failures=1000)
    with pytest.raises(RequestTimeoutError):
        await put(exchange, deadline=40.0)
    assert looptime == 40.0
    assert [sent.timeout_s for sent in session.requests] == [30.0, pytest.approx(9.9)]


async def test_without_a_deadline_the_settings_one_holds(looptime):
    exchange, _ = client(Hang(), call_timeout_ms=50_000)
    with pytest.raises(RequestTimeoutError):
        await put(exchange)
    assert looptime == 50.0


async def test_a_deadline_that_has_passed_sends_nothing():
    exchange, session = client(OK)
    with pytest.raises(RequestTimeoutError, match="nothing was sent") as caught:
        await put(exchange, deadline=-1.0)
    assert session.requests == []
    assert not caught.value.ambiguous


@pytest.mark.parametrize("asked", ["7", http_date(EPOCH + 7)], ids=["in seconds", "as a date"])
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(asked, status):
    exchange, session = client(refusal(status, Retry_After=asked, Date=http_date(EPOCH)), OK)
    await put(exchange)
    assert session.times == [0.0, 7.0]


async def test_retry_after_beyond_the_deadline_ends_the_call_at_once(looptime):
    exchange, _ = client(refusal(429, Retry_After="300"))
    with pytest.raises(ThrottledError) as caught:
        await put(exchange)
    assert caught.value.retry_after == 300.0
    assert looptime == 0.0


async def test_a_throttled_client_holds_all_its_calls():
    exchange, session = client(refusal(429, Retry_After="5"), OK)
    first = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    await put(exchange)
    await first
    assert session.times == [0.0, 5.0, 5.0]


async def test_a_throttled_stream_holds_only_its_own_call():
    exchange, session = client(refusal(400, "DIS.4303", Retry_After="5"), OK)
    first = asyncio.create_task(put(exchange))
    await asyncio.sleep(1)
    await put(exchange)
    await first
    assert session.times == [0.0, 1.0, 5.0]


async def test_a_call_that_cannot_wait_for_the_hold_fails_without_being_sent():
    exchange, session = client(refusal(429, Retry_After="50"))
    with pytest.raises(ThrottledError):
        await put(exchange, deadline=10.0)
    with pytest.raises(CircuitOpenError, match="asked to wait"):
        await put(exchange, deadline=10.0)
    assert len(session.requests) == 1


async def test_the_pause_has_jitter():
    exchange, session = client(ConnectError("x"), ConnectError("x"), OK, random=lambda: 1.0)
    await put(exchange)
    assert session.times == [0.0, pytest.approx(0.2), pytest.approx(0.6)]


async def test_a_failing_service_is_asked_only_a_share_more():
    exchange, session = client(refusal(503), breaker_failures=10_000, retry_budget=0.1)
    calls = await asyncio.gather(*(put(exchange) for _ in range(200)), return_exceptions=True)
    assert {type(error) for error in calls} == {ServerError}
    assert len(session.requests) < 200 + 30 + 20 + 50  # the reserve, the share, the refill


# The breaker


async def test_after_failures_in_a_row_calls_without_time_fail_unsent(looptime):
    exchange, session = client(ConnectError("refused"), breaker_failures=3, retries=2)
    with pytest.raises(ConnectError):
        await put(exchange)
    with pytest.raises(CircuitOpenError, match="3 failures in a row, the last: refused") as caught:
        await put(exchange, deadline=5.0)
    assert len(session.requests) == 3
    assert not caught.value.ambiguous


async def test_calls_with_time_wait_and_one_of_them_probes():
    exchange, session = client(
        ConnectError("refused"), ConnectError("refused"), Slow(2, OK), OK, breaker_failures=2
    )
    done = await asyncio.gather(*(put(exchange, deadline=60.0) for _ in range(10)))
    assert all(one.answer is OK for one in done)
    assert session.times[:2] == [0.0, 0.0]
    # the probe goes at once when the breaker half-opens, the others when it was answered
    assert session.times[2:] == [10.0] + [12.0] * 9


async def test_an_outage_shorter_than_the_deadline_is_ridden_out(looptime):
    def out_until_95(sent):
        return ConnectError("refused") if sent.at < 95 else OK

    exchange, session = client(out_until_95)
    done = await asyncio.gather(*(put(exchange, deadline=120.0) for _ in range(16)))
    assert len(done) == 16
    assert looptime < 106
    assert len(session.requests) < 16 + 40


async def test_a_probe_that_is_cancelled_lets_another_go():
    exchange, session = client(ConnectError("refused"), Slow(30, OK), OK, breaker_failures=1)
    with pytest.raises(ConnectError):
        await put(exchange, deadline=0.05)
    probe = asyncio.create_task(put(exchange))
    waiter = asyncio.create_task(put(exchange))
    await asyncio.sleep(11)
    probe.cancel()
    await waiter
    assert session.times == [0.0, 10.0, 11.0]
    with pytest.raises(asyncio.CancelledError):
        await probe


async def test_who_waits_for_a_probe_waits_no_longer_than_its_deadline(looptime):
    exchange, _ = client(ConnectError("refused"), Slow(30, OK), breaker_failures=1)
    with pytest.raises(ConnectError):
        await put(exchange, deadline=0.05)
    probe = asyncio.create_task(put(exchange))
    await asyncio.sleep(10.5)
    with pytest.raises(CircuitOpenError):
        await put(exchange, deadline=12.0)
    assert looptime == 12.0
    await probe


async def test_each_one_turned_away_gets_an_error_of_its_own():
    exchange, _ = client(ConnectError("refused"), breaker_failures=1, retries=0)
    with pytest.raises(ConnectError):
        await put(exchange)
    errors = await asyncio.gather(
        *(put(exchange, deadline=1.0) for _ in range(3)), return_exceptions=True
    )
    assert len({id(error) for error in errors}) == 3


async def test_a_call_that_was_tried_fails_with_what_it_met_not_with_the_breaker():
    exchange, _ = client(TransportError("host: reset"), breaker_failures=1)
    with pytest.raises(TransportError) as caught:
        await put(exchange, deadline=5.0)
    assert type(caught.value) is TransportError
    assert caught.value.ambiguous
    assert caught.value.attempts[0] == "host: reset"
    assert "nothing is sent for now" in caught.value.attempts[1]


async def test_answers_that_say_no_do_not_open_the_breaker():
    exchange, session = client(refusal(404), breaker_failures=1)
    for _ in range(5):
        with pytest.raises(NotFoundError):
            await put(exchange)
    assert len(session.requests) == 5


async def test_a_try_cut_short_by_its_own_deadline_does_not_open_the_breaker():
    exchange, session = client(Hang(), OK, breaker_failures=1)
    with pytest.raises(RequestTimeoutError):
        await put(exchange, deadline=1.0)
    await put(exchange, deadline=2.0)
    assert len(session.times) == 2


# Refused credentials

REFUSED = [
    (401, ""),
    (403, "APIGW.0301"),
    (441, "DIS.4100"),
    (400, "DIS.4309"),
]


@pytest.mark.parametrize(("status", "code"), REFUSED)
@pytest.mark.parametrize("credentials", [KEY, StaticToken("the-token")], ids=["key", "token"])
async def test_one_refusal_stops_everything_for_a_while(status, code, credentials, looptime):
    exchange, session = client(refusal(status, code), OK, credentials=credentials)
    with pytest.raises(AuthError):
        await put(exchange)
    await asyncio.sleep(59)
    with pytest.raises(CircuitOpenError, match="said no"):
        await put(exchange, deadline=1000.0)
    assert looptime == 59.0  # nobody waits for that
    assert len(session.requests) == 1
    await asyncio.sleep(1)
    await put(exchange)
    assert len(session.times) == 2


async def test_a_call_that_waits_for_its_retry_is_stopped_by_a_refusal_too():
    exchange, session = client(refusal(429), refusal(403), retry_backoff_ms=1000)
    waiting = asyncio.create_task(put(exchange))
    await asyncio.sleep(0.5)
    with pytest.raises(AuthError):
        await put(exchange)
    with pytest.raises(ThrottledError):
        await waiting
    assert len(session.times) == 2


async def test_a_clock_that_is_off_is_corrected_and_the_request_signed_again(caplog):
    exchange, session = client(refusal(441, "DIS.4105", Date=http_date(EPOCH - 3600)), OK)
    done = await put(exchange)
    assert done.attempts == 2
    dates = [sent.headers["X-Sdk-Date"] for sent in session.requests]
    now, then = (datetime.strptime(d, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for d in dates)
    assert (now - then).total_seconds() == pytest.approx(3600, abs=1)
    await put(exchange)
    assert session.requests[2].headers["X-Sdk-Date"] == dates[1]


async def test_a_corrected_clock_that_is_refused_again_ends_the_call():
    exchange, session = client(
        refusal(441, "DIS.4105", Date=http_date(EPOCH + 3600)),
        refusal(441, "DIS.4105", Date=http_date(EPOCH + 7200)),
    )
    with pytest.raises(AuthError):
        await put(exchange)
    assert len(session.times) == 2


async def test_a_refusal_with_the_right_time_is_not_signed_again():
    exchange, session = client(refusal(441, "DIS.4100", Date=http_date(EPOCH + 30)))
    with pytest.raises(AuthError):
        await put(exchange)
    assert len(session.requests) == 1


async def test_a_token_bears_no_time_so_the_clock_does_not_excuse_it():
    exchange, session = client(
        refusal(401, Date=http_date(EPOCH + 3600)), credentials=StaticToken("t")
    )
    with pytest.raises(AuthError):
        await put(exchange)
    assert len(session.requests) == 1


async def test_the_clock_learned_from_a_good_answer_signs_the_next_request():
    exchange, session = client(answer(Date=http_date(EPOCH + 120)), OK)
    await put(exchange)
    await put(exchange)
    first, second = (sent.headers["X-Sdk-Date"] for sent in session.requests)
    assert int(second[-3:-1]) == int(first[-3:-1])
    assert int(second[-5:-3]) == int(first[-5:-3]) + 2


async def test_the_body_is_hashed_once_however_often_it_is_signed(monkeypatch):
    hashed = []

    def counting(body):
        hashed.append(body)
        return payload_hash(body)

    monkeypatch.setattr("aiodis.transport.identity.payload_hash", counting)
    exchange, _ = client(ConnectError("x"), ConnectError("x"), OK)
    assert (await put(exchange)).attempts == 3
    assert len(hashed) == 1


async def test_a_missing_permission_fails_its_call_and_lets_others_through():
    exchange, session = client(refusal(403, "DIS.4116"), OK)
    with pytest.raises(ForbiddenError):
        await put(exchange)
    await put(exchange)
    assert len(session.times) == 2
