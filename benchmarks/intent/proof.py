"""Goes through the corpus and the loops, and keeps what is worth a table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean
from typing import NamedTuple

from benchmarks.intent import baselines, greedy, measure
from benchmarks.intent.brute import Passage, passages
from benchmarks.intent.corpus import KINDS, Kind, Text, licences, some
from benchmarks.intent.judge import Catch, catch, heard, judged
from benchmarks.intent.loops import (
    ALPHABETS,
    LATE,
    LONGEST,
    LONGEST_DUE,
    Loop,
    drifting,
    nearly,
    noisy,
    plain,
    without_letters,
)
from hangtight.intent.findings import Act, Channel, Finding

TIMED = 250_000
"""Characters of each kind that the clock is held against."""
LONGEST_TEXT = 20_000
LISTED = 160
"""Characters of the text around an error that are shown."""
BEYOND = 4
"""Every so many-th period of those that need not be caught."""
COMPARED, COMPARED_EACH = "words", 5
"""On so many of the loops of this alphabet the rules of others are tried, too."""
PIECES = (1, 4, 7, 1_000, LONGEST_TEXT)
BANDS = ((1, 75), (76, 600), (601, LONGEST_DUE), (LONGEST_DUE + 1, LONGEST))


class Size(NamedTuple):
    """How much of everything."""

    characters: int
    """Of each kind."""
    every: int
    """Every so many-th period."""
    baselines: bool = True


FULL = Size(620_000, 1)
QUICK = Size(60_000, 41)


@dataclass(slots=True)
class Row:
    """What is said about one kind of text."""

    kind: str
    made: bool = False
    texts: int = 0
    characters: int = 0
    cuts: int = 0
    cuts_in_reasoning: int = 0
    wrong: int = 0
    held: int = 0
    """Texts with a suspicion outside of loops."""
    holds: dict[str, int] = field(default_factory=dict)
    loops: int = 0
    owed: int = 0
    missed: int = 0
    others: dict[str, int] = field(default_factory=dict)
    """Texts that the rules of others would have ended where there is no loop."""
    microseconds: float = 0.0


@dataclass(slots=True)
class Loops:
    """What became of loops of one sort."""

    sort: str
    count: int = 0
    caught: int = 0
    worst: int = 0
    mean: float = 0.0
    wrong_period: int = 0
    wrong_start: int = 0
    wrong_kept: int = 0
    owed: int = 0
    """So many go on for so long that they must be cut."""
    cuts: int = 0
    """Where there was to be none."""
    held: int = 0
    others: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """All of it."""

    kinds: list[Row] = field(default_factory=list)
    loops: list[Loops] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    adversaries: dict[str, float] = field(default_factory=dict)
    kilobytes: dict[str, float] = field(default_factory=dict)


def tell(text: str) -> None:
    """Progress, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def around(text: str, finding: Finding) -> str:
    return repr(text[max(0, finding.offset - LISTED) : finding.offset])


def healthy(kind: Kind, size: Size, report: Report) -> Row:
    """One kind of text: as an answer, and as reasoning, where more may be cut."""
    row = Row(kind.name, kind.made, others=dict.fromkeys(baselines.RULES, 0))
    found = some(kind, size.characters)
    for index, (name, text) in enumerate(found):
        tell(f"{kind.name}: {index} of {len(found)}")
        known = passages(text)
        report.excluded += [f"{name}: {described(loop)}" for loop in known]
        answer = judged(text, Channel.ANSWER, known)
        reasoning = judged(text, Channel.REASONING, known)
        row.texts += 1
        row.characters += len(text)
        row.cuts += len(answer.outside)
        row.cuts_in_reasoning += len(reasoning.outside)
        row.wrong += len(answer.wrong)
        row.held += bool(answer.holds)
        row.holds = dict(answer.holds + Counter(row.holds))
        row.loops += len(known)
        row.owed += answer.owed
        row.missed += len(answer.missed)
        report.errors += [f"missed in {name}: {described(loop)}" for loop in answer.missed]
        for what, findings in (
            ("false alarm", answer.outside),
            ("false alarm in reasoning", reasoning.outside),
            ("wrong", answer.wrong),
        ):
            report.errors += [f"{what} in {name}: {told(each)}, after {around(text, each)}" for each in findings[:3]]
        if size.baselines:
            for rule, ends in baselines.RULES.items():
                row.others[rule] += is_false(ends(text), known)
    report.errors += cut_into_pieces([text for _, text in found[:3]])
    row.microseconds = measure.cost(until(found, TIMED)) if found else 0.0
    return row


def cut_into_pieces(texts: Iterable[str]) -> Iterator[str]:
    """How a server cut a text must not matter."""
    for whole in texts:
        text = whole[:LONGEST_TEXT]
        found = heard(text)
        for piece in PIECES:
            if heard(text, piece=piece) != found:
                yield f"found something else in pieces of {piece}: {text[:LISTED]!r}"


