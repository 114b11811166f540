"""`aiodis serve`, as an operator meets it."""

import pytest
from programs import ServerProcess, run_aiodis

from aiodis import DISClient


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
    for done, said in [
        (in_use, "data folder"),
        (taken, str(server.port)),
        (remote, "--allow-remote"),
        (known_keys, "keys are known to everyone"),
        (not_folder, str(file)),
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
