"""`aiodis serve`, as an operator meets it."""

import json

import pytest
from programs import ServerProcess, run_aiodis

from aiodis import AuthError, Credentials, DISClient, QuotaError
from aiodis.testing.remote import RemoteDIS


async def test_it_serves_until_sigterm_and_keeps_its_data(tmp_path):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        assert server.said[-1] == f"aiodis: listening on http://127.0.0.1:{server.port}"
        async with DISClient(**server.client_settings) as dis:
            await dis.streams.create(stream_name="kept", partition_count=2)
        assert server.stop() == 0
        server.start()
        async with DISClient(**server.client_settings) as dis:
            assert (await dis.streams.list()).stream_names == ["kept"]
        assert server.stop() == 0


async def test_it_serves_accounts_over_tls(tmp_path):
    file = tmp_path / "accounts.json"
    keys = [{"access_key": "AK", "secret_key": "SK"}]
    users = [{"name": "ann", "keys": keys, "actions": ["dis:streams:list"]}]
    accounts = [{"name": "shop", "project_id": "shop-project", "users": users}]
    file.write_text(json.dumps({"accounts": accounts}))
    with ServerProcess(tmp_path / "data", "--tls", "--accounts", str(file), keys=()) as server:
        server.start()
        endpoint = server.said[-1].removeprefix("aiodis: listening on ")
        assert endpoint == f"https://127.0.0.1:{server.port}"
        ca_file = tmp_path / "data" / "tls" / "ca.pem"
        settings = {"endpoint": endpoint, "project_id": "shop-project", "ca_file": ca_file}
        key = Credentials.static("AK", "SK")
        async with DISClient(**settings, credentials=key, retries=0) as dis:
            assert (await dis.streams.list()).total_number == 0
            with pytest.raises(AuthError, match="dis:streams:create"):
                await dis.streams.create(stream_name="s", partition_count=1)
        assert server.stop() == 0
        assert f"aiodis:   AIODIS_CA_FILE={ca_file}" in server.said
        assert not [line for line in server.said if "built-in" in line]


async def test_quotas_and_the_time_that_changes_take_are_options(tmp_path):
    options = ("--quota", "common_partition=2", "--quota", "app=0", "--transition-ms", "60000")
    with ServerProcess(tmp_path / "data", *options) as server:
        server.start()
        async with DISClient(**server.client_settings) as dis:
            await dis.streams.create(stream_name="s", partition_count=2)
            assert (await dis.streams.describe(stream_name="s")).status == "CREATING"
            with pytest.raises(QuotaError, match="2 used, 1 more asked, 2 allowed"):
                await dis.streams.create(stream_name="t", partition_count=1)
            with pytest.raises(QuotaError, match="app quota exceeded"):
                await dis.apps.create(app_name="a")
    for wrong in ("streams=5", "app", "app=x", "app=-1"):
        done = run_aiodis("serve", "--port", "0", "--quota", wrong)
        assert done.returncode == 1
        assert done.stderr.startswith("aiodis: ")
        assert done.stderr.count("\n") == 1


def test_the_ready_file_holds_the_endpoint_while_it_runs(tmp_path):
    ready = tmp_path / "ready"
    with ServerProcess(tmp_path / "data", "--ready-file", str(ready)) as server:
        server.start()
        assert ready.read_text().strip() == f"http://127.0.0.1:{server.port}"
        server.stop()
    assert not ready.exists()


def test_mistakes_are_one_line_and_a_status(tmp_path):
    with ServerProcess(tmp_path / "data") as server:
        server.start()
        in_use = run_aiodis("serve", "--port", "0", "--data", str(server.data))
        taken = run_aiodis("serve", "--port", str(server.port))
    remote = run_aiodis("serve", "--host", "0.0.0.0")
    known_keys = run_aiodis("serve", "--host", "0.0.0.0", "--allow-remote")
    file = tmp_path / "file"
    file.write_text("not a folder")
    not_folder = run_aiodis("serve", "--port", "0", "--data", str(file))
    bad_accounts = run_aiodis("serve", "--port", "0", "--accounts", str(file))
    no_accounts = run_aiodis("serve", "--port", "0", "--accounts", str(tmp_path / "missing"))
    bad_tls = run_aiodis("serve", "--port", "0", "--tls-cert", str(file))
    lone_key = run_aiodis("serve", "--port", "0", "--tls-key", str(file))
    for done, said in [
        (in_use, "data folder"),
        (taken, str(server.port)),
        (remote, "--allow-remote"),
        (known_keys, "keys are known to everyone"),
        (not_folder, str(file)),
        (bad_accounts, f"the accounts file {file}"),
        (no_accounts, "No such file"),
        (bad_tls, str(file)),
        (lone_key, "tls_cert"),
    ]:
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "http"),
        ("serve", "--nonsense"),
        ("nonsense",),
    ],
)
def test_wrong_usage_exits_with_2_and_says_where_help_is(arguments):
    done = run_aiodis(*arguments)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version():
    assert "aiodis 0." in run_aiodis("--version").stdout
    helped = run_aiodis("serve", "--help").stdout
    for option in ("--host", "--port", "--data", "--project-id", "--access-key", "--secret-key"):
        assert option in helped
    for option in ("--region", "--anonymous", "--no-limits", "--allow-remote", "--ready-file"):
        assert option in helped
    for option in ("--accounts", "--tls", "--tls-cert", "--tls-key"):
        assert option in helped


def test_its_clock_may_be_one_that_is_moved(tmp_path):
    with ServerProcess(tmp_path / "data", "--clock", "manual") as server:
        server.start()
        there = RemoteDIS(server.client_settings["endpoint"])
        before = there.clock.now_ms()
        there.clock.advance(hours=1)
        assert there.clock.now_ms() == before + 3_600_000
        assert there.clock.kind == "manual"
    wrong = run_aiodis("serve", "--port", "0", "--clock", "sundial")
    assert wrong.returncode == 2
    assert "sundial" in wrong.stderr
