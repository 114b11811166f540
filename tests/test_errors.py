import copy
import pickle

import pytest

import aiodis
from aiodis import errors
from aiodis.errors import (
    ERROR_CLASSES,
    AlreadyExistsError,
    AuthError,
    BufferFullError,
    CertificateError,
    CircuitOpenError,
    ConfigError,
    ConnectError,
    CursorExpiredError,
    DecodeError,
    DeliveryTimeoutError,
    DISError,
    FencedError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ParameterError,
    PartitionExpiredError,
    PayloadTooLargeError,
    QuotaError,
    RebalanceInProgressError,
    RecordError,
    RecordTooLargeError,
    RequestTimeoutError,
    SequenceOutOfRangeError,
    ServerError,
    ServiceError,
    ThrottledError,
    TransportError,
    error_class,
)

# The reference's chapter 7.1, with its own statuses: all 45 of them.
DOCUMENTED = [
    (400, "DIS.4117", InvalidRequestError),
    (400, "DIS.4200", InvalidRequestError),
    (400, "DIS.4201", InvalidRequestError),
    (400, "DIS.4202", InvalidRequestError),
    (400, "DIS.4203", InvalidRequestError),
    (400, "DIS.4204", InvalidRequestError),
    (400, "DIS.4205", InvalidRequestError),
    (400, "DIS.4208", InvalidRequestError),
    (400, "DIS.4209", InvalidRequestError),
    (400, "DIS.4215", InvalidRequestError),
    (400, "DIS.4216", InvalidRequestError),
    (400, "DIS.4217", CursorExpiredError),
    (400, "DIS.4224", SequenceOutOfRangeError),
    (400, "DIS.4225", CursorExpiredError),
    (400, "DIS.4226", CursorExpiredError),
    (400, "DIS.4300", InvalidRequestError),
    (400, "DIS.4301", NotFoundError),
    (400, "DIS.4302", NotFoundError),
    (400, "DIS.4303", ThrottledError),
    (400, "DIS.4305", ThrottledError),
    (400, "DIS.4306", NotFoundError),
    (400, "DIS.4307", AlreadyExistsError),
    (400, "DIS.4308", QuotaError),
    (400, "DIS.4309", AuthError),
    (400, "DIS.4310", InvalidRequestError),
    (400, "DIS.4319", PartitionExpiredError),
    (400, "DIS.4329", QuotaError),
    (400, "DIS.4330", AlreadyExistsError),
    (400, "DIS.4331", AlreadyExistsError),
    (400, "DIS.4332", NotFoundError),
    (400, "DIS.4335", InvalidRequestError),
    (400, "DIS.4336", InvalidRequestError),
    (400, "DIS.4339", QuotaError),
    (400, "DIS.4354", NotFoundError),
    (400, "DIS.4355", AlreadyExistsError),
    (400, "DIS.4357", QuotaError),
    (400, "DIS.4360", InvalidRequestError),
    (400, "DIS.4375", NotFoundError),
    (400, "DIS.4601", QuotaError),
    (400, "DIS.4602", InvalidRequestError),
    (400, "DIS.4603", NotFoundError),
    (400, "DIS.4604", NotFoundError),
    (400, "DIS.4605", InvalidRequestError),
    (403, "DIS.4116", ForbiddenError),
    (500, "DIS.5000", ServerError),
]
# What only the vendor's other pages and clients name.
ELSEWHERE = [
    *((441, f"DIS.{number}", AuthError) for number in range(4100, 4115)),
    (400, "DIS.4701", RebalanceInProgressError),
    (400, "DIS.4702", FencedError),
    (400, "DIS.4703", FencedError),
]
RETRYABLE = {
    BufferFullError,
    TransportError,
    ConnectError,
    CircuitOpenError,
    RequestTimeoutError,
    ThrottledError,
    ServerError,
    RebalanceInProgressError,
}
ALL = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize(("status", "code", "expected"), DOCUMENTED + ELSEWHERE)
def test_each_known_code_has_its_class(status, code, expected):
    assert error_class(status, code) is expected


def test_the_table_holds_the_known_codes_and_no_others():
    assert len(DOCUMENTED) == 45
    assert set(ERROR_CLASSES) == {code for _, code, _ in DOCUMENTED + ELSEWHERE}


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "DIS.4303", ThrottledError),
        (404, "DIS.4307", AlreadyExistsError),
        (429, "DIS.4301", NotFoundError),
        (200, "DIS.5000", ServerError),
    ],
)
def test_the_code_beats_the_status(status, code, expected):
    assert error_class(status, code) is expected


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "DIS.5250", ServerError),  # the vendor's clients retry on it
        (503, "DIS.4999", ServerError),
        (400, "DIS.4999", InvalidRequestError),
        (404, "DIS.4999", NotFoundError),
        (401, "APIGW.0301", AuthError),
        (404, "APIGW.0101", NotFoundError),
        (429, "APIGW.0308", ThrottledError),
        (400, "IAM.0001", InvalidRequestError),
    ],
)
def test_an_unknown_code_goes_by_its_first_digit_and_the_status(status, code, expected):
    assert error_class(status, code) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidRequestError),
        (401, AuthError),
        (403, AuthError),
        (404, NotFoundError),
        (409, AlreadyExistsError),
        (410, NotFoundError),
        (413, PayloadTooLargeError),
        (418, InvalidRequestError),
        (429, ThrottledError),
        (441, AuthError),
        (500, ServerError),
        (502, ServerError),
        (504, ServerError),
        (302, ServiceError),
    ],
)
def test_without_a_code_the_status_decides(status, expected):
    assert error_class(status, f"HTTP.{status}") is expected


