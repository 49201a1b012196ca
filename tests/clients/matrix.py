"""Every fault of the lab, and what the caller of each SDK on a client of ours gets: the data, one run, the table.

`test_sdks.py` holds each cell to it, and `docs/make_sdks.py` writes what it finds as the table of `docs/sdks.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import hangtight
from hangtight.testing.lab import Lab
from tests.clients.kit import ANTHROPIC, APIS, OLLAMA, OPENAI, SDKS, How, Seen

SHORT = {"first_token": 0.2, "idle": 0.2, "total": 5.0}
ANSWER = "the answer"
LIMITS = {
    "first_token": "hangtight.FirstTokenTimeout",
    "idle": "hangtight.IdleTimeout",
    "thinking": "hangtight.IdleTimeout",
    "total": "hangtight.TotalTimeout",
    "load": "hangtight.LoadTimeout",
}
CUT = "hangtight.Truncated"
UNREADABLE = "hangtight.BackendError"
BROKEN_JSON = "json.JSONDecodeError"

Told = str | Mapping[str, str]
"""What the caller gets: an answer, the limit that breaks, or an error by its name; where it differs, for each API."""


@dataclass(frozen=True)
class Fault:
    """One way to misbehave."""

    words: str
    script: str
    streamed: Told = ANSWER
    unstreamed: Told | None = None
    """None: as streamed."""
    limits: dict[str, Any] = field(default_factory=dict)
    again: tuple[str, ...] = ()
    """The APIs in which an unstreamed call is asked once more, as it was."""
    heeds: bool = True
    """The server stops when it is told to; what was refused has nothing to stop."""

    def told(self, api: str, streamed: bool) -> str:
        told = self.streamed if streamed or self.unstreamed is None else self.unstreamed
        return told if isinstance(told, str) else told[api]


def _theirs(of_openai: str, of_anthropic: str, of_ollama: str) -> dict[str, str]:
    openai, anthropic, ollama = (f"openai.{of_openai}", f"anthropic.{of_anthropic}", f"ollama.{of_ollama}")
    told = {OPENAI: openai, ANTHROPIC: anthropic, OLLAMA: ollama}
    return {**told, "completions": openai, "responses": openai, "generate": ollama}


def _by(of_openai: str, of_anthropic: str, of_ollama: str) -> dict[str, str]:
    told = {OPENAI: of_openai, ANTHROPIC: of_anthropic, OLLAMA: of_ollama}
    return {**told, "completions": of_openai, "responses": of_openai, "generate": of_ollama}


LOST = _by("openai.APIConnectionError", "httpx2.RemoteProtocolError", "httpx.RemoteProtocolError")
LOST_WHOLE = LOST | {ANTHROPIC: "anthropic.APIConnectionError"}
RESET = _by("openai.APIConnectionError", "httpx2.ReadError", "httpx.ReadError")
RESET_WHOLE = RESET | {ANTHROPIC: "anthropic.APIConnectionError"}
BUSY = _theirs("RateLimitError", "RateLimitError", "ResponseError")
BROKE = _theirs("InternalServerError", "InternalServerError", "ResponseError")
BAD = _theirs("BadRequestError", "BadRequestError", "ResponseError")
IN_STREAM = _theirs("APIError", "APIStatusError", "ResponseError")
PATIENT = {"first_token": 5.0}
BRIEF = {"total": 0.2}
ALL = tuple(APIS)

FAULTS = (
    Fault("it answers", "tokens=5,rate=400"),
    Fault("the model loads first", "tokens=5,rate=400,load=0.15", limits=PATIENT),
    Fault("it reads a long prompt first", "tokens=5,rate=400,prefill=0.15", limits=PATIENT),
    Fault("the headers come late", "tokens=5,rate=400,headers=0.15", limits=PATIENT),
    Fault(
        "it reads a long prompt, and says how far it is",
        "tokens=5,rate=400,prefill=0.4,prefill-progress=always,every=0.05",
        {**_by(ANSWER, "first_token", "first_token"), "completions": "first_token", "responses": "first_token"},
    ),
    Fault("it reasons first", "reasoning=3,tokens=3,rate=400"),
    Fault("it calls a tool", "tool,rate=400"),
    Fault("an event of 2 MiB", "oversized=2,tokens=4,rate=400"),
    Fault("the body is not ended after the last event", "lingers,tokens=3,rate=400"),
    Fault("nothing comes, not even headers", "silent", "first_token"),
    Fault("headers come, and no token", "mute=0", "first_token"),
    Fault("it goes silent after three tokens", "mute=3,rate=400", "idle"),
    Fault("only empty deltas after three tokens", "empties=3,rate=400", "idle"),
    Fault(
        "only pings after three tokens (blank lines from Ollama)",
        "pings=3,rate=400",
        _by("idle", "idle", BROKEN_JSON),
        "idle",
    ),
    Fault("one event byte by byte, without end", "drip=3,rate=400", "idle"),
    Fault("it goes silent while it reasons", "reasoning=3,mute=3,rate=400", "thinking", limits={"thinking": 0.25}),
    Fault("it talks without end", "runaway,rate=400", "total", limits=BRIEF),
    Fault("it says the same again and again", "loop,rate=400", "total", limits=BRIEF),
    Fault("the same with other numbers", "drift,rate=400", "total", limits=BRIEF),
    Fault(
        "it goes on when the client has left", "ignores-cancel,tokens=9000,rate=400", "total", limits=BRIEF, heeds=False
    ),
    Fault("503 while it loads, for too long", "load=9,unavailable", "load", limits={"load": 0.25}, heeds=False),
    Fault("the connection is closed after three tokens", "disconnect=3,rate=400", LOST, LOST_WHOLE),
    Fault("the server dies after three tokens", "dies=3,rate=400", RESET, RESET_WHOLE),
    Fault("status 429", "status=429", BUSY),
    Fault("status 500", "status=500", BROKE),
    Fault("status 400", "status=400", BAD, again=ALL),
    Fault("an error event before the first token", "error=0", IN_STREAM, BROKE),
    Fault("an error event after three tokens", "error=3,rate=400", IN_STREAM | {"responses": ANSWER}, BROKE),
    Fault("one event of broken JSON", "garbage=3,rate=400", BROKEN_JSON, UNREADABLE),
    Fault("no finish reason", "no-reason,tokens=3,rate=400", ANSWER, dict.fromkeys(APIS, CUT) | {"responses": ANSWER}),
    Fault("no end mark", "no-done,tokens=3,rate=400", _by(ANSWER, ANSWER, CUT)),
    Fault("neither of them", "no-reason,no-done,tokens=3,rate=400", CUT),
    Fault("it refuses unstreamed calls", "no-stream,tokens=3,rate=400"),
    Fault("it refuses to stream", "refuses-stream,tokens=3,rate=400", BAD, ANSWER, again=ALL),
    Fault("it does not know stream_options", "no-usage-option,tokens=3,rate=400", again=(OPENAI, "completions")),
)


@dataclass(frozen=True)
class Cell:
    """One call: which API, how, and against which fault."""

    fault: Fault
    api: str
    asynchronous: bool
    streamed: bool

    @property
    def told(self) -> str:
        return self.fault.told(self.api, self.streamed)

    @property
    def limit(self) -> float:
        """The seconds of the limit that breaks."""
        return float({**SHORT, **self.fault.limits}[self.told])

    def how(self, *, ours: bool, tries: bool) -> How:
        theirs: dict[str, Any] = {} if tries or APIS[self.api].sdk == OLLAMA else {"max_retries": 0}
        settings = {**SHORT, **self.fault.limits} if ours else None
        return How(self.api, self.asynchronous, self.streamed, settings, theirs)

    def run(self, lab: Lab, *, ours: bool = True) -> Seen:
        """A timeout or a cut is met with the retries that the SDK has by itself; a refusal without, to be quick."""
        return self.how(ours=ours, tries=self.told in (*LIMITS, CUT)).call(lab.url, self.fault.script)


def cells(apis: tuple[str, ...], faults: tuple[Fault, ...] = FAULTS) -> Iterator[Cell]:
    for fault in faults:
        for api in apis:
            for streamed in (True, False):
                for asynchronous in (False, True):
                    yield Cell(fault, api, asynchronous, streamed)


def named(error: BaseException | None) -> str:
    """What the caller got, in the words of the data above."""
    if error is None:
        return ANSWER
    if isinstance(error, hangtight.GenerationTimeout):
        return error.limit
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"


# -- the table ------------------------------------------------------------------------------------------------


def table(told: Callable[[Fault, str, bool], str]) -> str:
    """The table of the page, from what was found or from what is expected."""
    lines = ["| the server | " + " | ".join(f"`{sdk}`" for sdk in SDKS) + " |", "|---" * (len(SDKS) + 1) + "|"]
    for fault in FAULTS:
        cells_of = [_both(told(fault, sdk, True), told(fault, sdk, False)) for sdk in SDKS]
        lines.append(f"| {fault.words} | " + " | ".join(cells_of) + " |")
    return "\n".join(lines) + "\n"


def _both(streamed: str, unstreamed: str) -> str:
    if streamed == unstreamed:
        return _spoken(streamed)
    return f"streamed: {_spoken(streamed)}; unstreamed: {_spoken(unstreamed)}"


def _spoken(told: str) -> str:
    if told == ANSWER:
        return told
    if told in LIMITS:
        return f"`{LIMITS[told]}` ({told})" if told == "thinking" else f"`{LIMITS[told]}`"
    return f"`{told}`"


def expected() -> str:
    return table(lambda fault, sdk, streamed: fault.told(sdk, streamed))


def found(lab: Lab) -> str:
    """The same table from a run of all of it. Raises where a synchronous and an asynchronous client differ."""
    seen: dict[tuple[str, str, bool], str] = {}
    for cell in cells(SDKS):
        lab.reset()
        key = (cell.fault.script, cell.api, cell.streamed)
        told = named(cell.run(lab).error)
        if seen.setdefault(key, told) != told:
            raise RuntimeError(f"{key}: {seen[key]} and {told}, synchronous and not")
    return table(lambda fault, sdk, streamed: seen[fault.script, sdk, streamed])
