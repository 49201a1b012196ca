"""The real clients through one `hangtight serve`, against every fault of the lab: the data and the run.

`test_clients.py` holds each cell to it, `tables.py` makes the tables of `docs/gateway-clients.md` from it. What is
expected stands here once, as what goes over the wire; what each client makes of that is a rule of that client.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai

from hangtight.testing.lab import Counts, Lab, text_of
from tests.clients.kit import ANTHROPIC, APIS, NO_TLS, OLLAMA, OPENAI
from tests.gateway.kit import Served

CURL = shutil.which("curl")
AT_ONCE = 16
OK = 200
PATIENCE = 20.0  # seconds for one call: a bound for what hangs, never a measurement
TRIES = 3  # requests that openai and anthropic make of one that may be tried again
ENOUGH, SOON = "15", "0.3"  # seconds: a limit that shall not ring, and one that shall
LATER = "2"  # one that shall ring behind the first tokens, also where sixteen ask at once on a busy machine
EACH = ("X-Hangtight-First-Token", "X-Hangtight-Idle")
PATHS = {
    OPENAI: "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    ANTHROPIC: "/v1/messages",
    OLLAMA: "/api/chat",
    "generate": "/api/generate",
}
SETTINGS = """
models:
  "lone*": {{proxy: {lone}}}
  "nobody*": {{proxy: "http://127.0.0.1:9"}}
  "brief*": {{proxy: {lab}, limits: {{thinking: 0.3, load: 0.3}}}}
  "*": {{proxy: {lab}}}
"""

# -- how an answer ends ---------------------------------------------------------------------------------------


class Kind(Enum):
    """What the last of an answer is."""

    WHOLE = "the answer"
    REFUSED = "an answer of ours in its place, with a status and a code"
    BROKEN = "an error event of ours, with a code"
    PASSED = "a refusal of the server, as it is"
    EVENT = "an error event of the server, as it is"
    GARBLED = "what the server sent, which is no JSON"
    ONE_PIECE = "one piece of JSON, where a stream was asked for"


@dataclass(frozen=True)
class Ending:
    """The same for a reader of bytes, whatever client reads them."""

    kind: Kind
    status: int = 200
    code: str = ""

    @property
    def may_be_tried_again(self) -> bool:
        """An SDK does: nobody told it not to."""
        return self.kind is Kind.PASSED and (self.status in (408, 409, 429) or self.status >= 500)

    @property
    def is_as_without_us(self) -> bool:
        return self.kind not in (Kind.REFUSED, Kind.BROKEN)


WHOLE, EVENT, GARBLED, ONE_PIECE = map(Ending, (Kind.WHOLE, Kind.EVENT, Kind.GARBLED, Kind.ONE_PIECE))


def refused(status: int, code: str) -> Ending:
    return Ending(Kind.REFUSED, status, code)


def broken(code: str) -> Ending:
    return Ending(Kind.BROKEN, 200, code)


def passed(status: int) -> Ending:
    return Ending(Kind.PASSED, status)


# -- what a server does ---------------------------------------------------------------------------------------

By = Ending | Mapping[str, Ending]
"""One ending, or where they differ one for each API; `""` stands for all others."""


@dataclass(frozen=True, eq=False)
class Row:
    """One way to misbehave, under these limits of the request."""

    words: str
    script: str
    streamed: By = WHOLE
    unstreamed: By | None = None
    """None: as streamed."""
    limits: tuple[tuple[str, str], ...] = ()
    place: str = "lab"
    """At which server: see the settings."""
    asked: int = 1
    again: tuple[str, ...] = ()
    """The APIs in which an unstreamed call is asked once more, as it was."""
    helped: bool = False
    """We make an answer of what is none without us."""
    blank_lines: bool = False
    """It sends blank lines to clients of Ollama's, which take each line for JSON."""
    heeds: bool = True

    def ending(self, api: str, streamed: bool) -> Ending:
        found = self.streamed if streamed or self.unstreamed is None else self.unstreamed
        return found if isinstance(found, Ending) else found.get(api, found.get("", WHOLE))

    @property
    def headers(self) -> dict[str, str]:
        return {**dict.fromkeys(EACH, ENOUGH), **dict(self.limits)}


def limits(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"X-Hangtight-{name.replace('_', '-').title()}", value) for name, value in given.items())


def late(code: str) -> tuple[Ending, Ending]:
    """Over after the first token: an error event in a stream, a 504 in its place elsewhere."""
    return broken(code), refused(504, code)


