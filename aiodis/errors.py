"""Everything aiodis raises on purpose, and the table from the service's codes to it.

```
DISError                        .retryable stands on the class
├── ConfigError (ValueError)        settings that cannot work
├── ParameterError (ValueError)     a request that the service would refuse; nothing was sent
├── ClosedError                     used after close()
├── BufferFullError (TimeoutError)  the producer had no room within `max_block_ms`
├── TransportError                  no complete answer
│   ├── ConnectError                    nothing was sent: always safe to repeat
│   │   └── CertificateError                the server did not prove who it is; not retried
│   ├── CircuitOpenError                nothing was sent: the breaker is open
│   └── RequestTimeoutError (TimeoutError)  may have been carried out
├── ServiceError                    an answer that says no
│   ├── AuthError
│   │   └── ForbiddenError                  the caller is known, and lacks the permission
│   ├── NotFoundError · AlreadyExistsError · QuotaError
│   ├── InvalidRequestError
│   │   └── PayloadTooLargeError
│   ├── ThrottledError · ServerError    (retryable)
│   ├── CursorExpiredError · SequenceOutOfRangeError · PartitionExpiredError
│   └── FencedError · RebalanceInProgressError
├── DecodeError                     an answer that could not be read
├── RecordError                     one record was not delivered
│   ├── RecordTooLargeError
│   ├── KeyPausedError
│   └── DeliveryTimeoutError (TimeoutError)
└── HandlerError                    the user's handler failed; __cause__ is theirs
```

No message carries a secret, a signature or a payload.
"""

from typing import Any, ClassVar, Final

__all__ = [
    "AlreadyExistsError",
    "AuthError",
    "BufferFullError",
    "CertificateError",
    "CircuitOpenError",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "CursorExpiredError",
    "DISError",
    "DecodeError",
    "DeliveryTimeoutError",
    "FencedError",
    "ForbiddenError",
    "HandlerError",
    "InvalidRequestError",
    "KeyPausedError",
    "NotFoundError",
    "ParameterError",
    "PartitionExpiredError",
    "PayloadTooLargeError",
    "QuotaError",
    "RebalanceInProgressError",
    "RecordError",
    "RecordTooLargeError",
    "RequestTimeoutError",
    "SequenceOutOfRangeError",
    "ServerError",
    "ServiceError",
    "ThrottledError",
    "TransportError",
]


class DISError(Exception):
    """Base of all errors of aiodis."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without a change."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors take more than `args` holds, which copy and pickle cannot know.
        return _remake, (type(self), self.args, dict(self.__dict__))


def _remake(kind: type[DISError], arguments: tuple[Any, ...], state: dict[str, Any]) -> DISError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    return error


class ConfigError(DISError, ValueError):
    """Settings that cannot work, found when an object is made."""


class ParameterError(DISError, ValueError):
    """A request the service would refuse, found before anything was sent."""

    def __init__(self, operation: str, field: str, value: object, rule: str) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = f"{shown[:77]}..."
        super().__init__(f"{operation}: {field}={shown}: {rule}")
        self.operation, self.field, self.value, self.rule = operation, field, value, rule


class ClosedError(DISError):
    """Used after close()."""


class BufferFullError(DISError, TimeoutError):
    """No room came in the producer's buffer within `max_block_ms`; the record was not accepted."""

    retryable = True


