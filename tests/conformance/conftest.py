"""The conformance suite: checks of a DIS from outside, against the embedded one or any endpoint.

A run makes two streams of two partitions, and deletes them; names are new each time. With
`--dis-report FILE` it writes what held and what differed, as JSON or (`.md`) Markdown.
"""

import json
from pathlib import Path

import pytest

from aiodis import DISClient
from aiodis.testing.sandbox import new_name
from aiodis.testing.wishes import Wishes

LABELS = ("documented", "seen in the SDK", "guessed", "verified live")
_FOUND = pytest.StashKey[list[dict[str, str]]]()


def pytest_addoption(parser):
    group = parser.getgroup("aiodis")
    group.addoption("--dis-report", metavar="FILE", help="write what the conformance checks found")
    group.addoption(
        "--dis-scaling", action="store_true", help="check scaling too: slow, and counts per hour"
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "conformance(label, source): a check of the service's behaviour, and whence"
    )
    config.stash[_FOUND] = []


def pytest_collection_modifyitems(config, items):
    for item in items:
        if (mark := item.get_closest_marker("conformance")) and mark.args[0] not in LABELS:
            raise pytest.UsageError(f"{item.nodeid}: {mark.args[0]!r} is none of {LABELS}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    mark = item.get_closest_marker("conformance")
    if mark and (report.when == "call" or not report.passed):
        what = {"passed": "held", "failed": "differed", "skipped": "not checked"}[report.outcome]
        detail = str(call.excinfo.value).splitlines()[0] if call.excinfo else ""
        label, source = mark.args
        found = {"check": item.name, "label": label, "source": source, "found": what}
        item.config.stash[_FOUND].append({**found, "detail": detail})
    return report


def pytest_sessionfinish(session):
    config = session.config
    if target := config.getoption("--dis-report", default=None):
        endpoint = config.getoption("--dis-endpoint", default=None) or "embedded"
        Path(target).write_text(_written(target, endpoint, config.stash[_FOUND]))


def _written(target, endpoint, found):
    if not target.endswith(".md"):
        return json.dumps({"endpoint": endpoint, "checks": found}, indent=2) + "\n"
    lines = [f"# Conformance of {endpoint}", "", "| check | label | source | found | detail |"]
    lines.append("| --- | --- | --- | --- | --- |")
    lines += [
        "| " + " | ".join(value.replace("|", "\\|") for value in row.values()) + " |"
        for row in found
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def sandbox(_dis_host):
    with _dis_host.sandbox(Wishes()) as made:
        yield made


@pytest.fixture(scope="session")
def stream(sandbox):
    """The stream that most checks share; each looks only at what it has put itself."""
    name = f"aiodis-{new_name()}"[:64]
    sandbox.create_stream(name, 2)
    return name


@pytest.fixture
async def client(sandbox):
    async with DISClient(**sandbox.client_settings) as made:
        yield made


@pytest.fixture
async def app(client):
    name = f"aiodis-{new_name()}"[:64]
    await client.apps.create(app_name=name)
    yield name
    await client.apps.delete(app_name=name, missing_ok=True)