NO_ANSWER = refused(504, "first_token")
LOST = broken("backend"), refused(502, "backend")
CUT = refused(502, "truncated")
FIRST, IDLE, TOTAL = limits(first_token=SOON), limits(idle=LATER), limits(total=LATER)
SAYS_HOW_FAR = {OPENAI: WHOLE, "completions": WHOLE, "": NO_ANSWER}
"""Only these two have a way to say how far they are with the prompt."""
OF_LINES = (OLLAMA, "generate")
MARKED = ("responses", *OF_LINES)
"""The APIs whose last piece is both the finish and the end mark, or has no reason without it."""
ALL = tuple(APIS)

NOTHING_RUNS = ("backend", "truncated", "load")
"""Codes of ends at which the server has ended already, or has not begun."""

ROWS = (
    Row("it answers", "tokens=5,rate=400"),
    Row("a long table", "healthy-table,tokens=200,rate=5000"),
    Row("the model loads first", "tokens=5,rate=400,load=0.15"),
    Row("it says 503 while it loads", "tokens=5,rate=400,load=0.2,unavailable", asked=2, helped=True),
    Row("it reads a long prompt first", "tokens=5,rate=400,prefill=0.15"),
    Row("the headers come late", "tokens=5,rate=400,headers=0.15"),
    Row(
        "it reads a long prompt, and says how far it is",
        "tokens=5,rate=400,prefill=3,prefill-progress=always,every=0.05",
        SAYS_HOW_FAR,
        limits=limits(first_token="2"),
    ),
    Row("it reasons first", "reasoning=3,tokens=3,rate=400"),
    Row("it calls a tool", "tool,rate=400"),
    Row("an event of 2 MiB", "oversized=2,tokens=4,rate=400"),
    Row("the body is not ended after the last event", "lingers,tokens=3,rate=400", helped=True),
    Row("nothing comes, not even headers", "silent", NO_ANSWER, limits=FIRST),
    Row("headers come, and no token", "mute=0", NO_ANSWER, limits=FIRST),
    Row("only pings from the start", "pings=0", NO_ANSWER, limits=FIRST),
    Row("only empty deltas from the start", "empties=0", NO_ANSWER, limits=FIRST),
    Row("one event byte by byte from the start", "drip=0", NO_ANSWER, limits=FIRST),
    Row("it goes silent after three tokens", "mute=3,rate=400", *late("idle"), limits=IDLE),
    Row("only empty deltas after three tokens", "empties=3,rate=400", *late("idle"), limits=IDLE),
    Row(
        "only pings after three tokens (blank lines from Ollama)",
        "pings=3,rate=400",
        *late("idle"),
        limits=IDLE,
        blank_lines=True,
    ),
    Row("one event byte by byte, without end", "drip=3,rate=400", *late("idle"), limits=IDLE),
    Row(
        "it goes silent while it reasons",
        "reasoning=3,mute=3,rate=400",
        {"": broken("thinking"), "completions": broken("idle")},  # which has no reasoning
        {"": refused(504, "thinking"), "completions": refused(504, "idle")},
        limits=IDLE,
        place="brief",
    ),
    Row("it talks without end", "runaway,rate=400", *late("total"), limits=TOTAL),
    Row("it says the same again and again", "loop,rate=400", *late("total"), limits=TOTAL),
    Row("the same, in a mode", "loop,rate=3000", *late("intent"), limits=limits(mode="deep")),
    Row("the same with other numbers", "drift,rate=400", *late("total"), limits=TOTAL),
    Row(
        "it goes on when the client has left",
        "ignores-cancel,tokens=9000,rate=400",
        *late("total"),
        limits=TOTAL,
        place="lone",
        heeds=False,
    ),
    Row("503 while it loads, for too long", "load=9,unavailable", refused(504, "load"), place="brief", heeds=False),
    Row("there is no server", "", refused(502, "backend"), place="nobody", asked=0),
    Row("the connection is closed before the first token", "disconnect=0", refused(502, "backend")),
    Row("the connection is closed after three tokens", "disconnect=3,rate=400", *LOST),
    Row("the server dies after three tokens", "dies=3,rate=400", *LOST, place="lone"),
    Row("status 429", "status=429", passed(429)),
    Row("status 500", "status=500", passed(500)),
    Row("status 503", "status=503", passed(503)),
    Row("status 400", "status=400", passed(400), again=ALL),
    Row("status 404", "status=404", passed(404)),
    Row("an error event before the first token", "error=0", EVENT, passed(500)),
    Row("an error event after three tokens", "error=3,rate=400", EVENT, passed(500)),
    Row("one event of broken JSON", "garbage=3,tokens=6,rate=2", GARBLED, refused(502, "backend")),
    Row("no finish reason", "no-reason,tokens=3,rate=400", WHOLE, {"": CUT, "responses": WHOLE}),
    Row(
        "no end mark",
        "no-done,tokens=3,rate=400",
        {"": WHOLE, **dict.fromkeys(MARKED, broken("truncated"))},
        {"": WHOLE, **dict.fromkeys(MARKED, CUT)},
    ),
    Row("neither of them", "no-reason,no-done,tokens=3,rate=400", broken("truncated"), CUT),
    Row("it answers in one piece", "ignores-stream,tokens=5", {"": ONE_PIECE, **dict.fromkeys(OF_LINES, WHOLE)}, WHOLE),
    Row("it refuses unstreamed calls", "no-stream,tokens=3,rate=400", helped=True),
    Row("it refuses to stream", "refuses-stream,tokens=3,rate=400", passed(400), WHOLE, again=ALL),
    Row("it does not know stream_options", "no-usage-option,tokens=3,rate=400", again=(OPENAI, "completions")),
)


