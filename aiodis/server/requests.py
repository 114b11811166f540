"""The last requests that a server answered, for tests to look at and to wait for.

What is noted is who asked what of which stream, and what came of it; never a header,
a token or a signature, and bodies only with `keep_bodies`. The ring is bounded, so a
request is forgotten once so many came after it; `totals` still count it.

May be asked from any thread.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final, TypedDict, Unpack

import msgspec

from aiodis.errors import ConfigError
from aiodis.server.fault import operations_of
from aiodis.server.tally import Tally

__all__ = ["Requests", "SeenRequest", "Wanted", "WantedFields"]

_KEPT_BODY_BYTES: Final = 64 * 1024 * 1024


class SeenRequest(msgspec.Struct, kw_only=True):
    """One request and its answer. The server writes it; to all others it is fixed."""

    number: int = 0
    """Its place among all requests of this server, from 1."""
    at_ms: int
    """When it came, by the server's clock."""
    method: str
    path: str
    operation: str | None = None
    """The row's name, such as `records.put`; None where there is no such route."""
    project: str | None = None
    user: str | None = None
    """Account and user, `shop.ann`; None where nobody was asked, or the caller is unknown."""
    stream: str | None = None
    partitions: tuple[int, ...] = ()
    """Where its records were for, or came from; of a put that was refused, where they would go."""
    status: int | None = None
    """The answer's HTTP status; None where the connection broke before one."""
    error: str | None = None
    """The answer's error code. Of failures inside a 200 only `failed` tells."""
    faults: tuple[str, ...] = ()
    """The names of the faults on purpose that it met, as in `Faults.counts`."""
    bytes_in: int = 0
    bytes_out: int = 0
    """The bodies' sizes, as they are on the wire."""
    records: int = 0
    """How many records a put had, or a read brought."""
    failed: int = 0
    """How many of a put's records failed in an answer of 200."""
    data_bytes: int = 0
    """The size of the data of the records that were stored or read."""
    duration_ms: float = 0.0
    """How long it took, in real time, from its head to its answer."""
    body: bytes | None = None
    """The request's body as it came, with `keep_bodies`; never a password's."""

    def __repr__(self) -> str:
        where = ",".join(map(str, self.partitions))
        told = [
            f"{self.operation or f'{self.method} {self.path}'}",
            f"{self.stream}{f'[{where}]' if where else ''}" if self.stream else "",
            f"-> {self.status or 'no answer'}",
            self.error or "",
            f"{self.records} records" if self.records else "",
            f"{self.failed} failed" if self.failed else "",
            f"met {', '.join(self.faults)}" if self.faults else "",
            f"{self.duration_ms:.1f} ms",
        ]
        return f"<#{self.number} {' '.join(text for text in told if text)}>"