@pytest.mark.parametrize("kind", ALL)
def test_retryable_stands_on_the_class(kind):
    assert kind.retryable is (kind in RETRYABLE)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_dis_error_and_public(kind):
    assert issubclass(kind, DISError)
    assert getattr(aiodis, kind.__name__) is kind
    assert kind.__name__ in aiodis.__all__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (ParameterError, ValueError),
        (BufferFullError, TimeoutError),
        (RequestTimeoutError, TimeoutError),
        (DeliveryTimeoutError, TimeoutError),
    ],
)
def test_an_error_is_also_what_python_would_raise(kind, builtin):
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (CertificateError, ConnectError),
        (PayloadTooLargeError, InvalidRequestError),
        (RecordTooLargeError, RecordError),
        (DeliveryTimeoutError, RecordError),
        (CircuitOpenError, TransportError),
    ],
)
def test_a_special_error_is_caught_as_the_general_one(kind, parent):
    assert issubclass(kind, parent)


def test_a_service_error_tells_operation_code_status_message_and_request():
    error = NotFoundError(
        "The stream does not exist.",
        status=400,
        code="DIS.4301",
        request_id="abc",
        operation="streams.describe",
    )
    assert str(error) == (
        "streams.describe: DIS.4301 (HTTP 400): The stream does not exist. [request abc]"
    )
    assert (error.status, error.code, error.message) == (
        400,
        "DIS.4301",
        "The stream does not exist.",
    )
    assert error.retry_after is None
    assert error.ambiguous is False


def test_a_service_error_leaves_out_what_it_does_not_know():
    assert str(ServerError("boom", status=502, code="HTTP.502")) == "HTTP.502 (HTTP 502): boom"


@pytest.mark.parametrize("kind", [ConnectError, CertificateError, CircuitOpenError])
def test_an_error_before_sending_is_not_ambiguous(kind):
    error = kind("no route", attempts=("one", "two"))
    assert error.ambiguous is False
    assert error.attempts == ("one", "two")
    assert str(error) == "no route"


def test_a_lost_answer_is_ambiguous_unless_said_otherwise():
    assert RequestTimeoutError("late").ambiguous is True
    assert RequestTimeoutError("late", ambiguous=False).ambiguous is False


def test_a_parameter_error_names_operation_field_value_and_rule():
    error = ParameterError("streams.create", "partition_count", 0, "must be 1 or more")
    assert str(error) == "streams.create: partition_count=0: must be 1 or more"
    assert (error.operation, error.field, error.value) == ("streams.create", "partition_count", 0)


def test_a_parameter_error_cuts_a_long_value_at_80_characters():
    text = str(ParameterError("o", "f", "x" * 1000, "too long"))
    assert text == f"o: f='{'x' * 76}...: too long"
    assert len(text.removeprefix("o: f=").removesuffix(": too long")) == 80


def test_a_parameter_error_shows_a_value_of_80_characters_whole():
    assert str(ParameterError("o", "f", "x" * 78, "r")) == f"o: f='{'x' * 78}': r"


def test_a_decode_error_keeps_status_and_the_first_200_bytes():
    error = DecodeError("unreadable", status=200, head=b"<" * 1000)
    assert (error.status, error.head) == (200, b"<" * 200)
    assert str(error) == "unreadable"


def test_a_record_error_keeps_code_and_ambiguity():
    error = RecordError("refused", code="DIS.4303", ambiguous=True)
    assert (error.code, error.ambiguous, str(error)) == ("DIS.4303", True, "refused")
    assert DeliveryTimeoutError("late").code is None


@pytest.mark.parametrize(
    "error",
    [
        errors.ServiceError("no", status=400, code="DIS.4200", request_id="r", operation="o"),
        errors.ParameterError("streams.create", "stream_name", "a b", "no blanks"),
        errors.RequestTimeoutError("late", attempts=("one", "two")),
        errors.CircuitOpenError("open", refused=True),
        errors.DecodeError("odd", status=200, head=b"<html>"),
        errors.DeliveryTimeoutError("late", ambiguous=True),
        errors.BufferFullError("full"),
    ],
)
def test_errors_can_be_copied_and_pickled(error):
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert twin is not error
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