@dataclass(frozen=True)
class Cell:
    """One call: through which API, streamed or not, and what the server does."""

    row: Row
    api: str
    streamed: bool

    @property
    def ending(self) -> Ending:
        return self.row.ending(self.api, self.streamed)

    def model(self, client: str) -> str:
        """A model of its own for each call, so that the lab counts it by itself."""
        how = "streamed" if self.streamed else "whole"
        name = f"{self.row.place}-{ROWS.index(self.row)}-{self.api}-{how}-{client}"
        return f"{name},{self.row.script}".rstrip(",")

    @property
    def text(self) -> str | None:
        """What the model says, where that is known beforehand."""
        if self.api == "completions" and "reasoning" in self.row.script:  # there it is a part of the text
            return None
        try:
            return text_of(self.model("sdk"))
        except ValueError:
            return None

    @property
    def is_cut(self) -> bool:
        """A limit of ours ends what the server works on."""
        return self.ending.kind in (Kind.REFUSED, Kind.BROKEN) and self.ending.code not in NOTHING_RUNS

    @property
    def is_left_by_sdk(self) -> bool:
        """It cannot read on, and leaves a server that is not at its end."""
        return self.ending.kind is Kind.GARBLED

    @property
    def asked_by_curl(self) -> int:
        return self.row.asked + (not self.streamed and self.api in self.row.again)

    @property
    def asked_by_sdk(self) -> int:
        tries = self.ending.may_be_tried_again and APIS[self.api].sdk != OLLAMA
        return self.asked_by_curl * (TRIES if tries else 1)


def cells(rows: Iterable[Row] = ROWS) -> Iterator[Cell]:
    return (Cell(row, api, streamed) for row in rows for api in APIS for streamed in (True, False))


# -- what a client makes of it --------------------------------------------------------------------------------

NAMES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
OF_ANTHROPIC = {503: "ServiceUnavailableError", 504: "GatewayTimeoutError"}
IN_STREAM = {OPENAI: "openai.APIError", ANTHROPIC: "anthropic.APIStatusError", OLLAMA: "ollama.ResponseError"}
ANSWER, NOT_RAISED, NOTHING = "the answer", "a `response.failed` event, no error", "nothing, and no error"
FAILED = "response.failed"
NO_JSON = "`json.JSONDecodeError`"
IN_WORDS_ONLY = ("backend", "truncated")
"""Codes that the client of Ollama's cannot tell: of an error it keeps only the message, in which a limit is named."""


def raised(sdk: str, status: int) -> str:
    if sdk == OLLAMA:
        return "ollama.ResponseError"
    own = OF_ANTHROPIC if sdk == ANTHROPIC else {}
    return f"{sdk}.{own.get(status) or NAMES.get(status, 'InternalServerError')}"


def expected_of(cell: Cell) -> str:
    """What the SDK of this cell makes of its ending."""
    ending, sdk = cell.ending, APIS[cell.api].sdk
    code = "" if sdk == OLLAMA and ending.code in IN_WORDS_ONLY else ending.code
    if cell.row.blank_lines and cell.streamed and sdk == OLLAMA:
        return NO_JSON
    match ending.kind:
        case Kind.WHOLE:
            return ANSWER
        case Kind.REFUSED | Kind.PASSED:
            return _told(raised(sdk, ending.status), ending.status, code)
        case Kind.EVENT if cell.api == "responses":  # its client hands this one out like any other
            return NOT_RAISED
        case Kind.BROKEN | Kind.EVENT:
            return _told(IN_STREAM[sdk], None, code)
        case Kind.GARBLED:
            return NO_JSON
        case Kind.ONE_PIECE:
            return NOTHING


