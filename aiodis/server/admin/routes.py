"""The table of the admin routes. The server, the docs and the tests read it.

Names in the path go into the path; the rest goes into the query of a GET or DELETE, and into
the JSON body of a POST or PUT, as with the service's own operations.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from aiodis.server.admin import actions, models
from aiodis.server.admin.admin import Admin
from aiodis.server.admin.answer import AdminRefusal, Answer

__all__ = ["PREFIX", "ROUTES", "Route"]

PREFIX: Final = "/_aiodis/v1/"

_MIB: Final = 1024 * 1024


class Route(NamedTuple):
    """One route below the prefix: what it asks for, and what it does."""

    method: str
    path: str
    asks: Any
    act: Callable[[Admin, Any], Awaitable[Answer]]
    does: str
    takes_bytes: bool = False
    """Whether its body is no JSON, but one field, `data`; all others are in the query."""
    max_body_bytes: int = _MIB

    def read(self, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Any:
        """Read what is asked.

        Raises:
            AdminRefusal: it cannot be read.
        """
        adapter = _adapter(self.asks)
        try:
            if self.takes_bytes:
                return adapter.validate_python({**query, **path, "data": body})
            if self.method in {"POST", "PUT"}:
                fields = {**_json_object(body), **path}
                return adapter.validate_json(orjson.dumps(fields), strict=True)
            return adapter.validate_python({**query, **path})
        except ValidationError as exc:
            raise AdminRefusal(400, _first_of(exc)) from None


ROUTES: Final = (
    Route(
        "GET",
        "health",
        models.Nothing,
        actions.health,
        "Answers 200 when requests are served, 503 while the server stops.",
    ),
    Route(
        "GET",
        "metrics",
        models.Nothing,
        actions.metrics,
        "Metrics for Prometheus, as text. Needs the extra `metrics`, else 501.",
    ),
    Route(
        "GET",
        "requests",
        models.AskRequests,
        actions.list_requests,
        "The last requests that were answered, oldest first; with `wait_s`, once enough came.",
    ),
    Route(
        "DELETE",
        "requests",
        models.OfProject,
        actions.clear_requests,
        "Forgets the requests.",
    ),
    Route(
        "GET",
        "faults",
        models.OfProject,
        actions.list_faults,
        "The faults that may still come, and what came how often.",
    ),
    Route(
        "POST",
        "faults",
        models.MakeFault,
        actions.make_fault,
        "Makes a fault: `push`, `rule` or `partial`.",
    ),
    Route(
        "DELETE",
        "faults",
        models.OfFaults,
        actions.end_faults,
        "Ends the faults of a scope; without one all, and forgets the counts.",
    ),
    Route(
        "GET",
        "faults/exhausted",
        models.OfProject,
        actions.check_exhausted,
        "Answers 200 when all that is scripted or bounded has come, else 409 and what has not.",
    ),
    Route(
        "GET",
        "faults/{number}",
        models.OfFault,
        actions.show_fault,
        "One fault, also when it is used up.",
    ),
    Route(
        "DELETE",
        "faults/{number}",
        models.OfFault,
        actions.end_fault,
        "Ends one fault.",
    ),
    Route(
        "POST",
        "accounts",
        models.MakeAccount,
        actions.add_account,
        "Takes in an account with a project of its own, such as a test's.",
    ),
    Route(
        "DELETE",
        "accounts/{name}",
        models.OfAccount,
        actions.remove_account,
        "Takes an account out, with its faults and what it keeps in memory.",
    ),
    Route(
        "GET",
        "state",
        models.OfProject,
        actions.show_state,
        "A snapshot of all that a project, or all of them, hold, as bytes.",
    ),
    Route(
        "PUT",
        "state",
        models.PutState,
        actions.put_state,
        "Puts such a snapshot back, which is the body, up to 1 GiB; `project` is in the query.",
        takes_bytes=True,
        max_body_bytes=1024 * _MIB,
    ),
    Route(
        "DELETE",
        "state",
        models.OfProject,
        actions.reset_state,
        "Brings a project, or all of them, back to how they began.",
    ),
    Route(
        "POST",
        "seed",
        models.PutSeed,
        actions.add_seed,
        "Adds streams with records, apps and checkpoints, all or nothing, up to 64 MiB.",
        max_body_bytes=64 * _MIB,
    ),
    Route(
        "POST",
        "streams/{stream_name}/purge",
        models.OfStream,
        actions.purge_stream,
        "Removes the records of a stream; its sequence numbers go on.",
    ),
    Route(
        "GET",
        "streams/{stream_name}/records",
        models.OfStream,
        actions.list_records,
        "All records of a stream, data in base64. No limit applies, and no fault comes.",
    ),
    Route(
        "GET",
        "clock",
        models.Nothing,
        actions.show_clock,
        "The server's time.",
    ),
    Route(
        "POST",
        "clock",
        models.Advance,
        actions.advance_clock,
        "Moves the time forward; what is due by then happens first. 409 on the system's clock.",
    ),
)


@cache
def _adapter(asks: Any) -> TypeAdapter[Any]:
    return TypeAdapter(asks)


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise AdminRefusal(400, f"the body is no JSON: {exc}") from None
    if not isinstance(found, dict):
        raise AdminRefusal(400, "the body is no JSON object")
    return found


def _first_of(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    rule = first["msg"].removeprefix("Value error, ")
    return f"{field}: {rule}" if field else rule
