"""A whole data folder with something missing, cut or changed: a start repairs it or refuses.

What is done to a single log is in `storage/test_log_recovery.py`. Here there are all files of
a folder as `kill -9` leaves it: streams that were scaled, and deleted, apps with commits, a
group with its generation.
"""

import contextlib
import re
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from aiodis.api import Apps, Checkpoints, Groups, Records, Streams
from aiodis.record import partition_name
from aiodis.server import CatalogDamagedError, LogDamagedError
from aiodis.server.engine import Engine
from aiodis.server.refusal import Refusal
from aiodis.server.storage.catalog import Catalog
from aiodis.wire.codec import PutBody, PutEntry

NOW_MS = 1_700_000_000_000
STREAMS = {"plain": 2, "scaled": 4}
"""How many partitions each stream has had."""
Refused = (CatalogDamagedError, LogDamagedError)


class Held(NamedTuple):
    """What a folder holds, as a client sees it."""

    records: dict[tuple[str, int], list[bytes]]
    commits: dict[tuple[str, int], int]
    generation: int


class Driver:
    """An engine on a folder, called row by row."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine.open(folder, limited=False)

    def call(self, operation, now_ms=NOW_MS, /, **fields):
        return self.engine.handle(operation, operation.build(**fields), now_ms)

    def put(self, stream: str, partition: int, *data: bytes) -> None:
        entries = [PutEntry.of(item, None, str(partition)) for item in data]
        reply = self.engine.handle(
            Records.put, PutBody(stream_name=stream, records=entries), NOW_MS
        )
        assert reply.failed_record_count == 0

    def fill(self) -> None:
        self.call(Apps.create, app_name="billing")
        for name in STREAMS:
            self.call(Streams.create, stream_name=name, partition_count=2)
            for n in range(3):
                self.put(name, 0, b"0-%d" % n)
                self.put(name, 1, b"1-%d" % n)
        self.call(Streams.create, stream_name="gone", partition_count=1)
        self.put("gone", 0, b"deleted with its stream")
        self.call(Streams.delete, stream_name="gone")
        self.call(Streams.scale, stream_name="scaled", target_partition_count=4)
        self.put("scaled", 3, b"after the first scaling")
        self.call(Streams.scale, stream_name="scaled", target_partition_count=3)
        self.put("scaled", 2, b"after the second scaling")
        self.form_group()
        for name in STREAMS:
            self.commit(name, 1, 3)

    def form_group(self) -> int:
        fields = {"app_name": "billing", "client_id": "member"}
        joined = self.call(Groups.join, **fields, stream_names=["plain"], rebalance_timeout_ms=0)
        assert joined.state == "OK"
        synced = self.call(Groups.sync, **fields)
        assert synced.state == "OK"
        return synced.generation

    def commit(self, stream: str, partition: int, sequence: int) -> None:
        self.call(
            Checkpoints.commit,
            app_name="billing",
            stream_name=stream,
            partition_id=str(partition),
            sequence_number=str(sequence),
        )

    def held(self) -> Held:
        records, commits = {}, {}
        for name, count in STREAMS.items():
            for number in range(count):
                where = {"stream_name": name, "partition_id": partition_name(number)}
                records[name, number] = self.read(**where)
                found = self.call(Checkpoints.get, app_name="billing", **where)
                commits[name, number] = found.sequence_number
        return Held(records, commits, self.form_group())

    def read(self, **where: str) -> list[bytes]:
        cursor = self.call(Records.get_cursor, cursor_type="TRIM_HORIZON", **where)
        page = self.call(Records.get, partition_cursor=cursor.partition_cursor).read()
        assert [r.sequence_number for r in page.records] == list(range(len(page.records)))
        return [r.data for r in page.records]


def start(folder: Path) -> tuple[tuple[str, ...], Held]:
    """Start on a folder, and look at everything."""
    driver = Driver(folder)
    with contextlib.closing(driver.engine):
        return driver.engine.recovery, driver.held()


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Give a folder as `kill -9` leaves it: the catalog's last changes are in its WAL."""
    origin, copy = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("killed") / "data"
    driver = Driver(origin)
    with contextlib.closing(driver.engine):
        driver.fill()
        shutil.copytree(origin, copy)
    (copy / "catalog.db-shm").unlink()  # the system keeps no such thing through a copy
    return copy


@pytest.fixture
def folder(killed, tmp_path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "data"))


@pytest.fixture
def whole(killed, tmp_path) -> Held:
    """What is there without any damage."""
    said, held = start(Path(shutil.copytree(killed, tmp_path / "whole")))
    assert said == ()
    return held


@pytest.fixture
def stopped(folder) -> Path:
    """Give a folder as a stop leaves it: all of the catalog is in one file."""
    Engine.open(folder).close()
    assert not (folder / "catalog.db-wal").exists()
    return folder


