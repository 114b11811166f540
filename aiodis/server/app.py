"""HTTP around the engine: a route for each row of the table, and IAM's two.

What clients were seen to do is put up with (facts 11): slashes at the end, a
trailing `&`, empty and unknown parameters, bodies on GET and DELETE, stream ids
in the place of names. Every answer has a body of the service's form, or none; what
else a body may be, protobuf and compressed, is in `wire_forms`.
"""

import asyncio
import logging
import os
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from email.utils import formatdate
from functools import partial
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import hdrs, web
from pydantic import ValidationError

from aiodis.api import OPERATIONS, Tags
from aiodis.api.records import GetRecords
from aiodis.clock import Clock
from aiodis.server import guesses
from aiodis.server.accounts import Caller
from aiodis.server.durability import Durability
from aiodis.server.edge import MAX_BODY_BYTES, Bodies
from aiodis.server.engine import Engine
from aiodis.server.fault_actor import FaultActor
from aiodis.server.fault_outcomes import Frozen
from aiodis.server.faults import Faults
from aiodis.server.gate import Gate
from aiodis.server.identity import Identity, IdentityRefusal
from aiodis.server.projects import Projects
from aiodis.server.refusal import Refusal, refusal_of_fields
from aiodis.server.requests import Requests, SeenRequest
from aiodis.server.wire_forms import encode_reply, read_put, record_codec, unpack
from aiodis.wire.codec import GetReply, PutBody, RecordCodec
from aiodis.wire.forms import codec_of
from aiodis.wire.message import Message
from aiodis.wire.operation import Operation

__all__ = ["Front"]

_JSON_CODEC: Final = codec_of("json")
_SEEN: Final = ContextVar[SeenRequest]("aiodis_seen")
_SEEN_PATH: Final = 256
_SIDE_DOOR: Final = "/_aiodis"
_OF_RECORDS: Final = frozenset({"records.put", "records.get"})
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Identified = tuple[web.Response, str | None]
"""IAM's answer, and in which project the caller is."""
_AnyOperation = Operation[..., Any]

logger = logging.getLogger(__name__)


