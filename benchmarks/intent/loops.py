"""Loops as a model would write them: every period, seven alphabets, with and without what makes them no loops."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from benchmarks.intent.brute import is_primitive, needed

LONGEST_DUE = 2_400
"""Every period up to here has to be caught; beyond, up to `LONGEST`, most."""
LONGEST = 4_000
LATE = 600
TAIL = 130
LONGEST_PREFIX = 5_000

VOCABULARY = """
the of and model waits while a token comes from its server under load then silence grows before anyone asks why
such long answers never end because each sentence follows another without reason until time itself runs out in
small steps toward nothing we could call progress however many words were spent on saying it again quite slowly
river stone window paper garden letter morning colour number engine signal memory kernel buffer packet thread
"""
WORDS = VOCABULARY.split()
SIGNS = [chr(code) for code in range(0x1F300, 0x1F64F)]


class Loop(NamedTuple):
    """A text, and what ought to be found in it: the loop's period and start, and where there is enough of it."""

    name: str
    text: str
    period: int
    start: int
    due: int | None
    """None: this is no loop by the thresholds, and must not be cut."""


def words(chance: random.Random) -> Iterator[str]:
    while True:
        length = chance.randint(4, 14)
        sentence = " ".join(chance.choice(WORDS) for _ in range(length))
        yield sentence.capitalize() + chance.choice(". . . ? \n").replace(" ", "") + " "


def code(chance: random.Random) -> Iterator[str]:
    while True:
        one, other, third = (f"{chance.choice(WORDS)}_{chance.choice(WORDS)}" for _ in range(3))
        yield f"def {one}({other}, {third}={chance.randint(0, 999)}):\n"
        for _ in range(chance.randint(1, 5)):
            yield f"    {chance.choice(WORDS)} = {other}.{chance.choice(WORDS)}({third}[{chance.randint(0, 99)}])\n"
        yield f"    return {third}\n\n\n"


def objects(chance: random.Random) -> Iterator[str]:
    while True:
        row = {"id": chance.randint(1, 9_999), chance.choice(WORDS): chance.choice(WORDS), "ok": chance.random() < 0.5}
        yield json.dumps(row) + ",\n  "


def cjk(chance: random.Random) -> Iterator[str]:
    while True:
        yield "".join(chr(0x4E00 + chance.randrange(3_000)) for _ in range(chance.randint(3, 20)))
        yield chance.choice(",。、!\n")


def emoji(chance: random.Random) -> Iterator[str]:
    while True:
        yield chance.choice(WORDS) + chance.choice(SIGNS) * chance.randint(1, 3) + chance.choice(("", " ", "!"))


def table(chance: random.Random) -> Iterator[str]:
    while True:
        one, other, third = (chance.choice(WORDS) for _ in range(3))
        yield f"| {one} | {chance.randint(0, 9_999):>5} | {other} {third} |\n"


def letters(chance: random.Random) -> Iterator[str]:
    while True:
        yield chr(97 + chance.randrange(26))


ALPHABETS: dict[str, Callable[[random.Random], Iterator[str]]] = {
    "words": words,
    "code": code,
    "JSON": objects,
    "CJK": cjk,
    "emoji": emoji,
    "table": table,
    "letters": letters,
}


def some(pieces: Iterable[str], length: int) -> str:
    found, count = [], 0
    for piece in pieces:
        if count >= length:
            break
        found.append(piece)
        count += len(piece)
    return "".join(found)[:length]


def unit_of(alphabet: str, period: int, chance: random.Random) -> str:
    """Of exactly this period, and with a letter in it."""
    while True:
        unit = some(ALPHABETS[alphabet](chance), period)
        if not any(character.isalpha() for character in unit):
            unit = unit[:-1] + chance.choice("abcdefgh")
        if is_primitive(unit):
            return unit


