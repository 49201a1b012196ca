"""Why one generation has the time that it has, and what happened to it: in flight, ended, and long ago."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hangtight.core.explaining import Explained, Said, lines_of
from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked, in_flight, until

SETTINGS = "heartbeat: 0.2\nlimits: {cancel: 0.5, idle: 40}\n"


def why(served: Served, name: str) -> Any:
    return served.get(f"/hangtight/generations/{name}/why")


def the_one_that_ended(served: Served) -> Any:
    until(lambda: served.get("/hangtight/generations")["finished"])
    [ended] = served.get("/hangtight/generations")["finished"]
    return ended


def kinds(told: Any) -> list[str]:
    return [each["kind"] for each in told["log"]]


@pytest.mark.real
def test_of_one_in_flight_each_limit_is_told_with_what_it_overruled(served: Served) -> None:
    with Asked(served, "runs,rate=5", x_hangtight_idle="20", x_hangtight_run="nightly"):
        found = in_flight(served, "runs,rate=5")
        until(lambda: "heartbeat" in kinds(why(served, found["id"][:6])))
        told = why(served, found["id"])
    assert told["about"]["run"] == "nightly"
    assert told["about"]["limits"]["idle"]["source"] == "X-Hangtight-Idle"
    lines = told["explain"].splitlines()
    at = lines.index("idle            20  X-Hangtight-Idle")
    assert lines[at + 1] == "                    over 40 (hangtight.yaml:2), 45 (default)"
    assert "intent: off (no mode sets the total)" in lines
    assert kinds(told)[0] == "armed"
    assert told["log"][0]["words"].startswith("armed: ")
    assert told["hint"] == ""
    assert (told["verdict"], told["page"]) == ([], "")
    beat = next(each for each in told["log"] if each["kind"] == "heartbeat")
    assert {"phase", "tokens"} <= set(beat)


@pytest.mark.real
def test_of_one_that_has_ended_the_same_is_told_and_how_it_ended(served: Served) -> None:
    with Asked(served, "stuck,mute=1", x_hangtight_idle="0.3") as asked:
        found = in_flight(served, "stuck,mute=1")
        asked.ended()
    told = why(served, found["id"])
    assert (told["about"]["outcome"], told["about"]["limit"]) == ("timeout", "idle")
    assert "idle           0.3  X-Hangtight-Idle" in told["explain"]
    assert "over 40 (hangtight.yaml:2)" in told["explain"]
    assert {"armed", "rang"} <= set(kinds(told))
    assert kinds(told)[-1] == "timeout"
    after = [each["after"] for each in told["log"][:-1]]
    assert after == sorted(after)
    assert told["log"][-1]["words"].startswith("timeout: idle after 0.3s (X-Hangtight-Idle)")
    happened, number, change, more = told["verdict"]
    assert happened.startswith("IdleTimeout: stuck,mute=1 stuck - no output for 0.3s (")
    assert number == "idle = 0.3 comes from X-Hangtight-Idle"
    assert change.startswith("to wait longer:  ")
    assert more.startswith(f"why: hangtight log {found['id'][:8]}")
    assert (Path(__file__).parents[3] / told["page"]).is_file()
    listed = served.get("/hangtight/generations")["finished"][0]
    assert "verdict" not in listed


@pytest.mark.real
def test_the_attempts_of_one_call_are_one_time_line(lab: Lab, tmp_path: Path) -> None:
    settings = (
        f'models:\n  "first*": {{proxy: "{lab.url}", fallback: ["second,tokens=2"]}}\n  "*": {{proxy: "{lab.url}"}}\n'
    )
    with Served(tmp_path, settings) as served, Asked(served, "first,silent", x_hangtight_first_token="0.4") as asked:
        asked.ended()
        ended = the_one_that_ended(served)
        told = why(served, ended["id"])
    assert (ended["model"], ended["outcome"]) == ("second,tokens=2", "finished")
    assert list(dict.fromkeys(each["model"] for each in told["log"])) == ["first,silent", "second,tokens=2"]
    assert kinds(told).count("armed") == 2
    assert "fallback" in kinds(told)
    assert kinds(told)[-1] == "finished"


@pytest.mark.real
def test_one_of_an_earlier_gateway_is_told_from_the_journal(lab: Lab, tmp_path: Path) -> None:
    with Served(tmp_path, SETTINGS + all_at(lab.url)) as served, Asked(served, "before,tokens=3") as asked:
        asked.ended()
        ended = the_one_that_ended(served)
    with Served(tmp_path, SETTINGS + all_at(lab.url)) as served:
        told = why(served, ended["id"])
        assert served.ask("GET", f"/hangtight/generations/{ended['id']}")[0] == 404, "this one has never seen it"
    assert (told["about"]["model"], told["about"]["outcome"], told["about"]["tokens"]) == (
        "before,tokens=3", "finished", 3,
    )  # fmt: skip
    assert "idle" in told["explain"]
    assert "hangtight.yaml:2" in told["explain"]
    assert "is not in the journal" in told["explain"]
    assert kinds(told)[-1] == "finished"


@pytest.mark.real
def test_without_a_journal_there_is_no_log_and_it_says_why(lab: Lab, tmp_path: Path) -> None:
    with (
        Served(tmp_path, all_at(lab.url), HANGTIGHT_JOURNAL="off") as served,
        Asked(served, "untold,tokens=2") as asked,
    ):
        asked.ended()
        ended = the_one_that_ended(served)
        told = why(served, ended["id"])
        assert served.ask("GET", "/hangtight/generations/abcdef/why")[0] == 404
    assert told["log"] == []
    assert "no journal is kept" in told["hint"]
    assert "first_token" in told["explain"]


@pytest.mark.real
def test_one_that_nobody_knows_is_not_found(served: Served) -> None:
    for name in ("abcdef123456", "ab", "%27%20or", "a/b"):
        status, told, _ = served.ask("GET", f"/hangtight/generations/{name}/why")
        assert (status, told["error"]["code"]) == (404, "generation_not_found")


@pytest.mark.real
def test_it_is_only_read(served: Served) -> None:
    assert served.ask("DELETE", "/hangtight/generations/abcdef/why")[0] == 405


def test_what_was_overruled_stands_below() -> None:
    told = (
        Explained("idle", 20.0, "the call", (Said(45.0, "a file"), Said(None, "default"))),
        Explained("total", None, "default", ()),
        Explained("first_token", 180.0, "mode deep", (), share=0.3),
    )
    assert list(lines_of(told)) == [
        "limit        value  from",
        "idle            20  the call",
        "                    over 45 (a file), none (default)",
        "total         none  default",
        "first_token    180  30 % of total (mode deep)",
    ]
