"""Quotas: what an account may have, and what of it is used. Only the vendor's newer pages have it.

A table there and an example there name the parts differently, so both are read.
"""

from typing import Annotated

from pydantic import BeforeValidator

from aiodis.api.shared import as_list
from aiodis.wire.message import LenientInt, Message, Reply, spelled
from aiodis.wire.operation import Operation, Resource

__all__ = ["GetQuotas", "Quota", "QuotaReply", "Quotas", "ResourceQuotas"]


class GetQuotas(Message):
    """Parameters of `quotas.get`. There are none."""


class Quota(Reply):
    """One quota: `common_partition`, `advanced_partition` or `app`."""

    type: str = ""
    quota: LenientInt = 0
    used: LenientInt = 0


class ResourceQuotas(Reply):
    """The quotas by the resource's type."""

    resources: Annotated[
        list[Quota], BeforeValidator(as_list), spelled("resources", "resource", "items")
    ] = []


class QuotaReply(Reply):
    """What an account may have and has."""

    quotas: Annotated[ResourceQuotas, spelled("quotas", "quota")] = ResourceQuotas()


class Quotas(Resource):
    """The quotas of the account."""

    get = Operation("GET /v1/{project_id}/quotas", GetQuotas, QuotaReply, source="documented later")
