"""Three SDKs, synchronous and not, streamed and not, on a client of ours, against every fault of the lab.

Held for each: what the caller catches, that it is the SDK's own error where it is not ours, which limit broke and in
time (against a bare timer of the same run), one request where nothing else is said, the server told to stop, the text
so far kept, and nothing left: no thread, no task, no descriptor, no connection in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hangtight
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import SDKS, BareTimer, Seen, nothing_left, one_lab
from tests.clients.matrix import ANSWER, CUT, FAULTS, LIMITS, UNREADABLE, Cell, cells, expected, named

LATE = 4.0  # times what a bare timer needs; a machine under load is late for both
PAGE = Path(__file__).resolve().parents[2] / "docs" / "sdks.md"
UNTOLD = ("tool", "oversized", "error")
"""Their text is not told beforehand, but it is the one that comes without us."""
OTHERS = ("completions", "responses", "generate")
FEWER = tuple(
    fault
    for fault in FAULTS
    if fault.script.partition(",")[0]
    in ("tokens=5", "tool", "silent", "mute=3", "pings=3", "disconnect=3", "status=500", "error=3", "no-reason")
    and not any(word in fault.script for word in ("load=", "prefill=", "headers="))
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        for cell in cells((*SDKS, *OTHERS), FAULTS[:1]):
            cell.run(lab)  # an SDK's first call is a slow one
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


def ids(cell: Cell) -> str:
    how = f"{'async' if cell.asynchronous else 'sync'}:{'streamed' if cell.streamed else 'unstreamed'}"
    return f"{cell.api}:{how}:{cell.fault.script}"


@pytest.mark.real
@pytest.mark.parametrize("cell", [*cells(SDKS), *cells(OTHERS, FEWER)], ids=ids)
def test_a_fault_beneath_an_sdk_on_a_client_of_ours(cell: Cell, lab: Lab) -> None:
    script, told = cell.fault.script, cell.told
    timer = BareTimer(cell.limit if told in LIMITS else 0)
    seen = cell.run(lab)
    lateness = timer.lateness()
    assert named(seen.error) == told, repr(seen.error)
    again = not cell.streamed and cell.api in cell.fault.again
    assert lab.counts(script).asked == 1 + again
    if told in LIMITS:
        check_timeout(cell, seen, lateness, lab)
    elif told == CUT:
        assert isinstance(seen.error, hangtight.Truncated)
        assert seen.error.partial == text_of(script)
    elif told == ANSWER and not any(word in script for word in UNTOLD):
        assert seen.text == text_of(script)
    elif told != UNREADABLE:
        lab.reset()
        bare = cell.run(lab, ours=False)
        assert type(seen.error) is type(bare.error)
        assert seen.text == bare.text


def check_timeout(cell: Cell, seen: Seen, lateness: float, lab: Lab) -> None:
    late = seen.late
    assert isinstance(late, getattr(hangtight, LIMITS[cell.told].partition(".")[2]))
    assert isinstance(late, TimeoutError)
    assert not late.left_running
    assert lateness < LATE
    assert late.waited >= cell.limit
    assert late.model == cell.fault.script
    if cell.streamed:
        assert late.partial == seen.text
    assert bool(late.partial) is (late.tokens > 0 and late.limit != "thinking")
    if late.limit != "total":
        assert text_of(late.model).startswith(late.partial)
    if cell.fault.heeds:
        lab.when(cell.fault.script, lambda counts: counts.cancelled == 1 and not counts.open and not counts.wasted)
    elif cell.told == "total":
        lab.when(cell.fault.script, lambda counts: counts.cancelled == 1 and counts.wasted > 0)


def test_the_table_of_the_page_is_what_these_tests_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    [table] = re.findall(r"<!-- made: what each raises -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert table.strip() == expected().strip(), "run docs/make_sdks.py"
