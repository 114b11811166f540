"""Permission policies of streams: reference, chapters 5.1.7 and 5.1.8.

They let users of other accounts put and get records. The delete call is not in the
reference; it was seen on the vendor's pages (facts 7).
"""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from aiodis.api.shared import StreamName
from aiodis.wire.message import Empty, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = [
    "CreatePolicy",
    "DeletePolicy",
    "ListPolicies",
    "Policies",
    "PolicyList",
    "PolicyRule",
    "principals_of",
]

_PRINCIPAL: Final = re.compile(r"([^\s.,*]+)(?:\.(\*|[^,*]+))?")


def principals_of(names: str) -> list[str]:
    """Give each principal of a list as `account.user`, or `account.*` for a whole account.

    An account alone means all of it, as in the reference's example.

    Raises:
        ValueError: it is no such list.
    """
    found = [_PRINCIPAL.fullmatch(name.strip()) for name in names.split(",")]
    if not all(found):
        raise ValueError("a principal is account, account.* or account.user; commas separate them")
    return [f"{match[1]}.{(match[2] or '*').strip()}" for match in found if match]


def _principal_names(value: str) -> str:
    principals_of(value)
    return value


PrincipalNames = Annotated[str, AfterValidator(_principal_names)]
ActionType = Literal["putRecords", "getRecords"]
Effect = Literal["accept"]


class CreatePolicy(Message):
    """Parameters of `policies.create`. `principal_name` may list several, separated by commas."""

    stream_name: StreamName
    stream_id: Annotated[str, Field(min_length=1)]
    principal_name: PrincipalNames
    action_type: ActionType
    effect: Effect = "accept"


class ListPolicies(Message):
    """Parameters of `policies.list`."""

    stream_name: StreamName


class DeletePolicy(CreatePolicy):
    """Parameters of `policies.delete`. They are those that the policy was made with."""


class PolicyRule(Reply):
    """Who may do what. `principal` is `principal_name` in ids."""

    principal: str = ""
    principal_name: str = ""
    action_type: str = ""
    effect: str = ""


class PolicyList(Reply):
    """The policies of a stream."""

    # The reference's table and its example differ (facts 8.9).
    stream_id: Annotated[str, spelled("stream_id", "streamId")] = ""
    rules: list[PolicyRule] = []


class Policies(Resource):
    """The policy operations, in the order of the service's reference."""

    create = Operation(
        "POST /v2/{project_id}/streams/{stream_name}/policies", CreatePolicy, Empty, status=201
    )
    list = Operation(
        "GET /v2/{project_id}/streams/{stream_name}/policies", ListPolicies, PolicyList
    )
    # Which body it takes: facts 7.
    delete = Operation(
        "DELETE /v2/{project_id}/streams/{stream_name}/policies",
        DeletePolicy,
        Empty,
        has_body=True,
        source="documented later",
    )
