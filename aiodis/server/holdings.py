"""All that the projects of a server hold, to be taken, put back, emptied and filled as a whole."""

from collections.abc import Mapping

from aiodis.server.content import Content, StateError
from aiodis.server.dump.buckets import Buckets
from aiodis.server.projects import Projects
from aiodis.server.refusal import Refusal
from aiodis.server.seed import Seed, Sown
from aiodis.server.snapshot import Snapshot

__all__ = ["empty", "purge", "put_back", "sow", "take"]


def empty(projects: Projects, project_id: str | None, seeds: Mapping[str, Sown]) -> None:
    """Remove all that a project, or all of them, hold, but for what they begin with.

    Raises:
        StateError: there is no such project.
    """
    chosen = projects.select(project_id)
    projects.exchange({n: seeds[n].content if n in seeds else Content() for n in chosen})


def sow(projects: Projects, project_id: str, seed: Seed, buckets: Buckets, now_ms: int) -> None:
    """Add what a seed says to what a project holds.

    Raises:
        StateError: there is no such project.
        SeedError: the seed cannot be, or a stream or app of its is there already.
    """
    (engine,) = projects.select(project_id).values()
    sown = seed.sow(now_ms)
    for name in sown.stream_names:
        if engine.has_stream(name):
            raise seed.error(f"there is a stream {name!r} already")
    for name in sown.app_names:
        if engine.has_app(name):
            raise seed.error(f"there is an app {name!r} already")
    _make_buckets(buckets, sown)
    projects.exchange({project_id: sown.content}, keep=True)


def _make_buckets(buckets: Buckets, sown: Sown) -> None:
    try:
        for bucket in sown.buckets:
            buckets.make(bucket)
    except OSError as exc:
        raise StateError(f"a bucket cannot be made: {exc}") from exc


def take(projects: Projects, project_id: str | None) -> Snapshot:
    """Take all that a project, or all of them, hold.

    Raises:
        StateError: there is no such project.
    """
    chosen = projects.select(project_id)
    return Snapshot({name: engine.content() for name, engine in chosen.items()})


def put_back(projects: Projects, snapshot: Snapshot, project_id: str | None) -> None:
    """Put what a snapshot holds in the place of what its projects, or one of them, hold now.

    A snapshot of one project may be put into any.

    Raises:
        StateError: one of the two has no such project, or it cannot be put there.
    """
    if project_id is None:
        fitting = {name: name for name in snapshot.project_ids}
    elif project_id not in snapshot.project_ids and len(snapshot.project_ids) == 1:
        fitting = {project_id: snapshot.project_ids[0]}
    else:
        fitting = {project_id: project_id}
    for name in fitting:
        projects.select(name)
    projects.exchange({name: snapshot.content(theirs) for name, theirs in fitting.items()})


def purge(projects: Projects, stream_name: str, project_id: str, now_ms: int) -> None:
    """Remove the records of a stream.

    Raises:
        StateError: there is no such project or stream.
    """
    (engine,) = projects.select(project_id).values()
    try:
        engine.purge(stream_name, now_ms)
    except Refusal:
        raise StateError(f"there is no stream {stream_name!r} in project {project_id!r}") from None
