"""Quotas: what of them is used, counted from what there is."""

from aiodis.api.quotas import GetQuotas, Quota, QuotaReply, ResourceQuotas
from aiodis.server.state import State

__all__ = ["QuotaHandlers"]


class QuotaHandlers:
    """One method a row of `aiodis.api.Quotas`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, request: GetQuotas, now_ms: int) -> QuotaReply:  # noqa: ARG002
        quotas, state = self._state.quotas, self._state
        found = [
            Quota(
                type=f"{stream_type.lower()}_partition",
                quota=quotas.partitions(stream_type),
                used=state.used_partitions(stream_type),
            )
            for stream_type in ("COMMON", "ADVANCED")
        ]
        found.append(Quota(type="app", quota=quotas.app, used=len(state.catalog.apps())))
        return QuotaReply(quotas=ResourceQuotas(resources=found))
