"""The embedded DIS as an object to start and stop: data folder, engine, socket."""

import asyncio
import errno
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from aiohttp import web

from aiodis.clock import SYSTEM_CLOCK, Clock
from aiodis.config import is_loopback
from aiodis.credentials import AccessKey, StaticToken
from aiodis.errors import ClosedError, ConfigError, DISError, error_class
from aiodis.memory import keep_freed_memory
from aiodis.record import ReceivedRecord
from aiodis.server import holdings
from aiodis.server.accounts import (
    Account,
    Accounts,
    Caller,
    check_project_id,
    credentials_of,
    read_accounts,
)
from aiodis.server.admin import Admin, AdminFront
from aiodis.server.app import Front
from aiodis.server.dump.buckets import Buckets, FolderBuckets, MemoryBuckets
from aiodis.server.durability import Durability, Fsync, check_fsync
from aiodis.server.edge import Bodies, EdgeLimits
from aiodis.server.engine import Engine
from aiodis.server.faults import Faults
from aiodis.server.gate import Gate
from aiodis.server.identity import TOKEN_LIFE_MS, Identity
from aiodis.server.keeper import Keeper
from aiodis.server.listener import Listener
from aiodis.server.loop_thread import LoopThread
from aiodis.server.projects import HalfExchangedError, Projects
from aiodis.server.quotas import AccountQuotas
from aiodis.server.refusal import Refusal
from aiodis.server.requests import Requests
from aiodis.server.seed import Seed
from aiodis.server.snapshot import Snapshot
from aiodis.server.tls import TLSError, with_authority, with_files
from aiodis.server.transitions import Transitions
from aiodis.wire.codec import PutBody
from aiodis.wire.message import Message
from aiodis.wire.operation import Operation

__all__ = [
    "DEFAULT_ACCESS_KEY",
    "DEFAULT_PROJECT_ID",
    "DEFAULT_REGION",
    "DEFAULT_SECRET_KEY",
    "AddressInUseError",
    "DataFolderInUseError",
    "LocalDIS",
    "StartError",
]

AdminAccess = Literal["local", "remote", "off"]
"""Who may use the admin routes: this machine, others as well, or nobody."""

DEFAULT_PROJECT_ID: Final = "0d15" * 8
DEFAULT_ACCESS_KEY: Final = "LOCALDISACCESSKEY000"
DEFAULT_SECRET_KEY: Final = "local-dis-secret-key-known-to-everyone"  # noqa: S105 - it guards nothing
DEFAULT_REGION: Final = "local"

_DRAIN_S: Final = 5.0
_CLOSE_S: Final = 1.0
# Without it reads cost a quarter more (500 records of 1 KB a read).
_KEPT_MEMORY_BYTES: Final = 256 * 1024 * 1024


R = TypeVar("R")


class StartError(DISError):
    """The server could not start; what it had taken is given back."""


class DataFolderInUseError(StartError):
    """Another server has the data folder."""


class AddressInUseError(StartError):
    """Another program listens there."""


