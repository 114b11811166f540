"""An error's body on the wire.

The service answers `{"errorCode": …, "message": …}`; its gateway and IAM answer
`{"error_code": …, "error_msg": …}`. A body with all four keys suits every client
(facts 8.1), so that is what the embedded DIS writes; both are read.
"""

import orjson

from aiodis.errors import ServiceError, error_class

__all__ = ["decode_error", "encode_error"]

_CODE_KEYS = ("errorCode", "error_code", "code")
_MESSAGE_KEYS = ("message", "error_msg", "errorMsg", "error_message")


def encode_error(code: str, message: str) -> bytes:
    """Write the four-key body."""
    return orjson.dumps(
        {"errorCode": code, "message": message, "error_code": code, "error_msg": message}
    )


def decode_error(
    status: int, body: bytes, *, operation: str | None = None, request_id: str | None = None
) -> ServiceError:
    """Make the error that an answer stands for; a body that is no error keeps its first words."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    fields = found if isinstance(found, dict) else {}
    if isinstance(fields.get("error"), dict):  # Keystone's form, which IAM answers in
        fields = fields["error"]
    code = _first(fields, _CODE_KEYS) or f"HTTP.{status}"
    message = _first(fields, _MESSAGE_KEYS) or body[:200].decode("utf-8", "replace").strip()
    return error_class(status, code)(
        message or "the answer has no body",
        status=status,
        code=code,
        request_id=request_id,
        operation=operation,
    )


def _first(fields: dict[str, object], keys: tuple[str, ...]) -> str:
    for key in keys:
        if fields.get(key) not in (None, ""):
            return str(fields[key])
    return ""
