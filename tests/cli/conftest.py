"""A server in this process on a thread of its own, and the command run against it."""

import asyncio
import threading

import pytest
from commands import Command

from aiodis.server import LocalDIS


@pytest.fixture(scope="module")
def server():
    """An embedded DIS over a socket, without limits; commands and it do not share a loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    local = LocalDIS(limits=False)
    asyncio.run_coroutine_threadsafe(local.start(), loop).result(20)
    yield local
    asyncio.run_coroutine_threadsafe(local.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


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
