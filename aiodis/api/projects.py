"""Projects, as IAM lists them: *seen in the SDK* (V3), which finds its project that way.

They are no row of the table: IAM answers, not DIS, and its path names no project.
"""

import orjson
from pydantic import ValidationError

from aiodis.errors import DecodeError
from aiodis.wire.message import Reply

__all__ = ["Project", "decode_projects"]


class Project(Reply):
    """A project. One of a region bears the region's name; `domain_id` is the account's."""

    id: str
    name: str = ""
    domain_id: str = ""
    description: str = ""
    enabled: bool = True


class _Projects(Reply):
    projects: list[Project]


def decode_projects(body: bytes, *, status: int) -> list[Project]:
    """Read IAM's answer to GET /v3/projects.

    Raises:
        DecodeError: it is none.
    """
    try:
        return _Projects.decode(body).projects
    except (ValidationError, orjson.JSONDecodeError) as exc:
        text = f"iam.projects: the answer (HTTP {status}, {len(body)} bytes) could not be read"
        raise DecodeError(text, status=status, head=body) from exc
