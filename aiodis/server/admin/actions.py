"""What each admin route does: an `Admin` and what was asked in, an answer out."""

from datetime import UTC, datetime
from importlib.metadata import version

import msgspec

from aiodis.errors import ConfigError
from aiodis.server.admin import models
from aiodis.server.admin.admin import Admin
from aiodis.server.admin.answer import AdminRefusal, Answer, Raw
from aiodis.server.fault import Fault
from aiodis.server.faults import Faults
from aiodis.server.projects import Projects
from aiodis.server.requests import Requests
from aiodis.server.snapshot import Snapshot


async def health(admin: Admin, asked: models.Nothing) -> Answer:  # noqa: ARG001 - all have it
    is_ready = admin.server.is_running
    told = models.HealthTold(
        status="ready" if is_ready else "stopping",
        version=version("aiodis"),
        clock=admin.server.clock.kind,
        now_ms=admin.now_ms,
        is_durable=admin.server.path is not None,
        projects=admin.projects.ids if admin.projects else [],
    )
    return told if is_ready else Raw(told.model_dump_json().encode(), status=503)


async def metrics(admin: Admin, asked: models.Nothing) -> Answer:  # noqa: ARG001
    try:
        from aiodis.server.admin.metrics import exposition  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise AdminRefusal(501, str(exc)) from None
    return exposition(admin, _projects(admin))


async def list_requests(admin: Admin, asked: models.AskRequests) -> Answer:
    requests = _requests_of(admin, asked.project)
    wanted = asked.wanted
    if asked.wait_s:
        found = await requests.arrivals(wanted, count=asked.count, timeout=asked.wait_s)
    else:
        found = requests.those(wanted)
    return Raw(msgspec.json.encode({"requests": found[-asked.limit :]}))


async def clear_requests(admin: Admin, asked: models.OfProject) -> Answer:
    _requests_of(admin, asked.project).clear()
    return models.Done()


async def list_faults(admin: Admin, asked: models.OfProject) -> Answer:
    faults = _faults_of(admin, asked.project)
    counts = [
        models.Count(operation=operation, name=name, count=count)
        for (operation, name), count in faults.counts.items()
    ]
    return models.FaultsTold(faults=[models.FaultTold.of(fault) for fault in faults], counts=counts)


async def make_fault(admin: Admin, asked: models.Push | models.Rule | models.Partial) -> Answer:
    faults = _faults_of(admin, asked.project)
    given = asked.model_dump(exclude={"kind", "project", "scope", "outcome"})
    if not isinstance(asked, models.Partial):
        given["outcome"] = asked.outcome and asked.outcome.make()
    fault: Fault = getattr(faults, asked.kind)(**given)
    admin.keep(fault, asked.scope)
    return models.FaultTold.of(fault)


async def end_faults(admin: Admin, asked: models.OfFaults) -> Answer:
    faults = _faults_of(admin, asked.project)
    if asked.scope is None:
        faults.clear()
    else:
        faults.end(*admin.end_scope(asked.scope))
    return models.Done()


async def show_fault(admin: Admin, asked: models.OfFault) -> Answer:
    return models.FaultTold.of(_fault(admin, asked.number))


async def end_fault(admin: Admin, asked: models.OfFault) -> Answer:
    fault = _fault(admin, asked.number)
    admin.server.faults.end(fault)
    return models.FaultTold.of(fault)


async def check_exhausted(admin: Admin, asked: models.OfProject) -> Answer:
    try:
        _faults_of(admin, asked.project).assert_exhausted()
    except AssertionError as exc:
        raise AdminRefusal(409, str(exc)) from None
    return models.Done()


async def show_clock(admin: Admin, asked: models.Nothing) -> Answer:  # noqa: ARG001
    now_ms = admin.now_ms
    time = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return models.ClockTold(kind=admin.server.clock.kind, now_ms=now_ms, time=time)


async def advance_clock(admin: Admin, asked: models.Advance) -> Answer:
    try:
        admin.server.clock.advance(seconds=asked.all_seconds)
    except ConfigError as exc:
        raise AdminRefusal(409, str(exc)) from None
    return await show_clock(admin, models.Nothing())


async def add_account(admin: Admin, asked: models.MakeAccount) -> Answer:
    admin.server.add_account(asked.made(), limited=asked.limited, quotas=asked.quotas)
    return models.Done()


async def remove_account(admin: Admin, asked: models.OfAccount) -> Answer:
    try:
        admin.server.remove_account(asked.name)
    except KeyError:
        raise AdminRefusal(404, f"there is no account {asked.name!r} that could go") from None
    return models.Done()


async def list_records(admin: Admin, asked: models.OfStream) -> Answer:
    _check_project(admin, asked.project)
    found = admin.server.records(asked.stream_name, project_id=asked.project)
    return Raw(msgspec.json.encode({"records": found}))


async def show_state(admin: Admin, asked: models.OfProject) -> Answer:
    return Raw(bytes(admin.server.snapshot(asked.project)), "application/octet-stream")


async def put_state(admin: Admin, asked: models.PutState) -> Answer:
    admin.server.restore(Snapshot.from_bytes(asked.data), asked.project)
    return models.Done()


async def reset_state(admin: Admin, asked: models.OfProject) -> Answer:
    admin.server.reset(asked.project)
    return models.Done()


async def add_seed(admin: Admin, asked: models.PutSeed) -> Answer:
    admin.server.seed(asked.seed, asked.project)
    return models.Done()


async def purge_stream(admin: Admin, asked: models.OfStream) -> Answer:
    admin.server.purge(asked.stream_name, asked.project)
    return models.Done()


def _check_project(admin: Admin, project_id: str | None) -> None:
    if project_id is not None and project_id not in _projects(admin).ids:
        raise AdminRefusal(404, f"there is no project {project_id!r}")


def _projects(admin: Admin) -> Projects:
    if admin.projects is None:
        raise AdminRefusal(503, "the server is stopping")
    return admin.projects


def _requests_of(admin: Admin, project_id: str | None) -> Requests:
    return (
        admin.server.requests
        if project_id is None
        else admin.server.requests.of_project(project_id)
    )


def _faults_of(admin: Admin, project_id: str | None) -> Faults:
    return admin.server.faults if project_id is None else admin.server.faults.of_project(project_id)


def _fault(admin: Admin, number: int) -> Fault:
    fault = admin.fault(number)
    if fault is None:
        raise AdminRefusal(404, f"there is no fault {number}")
    return fault
