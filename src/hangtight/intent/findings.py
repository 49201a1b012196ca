"""What the analyser finds, and what it advises: the words in which the intent room speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Channel(StrEnum):
    """Where a text comes from. A loop in one channel says nothing about another."""

    ANSWER = "answer"
    REASONING = "reasoning"
    TOOL = "tool"
    """The arguments of a tool call."""
    CALLS = "calls"
    """The tool calls themselves; what is counted there are calls, not characters."""


class Act(StrEnum):
    """What to do with the deadline."""

    KEEP = "keep"
    """Too little is known."""
    EXTEND = "extend"
    """It is getting on: it may have more time."""
    HOLD = "hold"
    """It may be stuck: no more time than it was promised."""
    CUT = "cut"
    """It repeats itself, and nothing else: end it."""


class Doing(StrEnum):
    """What the model is at."""

    EXPLORING = "exploring"
    CODING = "coding"
    EXPLAINING = "explaining"
    CONCLUDING = "concluding"
    STUCK = "stuck"


class Rule(StrEnum):
    """By which rule something was found."""

    PHASE = "phase"
    EXACT = "exact"
    """The same characters again and again, one copy right behind the other."""
    BLANK = "blank"
    """White space and nothing else."""
    COUNTER = "counter"
    """The same but for numbers that go up or down in equal steps."""
    NOVELTY = "novelty"
    """Segments in which nothing new is said."""
    TOOLS = "tools"
    """The same calls with the same results."""
    CALLS = "calls"
    """The same calls; what came of them differs, or is not known."""


LONGEST_UNIT_SHOWN = 200
STEP = 10.0
STEP_OF_TOTAL = 0.1
"""A deadline is extended by the longer of the two at a time: so many seconds, such a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was seen, and what it advises. Offsets and periods are characters of the channel's text."""

    act: Act
    doing: Doing | None = None
    rule: Rule = Rule.PHASE
    channel: Channel = Channel.ANSWER
    offset: int = 0
    """How much had been read when it was found."""
    start: int = 0
    """Where the repetition begins."""
    period: int = 0
    copies: int = 0
    """Whole copies that stand there, the first included."""
    unit: str = ""
    """What repeats, at most so much of it as can be shown."""
    confidence: float = 0.0
    at: float = 0.0
    """The instant at which it was found."""

    @property
    def kind(self) -> str:
        """One word for it: a phase, or what is wrong."""
        if self.rule is Rule.PHASE:
            return "unknown" if self.doing is None else self.doing.value
        return KINDS[self.rule]

    def by(self, total: float) -> float:
        """By how many seconds to extend a deadline of this length; 0 where that is not the advice."""
        return max(STEP, STEP_OF_TOTAL * total) if self.act is Act.EXTEND else 0.0

    def __str__(self) -> str:
        """A line for people, without a word of the text itself."""
        match self.rule:
            case Rule.PHASE:
                return self.kind
            case Rule.NOVELTY:
                return f"says nothing new, {self.copies} segments in a row"
            case Rule.TOOLS | Rule.CALLS:
                calls = "the same call" if self.period == 1 else f"the same {self.period} calls"
                same = "with the same result" if self.rule is Rule.TOOLS else "again"
                return f"{calls} {same}, {self.copies} times in a row"
            case Rule.BLANK:
                return f"white space and nothing else, {self.offset - self.start:,} characters"
            case Rule.EXACT | Rule.COUNTER:
                but = " but for a counter" if self.rule is Rule.COUNTER else ""
                same = "the same character" if self.period == 1 else f"the same {self.period:,} characters"
                return f"{same}{but}, {self.copies:,} times in a row"


KINDS = {
    Rule.EXACT: "loop",
    Rule.BLANK: "loop",
    Rule.COUNTER: "drift",
    Rule.NOVELTY: "stale",
    Rule.TOOLS: "tool-loop",
    Rule.CALLS: "tool-repeats",
}
NOTHING = Finding(act=Act.KEEP)
