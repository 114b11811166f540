"""A plain HTTP client of the embedded DIS, that shares no code with its client."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp

from aiodis.server import LocalDIS

START_MS = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


class Caller:
    """Calls one server. Each call expects a status, and gives the parsed body, or None."""

    def __init__(self, server: LocalDIS, session: aiohttp.ClientSession) -> None:
        self.server, self.session = server, session
        self.last: aiohttp.ClientResponse

    async def call(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        status: int = 200,
        code: str | None = None,
        **options: Any,
    ) -> Any:
        """Send `fields` in the query of a GET or DELETE, else as JSON, and see what comes back."""
        if fields is not None:
            given = {k: v for k, v in fields.items() if v is not None}
            if method in {"GET", "DELETE"}:
                options["params"] = given
            else:  # aiohttp warns of large bodies in one piece
                options["data"] = BytesIO(json.dumps(given).encode())
                options.setdefault("headers", {})["Content-Type"] = "application/json"
        url = path if path.startswith("/") else f"/v2/{self.server.project_id}/{path}"
        async with self.session.request(method, url, **options) as response:
            body = await response.read()
        self.last = response
        found = json.loads(body) if body else None
        assert response.status == status, found
        assert len(response.headers["X-Request-Id"]) == 32
        assert response.headers["Date"]
        if status >= 400:
            assert set(found) == {"errorCode", "message", "error_code", "error_msg"}
            assert code is None or found["errorCode"] == found["error_code"] == code, found
        return found

    async def refused(self, code: str, method: str, path: str, *args: Any, **options: Any) -> str:
        """Expect a refusal, with HTTP 400 unless told; give its message."""
        options.setdefault("status", 400)
        found = await self.call(method, path, *args, code=code, **options)
        assert found["message"] == found["error_msg"]
        return found["message"]

    async def create(self, name: str = "s", partitions: int = 1, **fields: Any) -> None:
        body = {"stream_name": name, "partition_count": partitions, **fields}
        assert await self.call("POST", "streams", body, status=201) is None

    async def describe(self, name: str = "s", **fields: Any) -> Any:
        return await self.call("GET", f"streams/{name}", fields)

    async def put(self, records: Iterable[dict[str, Any]], name: str = "s", **options: Any) -> Any:
        body = {"stream_name": name, "records": list(records)}
        return await self.call("POST", "records", body, **options)

    async def cursor(self, kind: str | None = "TRIM_HORIZON", /, **fields: Any) -> str:
        asked = {"stream-name": "s", "partition-id": "0", "cursor-type": kind}
        asked |= {key.replace("_", "-"): value for key, value in fields.items()}
        return (await self.call("GET", "cursors", asked))["partition_cursor"]

    async def get(self, cursor: str, **fields: Any) -> Any:
        return await self.call("GET", "records", {"partition-cursor": cursor, **fields})

    async def read_all(self, **fields: Any) -> list[dict[str, Any]]:
        cursor, found = await self.cursor(**fields), []
        while True:
            page = await self.get(cursor)
            cursor = page["next_partition_cursor"]
            if not page["records"]:
                return found
            found += page["records"]


def record(data: bytes = b"data", **fields: Any) -> dict[str, Any]:
    return {"data": b64encode(data).decode(), **fields}


@asynccontextmanager
async def calling(*args: Any, **options: Any) -> AsyncIterator[Caller]:
    """Start a server, anonymous unless told otherwise, with a caller."""
    options.setdefault("anonymous", True)
    async with (
        LocalDIS(*args, **options) as server,
        aiohttp.ClientSession(server.endpoint) as session,
    ):
        yield Caller(server, session)