class LocalDIS:
    """A DIS in this process: of one project with one access key, or of `accounts`.

    `path` is the folder for its data; None keeps all in memory. Port 0 takes a free
    one. `accounts` are several, or the file that names them; `project_id` then only says
    whose data is in the folder itself. `region` is checked in signatures only when it is
    given. `limits=False` lifts the traffic limits, the quotas and the hourly limits of
    scaling; `quotas` sets other quotas than the service's for each account
    (`{"common_partition": 200}`, `AccountQuotas`); `transitions` says how long a stream is
    CREATING and a scaling under way. `anonymous=True` asks nobody for credentials. All
    time is the `clock`'s: with a `ManualClock` or an `AutoClock`, hours pass at once.

    What was acknowledged survives the end of the process. `fsync` says whether it survives
    a loss of power as well: `"always"`, as an answer waits for the disk; `"interval"`, but
    for the last second's; `"never"`, as far as the system had written it by itself.

    `seed` is a file (JSON, TOML or JSON lines) or a mapping of the streams, records, apps and
    checkpoints that the first project begins with: whenever the server starts without any
    stream or app in it, and after each `reset`.

    `tls=True` serves https with a certificate of an authority that is made for the data
    folder; `ca_file` is what clients need to trust it. With `tls_cert`, a PEM file, and
    `tls_key`, where the key is in another one, it serves https with those. `edge` bounds
    what one client may cost the others.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        project_id: str = DEFAULT_PROJECT_ID,
        access_key: str = DEFAULT_ACCESS_KEY,
        secret_key: str = DEFAULT_SECRET_KEY,
        accounts: Sequence[Account] | Path | str | None = None,
        region: str | None = None,
        anonymous: bool = False,
        limits: bool = True,
        quotas: Mapping[str, int] | None = None,
        transitions: Transitions | None = None,
        allow_remote: bool = False,
        tls: bool = False,
        tls_cert: Path | str | None = None,
        tls_key: Path | str | None = None,
        clock: Clock | None = None,
        seed: Path | str | Mapping[str, Any] | None = None,
        keep_requests: int = 1000,
        edge: EdgeLimits | None = None,
        admin: AdminAccess = "local",
        fsync: Fsync = "never",
    ) -> None:
        if not (allow_remote or is_loopback(host)):
            raise ConfigError(
                f"host {host!r} opens the server to others: allow_remote=True (--allow-remote)"
            )
        if tls_key is not None and tls_cert is None:
            raise ConfigError("a tls_key needs its tls_cert")
        check_project_id(project_id)
        check_fsync(fsync)
        if accounts is None:
            found = Accounts.of_one(AccessKey(access_key, secret_key), project_id)
        elif (access_key, secret_key) != (DEFAULT_ACCESS_KEY, DEFAULT_SECRET_KEY):
            raise ConfigError("keys belong to users: give accounts, or access_key and secret_key")
        else:
            found = _accounts_of(accounts)
        if not (is_loopback(host) or anonymous) and found.have_secret(DEFAULT_SECRET_KEY):
            raise ConfigError("the built-in keys are known to everyone: a remote host needs others")
        self.path = None if path is None else Path(path)
        self.accounts = found
        self.project_id = found.first.account.project_id
        self.credentials = credentials_of(found.first)
        self.region = region or DEFAULT_REGION
        self.clock = clock or SYSTEM_CLOCK
        self._seed = None if seed is None else Seed.read(seed)
        self.recovery: tuple[str, ...] = ()
        """What the start found that was not as a stop leaves it, a line each."""
        self.faults = Faults()
        """Faults on purpose, `aiodis.server.faults`; they stay when the server starts anew."""
        self.requests = Requests(keep_requests)
        """The last requests and what came of them, `aiodis.server.requests`; they stay as well."""
        self.buckets: Buckets = (
            MemoryBuckets() if self.path is None else FolderBuckets(self.path / "obs")
        )
        """Where dump tasks deliver to, in the place of OBS: folders of `<path>/obs`, or memory."""
        self._host, self._port, self._is_limited = host, port, limits
        self._main_project = project_id
        self._identity = Identity(found, self.region)
        self._gate = Gate(found, self._identity, region=region, anonymous=anonymous)
        self._quotas, self._transitions = AccountQuotas.of(quotas or {}), transitions
        self._edge, self._fsync = edge or EdgeLimits(), fsync
        self._bodies = Bodies(self._edge)
        self._listener: Listener | None = None
        self._changing = asyncio.Lock()
        self.ca_file: Path | None = None
        """The authority that clients are to trust, while a server with `tls` runs."""
        self._has_tls = tls or tls_cert is not None
        self._tls_cert = None if tls_cert is None else Path(tls_cert)
        self._tls_key = None if tls_key is None else Path(tls_key)
        self._running: AsyncExitStack | None = None
        self._served: tuple[LoopThread, Projects] | None = None
        self._admin, self._admin_access = Admin(self), admin
        self._address: tuple[str, int] | None = None

    @property
    def endpoint(self) -> str:
        """The URL to give to clients.

        Raises:
            ClosedError: the server does not run.
        """
        if self._address is None:
            raise ClosedError("the server does not run")
        host, port = self._address
        scheme = "https" if self._has_tls else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def is_running(self) -> bool:
        """Whether it serves requests; not any more once it began to stop."""
        return self._running is not None

    @property
    def client_settings(self) -> dict[str, Any]:
        """What a client needs to call this server: `DISClient(**server.client_settings)`.

        With `accounts`, they are those of the first user of the first one.
        """
        return self._settings_of(self.accounts.first)

    def settings_of(self, account_name: str, user_name: str) -> dict[str, Any]:
        """Give `client_settings` for a user; without an access key, by password.

        Raises:
            KeyError: there is no such user.
        """
        caller = self.accounts.named(account_name, user_name)
        if caller is None:
            raise KeyError(f"{account_name}.{user_name}")
        return self._settings_of(caller)

    def add_account(self, account: Account, **settings: Any) -> dict[str, Any]:
        """Take in one more account, with a project of its own; give the settings of its first user.

        `settings` may be `limited`, `quotas` and `transitions`, for this project alone; they
        last until the server stops, the account as long as this object. From any thread.

        Raises:
            ConfigError: a name, a key or the project is there already, or such a setting is not.
            ClosedError: the server does not run.
        """
        if unknown := settings.keys() - {"limited", "quotas", "transitions"}:
            raise ConfigError(f"an account has no setting {min(unknown)!r}")
        if isinstance(settings.get("quotas"), Mapping):
            settings["quotas"] = AccountQuotas.of(settings["quotas"])

        def add(projects: Projects) -> None:
            added = self.accounts.add(account)
            try:
                projects.add(added.project_id, **settings)
            except BaseException:
                self.accounts.remove(added.name)
                raise

        self._act(add)
        return self.settings_of(account.name, account.users[0].name)

    def remove_account(self, name: str) -> None:
        """Take an account out, with its faults; what it kept in memory is gone. From any thread.

        Raises:
            KeyError: there is none of that name, or it is the first one.
            ClosedError: the server does not run.
        """

        def remove(projects: Projects) -> None:
            project_id = self.accounts.remove(name).project_id
            projects.remove(project_id)
            self.faults.of_project(project_id).clear()
            self.requests.of_project(project_id).clear()

        self._act(remove)

    def token_of(self, account_name: str, user_name: str) -> StaticToken:
        """Give a token for a user who has a password, as IAM does: for 24 hours.

        Raises:
            KeyError: there is no such user.
        """
        caller = self.accounts.named(account_name, user_name)
        if caller is None:
            raise KeyError(f"{account_name}.{user_name}")
        expires_ms = self.clock.now_ms() + TOKEN_LIFE_MS
        return StaticToken(self._identity.issue(caller, expires_ms))

    def records(self, stream_name: str, *, project_id: str | None = None) -> list[ReceivedRecord]:
        """Give all records of a stream, partition by partition. From any thread.

        It is for tests to look at: no limit applies, no fault comes, and no request is made.

        Raises:
            NotFoundError: there is no such stream.
            ClosedError: the server does not run.
        """
        return self._in_project(project_id, lambda engine, now: engine.records(stream_name, now))

    def carry_out(
        self,
        operation: Operation[..., Any],
        request: Message | PutBody,
        *,
        project_id: str | None = None,
    ) -> Any:
        """Let the service itself do an operation, as if the project's owner had called.

        There is no request, so no signature is checked and no fault for calls comes. From
        any thread.

        Raises:
            ServiceError: the service says no.
            ClosedError: the server does not run.
        """
        return self._in_project(
            project_id, lambda engine, now: engine.handle(operation, request, now)
        )

    def _in_project(self, project_id: str | None, act: Callable[[Engine, int], R]) -> R:
        chosen = project_id or self.project_id
        try:
            return self._act_now(lambda projects, now: act(projects.home(chosen), now))
        except Refusal as refusal:
            kind = error_class(refusal.status, refusal.code)
            raise kind(refusal.message, status=refusal.status, code=refusal.code) from None

    def _act_now(self, act: Callable[[Projects, int], R]) -> R:
        """Do something with what runs, once all has happened that is due by now."""

        def do(projects: Projects) -> R:
            now_ms = self.clock.now_ms()
            projects.agenda.run_until(now_ms)
            return act(projects, now_ms)

        return self._act(do)

    def _act(self, act: Callable[[Projects], R]) -> R:
        """Do something with what runs, in the thread that it runs in."""
        if self._served is None:
            raise ClosedError("the server does not run")
        thread, projects = self._served
        return thread.call(lambda: act(projects))

    def _settings_of(self, caller: Caller) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "endpoint": self.endpoint,
            "project_id": caller.account.project_id,
            "credentials": credentials_of(caller),
        }
        if self.ca_file:
            settings["ca_file"] = self.ca_file
        if self.clock.kind != "real":
            settings["clock"] = self.clock  # else the two sides' times drift apart
        return settings

    async def start(self) -> Self:
        """Start. A server that runs goes on.

        Cancelled, it gives back what it had taken.

        Raises:
            StartError: the folder, the address or the certificate cannot be used.
            SeedError: the seed contradicts itself, or a rule of the service.
            CatalogDamagedError: the data folder's catalog cannot be read.
            LogDamagedError: a stream's log cannot be trusted.
        """
        keep_freed_memory(_KEPT_MEMORY_BYTES)
        async with self._changing:
            if self._running is None:
                async with AsyncExitStack() as stack:
                    projects = self._open(stack)
                    if self._seed and projects.home(self.project_id).is_fresh:
                        now_ms, chosen = self.clock.now_ms(), self.project_id
                        holdings.sow(projects, chosen, self._seed, self.buckets, now_ms)
                    durability = self._make_durability(projects)
                    await stack.enter_async_context(durability)
                    await stack.enter_async_context(Keeper(projects.agenda, self.clock))
                    context = self._secure(stack)
                    self._address = await self._listen(stack, projects, durability, context)
                    self._served = LoopThread(), projects
                    self.recovery = projects.recovery
                    self._running = stack.pop_all()
        return self

    async def stop(self) -> None:
        """Stop: let requests in flight end, for a few seconds at most, and give all back.

        A server that does not run stays so. Cancelled, it waits no longer, and gives
        all back nevertheless.
        """
        async with self._changing:
            if self._running is not None:
                running, self._running = self._running, None
                self._address = self._served = None
                await running.aclose()

    def reset(self, project_id: str | None = None) -> None:
        """Bring a project, or all of them, back to how they began: nothing is there, or the seed.

        Like the next four it is done at once, from any thread, between two requests; a
        request that waits meets what is there then. Faults, the clock and the files in the
        buckets stay as they are.

        Raises:
            StateError: there is no such project.
            ClosedError: the server does not run.
        """
        self._act_now(lambda projects, now: self._empty(projects, project_id, now))

    def snapshot(self, project_id: str | None = None) -> Snapshot:
        """Take all that a project, or all of them, hold now: records, apps, checkpoints, ….

        Raises:
            StateError: there is no such project.
            ClosedError: the server does not run.
        """
        return self._act_now(lambda projects, _: holdings.take(projects, project_id))

    def restore(self, snapshot: Snapshot, project_id: str | None = None) -> None:
        """Bring all projects of a snapshot, or one of them, back to what they held then.

        All or nothing. A snapshot of one project may be restored into another one by naming
        that. Cursors and the members of groups from before are unknown afterwards.

        Raises:
            SnapshotError: the snapshot has no such project.
            StateError: the server has no such project, or cannot hold it.
            ClosedError: the server does not run.
        """
        self._act_now(lambda projects, _: holdings.put_back(projects, snapshot, project_id))

    def purge(self, stream_name: str, project_id: str | None = None) -> None:
        """Remove the records of a stream, of the first project unless told otherwise.

        The stream, its checkpoints and its sequence numbers stay, as if all records were
        past retention: the next record has the next number.

        Raises:
            StateError: there is no such project or stream.
            ClosedError: the server does not run.
        """
        chosen = project_id or self.project_id
        self._act_now(lambda projects, now: holdings.purge(projects, stream_name, chosen, now))

    def seed(self, source: Path | str | Mapping[str, Any], project_id: str | None = None) -> None:
        """Add streams with records, apps and checkpoints to a project, by default the first.

        `source` is a file (JSON, TOML or JSON lines) or a mapping. All of it is there
        afterwards, or nothing. It is under no limit and no quota, and no fault comes.

        Raises:
            SeedError: it cannot be read or carried out, or a stream or app of it is there; one
                line that names the place.
            StateError: there is no such project.
            ClosedError: the server does not run.
        """
        read, chosen = Seed.read(source), project_id or self.project_id
        self._act_now(lambda projects, now: holdings.sow(projects, chosen, read, self.buckets, now))

    def _empty(self, projects: Projects, project_id: str | None, now_ms: int) -> None:
        seeds = {} if self._seed is None else {self.project_id: self._seed.sow(now_ms)}
        holdings.empty(projects, project_id, seeds)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        where = "stopped" if self._address is None else self.endpoint
        return f"<LocalDIS {where}, data in {self.path or 'memory'}>"

    def _open(self, stack: AsyncExitStack) -> Projects:
        if self.path is not None:
            _take_folder(stack, self.path)
        try:
            projects = Projects.open(
                self.path,
                self.accounts,
                main=self._main_project,
                limited=self._is_limited,
                faults=self.faults,
                quotas=self._quotas,
                transitions=self._transitions,
                buckets=self.buckets,
            )
        except HalfExchangedError as exc:
            raise StartError(str(exc)) from None
        except OSError as exc:
            raise StartError(f"the data folder {self.path} cannot be used: {exc}") from exc
        stack.callback(projects.close)
        return projects

    def _make_durability(self, projects: Projects) -> Durability:
        return Durability(self._fsync, projects.stores)

    def _secure(self, stack: AsyncExitStack) -> ssl.SSLContext | None:
        if not self._has_tls:
            return None
        try:
            if self._tls_cert is not None:
                secured = with_files(self._tls_cert, self._tls_key)
            else:
                secured = with_authority(stack, self.path, self._host)
        except TLSError as exc:
            raise StartError(str(exc)) from exc
        self.ca_file = secured.ca_file
        stack.callback(self._forget_authority)
        return secured.context

    def _forget_authority(self) -> None:
        self.ca_file = None

    async def _listen(
        self,
        stack: AsyncExitStack,
        projects: Projects,
        durability: Durability,
        context: ssl.SSLContext | None,
    ) -> tuple[str, int]:
        front = Front(
            projects,
            self._gate,
            self._identity,
            self.clock,
            self.faults,
            self.requests,
            self._bodies,
            durability,
        )
        app = front.make_app()
        if self._admin_access != "off":
            AdminFront(self._admin, is_remote_allowed=self._admin_access == "remote").add_to(app)
        runner = web.AppRunner(
            app, handle_signals=False, access_log=None, shutdown_timeout=_CLOSE_S
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None
        listener = self._listener = Listener(runner.server, self._edge, context, self.clock)
        stack.callback(setattr, self._admin, "projects", None)
        self._admin.projects = projects
        self._admin.connections = lambda: listener.open_connections
        try:
            await listener.open(self._host, self._port)
        except OSError as exc:
            where = f"{self._host}:{self._port}"
            if exc.errno == errno.EADDRINUSE:
                raise AddressInUseError(f"another program listens on {where}") from exc
            raise StartError(f"cannot listen on {where}: {exc.strerror or exc}") from exc
        stack.push_async_callback(front.drain, _DRAIN_S)
        stack.push_async_callback(listener.close)
        front.may_interrupt(listener.interrupt)
        host, port = listener.address
        return _reachable(host), port


def _accounts_of(given: Sequence[Account] | Path | str) -> Accounts:
    return read_accounts(given) if isinstance(given, Path | str) else Accounts(given)


def _take_folder(stack: AsyncExitStack, folder: Path) -> None:
    """Make the folder if need be, and lock it for as long as the stack lasts."""
    try:
        from filelock import FileLock, Timeout  # noqa: PLC0415 - an extra; memory needs none
    except ImportError as exc:
        raise StartError("a data folder needs filelock: install aiodis[server]") from exc
    lock = FileLock(folder / "lock", blocking=False, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as exc:
        raise DataFolderInUseError(f"another server uses the data folder {folder}") from exc
    except OSError as exc:
        raise StartError(f"the data folder {folder} cannot be used: {exc}") from exc
    stack.callback(lock.release)


def _reachable(host: str) -> str:
    """Give the address to connect to where the server listens on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
