"""Each error has a page: every class and every code, what it really says, and a line to change that is fine."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import test_docs as docs

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "errors"
INDEX = FOLDER / "README.md"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path != INDEX)
HEADINGS = ["Why", "What to change", "See more", "Related"]
COMMAND = re.compile(r"hangtight (?:log|top|stats|explain|model|lab|flow)\b")
of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    pytest.importorskip("msgspec")
    path = ROOT / "docs" / "make_errors.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_every_class_and_every_code_has_one_page_and_every_page_names_what_there_is(maker: ModuleType) -> None:
    kinds, codes = [], []
    for page in PAGES:
        of_classes, of_codes = maker.named(page)
        assert of_classes or of_codes, page.name
        kinds += of_classes
        codes += of_codes
    assert sorted(kinds) == sorted(maker.classes())
    assert sorted(codes) == sorted({each.code for each in maker.sayings()})


def test_the_codes_are_those_that_are_known_to_be_said(maker: ModuleType) -> None:
    """Who reads them out of the code may overlook one: these are said in each of the ways in which one is."""
    found = {each.code: each.status for each in maker.sayings()}
    said = {
        "idle": 504, "budget": 504, "draining": 503, "cancelled": 499, "wrong_key": 401, "foreign_origin": 403,
        "body_too_large": 413, "headers_too_large": 431, "queue_full": 429, "too_many_requests": 429,
        "model_not_found": 404, "not_running": 503, "bad_request": 400, "run_ended": 404, "no_websockets": 501,
    }  # fmt: skip
    assert {code: found.get(code) for code in said} == said
    assert "cancel" not in found


@of_each_page
def test_a_page_says_what_the_code_says(maker: ModuleType, page: Path) -> None:
    assert page.read_text(encoding="utf-8") == maker.filled(page), "run `make docs`"


def test_the_index_lists_them_all(maker: ModuleType) -> None:
    assert INDEX.read_text(encoding="utf-8") == maker.index(), "run `make docs`"


@of_each_page
def test_a_page_tells_why_what_to_change_and_how_to_see_more(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert "```text\n" in text
    see_more = text.partition("## See more\n")[2].partition("## Related\n")[0]
    assert COMMAND.search(see_more), "a page says which command shows more"


@of_each_page
def test_a_page_that_says_where_the_id_stands_shows_an_error_that_has_it_there(page: Path) -> None:
    said = " ".join(page.read_text(encoding="utf-8").split())
    if "last line of the error" in said:
        last = docs.blocks(page, "text")[0].strip().splitlines()[-1]
        assert re.search(r"hangtight log [0-9a-f]{8}$", last), last


@pytest.mark.parametrize("page", [*PAGES, INDEX], ids=lambda page: page.stem)
def test_its_links_lead_somewhere_and_its_commands_exist(page: Path) -> None:
    docs.test_every_relative_link_leads_somewhere(page)
    for words in docs.commands(page):
        docs.check(words)


@of_each_page
def test_the_settings_that_it_names_are_fine_and_all_of_them_do_something(page: Path, tmp_path: Path) -> None:
    docs.test_every_block_of_settings_is_fine_and_all_of_it_does_something(page, tmp_path)


@of_each_page
def test_its_python_is_python(page: Path) -> None:
    for block in docs.blocks(page, "python"):
        compile(block, page.name, "exec")
