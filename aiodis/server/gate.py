"""Who calls: a signature or a token, or nobody that is asked; and what the caller may.

Failures have the service's codes, and HTTP 441 where it is not clear who calls (facts
1). With `anonymous` nothing is asked.
"""

from multidict import CIMultiDictProxy

from aiodis.api.actions import ACTIONS
from aiodis.server import guesses
from aiodis.server.accounts import Accounts, Caller
from aiodis.server.identity import Identity
from aiodis.server.refusal import Refusal
from aiodis.wire.signing import SignatureError, Unsigned, payload_hash, verify

__all__ = ["Gate"]


class Gate:
    """Lets the users of some accounts through. `region` None takes any region's scope."""

    def __init__(
        self, accounts: Accounts, identity: Identity, *, region: str | None, anonymous: bool
    ) -> None:
        self._accounts, self._identity = accounts, identity
        self._region, self._anonymous = region, anonymous

    def check(
        self,
        method: str,
        target: str,
        headers: CIMultiDictProxy[str],
        body: bytes,
        now_ms: int,
    ) -> Caller | None:
        """Tell who calls; None where nobody is asked.

        `target` is path and query as they came on the wire.

        Raises:
            Refusal: it is nobody that may call.
        """
        if self._anonymous:
            return None
        authorization = headers.get("Authorization")
        if authorization is None and "X-Auth-Token" in headers:
            return self._identity.check_token(headers["X-Auth-Token"], now_ms)
        path, _, query = target.partition("?")
        unsigned = Unsigned(
            method, path, query, headers, payload_hash(body) if authorization else ""
        )
        try:
            found = verify(
                unsigned,
                authorization,
                find_key=self._accounts.key,
                region=self._region,
                now=now_ms / 1000,
                max_skew_s=guesses.MAX_SKEW_S,
            )
        except SignatureError as exc:
            raise Refusal.of_signature(exc) from None
        return self._accounts.of_key(found.access_key)

    def check_project(self, caller: Caller | None, project_id: str) -> None:
        """See that the path names the caller's project.

        Raises:
            Refusal: it names another.
        """
        if caller and project_id != caller.account.project_id:
            raise Refusal("DIS.4117", project_id)

    def check_permission(self, caller: Caller | None, operation: str) -> None:
        """See that the caller has the permission that an operation needs.

        Raises:
            Refusal: it is lacking.
        """
        action = ACTIONS.get(operation, operation)
        if caller and not caller.user.may(action):
            raise Refusal("DIS.4116", action)
