"""How commands end: exit codes that scripts can use, and a line or two on stderr."""

import subprocess
import sys

import pytest
from commands import commands_of
from programs import run_aiodis

from aiodis import errors
from aiodis.cli.app import app
from aiodis.cli.outcome import EXIT_CODES, NotAllDoneError, exit_code

SERVICE = {"status": 400, "code": "DIS.4200"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidRequestError("x", **SERVICE), 1),
        (errors.AlreadyExistsError("x", **SERVICE), 1),
        (errors.QuotaError("x", **SERVICE), 1),
        (errors.RecordError("x"), 1),
        (errors.DecodeError("x", status=200, head=b""), 1),
        (NotAllDoneError("x"), 1),
        (errors.ConfigError("x"), 2),
        (errors.ParameterError("x", "y", 1, "z"), 2),
        (errors.ConnectError("x"), 3),
        (errors.CertificateError("x"), 3),
        (errors.RequestTimeoutError("x"), 3),
        (errors.CircuitOpenError("x"), 3),
        (errors.NotFoundError("x", **SERVICE), 4),
        (errors.AuthError("x", **SERVICE), 5),
        (errors.CircuitOpenError("x", refused=True), 5),
        (errors.ThrottledError("x", **SERVICE), 6),
        (errors.ServerError("x", **SERVICE), 6),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert exit_code(error) == code


def test_exit_codes_are_told_apart():
    codes = [ending.code for ending in EXIT_CODES]
    assert codes == sorted(set(codes))
    assert all(ending.meaning.endswith(".") for ending in EXIT_CODES)


def test_real_endings(aiodis, monkeypatch):
    assert aiodis("streams", "describe", "nope").code == 4
    none = aiodis("streams", "list", "--endpoint", "http://127.0.0.1:1", "--retries", 0)
    assert (none.code, len(none.err.splitlines())) == (3, 1)
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", "a-secret-that-is-wrong")
    refused = aiodis("streams", "list")
    assert refused.code == 5
    assert len(refused.err.splitlines()) <= 2
    assert "a-secret-that-is-wrong" not in refused.err


def test_nothing_configured_is_one_line_and_2(aiodis, nothing_set, monkeypatch):
    for name in ("AIODIS_ENDPOINT", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"):
        monkeypatch.delenv(name)
    ended = aiodis("streams", "list")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert str(nothing_set) in ended.err


@pytest.mark.parametrize(
    "endpoint", ["ftp://x", "http://example.com", "http://u:p@127.0.0.1", "http://127.0.0.1:x"]
)
def test_a_wrong_endpoint_is_one_line_and_2(aiodis, endpoint):
    ended = aiodis("streams", "list", "--endpoint", endpoint)
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)


def test_debug_shows_the_traceback_behind_an_error(aiodis):
    ended = aiodis("streams", "describe", "nope", "--debug")
    assert ended.code == 4
    assert "Traceback" in ended.err


def test_no_command_at_all_shows_the_help_and_exits_with_2(aiodis):
    for words in ((), ("streams",), ("checkpoint",)):
        ended = aiodis(*words)
        assert ended.code == 2
        assert "Commands:" in ended.err
        assert ("--install-completion" in ended.err) == (not words)


@pytest.mark.parametrize("path", [pytest.param(p, id=" ".join(p)) for p in commands_of(app)])
def test_every_command_has_help_with_an_example(aiodis, path):
    ended = aiodis.ok(*path, "--help")
    assert "Usage: aiodis" in ended.text
    if path != ("serve",):
        assert "Example: " in ended.text
        assert " ".join(path) in ended.text.split("Example: ")[1]


def test_completion_is_there():
    shown = run_aiodis(
        "--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert shown.returncode == 0
    assert "_AIODIS_COMPLETE" in shown.stdout
    words = run_aiodis(
        _AIODIS_COMPLETE="complete_bash", COMP_WORDS="aiodis streams cr", COMP_CWORD="2"
    )
    assert words.stdout.split() == ["create"]


def test_the_package_never_imports_typer_and_the_command_no_more_than_it_needs():
    def loaded(statement):
        code = f"{statement}; import sys; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split())

    assert not loaded("import aiodis") & {"typer", "click", "rich"}
    assert not loaded("import aiodis.cli.app") & {"rich.table", "rich.progress", "sqlite3"}
