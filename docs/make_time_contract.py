"""Makes `docs/time-contract.md` from `time-contract.md.in` and the code: numbers and diagram are read, not typed.

Run it as `make docs`. `tests/test_docs.py` fails if the page is not what this makes.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import get_args

import hangtight
from hangtight import errors
from hangtight.core import clocks, facts, layers, resolve, timers
from hangtight.core.facts import Advised, Asked, Content, Fact
from hangtight.core.generation import Generation
from hangtight.core.heartbeat import Heartbeat
from hangtight.core.layers import MODES, Layer, Rank, Resolved, Situation, mode_layer
from hangtight.core.limits import (
    FIRST_TOKEN_IN_A_MODE,
    FIRST_TOKEN_SHARE,
    IDLE_IN_A_MODE,
    IDLE_SHARE,
    NAMES,
    Limit,
    Limits,
)
from hangtight.core.orders import Broken, Cancel
from hangtight.core.phases import LEGAL, Outcome, Phase
from hangtight.core.telling import timeout_error
from hangtight.core.time import Instant
from hangtight.drivers.warmth import STAYS_WARM
from hangtight.drivers.watch import DOOR
from hangtight.intent.findings import STEP, STEP_OF_TOTAL, Act, Doing, Finding, Rule
from hangtight.rules.settings import FLOORS, SAMPLES

PAGE = Path(__file__).with_name("time-contract.md")
PROSE = Path(__file__).with_name("time-contract.md.in")
SRC = Path(hangtight.__file__).parent

sys.path.insert(0, str(PAGE.parent.parent))

from docs.contract_words import RANKS, ROWS, Row  # noqa: E402 - the words beside us must be found first

Table = Iterable[Iterable[str]]


def the_limits() -> str:
    columns = [number_of(), *(number_of(mode_layer(name)) for name in MODES)]
    header = ("limit", "starts", "restarts", "stops", "default", *MODES)
    rows = (
        (f"`{name}`{mark(row)}", row.starts, row.restarts, row.stops, *(said(limits, name) for limits in columns))
        for name, row in ROWS.items()
    )
    return table(header, rows)


def number_of(*layers: Layer) -> Limits:
    return resolve.resolve(layers, Situation(warm=True)).limits


def said(limits: Limits, name: str) -> str:
    value = getattr(limits, name)
    return "none" if value is None else f"{value:g}"


def mark(row: Row) -> str:
    return " †" if row.fed_by and not used_outside_of_core() & set(row.fed_by) else ""


def used_outside_of_core() -> set[str]:
    """Every name that a room outside of core uses: what can be fed to the machine at all."""
    files = (path for path in SRC.rglob("*.py") if path.relative_to(SRC).parts[0] not in ("core", "testing"))
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {name for node in nodes for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.Attribute(value=ast.Name(id=of), attr=name):
            yield f"{of}.{name}"
        case _:
            pass


def what_each_is() -> str:
    return "\n".join(f"- `{name}`{mark(row)}: {row.about}" for name, row in ROWS.items())


def not_started() -> str:
    names = [f"`{name}`" for name, row in ROWS.items() if mark(row)]
    lines = []
    if names:
        lines.append(
            f"† The machine has the clock, but nothing in this version starts it, and `watch` does not take it: "
            f"{', '.join(names)}."
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Story:
    """A call on virtual time: what was given, and at which seconds a token came."""

    told: str
    given: dict[str, float | None]
    mode: str | None = None
    warm: bool | None = None
    left: float | None = None
    tokens: tuple[float, ...] = ()
    says: Finding | None = None


CODING = Finding(act=Act.EXTEND, doing=Doing.CODING)
STUCK = Finding(act=Act.HOLD, doing=Doing.STUCK, rule=Rule.COUNTER)
STORIES = (
    Story(told="nothing known about the model, nothing ever comes", given={}),
    Story(told="a model known to be warm, nothing ever comes", given={}, warm=True),
    Story(told="`idle=60`, nothing ever comes (`first_token` follows `idle`)", given={"idle": 60}),
    Story(told="`first_token=30`, nothing ever comes (a number given in person gets no allowance)",
          given={"first_token": 30}),
    Story(told="`cold=None`, nothing ever comes", given={"cold": None}),
    Story(told="`mode=\"fast\"`, nothing ever comes", given={}, mode="fast"),
    Story(told="in a budget with 200 s left, nothing ever comes", given={}, left=200),
    Story(told="in a budget with 45 s left, nothing ever comes", given={}, left=45),
    Story(told="one token at 10 s, then nothing", given={}, tokens=(10,)),
    Story(told="loads for 60 s, then a token each 10 s without end", given={}, tokens=tuple(range(60, 2000, 10))),
    Story(told="a warm model, a token each 10 s without end", given={}, warm=True, tokens=tuple(range(10, 2000, 10))),
    Story(told="`total=1200`, a token each 10 s without end", given={"total": 1200}, tokens=tuple(range(10, 2000, 10))),
    Story(told="`mode=\"deep\"`, a warm model, a token each 10 s without end, code", given={}, mode="deep", warm=True,
          tokens=tuple(range(10, 2000, 10)), says=CODING),
    Story(told="the same, but the text shows that it may be stuck", given={}, mode="deep", warm=True,
          tokens=tuple(range(10, 2000, 10)), says=STUCK),
    Story(told="`mode=\"deep\", total=150`, a warm model, a token each 10 s without end, code", given={"total": 150},
          mode="deep", warm=True, tokens=tuple(range(10, 2000, 10)), says=CODING),
)  # fmt: skip


def what_rings() -> str:
    rows = []
    for story in STORIES:
        generation, broken, at = lived(story)
        rows.append((story.told, f"`{broken.limit.value}`", f"{at:g} s", str(generation.tokens)))
    return table(("the call", "what rings", "after", "pieces by then"), rows)


SIX = (("deep", 45), ("fast", None), ("search", None), ("deep", None), ("fast", 100), (None, None))


def six_rows() -> str:
    rows = []
    for mode, left in SIX:
        layers = [mode_layer(mode)] if mode else []
        limits = resolve.resolve(layers, Situation(warm=True, remaining=left)).limits
        told = (f"`{mode}`" if mode else "none", f"{left} s" if left else "no budget")
        rows.append((*told, *(said(limits, name) for name in ("first_token", "idle", "total"))))
    return table(("mode", "left", "`first_token`", "`idle`", "`total`"), rows)


def terms_of(story: Story) -> Resolved:
    layers = [Layer(Rank.CALL, "the call", story.given)]
    if story.mode is not None:
        layers.append(mode_layer(story.mode))
    return resolve.resolve(layers, Situation(warm=story.warm, remaining=story.left))


def lived(story: Story, model: str = "mistral-7b") -> tuple[Generation, Broken, Instant]:
    """The generation, the limit that it broke, and when."""
    generation = Generation(terms_of(story).clocks, Instant(0.0), model=model)
    generation.record(Asked(), Instant(0.0))
    if story.says is not None:
        generation.record(Advised(story.says), Instant(0.0))
    for second in map(float, (*story.tokens, 1e9)):
        while (due := generation.next_wakeup()) < second:
            for order in generation.wake(due):
                if isinstance(order, Cancel) and order.broken is not None:
                    return generation, order.broken, due
        generation.record(Content(), Instant(second))
        generation.record(Asked(), Instant(second))
    raise AssertionError(f"nothing rang in {story}")


def an_error(story: Story) -> str:
    """The three lines that this story ends with, as a program prints them."""
    generation, broken, at = lived(story)
    error = timeout_error(broken, generation, terms_of(story), elapsed=at, door=DOOR, why="hangtight log 7f3a21bc")
    return f"```text\n{type(error).__name__}: {error}\n```"


def a_heartbeat() -> str:
    generation = Generation(terms_of(Story(told="", given={})).clocks, Instant(0.0), model="mistral-7b")
    generation.record(Asked(), Instant(0.0))
    return f"```text\n{Heartbeat(generation.snapshot(Instant(45.0)), generation.model)}\n```"


def precedence() -> str:
    used = used_outside_of_core()
    in_use = {rank for rank in Rank if f"Rank.{rank.name}" in used} | {Rank.DEFAULT}
    in_use |= {Rank.MODE} if "mode_layer" in used else set()
    rows = (
        (str(place), rank.name.lower(), RANKS[rank], "yes" if rank in in_use else "not yet")
        for place, rank in enumerate(sorted(Rank, reverse=True), 1)
    )
    return table(("", "layer", "which is", "in this version"), rows)


def progress() -> str:
    kinds = (*get_args(facts.Progress), facts.Contact)
    return "\n".join(f"- **{kind.__name__}**. {first_line(kind)}" for kind in kinds)


def the_errors() -> str:
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].rpartition("\n\n")[0]
    rows = ((f"`{kind.__name__}`", first_line(kind)) for kind in descend(errors.HangtightError))
    return f"```text\n{tree}\n```\n\n{table(('error', 'means'), rows)}"


def descend(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    if not kind.__name__.startswith("_"):
        yield kind
    for below in kind.__subclasses__():
        if getattr(errors, below.__name__, None) is below:  # not the twins that are made for an SDK
            yield from descend(below)


def first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


Edge = tuple[Phase, type[Fact], Phase]


def edges() -> list[Edge]:
    return [(phase, fact, target) for phase, row in LEGAL.items() for fact, target in row.items()]


def living() -> list[Phase]:
    return [phase for phase in LEGAL if phase not in (Phase.CANCELLING, Phase.ENDED)]


def shared_by_all_living() -> dict[type[Fact], Phase]:
    """Steps that every living phase has, to the same place: drawn once."""
    first, *others = living()
    return {
        fact: target
        for fact, target in LEGAL[first].items()
        if target is not first and all(LEGAL[phase].get(fact) is target for phase in others)
    }


def diagram() -> str:
    shared = shared_by_all_living()
    inner = [edge for edge in edges() if edge[0] in living() and edge[0] is not edge[2] and edge[1] not in shared]
    outer = [edge for edge in edges() if edge[0] not in living() and edge[0] is not edge[2]]
    lines = ["stateDiagram-v2", "    [*] --> living", "    state living {", f"        [*] --> {Phase.WAITING}"]
    lines += [f"        {arrow}" for arrow in arrows(inner)]
    lines += ["    }"]
    lines += [f"    living --> {target}: {', '.join(names)}" for target, names in grouped(shared).items()]
    lines += [f"    {arrow}" for arrow in arrows(outer)]
    lines += [f"    {Phase.ENDED} --> [*]"]
    return "```mermaid\n" + "\n".join(lines) + "\n```"


def arrows(steps: Iterable[Edge]) -> list[str]:
    merged: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, fact, target in steps:
        merged.setdefault((phase, target), []).append(fact.__name__)
    return [f"{phase} --> {target}: {', '.join(names)}" for (phase, target), names in merged.items()]


def grouped(steps: dict[type[Fact], Phase]) -> dict[Phase, list[str]]:
    merged: dict[Phase, list[str]] = {}
    for fact, target in steps.items():
        merged.setdefault(target, []).append(fact.__name__)
    return merged


def staying() -> str:
    """The self-loops, with what all phases share taken out of each row."""
    loops = {phase: [fact for fact, to in row.items() if to is phase] for phase, row in LEGAL.items() if row}
    everywhere = [fact for fact in next(iter(loops.values())) if all(fact in some for some in loops.values())]
    rows = [("all but `ended`", names(everywhere))]
    for phase, some in loops.items():
        own = [fact for fact in some if fact not in everywhere]
        rows += [(f"`{phase}`", names(own))] if own else []
    return table(("phase", "stays where it is on"), rows)


def names(kinds: Iterable[type[Fact]]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def the_facts() -> str:
    return table(("fact", "means"), ((kind.__name__, first_line(kind)) for kind in get_args(facts.Fact)))


def table(header: Iterable[str], rows: Table) -> str:
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def numbers() -> dict[str, str]:
    """Every number of the prose, by name."""
    assert set(ROWS) == set(NAMES), f"the table and the settings differ: {set(ROWS) ^ set(NAMES)}"
    assert set(RANKS) == set(Rank), "a layer is not explained"
    assert {limit.value for limit in Limit} <= set(ROWS), "a limit is not explained"
    assert isinf(terms_of(Story(told="", given={"total": None})).clocks.total), "None is no limit"
    return {
        "cold": said(number_of(), "cold"),
        "first": said(number_of(), "first_token"),
        "total": said(number_of(), "total"),
        "beat": said(number_of(), "heartbeat"),
        "warm": f"{STAYS_WARM:g}",
        "nearby": f"{clocks.TOKENS_PER_SECOND_NEARBY:g}",
        "far": f"{clocks.TOKENS_PER_SECOND_FAR:g}",
        "share": f"{100 * clocks.PREFILL_SHARE_OF_TOTAL:g} %",
        "first_share": f"{FIRST_TOKEN_SHARE:g}",
        "idle_share": f"{IDLE_SHARE:g}",
        "first_mode": f"{FIRST_TOKEN_IN_A_MODE:g}",
        "idle_mode": f"{IDLE_IN_A_MODE:g}",
        "samples": f"{SAMPLES}",
        "floor_first": f"{FLOORS['first_token']:g}",
        "floor_idle": f"{FLOORS['idle']:g}",
        "floor_total": f"{FLOORS['total']:g}",
        "step": f"{STEP:g}",
        "step_share": f"{100 * STEP_OF_TOTAL:g} %",
        "twice": f"{layers.EXTENSION_OF_A_MODE:g}",
        "outcomes": ", ".join(f"`{outcome}`" for outcome in Outcome),
        "timers": " ".join(f"{place}. {timer.value}." for place, timer in enumerate(timers.Timer, 1)),
        "warmth": f" Content that came from the model less than {STAYS_WARM:g} s ago shows that it is in memory.",
        "prompt": "" if "prompt_tokens" in used_outside_of_core() else
        " The rule is built, but no door of this version counts the prompt yet, so this allowance is 0 for now.",
    }  # fmt: skip


MADE: dict[str, Callable[[], str]] = {
    "limits": the_limits,
    "not started": not_started,
    "what each is": what_each_is,
    "six rows": six_rows,
    "what rings": what_rings,
    "an error": lambda: an_error(STORIES[0]),
    "a heartbeat": a_heartbeat,
    "precedence": precedence,
    "progress": progress,
    "errors": the_errors,
    "diagram": diagram,
    "staying": staying,
    "facts": the_facts,
}


def page() -> str:
    """The prose with every number and every table put in."""
    text = PROSE.read_text(encoding="utf-8")
    for name, number in numbers().items():
        text = text.replace("{" + name + "}", number)
    for name, make in MADE.items():
        text = text.replace("{{" + name + "}}", make())
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} is up to date\n")
