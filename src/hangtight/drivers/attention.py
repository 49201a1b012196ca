"""Reads along with one generation: what its text says about the deadline, and what is done about that.

The drivers only collect the text. Now and then, and before `total` would end it, what has come since is read.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from hangtight.core.facts import Calling, Content, Reasoning
from hangtight.drivers.watchdog import complain
from hangtight.intent.findings import NOTHING, Act, Channel, Finding, Rule

if TYPE_CHECKING:
    from hangtight.core.facts import Progress
    from hangtight.dialects.exchanges import Exchange
    from hangtight.drivers.terms import Wanted

FIRST = 4
"""Tokens before the first look, which tells how long they are."""
EVERY = 32
"""Tokens between two looks, at most."""
ENOUGH = 256
"""Characters between two looks, as far as the tokens are as long as they were: so many may a loop be seen too late."""
NEVER_LOOKED = sys.maxsize
TWICE = 2
"""A loop that was let go on is asked about again when it has so many times the copies."""


class Forgotten(list[str]):
    """Text that nobody will ask for."""

    def append(self, text: str) -> None:
        """It is not kept."""

    def extend(self, texts: object) -> None:
        """They are not kept."""


IGNORED = Forgotten()


class Read(NamedTuple):
    """What one reading has found. Two threads may read in turn, and be done with it out of turn."""

    found: Finding
    number: int


class Attention:
    """What is collected of one generation, and what the analyser makes of it."""

    __slots__ = (
        "_allowed",
        "_analyser",
        "_beneath",
        "_fresh",
        "_length",
        "_lock",
        "_passed",
        "_read",
        "_reads",
        "_tokens",
        "_told",
        "calls",
        "said",
        "telling",
        "thoughts",
        "wanted",
    )

    def __init__(self, wanted: Wanted) -> None:
        from hangtight.intent.analyser import Analyser  # loaded before the clocks run, by who needs it

        self.wanted = wanted
        self._analyser = Analyser()
        self._lock = Lock()
        self.telling = Lock()
        """Held while the machine is told what was found."""
        self._reads = self._told = 0
        """The numbers of the last reading, and of the last that the machine was told of."""
        self._read = 0
        """So many pieces of the answer were read already."""
        self._length = 0
        """And so many characters of it."""
        self._tokens = self._fresh = 0
        """How many tokens had come at the last look, and how many characters were read since the one before it."""
        self._passed: list[tuple[int, int]] = []
        """Behind so many characters stand so many that others have read along."""
        self._beneath = NOTHING
        """What those say, until something is said here."""
        self._allowed: Finding | None = None
        """The loop that was let go on."""
        self.said: list[str] = []
        """The answer, where nobody else keeps it."""
        self.thoughts: list[str] = []
        self.calls: list[str] = []
        """What has come since the last look."""

    def texts(self, kind: type[Progress], answer: list[str]) -> list[str]:
        """Where text of this kind is collected."""
        if kind is Content:
            return self.said if isinstance(answer, Forgotten) else answer
        return self.thoughts if kind is Reasoning else self.calls

    def knows(self, prompt: Callable[[], str]) -> None:
        """What was asked: it may have asked for repetition."""
        self._analyser.prompt = prompt

    def go_on_from(self, above: Attention) -> None:
        """As long as nothing is said here, what was said in the calls before this one of an agent counts."""
        with above._lock:
            found = above._advice()
        self._beneath = found if found.act is Act.EXTEND else NOTHING

    def recall(self, exchanges: list[Exchange], now: float) -> Read:
        """What the history of an agent's calls says, before this one is sent."""
        with self._lock:
            analyser = self._analyser
            for each in exchanges:
                analyser.tool(each.name, each.arguments, each.result, now)
            return self._found()

    def read(self, answer: list[str], now: float, flows: type[Progress] = Content) -> Read:
        """Read what has come since the last time; last what flows now, for the advice is about what was read last."""
        with self._lock:
            kinds: list[type[Progress]] = [Content, Reasoning, Calling]
            for kind in sorted(kinds, key=lambda kind: kind is flows):
                if kind is Content:
                    self._take(answer, now)
                else:
                    self._take_beside(kind, now)
            self._analyser.drain()
            return self._found()

    def is_past(self, read: Read) -> bool:
        """The machine knows of a later reading; else it is told of this one now."""
        if read.number < self._told:
            return True
        self._told = read.number
        return False

    def _found(self) -> Read:
        self._reads += 1
        return Read(self._advice(), self._reads)

    def _advice(self) -> Finding:
        found = self._analyser.advice()
        return self._beneath if found.act is Act.KEEP else found

    def _take(self, answer: list[str], now: float) -> None:
        fresh = answer[self._read :]
        self._read += len(fresh)
        text = "".join(fresh) + _taken(self.said)
        self._length += len(text)
        self._fresh += len(text)
        self._analyser.feed(text, Channel.ANSWER, now)

    def _take_beside(self, kind: type[Progress], now: float) -> None:
        texts, channel = (self.thoughts, Channel.REASONING) if kind is Reasoning else (self.calls, Channel.TOOL)
        if texts:
            text = _taken(texts)
            self._fresh += len(text)
            self._analyser.feed(text, channel, now)

    def next_look(self, tokens: int) -> int:
        """With how many tokens there is enough new text again; so many there are now."""
        count, self._tokens = tokens - self._tokens, tokens
        fresh, self._fresh = self._fresh, 0
        return tokens + max(1, min(EVERY, ENOUGH * count // max(1, fresh)))

    @contextmanager
    def passing_over(self, answer: list[str], found: Finding, now: float) -> Iterator[None]:
        """What comes into the answer meanwhile was read along by others, who found this: it is not read again."""
        with self._lock:
            self._take(answer, now)
            yield
            self._passed.append((self._length, sum(map(len, answer[self._read :]))))
            self._read = len(answer)
            self._beneath = found if found.act is Act.EXTEND else NOTHING

    def useful(self, text: str) -> str:
        """The answer without the tail that repeats."""
        length = self._analyser.useful_length(Channel.ANSWER)
        return text[: length + sum(passed for behind, passed in self._passed if behind < length)]

    # -- the ladder -------------------------------------------------------------------------------------------

    def decided(self, found: Finding, *, may_ask: bool, others: bool) -> Finding:
        """What is to be done about it: a loop is ended where the ladder has a rung for that, and nobody objects."""
        if found.act is not Act.CUT:
            return found
        goes_on = self._answer(found, may_ask=may_ask)
        if goes_on is None:
            rungs = self.wanted.intent.ladder
            # the same history would be sent to another model: it cannot stand in for what was called
            falls_back = "fallback" in rungs and others and found.channel is not Channel.CALLS
            goes_on = "cut" not in rungs and not falls_back
        return replace(found, act=Act.HOLD) if goes_on else found

    def _answer(self, found: Finding, *, may_ask: bool) -> bool | None:
        """Whether it may go on, as the hook says; None where that has no opinion, or there is none."""
        allowed, hook = self._allowed, self.wanted.on_loop
        if hook is None or "ask" not in self.wanted.intent.ladder:
            return None
        if allowed is not None and _is_one_loop(allowed, found) and found.copies < TWICE * allowed.copies:
            return True
        if not may_ask:
            return True  # the reader's own thread will ask
        answer = _asked(hook, found)
        if answer:
            self._allowed = found
        return answer

    def lets_go_on(self, found: Finding) -> bool:
        """Somebody was asked about this one, and said that it is as it should be."""
        return self._allowed is not None and _is_one_loop(self._allowed, found)


def _is_one_loop(one: Finding, other: Finding) -> bool:
    """Seen twice: as it was, and as it goes on."""
    return _place(one) == _place(other)


def _place(found: Finding) -> tuple[Channel, Rule, int, int]:
    return found.channel, found.rule, found.period, found.start


def _asked(hook: Callable[[Finding], object], found: Finding) -> bool | None:
    """True, False, or no opinion. A hook that fails has none."""
    try:
        answer = hook(found)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("on_loop is asked in the middle of a piece and cannot be awaited: use a plain function")
    except Exception:  # noqa: BLE001 - whatever it is, it is not the generation's
        complain()
        return None
    return answer if isinstance(answer, bool) else None


def _taken(texts: list[str]) -> str:
    """What was collected; a reader in another thread may be adding to it."""
    if not texts:
        return ""
    count = len(texts)
    taken = "".join(texts[:count])
    del texts[:count]
    return taken
