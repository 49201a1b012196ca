"""`hangtight lab intent`: what is seen in a text as it would arrive, for people and for programs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from hangtight.cli import intent, texts
from hangtight.cli.below import ERASE
from hangtight.cli.intent import intent_command
from hangtight.cli.plots import stretch
from hangtight.cli.sight import MOST_SHOWN, Sight
from hangtight.cli.texts import MOST_TOLD, text_in
from hangtight.intent.findings import Act, Channel, Doing, Finding, Rule
from hangtight.testing.lab.healthy import function
from tests.cli.kit import SOURCES, command, on_a_terminal, visible

SENTENCE = "I will now open the file again and look at it. "
EVIL = "\x1b[31m\u202e\x9b\x07 evil "
KEYS = ["index", "offset", "kind", "advice", "rule", "period", "copies", "start", "channel", "unit", "confidence"]


class Scripted:
    """Coding from character 10 on; each `evil` from the second on is suspicious, and the fourth is the end of it."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._text = ""

    def feed(self, text: str, channel: Channel, now: float) -> None:
        assert (channel, now) == (Channel.ANSWER, 0.0)
        for at, char in enumerate(text, len(self._text) + 1):
            self._text += char
            if at == 10:
                self._findings += [Finding(act=Act.EXTEND, doing=Doing.CODING, offset=at)]
            copies = self._text.count("evil") if self._text.endswith("evil") else 0
            if copies > 1:
                act = Act.CUT if copies >= 4 else Act.HOLD
                self._findings += [
                    Finding(act=act, rule=Rule.EXACT, offset=at, start=3, period=9, copies=copies, unit=EVIL * 99)
                ]

    def close(self) -> None:
        self._findings += [Finding(act=Act.KEEP, offset=len(self._text))]

    def drain(self) -> list[Finding]:
        found, self._findings = self._findings, []
        return found

    def advice(self) -> Finding:
        """A suspicion is over after twenty more characters."""
        if "evil" in self._text[10:][-20:]:
            return Finding(act=Act.HOLD)
        return Finding(act=Act.EXTEND, doing=Doing.CODING) if len(self._text) >= 10 else Finding(act=Act.KEEP)

    def useful_length(self, channel: Channel) -> int:
        return self._text.count("evil") * 1000 + len(channel.value)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to stand in, and an analyser that sees what its text says."""
    monkeypatch.setattr(intent, "Analyser", Scripted)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capfd: pytest.CaptureFixture[str], file: str, field: str | None = None) -> tuple[int, list[Any], str]:
    """The exit code, the objects, and what was said beside them."""
    code = intent_command(file, field, as_json=True)
    out, err = capfd.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def shown(capfd: pytest.CaptureFixture[str], file: str, field: str | None = None) -> tuple[int, str, str]:
    code = intent_command(file, field, as_json=False)
    return code, *capfd.readouterr()


def test_each_finding_is_one_line_and_nothing_in_it_is_obeyed(
    scripted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (scripted / "a.txt").write_text("x = 1\n" * 9 + "evil " * 5)
    code = intent_command("a.txt", None, as_json=True)
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    assert visible(out)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [list(line) for line in lines] == [KEYS] * 5
    assert [line["advice"] for line in lines] == ["extend", "hold", "hold", "cut", "cut"]
    assert (lines[0]["kind"], lines[0]["rule"]) == ("coding", "phase")
    assert (lines[3]["kind"], lines[3]["copies"], lines[3]["period"], lines[3]["start"]) == ("loop", 4, 9, 3)
    assert lines[3]["unit"] == (EVIL * 99)[:200]


def test_offsets_count_characters_of_the_text_as_it_is(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    begin = "Größe\r\n🙂\u2028"
    (scripted / "a.txt").write_bytes(b"\xef\xbb\xbf" + (begin + "evil evil").encode())
    _, lines, err = told(capfd, "a.txt")
    assert err == ""
    assert lines[-1]["offset"] == len(begin + "evil evil")


def test_a_text_is_looked_at_in_pieces_that_do_not_break_its_characters(
    scripted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "y" + "ä" * 70_000 + "evil evil"
    (scripted / "a.txt").write_text(text, encoding="utf-8")
    _, lines, err = told(capfd, "a.txt")
    assert (lines[-1]["offset"], err) == (len(text), "")


def test_json_lines_are_counted_by_their_texts_and_their_lines(
    scripted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    records = [{"m": [{"c": text}], "m.c": 3} for text in ("", "evil evil", "fine", "evil\ud800evil")]
    first, *others = map(json.dumps, records)
    (scripted / "a.jsonl").write_text("\ufeff" + "\n\n".join([first, *others]))
    code, lines, err = told(capfd, "a.jsonl", "m.0.c")
    assert (code, err) == (0, "")
    assert [(line["index"], line["line"], line["offset"]) for line in lines] == [(1, 3, 9), (3, 7, 9)]


BAD = ["{", "[1]", '"text"', "null", '{"b": 1}', "{}", '{"a": null}', '{"a": 3}', '{"a": {"b": ""}}', "[" * 9999]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:9])
def test_a_line_without_the_text_is_named_and_the_others_are_looked_at(
    bad: str, scripted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (scripted / "a.jsonl").write_text(f'{{"a": "evil evil"}}\n{bad}\n{{"a": "evil evil"}}\n')
    code, lines, err = told(capfd, "a.jsonl", "a")
    assert (code, [line["index"] for line in lines]) == (2, [0, 2])
    assert err.startswith("hangtight: a.jsonl:2: ")
    assert len(err.splitlines()) == 1


def test_a_wrong_field_does_not_fill_the_screen(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (scripted / "a.jsonl").write_text('{"text\\u001b[31m": "evil evil"}\n' * 5000)
    code, lines, err = told(capfd, "a.jsonl", "txet")
    assert (code, lines, len(err.splitlines())) == (2, [], MOST_TOLD + 1)
    assert "text\\x1b[31m" in err
    assert "4,990" in err


def test_bytes_that_are_no_text_are_replaced_and_told(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (scripted / "a.txt").write_bytes(b"\xff\xfeevil\xe4evil\xf0\x9f")
    code, lines, err = told(capfd, "a.txt")
    assert (code, lines[-1]["offset"], len(err.splitlines())) == (0, 11, 1)
    assert "5 bytes" in err
    (scripted / "a.jsonl").write_bytes(b'{"a": "\xffevil evil"}\n')
    code, lines, err = told(capfd, "a.jsonl", "a")
    assert (code, lines[-1]["offset"], "1 byte " in err) == (0, 10, True)


def test_an_empty_file_is_no_trouble(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (scripted / "a.txt").write_text("")
    assert told(capfd, "a.txt") == (0, [], "")
    assert told(capfd, "a.txt", "field") == (0, [], "")
    code, out, err = shown(capfd, "a.txt")
    assert (code, err, "0 characters" in out) == (0, "", True)
    assert shown(capfd, "a.txt", "field")[1].startswith("0 texts")


@pytest.mark.usefixtures("scripted")
def test_a_dash_is_stdin(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"evil evil")))
    assert [line["offset"] for line in told(capfd, "-")[1]] == [9]


@pytest.mark.parametrize("file", [None, "", "nowhere.txt", ".", "\x1b[2J", "a" * 5000, "\0"], ids=repr)
@pytest.mark.usefixtures("scripted")
def test_what_is_no_file_is_told_in_one_line(file: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        intent_command(file, None, as_json=False)
    out, err = capfd.readouterr()
    assert (ended.value.exit_code, out, len(err.splitlines())) == (2, "", 1)
    assert visible(err)


def test_a_field_without_a_name_is_refused(scripted: Path) -> None:
    (scripted / "a.txt").write_text("")
    with pytest.raises(typer.Exit):
        intent_command("a.txt", " ", as_json=False)


def test_people_see_the_phases_what_repeats_and_where_it_would_end(
    scripted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "x = 1\n" * 9 + "evil " * 4
    (scripted / "a.txt").write_text(text + "more " * 1000 + "evil")
    code, out, err = shown(capfd, "a.txt")
    assert (code, err) == (0, "")
    assert visible(out)
    assert max(map(len, out.splitlines())) <= 80
    cut = len(text.rstrip())
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines if "█" in "".join(line)] == [
        ["0", "63", "coding"],
        ["63", f"{cut}", "stuck"],
    ]
    assert [line[:3] for line in lines if line[1:2] == ["loop"]] == [
        ["63", "loop", "hold"],
        ["68", "loop", "hold"],
        [f"{cut}", "loop", "cut"],
    ]
    # asked for where the cut was found: the fifth copy had not been read
    assert f"after {cut} characters, and the first 4,006 kept" in out.splitlines()[-1]


def test_a_healthy_text_among_many_is_one_line(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    many = ["x = 1\n" * 9, "evil evil", "evil " * 4, "tiny"]
    (scripted / "a.jsonl").write_text("".join(json.dumps({"a": text}) + "\n" for text in many))
    _, out, _ = shown(capfd, "a.jsonl", "a")
    lines = out.splitlines()
    assert lines[0] == "text 0 (line 1): 54 characters: coding 100%"
    assert [line for line in lines if line.startswith("text ")] == [
        lines[0],
        "text 1 (line 2): 9 characters",
        "text 2 (line 3): 20 characters",
        "text 3 (line 4): 4 characters: unknown 100%",
    ]
    assert lines[-1] == "4 texts, 87 characters: 1 would be cut, 1 held back."


def test_what_is_kept_of_a_long_text_does_not_grow_with_it() -> None:
    sight = Sight()
    for at in range(1, 2001):
        coding = Finding(act=Act.EXTEND, doing=(Doing.CODING, Doing.EXPLAINING)[at % 2], offset=at * 10)
        stale = Finding(act=Act.HOLD, doing=Doing.STUCK, rule=Rule.NOVELTY, offset=at * 10 + 5)
        sight.take(coding)
        sight.take(stale)
    sight.length = 30_000
    lines = sight.lines("a", room=80, colours=False, whole=True)
    assert len(lines) < 2 * MOST_SHOWN + 12
    assert [line for line in lines if line.startswith("and ")] == ["and 3,976 more", "and 1,976 more"]
    assert max(map(len, lines)) <= 80


def test_a_bar_lies_where_its_stretch_lies() -> None:
    assert stretch(0, 100, 100, 10) == "█" * 10
    assert stretch(50, 60, 100, 10) == "     █"
    assert stretch(99_999, 100_000, 100_000, 10) == "         █"
    assert stretch(0, 1, 100_000, 10) == "█"


def test_a_large_file_is_read_in_pieces(scripted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (scripted / "a.jsonl").write_text((json.dumps({"a": "fine", "b": "x" * 20_000}) + "\n") * 400)
    tracemalloc.start()
    assert told(capfd, "a.jsonl", "a") == (0, [], "")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_of_long_work_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    for stderr, drawn in ((Terminal(), ["", "5 of 10 MiB read", ""]), (io.StringIO(), [""])):
        instants = iter([0.0, 0.5, 1.5, 1.5, 1.6, 1.6])
        monkeypatch.setattr(texts, "clock", SimpleNamespace(now=lambda instants=instants: next(instants)))
        monkeypatch.setattr(sys, "stderr", stderr)
        progress = texts.Progress("a.txt", 10 << 20)
        for mebibytes in (2, 3, 4):
            progress.passed(mebibytes << 20)
        progress.clear()
        progress.clear()
        assert stderr.getvalue().split(ERASE) == drawn


def test_a_dotted_name_goes_in_and_a_name_with_a_dot_is_a_name() -> None:
    assert text_in('{"a": {"b": "in"}}', "a.b").text == "in"
    assert text_in('{"a.b": "name", "a": {"b": "in"}}', "a.b").text == "name"
    assert text_in('{"a": [{"b": "in"}]}', "a.0.b").text == "in"
    for wrong in ("a.1.b", "a.b", "a.0.b.c", "a..b", ".", "a.-1.b", "a.²"):
        assert text_in('{"a": [{"b": "in"}]}', wrong).text is None


# -- the command itself, with the real analyser -----------------------------------------------------------------------


@pytest.mark.real
def test_findings_never_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").write_text("Now I look at what is there.\n" + SENTENCE * 60)
    told = command(tmp_path, "lab", "intent", "loop.txt", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    first = next(line for line in map(json.loads, told.stdout.splitlines()) if line["advice"] == "cut")
    assert (first["rule"], first["period"]) == ("exact", len(SENTENCE))
    told = command(tmp_path, "lab", "intent", "loop.txt")
    assert (told.returncode, told.stderr, "would be cut after" in told.stdout) == (0, "", True)


@pytest.mark.real
def test_a_healthy_answer_of_the_lab_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "code.txt").write_text("".join(map(function, range(60))))
    told = command(tmp_path, "lab", "intent", "code.txt")
    assert (told.returncode, "would not be cut" in told.stdout) == (0, True)


@pytest.mark.real
def test_the_help_has_an_example(tmp_path: Path) -> None:
    told = command(tmp_path, "lab", "intent", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "Example: hangtight lab intent" in told.stdout


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal_there_are_colours_unless_nobody_wants_them(tmp_path: Path) -> None:
    (tmp_path / "loop.txt").write_text(SENTENCE * 60)
    words = ("lab", "intent", "loop.txt")
    assert "\x1b[31m" in on_a_terminal(tmp_path, *words)[1]
    assert "\x1b" not in on_a_terminal(tmp_path, *words, NO_COLOR="1")[1]
    assert "\x1b" not in on_a_terminal(tmp_path, *words, TERM="dumb")[1]


def begun(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    line = [sys.executable, "-m", "hangtight", "lab", "intent", *words]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    return subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=environment)


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="no such signal for one process")
def test_findings_come_as_the_text_comes_and_an_interrupt_ends_it_without_a_word(tmp_path: Path) -> None:
    with begun(tmp_path, "-", "--json") as looking:
        assert looking.stdin is not None
        assert looking.stdout is not None
        looking.stdin.write((SENTENCE * 60).encode())
        looking.stdin.flush()
        assert json.loads(looking.stdout.readline())["index"] == 0
        looking.send_signal(signal.SIGINT)
        _, err = looking.communicate(timeout=30)
    assert (looking.returncode, err) == (130, b"")


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_leaves_ends_it_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text((json.dumps({"a": SENTENCE * 30}) + "\n") * 1000)
    with begun(tmp_path, "a.jsonl", "--field", "a", "--json") as looking:
        assert looking.stdout is not None
        assert looking.stderr is not None
        assert looking.stdout.readline()
        looking.stdout.close()
        assert looking.stderr.read() == b""
        assert looking.wait(timeout=30) == 141
