"""How the embedded DIS says no: the service's codes, their statuses and their words.

The codes of DIS are those of the reference, chapter 7.1; those of authentication
are only on the vendor's pages (facts 1), all of them with HTTP 441. A detail
stands in brackets behind the message, as in the service's own answers:
`Sequence_number out of range. [5280][ should be within ][0][ ][617]`.
"""

from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from aiodis.server import guesses
from aiodis.wire.error_body import encode_error
from aiodis.wire.signing import REFUSALS, SignatureError

__all__ = ["CODES", "CodeRow", "Refusal", "refusal_of_fields"]


class CodeRow(NamedTuple):
    """What the service answers for a code."""

    status: int
    message: str


class Refusal(Exception):  # noqa: N818 - an answer of the server, not a failure of it
    """An answer that says no. Each detail is shown in its own brackets."""

    def __init__(self, code: str, *details: object, status: int | None = None) -> None:
        row = CODES[code]
        shown = "".join(f"[{detail}]" for detail in details)
        self.code = code
        self.status = status or row.status
        self.message = f"{row.message} {shown}" if shown else row.message
        super().__init__(f"{code}: {self.message}")

    @classmethod
    def of_signature(cls, exc: SignatureError) -> "Refusal":
        """Say in the service's form what is wrong with a signature."""
        refusal = cls(exc.code)
        refusal.message = exc.message
        return refusal

    def encode(self) -> bytes:
        """Write the four-key body."""
        return encode_error(self.code, self.message)


def refusal_of_fields(exc: ValidationError) -> Refusal:
    """Turn what the models found into the service's code; the value itself is not repeated."""
    first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "request"
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] in _TYPE_CODES:
        return Refusal(_TYPE_CODES[first["type"]], rule)
    missing = first["type"] == "missing"
    return Refusal("DIS.4200" if missing else _code_of(first["loc"]), f"{field}: {rule}")


def _code_of(location: tuple[Any, ...]) -> str:
    field = str(location[0]).replace("-", "_") if location else ""
    return _FIELD_CODES.get(field, "DIS.4200")


# Which code a bad value gets: guessed from the codes' messages. All other fields: 4200.
_FIELD_CODES: Final = {
    "partition_id": "DIS.4201",
    "start_partition_id": "DIS.4201",
    "start_partitionId": "DIS.4201",
    "cursor_type": "DIS.4215",
    "sequence_number": "DIS.4216",
    "starting_sequence_number": "DIS.4216",
    "partition_cursor": "DIS.4217",
    "data_schema": "DIS.4360",
    "agency_name": guesses.NO_AGENCY_CODE,
    "label": "DIS.4209",
    "label_list": "DIS.4209",
    "start_time": "DIS.4203",
    "end_time": "DIS.4203",
}

# What several values break together; the models give these errors types of their own.
_TYPE_CODES: Final = {
    "metrics_label": "DIS.4209",
    "metrics_period": "DIS.4203",
    "metrics_long_period": "DIS.4204",
}

CODES: Final[dict[str, CodeRow]] = {
    "DIS.4117": CodeRow(400, "Invalid Project Id."),
    "DIS.4200": CodeRow(400, "Invalid request."),
    "DIS.4201": CodeRow(400, "Invalid partition_id."),
    "DIS.4202": CodeRow(400, "Empty request."),
    "DIS.4203": CodeRow(400, "Invalid monitoring period."),
    "DIS.4204": CodeRow(400, "The monitoring period cannot be longer than 7 days."),
    "DIS.4205": CodeRow(400, "Stream is not running."),
    "DIS.4208": CodeRow(400, "Mrs cluster is invalid."),
    "DIS.4209": CodeRow(400, "Invalid metrics label."),
    "DIS.4215": CodeRow(400, "Invalid cursor type."),
    "DIS.4216": CodeRow(400, "Invalid sequence_number."),
    "DIS.4217": CodeRow(400, "Invalid partition cursor."),
    "DIS.4224": CodeRow(400, "Sequence_number out of range."),
    "DIS.4225": CodeRow(400, "Expired partition cursor."),
    "DIS.4226": CodeRow(
        400,
        "A partition iterator error occurred or a record to which the SN corresponds has"
        " expired. Try to obtain the partition iterator again.",
    ),
    "DIS.4300": CodeRow(400, "Request error."),
    "DIS.4301": CodeRow(400, "The stream does not exist."),
    "DIS.4302": CodeRow(400, "Partition does not exist."),
    "DIS.4303": CodeRow(400, "Exceeded traffic control limit."),
    "DIS.4305": CodeRow(400, "Too many stream requests."),
    "DIS.4306": CodeRow(400, "Bucket does not exist."),
    "DIS.4307": CodeRow(400, "The stream already exists."),
    "DIS.4308": CodeRow(400, "Insufficient quota."),
    "DIS.4309": CodeRow(400, "Too many request failures. Please try again later."),
    "DIS.4310": CodeRow(400, "OBS access error."),
    "DIS.4319": CodeRow(400, "Partition is expired."),
    "DIS.4329": CodeRow(400, "app quota exceeded."),
    "DIS.4330": CodeRow(400, "app already exist."),
    "DIS.4331": CodeRow(400, "app is using."),
    "DIS.4332": CodeRow(400, "app not found."),
    "DIS.4335": CodeRow(400, "Invalid IAM agency."),
    "DIS.4336": CodeRow(400, "Invalid HDFS path."),
    "DIS.4339": CodeRow(400, "Consumer quota exceeded."),
    "DIS.4354": CodeRow(400, "The transfer task does not exist."),
    "DIS.4355": CodeRow(400, "The transfer task already exists."),
    "DIS.4357": CodeRow(400, "Exceeded transfer task quota."),
    "DIS.4360": CodeRow(400, "Invalid data schema."),
    "DIS.4375": CodeRow(400, "The app does not commit checkpoint"),
    "DIS.4601": CodeRow(400, "The number of resource tags has reached the maximum."),
    "DIS.4602": CodeRow(400, "Invalid resource type."),
    "DIS.4603": CodeRow(400, "The resource does not exist."),
    "DIS.4604": CodeRow(400, "The key does not exist."),
    "DIS.4605": CodeRow(400, "The action is not supported."),
    # Consumer groups: the codes are seen in the SDK (facts 6.4), status and words are guessed.
    "DIS.4701": CodeRow(400, "The consumer group is rebalancing."),
    "DIS.4702": CodeRow(400, "The consumer group member does not exist."),
    "DIS.4703": CodeRow(400, "Illegal generation of the consumer group."),
    "DIS.4116": CodeRow(403, "Invalid RBAC."),
    "DIS.5000": CodeRow(500, "System error."),
    **{code: CodeRow(441, message) for code, message in REFUSALS.items()},
    "DIS.4113": CodeRow(441, "Empty Token header"),
    "DIS.4114": CodeRow(441, "Invalid Token header"),
    # What the gateway in front of the service answers for an API it does not have (facts 1).
    "APIGW.0101": CodeRow(404, "The API does not exist or has not been published."),
}
