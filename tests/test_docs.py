"""The pages are true: made from the code, their links lead somewhere, their examples run, their commands exist.

Every ```python block of README.md and docs/ is run, the blocks of a page in order and in one namespace, as a reader
would type them. The client libraries and `generate` find a server of the lab where they look for one. A block that
begins with `# not run: why` is only compiled. A block of settings begins with the name of its file, `# hangtight.yaml`;
it must be fine, and the first one of a page stands in the working folder of the page's examples.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import importlib.util
import inspect
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hangtight
from hangtight.core import layers, pace_samples
from hangtight.core.intents import RUNGS
from hangtight.drivers import attention
from hangtight.drivers.servers import PORTS
from hangtight.drivers.standing import STANDING
from hangtight.intent import analyser, exact, findings, folding, novelty, prompts, strand, tools
from hangtight.intent.findings import KINDS, Act, Doing
from hangtight.journal import line as waiting
from hangtight.journal import recording, writing
from hangtight.journal.entries import Kind
from hangtight.journal.store import Store
from hangtight.journal.tables import decisions, generations
from hangtight.rules.loading import check as checked
from hangtight.rules.settings import DAY, KEEP, SAMPLES
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
SETTINGS = ("yaml", "toml", "ini")
FILE_OF_SETTINGS = re.compile(r"^# (\S+)$", re.MULTILINE)
OFFERED = re.compile(r"^#(?! \S|$)", re.MULTILINE)


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
def lab(shared: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.chdir(tmp_path)
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
    for block in blocks(page, *SETTINGS)[:1]:
        written(block, Path.cwd())
    for number, block in enumerate(blocks(page, "python"), 1):
        execute(block, f"{page.name}, python block {number}", names)
    if (keeping := STANDING.recorder()) is not None:  # written while the working folder is still that of the page
        assert keeping.close(), keeping.trouble
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


# Settings


def written(block: str, folder: Path) -> Path:
    """The block as the file that its first line names."""
    first = FILE_OF_SETTINGS.match(block)
    assert first, f"the first line must name the file: {block[:60]!r}"
    path = folder / first[1]
    path.write_text(block, encoding="utf-8")
    return path


@of_each_page
def test_every_block_of_settings_is_fine_and_all_of_it_does_something(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, *SETTINGS):
        path = written(block, tmp_path)
        settings = checked(Path(path.name), folder=tmp_path, home=tmp_path)
        assert (settings.files, settings.remarks) == ((path.name,), ())


def told_by(words: list[str], folder: Path) -> str:
    """What a command prints, on either channel, in a folder of its own."""
    ended = subprocess.run(
        [sys.executable, "-m", "hangtight", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    return ended.stdout + ended.stderr


WRONG = "limits: {idel: 60, total: -1}\nmodes: {fast: soon}\n"
IDLE = "logRequests: true\ndefault_mode: deep\nlimits: {total: 900}\n"


@pytest.mark.real
def test_the_page_about_settings_shows_what_the_commands_print(tmp_path: Path) -> None:
    page = ROOT / "docs" / "settings.md"
    first = blocks(page, "yaml")[0]
    shown = blocks(page, "console")
    for text, block in zip((first, WRONG, IDLE), shown, strict=True):
        (tmp_path / "hangtight.yaml").write_text(text, encoding="utf-8")
        command, _, printed = block.partition("\n")
        assert told_by(shlex.split(command)[2:], tmp_path) == printed


def test_the_settings_that_are_offered_as_examples_are_all_there_are_and_each_is_fine(
    tmp_path: Path, settings_maker: ModuleType
) -> None:
    offered = (ROOT / "examples" / "hangtight.yaml.example").read_text(encoding="utf-8")
    (tmp_path / "hangtight.yaml").write_text(offered, encoding="utf-8")
    assert checked(Path("hangtight.yaml"), folder=tmp_path, home=tmp_path).below == (), "a copy changes nothing yet"
    (tmp_path / "hangtight.yaml").write_text(OFFERED.sub("", offered), encoding="utf-8")
    settings = checked(Path("hangtight.yaml"), folder=tmp_path, home=tmp_path)
    assert settings.remarks == ()
    for leaf in settings_maker.leaves(settings_maker.ConfigFile):
        keys = [key for key in leaf.path.split(".") if key != "NAME"]
        assert all(re.search(rf"\b{key}:", offered) for key in keys), leaf.path


def test_the_variables_that_are_offered_are_all_there_are_and_each_is_fine(
    tmp_path: Path, settings_maker: ModuleType
) -> None:
    offered = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert "OLLAMA_HEARTBEAT_INTERVAL=15" in offered.splitlines()
    (tmp_path / ".env").write_text(OFFERED.sub("", offered), encoding="utf-8")
    assert checked(Path(".env"), folder=tmp_path, home=tmp_path).remarks == ()
    assert set(re.findall(r"^#?([A-Z_]+)=", offered, re.MULTILINE)) == set(settings_maker.keys_of.KEYS)


# The journal


def test_the_page_about_the_journal_knows_each_column_and_its_questions_can_be_asked(tmp_path: Path) -> None:
    page = ROOT / "docs" / "journal.md"
    text = page.read_text(encoding="utf-8")
    assert [column.name for column in (*generations.c, *decisions.c) if f"`{column.name}`" not in text] == []
    kinds = re.findall(r"`([a-z ]+)`", text[text.index("The kinds are") :].partition(".")[0])
    assert kinds
    assert set(kinds) <= set(map(str, Kind))
    Store(str(tmp_path / "journal.db")).prepare()
    with sqlite3.connect(tmp_path / "journal.db") as opened:
        for block in blocks(page, "sql"):
            assert opened.execute(block).fetchall() == []
    opened.close()


@pytest.mark.parametrize(
    "words",
    [
        f"The latest {pace_samples.WINDOW:,} calls",
        f"Where those are fewer than {SAMPLES}",
        f"ends at most {100 * pace_samples.FALSE_KILLS:g} % of the calls",
        f"If half of the latest {pace_samples.LATEST} calls",
        f"in the background: the latest {writing.LATEST:,} calls",
        f"up to {waiting.MOST_WAITING:,} entries",
        f"it waits up to {recording.AT_EXIT:g} s",
        f"kept for {KEEP / DAY:g} days",
    ],
)
def test_the_numbers_on_the_page_about_the_journal_are_those_of_the_code(words: str) -> None:
    assert words in (ROOT / "docs" / "journal.md").read_text(encoding="utf-8")


# Intent


def test_the_page_about_intent_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "intent.md"
    (writes,) = [block for block in blocks(page, "python") if "answer.txt" in block]
    monkeypatch.chdir(tmp_path)
    execute(writes, page.name, {})
    (block,) = blocks(page, "console")
    command, _, printed = block.partition("\n")
    assert told_by(shlex.split(command)[2:], tmp_path) == printed


def _evidence(*pairs: tuple[int, int]) -> str:
    return ", or ".join(f"{copies} copies and {characters:,} characters" for copies, characters in pairs)


def _numbers_of_intent() -> list[str]:
    return [
        f"| half of that | {_evidence(*exact.LETTERS)} |",
        f"with white space | `loop` | half of that | {_evidence(*exact.SIGNS)} |",
        f"one unbroken word | `loop` | half of that | {_evidence(*exact.UNBROKEN)} |",
        f"white space and nothing else | `loop` | half of that | {exact.BLANKS[0][1]} characters |",
        f"{folding.COPIES} copies and {folding.CHARACTERS} characters, a number counted as one; "
        f"{folding.WITHOUT_LETTERS:,} characters without a letter | never |",
        f"segments of {novelty.SEGMENT} characters in which nothing new is said | `stale` | "
        f"{novelty.HOLD_AT} in a row | never |",
        f"{tools.HOLD_ONE} times; a cycle of 2 to {tools.LONGEST_CYCLE} calls: {tools.HOLD_CYCLE} times | "
        f"{tools.CUT_ONE} times; a cycle: {tools.CUT_CYCLE} times |",
        f"| {tools.HOLD_ONE * tools.PATIENCE} times; a cycle: {tools.HOLD_CYCLE * tools.PATIENCE} times | never |",
        f"A copy may be up to {exact.LONGEST:,} characters long",
        f"a copy longer than {exact.LONGEST:,} characters",
        f"from {prompts.MANY_TIMES} times or {prompts.MANY_LINES} lines on",
        f"makes all thresholds of text {analyser.PATIENCE:g} times as high",
        f"looks at the latest each {attention.EVERY} tokens",
        f"moves up by {findings.STEP:g} s or {100 * findings.STEP_OF_TOTAL:g} % of `total`, whichever is longer",
        f"`extend_to` is {layers.EXTENSION_OF_A_MODE:g} x `total`",
        f"at most {findings.LONGEST_UNIT_SHOWN} characters of it",
    ]


def test_the_numbers_on_the_page_about_intent_are_those_of_the_code() -> None:
    page = " ".join((ROOT / "docs" / "intent.md").read_text(encoding="utf-8").split())
    assert [words for words in _numbers_of_intent() if words not in page] == []
    assert (strand.HALF, attention.TWICE, tools.PATIENCE) == (0.5, 2, 2), "the page says half, and twice"


@pytest.mark.parametrize(
    "words",
    [
        *(f"| `{rung}` |" for rung in RUNGS),
        *(f"`{act}`" for act in Act),
        *(f"`{kind}`" for kind in KINDS.values()),
        *(f"`{doing}`" for doing in Doing if doing is not Doing.STUCK),
    ],
)
def test_the_page_about_intent_knows_all_words_of_the_analyser(words: str) -> None:
    assert words in (ROOT / "docs" / "intent.md").read_text(encoding="utf-8")


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
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"-h", "--help"}
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
    return script("make_time_contract.py")


@pytest.fixture(scope="module")
def settings_maker() -> ModuleType:
    return script("make_settings.py")


def script(name: str) -> ModuleType:
    path = ROOT / "docs" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def test_the_time_contract_is_what_the_code_says(maker: ModuleType) -> None:
    assert maker.PAGE.read_text(encoding="utf-8") == maker.page(), "run `make docs`"


def test_the_pages_about_settings_are_what_the_schema_says(settings_maker: ModuleType) -> None:
    for page in settings_maker.PAGES:
        assert page.read_text(encoding="utf-8") == settings_maker.page(page), "run `make docs`"


def test_the_variables_that_are_offered_are_made_from_the_settings() -> None:
    made = script("make_env.py")
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run `make docs`"
    assert "0 = off" in made.page().partition("OLLAMA_HEARTBEAT_INTERVAL=15\n")[0].splitlines()[-1]


def test_the_six_rows_on_the_page_about_budgets_are_those_of_the_code(maker: ModuleType) -> None:
    assert maker.six_rows() in (ROOT / "docs" / "budget.md").read_text(encoding="utf-8")


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
