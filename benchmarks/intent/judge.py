"""What the analyser says about a text, held against what the brute force knows about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.intent.brute import Passage, needed, passages
from benchmarks.intent.loops import LATE, Loop
from hangtight.intent.analyser import Analyser
from hangtight.intent.findings import Act, Channel, Finding

PIECE = 64
"""So much arrives at once. That the pieces do not matter is shown elsewhere."""
SEGMENT = 512
"""What a suspicion that names no stretch is about: the last characters that were read."""


def heard(text: str, channel: Channel = Channel.ANSWER, piece: int = PIECE) -> list[Finding]:
    """All that is found in a text, as if nobody ever ended it."""
    return listening(text, channel, piece).findings


def listening(text: str, channel: Channel = Channel.ANSWER, piece: int = PIECE) -> Analyser:
    analyser = Analyser()
    for at in range(0, len(text), piece):
        analyser.feed(text[at : at + piece], channel, 0.0)
    analyser.close()
    return analyser


def stretch(finding: Finding) -> tuple[int, int]:
    """Where the finding says that the repetition is."""
    if finding.period and finding.copies:
        return finding.start, finding.start + finding.period * finding.copies
    return max(finding.start, finding.offset - SEGMENT), finding.offset


@dataclass(slots=True)
class Verdict:
    """Of one text."""

    loops: list[Passage] = field(default_factory=list)
    cuts: list[Finding] = field(default_factory=list)
    outside: list[Finding] = field(default_factory=list)
    """Cuts where there is no loop: false alarms."""
    wrong: list[Finding] = field(default_factory=list)
    """Cuts inside of a loop, with numbers that are not true of it."""
    owed: int = 0
    """Loops that go on for so long that they must have been cut."""
    missed: list[Passage] = field(default_factory=list)
    holds: Counter[str] = field(default_factory=Counter)
    """Suspicions outside of loops, by rule."""


def judged(text: str, channel: Channel = Channel.ANSWER, known: list[Passage] | None = None) -> Verdict:
    verdict = Verdict(loops=passages(text) if known is None else known)
    for finding in heard(text, channel):
        begin, end = stretch(finding)
        inside = [loop for loop in verdict.loops if loop.start < end and begin < loop.end]
        if finding.act is Act.HOLD and not inside:
            verdict.holds[finding.rule.value] += 1
        elif finding.act is Act.CUT:
            verdict.cuts.append(finding)
            if not inside:
                verdict.outside.append(finding)
            elif not any(is_true_of(finding, loop) for loop in inside):
                verdict.wrong.append(finding)
    for loop in verdict.loops:
        unit = text[loop.start : loop.start + loop.period] or " "
        until = loop.start + needed(unit) + max(loop.period, LATE)
        if loop.end >= until:
            verdict.owed += 1
            if not any(cut.offset <= until and stretch(cut)[1] > loop.start for cut in verdict.cuts):
                verdict.missed.append(loop)
    return verdict


def is_true_of(finding: Finding, loop: Passage) -> bool:
    begin, end = stretch(finding)
    return loop.start <= begin and end <= loop.end and (finding.period == loop.period or not loop.period)


@dataclass(slots=True)
class Catch:
    """What became of one loop."""

    caught: bool = False
    late: int = 0
    """So many characters after there was enough of it; less than nothing where it came too early."""
    period: bool = False
    start: bool = False
    kept: bool = False
    """Whether these were right; what is kept is one copy."""


def catch(loop: Loop) -> Catch:
    """Whether a loop that is due was cut in time, and what was said about it. The first cut counts."""
    assert loop.due is not None
    analyser = listening(loop.text)
    cut = next((finding for finding in analyser.findings if finding.act is Act.CUT), None)
    if cut is None:
        return Catch()
    late = cut.offset - loop.due
    in_time = 0 <= late <= max(loop.period, LATE)
    blank = not loop.text[loop.start :].strip()
    left = analyser.useful_length() - loop.start
    kept = left <= loop.period if blank else left == cut.period
    return Catch(in_time, late, blank or cut.period == loop.period, cut.start == loop.start, kept)
