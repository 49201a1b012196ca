"""Fills the pages of `docs/errors/`: the names that an error goes by, and what it really says.

Run it as `make docs`. `tests/test_error_pages.py` fails if a page is not what this makes.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import hangtight
from hangtight import errors
from hangtight.core.budget import Priority
from hangtight.core.generation import Generation
from hangtight.core.layers import Layer, Rank, Situation, mode_layer
from hangtight.core.limits import Limit
from hangtight.core.orders import Broken
from hangtight.core.phases import Outcome
from hangtight.core.process.words import start_timed_out
from hangtight.core.resolve import resolve
from hangtight.core.telling import Door, looping_error, timeout_error
from hangtight.core.time import Instant, Seconds
from hangtight.drivers.budget.shares import Share
from hangtight.drivers.servers import find_server
from hangtight.drivers.verdicts import verdict
from hangtight.drivers.watch import DOOR
from hangtight.drivers.whys import with_why
from hangtight.errors import HangtightError
from hangtight.gateway.asking import unknown
from hangtight.gateway.calls import DOOR as OF_THE_GATEWAY
from hangtight.gateway.door.gate import Gate
from hangtight.gateway.lanes import Lane, Ticket
from hangtight.gateway.telling.flows import NO_FLOWS
from hangtight.gateway.telling.known import unknown as no_generation
from hangtight.gateway.upstream.targets import Targets
from hangtight.intent.findings import Act, Doing, Finding, Rule
from hangtight.journal.reading import Reading
from hangtight.rules.loading import check
from hangtight.rules.serving import CircuitSettings
from hangtight.rules.settings import Settings
from hangtight.supervisor.waiting import Refused

FOLDER = Path(__file__).with_name("errors")
sys.path.insert(0, str(FOLDER.parent.parent))

from docs.error_codes import GAP, Saying, sayings, statuses  # noqa: E402 - those beside us must be found first

MADE = re.compile(r"(<!-- made: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NAMED = re.compile(r"<!-- for: ([^>]*) -->")
"""What a page is for: the names of classes and codes."""
INDEX = "README.md"
WHY = "hangtight log 7f3a21bc"
MODEL = "mistral-7b"


# What each page is for


def pages() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.md") if path.name != INDEX)


def named(page: Path) -> tuple[list[str], list[str]]:
    """The classes and the codes of a page."""
    found = NAMED.search(page.read_text(encoding="utf-8"))
    names = [] if found is None else found[1].split()
    return [name for name in names if name[0].isupper()], [name for name in names if not name[0].isupper()]


def classes() -> Iterator[str]:
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, HangtightError):
            yield name


def of_code(code: str) -> list[Saying]:
    return [each for each in sayings() if each.code == code]


# What they say


def timeout(
    limit: Limit, waited: float, *, elapsed: float | None = None, tokens: int = 0, door: Door = DOOR,
    layers: tuple[Layer, ...] = (), situation: Situation | None = None,
) -> str:  # fmt: skip
    resolved = resolve(layers, situation or Situation(warm=True))
    generation = Generation(resolved.clocks, Instant(0.0), model=MODEL)
    generation.tokens = tokens
    elapsed = waited if elapsed is None else elapsed
    door = door if tokens else door._replace(kept="")
    return printed(
        timeout_error(Broken(limit, Seconds(waited)), generation, resolved, elapsed=elapsed, door=door, why=WHY)
    )


def printed(error: BaseException) -> str:
    """As a program that does not catch it shows it."""
    return "\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())))


def raised(work: Callable[[], object]) -> str:
    try:
        work()
    except HangtightError as error:
        return printed(error)
    raise AssertionError("nothing was wrong")


def looping() -> str:
    found = Finding(act=Act.CUT, doing=Doing.STUCK, rule=Rule.EXACT, period=33, copies=18)
    generation = Generation(resolve((mode_layer("deep"),), Situation(warm=True)).clocks, Instant(0.0), model=MODEL)
    generation.tokens = 256
    return printed(
        looping_error(found, generation, elapsed=64.0, door=DOOR, origin="mode deep sets the total", why=WHY)
    )


def budget_spent() -> str:
    with hangtight.budget(120) as task:
        error = task.spent(Share(task, None), 0.0, 4.0)
    error.__notes__[-1] = with_why(error.__notes__[-1], WHY)
    return printed(error)


def truncated() -> str:
    machine = SimpleNamespace(broken=None, looped=None, outcome=Outcome.TRUNCATED, model=MODEL, tokens=312)
    session: Any = SimpleNamespace(machine=machine, elapsed=78.3, partial="")
    found = verdict(session)
    assert found is not None
    return printed(found)


def wrong_file() -> str:
    with TemporaryDirectory() as folder:
        (Path(folder) / "hangtight.yaml").write_text("limits: {idel: 60, total: -1}\n", encoding="utf-8")
        return raised(lambda: check(Path("hangtight.yaml"), folder=Path(folder), home=Path(folder)))


def denied(gate: Gate, *headers: tuple[bytes, bytes]) -> str:
    host = [] if any(name == b"host" for name, _ in headers) else [(b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [*host, *headers]}
    found = gate.denies(scope)
    assert found is not None
    return found.message


def no_journal() -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        path.write_text("this is no database" * 50, encoding="utf-8")
        return raised(lambda: Reading(str(path)).find("7f3a")).replace(folder, "/srv")


def lane(slots: int | None = None, places: int = 0) -> Lane:
    """One whose server is left alone for a while, as soon as that is asked."""
    house, metrics = Mock(), Mock()
    house.is_closed.return_value = False
    return Lane(
        MODEL, replace(Settings().serving(MODEL), slots=slots, places=places), CircuitSettings(), house, metrics
    )


def full() -> str:
    async def crowd() -> None:
        busy = lane(slots=4, places=2)
        for _ in range(7):
            busy.arrive(Ticket(Priority.NORMAL))

    return refused(lambda: asyncio.run(crowd()))


def left_alone(*, still_running: bool) -> str:
    shut, closed = lane(), Mock()
    closed.admit.return_value, closed.retry_after.return_value = None, 15.0
    shut.circuit = closed
    shut.house = Mock(is_closed=lambda now: still_running)
    return refused(shut.admit)


def refused(work: Callable[[], object]) -> str:
    """As a client reads it: without the class."""
    return raised(work).partition(": ")[2]


def of_constants(*places: str) -> Callable[[], str]:
    """What stands in the code as it is."""

    def words() -> str:
        found = []
        for place in places:
            room, _, name = place.rpartition(".")
            found.append(getattr(import_module(f"hangtight.{room}"), name).message)
        return "\n".join(found)

    return words


def with_gaps(code: str) -> Callable[[], str]:
    """What the code says, with a gap where something is filled in."""
    return lambda: "\n".join(sorted({each.words for each in of_code(code) if each.words.strip(GAP)}))


def no_server() -> str:
    return raised(lambda: asyncio.run(find_server("http://127.0.0.1:9", {})))


def late_step() -> str:
    yaml = Layer(
        Rank.MODEL, "hangtight.yaml:14", {"idle": 60}, "models: {{mistral-7b: {{limits: {{{name}: {value}}}}}}}"
    )
    return timeout(Limit.IDLE, 60.0, elapsed=93.3, tokens=312, layers=(yaml,))


EXAMPLES: Mapping[str, Callable[[], str]] = {
    "hangtight-error": of_constants("gateway.exchange.FAILED"),
    "generation-timeout": late_step,
    "queue-timeout": lambda: timeout(Limit.QUEUE, 300.0, door=OF_THE_GATEWAY),
    "load-timeout": lambda: timeout(Limit.LOAD, 300.0, elapsed=412.0, door=OF_THE_GATEWAY),
    "first-token-timeout": lambda: timeout(Limit.FIRST_TOKEN, 105.0, situation=Situation()),
    "idle-timeout": lambda: timeout(Limit.IDLE, 45.0, elapsed=78.3, tokens=312),
    "total-timeout": lambda: timeout(Limit.TOTAL, 600.0, tokens=9214),
    "looping": looping,
    "budget-spent": budget_spent,
    "backend-error": no_server,
    "truncated": truncated,
    "settings-error": wrong_file,
    "unknown-model": lambda: unknown("qwen", Targets(Settings())).message,
    "keys": lambda: denied(Gate.of("127.0.0.1", keys=("sk-1",))),
    "who-asks": lambda: denied(Gate.of("127.0.0.1"), (b"origin", b"https://example.org")),
    "too-large": lambda: denied(Gate.of("127.0.0.1"), (b"content-length", b"67108865")),
    "bad-request": of_constants("gateway.door.rebuffs.NOT_HTTP"),
    "slow-client": of_constants("gateway.door.rebuffs.LATE_HEAD", "gateway.door.rebuffs.LATE_BODY"),
    "full": full,
    "circuit-open": lambda: left_alone(still_running=False),
    "still-running": lambda: left_alone(still_running=True),
    "not-running": lambda: str(Refused(f"{MODEL}: {start_timed_out(Seconds(120.0))}", 5.0)),
    "stopping": of_constants("gateway.app.DRAINING", "gateway.exchange.CANCELLED"),
    "unknown-generation": lambda: no_generation("7f3a21bc"),
    "flows-and-runs": lambda: NO_FLOWS,
    "journal-trouble": no_journal,
    "proxy-loop": with_gaps("loop"),
}
"""What stands in the example of each page."""


# The pages


def names_of(page: Path) -> str:
    kinds, said = named(page)
    lines = []
    if kinds:
        lines = ["Class: " + ", ".join(f"`hangtight.errors.{kind}`" for kind in kinds) + ".", ""]
    if said:
        lines += ["| `code` | HTTP status | says |", "| --- | --- | --- |"]
    for code in said:
        words = sorted({each.words for each in of_code(code) if each.words.strip(GAP + ": ")})
        lines.append(f"| `{code}` | {statuses(of_code(code))} | {' / '.join(words) or 'see the example'} |")
    return "\n".join(lines).strip("\n") + "\n"


def example_of(page: Path) -> str:
    return f"```text\n{EXAMPLES[page.stem]()}\n```\n"


def filled(page: Path) -> str:
    """A page with all that is made made anew."""
    makers = {"names": names_of, "example": example_of}
    text = page.read_text(encoding="utf-8")
    return MADE.sub(lambda found: f"{found[1]}{makers[found[2]](page)}{found[3]}", text)


def index() -> str:
    """The list of them."""
    rows_of_classes: dict[str, str] = {}
    rows_of_codes: dict[str, str] = {}
    for page in pages():
        kinds, said = named(page)
        rows_of_classes |= dict.fromkeys(kinds, page.name)
        rows_of_codes |= dict.fromkeys(said, page.name)
    tables = {
        "classes": ["| class | |", "| --- | --- |", *rows(rows_of_classes, "hangtight.errors.", shown=summary)],
        "codes": ["| `code` | HTTP status | page |", "| --- | --- | --- |", *rows_with_status(rows_of_codes)],
    }
    text = (FOLDER / INDEX).read_text(encoding="utf-8")
    return MADE.sub(lambda found: found[1] + "\n".join(tables[found[2]]) + "\n" + found[3], text)


def rows(found: Mapping[str, str], before: str, *, shown: Callable[[str], str]) -> Iterator[str]:
    for name, page in found.items():
        yield f"| [`{before}{name}`]({page}) | {shown(name)} |"


def rows_with_status(found: Mapping[str, str]) -> Iterator[str]:
    for code, page in sorted(found.items()):
        yield f"| [`{code}`]({page}) | {statuses(of_code(code))} | {title(FOLDER / page)} |"


def summary(kind: str) -> str:
    told = inspect.getdoc(getattr(errors, kind)) or ""
    return told.partition("\n")[0]


def title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    for each in pages():
        each.write_text(filled(each), encoding="utf-8")
    (FOLDER / INDEX).write_text(index(), encoding="utf-8")
    sys.stdout.write(f"{len(pages())} pages of errors are up to date\n")
