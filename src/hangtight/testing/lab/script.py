"""A model name is a script: `mistral-7b,tokens=20,mute=5` names what a model of the lab does.

>>> Script.read("mistral-7b,tokens=8,mute=5").faults
(Fault(kind='mute', after=5, size=1),)
>>> Script.read("qwen3:1.7b").answer.tokens         # a name without items is a healthy model
20

Times are seconds and may be fractions. What comes after N tokens counts reasoning tokens too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from hangtight.testing.lab.items import Given, ScriptError, read_items

__all__ = ["Answer", "Ending", "Fault", "FaultKind", "Refusal", "Script", "ScriptError", "Start"]

Saying = Literal["words", "loop", "drift", "table", "code"]
FaultKind = Literal["mute", "pings", "empties", "drip", "disconnect", "dies", "error", "garbage", "oversized"]
TOKENS = 20
RATE = 50.0
EVERY = 0.05
"""A healthy model answers within half a second; its contact, where it has any, is denser than its content."""

ENDLESS: dict[str, Saying] = {
    "runaway": "words",
    "loop": "loop",
    "drift": "drift",
    "healthy-table": "table",
    "healthy-code": "code",
}
"""The items that make an answer endless, and what is said in it."""
HEALTHY = ("healthy-table", "healthy-code")
"""Those of them that end where a number of tokens is given."""
PASSING: frozenset[FaultKind] = frozenset({"garbage", "oversized"})
"""The faults after which the answer goes on; each of the others is the last thing that happens."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What happens before the first token. `headers` is None where the headers follow the load."""

    load: float = 0.0
    unavailable: bool = False
    headers: float | None = None
    silent: bool = False
    prefill: float = 0.0
    progress: Literal["no", "asked", "always"] = "no"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is generated, and how fast. Endless answers have no number of tokens.

    A `whole` answer comes in one piece whatever was asked for.
    """

    tokens: int = TOKENS
    rate: float = RATE
    reasoning: int = 0
    text: Saying = "words"
    endless: bool = False
    tool: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong once `after` tokens were sent. `size` is in MiB and concerns oversized events only."""

    kind: FaultKind
    after: int
    size: int = 1

    @property
    def passes(self) -> bool:
        return self.kind in PASSING


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What is answered instead of tokens: a status always, or a 400 to who asks in one of these ways."""

    status: int | None = None
    retry_after: float | None = None
    unstreamed: bool = False
    streamed: bool = False
    stream_options: bool = False


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is missing at the end, or comes too late; and whether a client that leaves ends it at all."""

    done: bool = True
    reason: bool = True
    lingers: bool = False
    ignores_cancel: bool = False


@dataclass(frozen=True, kw_only=True)
class Script:
    """Everything that a model of the lab does with a request. `every` spaces pings, drops and progress."""

    name: str
    start: Start = Start()
    answer: Answer = Answer()
    faults: tuple[Fault, ...] = ()
    refusal: Refusal = Refusal()
    ending: Ending = Ending()
    every: float = EVERY

    @classmethod
    def read(cls, name: str) -> Script:
        """The script that a model name is; a ScriptError says which item it was and what comes nearest."""
        given = read_items(name)
        return cls(
            name=name,
            start=_start(given),
            answer=_answer(given),
            faults=_faults(given),
            refusal=_refusal(given),
            ending=Ending(
                done="no-done" not in given,
                reason="no-reason" not in given,
                lingers="lingers" in given,
                ignores_cancel="ignores-cancel" in given,
            ),
            every=given.number("every", EVERY),
        )


def _start(given: Given) -> Start:
    progress: Mapping[str | None, Literal["no", "asked", "always"]] = {None: "no", "": "asked", "always": "always"}
    return Start(
        load=given.number("load", 0.0),
        unavailable="unavailable" in given,
        headers=given.number("headers"),
        silent="silent" in given,
        prefill=given.number("prefill", 0.0),
        progress=progress[given.get("prefill-progress")],
    )


def _refusal(given: Given) -> Refusal:
    given.refuse_two("no-stream", "refuses-stream", "ignores-stream")
    return Refusal(
        status=given.whole("status"),
        retry_after=given.number("retry-after"),
        unstreamed="no-stream" in given,
        streamed="refuses-stream" in given,
        stream_options="no-usage-option" in given,
    )


def _answer(given: Given) -> Answer:
    given.refuse_two("tool", *ENDLESS)
    given.refuse_two("tokens", *(item for item in ENDLESS if item not in HEALTHY))
    endless = "tokens" not in given and not given.isdisjoint(set(ENDLESS))
    reasoning = given.whole("reasoning", 0)
    latest = max((fault.after for fault in _faults(given)), default=0) - reasoning
    tokens = given.whole("tokens", max(TOKENS, latest))
    if latest > tokens and not endless:
        raise ScriptError(f"a fault after {latest + reasoning} tokens never comes in an answer of {tokens + reasoning}")
    return Answer(
        tokens=tokens,
        rate=given.number("rate", RATE),
        reasoning=reasoning,
        text=next((ENDLESS[item] for item in ENDLESS if item in given), "words"),
        endless=endless,
        tool="tool" in given,
        whole="ignores-stream" in given,
    )


def _faults(given: Given) -> tuple[Fault, ...]:
    kinds: tuple[FaultKind, ...] = get_args(FaultKind)
    given.refuse_two(*(kind for kind in kinds if kind not in PASSING))
    faults = [_fault(kind, given) for kind in kinds if kind in given]
    return tuple(sorted(faults, key=lambda fault: (fault.after, not fault.passes)))


def _fault(kind: FaultKind, given: Given) -> Fault:
    number = given.whole(kind, 0)
    return Fault(kind=kind, after=1, size=number) if kind == "oversized" else Fault(kind=kind, after=number)
