"""Calls of tools that come again: the same tool with the same arguments, and whether the same came of it.

The evidence is in the results. A call that is made again and returns something else is work: tests run after each
change, pages of a list, a queue that gets shorter. Only calls that are made again and return the same again may end
a generation. Arguments and results are kept as digests, never as text.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, NamedTuple

from hangtight.intent.findings import LONGEST_UNIT_SHOWN, Act, Channel, Doing, Finding, Rule


class Unknown(Enum):
    """A type of its own, since `None` and nothing at all are results too."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
"""The result of a call that nobody has reported."""

LONGEST_CYCLE: Final = 5  # A B C D E and again; longer ones were not seen, and chance would find some
HOLD_ONE, HOLD_CYCLE = 4, 3  # copies; three readings of one file happen in good runs
CUT_ONE, CUT_CYCLE = 6, 4  # the model has then seen the same answer five times, and a cycle three times
PATIENCE: Final = 2  # times the copies, where coming again is what the tool is for, or the results say nothing

LONGEST_PARSED: Final = 8_000  # characters; a longer text is compared as it is, which misses only re-ordered JSON
LONGEST_FOLDED: Final = 8_000  # characters; a longer result counts as another one where a time in it differs
LONGEST_DATA: Final = 16_000  # characters; more of a picture, or of what else is in base64, is not read whole
SAMPLE: Final = 2_000  # characters, from all over it; and at both ends as many: a picture ends with its checksum
LONGEST_READ: Final = 400  # characters of arguments in which the words of waiting are looked for: a command's length
LONGEST_STATE: Final = 200  # a longer result is no state of something that goes on, whatever words are in it
DIGEST: Final = 8  # bytes

CONFIDENCE: Final = {(Act.CUT, Rule.TOOLS): 0.95, (Act.HOLD, Rule.TOOLS): 0.7, (Act.HOLD, Rule.CALLS): 0.3}

WAITING: Final = frozenset(
    (
        *("wait", "waits", "waiting", "await", "until", "sleep", "poll", "polls", "polling", "retry"),
        *("watch", "tail", "follow", "monitor", "status", "health", "healthz", "ping", "alive", "ready", "heartbeat"),
        *("checks", "progress", "pending"),
    )
)
"""Words of a name or of arguments that say that the same call is meant to come again."""
WAITING_TOOL: Final = WAITING | frozenset(
    (
        *("check", "job", "jobs", "queue", "background", "output", "stdin", "logs", "timer"),
        *("press", "keypress", "hotkey", "scroll", "click", "swipe", "next", "step", "undo", "redo", "advance"),
    )
)
"""Only in the name of a tool. The second line are tools that move something on: five presses of a key are no loop."""
WAITING_RESULT: Final = frozenset(
    (
        *("wait", "waiting", "pending", "progress", "queued", "running", "starting", "loading", "building"),
        *("deploying", "processing", "provisioning", "initializing", "scheduled", "busy", "ready", "yet", "later"),
    )
)
"""Words of a short result that say that something is not done yet. Not `status`: `exit status 1` is the end of it."""

WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
BASE64: Final = re.compile(r"(?:data:[^,]{0,100},)?[0-9A-Za-z+/_=-]{400}")
"""No text that is written for people or for compilers goes on for so long without a blank."""
VOLATILE: Final = (
    re.compile(
        # A digit comes first, and what stands before it after that: the search then skips all other characters.
        r"""(?x) [0-9] (?<![\w.][0-9]) (?:
        x[0-9A-Fa-f]{4,16}\b                                                    # an address in memory
        | [0-9]{3}-[0-9]{2}-[0-9]{2}\b(?!:)                                     # a date
        | [0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9:]{4,6})?
        | [0-9]?:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,9})?\b                    # a time of day
        | [0-9]{0,11}(?:\.[0-9]{1,9})?\ ?(?:[num\u00b5]?s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b
        | (?<=1)[0-9]{9}(?:[0-9]{3})?\b                                         # since 1970, in seconds or thousandths
        )"""
    ),
    re.compile(r"""pid[ =:"]{1,4}[0-9]{1,8}\b"""),
    re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\b"),  # a UUID
)
"""What differs from one run to the next although nothing has changed."""


SAYS_NOTHING: Final = frozenset(("ok", "okay", "done", "success", "true"))
"""Results of tools that act on something, as a key that is pressed: they show no circle, for nothing was asked."""


class Call(NamedTuple):
    """What is left of one call."""

    name: str
    asked: bytes | None
    """Name and arguments; None where the arguments have no text that lasts: such a call is like no other."""
    result: bytes | None
    """None where it is not known."""
    folded: bytes | None
    """The result without what is volatile. Only of a call that came again: what never does costs nothing."""
    waits: bool
    """Coming again is what it is for. Told only of a call that did."""
    acted: bool = False
    """It did something, and nothing was asked."""


class Run:
    """For each length of a cycle, how many of the latest calls in a row were like the one a cycle before."""

    __slots__ = ("again",)

    def __init__(self) -> None:
        self.again = [0] * (LONGEST_CYCLE + 1)

    def tell(self, period: int, like: bool) -> None:
        self.again[period] = self.again[period] + 1 if like else 0

    def length(self, period: int) -> int:
        """How many calls the repetition has, with the first copy."""
        return self.again[period] + period

    def copies(self, period: int) -> int:
        return self.length(period) // period


