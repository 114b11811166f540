"""Where a command calls, and as whom: flags, environment, profiles; and no secret shows."""

import os

import pytest
from commands import Command, commands_of
from programs import run_aiodis

from aiodis.cli.app import app
from aiodis.cli.connection import Connection, find
from aiodis.cli.profile import SECRETS, read_profiles
from aiodis.credentials import AccessKey, IAMPassword, StaticToken
from aiodis.errors import ConfigError

KEYS = {"HUAWEICLOUD_SDK_AK": "env-ak", "HUAWEICLOUD_SDK_SK": "env-sk"}
FILE = """
[default]
region = "cn-north-4"
project_id = "default-project"
access_key = "file-ak"
secret_key = "file-sk-secret"

[local]
endpoint = "http://127.0.0.1:8080"
retries = 0

[token]
region = "cn-north-1"
token = "file-token-secret"

[person]
region = "cn-north-1"
user_name = "u"
password = "file-password-secret"
domain_name = "d"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


@pytest.fixture
def look(file):
    """Find settings with this profile file, these variables and these flags."""

    def find_with(environ=(), **flags):
        return find(Connection(**flags), {"AIODIS_CONFIG": str(file), **dict(environ)})

    return find_with


def test_the_default_profile_is_taken_when_nothing_else_is_said(look):
    settings = look().settings
    assert (settings["region"], settings["project_id"]) == ("cn-north-4", "default-project")
    assert settings["credentials"] == AccessKey("file-ak", "file-sk-secret")


def test_the_environment_beats_the_default_profile(look):
    settings = look({**KEYS, "AIODIS_ENDPOINT": "http://127.0.0.1:1"}).settings
    assert settings["endpoint"] == "http://127.0.0.1:1"
    assert "region" not in settings
    assert settings["credentials"] == AccessKey("env-ak", "env-sk")


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_named_profile_beats_the_environment(look, by_flag):
    env = {**KEYS, "AIODIS_ENDPOINT": "http://127.0.0.1:1"}
    if not by_flag:
        env["AIODIS_PROFILE"] = "token"
    settings = look(env, profile="token" if by_flag else None).settings
    assert settings["region"] == "cn-north-1"
    assert "endpoint" not in settings
    assert settings["credentials"] == StaticToken("file-token-secret")


def test_a_profile_without_credentials_takes_those_of_the_environment(look):
    settings = look(KEYS, profile="local").settings
    assert settings["endpoint"] == "http://127.0.0.1:8080"
    assert settings["retries"] == 0
    assert settings["credentials"] == AccessKey("env-ak", "env-sk")


def test_a_profile_may_hold_a_user_of_iam(look):
    credentials = look(profile="person").settings["credentials"]
    assert credentials == IAMPassword("u", "file-password-secret", "d")


def test_flags_beat_all_else_a_setting_at_a_time(look):
    settings = look(KEYS, profile="token", region="cn-south-1", timeout=1.5, retries=7).settings
    assert (settings["region"], settings["retries"]) == ("cn-south-1", 7)
    assert settings["call_timeout_ms"] == 1500
    assert settings["credentials"] == StaticToken("file-token-secret")


def test_local_asks_neither_environment_nor_profile(look):
    settings = look({**KEYS, "AIODIS_REGION": "cn-north-1"}, local=True).settings
    assert settings["endpoint"] == "http://127.0.0.1:8080"
    assert settings["credentials"].access_key.startswith("LOCAL")


def test_nothing_configured_names_the_three_ways(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError) as error:
        find(Connection(), {"AIODIS_CONFIG": str(path)})
    for way in ("--endpoint", "--region", "AIODIS_ENDPOINT", "AIODIS_REGION", str(path)):
        assert way in str(error.value)
    with pytest.raises(ConfigError) as error:
        find(Connection(region="cn-north-4"), {"AIODIS_CONFIG": str(path)})
    for way in ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", str(path)):
        assert way in str(error.value)


def test_half_a_pair_of_keys_in_the_environment_names_the_other_half(tmp_path):
    env = {"AIODIS_CONFIG": str(tmp_path / "none"), "HUAWEICLOUD_SDK_AK": "ak"}
    with pytest.raises(ConfigError, match="HUAWEICLOUD_SDK_SK"):
        find(Connection(region="cn-north-4"), env)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nregoin = 'x'\n", "regoin is no setting"),
        ("[default]\naccess_key = 'secret-1'\n", "access_key, secret_key"),
        ("[default]\nsecret_key = 'secret-1'\n", "needs access_key beside it"),
        ("[default]\naccess_key='a'\nsecret_key='secret-1'\ntoken='secret-2'\n", "both"),
        ("[default]\naccess_key='a'\nsecret_key=17\n", "secret_key is empty"),
        ("region = 'x'\n", "outside of a profile"),
        ("[default\n", "cannot be read"),
        ("[default]\nsecret_key = 'secret-1\n", "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_wrong_profile_file_is_told_without_its_secrets(tmp_path, text, said):
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as error:
        read_profiles(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "secret-" not in str(error.value)


def test_an_unknown_profile_names_those_that_there_are(look):
    with pytest.raises(ConfigError, match=r"no profile nope in .*default, local, token, person"):
        look(profile="nope")


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [(0o644, FILE, True), (0o600, FILE, False), (0o644, "[default]\nregion = 'x'\n", False)],
)
def test_a_file_with_secrets_that_others_may_read_is_warned_of(tmp_path, mode, text, warned):
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(mode)
    _, warnings = read_profiles(path)
    assert [f"chmod 600 {path}" in line for line in warnings] == [True] * warned


def test_no_option_but_the_throwaway_keys_of_serve_takes_a_secret():
    for path, command in commands_of(app).items():
        names = {parameter.name for parameter in command.params}
        if path != ("serve",):
            assert not names & SECRETS, path


def test_the_command_uses_a_profile_and_shows_no_secret_even_in_debug(server, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        f'[here]\nendpoint = "{server.endpoint}"\nproject_id = "{server.project_id}"\n'
        f'access_key = "{server.credentials.access_key}"\n'
        'secret_key = "wrong-secret-of-mine"\n'
    )
    path.chmod(0o644)
    clean = {name: "" for name in os.environ if name.startswith(("AIODIS_", "HUAWEICLOUD_"))}
    for debug in ("", "1"):
        done = run_aiodis(
            *("streams", "list", "--profile", "here"),
            **clean | {"AIODIS_CONFIG": str(path), "AIODIS_DEBUG": debug},
        )
        assert done.returncode == 5
        assert "wrong-secret-of-mine" not in done.stdout + done.stderr
        assert ("Traceback" in done.stderr) == bool(debug)
        assert "warning: " in done.stderr
    right = path.read_text().replace("wrong-secret-of-mine", server.credentials.secret_key)
    path.write_text(right)
    done = run_aiodis("streams", "list", "--profile", "here", AIODIS_CONFIG=str(path))
    assert done.returncode == 0


def test_flags_may_stand_before_the_command_too(aiodis: Command):
    before = aiodis("--endpoint", "http://127.0.0.1:1", "--retries", 0, "streams", "list")
    assert before.code == 3
    both = ("--endpoint", "http://127.0.0.1:1", "streams", "list", "--json")
    server = os.environ["AIODIS_ENDPOINT"]
    assert aiodis.ok(*both, "--endpoint", server).json["total_number"] >= 0