class Front:
    """Reads requests, asks the gate, lets the engine answer, and writes what it says."""

    def __init__(
        self,
        projects: Projects,
        gate: Gate,
        identity: Identity,
        clock: Clock,
        faults: Faults,
        requests: Requests,
        bodies: Bodies,
        durability: Durability,
    ) -> None:
        self._bodies, self._durability = bodies, durability
        self._projects, self._gate, self._identity, self._clock = projects, gate, identity, clock
        self._faults, self._actor = faults, FaultActor(clock)
        self._requests = requests
        self._date = (0, "")
        self._in_flight = 0
        self._is_draining = False
        self._nothing_in_flight = asyncio.Event()
        self._nothing_in_flight.set()

    def make_app(self) -> web.Application:
        """Make the application with all routes."""
        app = web.Application(middlewares=[self._count, self._note, self._answer])
        rows: defaultdict[tuple[str, str], list[_AnyOperation]] = defaultdict(list)
        for row in OPERATIONS:
            if self._projects.handles(row):
                for path in (row.path, *row.also_at):
                    rows[row.method, path].append(row)
        routes: list[tuple[str, str, _Handler]] = [
            (method, path, self._handler_of(*found)) for (method, path), found in rows.items()
        ]
        tokens = self._faulty("iam.tokens", self._create_token)
        routes.append(("POST", "/v3/auth/tokens", tokens))
        routes.append(("GET", "/v3/projects", self._faulty("iam.projects", self._list_projects)))
        # Last: what the others do not take and looks like a tag operation of another resource.
        others = {(row.method, _of_any_resource(row.path)) for row in Tags.operations()}
        routes += [(method, path, self._refuse_resource_type) for method, path in sorted(others)]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"{path}/", handler)
        return app

    def _handler_of(self, first: _AnyOperation, *others: _AnyOperation) -> _Handler:
        """Make the handler of a route; the body tells its operations apart where it has several."""
        puts = first.name == "records.put"
        carries_records = puts or first.name == "records.get"
        has_body = first.has_body

        async def handle(request: web.Request) -> web.Response:
            seen = _SEEN.get()
            # Before the body is read, a route of several operations goes by its first one's name.
            seen.operation = first.name
            project_id = seen.project = request.match_info["project_id"]
            if self._faults.armed:
                faults = self._faults.of_project(project_id)
                if broken := await self._actor.breaks(faults, first.name, request):
                    seen.faults = (broken,)
                    return web.Response()  # nobody reads it
            body = await self._bodies.read(request)
            seen.bytes_in = len(body)
            if self._requests.keep_bodies:
                seen.body = body
            now_ms, began = self._clock.now_ms(), perf_counter()
            self._projects.agenda.run_until(now_ms)
            caller = self._caller(request, body, now_ms)
            if caller is not None:
                seen.user = caller.principals[0]
            self._gate.check_project(caller, project_id)
            home = self._projects.home(project_id)
            if has_body:
                body = unpack(body, request.headers, MAX_BODY_BYTES)
            codec = record_codec(request.headers) if carries_records else _JSON_CODEC
            operation = _meant(first, *others, body=body) if others else first
            seen.operation = operation.name
            self._gate.check_permission(caller, operation.name)
            given = read_put(codec, body) if puts else _read(home, operation, request, body)
            engine, asked = self._projects.reach(caller, home, operation.name, given)
            try:
                if self._faults.armed:
                    faults = self._faults.of_project(project_id)
                    plan = faults.plan(operation.name, lambda: engine.target(asked))
                    seen.faults = tuple(plan.met)
                    carry_out = partial(
                        self._carry_out_or_refuse, engine, operation, asked, codec, seen
                    )
                    if isinstance(plan.ending, Frozen) and isinstance(asked, GetRecords):
                        carry_out = partial(_stand_still, asked, codec)
                    response = await self._actor.answer(request, plan, carry_out)
                else:
                    response = _carry_out(engine, operation, asked, codec, now_ms, began, seen)
                await self._bring_to_disk(engine, operation, asked)
                return response
            finally:
                if seen.stream is None:
                    target = engine.target(asked)
                    seen.stream, seen.partitions = target.stream_name, tuple(target.partitions)

        return handle

    async def _bring_to_disk(
        self, engine: Engine, operation: _AnyOperation, asked: Message | PutBody
    ) -> None:
        """Let an answer wait for the disk, if it is to."""
        if self._durability.is_awaited:
            for store in engine.stores_of(operation, asked):
                await self._durability.bring(store)

    def _carry_out_or_refuse(
        self,
        engine: Engine,
        operation: _AnyOperation,
        asked: Message | PutBody,
        codec: RecordCodec,
        seen: SeenRequest,
    ) -> web.Response:
        """Carry out after whatever pause; a refusal is an answer too, which a fault may spoil."""
        now_ms, began = self._clock.now_ms(), perf_counter()
        try:
            return _carry_out(engine, operation, asked, codec, now_ms, began, seen)
        except Refusal as refusal:
            return _response(refusal.status, refusal.encode())

    def _faulty(
        self, operation: str, handler: Callable[[web.Request], Awaitable[_Identified]]
    ) -> _Handler:
        """Let one of IAM's endpoints meet faults. It leaves no trace, so it always comes first."""

        async def handle(request: web.Request) -> web.Response:
            seen = _SEEN.get()
            seen.operation, seen.bytes_in = operation, request.content_length or 0
            if self._faults.armed and (
                broken := await self._actor.breaks(self._faults, operation, request)
            ):
                seen.faults = (broken,)
                return web.Response()
            response, seen.project = await handler(request)
            if not self._faults.armed:
                return response
            faults = self._faults.of_project(seen.project) if seen.project else self._faults
            plan = faults.plan(operation)
            seen.faults = tuple(plan.met)
            return await self._actor.answer(request, plan, lambda: response)

        return handle

    def _caller(self, request: web.Request, body: bytes, now_ms: int) -> Caller | None:
        return self._gate.check(request.method, request.raw_path, request.headers, body, now_ms)

    async def _create_token(self, request: web.Request) -> _Identified:
        given, now_ms = await self._bodies.read(request), self._clock.now_ms()
        token, body, project_id = self._identity.create_token(given, now_ms)
        response = _response(201, body)
        response.headers["X-Subject-Token"] = token
        return response, project_id

    async def _refuse_resource_type(self, request: web.Request) -> web.Response:
        body, now_ms = await self._bodies.read(request), self._clock.now_ms()
        caller = self._caller(request, body, now_ms)
        self._gate.check_project(caller, request.match_info["project_id"])
        raise Refusal("DIS.4602", request.match_info["resource_type"])

    async def _list_projects(self, request: web.Request) -> _Identified:
        body = await self._bodies.read(request)
        now_ms = self._clock.now_ms()
        try:
            caller = self._caller(request, body, now_ms)
        except Refusal as refusal:
            raise IdentityRefusal(401, "Unauthorized", refusal.message) from None
        found = self._identity.projects(caller, request.query.get("name"))
        return _response(200, found), caller.account.project_id if caller else None

    def may_interrupt(self, interrupt: Callable[[float], None]) -> None:
        """Learn how all connections are broken for so many seconds, which a fault may ask for."""
        self._actor.interrupt = interrupt

    async def drain(self, seconds: float) -> None:
        """Wait for the requests in flight; from now on each answer closes its connection.

        The framework itself reads no more of a body once it shuts down, so this comes first.
        """
        self._is_draining = True
        self._actor.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nothing_in_flight.wait()

    @web.middleware
    async def _count(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if is_at_side_door(request.path):
            return await handler(request)
        self._in_flight += 1
        self._nothing_in_flight.clear()
        try:
            # Not so what moves the clock itself, and waits for what is in flight.
            with nullcontext() if is_at_side_door(request.path) else self._clock.serving():
                response = await handler(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._nothing_in_flight.set()
        if self._is_draining:
            response.force_close()
        return response

    @web.middleware
    async def _note(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let the request be seen afterwards; the handlers add what they learn of it."""
        if is_at_side_door(request.path):
            return await handler(request)
        path = request.path[:_SEEN_PATH]
        seen = SeenRequest(at_ms=self._clock.now_ms(), method=request.method, path=path)
        _SEEN.set(seen)
        began = perf_counter()
        try:
            response = await handler(request)
            transport = request.transport
            if transport is not None and not transport.is_closing():
                seen.status = response.status
            body = getattr(response, "body", None)
            if isinstance(body, bytes):
                seen.bytes_out = len(body)
                if response.status >= 400:
                    seen.error = _code_in(body)
            return response
        finally:
            seen.duration_ms = (perf_counter() - began) * 1000
            self._requests.add(seen)

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Turn whatever comes of a request into an answer."""
        if is_at_side_door(request.path):
            return await handler(request)
        request_id = os.urandom(16).hex()
        try:
            response = await handler(request)
        except (Refusal, IdentityRefusal) as refusal:
            response = _response(refusal.status, refusal.encode())
            logger.debug("%s %s: %s", request.method, request.path, refusal)
        except web.HTTPException as exc:
            response = _http_refusal(exc)
        except (ConnectionError, web.RequestPayloadError):
            response = _response(400, Refusal("DIS.4300", "the body did not arrive whole").encode())
        except (OSError, sqlite3.OperationalError) as exc:  # as of a full disk
            reason = getattr(exc, "strerror", None) or str(exc)
            logger.error(  # noqa: TRY400 - the disk is to be looked at, not the code
                "%s %s [request %s]: %s", request.method, request.path, request_id, exc
            )
            response = _response(500, Refusal("DIS.5000", reason).encode())
        except Exception:
            logger.exception("%s %s [request %s]", request.method, request.path, request_id)
            response = _response(500, Refusal("DIS.5000").encode())
        response.headers["X-Request-Id"] = request_id
        response.headers.setdefault(hdrs.DATE, self._http_date())  # a fault may have set it
        return response

    def _http_date(self) -> str:
        second = self._clock.now_ms() // 1000
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def is_at_side_door(path: str) -> bool:
    """Say whether a path is one of `aiodis.server.admin`, of which the service knows nothing."""
    return path.startswith(_SIDE_DOOR) and path[len(_SIDE_DOOR) :][:1] in {"", "/"}


def _meant(*rows: _AnyOperation, body: bytes) -> _AnyOperation:
    """Choose the row of a route by the body.

    Raises:
        Refusal: the body is none of them.
    """
    given = _json_object(body)
    for row in rows:
        if row.is_meant(given):
            return row
    name = next(iter(rows[0].always))
    known = ", ".join(row.always[name] for row in rows)
    raise Refusal(guesses.NO_ACTION_CODE, f"{name}: one of {known}")


def _of_any_resource(path: str) -> str:
    """Give a tag operation's path for all types of resources, as the reference's chapter 6 does."""
    return path.replace("/stream/", "/{resource_type}/")


def _read(home: Engine, operation: _AnyOperation, request: web.Request, body: bytes) -> Message:
    query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
    fields = _json_object(body) if operation.has_body else None
    path = dict(request.match_info)
    given = query if fields is None else fields
    _let_id_stand_in(home, path if "stream_name" in path else given, given)
    try:
        return operation.read(path, query, fields)
    except ValidationError as exc:
        raise refusal_of_fields(exc) from None


def _let_id_stand_in(home: Engine, names: dict[str, Any], given: dict[str, Any]) -> None:
    """Put a stream's name where the request has only its id, or a name of no stream."""
    key = "stream-name" if "stream-name" in names else "stream_name"
    name, stream_id = names.get(key), given.get("stream_id") or given.get("stream-id")
    if isinstance(stream_id, str) and not home.has_stream(name):
        names[key] = home.name_of_stream(stream_id) or name or stream_id


def _carry_out(
    engine: Engine,
    operation: _AnyOperation,
    asked: Message | PutBody,
    codec: RecordCodec,
    now_ms: int,
    began: float,
    seen: SeenRequest,
) -> web.Response:
    body = encode_reply(codec, engine.handle(operation, asked, now_ms))
    engine.took(operation, perf_counter() - began)
    if operation.name in _OF_RECORDS and (touched := engine.touched):
        seen.stream, seen.partitions, seen.records, seen.failed, seen.data_bytes, met = touched
        if met:
            seen.faults += met
    return _response(operation.status, body, codec.content_type)


def _code_in(body: bytes) -> str | None:
    """Give the error code in an answer's body, in the service's form or IAM's; None without one."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    error = found.get("error")
    code = error.get("code") if isinstance(error, dict) else found.get("error_code")
    return None if code is None else str(code)


def _stand_still(asked: GetRecords, codec: RecordCodec) -> web.Response:
    """Answer a read as if nothing had come to the partition since the cursor."""
    body = codec.encode_get_reply(GetReply(asked.partition_cursor))
    return _response(200, body, codec.content_type)


def _response(
    status: int, body: bytes, content_type: str = _JSON_CODEC.content_type
) -> web.Response:
    # An empty body has no type: one of the vendor's clients would parse it (facts 8.10).
    headers = {hdrs.CONTENT_TYPE: content_type} if body else None
    return web.Response(status=status, body=body, headers=headers)


def _http_refusal(exc: web.HTTPException) -> web.Response:
    """Give the framework's own answers the service's form."""
    match exc.status:
        case 413:
            refusal = Refusal("DIS.4200", f"the body is over {MAX_BODY_BYTES} bytes", status=413)
        case 404:
            refusal = Refusal(guesses.UNKNOWN_API_CODE)
        case 405:
            refusal = Refusal(guesses.UNKNOWN_API_CODE, "for this method", status=405)
        case _:
            refusal = Refusal("DIS.4300", exc.reason, status=exc.status)
    response = _response(refusal.status, refusal.encode())
    if hdrs.ALLOW in exc.headers:
        response.headers[hdrs.ALLOW] = exc.headers[hdrs.ALLOW]
    return response


def _json_object(body: bytes) -> dict[str, Any]:
    if not body:
        raise Refusal("DIS.4202")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal("DIS.4300", "the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refusal("DIS.4200", "the body is no JSON object")
    return found