class TransportError(DISError):
    """No complete answer came. `attempts` holds what each try met, oldest first.

    `ambiguous` says that the request may have been carried out.
    """

    retryable = True

    def __init__(
        self, message: str, *, ambiguous: bool = True, attempts: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.ambiguous = ambiguous
        self.attempts = attempts
        self.tries = max(len(attempts), 1)


class ConnectError(TransportError):
    """No connection could be made: nothing was sent."""

    def __init__(self, message: str, *, attempts: tuple[str, ...] = ()) -> None:
        super().__init__(message, ambiguous=False, attempts=attempts)


class CertificateError(ConnectError):
    """The server's certificate is not trusted: nothing was sent, and a retry would not help."""

    retryable = False


class CircuitOpenError(TransportError):
    """The breaker is open: nothing was sent.

    `refused` says that it opened because the credentials were refused, which
    waiting does not mend.
    """

    def __init__(
        self, message: str, *, refused: bool = False, attempts: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, ambiguous=False, attempts=attempts)
        self.refused = refused


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete answer came in time; the request may have been carried out."""


class ServiceError(DISError):
    """An answer that says no. `code` is the service's, such as `DIS.4301`."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        request_id: str | None = None,
        operation: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status, self.code = status, code
        self.request_id, self.operation = request_id, operation
        self.retry_after: float | None = None
        """Seconds the service asked to wait, when it said so."""
        self.ambiguous = False
        """Whether an earlier try of the same call may have been carried out."""
        self.tries = 1
        """How often the call was tried."""

    def __str__(self) -> str:
        where = f"{self.operation}: " if self.operation else ""
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{where}{self.code} (HTTP {self.status}): {self.message}{request}"


class AuthError(ServiceError):
    """The credentials, the signature, the token or the permission was refused."""


class ForbiddenError(AuthError):
    """The caller is known, and may not do this (DIS.4116); other calls are not touched by it."""


class NotFoundError(ServiceError):
    """The stream, partition, app or task does not exist."""


class AlreadyExistsError(ServiceError):
    """A thing of that name exists, or is in use."""


class QuotaError(ServiceError):
    """A quota of the account is used up."""


class InvalidRequestError(ServiceError):
    """The service refused the request's content."""


class PayloadTooLargeError(InvalidRequestError):
    """The request is larger than the service takes at once."""


class ThrottledError(ServiceError):
    """A traffic limit was exceeded."""

    retryable = True


class ServerError(ServiceError):
    """The service failed."""

    retryable = True


class CursorExpiredError(ServiceError):
    """The cursor is no longer valid: take a new one from the position."""


class SequenceOutOfRangeError(ServiceError):
    """The sequence number is not, or no longer, in the partition."""


class PartitionExpiredError(ServiceError):
    """The partition was scaled away and its records are gone."""


class FencedError(ServiceError):
    """The consumer lost its partition to another member of the group."""


class RebalanceInProgressError(ServiceError):
    """The group is rebalancing: commit again after the sync."""

    retryable = True


class DecodeError(DISError):
    """An answer that could not be read. `head` holds its first bytes."""

    def __init__(self, message: str, *, status: int, head: bytes) -> None:
        super().__init__(message)
        self.status, self.head = status, head[:200]
        self.tries = 1
        """How often the call was tried, as far as a producer's request goes."""


class RecordError(DISError):
    """One record was not delivered.

    `code` is the service's code when it refused the record. `ambiguous` says
    that the record may have been written all the same.
    """

    def __init__(self, message: str, *, code: str | None = None, ambiguous: bool = False) -> None:
        super().__init__(message)
        self.code, self.ambiguous = code, ambiguous


class RecordTooLargeError(RecordError):
    """The record can never fit into one request."""


class KeyPausedError(RecordError):
    """An earlier record of the same key failed for good, and `on_ordered_failure` is "pause".

    `Producer.resume_key` lets the key go on.
    """


class DeliveryTimeoutError(RecordError, TimeoutError):
    """The record was not acknowledged within `delivery_timeout_ms`, or before close() gave up."""


class HandlerError(DISError):
    """The handler of `Consumer.run` failed for good; `__cause__` is its exception."""


# Each documented code (reference, chapter 7.1), then the codes of authentication and of
# consumer groups that only the vendor's pages and clients name (docs/service/errors.md).
ERROR_CLASSES: Final[dict[str, type[ServiceError]]] = {
    "DIS.4117": InvalidRequestError,
    "DIS.4200": InvalidRequestError,
    "DIS.4201": InvalidRequestError,
    "DIS.4202": InvalidRequestError,
    "DIS.4203": InvalidRequestError,
    "DIS.4204": InvalidRequestError,
    "DIS.4205": InvalidRequestError,
    "DIS.4208": InvalidRequestError,
    "DIS.4209": InvalidRequestError,
    "DIS.4215": InvalidRequestError,
    "DIS.4216": InvalidRequestError,
    "DIS.4217": CursorExpiredError,
    "DIS.4224": SequenceOutOfRangeError,
    "DIS.4225": CursorExpiredError,
    "DIS.4226": CursorExpiredError,
    "DIS.4300": InvalidRequestError,
    "DIS.4301": NotFoundError,
    "DIS.4302": NotFoundError,
    "DIS.4303": ThrottledError,
    "DIS.4305": ThrottledError,
    "DIS.4306": NotFoundError,
    "DIS.4307": AlreadyExistsError,
    "DIS.4308": QuotaError,
    "DIS.4309": AuthError,
    "DIS.4310": InvalidRequestError,
    "DIS.4319": PartitionExpiredError,
    "DIS.4329": QuotaError,
    "DIS.4330": AlreadyExistsError,
    "DIS.4331": AlreadyExistsError,
    "DIS.4332": NotFoundError,
    "DIS.4335": InvalidRequestError,
    "DIS.4336": InvalidRequestError,
    "DIS.4339": QuotaError,
    "DIS.4354": NotFoundError,
    "DIS.4355": AlreadyExistsError,
    "DIS.4357": QuotaError,
    "DIS.4360": InvalidRequestError,
    "DIS.4375": NotFoundError,
    "DIS.4601": QuotaError,
    "DIS.4602": InvalidRequestError,
    "DIS.4603": NotFoundError,
    "DIS.4604": NotFoundError,
    "DIS.4605": InvalidRequestError,
    "DIS.4116": ForbiddenError,
    "DIS.5000": ServerError,
    **{f"DIS.{number}": AuthError for number in range(4100, 4115)},
    "DIS.4701": RebalanceInProgressError,
    "DIS.4702": FencedError,
    "DIS.4703": FencedError,
}

STATUS_CLASSES: Final[dict[int, type[ServiceError]]] = {
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    409: AlreadyExistsError,
    410: NotFoundError,
    413: PayloadTooLargeError,
    429: ThrottledError,
    441: AuthError,
}


def error_class(status: int, code: str) -> type[ServiceError]:
    """Choose the class of an answer: the service's code first, then the HTTP status."""
    if code in ERROR_CLASSES:
        return ERROR_CLASSES[code]
    if code.startswith("DIS.5") or status >= 500:
        return ServerError
    if code.startswith("DIS.4"):
        return STATUS_CLASSES.get(status, InvalidRequestError)
    return STATUS_CLASSES.get(status, InvalidRequestError if 400 <= status < 500 else ServiceError)
