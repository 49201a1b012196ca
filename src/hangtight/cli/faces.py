"""How `hangtight ask` shows an answer: live on a terminal, bare in a pipe, or as one JSON object at the end."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hangtight.cli.below import Below, answer_is_elsewhere, can_be_drawn
from hangtight.cli.printing import folded, has_colours, line_of, obeys
from hangtight.cli.process import STDOUT, say, write_all
from hangtight.cli.telling import Move, moved, printable, rate, receipt, status_line
from hangtight.core.phases import Outcome
from hangtight.drivers import clock
from hangtight.errors import GenerationTimeout, HangtightError, Looping

if TYPE_CHECKING:
    from hangtight.cli.screen import Screen
    from hangtight.drivers.asking import Asking
    from hangtight.drivers.watch import Watch

LINGERS = 1.0  # seconds that a line stands while nothing comes
NOT_SURE = "hangtight: the stream ended without a finish reason; the answer may be incomplete\n"


class Face:
    """What is common: an answer may begin, go on, and ends in any case. This one shows nothing."""

    is_live = False
    place = "on stdout"
    """Where the text is that came, for messages."""

    def __init__(self) -> None:
        self.asking: Asking | None = None
        self.watched: Watch[Any] | None = None

    def begin(self, asking: Asking, watched: Watch[Any], *, chosen: bool) -> None:
        """The question is about to be asked; `chosen`: nobody said which model."""
        self.asking, self.watched = asking, watched

    def show(self) -> None:
        """A chunk came; `asking.last` is what it says."""

    def tick(self) -> None:
        """Time has passed."""

    def make_room(self) -> None:
        """Something is about to be said on stderr."""

    def end(self, error: HangtightError | None = None) -> None:
        """It is over; what the error says goes to stderr by itself."""


class Bare(Face):
    """The answer on stdout and nothing else; on a terminal that cannot be drawn on, the receipt too."""

    def __init__(self) -> None:
        super().__init__()
        self._open = False

    def show(self) -> None:
        if self.asking is not None and (text := self.asking.last.answer):
            _out(printable(text) if sys.stdout.isatty() else text)
            self._open = not text.endswith("\n")

    def end(self, error: HangtightError | None = None) -> None:
        if self._open:
            _out("\n")
        self._open = False
        if error is None and self.asking is not None and self.watched is not None:
            if sys.stderr.isatty():
                _tell_receipt(self.asking, self.watched)
            if self.watched.outcome is Outcome.UNFINISHED:
                say(NOT_SURE)


class Live(Bare):
    """The answer flows, reasoning is dimmed, and below stands one line about its time."""

    is_live = True
    place = "of the answer"

    def __init__(self, screen: Screen, *, colours: bool) -> None:
        super().__init__()
        self._screen = screen
        self._colours = colours
        self._thinking = False
        self._blank = True
        """Nothing but white space so far, since the beginning or since the reasoning."""
        self._read: float | None = None
        self._drawn_at = 0.0
        self._is_old = False

    def begin(self, asking: Asking, watched: Watch[Any], *, chosen: bool) -> None:
        super().begin(asking, watched, chosen=chosen)
        if chosen:
            say(f"{line_of(asking.model or 'its model')} at {line_of(asking.server.url)}\n")

    def show(self) -> None:
        assert self.asking is not None, "what is shown was asked"
        last = self.asking.last
        self._read = last.read
        self._is_old = True
        _out(self._thoughts(last.reasoning) + self._answer(last.answer))

    def _thoughts(self, text: str) -> str:
        if not text or (self._blank and not text.strip()):
            return ""
        before = "" if self._thinking or self._colours else "(thinking) "
        self._thinking, self._blank = True, False
        return self._screen.say(before + text, dim=True)

    def _answer(self, text: str) -> str:
        if self._thinking and text.strip():
            self._thinking = False
            return self._screen.say("\n\n" if self._colours else "\n\n(answer) ") + self._screen.say(text.lstrip())
        if not text or ((self._blank or self._thinking) and not text.strip()):
            return ""
        self._blank = False
        return self._screen.say(text)

    def tick(self) -> None:
        """Not when a chunk comes, but while the next is waited for: only then is it known what rings next."""
        assert self.watched is not None, "what has a status was begun"
        now = clock.now()
        if self._is_old or now - self._drawn_at >= LINGERS:
            self._is_old, self._drawn_at = False, now
            total = self.watched.limits.total
            _out(self._screen.draw(status_line(self.watched.snapshot(), self._screen.room, self._read, total)))

    def end(self, error: HangtightError | None = None) -> None:
        _out(self._screen.close())
        super().end(error)


class Whole(Face):
    """One JSON object on stdout at the end, also where there is an error to tell of."""

    place = 'of "answer", in "useful"'

    def __init__(self) -> None:
        super().__init__()
        self._reasoning: list[str] = []

    def show(self) -> None:
        if self.asking is not None and self.asking.last.reasoning:
            self._reasoning.append(self.asking.last.reasoning)

    def end(self, error: HangtightError | None = None) -> None:
        told: dict[str, Any] = {"answer": "", "model": None, "url": None, "outcome": "failed"}
        if self.asking is not None and self.watched is not None:
            told = self._report(self.asking, self.watched, error)
        told["error"] = None if error is None else _error(error)
        _out(json.dumps(told, ensure_ascii=False) + "\n")

    def _report(self, asking: Asking, watched: Watch[Any], error: HangtightError | None) -> dict[str, Any]:
        begun = watched.snapshot() if watched.outcome is not None else None
        move = _move(watched)
        return {
            "answer": watched.partial,
            "useful": error.useful if isinstance(error, Looping) else None,
            "reasoning": "".join(self._reasoning) or None,
            "model": asking.model or None,
            "url": asking.server.url,
            "outcome": watched.outcome,
            "finish_reason": asking.reason or None,
            "tokens": _tokens(asking, watched),
            "elapsed": _rounded(watched.elapsed),
            "first_token": _rounded(begun.first_token) if begun else None,
            "tokens_per_second": _rounded(rate(begun)) if begun else None,
            "limits": asdict(watched.limits),
            "deadline": None if move is None else move._asdict(),
            "loop": _loop(error),
            "attempts": [asdict(attempt) for attempt in watched.attempts],
        }


class Beside(Face):
    """Another face, whose stdout is read elsewhere or later, and on stderr the line about its time."""

    is_live = True

    def __init__(self, face: Face, below: Below) -> None:
        super().__init__()
        self.place = face.place
        self._face = face
        self._below = below
        self._drawn_at = -LINGERS

    def begin(self, asking: Asking, watched: Watch[Any], *, chosen: bool) -> None:
        super().begin(asking, watched, chosen=chosen)
        self._face.begin(asking, watched, chosen=chosen)

    def show(self) -> None:
        self._face.show()

    def tick(self) -> None:
        assert self.watched is not None, "what has a status was begun"
        now = clock.now()
        if now - self._drawn_at >= LINGERS / 2:
            self._drawn_at = now
            total = self.watched.limits.total
            self._below.draw(status_line(self.watched.snapshot(), self._below.room, total=total))

    def make_room(self) -> None:
        self._below.clear()

    def end(self, error: HangtightError | None = None) -> None:
        self._below.clear()
        self._face.end(error)


def _loop(error: HangtightError | None) -> dict[str, Any] | None:
    """What repeats, without a word of it: the text is in the answer."""
    found = error.loop if isinstance(error, Looping) else None
    if found is None:
        return None
    told = {name: getattr(found, name) for name in ("period", "copies", "start", "offset")}
    return {"rule": found.rule.value, "channel": found.channel.value, **told}


def _error(error: HangtightError) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, GenerationTimeout):
        told |= {"limit": error.limit, "waited": _rounded(error.waited), "source": error.source}
    return told


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _tokens(asking: Asking, watched: Watch[Any]) -> int:
    """As the server counts them, else the pieces that came."""
    return watched.tokens if asking.tokens is None else asking.tokens


def _tell_receipt(asking: Asking, watched: Watch[Any]) -> None:
    line = receipt(_tokens(asking, watched), watched.elapsed, asking.reason, _move(watched))
    say("\n".join(folded(line, Below().room)) + "\n")


def _move(watched: Watch[Any]) -> Move | None:
    return None if watched.outcome is None else moved(watched.snapshot(), watched.limits.total)


def _out(text: str) -> None:
    if text:
        write_all(STDOUT, text.encode(sys.stdout.encoding or "utf-8", "replace"))


def face_for(*, as_json: bool) -> Face:
    """The face for where stdout and stderr go."""
    if not as_json and obeys(sys.stdout) and obeys(sys.stderr):
        from hangtight.cli.screen import Screen

        colours = has_colours()
        return Live(Screen(_columns, colours=colours), colours=colours)
    face = Whole() if as_json else Bare()
    return Beside(face, Below()) if can_be_drawn() and (as_json or answer_is_elsewhere()) else face


def _columns() -> int:
    """The terminal's own word, not $COLUMNS, which is as old as the shell's last prompt; some say 0."""
    try:
        return os.get_terminal_size(STDOUT).columns or 80
    except OSError:
        return 80