def log_of(folder: Path, name: str) -> Path:
    """Find the folder of a stream's log."""
    with contextlib.closing(sqlite3.connect(folder / "catalog.db")) as db:
        query = "SELECT stream_id FROM streams WHERE stream_name = ?"
        ((stream_id,),) = db.execute(query, (name,)).fetchall()
    return folder / "streams" / stream_id


def edges_of(segment: bytes) -> list[int]:
    """Tell where the frames of a segment begin."""
    return [found.start() for found in re.finditer(rb"\xffDIS", segment)]


def test_a_folder_that_a_kill_left_holds_everything(folder, whole):
    assert whole.records["scaled", 3] == [b"after the first scaling"]
    assert whole.commits["scaled", 1] == 3
    assert whole.generation == 2  # one before the kill, one since
    said, held = start(folder)
    assert (said, held) == ((), whole)
    assert len(list((folder / "streams").iterdir())) == len(STREAMS)


# --- the catalog


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_logs_without_a_catalog_are_refused_and_left_alone(stopped, whole, kind):
    catalog = stopped / "catalog.db"
    data = catalog.read_bytes()
    catalog.unlink() if kind == "missing" else catalog.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CatalogDamagedError, match="the logs of streams are there"):
            start(stopped)
    catalog.write_bytes(data)
    assert start(stopped)[1] == whole


def test_a_catalog_cut_anywhere_is_refused_and_the_logs_left_alone(stopped, whole):
    catalog = stopped / "catalog.db"
    data = catalog.read_bytes()
    for length in range(0, len(data), 5 * 509):
        catalog.write_bytes(data[:length])
        with pytest.raises(CatalogDamagedError, match=r"catalog\.db"):
            start(stopped)
    catalog.write_bytes(data)
    assert start(stopped)[1] == whole


def test_a_catalog_with_a_page_overwritten_is_refused_or_whole(stopped, whole):
    """A page that nothing is in may hold anything."""
    catalog = stopped / "catalog.db"
    data = catalog.read_bytes()
    refused = 0
    for page in range(0, len(data), 4096):
        catalog.write_bytes(data[:page] + b"\xa5" * 4096 + data[page + 4096 :])
        try:
            _, held = start(stopped)
        except Refused:
            refused += 1
        else:
            assert held == whole
        catalog.write_bytes(data)
    assert refused > len(data) // 4096 // 2


@pytest.mark.parametrize("name", ["app_name", "definition"])
def test_a_catalog_whose_rows_and_indexes_differ_is_refused(stopped, name):
    """A changed byte of a schema or an index is found by SQLite's own check of the file."""
    catalog = stopped / "catalog.db"
    data = catalog.read_bytes()
    at = data.index(name.encode())
    catalog.write_bytes(data[:at] + b"\0" + data[at + 1 :])
    with pytest.raises(CatalogDamagedError):
        start(stopped)


def test_changes_cut_off_the_end_of_the_wal_are_refused_where_logs_show_them(folder, whole):
    """SQLite takes a WAL as far as it is right. What went with the rest may be seen in the logs."""
    wal = folder / "catalog.db-wal"
    catalog, data = (folder / "catalog.db").read_bytes(), wal.read_bytes()
    outcomes = set()
    for length in range(0, len(data), 7 * 1031):
        shutil.rmtree(folder / "again", ignore_errors=True)
        copy = Path(shutil.copytree(folder, folder / "again"))
        (copy / "catalog.db").write_bytes(catalog)
        (copy / "catalog.db-wal").write_bytes(data[:length])
        try:
            said, held = start(copy)
        except Refused as exc:
            outcomes.add(type(exc))
        except Refusal as exc:
            outcomes.add(exc.code)
        else:
            # Only what nothing but the catalog tells of may be as it was before.
            assert (said, held.records) == ((), whole.records)
            outcomes.add("as it was before")
        for stream in (folder / "streams").iterdir():
            assert [p.read_bytes() for p in sorted(stream.iterdir())] == [
                p.read_bytes() for p in sorted((copy / "streams" / stream.name).iterdir())
            ]
    assert outcomes >= {CatalogDamagedError, LogDamagedError, "as it was before"}
    assert outcomes <= {*Refused, "as it was before", "DIS.4332"}  # the last: no such app


def test_records_of_a_stream_that_the_catalog_does_not_know_are_refused_and_left(stopped):
    log = log_of(stopped, "plain")
    with contextlib.closing(sqlite3.connect(stopped / "catalog.db")) as db, db:
        db.execute("DELETE FROM streams WHERE stream_name = 'plain'")
    with pytest.raises(LogDamagedError, match="no stream in the catalog") as refusal:
        start(stopped)
    assert refusal.value.path == log
    assert log.is_dir()


