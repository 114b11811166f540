"""The requests and answers of the admin routes, as models that a client shares."""

from typing import Annotated, Any, Literal

from pydantic import Field

from aiodis.credentials import AccessKey
from aiodis.server.accounts import Account, User
from aiodis.server.admin.model import Asked, Told
from aiodis.server.admin.outcomes import OutcomeModel
from aiodis.server.fault import CallFault, Fault
from aiodis.server.fault_outcomes import Phase
from aiodis.server.requests import Wanted

__all__ = [
    "Advance",
    "AskRequests",
    "ClockTold",
    "Count",
    "Done",
    "FaultTold",
    "FaultsTold",
    "HealthTold",
    "MakeAccount",
    "MakeFault",
    "Nothing",
    "OfAccount",
    "OfFault",
    "OfFaults",
    "OfProject",
    "OfStream",
    "Partial",
    "Push",
    "PutSeed",
    "PutState",
    "Rule",
]

_Count = Annotated[int, Field(ge=0)]
_Name = Annotated[str, Field(min_length=1, max_length=256)]
_TEN_YEARS_MS = 10 * 366 * 86_400_000


class Nothing(Asked):
    """No parameters."""


class OfProject(Asked):
    """One project; without it, all, or where there has to be one, the main one."""

    project: _Name | None = None


class Done(Told):
    """It is done."""


class HealthTold(Told):
    """Whether requests are served now."""

    status: Literal["ready", "stopping"]
    version: str
    clock: str
    now_ms: int
    is_durable: bool
    """Whether there is a data folder."""
    projects: list[str]


class AskRequests(OfProject):
    """Which requests; see `Requests.of`. With `wait_s`, waits until `count` of them came."""

    operation: _Name | None = None
    stream: _Name | None = None
    partition: _Count | None = None
    status: int | None = None
    error: _Name | None = None
    fault: _Name | None = None
    user: _Name | None = None
    after: _Count = 0
    limit: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """No more than the last so many of them."""
    count: Annotated[int, Field(ge=1)] = 1
    wait_s: Annotated[float, Field(ge=0, le=60)] = 0

    @property
    def wanted(self) -> Wanted:
        """What is meant.

        Raises:
            ConfigError: there is no such operation.
        """
        return Wanted(**self.model_dump(exclude={"limit", "count", "wait_s"}))


class _Aimed(OfProject):
    stream: _Name | None = None
    partition: _Count | None = None
    scope: _Name | None = None
    """A name of your own, by which all faults that have it are ended at once."""


class _CallFaulted(_Aimed):
    operation: _Name
    error: _Name | None = None
    outcome: OutcomeModel | None = None
    phase: Phase | None = None


class Push(_CallFaulted):
    """A fault for the next `times` calls; see `Faults.push`."""

    kind: Literal["push"]
    times: int = 1


class Rule(_CallFaulted):
    """A fault for a share of the calls; see `Faults.rule`."""

    kind: Literal["rule"]
    rate: float = 1.0
    seed: int = 0
    times: int | None = None


class Partial(_Aimed):
    """A failure of single records; see `Faults.partial`."""

    kind: Literal["partial"]
    operation: _Name = "records.put"
    code: _Name = "DIS.4303"
    message: str | None = None
    rate: float = 1.0
    seed: int = 0
    times: int | None = None


MakeFault = Annotated[Push | Rule | Partial, Field(discriminator="kind")]


class OfFault(Asked):
    """One fault, by its number."""

    number: int


class OfFaults(OfProject):
    """The faults of a scope, or of a project; without either, all."""

    scope: _Name | None = None


class FaultTold(Told):
    """A fault, and how often it came."""

    number: int
    operation: str
    name: str
    stream: str | None
    partition: int | None
    project: str | None
    phase: Phase | None
    times: int | None
    count: int
    left: int | None

    @classmethod
    def of(cls, fault: Fault) -> "FaultTold":
        """Tell of a fault."""
        return cls(
            number=fault.number,
            **fault.aim._asdict(),
            name=fault.name,
            phase=fault.phase if isinstance(fault, CallFault) else None,
            times=fault.times,
            count=fault.count,
            left=fault.left,
        )


class Count(Told):
    """How often what came to which operation."""

    operation: str
    name: str
    count: int


class FaultsTold(Told):
    """The faults that may still come, and what came."""

    faults: list[FaultTold]
    counts: list[Count]


class _Key(Asked):
    access_key: _Name
    secret_key: _Name


class _User(Asked):
    name: _Name
    password: _Name | None = None
    keys: list[_Key] = []
    actions: list[_Name] | None = None

    def made(self) -> User:
        keys = [AccessKey(key.access_key, key.secret_key) for key in self.keys]
        return User(self.name, self.password, keys, self.actions)


class MakeAccount(Asked):
    """An account with a project of its own; see `LocalDIS.add_account`."""

    name: _Name
    project_id: _Name
    users: list[_User]
    limited: bool = True
    quotas: dict[str, int] = {}

    def made(self) -> Account:
        """Make the account.

        Raises:
            ConfigError: it cannot be.
        """
        return Account(self.name, self.project_id, [user.made() for user in self.users])


class OfAccount(Asked):
    """One account, by its name."""

    name: str


class PutState(OfProject):
    """A snapshot, as the whole body."""

    data: bytes


class PutSeed(OfProject):
    """What is added to a project, the first one unless told otherwise; see `LocalDIS.seed`."""

    seed: dict[str, Any]


class OfStream(OfProject):
    """One stream, by its name or id, of the first project unless told otherwise."""

    stream_name: str


class ClockTold(Told):
    """The server's time."""

    kind: str
    now_ms: int
    time: str
    """The same in words, ISO 8601 in UTC."""


class Advance(Asked):
    """How far the time is moved: the sum of all."""

    milliseconds: Annotated[float, Field(ge=0, le=_TEN_YEARS_MS)] = 0
    seconds: Annotated[float, Field(ge=0, le=_TEN_YEARS_MS / 1000)] = 0
    minutes: Annotated[float, Field(ge=0, le=_TEN_YEARS_MS / 60_000)] = 0
    hours: Annotated[float, Field(ge=0, le=_TEN_YEARS_MS / 3_600_000)] = 0

    @property
    def all_seconds(self) -> float:
        """The sum in seconds."""
        return self.milliseconds / 1000 + self.seconds + 60 * self.minutes + 3600 * self.hours
