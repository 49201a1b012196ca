"""The clients that people have, through one `hangtight serve`, against every fault of the lab.

Held for each: what the caller gets, with which status and code; how often the server was asked; that it was told to
stop where a limit rang; and where it is an answer, or the server's own refusal, that it is the same as without the
gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clients import (
    CURL,
    ROWS,
    WHOLE,
    Cell,
    Found,
    Kind,
    Stage,
    cells,
    expected_of,
    run,
    stage,
)
from tests.gateway.tables import Tables, expected

pytestmark = pytest.mark.timeout(400)  # the first of them waits for all: more than a thousand calls
PAGE = Path(__file__).resolve().parents[2] / "docs" / "gateway-clients.md"


def ids(cell: Cell) -> str:
    return f"{cell.api}:{'streamed' if cell.streamed else 'unstreamed'}:{cell.row.place}:{cell.row.script}"


of_each_cell = pytest.mark.parametrize("cell", list(cells()), ids=ids)
with_curl = pytest.mark.skipif(CURL is None, reason="there is no curl on this machine")


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("served")) as on:
        yield on


@pytest.fixture(scope="module")
def found(on: Stage, request: pytest.FixtureRequest) -> Found:
    """All rows that are tested in this run, at once: each would wait for its limit otherwise."""
    chosen: list[Any] = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = [spec.params.get("cell") for spec in chosen if spec is not None]
    rows = {cell.row for cell in wanted if isinstance(cell, Cell)}  # other tables have cells of their own
    return run(on, [row for row in ROWS if row in rows])


@pytest.mark.real
@of_each_cell
def test_a_client_library_through_the_gateway(cell: Cell, found: Found) -> None:
    got = found.sdks[cell]
    assert got.told == expected_of(cell), repr(got.error)
    assert (got.counts.asked, got.counts.cancelled) == (cell.asked_by_sdk, cell.is_cut or cell.is_left_by_sdk)
    if got.direct is None and cell.text is not None:
        assert cell.text.startswith(got.text)
        assert got.text == cell.text or cell.ending.kind is not Kind.WHOLE
    if got.direct is not None:
        assert got.direct.told == got.told
        assert got.items == got.direct.items
        assert str(got.error) == str(got.direct.error)


@pytest.mark.real
@with_curl
@of_each_cell
def test_curl_through_the_gateway(cell: Cell, found: Found) -> None:
    got = found.curls[cell]
    ending = cell.ending if cell.ending.kind is not Kind.ONE_PIECE else WHOLE
    assert (got.code, got.ending()) == (0, ending), got.body
    assert (got.counts.asked, got.counts.cancelled) == (cell.asked_by_curl, cell.is_cut)
    assert got.head.get("x-should-retry") == (None if ending.kind is Kind.PASSED else "false")
    assert got.head["x-hangtight-id"]
    if ending.code and ending.code != "backend":
        told = got.error()
        assert told["id"] == got.head["x-hangtight-id"]
        if ending.code != "truncated":
            assert told["limit"] == ending.code
            assert told["elapsed"] > 0
            assert told["source"]
            assert told["change"]


@pytest.mark.parametrize("name", Tables._fields)
def test_the_tables_of_the_page_are_what_these_tests_hold(name: str) -> None:
    table = getattr(expected(), name)
    assert f"<!-- made: {name} -->\n{table}<!-- end -->" in PAGE.read_text(encoding="utf-8"), "run `make docs`"