def until(texts: Iterable[Text], characters: int) -> Iterator[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text.text[:characters]
        characters -= len(text.text)


def is_false(end: int | None, known: list[Passage]) -> bool:
    """A rule of others ends a text just once: was there a loop?"""
    return end is not None and not any(loop.start < end <= loop.end + LATE for loop in known)


def described(loop: Passage) -> str:
    what = f"period {loop.period}, {loop.copies} copies" if loop.period else "white space"
    return f"{loop.start:,} to {loop.end:,}, {what}"


def told(finding: Finding) -> str:
    return (
        f"{finding.act.value} by {finding.rule.value} at {finding.offset:,}: "
        f"period {finding.period}, {finding.copies} copies from {finding.start:,}"
    )


def caught(sort: str, texts: Iterable[Loop], report: Report) -> Loops:
    """Loops that are due."""
    row = Loops(sort)
    late: list[int] = []
    for loop in texts:
        tell(f"{sort}: {row.count}")
        found = catch(loop)
        row.count += 1
        row.caught += found.caught
        if found.caught:
            late.append(found.late)
            row.wrong_period += not found.period
            row.wrong_start += not found.start
            row.wrong_kept += not found.kept
        if found != Catch(True, found.late, True, True, True):
            report.errors.append(f"{loop.name}, due at {loop.due}, from {loop.start}: {found}")
    row.owed = row.count
    row.worst, row.mean = max(late, default=0), fmean(late or [0])
    return row


def compared(sort: str, texts: Iterable[Loop]) -> Loops:
    """Loops that the rules of others would have ended; not where they ended the healthy text before."""
    row = Loops(sort, others=dict.fromkeys(baselines.RULES, 0))
    for loop in texts:
        tell(f"{sort}: {row.count}")
        row.count += 1
        row.owed += 1
        row.caught += catch(loop).caught
        for rule, ends in baselines.RULES.items():
            row.others[rule] += (end := ends(loop.text)) is not None and end > loop.start
    return row


def spared(sort: str, texts: Iterable[Loop], report: Report) -> Loops:
    """What is no loop, or only now and then: the brute force says where one is."""
    row = Loops(sort, others=dict.fromkeys(baselines.RULES, 0))
    for loop in texts:
        found = judged(loop.text)
        row.count += 1
        row.owed += bool(found.owed)
        row.caught += bool(found.owed and not found.missed)
        row.cuts += len(found.outside)
        row.held += any(each.act is Act.HOLD for each in heard(loop.text))
        wrong = [*map(told, found.outside + found.wrong), *(f"missed {described(each)}" for each in found.missed)]
        report.errors += [f"{loop.name}: {each}" for each in wrong]
        for rule, ends in baselines.RULES.items():
            row.others[rule] += ends(loop.text) is not None
    return row


def all_loops(size: Size, report: Report) -> Iterator[Loops]:
    for low, high in BANDS:
        every = size.every * BEYOND if low > LONGEST_DUE else min(size.every, 5) if low == 1 else size.every
        periods = range(low, high + 1, every)
        for alphabet in ALPHABETS:
            yield caught(f"{alphabet}, {low} to {high}", plain(periods, [alphabet]), report)
        if size.baselines:
            some_of_them = periods if low == 1 else periods[::COMPARED_EACH]
            yield compared(f"rules of others, {low} to {high}", plain(some_of_them, [COMPARED]))
    units = list(without_letters())
    yield caught("no letters, enough", (each for each in units if each.due is not None), report)
    yield spared("no letters, one too few", (each for each in units if each.due is None), report)
    some_periods = range(1, LONGEST_DUE, 10 * size.every)
    yield spared("one character too few", nearly(some_periods), report)
    yield spared("noise in each copy", noisy(some_periods, 1), report)
    yield spared("noise in one of five", noisy(some_periods, 5), report)
    yield spared("drifting counters", drifting(range(5, 500, 5 * min(size.every, 5))), report)
    trained_on = "".join(text for _, text in some(Kind("licences", licences), 500_000))
    texts = (Loop(name, text, 0, 0, None) for name, text in greedy.texts(trained_on))
    yield spared("greedy", texts, report)


def proof(size: Size) -> Report:
    report = Report()
    for kind in KINDS:
        row = healthy(kind, size, report)
        if row.texts:
            report.kinds.append(row)
    report.loops += all_loops(size, report)
    tell("adversaries")
    report.adversaries = measure.adversaries()
    tell("memory")
    texts = dict(measure_texts())
    report.kilobytes = {name: measure.kept(each) for name, each in texts.items()}
    tell("")
    return report


def measure_texts() -> Iterator[tuple[str, list[str]]]:
    named = {kind.name: kind for kind in KINDS}
    for name in ("standard library", "CJK, generated", "emoji", "base64"):
        texts = [text[:30_000] for _, text in some(named[name], 200_000)]
        yield name, texts[:4]
    loop = next(iter(chain(plain([2_400], ["CJK"]))))
    yield "a loop of 2,400 CJK characters", [loop.text]