class Tools:
    """The calls of one agent, in order. Says whether the latest of them go round in a circle."""

    __slots__ = ("_asked", "_count", "_folded", "_latest", "_same")

    def __init__(self) -> None:
        self._count = 0
        self._latest: deque[Call] = deque(maxlen=LONGEST_CYCLE)
        self._asked = Run()
        """Like in name and arguments."""
        self._folded = Run()
        """In the result too, but for what is volatile."""
        self._same = Run()
        """In the result too, to the letter."""

    def call(self, name: str, arguments: object, result: object = UNKNOWN) -> None:
        """The next call, with what came of it. Takes any arguments and any result, and never raises for them."""
        new = self._read(name, arguments, result)
        for period in range(1, LONGEST_CYCLE + 1):
            old = self._latest[-period] if period <= len(self._latest) else None
            asked = old is not None and old.asked is not None and old.asked == new.asked
            same = asked and old is not None and old.result is not None and old.result == new.result
            folded = same or (asked and old is not None and old.folded is not None and old.folded == new.folded)
            self._asked.tell(period, asked)
            self._folded.tell(period, folded)
            self._same.tell(period, same)
        self._latest.append(new)
        self._count += 1

    def finding(self) -> Finding | None:
        """What the latest calls show, the strongest evidence first and the shorter cycle before the longer."""
        if not any(self._asked.again):
            return None
        found = [finding for period in range(1, LONGEST_CYCLE + 1) if (finding := self._cycle(period))]
        return max(found, key=lambda finding: finding.confidence, default=None)

    def _read(self, name: str, arguments: object, result: object) -> Call:
        text = _canonical(arguments) or "{}"  # no arguments are written in three ways
        asked = None if text is UNKNOWN else _digest(f"{name}\0{text}")
        told = UNKNOWN if result is UNKNOWN else _canonical(_content(result))
        known = None if told is UNKNOWN else _digest(told)
        if asked is None or all(old.asked != asked for old in self._latest):
            return Call(name[:LONGEST_UNIT_SHOWN], asked, known, None, False)
        waits = _says(WAITING_TOOL, name) or (text is not UNKNOWN and _says(WAITING, text[:LONGEST_READ]))
        folded = None
        if told is not UNKNOWN:
            waits = waits or (len(told) <= LONGEST_STATE and _says(WAITING_RESULT, told))
            folded = _digest(_folded(told)) if len(told) <= LONGEST_FOLDED else None
        acted = isinstance(told, str) and told.strip('"').lower() in SAYS_NOTHING
        return Call(name[:LONGEST_UNIT_SHOWN], asked, known, folded, waits, acted)

    def _cycle(self, period: int) -> Finding | None:
        cycle = [*islice(reversed(self._latest), period)]
        waits = any(call.waits for call in cycle) or all(call.acted for call in cycle)
        hold = (HOLD_ONE if period == 1 else HOLD_CYCLE) * (PATIENCE if waits else 1)
        cut = CUT_ONE if period == 1 else CUT_CYCLE
        if not waits and self._same.copies(period) >= cut and not self._only_results_alternate(period):
            return self._finding(Act.CUT, Rule.TOOLS, self._same, period)
        if self._same.copies(period) >= hold:
            return self._finding(Act.HOLD, Rule.TOOLS, self._same, period)
        if self._folded.copies(period) >= hold:
            return self._finding(Act.HOLD, Rule.TOOLS, self._folded, period)
        if self._asked.copies(period) >= hold * PATIENCE:
            return self._finding(Act.HOLD, Rule.CALLS, self._asked, period)
        return None

    def _only_results_alternate(self, period: int) -> bool:
        """One call, now with this result, now with that: a test that fails now and then, and no circle of calls."""
        length = self._same.length(period)
        return any(self._asked.length(shorter) >= length for shorter in range(1, period))

    def _finding(self, act: Act, rule: Rule, run: Run, period: int) -> Finding:
        length = run.length(period)
        names = [call.name for call in self._latest][-period:]
        first = -(length % period) % period  # where in them a copy begins, counted as from the start
        return Finding(
            act=act,
            doing=Doing.STUCK,
            rule=rule,
            channel=Channel.CALLS,
            offset=self._count,
            start=self._count - length,
            period=period,
            copies=run.copies(period),
            unit=", ".join(names[first:] + names[:first])[:LONGEST_UNIT_SHOWN],
            confidence=CONFIDENCE[act, rule],
        )


def _says(words: frozenset[str], text: str) -> bool:
    return any(word.lower() in words for word in WORD.findall(text))


def _folded(text: str) -> str:
    for volatile in VOLATILE:
        text = volatile.sub("~", text)
    return text


def _digest(text: str) -> bytes:
    # A digest and not hash(), which is another one in each process.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


def _content(result: object) -> object:
    """The text of content parts; other parts without the marks that clients move from one part to the next."""
    if result is None:
        return ""
    parts: list[Any] = [*result] if isinstance(result, list | tuple) else [result]
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts):
        return result
    if all(isinstance(part.get("text"), str) for part in parts):
        return "\n".join(part["text"] for part in parts)
    return [{name: value for name, value in part.items() if name != "cache_control"} for part in parts]


def _canonical(value: object) -> str | Unknown:
    """One text for all the ways in which a value may be written."""
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        text = value.strip()
        if len(text) > LONGEST_PARSED:
            return _short(text)
        try:
            value = json.loads(text, parse_float=_number)
        except (ValueError, RecursionError):
            return text
    try:
        plain = _plain(value)
        if plain is None or plain == {}:
            return ""
        return json.dumps(plain, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return UNKNOWN  # an object's own text may hold its address, and be another one for the same thing


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return _short(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(text: str) -> str:
    """Large data by its length and a sample; any other text as it is."""
    if len(text) <= LONGEST_DATA or not BASE64.match(text) or not BASE64.match(text, len(text) // 2):
        return text
    sample = text[:SAMPLE] + text[:: len(text) // SAMPLE] + text[-SAMPLE:]
    return f"{len(text)}:{_digest(sample).hex()}"


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value