def _told(name: str, status: int | None, code: str) -> str:
    return " ".join((f"`{name}`", *([str(status)] if status else []), *([f"`{code}`"] if code else [])))


@dataclass
class Got:
    """What a client had at the end of one call, and how often its server was asked."""

    told: str
    text: str = ""
    items: list[Any] = field(default_factory=list)
    error: Exception | None = None
    counts: Counts = field(default_factory=Counts)
    direct: Got | None = None
    """The same without the gateway, where that is to be the same."""


MEASURED = ("total_duration", "load_duration")
"""What Ollama measured: that differs from one answer to the next."""
LIMIT = re.compile(r"^(\w+) = ", re.MULTILINE)


def told_by(error: Exception) -> str:
    name = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    status = getattr(error, "status_code", None)
    if isinstance(error, ollama.ResponseError):
        named = LIMIT.search(error.error)
        return _told(name, error.status_code if error.status_code > 0 else None, named[1] if named else "")
    return _told(name, status if status != OK else None, code_of(getattr(error, "body", None)))


def code_of(body: Any) -> str:
    """The word of ours in an error; what servers write there are numbers, or nothing."""
    error = body.get("error", body) if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) and "id" in error else None
    return code if isinstance(code, str) else ""


CLIENTS: list[Any] = []


@cache
def client_of(sdk: str, url: str, headers: tuple[tuple[str, str], ...], *, tries: bool) -> Any:
    """One for all calls with these headers: such a client may be shared between threads."""
    client: Any
    if sdk == OLLAMA:
        client = ollama.Client(host=url, headers=dict(headers), verify=NO_TLS, timeout=PATIENCE)
    else:
        given: dict[str, Any] = {"api_key": "none", "default_headers": dict(headers)}
        given |= {} if tries else {"max_retries": 0, "timeout": PATIENCE}
        client = (
            anthropic.Anthropic(base_url=url, **given)
            if sdk == ANTHROPIC
            else openai.OpenAI(base_url=f"{url}/v1", **given)
        )
    CLIENTS.append(client)
    return client


def close_clients() -> None:
    client_of.cache_clear()
    while CLIENTS:
        CLIENTS.pop().close()


def ask(cell: Cell, url: str, *, tries: bool = True) -> Got:
    """One call of the SDK."""
    api = APIS[cell.api]
    client = client_of(api.sdk, url, tuple(cell.row.headers.items()), tries=tries)
    got = Got(ANSWER)
    try:
        answer = api.ask(client, cell.model("sdk"), cell.streamed)
        for item in answer if cell.streamed else [answer]:
            got.items.append({name: value for name, value in item.model_dump().items() if name not in MEASURED})
            got.text += (api.piece if cell.streamed else api.whole)(item)
    except Exception as error:
        got.error, got.told = error, told_by(error)
    else:
        if not got.items:
            got.told = NOTHING
        elif cell.api == "responses" and cell.streamed and got.items[-1]["type"] == FAILED:
            got.told = NOT_RAISED
    return got


# -- curl -----------------------------------------------------------------------------------------------------


@dataclass
class Bytes:
    """What curl wrote, and with which code it ended."""

    status: int
    head: dict[str, str]
    body: bytes
    code: int
    counts: Counts = field(default_factory=Counts)

    def pieces(self) -> list[bytes]:
        """The JSON of each event or line."""
        if "ndjson" in self.head.get("content-type", ""):
            return self.body.splitlines()
        events = (line.removeprefix(b"data:").strip() for line in self.body.splitlines() if line.startswith(b"data:"))
        return [event for event in events if event != b"[DONE]"]

    def error(self) -> dict[str, Any]:
        """What the whole body, or the last of a stream, says about its end."""
        last = json.loads(self.body if self.status != OK else self.pieces()[-1])
        error: dict[str, Any] = _flat(last)["error"]
        return error

    def ending(self) -> Ending:
        kind = self.head.get("content-type", "")
        if self.status != OK:
            ours = code_of(_flat(json.loads(self.body)))
            return refused(self.status, ours) if ours else passed(self.status)
        if kind.startswith("application/json"):
            return WHOLE
        try:
            said = [json.loads(piece) for piece in self.pieces() if piece]
        except ValueError:
            return GARBLED
        last = said[-1] if said else {}
        if "error" in last or last.get("type") in ("error", FAILED):
            code = code_of(_flat(last))
            return broken(code) if code else EVENT
        return WHOLE


