import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodis.errors import (
    AuthError,
    InvalidRequestError,
    NotFoundError,
    ServerError,
    ServiceError,
    ThrottledError,
)
from aiodis.wire.error_body import decode_error, encode_error

GATEWAY_PAGE = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>"


def body(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "found",
    [
        body(errorCode="DIS.4301", message="The stream does not exist."),  # the service
        body(error_code="DIS.4301", error_msg="The stream does not exist."),  # the reference
        body(errorCode="DIS.4301", errorMsg="The stream does not exist."),
        body(error_code="DIS.4301", error_message="The stream does not exist."),  # per record
        body(code="DIS.4301", message="The stream does not exist."),
        body(error={"code": "DIS.4301", "message": "The stream does not exist."}),
        body(errorCode="DIS.4301", message="The stream does not exist.", request_id="x", more=[]),
        body(
            errorCode=None,
            error_code="DIS.4301",
            message="",
            error_msg="The stream does not exist.",
        ),
    ],
)
def test_each_spelling_is_read(found):
    error = decode_error(400, found)
    assert type(error) is NotFoundError
    assert (error.status, error.code, error.message) == (
        400,
        "DIS.4301",
        "The stream does not exist.",
    )


def test_keystones_form_is_read_with_its_number_for_a_code():
    found = body(error={"code": 401, "title": "Unauthorized", "message": "The password is wrong."})
    error = decode_error(401, found)
    assert type(error) is AuthError
    assert (error.code, error.message) == ("401", "The password is wrong.")


def test_the_gateways_own_code_goes_by_its_status():
    error = decode_error(429, body(error_code="APIGW.0308", error_msg="Throttled."))
    assert type(error) is ThrottledError
    assert error.code == "APIGW.0308"


def test_a_page_of_the_gateway_keeps_its_first_words():
    error = decode_error(502, GATEWAY_PAGE)
    assert type(error) is ServerError
    assert error.code == "HTTP.502"
    assert error.message == GATEWAY_PAGE.decode()


def test_a_long_page_is_cut_at_200_bytes():
    assert decode_error(502, b"x" * 5000).message == "x" * 200


@pytest.mark.parametrize("found", [b"", b"  \r\n"])
def test_an_empty_body_says_so(found):
    error = decode_error(503, found)
    assert (error.code, error.message) == ("HTTP.503", "the answer has no body")


def test_json_that_is_no_error_keeps_its_first_words():
    error = decode_error(400, b'["no"]')
    assert type(error) is InvalidRequestError
    assert (error.code, error.message) == ("HTTP.400", '["no"]')


def test_a_text_for_an_error_keeps_its_first_words():
    error = decode_error(404, body(error="not found"))
    assert (type(error), error.code) == (NotFoundError, "HTTP.404")
    assert error.message == '{"error": "not found"}'


def test_the_error_knows_its_operation_and_request():
    error = decode_error(400, b"", operation="streams.delete", request_id="abc")
    assert (error.operation, error.request_id) == ("streams.delete", "abc")
    assert str(error) == "streams.delete: HTTP.400 (HTTP 400): the answer has no body [request abc]"


@given(st.integers(300, 599), st.binary() | st.dictionaries(st.text(), st.text()).map(json.dumps))
@example(400, b"\xff\xfe\x00")
@example(400, b"[" * 100_000)
@example(400, b'{"errorCode":{},"message":[1]}')
@example(400, b'{"error":{}}')
def test_any_body_makes_an_error_with_a_code_and_a_message(status, found):
    error = decode_error(status, found if isinstance(found, bytes) else found.encode())
    assert isinstance(error, ServiceError)
    assert error.status == status
    assert error.code
    assert error.message


@given(st.text(min_size=1))
def test_what_is_written_is_read_back_and_suits_every_client(message):
    written = encode_error("DIS.4200", message)
    assert json.loads(written) == {
        "errorCode": "DIS.4200",
        "message": message,
        "error_code": "DIS.4200",
        "error_msg": message,
    }
    error = decode_error(400, written)
    assert (error.code, error.message) == ("DIS.4200", message)
