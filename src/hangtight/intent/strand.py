"""The text of one channel, read along: in steps that lie at the same offsets however the text was cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hangtight.intent.exact import Exact, Run
from hangtight.intent.findings import LONGEST_UNIT_SHOWN, NOTHING, Act, Channel, Doing, Finding, Rule
from hangtight.intent.folding import Folding
from hangtight.intent.novelty import Novelty
from hangtight.intent.phases import Phases, doing

STEP = Exact.STEP
SEGMENT = 2 * STEP
"""So much is looked at at once by all that is not about exact copies."""
HALF = 0.5
"""Half of the evidence that ends a generation is enough to give it no more time."""
TWICE = 2
RETURNS = 32
INTERRUPTED = 0.25
"""Of the length of a loop: if more than that was said in between, its copies are not adjacent."""
FEW = 3
"""So many copies, of whatever length, are no sign of work."""
CERTAIN, LIKELY = 0.99, 0.6


class Strand:
    """Everything that is known about one channel."""

    __slots__ = (
        "_base",
        "_exact",
        "_folding",
        "_loop",
        "_novelty",
        "_patience",
        "_phase",
        "_phases",
        "_returns",
        "_segment",
        "_suspicion",
        "channel",
        "offset",
        "pending",
        "unread",
    )

    def __init__(self, channel: Channel, patience: Callable[[], float]) -> None:
        self.channel = channel
        self._patience = patience
        """By how much more evidence is needed than usual; asked only where there is some."""
        self.unread = 0
        """So much of what has come was not looked at."""
        self.offset = 0
        """So much has been looked at."""
        self._returns: list[tuple[int, int]] = []
        """Where it went on after others had spoken, and how much they had said."""
        self._begin()

    def _begin(self) -> None:
        self._base = self.offset
        """Where the trackers have begun."""
        self.pending: list[str] = []
        self._segment: list[str] = []
        self._exact = Exact()
        self._folding = Folding()
        self._novelty = Novelty()
        self._phases = Phases(self.channel)
        self._loop: Finding | None = None
        self._suspicion: Finding | None = None
        self._phase: Finding | None = None

    def work(self) -> list[Finding]:
        """Look at all whole steps; what was found that was not there before."""
        text = "".join(self.pending)
        whole = len(text) - len(text) % STEP
        found: list[Finding] = []
        for at in range(0, whole, STEP):
            self._step(text[at : at + STEP], found)
        self.pending, self.unread = [text[whole:]], len(text) - whole
        return found

    def close(self) -> list[Finding]:
        """The last step may be a short one."""
        text, found = "".join(self.pending), list[Finding]()
        self.pending, self.unread = [], 0
        if text:
            self._step(text, found)
        if self._segment:
            self._look_at_the_segment(found)
        return found

    def advice(self) -> Finding:
        """What it says now; of a text too short for a step, what its first words say."""
        if self._loop is not None:
            return self._loop
        if self._suspicion is not None:
            return self._suspicion
        run = self._exact.run
        if run is not None and run.copies >= FEW and any(map(str.isalpha, run.unit)):
            return NOTHING  # it may be the beginning of a loop: nothing is given, nothing is taken back
        if self._phase is not None:
            return self._phase
        return self._at_first_sight("".join([*self._segment, *self.pending]), self.length)

    @property
    def length(self) -> int:
        """So much has come."""
        return self.offset + self.unread

    def comes_back(self, elsewhere: int) -> None:
        """It speaks again; so much was said in other channels until now."""
        self._returns.append((self.length, elsewhere))
        del self._returns[:-RETURNS]

    def was_interrupted(self, loop: Finding, elsewhere: int) -> bool:
        """Whether too much was said in other channels between the copies of this loop to call them adjacent."""
        before = [said for length, said in self._returns if length <= loop.start]
        until = before[-1] if before else self._returns[0][1]
        return elsewhere - until > INTERRUPTED * (self.length - loop.start)

    def forget(self) -> None:
        """Others have spoken for long: what comes now is not adjacent to what was. The trackers begin anew."""
        self.offset, self.unread = self.length, 0
        self._begin()

    @property
    def useful(self) -> int:
        """So much of the text is worth keeping: of what repeats, one copy."""
        loop = self._loop
        return self.length if loop is None else loop.start + loop.period

    def _at_first_sight(self, text: str, offset: int) -> Finding:
        if _is_monotonous(text):
            return NOTHING
        found, sure = doing(text, self.channel)
        return NOTHING if found is None else self._doing(found, sure, offset)

    # -- one step ---------------------------------------------------------------------------------------------

    def _step(self, piece: str, found: list[Finding]) -> None:
        self.offset += len(piece)
        self._exact.feed(piece)
        self._segment.append(piece)
        began = self._exact.began + self._base
        if began < self._base:
            self._loop = None
        elif self._loop is None or self._loop.start != began:
            self._look_for_a_loop(found)
        elif self.offset - began >= TWICE * (self._loop.offset - began):
            self._loop = self._found_loop()  # who let it go on is told how far it has come
        if len(self._segment) * STEP >= SEGMENT:
            self._look_at_the_segment(found)
        elif self.offset == self._base + STEP:
            self._now_at(self._at_first_sight(piece, self.offset), found)

    def _look_for_a_loop(self, found: list[Finding]) -> None:
        self._loop = self._found_loop()
        if self._loop is not None:
            found.append(self._loop)

    def _found_loop(self) -> Finding | None:
        run = self._exact.verdict()
        if run is not None and (patience := self._patience()) != 1.0:
            run = self._exact.verdict(patience)
        return None if run is None else self._repeats(run)

    def _look_at_the_segment(self, found: list[Finding]) -> None:
        text, self._segment = "".join(self._segment), []
        self._folding.feed(text)
        if self._loop is None:  # a loop is what it is; whether it is new, and like code, matters no more
            self._phases.feed(text)
            self._novelty.feed(text)
            if self._phases.doing is not None:
                self._now_at(self._doing(self._phases.doing, self._phases.confidence, self.offset), found)
        self._look_for_suspicion(found)

    def _now_at(self, phase: Finding, found: list[Finding]) -> None:
        if phase.doing is not None and (self._phase is None or self._phase.doing is not phase.doing):
            self._phase = phase
            found.append(phase)

    def _look_for_suspicion(self, found: list[Finding]) -> None:
        before = self._suspicion
        now = self._suspicion = self._suspected()
        if now is not None and (before is None or (before.rule, before.act) != (now.rule, now.act)):
            found.append(now)
        elif now is None and before is not None and self._loop is None and self._phase is not None:
            self._phase = replace(self._phase, offset=self.offset)  # it gets on again
            found.append(self._phase)

    def _suspected(self) -> Finding | None:
        if self._loop is not None:
            return None
        if self._exact.began >= 0 and self._exact.verdict(HALF) is not None:
            run = self._exact.verdict(HALF * self._patience())
            if run is not None:
                return self._repeats(run, Act.HOLD)
        found = self._tracked(1.0)
        if found is None or (patience := self._patience()) == 1.0:
            return found
        return self._tracked(patience)

    def _tracked(self, patience: float) -> Finding | None:
        found = self._folding.finding(self.offset, self.channel, patience)
        found = found or self._novelty.finding(self.offset, self.channel, patience)
        if found is not None and found.rule is Rule.COUNTER and self._base:
            return replace(found, start=self._base + found.start)
        return found

    # -- findings ---------------------------------------------------------------------------------------------

    def _doing(self, found: Doing, sure: float, offset: int) -> Finding:
        return Finding(act=Act.EXTEND, doing=found, channel=self.channel, offset=offset, confidence=sure)

    def _repeats(self, run: Run, act: Act = Act.CUT) -> Finding:
        return Finding(
            act=act,
            doing=Doing.STUCK,
            rule=Rule.BLANK if run.unit.isspace() else Rule.EXACT,
            channel=self.channel,
            offset=self.offset,
            start=self._base + run.start,
            period=run.period,
            copies=run.copies,
            unit=run.unit[:LONGEST_UNIT_SHOWN],
            confidence=CERTAIN if act is Act.CUT else LIKELY,
        )


def _is_monotonous(text: str) -> bool:
    """A few words that come again and again; of a text that is too short for the trackers no more can be said."""
    words = text.split()
    return len(words) >= FEW * len(set(words))
