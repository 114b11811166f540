"""HTTP around the engine: a route for each row of the table, and IAM's two.

What clients were seen to do is put up with (facts 11): slashes at the end, a
trailing `&`, empty and unknown parameters, bodies on GET and DELETE, stream ids
in the place of names. Every answer has a body of the service's form, or none.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import orjson
from aiohttp import hdrs, web
from pydantic import ValidationError

from aiodis.api import OPERATIONS
from aiodis.server import guesses
from aiodis.server.clock import Clock
from aiodis.server.engine import Engine
from aiodis.server.gate import Gate
from aiodis.server.identity import Identity, IdentityRefusal
from aiodis.server.refusal import Refusal, refusal_of_fields
from aiodis.wire.codec import PutBody
from aiodis.wire.codec_json import JsonCodec
from aiodis.wire.message import Message
from aiodis.wire.operation import Operation

__all__ = ["MAX_BODY_BYTES", "Front"]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024

_JSON: Final = "application/json"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_AnyOperation = Operation[..., Any]

logger = logging.getLogger(__name__)


class Front:
    """Reads requests, asks the gate, lets the engine answer, and writes what it says."""

    def __init__(self, engine: Engine, gate: Gate, identity: Identity, clock: Clock) -> None:
        self._engine, self._gate, self._identity, self._clock = engine, gate, identity, clock
        self._codec = JsonCodec()
        self._date = (0, "")
        self._in_flight = 0
        self._is_draining = False
        self._nothing_in_flight = asyncio.Event()
        self._nothing_in_flight.set()

    def make_app(self) -> web.Application:
        """Make the application with all routes."""
        app = web.Application(
            middlewares=[self._count, self._answer], client_max_size=MAX_BODY_BYTES
        )
        routes: list[tuple[str, str, _Handler]] = [
            (row.method, row.path, self._handler_of(row))
            for row in OPERATIONS
            if self._engine.handles(row)
        ]
        routes.append(("POST", "/v3/auth/tokens", self._create_token))
        routes.append(("GET", "/v3/projects", self._projects))
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"{path}/", handler)
        return app

    def _handler_of(self, operation: _AnyOperation) -> _Handler:
        read = self._read_put if operation.name == "records.put" else self._read

        async def handle(request: web.Request) -> web.Response:
            body = await request.read()
            now_ms = self._clock.now_ms()
            self._gate.check(request.method, request.raw_path, request.headers, body, now_ms)
            self._gate.check_project(request.match_info["project_id"])
            _check_form(request)
            reply = self._engine.handle(operation, read(operation, request, body), now_ms)
            return _response(operation.status, reply.encode())

        return handle

    def _read(self, operation: _AnyOperation, request: web.Request, body: bytes) -> Message:
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        fields = None if operation.method in {"GET", "DELETE"} else _json_object(body)
        path = dict(request.match_info)
        given = query if fields is None else fields
        self._let_id_stand_in(path if "stream_name" in path else given, given)
        try:
            return operation.read(path, query, fields)
        except ValidationError as exc:
            raise refusal_of_fields(exc) from None

    def _read_put(self, operation: _AnyOperation, request: web.Request, body: bytes) -> PutBody:  # noqa: ARG002
        if not body:
            raise Refusal("DIS.4202")
        try:
            return self._codec.decode_put(body)
        except msgspec.ValidationError as exc:
            raise Refusal("DIS.4200", exc) from None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Refusal("DIS.4300", "the body is no JSON") from None

    def _let_id_stand_in(self, names: dict[str, Any], given: dict[str, Any]) -> None:
        """Put a stream's name where the request has only its id, or a name of no stream."""
        key = "stream-name" if "stream-name" in names else "stream_name"
        name, stream_id = names.get(key), given.get("stream_id") or given.get("stream-id")
        if isinstance(stream_id, str) and not self._engine.has_stream(name):
            names[key] = self._engine.name_of_stream(stream_id) or name or stream_id

    async def _create_token(self, request: web.Request) -> web.Response:
        token, body = self._identity.create_token(await request.read(), self._clock.now_ms())
        response = _response(201, body)
        response.headers["X-Subject-Token"] = token
        return response

    async def _projects(self, request: web.Request) -> web.Response:
        body = await request.read()
        now_ms = self._clock.now_ms()
        try:
            self._gate.check(request.method, request.raw_path, request.headers, body, now_ms)
        except Refusal as refusal:
            raise IdentityRefusal(401, "Unauthorized", refusal.message) from None
        return _response(200, self._identity.projects(request.query.get("name")))

    async def drain(self, seconds: float) -> None:
        """Wait for the requests in flight; from now on each answer closes its connection.

        The framework itself reads no more of a body once it shuts down, so this comes first.
        """
        self._is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._nothing_in_flight.wait()

    @web.middleware
    async def _count(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        self._in_flight += 1
        self._nothing_in_flight.clear()
        try:
            response = await handler(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._nothing_in_flight.set()
        if self._is_draining:
            response.force_close()
        return response

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Turn whatever comes of a request into an answer."""
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
        except Exception:
            logger.exception("%s %s [request %s]", request.method, request.path, request_id)
            response = _response(500, Refusal("DIS.5000").encode())
        response.headers["X-Request-Id"] = request_id
        response.headers[hdrs.DATE] = self._http_date()
        return response

    def _http_date(self) -> str:
        second = self._clock.now_ms() // 1000
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def _response(status: int, body: bytes) -> web.Response:
    # An empty body has no type: one of the vendor's clients would parse it (facts 8.10).
    return web.Response(status=status, body=body, content_type=_JSON if body else None)


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


def _check_form(request: web.Request) -> None:
    """Say plainly what is not there: protobuf and compression."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise Refusal("DIS.4200", "Content-Encoding: this server reads identity only")
    if "protobuf" in request.headers.get(hdrs.CONTENT_TYPE, ""):
        raise Refusal("DIS.4200", "Content-Type: this server reads JSON only")


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
