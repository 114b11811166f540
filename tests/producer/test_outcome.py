import pytest

from aiodis.errors import (
    CertificateError,
    CircuitOpenError,
    ClosedError,
    ConnectError,
    DecodeError,
    ParameterError,
    RecordError,
    RequestTimeoutError,
    error_class,
)
from aiodis.producer.accumulator import Entry
from aiodis.producer.outcome import Next, Verdict, after_error, after_result, record_error
from aiodis.wire.codec import WrittenResult


def entries(count):
    return [Entry(b"a", None, n, 1.0, 1) for n in range(count)]


def refusal(code, status=400):
    return error_class(status, code)("scripted", status=status, code=code)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, Next.DELIVERED),
        ("DIS.4303", Next.THROTTLED),
        ("[DIS.4303]", Next.THROTTLED),  # the vendor's SDK looks for the code anywhere, too
        ("DIS.5000", Next.RETRY),
        ("DIS.5250", Next.RETRY),
        ("DIS.4302", Next.REROUTE),
        ("DIS.4319", Next.REROUTE),
        ("DIS.4301", Next.FAILED),
        ("DIS.4200", Next.FAILED),
        ("DIS.4999", Next.FAILED),
        ("", Next.FAILED),
    ],
)
def test_one_records_code_decides_what_becomes_of_it(code, expected):
    assert after_result(WrittenResult(error_code=code)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("DIS.4303"), Verdict.RETRY),
        (refusal("DIS.4305"), Verdict.RETRY),
        (refusal("HTTP.429", 429), Verdict.RETRY),
        (refusal("DIS.5000", 500), Verdict.RETRY),
        (refusal("HTTP.502", 502), Verdict.RETRY),
        (ConnectError("no route"), Verdict.RETRY),
        (CircuitOpenError("open"), Verdict.RETRY),
        (RequestTimeoutError("late"), Verdict.RETRY),
        (DecodeError("garbage", status=200, head=b""), Verdict.RETRY),
        (refusal("DIS.4301"), Verdict.STREAM_GONE),
        (refusal("HTTP.404", 404), Verdict.STREAM_GONE),
        (refusal("HTTP.410", 410), Verdict.STREAM_GONE),
        (refusal("DIS.4200"), Verdict.SPLIT),
        (refusal("DIS.4205"), Verdict.SPLIT),
        (refusal("HTTP.413", 413), Verdict.SPLIT),
        (refusal("DIS.4116", 403), Verdict.FAILED),
        (refusal("DIS.4101", 441), Verdict.FAILED),
        (refusal("DIS.4309"), Verdict.FAILED),
        (refusal("DIS.4308"), Verdict.FAILED),
        (CertificateError("not trusted"), Verdict.FAILED),
        (ClosedError("closed"), Verdict.FAILED),
        (ParameterError("records.put", "data", 0, "bad"), Verdict.FAILED),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'code', '')}",
)
def test_the_error_of_a_whole_request_decides_what_becomes_of_it(error, expected):
    assert after_error(error, entries(2)) is expected


@pytest.mark.parametrize("code", ["DIS.4200", "DIS.4300"])
def test_a_record_that_was_refused_alone_is_the_one_at_fault(code):
    assert after_error(refusal(code), entries(1)) is Verdict.FAILED


@pytest.mark.parametrize("ambiguous", [True, False])
def test_a_record_gets_an_error_of_its_own_with_the_requests_as_its_cause(ambiguous):
    error = refusal("DIS.4116", 403)
    first = record_error(error, ambiguous=ambiguous)
    second = record_error(error, ambiguous=ambiguous)
    assert type(first) is RecordError
    assert first is not second
    assert str(first) == "not delivered: DIS.4116 (HTTP 403): scripted"
    assert (first.code, first.ambiguous, first.__cause__) == ("DIS.4116", ambiguous, error)


def test_a_record_error_without_an_answer_has_no_code():
    made = record_error(ConnectError("no route"), ambiguous=False)
    assert (made.code, str(made)) == (None, "not delivered: no route")
