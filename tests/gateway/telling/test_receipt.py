"""What was saved today, in one line: from the journal, or from what this gateway has seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hangtight.core.limits import Limit
from hangtight.core.orders import Broken
from hangtight.core.phases import Outcome
from hangtight.core.time import Seconds
from hangtight.gateway.telling.receipt import Seen
from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked, until


def asked(served: Served) -> Any:
    """After one answer and one hang."""
    with Asked(served, "well,tokens=2") as one, Asked(served, "hung,mute=1", x_hangtight_idle="0.3") as other:
        one.ended()
        other.ended()
    until(lambda: served.get("/hangtight/receipt")["hangs"] == 1)
    return served.get("/hangtight/receipt")


@pytest.mark.real
def test_the_journal_tells_of_today(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url)) as served:
        told = asked(served)
    assert told["words"] == (
        "Today: 1 answer, none of which a 30 s timeout would have killed; 1 hang ended after 0.3 s."
    )
    assert (told["answers"], told["saved"], told["hangs"], told["hint"]) == (1, 0, 1, "")
    assert "T00:00:00" in told["since"]
    with Served(tmp_path, all_at(lab.url)) as served:
        assert served.get("/hangtight/receipt")["answers"] == 1, "another gateway on the same journal"


@pytest.mark.real
def test_without_a_journal_it_is_what_this_gateway_has_seen(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, all_at(lab.url), HANGTIGHT_JOURNAL="off") as served:
        assert served.get("/hangtight/receipt")["words"] == "Since this gateway began: 0 answers."
        told = asked(served)
    assert told["words"].startswith("Since this gateway began: 1 answer, none of which")
    assert "no journal is kept" in told["hint"]


@pytest.mark.real
def test_a_journal_that_cannot_be_read_is_told(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is no database" * 100)
    with Served(tmp_path, all_at(lab.url)) as served:
        told = served.get("/hangtight/receipt")
    assert told["words"] == "Since this gateway began: 0 answers."
    assert told["hint"]


def ended(outcome: Outcome, elapsed: float = 1.0, broken: Broken | None = None) -> Any:
    return SimpleNamespace(outcome=outcome, elapsed=elapsed, broken=broken)


@pytest.mark.real
@pytest.mark.parametrize("journal", ["", "off"])
def test_in_the_demo_a_second_stands_for_many_and_the_receipt_tells_those(
    journal: str, lab: Lab, tmp_path: Path
) -> None:
    more = {"HANGTIGHT_JOURNAL": journal} if journal else {}
    with Served(tmp_path, all_at(lab.url), "--scale", "100", **more) as served:
        with Asked(served, "slow,tokens=10,rate=20") as slow:  # half a second
            slow.ended()
        told = asked(served)
        assert served.get("/health")["scale"] == 100
    killed = "2 answers, 1 of which a 30 s timeout would have killed; 1 hang ended after 30 s."
    assert told["words"].endswith(f", in the time of a real machine: {killed}")
    assert told["saved"] == 1


def test_it_counts_what_the_journal_counts() -> None:
    seen = Seen()
    for each in (
        *(ended(Outcome.FINISHED, 181.0), ended(Outcome.FINISHED, 30.0), ended(Outcome.LEFT, 90.0)),
        ended(Outcome.TIMEOUT, 55.0, Broken(Limit.IDLE, Seconds(45.0))),
        ended(Outcome.TIMEOUT, 600.0, Broken(Limit.TOTAL, Seconds(600.0))),
    ):
        seen.add(each)
    assert seen == Seen(answers=2, would_have_died=1, hangs=1, hang_seconds=45.0)
