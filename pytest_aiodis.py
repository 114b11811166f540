"""The pytest plugin of aiodis: fixtures that hand out sandboxes on an embedded DIS.

It stands beside the package, not in it, and imports nothing of it until a fixture or the
mark is used: every test run on a machine with aiodis loads this file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from aiodis import DISClient
    from aiodis.server import LocalDIS
    from aiodis.testing import Sandbox, SandboxStream
    from aiodis.testing.hosts import InLoop, LocalHost
    from aiodis.testing.remote import RemoteDIS
    from aiodis.testing.remote_sandbox import RemoteHost
    from aiodis.testing.wishes import Wishes

__all__ = ["dis", "dis_client", "dis_inloop", "dis_server", "dis_stream"]

_MARK = (
    'dis(streams={"orders": 3}, limits="strict"|"off", clock="real"|"manual"|"auto",'
    ' quotas={"common_partition": 200}, transitions=Transitions(...)):'
    " what the test asks of the embedded DIS of aiodis"
)
_USED = pytest.StashKey[list[Any]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the server to test against, where it is not to be one of this process."""
    parser.getgroup("aiodis").addoption(
        "--dis-endpoint",
        metavar="URL",
        help="test against a DIS that runs; project and keys are those of the environment"
        " (AIODIS_PROJECT_ID, HUAWEICLOUD_SDK_AK, ...), or a local server's built-in ones",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which DIS is tested against, where it is not one of this process."""
    endpoint = config.getoption("--dis-endpoint")
    return f"aiodis: DIS at {endpoint}" if endpoint else None


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
def _dis_host(pytestconfig: pytest.Config) -> Iterator[LocalHost | RemoteHost]:
    from aiodis.errors import DISError  # noqa: PLC0415 - heavy
    from aiodis.testing.hosts import LocalHost  # noqa: PLC0415 - heavy
    from aiodis.testing.remote_sandbox import RemoteHost  # noqa: PLC0415 - heavy

    endpoint = pytestconfig.getoption("--dis-endpoint")
    try:
        host = RemoteHost(endpoint, unable=_skip) if endpoint else LocalHost()
    except DISError as exc:
        raise _failure(f"--dis-endpoint {endpoint}: {exc}") from None
    with host:
        yield host


@pytest.fixture(scope="session")
def dis_server(_dis_host: LocalHost | RemoteHost) -> LocalDIS | RemoteDIS:
    """Give the embedded DIS that the tests of this process share, on a thread of its own."""
    return _dis_host.server


@pytest.fixture
def dis(request: pytest.FixtureRequest, _dis_host: LocalHost | RemoteHost) -> Iterator[Sandbox]:
    """Give the test a sandbox: a project of its own, on the shared server if that will do."""
    with _dis_host.sandbox(_wishes(request.node)) as sandbox:
        _remember(request.node, sandbox)
        yield sandbox


@pytest.fixture
def dis_inloop(request: pytest.FixtureRequest) -> InLoop:
    """Give a sandbox whose server runs in the test's loop: `async with dis_inloop as dis`."""
    from aiodis.testing.hosts import InLoop  # noqa: PLC0415 - heavy

    if request.config.getoption("--dis-endpoint"):
        pytest.skip("dis_inloop is a server of its own: not with --dis-endpoint")
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


def _skip(reason: str) -> NoReturn:
    pytest.skip(reason)


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
