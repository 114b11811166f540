"""What one call has met and done so far, and the error it ends with."""

from collections.abc import Mapping

from aiodis.errors import ServiceError, TransportError
from aiodis.transport.identity import Outgoing
from aiodis.transport.retry import may_have_been_carried_out

__all__ = ["Failure", "Story"]

Failure = TransportError | ServiceError


class Story:
    """One call, from its first try on. `patient`: it brought its own deadline."""

    def __init__(self, request: Outgoing, deadline: float, *, patient: bool) -> None:
        self.request = request
        self.deadline = deadline
        self.patient = patient
        self.attempts: list[str] = []
        self.tries = 0
        self.last: Failure | None = None
        self.ambiguous = False
        self.was_throttled = False
        self.was_renewed = False
        self.was_signed_again = False
        self.signed_with = 0.0
        self.headers: Mapping[str, str] = {}

    def add(self, error: Failure) -> None:
        """Take in what a try met."""
        self.last = error
        self.tries += 1
        self.ambiguous |= may_have_been_carried_out(self.request.method, error)
        if isinstance(error, TransportError):
            self.attempts.append(str(error))
        else:
            self.attempts.append(f"{error.code} (HTTP {error.status})")
            self.was_throttled |= error.code == "DIS.4303"

    def end(self, error: Failure) -> Failure:
        """Give the error to raise, with the story on it."""
        error.ambiguous, error.tries = self.ambiguous, max(self.tries, 1)
        if isinstance(error, TransportError):
            error.args = (f"{self.request.operation}: {error}",)
            error.attempts = tuple(self.attempts)
        return error

    def end_without_trying(self, why: TransportError) -> Failure:
        """Give the error to raise when there can be no further try: the last one, if any."""
        if self.last is None:
            return self.end(why)
        self.attempts.append(str(why))
        return self.end(self.last)
