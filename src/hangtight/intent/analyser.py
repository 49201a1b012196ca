"""Reads a generation as it arrives, and says what that means for its deadline.

It works on the text, not on the pieces in which it came: the same text gives the same findings at the same offsets
however it was cut. The channels are kept apart: a loop in the reasoning says nothing about the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hangtight.intent.findings import NOTHING, Act, Channel, Finding
from hangtight.intent.prompts import asks_for_repetition
from hangtight.intent.strand import STEP, Strand
from hangtight.intent.tools import UNKNOWN, Tools

LONG_SILENT = 4_096
"""Characters of other channels: no period is longer."""
PATIENCE = 4.0
"""How much more of a loop is needed where the prompt asked for repetition."""
WEIGHT = {Act.CUT: 3, Act.HOLD: 2, Act.EXTEND: 1, Act.KEEP: 0}


def _no_prompt() -> str:
    return ""


class Analyser:
    """What one generation says, and what it calls.

    >>> analyser = Analyser()
    >>> analyser.feed("def add(a, b):\\n    return a + b\\n")
    >>> analyser.advice().act, str(analyser.advice())
    (<Act.EXTEND: 'extend'>, 'coding')
    """

    __slots__ = ("_active", "_asks", "_called", "_spoken", "_strands", "_tools", "_waiting", "findings", "prompt")

    def __init__(self, prompt: Callable[[], str] = _no_prompt) -> None:
        self.prompt = prompt
        """What was asked; it is read only when something was found."""
        self._asks: bool | None = None
        self._strands: dict[Channel, Strand] = {}
        self._active: Strand | None = None
        self._spoken = 0
        """Characters of all channels."""
        self._waiting: dict[Channel, int] = {}
        """How much was said elsewhere since a channel spoke last."""
        self._tools: Tools | None = None
        self._called = NOTHING
        self.findings: list[Finding] = []
        """All that was found since the last `drain`, in order."""

    def feed(self, text: str, channel: Channel = Channel.ANSWER, now: float = 0.0) -> None:
        """More text of this channel, in whatever piece."""
        if not text:
            return
        strand, length = self._active, len(text)
        if strand is None or channel is not strand.channel:
            strand = self._turned_to(channel)
        self._spoken += length
        if len(self._strands) > 1:
            self._others_wait(strand.channel, length)
        # This runs for each token: what a method would do is done here.
        strand.pending.append(text)
        strand.unread += length
        if strand.unread >= STEP:
            self._found(strand.work(), now)

    def _turned_to(self, channel: Channel) -> Strand:
        """Another channel speaks."""
        channel = Channel(channel)
        if channel is Channel.CALLS:
            raise ValueError("calls have no text: they are told by `tool`")
        strand = self._strands.get(channel)
        if strand is None:
            strand = self._strands[channel] = Strand(channel, self._patience)
        if strand is not self._active:
            strand.comes_back(self._spoken - strand.length)
            self._active = strand
        return strand

    def _others_wait(self, speaks: Channel, length: int) -> None:
        """A channel that is silent while much is said elsewhere needs no memory: it begins anew."""
        self._waiting[speaks] = 0
        for channel, strand in self._strands.items():
            if channel is not speaks:
                before = self._waiting.get(channel, 0)
                self._waiting[channel] = before + length
                if before < LONG_SILENT <= before + length:
                    strand.forget()

    def close(self, now: float = 0.0) -> None:
        """The text is over: what stands at the end of each channel is judged, too."""
        for strand in self._strands.values():
            self._found(strand.close(), now)

    def tool(self, name: str, arguments: object, result: object = UNKNOWN, now: float = 0.0) -> None:
        """The model has called this tool, and that came of it."""
        self._tools = self._tools or Tools()
        self._tools.call(str(name), arguments, result)
        before, self._called = self._called, self._tools.finding() or NOTHING
        if self._called.act is not Act.KEEP and self._called.act is not before.act:
            self._found([self._called], now)

    def advice(self) -> Finding:
        """What to do with the deadline now."""
        said, active = NOTHING, self._active
        if active is not None:
            said = active.advice()
            if said.act is Act.CUT and active.was_interrupted(said, self._spoken - active.length):
                said = replace(said, act=Act.HOLD)  # a sentence before each of many calls is no loop
        return max(said, self._called, key=lambda found: WEIGHT[found.act])

    def drain(self) -> list[Finding]:
        """What was found since the last time."""
        found, self.findings = self.findings, []
        return found

    def useful_length(self, channel: Channel = Channel.ANSWER) -> int:
        """How many characters of this channel are worth keeping: of what repeats, one copy."""
        strand = self._strands.get(channel)
        return 0 if strand is None else strand.useful

    def _patience(self) -> float:
        if self._asks is None:
            self._asks = asks_for_repetition(self.prompt())
        return PATIENCE if self._asks else 1.0

    def _found(self, found: list[Finding], now: float) -> None:
        self.findings += found if now == 0.0 else [replace(each, at=now) for each in found]
