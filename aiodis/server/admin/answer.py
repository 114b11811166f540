"""What an action of the admin routes comes to, before it is HTTP."""

from dataclasses import dataclass

from pydantic import BaseModel

__all__ = ["AdminRefusal", "Answer", "Raw"]


class AdminRefusal(Exception):  # noqa: N818 - an answer, not a failure
    """A request that is not carried out, and why, in one line."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, " ".join(message.split())
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is no model."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Answer = BaseModel | Raw