def looped(name: str, prefix: str, unit: str) -> Loop:
    """So many copies as are evidence, and as many as a cut may be late."""
    period, length = len(unit), needed(unit)
    start = len(prefix)
    while start and prefix[start - 1] == (prefix[start:] + unit * 2)[period - 1]:
        start -= 1
    length += max(period, LATE) + TAIL
    text = prefix + (unit * (length // period + 2))[: length - (len(prefix) - start)]
    return Loop(name, text, period, start, start + needed(unit))


def plain(periods: Iterable[int], alphabets: Iterable[str] = tuple(ALPHABETS)) -> Iterator[Loop]:
    """Each of these periods in each of these alphabets, after a healthy beginning of any length."""
    for alphabet in alphabets:
        for period in periods:
            chance = random.Random(f"{alphabet} {period}")
            prefix = some(ALPHABETS[alphabet](chance), chance.randint(0, LONGEST_PREFIX))
            yield looped(f"{alphabet}, period {period}", prefix, unit_of(alphabet, period, chance))


def without_letters() -> Iterator[Loop]:
    """Digits, rulers, blanks: those that are evidence, and those that are only long."""
    units = ["-", "=", "0", "- ", "* * ", "\n", " \n", "    \n", "12345 ", "0, ", "....\n", "|---|---|\n", "+-----+\n"]
    chance = random.Random("units")
    units += [
        "".join(chance.choice("0123456789 ,;") for _ in range(length)) + "\n" for length in (20, 75, 150, 299, 500)
    ]
    units += ["".join(chance.choice("0123456789+/") for _ in range(length)) for length in (10, 100, 700)]
    for unit in filter(is_primitive, units):
        yield looped(f"unit {unit[:12]!r} of {len(unit)}", "A ruler:\n", unit)
        yield short(f"unit {unit[:12]!r} of {len(unit)}, one character too few", "A ruler:\n", unit)


def short(name: str, prefix: str, unit: str) -> Loop:
    """As long as it may be without being evidence."""
    loop = looped(name, prefix, unit)
    until = loop.start + needed(unit) - 1
    # what follows must end the run at its first character, whatever the unit is
    return Loop(name, loop.text[:until] + "Then it goes on.", len(unit), loop.start, None)


def nearly(periods: Iterable[int]) -> Iterator[Loop]:
    """One copy too few of it, between healthy texts."""
    for period in periods:
        chance = random.Random(f"nearly {period}")
        alphabet = chance.choice(list(ALPHABETS))
        text = short(f"{alphabet}, {period}, not enough", some(words(chance), 300), unit_of(alphabet, period, chance))
        yield text._replace(text=text.text + "\x00" + some(words(chance), 700))


def changed(unit: str, chance: random.Random) -> str:
    at = chance.randrange(len(unit))
    return unit[:at] + chance.choice([each for each in "qzxjQZXJ01234" if each != unit[at]]) + unit[at + 1 :]


def noisy(periods: Iterable[int], every: int) -> Iterator[Loop]:
    """One character is another in each copy, or in one of so many."""
    for period in periods:
        chance = random.Random(f"noisy {period} {every}")
        alphabet = chance.choice(list(ALPHABETS))
        unit = unit_of(alphabet, period, chance)
        copies = max(12, 3_000 // period)
        text = "".join(changed(unit, chance) if index % every == 0 else unit for index in range(copies))
        yield Loop(f"{alphabet}, {period}, noise in one of {every}", text, period, 0, None)


def drifting(periods: Iterable[int]) -> Iterator[Loop]:
    """The same sentence with a number that goes up."""
    for period in periods:
        chance = random.Random(f"drift {period}")
        unit = some(words(chance), period).replace("\n", " ")
        at, step = chance.randrange(len(unit) + 1), chance.choice((1, 1, 2, 10, -1))
        first = chance.randint(1, 1_000) + 10_000 * (step < 0)
        rows = (f"{unit[:at]} {first + step * index} {unit[at:]}" for index in range(max(20, 3_000 // period)))
        yield Loop(f"drift, {period}, by {step}", "".join(rows), period, 0, None)


def adversarial() -> dict[str, str]:
    """What is hard for one search or another; all of it without end, or nearly."""
    chance = random.Random("adversary")
    one, other = "a", "ab"
    while len(other) < 200_000:
        one, other = other, other + one
    return {
        "a...ab": ("a" * 5_000 + "b") * 40,
        "a{60}b": ("a" * 60 + "b") * 3_300,
        "a without end": "a" * 200_000,
        "near-copies": "".join("x" * chance.randint(3_990, 4_010) + "y" for _ in range(50)),
        "near-copies of a line": "".join(
            changed("The server did not answer in time, so we ask it again. ", chance) for _ in range(3_600)
        ),
        "near-copies of a page": "".join(changed(some(words(chance), 900), chance) * 2 for _ in range(110)),
        "period 4,000, broken": "".join(changed(some(letters(random.Random(7)), 4_000), chance) for _ in range(50)),
        "fibonacci": other[:200_000],
        "two letters": "".join(chance.choice("ab") for _ in range(200_000)),
        "mostly a": "".join(chance.choice("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab") for _ in range(200_000)),
        "emoji": some(emoji(chance), 200_000),
        "one sign": "\N{CRYING FACE}" * 100_000,
        "blanks": " " * 299 + "".join(chance.choice(" \t\n") * 250 + "." for _ in range(800)),
        "rulers": "".join("-" * chance.randint(60, 1_100) + "\n" for _ in range(400)),
    }
