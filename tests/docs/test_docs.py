"""What the docs say is so: their programs run, their links lead somewhere, nothing is left out.

A block fenced with `python` is a whole program, which runs without a warning; if its first
line is `# test_….py`, it is a module of tests, which pass. One fenced with `py` is a
fragment, which only has to compile.
"""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from warm_interpreter import WarmInterpreter

import aiodis
import aiodis.api.destinations
import aiodis.observe
import aiodis.observe.opentelemetry
import aiodis.observe.prometheus
import aiodis.serializers
import aiodis.server
import aiodis.server.faults
import aiodis.testing
import aiodis.testing.aioresponses
import aiodis.testing.remote
from aiodis.api import OPERATIONS
from aiodis.config import ClientSettings, ConsumerSettings, ProducerSettings
from aiodis.errors import ERROR_CLASSES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted(DOCS.rglob("*.md")),
    )
    if path.exists()  # a source distribution lacks some
]

PUBLIC = (
    aiodis,
    aiodis.api.destinations,
    aiodis.observe,
    aiodis.observe.opentelemetry,
    aiodis.observe.prometheus,
    aiodis.serializers,
    aiodis.server,
    aiodis.server.faults,
    aiodis.testing,
    aiodis.testing.aioresponses,
    aiodis.testing.remote,
)

_FENCE = re.compile(r"^( *)(`{3,})([^`\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
# Two plugins of ours are not so strict: one leaves a loop open behind tests that it does not run.
_OTHERS = ["-p", "no:looptime_plugin", "-p", "no:hypothesispytest"]
_PYTEST = ["-m", "pytest", "-q", "-p", "pytest_aiodis", *_OTHERS]
_ASYNCIO = ["-o", "asyncio_default_fixture_loop_scope=function"]
_LINK = re.compile(r"(?<!\\)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^()\s]+)\)")


class Block(NamedTuple):
    page: Path
    line: int
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks(language: str) -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[3].strip() == language:
                yield Block(page, text.count("\n", 0, match.start()) + 2, match[4])


def _params(language: str) -> list[object]:
    return [pytest.param(block, id=block.name) for block in _blocks(language)]


_STRICT = ["-X", "dev", "-W", "error"]


def _env() -> dict[str, str]:
    """The user's settings must not reach a program, nor may it need any."""
    mine = ("AIODIS_", "HUAWEICLOUD_", "PYTHONWARNINGS")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


@pytest.fixture(scope="module")
def interpreter():
    with WarmInterpreter(_STRICT, _env(), ["aiodis", "aiodis.server"]) as interpreter:
        yield interpreter


@pytest.mark.parametrize("block", _params("python"))
def test_a_program_in_the_docs_runs_without_a_warning(block, tmp_path, interpreter):
    title = re.match(r"# (test_\w+\.py)\n", block.code)
    program = tmp_path / (title[1] if title else "program.py")
    program.write_text(block.code, encoding="utf-8")
    if title:
        done = subprocess.run(
            [sys.executable, *_STRICT, *_PYTEST, *_ASYNCIO, str(program)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env=_env(),
        )
    else:
        done = interpreter.run(program)
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"
    assert "Warning" not in done.stderr, f"{block.name}\n{done.stderr}"


@pytest.mark.parametrize("block", _params("py"))
def test_a_fragment_in_the_docs_compiles(block):
    code = "\n" * (block.line - 1) + block.code
    compile(code, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES])
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(page):
    for target in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target}: there is no such file"
        if heading and path.suffix == ".md":
            assert heading in _headings(path), f"{target}: there is no such heading"


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _headings(page: Path) -> set[str]:
    found = re.findall(r"^#{1,6} +(.+?) *$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def _generator():
    spec = importlib.util.spec_from_file_location("_generate", DOCS / "_generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["_generate"] = module
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_those_of_the_code():
    for name, text in _generator().pages().items():
        kept = (DOCS / name).read_text(encoding="utf-8")
        assert kept == text, f"docs/{name} is old: run `make docs`"


def test_every_public_name_is_in_the_reference():
    text = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. [\w:]+:: ([\w.]+)", text, re.MULTILINE))
    for module in PUBLIC:
        missing = {f"{module.__name__}.{name}" for name in module.__all__} - named
        assert not missing


@pytest.mark.parametrize("model", [ClientSettings, ProducerSettings, ConsumerSettings])
def test_every_setting_has_a_meaning_and_no_meaning_lacks_a_setting(model):
    meanings = _generator().MEANINGS[model.__name__]
    assert set(meanings) == set(model.model_fields)
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    section = text.partition(f"## {model.__name__}\n")[2].partition("\n## ")[0]
    for name, meaning in meanings.items():
        assert re.search(rf"^\| `{name}` \|.*\| {re.escape(meaning)} \|$", section, re.MULTILINE)


def test_every_operation_and_every_code_is_in_the_reference():
    operations = (DOCS / "reference" / "operations.md").read_text(encoding="utf-8")
    errors = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    for row in OPERATIONS:
        assert f"### `{row.name}`" in operations
        assert f"`{row.method} {row.path}`" in operations
    for code in ERROR_CLASSES:
        assert f"| `{code}` |" in errors


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w\-/]+)$", index, re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {
        "index"
    }
    assert pages <= listed
