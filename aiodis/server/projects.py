"""The projects of a server: an engine each, and the way to another account's stream.

A project has its own streams, apps and quotas. A stream of another one is reached by
its id, and only as far as its policies let the caller; what the reference leaves open
about that is in `guesses`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from msgspec.structs import replace

from aiodis.api.records import GetRecords
from aiodis.errors import DISError
from aiodis.server import guesses
from aiodis.server.accounts import Accounts, Caller
from aiodis.server.agenda import Agenda
from aiodis.server.content import Content, StateError
from aiodis.server.dump.buckets import Buckets
from aiodis.server.engine import Engine
from aiodis.server.faults import Faults
from aiodis.server.overview import Overview
from aiodis.server.quotas import AccountQuotas
from aiodis.server.refusal import Refusal
from aiodis.server.storage.store import Store
from aiodis.server.transitions import Transitions
from aiodis.wire.codec import PutBody
from aiodis.wire.cursor import decode_cursor
from aiodis.wire.message import Message
from aiodis.wire.operation import Operation

__all__ = ["HalfExchangedError", "Projects"]

_EXCHANGING: Final = "exchanging"

_AnyRequest = Message | PutBody

# Which actions of a policy let a caller do an operation; any of them is enough.
_NEEDED: Final = {
    "records.put": ("putRecords",),
    "records.get": ("getRecords",),
    "records.get_cursor": ("getRecords",),
    "streams.describe": ("putRecords", "getRecords"),  # guesses.DESCRIBING_NEEDS_ANY_POLICY
}


class HalfExchangedError(DISError):
    """A data folder of several projects that are not of one time."""


class Projects:
    """All engines. Each has a folder of its own; the main project's is the data folder itself."""

    def __init__(
        self, folder: Path | None, main: str, faults: Faults, open_engine: Callable[..., Engine]
    ) -> None:
        self.agenda = Agenda()
        self._folder, self._main_id, self._faults = folder, main, faults
        self._open_engine = open_engine
        self._engines: dict[str, Engine] = {}
        self._exchanging = folder and folder / _EXCHANGING

    @classmethod
    def open(
        cls,
        folder: Path | None,
        accounts: Accounts,
        *,
        main: str,
        limited: bool,
        faults: Faults,
        quotas: AccountQuotas,
        transitions: Transitions | None,
        buckets: Buckets,
    ) -> Self:
        """Open the data of each account's project. The buckets are for all, as OBS is.

        Raises:
            CatalogDamagedError: a catalog cannot be read.
            LogDamagedError: a log cannot be trusted.
            HalfExchangedError: an exchange of several projects did not come to its end.
            OSError: a folder cannot be made.
        """
        if folder and (folder / _EXCHANGING).exists():
            raise HalfExchangedError(
                f"the server died while it restored or reset several projects: some are as before,"
                f" some as after it. To go on so, remove {folder / _EXCHANGING}"
            )
        open_engine = partial(
            Engine.open,
            limited=limited,
            quotas=quotas,
            transitions=transitions,
            accounts=accounts,
            buckets=buckets,
        )
        projects = cls(folder, main, faults, open_engine)
        with ExitStack() as stack:
            stack.callback(projects.close)
            for account in accounts.all:
                projects.add(account.project_id)
            stack.pop_all()
        return projects

    def add(self, project_id: str, **settings: Any) -> None:
        """Open the data of one more project. `settings` are those in which it is unlike the others.

        Raises:
            CatalogDamagedError: its catalog cannot be read.
            LogDamagedError: a log cannot be trusted.
            OSError: its folder cannot be made.
        """
        place = self._folder
        if place and project_id != self._main_id:
            place = place / "projects" / project_id
            place.mkdir(parents=True, exist_ok=True)
        self._engines[project_id] = self._open_engine(
            place, agenda=self.agenda, faults=self._faults.of_project(project_id), **settings
        )

    @property
    def ids(self) -> list[str]:
        """The projects' ids, sorted."""
        return sorted(self._engines)

    def overview(self, now_ms: int) -> list[Overview]:
        """Look at all projects as they are now."""
        return [self._engines[project_id].overview(project_id, now_ms) for project_id in self.ids]

    def remove(self, project_id: str) -> None:
        """Close a project's data. A folder stays as it is."""
        self._engines.pop(project_id).close()

    def close(self) -> None:
        """Give all files back. Repeating it does nothing."""
        with ExitStack() as stack:
            for engine in self._engines.values():
                stack.callback(engine.close)

    def stores(self) -> list[Store]:
        """Give all that is kept in files."""
        return [store for engine in self._engines.values() for store in engine.stores()]

    @property
    def recovery(self) -> tuple[str, ...]:
        """What the starts found that was not as a stop leaves it."""
        return tuple(line for engine in self._engines.values() for line in engine.recovery)

    @property
    def _main(self) -> Engine:
        return self._engines.get(self._main_id) or next(iter(self._engines.values()))

    def handles(self, operation: Operation[..., Any]) -> bool:
        """Say whether there is a handler of the row's name."""
        return self._main.handles(operation)

    def home(self, project_id: str) -> Engine:
        """Give a project's engine; an unknown one, which only an anonymous caller has, is main."""
        return self._engines.get(project_id, self._main)

    def select(self, project_id: str | None) -> dict[str, Engine]:
        """Give the engine of a project, or all of them, by project.

        Raises:
            StateError: there is no such project.
        """
        if project_id is None:
            return dict(self._engines)
        if project_id not in self._engines:
            raise StateError(f"there is no project {project_id!r}")
        return {project_id: self._engines[project_id]}

    def exchange(self, contents: Mapping[str, Content], *, keep: bool = False) -> None:
        """Put contents in the place of all that some projects hold, or (`keep`) add them.

        All or nothing; should the process die among the last steps, the next start says so.

        Raises:
            StateError: one of them cannot be.
        """
        with ExitStack() as stack:
            commits = [
                stack.enter_context(self._engines[project_id].exchange(content, keep=keep))
                for project_id, content in contents.items()
            ]
            if self._exchanging and len(commits) > 1:
                self._exchanging.touch()
                stack.callback(self._exchanging.unlink)
            for commit in commits:
                commit()

    def reach(
        self, caller: Caller | None, home: Engine, operation: str, request: _AnyRequest
    ) -> tuple[Engine, _AnyRequest]:
        """Give the engine that has the request's stream, and the request as that engine reads it.

        Where it is no other account's stream, that is the caller's own.

        Raises:
            Refusal: it is another account's, whose policies do not let the caller.
        """
        if len(self._engines) == 1 or operation not in _NEEDED:
            return home, request
        for stream_id in _stream_ids(home, request):
            for engine in self._others(home):
                name = engine.name_of_stream_id(stream_id)
                if name is None:
                    continue
                if caller and not engine.lets(stream_id, caller.principals, _NEEDED[operation]):
                    raise Refusal(guesses.SHARED_STREAM_CODE, stream_id)
                return engine, _renamed(request, name)
        return home, request

    def _others(self, home: Engine) -> Iterator[Engine]:
        return (engine for engine in self._engines.values() if engine is not home)


def _stream_ids(home: Engine, request: _AnyRequest) -> list[str]:
    """Tell by which ids a request may mean another account's stream; a name is the caller's own."""
    if isinstance(request, GetRecords):
        try:
            stream_id = decode_cursor(request.partition_cursor).stream_id
        except ValueError:
            return []
        return [] if stream_id is None or home.name_of_stream_id(stream_id) else [stream_id]
    name = getattr(request, "stream_name", None)
    if home.has_stream(name):
        return []
    return [found for found in (getattr(request, "stream_id", None), name) if found]


def _renamed(request: _AnyRequest, stream_name: str) -> _AnyRequest:
    """Name the stream that the id stands for, so that no other of that account is meant."""
    match request:
        case GetRecords():
            return request  # a cursor's id and name are compared when it is used
        case PutBody():
            return replace(request, stream_name=stream_name, stream_id=None)
    return request.model_copy(update={"stream_name": stream_name, "stream_id": None})
