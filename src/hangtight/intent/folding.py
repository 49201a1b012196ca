"""Text that repeats but for numbers that count: every number is a slot, and the slots only step."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from operator import sub
from zlib import crc32

from hangtight.intent.findings import LONGEST_UNIT_SHOWN, Act, Channel, Doing, Finding, Rule

WINDOW = 102
"""So many slots are remembered, each with the text before it."""
COPIES = 6
MOST_SLOTS = WINDOW // COPIES
"""A copy with more slots than this is not found."""
CHARACTERS = 480
WITHOUT_LETTERS = 1_200
"""Characters of the run, a number counted as one. A column of figures must be longer than a sentence."""
LEVELS = (5, 12, MOST_SLOTS)
"""Of so many slots at the end an earlier copy is looked for: few find a short period soon, many a long one."""
MULTIPLES = 3
"""Where all the texts between numbers are the same, two or three numbers may be one copy."""

_DIGITS = b"0123456789"
_ONLY_DIGITS = bytes(byte if byte in _DIGITS else 0x20 for byte in range(256))
_NO_DIGITS = bytes(0 if byte in _DIGITS else byte or 1 for byte in range(256))
_LONGEST_NUMBER = 40
_LONGEST_BETWEEN = 60_000


@dataclass(frozen=True, slots=True)
class Counting:
    """A run: so many slots to a copy, from this slot of the text on to that one, and where in the text it began."""

    slots: int
    first: int
    last: int
    start: int
    folded: int
    """Characters of the run, a number counted as one."""
    unit: str
    """One copy with 0 for its numbers, as much of it as stood in the segment in which it was found."""

    @property
    def copies(self) -> int:
        """Whole copies, the first included."""
        return (self.last - self.first) // self.slots

    @property
    def letters(self) -> bool:
        """Whether there is a word in it, or numbers and signs only."""
        return any(map(str.isalpha, self.unit))


class Folding:
    """Follows one channel's text. `run` is the counting run that the text ends in, or None."""

    __slots__ = ("_between", "_carry", "_checksum", "_count", "_lengths", "_read", "_shape", "_values", "run")

    def __init__(self) -> None:
        self.run: Counting | None = None
        self._read = 0
        self._carry = b""
        self._checksum = 0
        self._between = 0
        self._count = 0
        self._shape = array("I")
        self._values = array("d")
        self._lengths = array("H")

    def feed(self, segment: str) -> None:
        """Takes the next segment; `run` is up to date afterwards."""
        self._read += len(segment)
        raw = self._carry + segment.encode("utf-8", "replace")
        self._carry = b""
        numbers = raw.translate(_ONLY_DIGITS).split()
        if not numbers:
            self._go_on(raw)
            self.run = self.run and self._found([])
            return
        between = list(filter(None, raw.translate(_NO_DIGITS).split(b"\0")))
        if raw[0] in _DIGITS:
            between.insert(0, b"")
        if raw[-1] not in _DIGITS:
            after = between.pop()
        elif len(numbers[-1]) <= _LONGEST_NUMBER:
            # the number may go on in the next segment
            self._carry, after = numbers.pop(), between.pop()
        else:
            after = b""
        if between:
            self._take(between, numbers, plain=raw.isascii())
        self._go_on(after)
        self.run = self._found(between)

    def _go_on(self, raw: bytes) -> None:
        self._checksum = crc32(raw, self._checksum)
        self._between = min(_LONGEST_BETWEEN, self._between + _length(raw))

    def _take(self, between: list[bytes], numbers: list[bytes], *, plain: bool) -> None:
        """Each number is a slot: what stood before it gives the shape, its digits give the value."""
        self._go_on(between[0])
        self._count += len(numbers)
        self._shape.append(self._checksum)
        self._shape.extend(map(crc32, between[1:]))
        self._values.extend(map(float, numbers))
        lengths = array("H", bytes(4 * len(numbers)))
        lengths[0::2] = array("H", map(len if plain else _length, between))
        lengths[1::2] = array("H", map(len, numbers))
        lengths[0] = self._between
        self._lengths.extend(lengths)
        del self._shape[:-WINDOW], self._values[:-WINDOW], self._lengths[: -2 * WINDOW]
        self._checksum = self._between = 0

    def _found(self, between: list[bytes]) -> Counting | None:
        tried: set[int] = set()
        shape, size = self._shape.tobytes(), self._shape.itemsize
        for level in LEVELS:
            if len(self._shape) <= level:
                break
            before = shape.rfind(shape[-level * size :], 0, len(shape) - size)
            distance = len(self._shape) - level - before // size
            if before < 0 or before % size or distance > level or distance in tried:
                continue
            for slots in range(distance, MULTIPLES * distance + 1, distance):
                tried.add(slots)
                if self._counts(slots) and (run := self._run(slots, between)) is not None:
                    return run
        return None

    def _counts(self, slots: int) -> bool:
        """Whether each slot of the last copies is constant or goes in equal steps, and one of them steps."""
        values = self._values[-COPIES * slots :]
        if len(values) < COPIES * slots:
            return False
        steps = list(map(sub, values[slots:], values))
        return steps[slots:] == steps[:-slots] and any(steps)

    def _run(self, slots: int, between: list[bytes]) -> Counting | None:
        # what is being written must still fit: it can be no longer than what stood there one copy ago
        if self._between > self._lengths[-2 * slots]:
            return None
        known, forgotten = self.run, self._count - len(self._values)
        if known is not None and known.slots == slots:
            joint = known.last - slots - forgotten
            if joint >= slots and self._leftmost(slots, joint) <= joint:
                return replace(known, last=self._count, folded=known.folded + self._since(known.last))
        at = self._leftmost(slots, slots) - slots
        if len(self._values) - at < COPIES * slots:
            return None
        if at and self._steps(at - 1, slots) == self._steps(at, slots):
            # before the first number of a run stands what does not repeat: the number may fit though the text does not
            at -= 1
        lengths = self._lengths[2 * at :]
        lead = min(lengths[0], self._lengths[2 * (at + slots)])
        return Counting(
            slots=slots,
            first=forgotten + at,
            last=self._count,
            start=self._read - len(self._carry) - self._between - sum(lengths[1:]) - lead,
            folded=lead + sum(lengths[2::2]) + len(lengths) // 2,
            unit=b"".join(text + b"0" for text in between[-slots:]).decode("utf-8", "replace"),
        )

    def _steps(self, at: int, slots: int) -> float:
        """How far a slot goes in the copy after this one."""
        return self._values[at + slots] - self._values[at]

    def _since(self, last: int) -> int:
        """Folded characters of the slots that came since then."""
        new = self._count - last
        return sum(self._lengths[-2 * new :: 2]) + new if new else 0

    def _leftmost(self, slots: int, least: int) -> int:
        """From which slot on each goes on from the one of the copy before, as far back as `least`."""
        values, shape, size = self._values, self._shape, len(self._values)
        steps = [values[at] - values[at - slots] for at in range(size - slots, size)]
        at = size - 1
        while at >= least:
            if shape[at] != shape[at - slots] or values[at] - values[at - slots] != steps[(at - size) % slots]:
                break
            at -= 1
        return at + 1

    def finding(self, offset: int, channel: Channel, patience: float = 1.0) -> Finding | None:
        """The suspicion, if the run is long enough for one. It is never evidence for an end."""
        run = self.run
        if run is None or run.copies < COPIES * patience:
            return None
        if run.folded < (CHARACTERS if run.letters else WITHOUT_LETTERS) * patience:
            return None
        written = self._read - len(self._carry) - self._between - run.start
        return Finding(
            act=Act.HOLD,
            doing=Doing.STUCK,
            rule=Rule.COUNTER,
            channel=channel,
            offset=offset,
            start=run.start,
            period=max(1, round(written * run.slots / (run.last - run.first))),
            copies=run.copies,
            unit=run.unit[:LONGEST_UNIT_SHOWN],
            confidence=min(0.9, 0.5 + 0.02 * run.copies),
        )


def _length(raw: bytes) -> int:
    """Characters, not bytes: no number stands inside a character."""
    return len(raw) if raw.isascii() else len(raw.decode("utf-8", "replace"))
