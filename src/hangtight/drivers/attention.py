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
from typing import TYPE_CHECKING

from hangtight.core.facts import Content, Reasoning
from hangtight.drivers.watchdog import complain
from hangtight.intent.findings import NOTHING, Act, Channel, Finding

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
        "_tokens",
        "calls",
        "said",
        "thoughts",
        "wanted",
    )

    def __init__(self, wanted: Wanted) -> None:
        from hangtight.intent.analyser import Analyser  # loaded before the clocks run, by who needs it

        self.wanted = wanted
        self._analyser = Analyser()
        self._lock = Lock()
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

    def recall(self, exchanges: list[Exchange], now: float) -> Finding:
        """What the history of an agent's calls says, before this one is sent."""
        with self._lock:
            analyser = self._analyser
            for each in exchanges:
                analyser.tool(each.name, each.arguments, each.result, now)
            return analyser.advice()

    def read(self, answer: list[str], now: float) -> Finding:
        """Read what has come since the last time."""
        with self._lock:
            analyser = self._analyser
            self._take(answer, now)
            for texts, channel in ((self.thoughts, Channel.REASONING), (self.calls, Channel.TOOL)):
                if texts:
                    text = _taken(texts)
                    self._fresh += len(text)
                    analyser.feed(text, channel, now)
            analyser.drain()
            found = analyser.advice()
            if found.act is Act.KEEP:
                return self._beneath
            return found

    def _take(self, answer: list[str], now: float) -> None:
        if self._read > len(answer):  # another generation's
            self._read = 0
        fresh = answer[self._read :]
        self._read += len(fresh)
        text = "".join(fresh) + _taken(self.said)
        self._length += len(text)
        self._fresh += len(text)
        self._analyser.feed(text, Channel.ANSWER, now)

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
        rungs = self.wanted.intent.ladder
        # the same history would be sent to another model: it cannot stand in for what was called
        ends = "cut" in rungs or ("fallback" in rungs and others and found.channel is not Channel.CALLS)
        if not ends or self._goes_on(found, may_ask=may_ask):
            return replace(found, act=Act.HOLD)
        return found

    def _goes_on(self, found: Finding, *, may_ask: bool) -> bool:
        allowed, hook = self._allowed, self.wanted.on_loop
        if hook is None or "ask" not in self.wanted.intent.ladder:
            return False
        if allowed is not None and allowed.start == found.start and found.copies < TWICE * allowed.copies:
            return True
        if not may_ask:
            return True  # the reader's own thread will ask
        if _asked(hook, found):
            self._allowed = found
            return True
        return False

    def lets_go_on(self, found: Finding) -> bool:
        """Somebody was asked about this one, and said that it is as it should be."""
        return self._allowed is not None and self._allowed.start == found.start


def _asked(hook: Callable[[Finding], object], found: Finding) -> bool:
    """A hook that fails has not said that it may go on."""
    try:
        answer = hook(found)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("on_loop is asked in the middle of a piece and cannot be awaited: use a plain function")
    except Exception:  # noqa: BLE001 - whatever it is, it is not the generation's
        complain()
        return False
    return answer is True


def _taken(texts: list[str]) -> str:
    """What was collected; a reader in another thread may be adding to it."""
    if not texts:
        return ""
    count = len(texts)
    taken = "".join(texts[:count])
    del texts[:count]
    return taken
