"""The pytest plugin of aiodis: fixtures that hand out sandboxes on an embedded DIS.

It stands beside the package, not in it, and imports nothing of it until a fixture or the
mark is used: every test run on a machine with aiodis loads this file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aiodis import DISClient
    from aiodis.server import LocalDIS
    from aiodis.testing import Sandbox, SandboxStream
    from aiodis.testing.hosts import InLoop, LocalHost
    from aiodis.testing.wishes import Wishes

__all__ = ["dis", "dis_client", "dis_inloop", "dis_server", "dis_stream"]

_MARK = (
    'dis(streams={"orders": 3}, limits="strict"|"off", clock="real"|"manual"|"auto",'
    ' quotas={"common_partition": 200}, transitions=Transitions(...)):'
    " what the test asks of the embedded DIS of aiodis"
)
_USED = pytest.StashKey[list[Any]]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", _MARK)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """See that each mark asks for what there is, before anything runs."""
    if hasattr(config, "workerinput"):
        return  # xdist takes no usage error from a worker: there the test fails
    for item in items:
        if item.get_closest_marker("dis") is not None:
            _wishes(item, pytest.UsageError)


@pytest.fixture(scope="session")
def _dis_host() -> Iterator[LocalHost]:
    from aiodis.testing.hosts import LocalHost  # noqa: PLC0415 - heavy

    with LocalHost() as host:
        yield host


@pytest.fixture(scope="session")
def dis_server(_dis_host: LocalHost) -> LocalDIS:
    """Give the embedded DIS that the tests of this process share, on a thread of its own."""
    return _dis_host.server


@pytest.fixture
def dis(request: pytest.FixtureRequest, _dis_host: LocalHost) -> Iterator[Sandbox]:
    """Give the test a sandbox: a project of its own, on the shared server if that will do."""
    with _dis_host.sandbox(_wishes(request.node)) as sandbox:
        _remember(request.node, sandbox)
        yield sandbox


@pytest.fixture
def dis_inloop(request: pytest.FixtureRequest) -> InLoop:
    """Give a sandbox whose server runs in the test's loop: `async with dis_inloop as dis`."""
    from aiodis.testing.hosts import InLoop  # noqa: PLC0415 - heavy

    found = InLoop(_wishes(request.node))
    _remember(request.node, found)
    return found


@pytest.fixture
def dis_client(dis: Sandbox) -> DISClient:
    """Give a client of the sandbox `dis`: `async with dis_client as client`."""
    return dis.client()


@pytest.fixture
def dis_stream(request: pytest.FixtureRequest, dis: Sandbox) -> SandboxStream:
    """Give a stream of the sandbox `dis`: the mark's first one, else `events`."""
    streams = _wishes(request.node).streams
    return dis.stream(streams[0].stream_name) if streams else dis.create_stream()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach to a failed test what its DIS saw."""
    report = yield
    if report.failed:
        for used in item.stash.get(_USED, []):
            report.sections.append((f"aiodis {report.when}", used.describe()))
    return report


def _remember(item: pytest.Item, used: Any) -> None:
    item.stash.setdefault(_USED, []).append(used)


def _failure(message: str) -> BaseException:
    return pytest.fail.Exception(message, pytrace=False)


def _wishes(item: pytest.Item, wrong: Callable[[str], BaseException] = _failure) -> Wishes:
    """Read the marks of a test, the nearest of which counts."""
    from aiodis.errors import ConfigError  # noqa: PLC0415 - heavy
    from aiodis.testing.wishes import read_wishes  # noqa: PLC0415 - heavy

    marks = reversed(list(item.iter_markers("dis")))
    try:
        return read_wishes((mark.args, mark.kwargs) for mark in marks)
    except ConfigError as exc:
        raise wrong(f"{item.nodeid}: @pytest.mark.dis: {exc}") from None
