"""A server in this process on a thread of its own, and the command run against it."""

import pytest
from commands import Command

from aiodis.server import LocalDIS
from aiodis.testing.server_thread import ServerThread


@pytest.fixture(scope="module")
def server():
    """An embedded DIS over a socket, without limits; commands and it do not share a loop."""
    local = LocalDIS(limits=False)
    with ServerThread() as thread:
        thread.run(local.start())
        yield local
        thread.run(local.stop())


@pytest.fixture
def nothing_set(monkeypatch, tmp_path):
    """No variable and no profile file says where to call."""
    import os

    for name in list(os.environ):
        if name.startswith(("AIODIS_", "HUAWEICLOUD_SDK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIODIS_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


@pytest.fixture
def aiodis(server, nothing_set, monkeypatch, capfdbinary):
    """Run `aiodis …` in this process, with the server in the environment."""
    del nothing_set
    monkeypatch.setenv("AIODIS_ENDPOINT", server.endpoint)
    monkeypatch.setenv("AIODIS_PROJECT_ID", server.project_id)
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", server.credentials.access_key)
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", server.credentials.secret_key)
    return Command(capfdbinary)
