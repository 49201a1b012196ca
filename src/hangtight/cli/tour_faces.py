"""How the tour is shown: with a live line on a terminal, in plain lines in a pipe, as an object for each scene."""

from __future__ import annotations

import json
import os
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from hangtight.cli.printing import DIM, GREEN, PLAIN, RED, cut, has_colours, line_of, put, put_lines, width
from hangtight.cli.process import say
from hangtight.cli.telling import DOT
from hangtight.core.phases import Phase
from hangtight.core.telling import describe
from hangtight.core.words import at_work, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hangtight.cli.tour_scenes import Outcome, Scene

BOLD = "\x1b[1m"
ERASE = "\r\x1b[2K"
INDENT = "  "


class Face:
    """Plain lines; where nobody looks on there is nothing to draw anew."""

    is_watched = False
    """By somebody who reads, and needs time for it."""

    def intro(self, lines: list[str]) -> None:
        """What is indented is to be typed, and stays as it is."""
        put_lines(part for line in lines for part in ([line] if line.startswith(INDENT) else self._folded(line)))

    def begin(self, number: int, scene: Scene) -> None:
        put_lines(["", self._in(BOLD, f"{number}  {scene.title}"), *self._fitted(scene.line, INDENT, DIM)])

    def live(self, told: Mapping[str, Any]) -> None:
        """How it stands just now."""

    def happened(self, after: float, words: str) -> None:
        put_lines([self._cut(f"{INDENT}+{after:4.1f} s  {line_of(words)}")])

    def end(self, number: int, scene: Scene, outcome: Outcome, to_read_on: str) -> None:
        lines = [part for line in outcome.error for part in self._fitted(line_of(line), INDENT * 2, RED)]
        if to_read_on:
            lines += [f"{INDENT}to type it here, while the demo stays up:", f"{INDENT * 2}{to_read_on}"]
        put_lines([*lines, *self._fitted(f"=> {outcome.words}", INDENT, GREEN if outcome.held else RED)])

    def _fitted(self, text: str, indent: str, colour: str) -> list[str]:
        """On as many lines as it takes; in a pipe on one."""
        return [f"{indent}{text}"]

    def _folded(self, text: str) -> list[str]:
        return [text]

    def _in(self, colour: str, text: str) -> str:
        return text

    def _cut(self, text: str) -> str:
        return text


class Terminal(Face):
    """The same, with a line below it that is drawn anew."""

    is_watched = True

    def __init__(self) -> None:
        self._colours = has_colours()

    def live(self, told: Mapping[str, Any]) -> None:
        put(ERASE + self._in(DIM, cut(f"{INDENT}{standing(told)}", width() - 1)))

    def intro(self, lines: list[str]) -> None:
        put(ERASE)
        super().intro(lines)

    def happened(self, after: float, words: str) -> None:
        put(ERASE)
        super().happened(after, words)

    def end(self, number: int, scene: Scene, outcome: Outcome, to_read_on: str) -> None:
        put(ERASE)
        super().end(number, scene, outcome, to_read_on)

    def _fitted(self, text: str, indent: str, colour: str) -> list[str]:
        return [self._in(colour, line) for line in folded(text, width() - 1, indent)]

    def _folded(self, text: str) -> list[str]:
        return folded(text, width() - 1) or [""]

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colours else text

    def _cut(self, text: str) -> str:
        return cut(text, width() - 1)


class Objects(Face):
    """One object for each scene, on one line. All else goes to stderr."""

    def intro(self, lines: list[str]) -> None:
        say("".join(f"{line}\n" for line in lines))

    def begin(self, number: int, scene: Scene) -> None:
        """Nothing is known yet."""

    def happened(self, after: float, words: str) -> None:
        """The outcome has what counts."""

    def end(self, number: int, scene: Scene, outcome: Outcome, to_read_on: str) -> None:
        about = {"scene": number, "title": scene.title, "line": scene.line, **outcome._asdict()}
        put(json.dumps(about, default=str) + "\n")


def face_for(*, as_json: bool) -> Face:
    """The face for where stdout goes."""
    if as_json:
        return Objects()
    return Terminal() if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else Face()


def folded(text: str, room: int, indent: str = "") -> list[str]:
    """Between words only: half an address is none."""
    return wrap(
        text, max(room, 1), initial_indent=indent, subsequent_indent=indent + INDENT,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def standing(told: Mapping[str, Any]) -> str:
    """A heartbeat in one line."""
    alarm = told.get("nearest") or {}
    name, rings_in = str(alarm.get("limit", "")).replace("_", " "), alarm.get("rings_in")
    parts = [
        str(told.get("model", "")),
        phase_of(told),
        at_work(str(told.get("doing") or "")),
        seconds(told.get("elapsed") or 0.0),
        f"{told.get('tokens') or 0} tokens",
        "" if rings_in is None else f"{name} rings in {seconds(rings_in)}",
    ]
    return line_of(DOT.join(filter(None, parts)))


def phase_of(told: Mapping[str, Any]) -> str:
    """The phase of a heartbeat, in the words of all commands."""
    return describe(Phase(told["phase"])) if told.get("phase") in set(Phase) else str(told.get("phase", ""))
