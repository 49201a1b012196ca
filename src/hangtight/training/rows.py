"""The rows of a batch: which are whole, what each says, and which of them repeats itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hangtight.drivers import clock
from hangtight.drivers.attention import Attention
from hangtight.intent.findings import Act
from hangtight.training.outcome import Row

if TYPE_CHECKING:
    from hangtight.drivers.terms import Wanted
    from hangtight.intent.findings import Finding

UNDECODED = "\ufffd"
"""What a tokenizer shows for half a character."""


class Ends(NamedTuple):
    """The tokens by which a row ends and is filled up, and the longest that it may become."""

    eos: frozenset[int]
    pad: frozenset[int]
    longest: int | None


class Loop(NamedTuple):
    """A row that was stopped because it repeats itself."""

    found: Finding
    attention: Attention
    length: int
    """How long the row was then."""


NO_LOOPS: Mapping[int, Loop] = {}


class Strip:
    """One row, read along: its tokens become text piece by piece."""

    def __init__(self, tokenizer: Any, wanted: Wanted) -> None:
        self._tokenizer = tokenizer
        self.attention = Attention(wanted)
        self.ids: list[int] = []
        self.texts: list[str] = []
        self._from = self._until = 0
        """What was decoded last begins and ends at these tokens; the next piece is decoded together with it."""
        self.is_over = False

    def reads(self, ids: Sequence[int], eos: Collection[int]) -> Finding | None:
        """More tokens. Returns a loop that is to be ended."""
        for each in ids:
            if each in eos:
                self.is_over = True
                break
            self.ids.append(each)
        try:
            self._decode()
        except Exception:  # noqa: BLE001 - a tokenizer that fails ends the reading, not the generation
            self.is_over = True
            return None
        attention = self.attention
        found = attention.read(self.texts, clock.now()).found
        if found.act is not Act.CUT:
            return None
        found = attention.decided(found, may_ask=True, others=False)
        return found if found.act is Act.CUT else None

    def _decode(self) -> None:
        before = _text(self._tokenizer, self.ids[self._from : self._until])
        text = _text(self._tokenizer, self.ids[self._from :])
        if len(text) > len(before) and not text.endswith(UNDECODED):
            self.texts.append(text[len(before) :])
            self._from, self._until = self._until, len(self.ids)


class Reading:
    """Reads the rows along, every `every` tokens. On a GPU what was copied at one look is read at the next.

    In between `generate` has waited for the device itself, so the copy is complete and nothing waits for it.
    """

    def __init__(self, tokenizer: Any, wanted: Wanted, *, every: int, ends: Ends, start: int | None) -> None:
        self._tokenizer, self._wanted, self._every, self._ends = tokenizer, wanted, every, ends
        self._start = start
        """Where the prompt ends, if that is known."""
        self._strips: list[Strip] = []
        self._read = 0
        """So many tokens of each row were read, prompt included."""
        self._copied: tuple[Any, int] | None = None
        self.next_at = 0
        self.loops: dict[int, Loop] = {}

    def looks(self, ids: Any) -> bool:
        """New tokens may have come. True where another row is to be stopped."""
        length = int(ids.shape[1])
        if not self._strips:
            self._begin(ids, length)
        self.next_at = length + self._every
        if ids.device.type == "cpu":
            fresh, self._read = ids[:, self._read :].tolist(), length
        else:
            fresh = self._copy(ids, length)
        return bool(fresh) and self._hears(fresh, self._read)

    def reads(self, rows: list[list[int]]) -> bool:
        """The same of all that was said so far, where it is here already."""
        length = len(rows[0])
        self._strips = self._strips or [Strip(self._tokenizer, self._wanted) for _ in rows]
        before, self._read = self._read, length
        self.next_at = length + self._every
        return self._hears([row[before:] for row in rows], length)

    def _begin(self, ids: Any, length: int) -> None:
        start = self._start if self._start is not None and self._start < length else length - 1
        self._read = start
        self._strips = [Strip(self._tokenizer, self._wanted) for _ in range(ids.shape[0])]
        for number, strip in enumerate(self._strips):
            strip.attention.knows(partial(self._asked, ids[number, :start]))

    def _asked(self, ids: Any) -> str:
        try:
            return _text(self._tokenizer, ids.tolist())
        except Exception:  # noqa: BLE001 - as above; the answer can be judged without what was asked
            return ""

    def _copy(self, ids: Any, length: int) -> list[list[int]]:
        """Begins to copy what is new, and gives what was copied at the look before."""
        before, done = ([], self._read) if self._copied is None else (self._copied[0].tolist(), self._copied[1])
        self._read = done
        fresh = ids[:, done:length]
        target = fresh.new_empty(fresh.shape, device="cpu", pin_memory=ids.device.type == "cuda")
        target.copy_(fresh, non_blocking=True)
        self._copied = (target, length)
        return before

    def _hears(self, fresh: list[list[int]], length: int) -> bool:
        more = False
        for number, ids in enumerate(fresh):
            strip = self._strips[number]
            if strip.is_over or number in self.loops:
                continue
            found = strip.reads(ids, self._ends.eos)
            if found is not None:
                self.loops[number] = Loop(found, strip.attention, length)
                more = True
        return more


def rows_of(
    answers: Sequence[list[int]],
    start: int,
    ends: Ends,
    tokenizer: Any,
    *,
    stopped: bool,
    loops: Mapping[int, Loop] = NO_LOOPS,
) -> tuple[Row, ...]:
    """The rows of what was generated behind a prompt of `start` tokens. `stopped`: we ended what was not over."""
    rows = []
    for number, said in enumerate(answers):
        loop = loops.get(number)
        if loop is not None:
            said = said[: loop.length - start]  # noqa: PLW2901 - what follows was filled in
        own = _until_the_end(said, ends)
        is_longest = ends.longest is not None and start + len(said) >= ends.longest
        whole = loop is None and (not stopped or len(own) < len(said) or is_longest)
        text, unread = _spoken(tokenizer, own)
        rows.append(Row(text if whole else None, text or "", len(own), whole, unread))
    return tuple(rows)


def _spoken(tokenizer: Any, ids: list[int]) -> tuple[str | None, Exception | None]:
    """The text of a row, or why there is none."""
    if tokenizer is None:
        return None, None
    try:
        return _text(tokenizer, ids), None
    except Exception as error:  # noqa: BLE001 - the tokens, and whatever else ended, are worth more than their text
        return None, error


def _until_the_end(said: list[int], ends: Ends) -> list[int]:
    """Without the end mark, and without what stands behind it or fills the row up: only where rows can end is it."""
    end = next((at for at, each in enumerate(said) if each in ends.eos), len(said))
    while ends.eos and end and said[end - 1] in ends.pad:
        end -= 1
    return said[:end]


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True)) if ids else ""