class WantedFields(TypedDict, total=False):
    """By what requests are chosen; what is not given is any."""

    stream: str
    partition: int
    status: int
    error: str
    fault: str
    user: str
    project: str
    after: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which requests are meant. None is any; `after` a number, those that came after it.

    `operation` is a row's name, `records.*`, or `*` for all of DIS.
    """

    operation: str | None = None
    stream: str | None = None
    partition: int | None = None
    status: int | None = None
    error: str | None = None
    fault: str | None = None
    user: str | None = None
    project: str | None = None
    after: int = 0

    def __post_init__(self) -> None:
        if self.operation is not None and not operations_of(self.operation):
            raise ConfigError(f"there is no operation {self.operation!r}")

    def means(self, seen: SeenRequest) -> bool:
        """Say whether a request is meant."""
        return (
            seen.number > self.after
            and (self.operation is None or seen.operation in operations_of(self.operation))
            and self.stream in {None, seen.stream}
            and (self.partition is None or self.partition in seen.partitions)
            and self.status in {None, seen.status}
            and self.error in {None, seen.error}
            and (self.fault is None or self.fault in seen.faults)
            and self.user in {None, seen.user}
            and self.project in {None, seen.project}
        )


class Requests:
    """The ring of a server, or what it has of one project. Iterates from the oldest on."""

    def __init__(self, size: int = 1000, *, keep_bodies: bool = False) -> None:
        if size < 0:
            raise ConfigError(f"requests to keep are 0 or more, not {size}")
        self._ring = _Ring(size, keep_bodies=keep_bodies)
        self._project: str | None = None

    def of_project(self, project_id: str) -> "Requests":
        """Give the same ring as one project sees it: `clear` too is for that project's only."""
        found = Requests(0)
        found._ring, found._project = self._ring, project_id
        return found

    @property
    def keep_bodies(self) -> bool:
        """Whether bodies are kept, the last 64 MiB of them. May be set at any time."""
        return self._ring.keeps_bodies

    @keep_bodies.setter
    def keep_bodies(self, keep: bool) -> None:
        self._ring.keeps_bodies = keep

    @property
    def totals(self) -> Tally:
        """Counts of all requests since the server was made, whatever the ring forgot."""
        return self._ring.totals

    def of(self, operation: str | None = None, **wanted: Unpack[WantedFields]) -> list[SeenRequest]:
        """Give the requests that are meant, oldest first.

        `fault` is a name such as `error DIS.4303`, `user` such as `shop.ann`.

        Raises:
            ConfigError: there is no such operation.
        """
        return self.those(Wanted(operation, **wanted))

    def those(self, wanted: Wanted) -> list[SeenRequest]:
        """Do what `of` does."""
        meant = self._ours(wanted)
        return [seen for seen in self._ring.all() if meant.means(seen)]

    @property
    def last(self) -> SeenRequest | None:
        """The latest request, or None."""
        found = self.of()
        return found[-1] if found else None

    def __iter__(self) -> Iterator[SeenRequest]:
        return iter(self.of())

    def __len__(self) -> int:
        return len(self.of())

    def clear(self) -> None:
        """Forget the requests. Their numbers go on."""
        self._ring.drop(self._ours(Wanted()))

    async def wait(
        self,
        operation: str | None = None,
        *,
        count: int = 1,
        timeout: float = 10.0,
        **wanted: Unpack[WantedFields],
    ) -> list[SeenRequest]:
        """Wait until so many of the requests were answered, and give them; see `of`.

        What the ring has already counts; give `after` to wait for what is new. Cancelled,
        nothing is left behind.

        Raises:
            TimeoutError: fewer came within `timeout` seconds of real time.
        """
        meant = Wanted(operation, **wanted)
        found = await self.arrivals(meant, count=count, timeout=timeout)
        return _enough(found, count, meant, timeout)

    async def arrivals(self, wanted: Wanted, *, count: int, timeout: float) -> list[SeenRequest]:
        """Wait until so many came, or the time is over; give those that did."""
        with self._ring.waiting(self._ours(wanted), count) as waiter:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await asyncio.wrap_future(waiter.done)
            return waiter.found

    def wait_blocking(
        self,
        operation: str | None = None,
        *,
        count: int = 1,
        timeout: float = 10.0,
        **wanted: Unpack[WantedFields],
    ) -> list[SeenRequest]:
        """Do what `wait` does, in a thread that is not the server's.

        Raises:
            TimeoutError: fewer came within `timeout` seconds of real time.
        """
        meant = Wanted(operation, **wanted)
        with self._ring.waiting(self._ours(meant), count) as waiter:
            with suppress(TimeoutError):
                waiter.done.result(timeout)
            return _enough(waiter.found, count, meant, timeout)

    def add(self, seen: SeenRequest) -> None:
        """Take a request in. The server does this."""
        self._ring.add(seen)

    def __repr__(self) -> str:
        found = self.of()
        return f"<Requests {len(found)}{f', last {found[-1]!r}' if found else ''}>"

    def _ours(self, wanted: Wanted) -> Wanted:
        if self._project is None:
            return wanted
        if wanted.project not in {None, self._project}:
            raise ConfigError(f"these are the requests of project {self._project} only")
        return replace(wanted, project=self._project)


@dataclass(eq=False, slots=True)
class _Waiter:
    wanted: Wanted
    count: int
    found: list[SeenRequest]
    done: "Future[None]" = field(default_factory=Future)

    def take(self, seen: SeenRequest) -> None:
        if self.wanted.means(seen):
            self.found.append(seen)
        if len(self.found) >= self.count:
            with suppress(InvalidStateError):  # done, or nobody waits any more
                self.done.set_result(None)


def _enough(
    found: list[SeenRequest], count: int, wanted: Wanted, timeout: float
) -> list[SeenRequest]:
    if len(found) < count:
        raise TimeoutError(
            f"{len(found)} of {count} requests came within {timeout:g} s: {wanted}; {found}"
        )
    return found


class _Ring:
    def __init__(self, size: int, *, keep_bodies: bool) -> None:
        self.keeps_bodies = keep_bodies
        self.totals = Tally()
        self._lock = Lock()
        self._kept: deque[SeenRequest] = deque(maxlen=size)
        self._with_body: deque[SeenRequest] = deque()
        self._body_bytes = 0
        self._waiters: list[_Waiter] = []

    def all(self) -> list[SeenRequest]:
        with self._lock:
            return list(self._kept)

    def add(self, seen: SeenRequest) -> None:
        with self._lock:
            self.totals.add(seen)
            seen.number = self.totals.requests
            self._kept.append(seen)
            if seen.body is not None:
                self._bound_bodies(seen)
            if self._waiters:
                for waiter in self._waiters:
                    waiter.take(seen)

    def drop(self, wanted: Wanted) -> None:
        with self._lock:
            kept = [seen for seen in self._kept if not wanted.means(seen)]
            self._kept = deque(kept, self._kept.maxlen)

    @contextmanager
    def waiting(self, wanted: Wanted, count: int) -> Iterator[_Waiter]:
        waiter = _Waiter(wanted, count, [])
        with self._lock:
            for seen in self._kept:
                waiter.take(seen)
            self._waiters.append(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters.remove(waiter)

    def _bound_bodies(self, seen: SeenRequest) -> None:
        self._with_body.append(seen)
        self._body_bytes += len(seen.body or b"")
        while self._body_bytes > _KEPT_BODY_BYTES or len(self._with_body) > len(self._kept):
            oldest = self._with_body.popleft()
            self._body_bytes -= len(oldest.body or b"")
            oldest.body = None
