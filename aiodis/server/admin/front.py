"""HTTP for the admin routes: the guard, the reading, the answers, all in JSON."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from aiohttp import hdrs, web

from aiodis.errors import ConfigError, DISError, NotFoundError
from aiodis.server.admin.admin import Admin
from aiodis.server.admin.answer import AdminRefusal, Answer, Raw
from aiodis.server.admin.guard import refusal_of
from aiodis.server.admin.page import page
from aiodis.server.admin.routes import PREFIX, ROUTES, Route
from aiodis.server.snapshot import SnapshotError

__all__ = ["AdminFront"]

_ROOT: Final = "/_aiodis"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}

logger = logging.getLogger(__name__)


class AdminFront:
    """Adds the routes of one `Admin` to an application."""

    def __init__(self, admin: Admin, *, is_remote_allowed: bool = False) -> None:
        self._admin, self._is_remote_allowed = admin, is_remote_allowed

    def add_to(self, app: web.Application) -> None:
        """Add all routes, and one for what there is not."""
        for route in ROUTES:
            app.router.add_route(route.method, PREFIX + route.path, self._handler_of(route))
        app.router.add_route("GET", f"{_ROOT}/", self._guarded(self._show_page))
        app.router.add_route("GET", _ROOT, self._guarded(self._show_page))
        app.router.add_route("*", _ROOT + "{rest:(/.*)?}", self._guarded(_refuse))

    def _handler_of(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await _read(request, route.max_body_bytes)
            asked = route.read(dict(request.match_info), dict(request.query), body)
            return _response(await route.act(self._admin, asked))

        return self._guarded(handle)

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                self._check(request)
                response = await handler(request)
            except AdminRefusal as refusal:
                response = _error(refusal.status, refusal.message)
            except ConfigError as exc:
                response = _error(400, str(exc))
            except NotFoundError as exc:
                response = _error(404, exc.message)
            except SnapshotError as exc:
                response = _error(400, str(exc))
            except DISError as exc:
                response = _error(409, str(exc))
            except (ConnectionError, web.RequestPayloadError):
                response = _error(400, "the body did not arrive whole")
            except Exception:
                logger.exception("%s %s", request.method, request.path)
                response = _error(500, "the server failed; its log says why")
            response.headers.update(_HEADERS)
            return response

        return handle

    def _check(self, request: web.Request) -> None:
        peer = request.transport and request.transport.get_extra_info("peername")
        refusal = refusal_of(
            peer[0] if peer else None,
            request.headers,
            scheme=request.scheme,
            is_remote_allowed=self._is_remote_allowed,
        )
        if refusal is not None:
            raise AdminRefusal(403, refusal)

    async def _show_page(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.Response(
            body=page(self._admin).encode(), content_type="text/html", charset="utf-8"
        )


async def _read(request: web.Request, most: int) -> bytes:
    """Read the body, as far as one may be.

    Raises:
        AdminRefusal: it is larger.
    """
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > most:
            raise AdminRefusal(413, f"the body is over {most} bytes")
    return bytes(body)


async def _refuse(request: web.Request) -> web.Response:
    methods = {route.method for route in ROUTES if _is_at(route, request.path)}
    if methods:
        response = _error(405, f"here is {', '.join(sorted(methods))} only")
        response.headers[hdrs.ALLOW] = ", ".join(sorted(methods))
        return response
    raise AdminRefusal(404, f"there is no such admin route; they begin with {PREFIX}")


def _is_at(route: Route, path: str) -> bool:
    parts, found = (PREFIX + route.path).split("/"), path.split("/")
    return len(parts) == len(found) and all(
        part == given or part.startswith("{") for part, given in zip(parts, found, strict=True)
    )


def _response(answer: Answer) -> web.Response:
    if isinstance(answer, Raw):
        headers = {hdrs.CONTENT_TYPE: answer.content_type}
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    return web.Response(body=answer.model_dump_json().encode(), content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    body = orjson.dumps({"error": message})
    return web.Response(status=status, body=body, content_type="application/json")
