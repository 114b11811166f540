"""Who calls: a signature or a token, or nobody that is asked.

Failures have the service's codes and HTTP 441 (facts 1). With `anonymous`
nothing is asked, and any project id is the server's.
"""

from multidict import CIMultiDictProxy

from aiodis.credentials import AccessKey
from aiodis.server import guesses
from aiodis.server.identity import Identity
from aiodis.server.refusal import Refusal
from aiodis.wire.signing import SignatureError, Unsigned, payload_hash, verify

__all__ = ["Gate"]


class Gate:
    """Lets the owner of the one access key through. `region` None takes any region's scope."""

    def __init__(
        self,
        key: AccessKey,
        identity: Identity,
        project_id: str,
        *,
        region: str | None,
        anonymous: bool,
    ) -> None:
        self._key, self._identity, self._project_id = key, identity, project_id
        self._region, self._anonymous = region, anonymous

    def check(
        self,
        method: str,
        target: str,
        headers: CIMultiDictProxy[str],
        body: bytes,
        now_ms: int,
    ) -> None:
        """See that the caller may call. `target` is path and query as they came on the wire.

        Raises:
            Refusal: why not.
        """
        if self._anonymous:
            return
        authorization = headers.get("Authorization")
        if authorization is None and "X-Auth-Token" in headers:
            self._identity.check_token(headers["X-Auth-Token"], now_ms)
            return
        path, _, query = target.partition("?")
        unsigned = Unsigned(
            method, path, query, headers, payload_hash(body) if authorization else ""
        )
        try:
            verify(
                unsigned,
                authorization,
                find_key=self._find_key,
                region=self._region,
                now=now_ms / 1000,
                max_skew_s=guesses.MAX_SKEW_S,
            )
        except SignatureError as exc:
            raise Refusal.of_signature(exc) from None

    def check_project(self, project_id: str) -> None:
        """See that the path names the caller's project.

        Raises:
            Refusal: it names another.
        """
        if project_id != self._project_id and not self._anonymous:
            raise Refusal("DIS.4117", project_id)

    def _find_key(self, access_key: str) -> AccessKey | None:
        return self._key if access_key == self._key.access_key else None
