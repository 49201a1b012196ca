"""Answers without end that are healthy: a table whose rows all differ, and code. No loop, and no counter either."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256

TOWNS = """
Aarhus Bergen Cadiz Dundee Essen Fargo Ghent Haarlem Izmir Jena Krakow Lund Malmo Nantes Oulu Porto Quito Riga Split
Turku Utrecht Vigo Wells Xalapa York Zadar Lisbon Osaka Perth Salem Tampa Verona
"""
THINGS = """
barge kiln loom crane ferry clock press anvil lathe pump wheel sluice beacon turbine organ scale boiler furnace mill
bell gauge hoist winch pulley printer telescope compass tram lift dredger lantern bellows
"""
DONE = "repaired sold lent restored painted measured copied buried drained weighed opened rented insured moved"
WHEN = "after before during since despite until"
WHAT = "flood winter strike fair fire harvest wedding auction audit storm parade lease frost trial siege market"
HOW = "carefully twice quietly again partly hastily late early openly badly cheaply slowly"
VERBS = "load merge split weigh sort trace pack scan rank fold draw mark send trim join read count match move check"
NOUNS = """
order parcel route sensor ticket ledger branch column packet vector window record client journal bucket signal pixel
frame cursor policy token server region device tenant folder margin quota stream worker lesson badge
"""
FENCE = """```python
from __future__ import annotations

import math
import operator
from collections import deque

LIMITS = {"order": 40, "parcel": 7, "route": 190}
"""
HEAD = "| town | object | built | height | owner said |\n| :--- | :--- | ---: | ---: | :--- |\n"
STATEMENTS = (
    "{a} = [{b}.{c} for {b} in {d} if {b}.{e} > {n}]",
    "for {a}, {b} in enumerate({d}):\n        {c}[{b}] = {a} * {n} + len({e})",
    "if {a}.{b} is None or {c} < {n}:\n        return {d}[{e}]",
    'with open({a}.{b}) as {c}:\n        {d} = {c}.read({n}).split("{e}")',
    "while {a} and {b}[-1].{c} != {n}:\n        {d} = {b}.pop() - {e}",
    'raise ValueError(f"{a} {b} of {{{c}}} has no {d}, and {e} is {n}")',
    "{a} = max({b}, key=lambda {c}: {c}.{d} % {n} - {e})",
    "try:\n        {a} = {b}.{c}({n})\n    except KeyError:\n        {d} = deque({e})",
    "{a}.{b}({c}, {d}={e} or {n})",
    "assert {a} <= math.hypot({b}, {c}) < {n}, ({d}, {e})",
    "{a}, {b} = divmod({c}.{d}, {n} + operator.index({e}))",
    "del {a}[{b}:{c}:{n}], {d}.{e}",
)
SIGNATURES = ("{a}, {b}", "{a}: int, {b}: str", "{a}, *, {b}=None", "*{a}, {b}", "{a}, /, {b}={n}", "{a}, **{b}")
IN_A_ROW, IN_A_FUNCTION = 14, 28
WORD = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


class Drawn:
    """Choices that are the same in every process, and one as good as independent of the other."""

    def __init__(self, what: str) -> None:
        self._rest = int.from_bytes(sha256(what.encode()).digest())

    def number(self, low: int, high: int) -> int:
        self._rest, drawn = divmod(self._rest, high - low + 1)
        return low + drawn

    def one(self, choices: Sequence[str]) -> str:
        return choices[self.number(0, len(choices) - 1)]

    def some(self, choices: str, number: int) -> list[str]:
        """So many, no two of them the same."""
        left = choices.split()
        return [left.pop(self.number(0, len(left) - 1)) for _ in range(number)]


def row(number: int) -> str:
    """One row of the table; the first one is its head."""
    if number == 0:
        return HEAD
    drawn = Drawn(f"row {number}")
    town, thing = drawn.one(TOWNS.split()), drawn.one(THINGS.split())
    built, height = drawn.number(1490, 1990), drawn.number(110, 9_890) / 100
    one, other = drawn.some(WHAT, 2)
    said = f"{drawn.one(DONE.split())} {drawn.one(WHEN.split())} the {one} {other}, {drawn.one(HOW.split())}"
    return f"| {town} | {thing} | {built} | {height:.2f} m | {said} |\n"


def function(number: int) -> str:
    """One function; before the first one the block of code is opened."""
    if number == 0:
        return FENCE
    drawn = Drawn(f"function {number}")
    given = dict(zip("abc", drawn.some(NOUNS, 3), strict=True))
    signature = drawn.one(SIGNATURES).format(**given, n=drawn.number(2, 999))
    lines = [f"\n\ndef {drawn.one(VERBS.split())}_{'_'.join(drawn.some(NOUNS, 3))}({signature}):"]
    for at in range(drawn.number(2, 5)):
        more = Drawn(f"function {number}, statement {at}")
        names = dict(zip("abcde", more.some(NOUNS, 5), strict=True))
        lines.append(more.one(STATEMENTS).format(**names, n=more.number(2, 9_999)))
    return "\n    ".join([*lines, f"return {given[drawn.one('abc')]}\n"])


def said_of_table(index: int) -> str:
    """The text of one token of the table."""
    return _pieces(row, index // IN_A_ROW, IN_A_ROW)[index % IN_A_ROW]


def said_of_code(index: int) -> str:
    """The text of one token of the code."""
    return _pieces(function, index // IN_A_FUNCTION, IN_A_FUNCTION)[index % IN_A_FUNCTION]


@lru_cache(maxsize=64)
def _pieces(part: Callable[[int], str], number: int, count: int) -> list[str]:
    """A part in so many tokens, none of them empty: each part has as many, so that any token is found at once."""
    words = WORD.findall(part(number))
    return ["".join(words[len(words) * at // count : len(words) * (at + 1) // count]) for at in range(count)]
