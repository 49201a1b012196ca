"""The pages are true: made from the code, their links lead somewhere, their examples run, their commands exist.

Every ```python block of README.md and docs/ is run, the blocks of a page in order and in one namespace, as a reader
would type them. The client libraries and `generate` find a server of the lab where they look for one. A block that
begins with `# not run: why` is only compiled.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hangtight
from hangtight.drivers.servers import PORTS
from hangtight.testing.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ids = [str(page.relative_to(ROOT)) for page in PAGES]
of_each_page = pytest.mark.parametrize("page", PAGES, ids=ids)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SPAN = re.compile(r"`(hangtight [^`]+)`")
COMMAND = re.compile(r"^(?:\$ )?(hangtight .+)$", re.MULTILINE)
NOT_RUN = "# not run:"


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


# Links


def anchors(page: Path) -> set[str]:
    """The names that a heading has as an anchor: lower case, blanks as dashes, punctuation gone."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}"


# Examples


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{shared.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", shared.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    monkeypatch.setenv("OLLAMA_HOST", shared.url)
    return shared


def execute(block: str, where: str, names: dict[str, Any]) -> None:
    code = compile(block, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if block.startswith(NOT_RUN):
        return
    running = eval(code, names)
    if inspect.iscoroutine(running):
        asyncio.run(running)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@of_each_page
def test_every_example_runs(page: Path, lab: Lab) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for number, block in enumerate(blocks(page, "python"), 1):
        execute(block, f"{page.name}, python block {number}", names)
    names.clear()
    gc.collect()  # what a page leaves open for the sake of brevity is closed here, where nobody minds


def test_an_example_that_is_not_run_still_has_to_be_python() -> None:
    with pytest.raises(SyntaxError):
        execute(f"{NOT_RUN} no reason\nfor x in:", "here", {})
    execute(f"{NOT_RUN} no reason\nraise ValueError", "here", {})


def test_the_page_about_generate_lists_the_usual_ports_in_their_order() -> None:
    page = (ROOT / "docs" / "generate.md").read_text(encoding="utf-8")
    listed = page[page.index("The usual ports") : page.index("It may speak")]
    assert [int(port) for port in re.findall(r"\b\d{4,5}\b", listed)] == list(PORTS)


# Commands


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of ours on the page, without comments; after `--` it is somebody else's, or ours again."""
    text = page.read_text(encoding="utf-8")
    for found in (
        *SPAN.findall(text),
        *(line for block in blocks(page, "sh", "console") for line in COMMAND.findall(block)),
    ):
        words = shlex.split(found.replace("...", ""), comments=True)
        while words:
            ours, _, others = (" ".join(map(shlex.quote, words))).partition(" -- ")
            yield [word for word in shlex.split(ours)[1:] if word != "--"]
            words = shlex.split(others) if others.startswith("hangtight ") else []


def check(words: list[str]) -> None:
    """Walk down from `hangtight` to the command that is meant, and look for each of its options."""
    typer = pytest.importorskip("typer")
    from hangtight.cli.app import app

    command: Any = typer.main.get_command(app)
    line = ["hangtight", *words]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no `{shlex.join(line)}`"
        command, words = command.commands[words[0]], words[1:]
    known = {name for option in command.params for name in option.opts} | {"-h", "--help"}
    for word in words:
        assert not word.startswith("-") or word.partition("=")[0] in known, f"{word} in `{shlex.join(line)}`"


@of_each_page
def test_every_command_on_a_page_exists(page: Path) -> None:
    for words in commands(page):
        check(words)


@pytest.mark.parametrize("words", [["serf"], ["run", "--idol", "3"], ["lab", "sing"]], ids=" ".join)
def test_a_command_that_does_not_exist_is_found(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check(words)


# The page made from the code


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    path = ROOT / "docs" / "make_time_contract.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def test_the_time_contract_is_what_the_code_says(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run `make docs`"


def test_every_gap_in_the_prose_is_filled(maker: ModuleType) -> None:
    assert not re.findall(r"\{\{|\}\}|\{[a-z_]+\}", maker.page())


def test_the_four_numbers_of_the_readme_are_the_defaults() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    limits = hangtight.Limits()
    first, idle, total, beat = re.findall(
        r"^\| `(?:first_token|idle|total|heartbeat)` \| ([^|]+) \|", text, re.MULTILINE
    )
    assert (idle, total, beat) == (f"{limits.idle}", f"{limits.total}", f"{limits.heartbeat}")
    assert first.startswith(f"{limits.first_token}, and {limits.cold} more")