def test_records_of_a_partition_that_the_catalog_does_not_know_are_refused(stopped):
    with contextlib.closing(sqlite3.connect(stopped / "catalog.db")) as db, db:
        query = "SELECT definition FROM streams WHERE stream_name = 'scaled'"
        ((definition,),) = db.execute(query).fetchall()
        row = orjson.loads(definition)
        row["partitions"] = row["partitions"][:2]
        db.execute(
            "UPDATE streams SET definition = ? WHERE stream_name = 'scaled'", (orjson.dumps(row),)
        )
    with pytest.raises(LogDamagedError, match="partition 3, and the catalog has 2"):
        start(stopped)


# --- the logs


@pytest.mark.parametrize("kind", ["folder", "segments", "opening"])
def test_a_stream_whose_log_is_missing_is_refused(stopped, kind):
    """The numbers would begin anew, and what was acknowledged be gone without a word."""
    log = log_of(stopped, "plain")
    (segment,) = log.iterdir()
    match kind:
        case "folder":
            shutil.rmtree(log)
        case "segments":
            segment.unlink()
        case "opening":
            segment.write_bytes(segment.read_bytes()[:31])
    for _ in range(2):
        with pytest.raises(LogDamagedError, match="missing") as refusal:
            start(stopped)
        assert refusal.value.path == log


def test_a_log_cut_anywhere_is_repaired_and_said_and_the_others_are_whole(stopped, whole):
    (segment,) = log_of(stopped, "plain").iterdir()
    data = segment.read_bytes()
    _, *edges = edges_of(data)
    silent = []
    for length in [*edges, *range(edges[-3], len(data), 5)]:
        segment.write_bytes(data[:length])
        said, held = start(stopped)
        for place, records in held.records.items():
            kept = records if place[0] == "plain" else whole.records[place]
            assert kept == whole.records[place][: len(records)]
        assert held.commits == whole.commits
        if said:
            (line,) = said
            assert line.startswith("stream plain: ")
            assert str(segment) in line
        else:
            silent.append(length)  # between two frames nothing tells that there were more
    assert set(silent) == set(edges)


def test_a_bit_changed_anywhere_in_a_log_is_repaired_or_refused_and_said(stopped, whole):
    (segment,) = log_of(stopped, "plain").iterdir()
    data = segment.read_bytes()
    *_, before_last, last = edges_of(data)
    for place in range(before_last, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        segment.write_bytes(damaged)
        if place < last:
            with pytest.raises(LogDamagedError, match="a right frame follows") as refusal:
                start(stopped)
            assert refusal.value.path == segment
            assert segment.read_bytes() == damaged
        else:
            (line,), held = start(stopped)
            assert str(segment) in line
            assert held.records["plain", 0] == whole.records["plain", 0]
            assert held.records["plain", 1] == whole.records["plain", 1][:2]


def test_logs_of_two_streams_that_changed_places_are_refused(stopped):
    first, second = log_of(stopped, "plain"), log_of(stopped, "scaled")
    first.rename(stopped / "aside")
    second.rename(first)
    (stopped / "aside").rename(second)
    with pytest.raises(LogDamagedError, match="the catalog has 2"):
        start(stopped)


# --- what a kill in the middle of a change leaves


def test_the_log_of_a_stream_that_was_not_made_to_its_end_is_removed_and_said(stopped, whole):
    plain = log_of(stopped, "plain")
    (segment,) = plain.iterdir()
    opening = segment.read_bytes()[:32]
    for number, length in enumerate((None, 0, 10, 32)):
        rest = stopped / "streams" / f"rest{number}"
        rest.mkdir()
        if length is not None:
            (rest / segment.name).write_bytes(opening[:length])
        (line,), held = start(stopped)
        assert str(rest) in line
        assert held.records == whole.records
        assert not rest.exists()


def test_the_log_of_a_stream_that_was_being_deleted_is_removed_and_said(stopped, whole):
    log = log_of(stopped, "plain")
    stream_id = log.name
    aside = Path(shutil.copytree(log, stopped / "aside"))
    driver = Driver(stopped)
    driver.call(Streams.delete, stream_name="plain")
    driver.engine.close()
    assert not log.exists()
    # The kill came behind the catalog's change, before the log was removed.
    with contextlib.closing(Catalog.open(stopped / "catalog.db")) as catalog:
        catalog.connection.execute("INSERT INTO removed_streams VALUES (?)", (stream_id,))
    aside.rename(log)
    driver = Driver(stopped)
    (line,) = driver.engine.recovery
    driver.engine.close()
    assert str(log) in line
    assert not log.exists()
    # Once it is gone, no log of that id is taken for it again.
    log.mkdir()
    shutil.copy(next(log_of(stopped, "scaled").iterdir()), log)
    with pytest.raises(LogDamagedError, match="no stream in the catalog"):
        Driver(stopped)


def test_what_is_no_log_among_the_logs_is_left_alone(stopped, whole):
    stray = stopped / "streams" / ".DS_Store"
    stray.write_bytes(b"of somebody else")
    assert start(stopped) == ((), whole)
    assert stray.exists()
