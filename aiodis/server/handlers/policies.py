"""Policies: what each operation of the reference's chapters 5.1.7 and 5.1.8 does."""

from aiodis.api.policies import (
    CreatePolicy,
    DeletePolicy,
    ListPolicies,
    PolicyList,
    PolicyRule,
    principals_of,
)
from aiodis.server import guesses
from aiodis.server.accounts import Accounts
from aiodis.server.refusal import Refusal
from aiodis.server.state import State, Stream
from aiodis.server.storage.policies import PolicyRow, PolicyTable
from aiodis.wire.message import Empty

__all__ = ["PolicyHandlers"]


class PolicyHandlers:
    """One method a row of `aiodis.api.Policies`."""

    def __init__(self, state: State, table: PolicyTable, accounts: Accounts | None) -> None:
        self._state, self._table, self._accounts = state, table, accounts

    def create(self, request: CreatePolicy, now_ms: int) -> Empty:
        stream = self._stream(request, now_ms)
        # Accounts are not looked up, and what is there is no error: guesses.ANY_PRINCIPAL.
        principals = principals_of(request.principal_name)
        self._table.add(stream.row.stream_id, principals, request.action_type, request.effect)
        return Empty()

    def list(self, request: ListPolicies, now_ms: int) -> PolicyList:
        stream_id = self._state.find(request.stream_name, now_ms).row.stream_id
        return PolicyList(
            stream_id=stream_id,
            rules=[
                PolicyRule(
                    principal=self._in_ids(row.principal),
                    principal_name=row.principal,
                    action_type=row.action_type,
                    effect=row.effect,
                )
                for row in self._table.of_stream(stream_id)
            ],
        )

    def delete(self, request: DeletePolicy, now_ms: int) -> Empty:
        stream_id = self._stream(request, now_ms).row.stream_id
        principals = principals_of(request.principal_name)
        there = self._table.of_stream(stream_id)
        for principal in principals:
            if PolicyRow(principal, request.action_type, request.effect) not in there:
                raise Refusal(guesses.MISSING_POLICY_CODE, principal)
        self._table.remove(stream_id, principals, request.action_type, request.effect)
        return Empty()

    def _in_ids(self, principal: str) -> str:
        return self._accounts.in_ids(principal) if self._accounts else principal

    def _stream(self, request: CreatePolicy, now_ms: int) -> Stream:
        stream = self._state.find(request.stream_name, now_ms)
        if request.stream_id != stream.row.stream_id:
            raise Refusal("DIS.4200", f"stream_id: {stream.row.stream_name} has another")
        return stream
