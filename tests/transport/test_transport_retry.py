import pytest
from multidict import CIMultiDict

from aiodis.errors import (
    AuthError,
    CertificateError,
    ConnectError,
    DecodeError,
    FencedError,
    NotFoundError,
    PayloadTooLargeError,
    RebalanceInProgressError,
    RequestTimeoutError,
    ServerError,
    TransportError,
)
from aiodis.transport.retry import (
    Block,
    Budget,
    GiveUp,
    Met,
    Policy,
    Refresh,
    Retry,
    SignAgain,
    Signal,
    backoff,
    classify,
    decide,
    may_have_been_carried_out,
    retry_after,
)
from aiodis.wire.error_body import decode_error, encode_error

POLICY = Policy(retries=3, backoff_s=0.1, backoff_max_s=10.0)


def choose(signal, *, tries=1, chance=0.0, now=0.0, deadline=120.0, patient=False, **more):
    budget = more.pop("budget", None) or Budget(0.2)
    return decide(
        Met(signal, tries, **more),
        policy=POLICY,
        budget=budget,
        now=now,
        deadline=deadline,
        patient=patient,
        chance=chance,
    )


@pytest.mark.parametrize(
    ("status", "code", "signal"),
    [
        (429, "APIGW.0308", Signal.THROTTLED),
        (400, "DIS.4303", Signal.THROTTLED),
        (400, "DIS.4305", Signal.THROTTLED),
        (500, "DIS.5000", Signal.TRANSIENT),
        (502, "", Signal.TRANSIENT),
        (503, "", Signal.TRANSIENT),
        (504, "", Signal.TRANSIENT),
        (400, "DIS.5250", Signal.TRANSIENT),
        (401, "", Signal.REFUSED),
        (403, "APIGW.0301", Signal.REFUSED),
        (441, "DIS.4100", Signal.REFUSED),
        (441, "DIS.4116", Signal.FINAL),
        (400, "DIS.4309", Signal.REFUSED),
        (400, "DIS.4200", Signal.FINAL),
        (404, "", Signal.FINAL),
        (408, "", Signal.FINAL),
        (409, "DIS.4307", Signal.FINAL),
        (410, "DIS.4301", Signal.FINAL),
        (413, "", Signal.FINAL),
        (400, "DIS.4217", Signal.FINAL),
        (400, "DIS.4224", Signal.FINAL),
        (400, "DIS.4225", Signal.FINAL),
        (400, "DIS.4226", Signal.FINAL),
        (400, "DIS.4319", Signal.FINAL),
        (400, "DIS.4701", Signal.FINAL),
        (400, "DIS.4702", Signal.FINAL),
        (400, "DIS.4703", Signal.FINAL),
        (500, "DIS.4301", Signal.FINAL),
    ],
)
def test_each_answer_has_its_signal(status, code, signal):
    body = encode_error(code, "no") if code else b""
    assert classify(decode_error(status, body)) is signal


@pytest.mark.parametrize(
    ("error", "signal"),
    [
        (ConnectError("x"), Signal.TRANSIENT),
        (RequestTimeoutError("x"), Signal.TRANSIENT),
        (TransportError("x"), Signal.TRANSIENT),
        (CertificateError("x"), Signal.FINAL),
        (DecodeError("x", status=200, head=b""), Signal.FINAL),
    ],
)
def test_each_missing_answer_has_its_signal(error, signal):
    assert classify(error) is signal


def test_the_classes_behind_the_final_signals_keep_their_meaning():
    for code, kind in [
        ("DIS.4701", RebalanceInProgressError),
        ("DIS.4702", FencedError),
        ("DIS.4301", NotFoundError),
        ("DIS.4107", AuthError),
    ]:
        assert type(decode_error(400, encode_error(code, "no"))) is kind
    assert type(decode_error(413, b"")) is PayloadTooLargeError


