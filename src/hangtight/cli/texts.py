"""What `hangtight lab intent` reads: a text, or one field of each JSON line, in pieces however large the file is."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, NoReturn

from hangtight.cli.below import Below, can_be_drawn
from hangtight.cli.printing import USUAL_WIDTH, cut, line_of
from hangtight.cli.process import say
from hangtight.cli.settings import USAGE, fail
from hangtight.drivers import clock

STDIN = "-"
CHUNK = 1 << 16
MIB = 1 << 20
LONGEST_LINE = 64 * MIB
MOST_TOLD = 10
"""Lines that cannot be used and are named; a wrong --field makes all of them such lines."""
WORTH_SHOWING, BETWEEN = 1.0, 0.2
"""Seconds after which progress is shown, and from one time to the next."""
LONE = re.compile("[\ud800-\udfff]")
"""Bytes that were not UTF-8, and halves of characters that JSON can write and nobody can encode."""
UNREADABLE = "\ufffd"
WORDS: dict[type, str] = {dict: "an object", list: "a list", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Text:
    """One text to look at, from the file as it is read."""

    index: int
    line: int | None
    """Where it stands in a file of JSON lines."""
    pieces: Iterator[str]


class Progress:
    """How far long work has come, below everything else on a terminal; nothing anywhere else."""

    def __init__(self, name: str, size: int | None) -> None:
        typed = name == STDIN and sys.stdin.isatty()
        self._shows = can_be_drawn() and not typed
        self._of = f" of {size / MIB:,.0f}" if size else ""
        self._read = 0
        self._next = clock.now() + WORTH_SHOWING
        self._below = Below()

    def passed(self, number: int) -> None:
        """So many more bytes were read."""
        self._read += number
        if self._shows and clock.now() >= self._next:
            self._below.draw(f"{self._read / MIB:,.0f}{self._of} MiB read")
            self._next = clock.now() + BETWEEN

    def clear(self) -> None:
        """Make room for what is to be read for longer."""
        self._below.clear()


class Texts:
    """The texts of a file, and what had to be said about it."""

    def __init__(self, name: str, file: BinaryIO, progress: Progress) -> None:
        self.name = "stdin" if name == STDIN else line_of(name)
        self.skipped = 0
        self._file = file
        self._progress = progress
        self._unreadable = 0

    def each(self, field: str | None) -> Iterator[Text]:
        """Each text, to be read before the next one is asked for. What is left out is said."""
        if field is None:
            yield Text(0, None, self._whole())
        else:
            yield from self._lines(field)
        self._conclude()

    def _whole(self) -> Iterator[str]:
        decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        is_first = True
        while data := self._read(lambda: self._file.read1(CHUNK)):  # type: ignore[attr-defined] # every buffer has it
            if piece := self._cleaned(decode(data)):
                yield piece.removeprefix("\ufeff") if is_first else piece
                is_first = False
        yield self._cleaned(decode(b"", True))

    def _lines(self, field: str) -> Iterator[Text]:
        number, index = 0, 0
        while data := self._read(lambda: self._file.readline(LONGEST_LINE)):
            number += 1
            if len(data) == LONGEST_LINE and not data.endswith(b"\n"):
                self._end(
                    f"{number}: longer than {LONGEST_LINE // MIB} MiB: it must be JSON lines, one object in a line"
                )
            line = self._cleaned(data.decode("utf-8", "surrogateescape")).removeprefix("\ufeff").strip()
            if not line:
                continue
            found = text_in(line, field)
            if found.text is None:
                self._skip(number, found.why)
            else:
                yield Text(index, number, iter((LONE.sub(UNREADABLE, found.text),)))
            index += 1

    def _read(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except OSError as error:
            self._end(f" cannot be read: {error.strerror or error}")
        self._progress.passed(len(data))
        return data

    def _cleaned(self, text: str) -> str:
        cleaned, number = LONE.subn(UNREADABLE, text)
        self._unreadable += number
        return cleaned

    def _end(self, why: str) -> NoReturn:
        self._progress.clear()
        fail(f"{self.name}:{why}", USAGE)

    def _skip(self, number: int, why: str) -> None:
        self.skipped += 1
        if self.skipped <= MOST_TOLD:
            self._progress.clear()
            say(f"hangtight: {self.name}:{number}: {why}\n")

    def _conclude(self) -> None:
        self._progress.clear()
        if self.skipped > MOST_TOLD:
            say(f"hangtight: {self.name}: {self.skipped - MOST_TOLD:,} more lines cannot be used\n")
        if self._unreadable:
            bytes_are = "1 byte is" if self._unreadable == 1 else f"{self._unreadable:,} bytes are"
            say(f"hangtight: {self.name}: {bytes_are} no UTF-8, and read as U+FFFD\n")


@contextmanager
def opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file, and its size if it has one."""
    if name == STDIN:
        yield sys.stdin.buffer, None
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed below; what is raised in between is not ours to catch
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        fail(f"{cut(line_of(name), USUAL_WIDTH)}: cannot be read: {why}; give a file of text, or - for stdin", USAGE)
    with file:
        yield file, os.fstat(file.fileno()).st_size or None


class Found(NamedTuple):
    """A field of a line, or why there is none."""

    text: str | None
    why: str = ""


def text_in(line: str, field: str) -> Found:
    """The text under this name, which may be dotted: `a.b` is b in the object a, `a.0` the first of the list a."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return Found(None, "no JSON: each line must be one object")
    if not isinstance(found, dict):
        return Found(None, f"{_kind(found)}: each line must be one object")
    if field in found:
        found = found[field]
    else:
        for part in field.split("."):
            within = found
            if isinstance(within, dict) and part in within:
                found = within[part]
            elif isinstance(within, list) and part.isdecimal() and int(part) < len(within):
                found = within[int(part)]
            else:
                return Found(None, f"no field {_shown(field)}; {_there_is(within)}")
    if isinstance(found, str):
        return Found(found)
    return Found(None, f"{_shown(field)} is {_kind(found)}: --field must name a text")


def _kind(found: object) -> str:
    return "null" if found is None else WORDS.get(type(found), "a text")


def _shown(name: str) -> str:
    return cut(line_of(name), USUAL_WIDTH // 2)


def _there_is(within: object) -> str:
    if isinstance(within, dict):
        names = ", ".join(map(line_of, within))
        return f"--field may be one of: {cut(names, USUAL_WIDTH)}" if names else "the object is empty"
    if isinstance(within, list):
        return f"the list has {len(within)} items, counted from 0"
    return f"{_kind(within)} has no fields"
