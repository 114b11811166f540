"""Whatever happens to a project, what it held can be had back."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aiodis.api import OPERATIONS
from aiodis.api.apps import CreateApp, DeleteApp
from aiodis.api.checkpoints import CommitCheckpoint
from aiodis.api.streams import CreateStream, DeleteStream, ScaleStream
from aiodis.server.engine import Engine
from aiodis.server.refusal import Refusal
from aiodis.server.snapshot import Snapshot
from aiodis.wire.codec import PutBody, PutEntry

ROWS = {row.name: row for row in OPERATIONS}
NAMES = st.sampled_from(["a", "b"])


def commit(app, stream, sequence):
    fields = {"app_name": app, "stream_name": stream, "partition_id": "0"}
    return CommitCheckpoint(**fields, sequence_number=str(sequence))


def put(stream, data):
    return PutBody([PutEntry.of(found, partition_key="k") for found in data], stream)


DATA = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5)
STEPS = st.one_of(
    st.builds(
        lambda name, count: (
            "streams.create",
            CreateStream(stream_name=name, partition_count=count),
        ),
        NAMES,
        st.integers(1, 3),
    ),
    st.builds(lambda name: ("streams.delete", DeleteStream(stream_name=name)), NAMES),
    st.builds(
        lambda name, count: (
            "streams.scale",
            ScaleStream(stream_name=name, target_partition_count=count),
        ),
        NAMES,
        st.integers(1, 4),
    ),
    st.builds(lambda name, data: ("records.put", put(name, data)), NAMES, DATA),
    st.builds(lambda name: ("apps.create", CreateApp(app_name=name)), NAMES),
    st.builds(lambda name: ("apps.delete", DeleteApp(app_name=name)), NAMES),
    st.builds(
        lambda *args: ("checkpoints.commit", commit(*args)), NAMES, NAMES, st.integers(0, 99)
    ),
    st.builds(lambda name: ("purge", name), NAMES),
    st.builds(lambda ms: ("wait", ms), st.integers(0, 30 * 3_600_000)),
)


class Project:
    """An engine and its time."""

    def __init__(self, folder: Path | None) -> None:
        self.engine, self.now_ms = Engine.open(folder, limited=False), 1_700_000_000_000
        self.engine.agenda.begin(self.now_ms)

    def take(self, steps) -> None:
        for name, request in steps:
            if name == "wait":
                self.now_ms += request
                self.engine.agenda.run_until(self.now_ms)
                continue
            try:
                if name == "purge":
                    self.engine.purge(request, self.now_ms)
                else:
                    self.engine.handle(ROWS[name], request, self.now_ms)
            except Refusal:
                pass

    def restore(self, content) -> None:
        with self.engine.exchange(content) as let_it_be:
            let_it_be()


def check(folder: Path | None, before, after) -> None:
    project = Project(folder)
    try:
        project.take(before)
        snapshot = Snapshot({"p": project.engine.content()})
        kept = Snapshot.from_bytes(bytes(snapshot))
        project.take(after)
        project.restore(kept.content("p"))
        assert Snapshot({"p": project.engine.content()}) == snapshot == kept
        first = Snapshot({"p": project.engine.content()})
        project.take(after)
        changed = project.engine.content()
        project.restore(snapshot.content("p"))
        assert Snapshot({"p": project.engine.content()}) == first
    finally:
        project.engine.close()
    if folder is not None:  # the start finds it whole, and the same
        again = Project(folder)
        assert again.engine.recovery == ()
        assert again.engine.content() == snapshot.content("p")
        again.restore(changed)
        assert again.engine.content() == changed
        again.engine.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=12), st.lists(STEPS, max_size=12))
def test_a_restore_gives_back_what_was_there_whatever_happened_since(before, after):
    check(None, before, after)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEPS, max_size=8), st.lists(STEPS, max_size=8))
def test_a_restore_on_disk_does_so_through_a_restart_too(before, after):
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), before, after)
