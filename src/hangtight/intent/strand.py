"""The text of one channel, read along: in steps that lie at the same offsets however the text was cut."""

from __future__ import annotations

from collections.abc import Callable

from hangtight.intent.exact import Exact, Run
from hangtight.intent.findings import LONGEST_UNIT_SHOWN, NOTHING, Act, Channel, Doing, Finding, Rule
from hangtight.intent.folding import Folding
from hangtight.intent.novelty import Novelty
from hangtight.intent.phases import Phases, doing

STEP = Exact.STEP
SEGMENT = 4 * STEP
"""So much is looked at at once by all that is not about exact copies."""
HALF = 0.5
"""Half of the evidence that ends a generation is enough to give it no more time."""
FEW = 3
"""So many copies, of whatever length, are no sign of work."""
CERTAIN, LIKELY = 0.99, 0.6


class Strand:
    """Everything that is known about one channel."""

    __slots__ = (
        "_channel",
        "_exact",
        "_folding",
        "_length",
        "_loop",
        "_novelty",
        "_patience",
        "_pending",
        "_phase",
        "_phases",
        "_segment",
        "_suspicion",
        "offset",
    )

    def __init__(self, channel: Channel, patience: Callable[[], float]) -> None:
        self._channel = channel
        self._patience = patience
        """By how much more evidence is needed than usual; asked only where there is some."""
        self._pending: list[str] = []
        self._length = 0
        self._segment: list[str] = []
        self._exact = Exact()
        self._folding = Folding()
        self._novelty = Novelty()
        self._phases = Phases(channel)
        self._loop: Finding | None = None
        self._suspicion: Finding | None = None
        self._phase: Finding | None = None
        self.offset = 0
        """So much has been looked at."""

    def take(self, text: str) -> bool:
        """Keep this piece. True where there is enough for a step."""
        self._pending.append(text)
        self._length += len(text)
        return self._length >= STEP

    def work(self) -> list[Finding]:
        """Look at all whole steps; what was found that was not there before."""
        text = "".join(self._pending)
        whole = len(text) - len(text) % STEP
        found: list[Finding] = []
        for at in range(0, whole, STEP):
            found += self._step(text[at : at + STEP])
        self._pending, self._length = [text[whole:]], len(text) - whole
        return found

    def close(self) -> list[Finding]:
        """The last step may be a short one."""
        text = "".join(self._pending)
        self._pending, self._length = [], 0
        return self._step(text, last=True) if text or self._segment else []

    def advice(self) -> Finding:
        """What it says now; of a text too short for a step, what its first words say."""
        said = self._loop or self._suspicion
        if said is None:
            said = self._at_first_sight() if self._phase is None else self._phase
            run = self._exact.run
            if run is not None and run.copies >= FEW:
                return NOTHING  # it may be the beginning of a loop: nothing is given, nothing is taken back
        return said

    @property
    def useful(self) -> int:
        loop = self._loop
        return self.offset + self._length if loop is None else loop.start + loop.period

    def _at_first_sight(self) -> Finding:
        text = "".join(self._pending)
        if _is_monotonous(text):
            return NOTHING
        found, sure = doing(text, self._channel)
        return NOTHING if found is None else self._doing(found, sure, self.offset + self._length)

    # -- one step ---------------------------------------------------------------------------------------------

    def _step(self, piece: str, *, last: bool = False) -> list[Finding]:
        self.offset += len(piece)
        if piece:
            self._exact.feed(piece)
            self._segment.append(piece)
        found = self._look_for_a_loop()
        if last or len(self._segment) * STEP >= SEGMENT or self._phase is None:
            found += self._look_at_the_segment(whole=last or len(self._segment) * STEP >= SEGMENT)
        return found

    def _look_for_a_loop(self) -> list[Finding]:
        run = self._exact.verdict()
        if run is not None and (patience := self._patience()) != 1.0:
            run = self._exact.verdict(patience)
        before, self._loop = self._loop, None if run is None else self._repeats(run)
        known = before is not None and self._loop is not None and before.start == self._loop.start
        return [self._loop] if self._loop is not None and not known else []

    def _look_at_the_segment(self, *, whole: bool) -> list[Finding]:
        text = "".join(self._segment)
        found: list[Finding] = []
        if whole:
            self._phases.feed(text)
            now, sure = self._phases.doing, self._phases.confidence
        elif not _is_monotonous(text):
            now, sure = self._phases.glance(text)
        else:
            now, sure = None, 0.0
        if now is not None and (self._phase is None or self._phase.doing is not now):
            self._phase = self._doing(now, sure, self.offset)
            found.append(self._phase)
        if not whole:
            return found
        self._segment = []
        self._folding.feed(text)
        self._novelty.feed(text)
        return found + self._look_for_suspicion()

    def _look_for_suspicion(self) -> list[Finding]:
        before = self._suspicion
        found = self._half_a_loop()
        for tracker in (self._folding, self._novelty):
            found = found or tracker.finding(self.offset, self._channel)
        self._suspicion = found
        if found is None or (before is not None and (before.rule, before.act) == (found.rule, found.act)):
            return []
        return [found]

    def _half_a_loop(self) -> Finding | None:
        if self._loop is not None or self._exact.verdict(HALF) is None:
            return None
        run = self._exact.verdict(HALF * self._patience())
        return None if run is None else self._repeats(run, Act.HOLD)

    # -- findings ---------------------------------------------------------------------------------------------

    def _doing(self, found: Doing, sure: float, offset: int) -> Finding:
        return Finding(act=Act.EXTEND, doing=found, channel=self._channel, offset=offset, confidence=sure)

    def _repeats(self, run: Run, act: Act = Act.CUT) -> Finding:
        return Finding(
            act=act,
            doing=Doing.STUCK,
            rule=Rule.BLANK if run.unit.isspace() else Rule.EXACT,
            channel=self._channel,
            offset=self.offset,
            start=run.start,
            period=run.period,
            copies=run.copies,
            unit=run.unit[:LONGEST_UNIT_SHOWN],
            confidence=CERTAIN if act is Act.CUT else LIKELY,
        )


def _is_monotonous(text: str) -> bool:
    """A few words that come again and again; of a text that is too short for the trackers no more can be said."""
    words = text.split()
    return len(words) >= FEW * len(set(words))
