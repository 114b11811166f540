"""put, tail, lag and checkpoint over a socket, as a user chains them."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from aiodis.cli.put import key_reader

_numbers = count()


@pytest.fixture
def stream(aiodis):
    """A new stream with two partitions."""
    name = f"flow-{next(_numbers)}"
    aiodis.ok("streams", "create", name, "--partition-count", 2)
    return name


@pytest.fixture
def program(aiodis):
    """The program with pipes, in the environment that `aiodis` has."""
    del aiodis
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "aiodis", *map(str, arguments)],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            | options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lines(tmp_path, text, name="lines"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def tailed(aiodis, stream, *options):
    ended = aiodis.ok("tail", stream, "--no-follow", "--json", *options)
    return [json.loads(line) for line in ended.out.splitlines()]


# put


def test_lines_come_back_as_they_were_put(aiodis, stream, tmp_path):
    data = b"one\n\x00\xff\xfe\n\r\nthree \xc3\xbc\n\nlast"
    ended = aiodis.ok("put", stream, lines(tmp_path, data), "--partition-id", 0)
    assert "4 records" in ended.err
    assert "2 empty lines passed over" in ended.err
    out = aiodis.ok("tail", stream, "--no-follow").out
    assert out == b"one\n\x00\xff\xfe\nthree \xc3\xbc\nlast\n"
    nulls = aiodis.ok("tail", stream, "--no-follow", "--delimiter", "null").out
    assert nulls == out.replace(b"\n", b"\0")
    records = tailed(aiodis, stream)
    assert [record.get("data") for record in records] == ["one", None, "three ü", "last"]
    assert records[1]["data_base64"] == "AP/+"
    assert [record["sequence_number"] for record in records] == [0, 1, 2, 3]
    assert {record["partition_id"] for record in records} == {"shardId-0000000000"}


def test_stdin_is_put_and_the_summary_is_json_on_request(program, stream):
    out, err = program("put", stream, "--json").communicate(b"a\nb\n", timeout=60)
    summary = json.loads(out)
    assert (summary["delivered"], summary["failed"], summary["bytes"]) == (2, 0, 2)
    assert err == b""


def test_whole_files_are_records_of_any_bytes(aiodis, stream, tmp_path):
    first, second = lines(tmp_path, b"a\n\nb\r\n", "1"), lines(tmp_path, bytes(range(256)), "2")
    aiodis.ok("put", stream, first, second, "--whole-files", "--partition-id", 1, "--quiet")
    out = aiodis.ok("tail", stream, "--no-follow", "--delimiter", "none").out
    assert out == first.read_bytes() + second.read_bytes()


@pytest.mark.parametrize(
    ("options", "line", "key"),
    [
        ({"key": "k"}, b"anything", "k"),
        ({"field": "user"}, b'{"user": "u"}', "u"),
        ({"field": "user.id"}, b'{"user": {"id": 7}}', "7"),
        ({"field": "user"}, b'{"user": true}', "true"),
        ({"field": "user"}, b'{"user": null}', None),
        ({"field": "user"}, b'{"user": {"id": 7}}', None),
        ({"field": "user.id"}, b'{"user": 7}', None),
        ({"field": "user"}, b"[1]", None),
        ({"field": "user"}, b"no json", None),
        ({"regex": r"\d+"}, b"abc 42 d", "42"),
        ({"regex": r"user=(\w+)"}, b"x user=u1 y", "u1"),
        ({"regex": r"user=(\w+)?"}, b"x user=", None),
        ({"regex": r"\d"}, b"none", None),
        ({"regex": r"x."}, b"x\xff", "x\\xff"),
    ],
)
def test_a_key_is_found_in_a_line(options, line, key):
    assert key_reader(**{"key": None, "field": None, "regex": None} | options)(line) == key


def test_records_of_a_key_are_in_one_partition(aiodis, stream, tmp_path):
    text = "".join(json.dumps({"user": f"u{n % 7}", "n": n}) + "\n" for n in range(70))
    aiodis.ok("put", stream, lines(tmp_path, text), "--key-field", "user", "--ordering", "key")
    homes: dict[str, set[str]] = {}
    for record in tailed(aiodis, stream):
        assert json.loads(record["data"])["user"] == record["partition_key"]
        homes.setdefault(record["partition_key"], set()).add(record["partition_id"])
    assert [len(found) for found in homes.values()] == [1] * 7


def test_a_line_without_a_key_stops_unless_told_otherwise(aiodis, stream, tmp_path):
    path = lines(tmp_path, '{"u": 1}\nno json\n{"u": 2}\n')
    stopped = aiodis("put", stream, path, "--key-field", "u")
    assert stopped.code == 1
    assert f"{path}:2: it has no key" in stopped.err
    assert "1 records" in stopped.err  # the line before it was sent
    skipped = aiodis.ok("put", stream, path, "--key-field", "u", "--missing-key", "skip")
    assert "2 records" in skipped.err
    assert "1 without a key" in skipped.err
    without = aiodis.ok("put", stream, path, "--key-field", "u", "--missing-key", "none")
    assert "3 records" in without.err
    assert len(tailed(aiodis, stream)) == 1 + 2 + 3


@pytest.mark.parametrize(
    "options",
    [
        ("--key", "a", "--key-field", "b"),
        ("--key-regex", "("),
        ("--ordering", "random"),
        ("--partition-id", "first"),
    ],
)
def test_put_with_wrong_options_is_wrong_usage(aiodis, stream, tmp_path, options):
    ended = aiodis("put", stream, lines(tmp_path, "a\n"), *options)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_put_from_a_missing_file_says_which(aiodis, stream, tmp_path):
    ended = aiodis("put", stream, tmp_path / "none", "--quiet")
    assert ended.code == 1
    assert ended.err == f"aiodis: {tmp_path / 'none'}: No such file or directory\n"


def test_refused_records_are_told_by_their_lines(aiodis, stream, tmp_path):
    path = lines(tmp_path, "a\nb\n")
    ended = aiodis("put", stream, path, "--partition-id", 7)
    assert ended.code == 1
    assert f"{path}:1: " in ended.err
    assert "2 not delivered" in ended.err


def test_a_deleted_stream_is_not_found(aiodis, tmp_path):
    assert aiodis("put", "never-made", lines(tmp_path, "a\n")).code == 4
    assert aiodis("tail", "never-made").code == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_put_that_is_ended_sends_what_it_had_accepted(program, aiodis, stream, number, code):
    process = program("put", stream, "--partition-id", 0)
    process.stdin.write(b"accepted\n")
    process.stdin.flush()
    while not tailed(aiodis, stream):  # the program has to have read the line
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in err
    assert b"1 records" in err


def test_put_shows_its_progress_on_a_terminal_only(program, stream, tmp_path):
    ours, theirs = pty.openpty()
    process = program("put", stream, lines(tmp_path, "a\n" * 5000), stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert b"5,000 records" in shown
    assert b"\x1b[" in shown  # a bar is drawn


# tail


def test_tail_follows_what_comes(program, aiodis, stream, tmp_path):
    process = program("tail", stream, "--from", "earliest", "-n", 3)
    aiodis.ok("put", stream, lines(tmp_path, "a\nb\n"), "--partition-id", 0)
    aiodis.ok("put", stream, lines(tmp_path, "c\nd\n"), "--partition-id", 0)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == (b"a\nb\nc\n", b"", 0)


def test_tail_of_one_partition_from_a_number_or_a_time(aiodis, stream, tmp_path):
    for partition in (0, 1):
        path = lines(tmp_path, f"{partition}a\n{partition}b\n{partition}c\n")
        aiodis.ok("put", stream, path, "--partition-id", partition)
    assert aiodis.ok("tail", stream, "--no-follow", "--partition-id", 1).text == "1a\n1b\n1c\n"
    one = ("tail", stream, "--no-follow", "--partition-id", "shardId-0000000001")
    assert aiodis.ok(*one, "--from", 2).text == "1c\n"
    assert aiodis.ok(*one, "--from", "latest").text == ""
    assert len(aiodis.ok("tail", stream, "--no-follow", "--from", "1h").text.split()) == 6
    assert aiodis.ok("tail", stream, "--no-follow", "--from", "2100-01-01T00:00Z").text == ""
    third = tailed(aiodis, stream, "--partition-id", 1)[2]
    since = datetime.fromtimestamp(third["timestamp"] / 1000, UTC).isoformat()
    assert aiodis.ok(*one, "--from", since).text.endswith("1c\n")


@pytest.mark.parametrize(
    "options",
    [
        ("--from", "42"),
        ("--from", "yesterday"),
        ("--partition-id", "x"),
        ("--app", "a", "--from", "1h"),
        ("-n", "0"),
    ],
)
def test_tail_with_wrong_options_is_wrong_usage(aiodis, stream, options):
    ended = aiodis("tail", stream, *options)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 2


def test_tail_of_a_partition_that_is_not_there_says_so(aiodis, stream):
    ended = aiodis("tail", stream, "--partition-id", 9)
    assert ended.code == 1
    assert "no partition 9" in ended.err


def test_tail_without_an_app_leaves_none_behind(aiodis, stream, tmp_path):
    aiodis.ok("put", stream, lines(tmp_path, "a\n"))
    before = aiodis.ok("apps", "list", "--all", "--json").out
    aiodis.ok("tail", stream, "--no-follow")
    assert aiodis.ok("apps", "list", "--all", "--json").out == before


def test_tail_as_an_app_goes_on_where_it_ended(aiodis, stream, tmp_path):
    aiodis.ok("put", stream, lines(tmp_path, "a\nb\nc\n"), "--partition-id", 0)
    tail = ("tail", stream, "--app", stream, "--from", "earliest", "--no-follow")
    assert aiodis.ok(*tail, "-n", 2).text == "a\nb\n"
    assert aiodis.ok(*tail).text == "c\n"
    assert aiodis.ok(*tail).text == ""
    aiodis.ok("put", stream, lines(tmp_path, "d\n"), "--partition-id", 0)
    assert aiodis.ok(*tail).text == "d\n"


def test_tail_as_an_app_of_one_partition_leaves_the_others_checkpoints_alone(
    aiodis, stream, tmp_path
):
    for partition in (0, 1):
        aiodis.ok("put", stream, lines(tmp_path, "a\n"), "--partition-id", partition)
    tail = ("tail", stream, "--app", stream, "--from", "earliest", "--no-follow")
    assert aiodis.ok(*tail, "--partition-id", 1).text == "a\n"
    shown = aiodis.ok("checkpoint", "show", stream, "--app", stream, "--json").json
    assert [place.get("checkpoint") for place in shown] == [None, 1]


def test_a_reader_that_goes_away_ends_tail_quietly(program, aiodis, stream, tmp_path):
    aiodis.ok("put", stream, lines(tmp_path, "a\n" * 50_000), "--rate-limit", "off")
    process = program("tail", stream, "--from", "earliest")
    assert process.stdout.readline() == b"a\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_tail_ends_quietly_when_told_to(program, aiodis, stream, tmp_path, number, code):
    aiodis.ok("put", stream, lines(tmp_path, "a\n"))
    process = program("tail", stream, "--from", "earliest")
    assert process.stdout.readline() == b"a\n"
    process.send_signal(number)
    assert process.wait(60) == code
    assert process.stderr.read() == b""


# lag and checkpoints


def test_lag_counts_what_is_behind_the_checkpoints(aiodis, stream, tmp_path):
    assert aiodis("lag", stream, "--app", "never-made").code == 4
    app = ("--app", stream)
    aiodis.ok("apps", "create", stream)
    aiodis.ok("put", stream, lines(tmp_path, "a\nb\nc\n"), "--partition-id", 0)
    assert aiodis.ok("lag", stream, *app, "--json").json["lag"] == 3
    aiodis.ok("checkpoint", "set", stream, 2, *app, "--partition-id", 0, "--metadata", "m")
    found = aiodis.ok("lag", stream, *app, "--json").json
    assert found["lag"] == 1
    first, second = found["partitions"]
    place = {"partition_id": "shardId-0000000000", "checkpoint": 2, "oldest": 0, "next": 3}
    assert first == {**place, "lag": 1, "metadata": "m"}
    assert "checkpoint" not in second
    last = aiodis.ok("lag", stream, *app, "--json", "--checkpoint-convention", "last").json
    assert last["lag"] == 0
    shown = aiodis.ok("lag", stream, *app).text.splitlines()
    assert shown[0].split() == ["partition_id", "checkpoint", "oldest", "next", "lag", "metadata"]
    assert shown[1].split() == ["shardId-0000000000", "2", "0", "3", "1", "m"]
    assert shown[2].split() == ["shardId-0000000001", "none", "0", "0", "0"]
    assert shown[-1] == "lag 1"
    assert aiodis("lag", stream, *app, "--fail-above", 1).code == 0
    late = aiodis("lag", stream, *app, "--fail-above", 0)
    assert (late.code, "1 records behind" in late.err) == (1, True)


@pytest.mark.parametrize(
    ("to", "held"),
    [
        (("earliest",), [0, 0]),
        (("latest",), [3, 0]),
        (("2", "--partition-id", "0"), [2, None]),
        (("1h",), [0, 0]),
        (("2100-01-01T00:00Z",), [3, 0]),
        (("latest", "--checkpoint-convention", "last"), [2, None]),
    ],
)
def test_checkpoints_are_reset_to_a_place_and_deleted(aiodis, stream, tmp_path, to, held):
    app = ("--app", stream)
    aiodis.ok("apps", "create", stream)
    aiodis.ok("put", stream, lines(tmp_path, "a\nb\nc\n"), "--partition-id", 0)
    moved = aiodis.ok("checkpoint", "reset", stream, *app, "--yes", "--json", "--to", *to).json
    show = ("checkpoint", "show", stream, *app, "--json")
    found = [place.get("checkpoint") for place in aiodis.ok(*show).json]
    assert found == held
    assert list(moved.values()) == [number for number in held if number is not None] or None in held
    aiodis.ok("checkpoint", "reset", stream, *app, "--to", "none", "--yes")
    assert [place.get("checkpoint") for place in aiodis.ok(*show).json] == [None, None]


def test_a_reset_that_nobody_confirms_changes_nothing(program, stream):
    process = program("checkpoint", "reset", stream, "--app", "x", "--to", "latest")
    _, err = process.communicate(b"y\n", timeout=60)
    assert process.returncode == 2
    assert b"--yes" in err


def test_tail_and_put_form_a_pipe(program, aiodis, stream):
    aiodis.ok("streams", "create", f"{stream}-copy", "--partition-count", 1)
    tail = program("tail", stream, "--from", "earliest", "-n", 1000)
    put = program("put", f"{stream}-copy", stdin=tail.stdout)
    source = program("put", stream, "--partition-id", 1)
    out, err = source.communicate("".join(f"{n}\n" for n in range(1000)).encode(), timeout=60)
    assert source.returncode == 0, (out, err)
    assert tail.wait(60) == 0
    assert put.wait(60) == 0
    copied = aiodis.ok("tail", f"{stream}-copy", "--no-follow").text.split()
    assert copied == [str(n) for n in range(1000)]


def test_memory_does_not_grow_with_the_input(program, stream):
    process = program("put", stream, "--rate-limit", "off", "--quiet")
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    for _ in range(300):
        process.stdin.write((b"x" * 10_000 + b"\n") * 100)  # 300 MB in all
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    _, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, b"")
    assert int(peak.split()[1]) < 250 * 1024