@pytest.mark.parametrize(
    ("error", "carried_out"),
    [
        (ConnectError("x"), False),
        (TransportError("x", ambiguous=False), False),
        (TransportError("x"), True),
        (RequestTimeoutError("x"), True),
        (ServerError("x", status=500, code="DIS.5000"), True),
        (ServerError("x", status=504, code="HTTP.504"), True),
        (ServerError("x", status=503, code="HTTP.503"), False),
        (ServerError("x", status=501, code="HTTP.501"), False),
        (NotFoundError("x", status=404, code="DIS.4301"), False),
    ],
)
def test_what_may_have_been_carried_out(error, carried_out):
    assert may_have_been_carried_out("POST", error) is carried_out
    assert not may_have_been_carried_out("GET", error)


def test_the_pause_is_drawn_between_the_base_and_a_doubling_ceiling():
    assert [backoff(POLICY, tries, 1.0) for tries in (1, 2, 3, 7, 8, 5000)] == pytest.approx(
        [0.2, 0.4, 0.8, 10.0, 10.0, 10.0]
    )
    assert [backoff(POLICY, tries, 0.0) for tries in (1, 8)] == [0.1, 0.1]
    assert backoff(POLICY, 1, 0.5) == pytest.approx(0.15)


def test_a_base_above_the_ceiling_is_still_a_pause():
    assert backoff(Policy(3, 5.0, 1.0), 4, 0.7) == 5.0


def test_a_transient_failure_is_repeated_until_the_retries_are_used_up():
    assert choose(Signal.TRANSIENT, tries=3) == Retry(0.1)
    assert choose(Signal.TRANSIENT, tries=4) == GiveUp("the retries are used up")


def test_a_call_with_its_own_deadline_is_not_limited_by_the_count():
    assert choose(Signal.TRANSIENT, tries=400, patient=True) == Retry(0.1)


def test_nothing_sleeps_past_the_deadline():
    assert choose(Signal.TRANSIENT, now=119.8) == Retry(0.1)
    assert choose(Signal.TRANSIENT, now=119.9) == GiveUp("no time is left")
    assert choose(Signal.THROTTLED, retry_after=121.0) == GiveUp("no time is left")


def test_retry_after_lengthens_the_pause_but_never_shortens_it():
    assert choose(Signal.THROTTLED, retry_after=7.0) == Retry(7.0)
    assert choose(Signal.THROTTLED, retry_after=0.0, chance=1.0) == Retry(0.2)


def test_a_final_answer_ends_the_call_at_once():
    assert choose(Signal.FINAL, patient=True) == GiveUp("it would fail again")


def test_a_refusal_is_mended_by_the_clock_first_then_the_token_then_not_at_all():
    assert choose(Signal.REFUSED, may_sign_again=True, may_refresh=True) == SignAgain()
    assert choose(Signal.REFUSED, may_refresh=True) == Refresh()
    assert choose(Signal.REFUSED) == Block()


def test_the_budget_lets_only_a_share_of_the_calls_be_repeated():
    budget = Budget(0.25)  # exact in binary
    while budget.take(0.0):
        pass
    for _ in range(100):
        budget.deposit()
    assert sum(budget.take(0.0) for _ in range(100)) == 25


def test_time_refills_the_reserve_of_the_budget_and_no_more():
    budget = Budget(0.0)
    assert sum(budget.take(0.0) for _ in range(100)) == Budget.RESERVE
    assert sum(budget.take(1.0) for _ in range(100)) == Budget.REFILL_PER_S
    assert sum(budget.take(1e6) for _ in range(100)) == Budget.RESERVE


def test_the_budget_is_bounded_however_many_calls_pay_in():
    budget = Budget(1.0)
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.take(0.0) for _ in range(10_000)) == Budget.CAPACITY


def test_without_budget_a_failure_is_final_and_costs_nothing():
    budget = Budget(0.0)
    while budget.take(0.0):
        pass
    assert choose(Signal.TRANSIENT, budget=budget) == GiveUp("the retry budget is used up")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "99999999999999999999"}, 999999999.0),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 20.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "7.5"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers, seconds):
    assert retry_after(CIMultiDict(headers), now=40.0) == seconds