def _flat(body: Any) -> Any:
    """Ollama's errors have a text where the others have an object."""
    return {**body, "error": body} if isinstance(body, dict) and isinstance(body.get("error"), str) else body


def body_of(cell: Cell, model: str) -> dict[str, Any]:
    asked = [{"role": "user", "content": "Say something."}]
    question: dict[str, Any] = {"messages": asked}
    if cell.api in ("completions", "generate"):
        question = {"prompt": "Say something."}
    elif cell.api == "responses":
        question = {"input": "Say something."}
    elif cell.api == ANTHROPIC:
        question["max_tokens"] = 1000
    return {"model": model, "stream": cell.streamed, **question}


def curl(cell: Cell, url: str) -> Bytes:
    assert CURL is not None, "who calls this has looked"
    given = [word for name, value in cell.row.headers.items() for word in ("-H", f"{name}: {value}")]
    body = json.dumps(body_of(cell, cell.model("curl")))
    command = [CURL, "-sS", "-i", *(["-N"] if cell.streamed else []), "--max-time", f"{PATIENCE:g}", *given]
    command += ["-H", "content-type: application/json", "-d", body, url + PATHS[cell.api]]
    ended = subprocess.run(command, capture_output=True, check=False)
    head, _, rest = ended.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    status = int(first.split()[1]) if first else 0
    return Bytes(status, {name.lower(): value.strip() for name, _, value in fields}, rest, ended.returncode)


# -- all of it ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One gateway for all rows, and behind it a server for all, and one for what would disturb the others."""

    lab: Lab
    lone: Lab
    served: Served

    def of(self, cell: Cell) -> Lab:
        return self.lone if cell.row.place == "lone" else self.lab

    def by_sdk(self, cell: Cell) -> Got:
        got = ask(cell, self.served.url)
        got.counts = self.counted(cell, "sdk")
        if cell.ending.is_as_without_us and not cell.row.helped:
            got.direct = ask(cell, self.of(cell).url, tries=False)
        return got

    def by_curl(self, cell: Cell) -> Bytes:
        got = curl(cell, self.served.url)
        got.counts = self.counted(cell, "curl")
        return got

    def counted(self, cell: Cell, client: str) -> Counts:
        """What the server counted; where a generation is ended early, once it has seen that, if it ever does."""
        lab, model = self.of(cell), cell.model(client)
        if cell.is_cut or (client == "sdk" and cell.is_left_by_sdk):
            with suppress(TimeoutError):
                return lab.when(model, lambda counts: counts.cancelled == 1 and (cell.row.heeds or counts.wasted > 0))
        return lab.counts(model)


@dataclass
class Found:
    """What all of them got."""

    sdks: dict[Cell, Got] = field(default_factory=dict)
    curls: dict[Cell, Bytes] = field(default_factory=dict)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        lab, lone = stack.enter_context(Lab()), stack.enter_context(Lab())
        stack.callback(close_clients)
        yield Stage(lab, lone, stack.enter_context(Served(folder, SETTINGS.format(lab=lab.url, lone=lone.url))))


def run(on: Stage, rows: Iterable[Row] = ROWS) -> Found:
    """Everything at once, but for a server that dies: that one dies alone, and last goes what does not stop."""
    found, wanted = Found(), list(cells(rows))
    alone = [cell for cell in wanted if cell.row.script.startswith("dies")]
    last = [cell for cell in wanted if not cell.row.heeds and cell.row.place == "lone"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        _all(pool, on, found, [cell for cell in wanted if cell not in alone and cell not in last])
        for cell in alone:
            for by, into in _ways(on, found):
                into[cell] = by(cell)
                on.lone.reset()
        _all(pool, on, found, last)
        on.lone.reset()
    return found


def _ways(on: Stage, found: Found) -> list[tuple[Callable[[Cell], Any], dict[Cell, Any]]]:
    return [(on.by_sdk, found.sdks), *([(on.by_curl, found.curls)] if CURL else [])]


def _all(pool: ThreadPoolExecutor, on: Stage, found: Found, wanted: list[Cell]) -> None:
    for by, into in _ways(on, found):
        into.update({cell: pool.submit(by, cell) for cell in wanted})
    for _, into in _ways(on, found):
        into.update({cell: into[cell].result() for cell in wanted})
