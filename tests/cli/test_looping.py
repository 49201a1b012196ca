"""What a text says, at the command line: `ask` gives it more time or ends it, `log` and `stats` tell of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangtight.cli.timelines import COLOURS
from hangtight.core.telling import WHY
from hangtight.drivers import clock
from hangtight.journal.entries import Begun, Ended, Kind, Noted
from hangtight.journal.recording import Recorder
from hangtight.testing.lab import Lab, text_of
from tests.cli.kit import RESOLVED, command, on_a_terminal

SHORT = "modes:\n  short: {total: 1.5}\n"
LOOP = "loop,rate=400"
CODE = "healthy-code,tokens=800,rate=400"  # two seconds
PATIENT = ("--idle", "10")  # a busy machine has silences, too
SENTENCE = "I will now open the file again . "
LOOPED = "7f3a21bc0d33"
needs_a_terminal = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hangtight.yaml").write_text(SHORT)
    return tmp_path


@pytest.mark.real
def test_an_answer_that_repeats_itself_is_ended_and_the_line_to_change_works(lab: Lab, folder: Path) -> None:
    words = ("ask", "Why?", "--url", lab.url, "--model", LOOP, "--mode", "short", *PATIENT)
    ended = command(folder, *words)
    assert ended.returncode == 124
    what, source, change, kept = ended.stderr.splitlines()
    assert what.startswith(f"Looping: {LOOP} stuck - repeats itself: the same {len(SENTENCE)} characters, ")
    assert source == "intent = on (mode short sets the total)"
    assert change.partition(WHY)[0] == "to let it go on:  hangtight ask --no-intent ..."
    assert kept == f"worth keeping:  the first 33 of the {len(ended.stdout) - 1} characters on stdout"
    let_go_on = command(folder, *words, "--no-intent")
    assert let_go_on.stderr.startswith("TotalTimeout: ")
    assert len(let_go_on.stdout) > len(ended.stdout)


@pytest.mark.real
def test_a_loop_is_ended_without_a_mode_only_where_somebody_asks_for_it(lab: Lab, folder: Path) -> None:
    words = ("ask", "Why?", "--url", lab.url, "--model", LOOP, "--total", "2", *PATIENT)
    assert command(folder, *words).stderr.startswith("TotalTimeout: ")
    assert command(folder, *words, "--intent").stderr.startswith("Looping: ")


@pytest.mark.real
def test_as_json_a_loop_says_what_repeats_and_what_is_worth_keeping(lab: Lab, folder: Path) -> None:
    ended = command(folder, "ask", "Why?", "--url", lab.url, "--model", LOOP, "--mode", "short", "--json", *PATIENT)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["outcome"], told["error"]["type"]) == (124, "looping", "Looping")
    assert (told["useful"], told["answer"].startswith(told["useful"])) == (SENTENCE, True)
    found = told["loop"]
    assert (found["rule"], found["channel"], found["period"], found["start"]) == ("exact", "answer", len(SENTENCE), 0)
    assert found["copies"] > 6
    assert 0 < found["offset"] <= len(told["answer"])
    assert ended.stderr.endswith(' characters of "answer", in "useful"\n')


@pytest.mark.real
def test_an_answer_that_is_getting_on_has_more_time_and_it_is_said_so(lab: Lab, folder: Path) -> None:
    words = ("ask", "Why?", "--url", lab.url, "--model", CODE, "--mode", "short", *PATIENT)
    ended = command(folder, *words, "--heartbeat", "0.25")
    assert (ended.returncode, ended.stdout) == (0, text_of(CODE).rstrip("\n") + "\n")
    assert [line for line in ended.stderr.splitlines() if line.endswith(", deadline 1.5 s -> 3 s: coding")]
    told = json.loads(command(folder, *words, "--json").stdout)
    assert (told["useful"], told["loop"]) == (None, None)
    assert told["deadline"] == {"before": 1.5, "after": 3, "why": "coding"}
    stopped = command(folder, *words, "--no-intent", "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)["deadline"]) == (124, None)


@pytest.mark.real
def test_how_far_it_may_be_moved_is_an_option_too(lab: Lab, folder: Path) -> None:
    words = ("ask", "Why?", "--url", lab.url, "--model", CODE, "--total", "1.5", *PATIENT)
    assert command(folder, *words).returncode == 124
    assert command(folder, *words, "--extend-to", "20").returncode == 0
    refused = command(folder, *words, "--extend-to", "20", "--no-intent")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--extend-to" in refused.stderr


@needs_a_terminal
@pytest.mark.real
def test_on_a_terminal_the_line_says_what_it_is_at_and_the_receipt_that_it_was_extended(lab: Lab, folder: Path) -> None:
    words = ("ask", "Why?", "--url", lab.url, "--model", CODE, "--mode", "short", *PATIENT)
    code, written = on_a_terminal(folder, *words, COLUMNS="120")
    assert code == 0
    assert "streaming · coding · " in written
    assert written.endswith(" s (extended 1.5 -> 3 s: it was coding).\n")


# -- afterwards -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A journal with an answer that was extended, seemed stuck, and was ended as a loop."""
    url = str(tmp_path_factory.mktemp("journal") / "journal.db")
    recorder = Recorder(url, wall=clock.wall, keep=None)
    for entry in (
        Begun(LOOPED, LOOPED, clock.wall() - 90, RESOLVED, model="qwen3-coder"),
        Noted(LOOPED, 60.0, Kind.EXTENDED, {"before": 60, "after": 70, "why": "coding"}),
        Noted(LOOPED, 65.0, Kind.HEARTBEAT, {"phase": "streaming", "doing": "drift", "tokens": 312}),
        Noted(LOOPED, 66.0, Kind.SUSPECTED, "the same 40 characters but for a counter, 9 times in a row"),
        Noted(LOOPED, 66.0, Kind.SHORTENED, {"before": 70, "after": 60, "why": "drift"}),
        Noted(LOOPED, 66.5, Kind.LOOPED, "the same 33 characters, 31 times in a row"),
        Ended(LOOPED, 66.5, "looping", 340, 3.1, 0.4),
    ):
        recorder.put(entry)
    assert recorder.close(10.0)
    return url


@pytest.mark.real
def test_the_journal_tells_of_moves_and_of_the_loop(url: str) -> None:
    folder = Path(url).parent
    table = command(folder, "log", "--journal", url).stdout
    assert " looping " in table.splitlines()[1]
    lines = command(folder, "log", "--journal", url, LOOPED[:8]).stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines[3:]] == [
        "extended: deadline 60 s -> 70 s, coding",
        "heartbeat: streaming, may be stuck (drift), 312 tokens",
        "may be stuck: the same 40 characters but for a counter, 9 times in a row",
        "shortened: deadline 70 s -> 60 s, drift",
        "looping: the same 33 characters, 31 times in a row",
        "looping, 340 tokens, first token after 3.1s, longest gap 0.4s",
    ]
    assert command(folder, "stats", "--journal", url).stdout.endswith("\n  timeouts: 1 looping\n")


@needs_a_terminal
@pytest.mark.real
def test_on_a_terminal_moves_have_colours(url: str) -> None:
    _, written = on_a_terminal(Path(url).parent, "log", "--journal", url, LOOPED[:8])
    for kind in (Kind.EXTENDED, Kind.SUSPECTED, Kind.SHORTENED, Kind.LOOPED):
        assert f"{COLOURS[kind]}{kind}" in written
