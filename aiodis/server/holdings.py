"""All that the projects of a server hold, to be taken, put back, emptied and filled as a whole."""

from aiodis.server.content import Content, StateError
from aiodis.server.projects import Projects
from aiodis.server.refusal import Refusal
from aiodis.server.snapshot import Snapshot

__all__ = ["empty", "purge", "put_back", "take"]


def empty(projects: Projects, project_id: str | None) -> None:
    """Remove all that a project, or all of them, hold.

    Raises:
        StateError: there is no such project.
    """
    projects.exchange(dict.fromkeys(projects.select(project_id), Content()))


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
