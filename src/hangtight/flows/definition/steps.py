"""A flow: its steps, what each needs, and how long it may take. Made in Python or read from a file; never changed.

>>> plan = Step("plan", Kind.GENERATE, prompt="Plan ${input.idea}")
>>> flow = Flow("notes", [plan, Step("write", Kind.GENERATE, prompt="Write this: ${plan}")])
>>> flow.steps["write"].needs
('plan',)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from hangtight.core.limits import UNSET, Unset
from hangtight.errors import SettingsError
from hangtight.flows.definition import checks, graph
from hangtight.flows.definition.checks import OF_A_FLOW, OF_A_STEP
from hangtight.flows.definition.parameters import inputs_in, steps_in
from hangtight.rules.errors import one_of

NAME: Final = checks.NAME
INPUT: Final = "input"
PLACE: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
"""`${plan}` is what that step has put out, `${input.idea}` what the run was given; `$${plan}` is the text `${plan}`."""
OPEN: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_.-]*)(?![A-Za-z0-9_.}-])([:=+?%#/^,@*\[])?")
"""One without its closing brace. What follows may make it one of a shell's: `${plan:=x}`."""
TO_FILL: Final = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
STEP: Final = "__hangtight_step__"
"""Where a function keeps the step that was made of it."""
TAKEN: Final = frozenset({"self", "flow", "total", "models", "changes", "run_id"})
"""What a run is given beside its inputs: none of them can have such a name."""
STEP_TIMEOUT: Final = 300.0
"""The engine's: of a step that says nothing itself."""
HEARTBEAT: Final = 15.0
LONGEST_NAME: Final = 200


class Kind(StrEnum):
    """What a step does."""

    GENERATE = "generate"
    TOOL = "tool"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `timeout` is the total of each call of a model in it, and of the step as a whole."""

    name: str
    kind: Kind
    prompt: str = ""
    """Of `generate`, with places like `${plan}`."""
    system: str = ""
    command: tuple[str, ...] = ()
    """Of `tool`: words, with places; no shell reads them."""
    function: Callable[..., Any] | None = None
    """Of `python`: plain or async. Gets what it needs by the names of its parameters."""
    after: tuple[str, ...] = ()
    """Steps that must have ended, besides those whose places stand in the text."""
    timeout: float | Unset | None = UNSET
    """Seconds; None is no limit; unset is the engine's."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """`first_token`, `idle`, ... of the calls of models."""
    model: str | None = None
    mode: str | None = None
    fallback: tuple[str, ...] | None = None
    retries: int = 0
    weight: float = 1.0
    critical: bool = False
    minimum: float = 0.0
    isolate: bool = False
    """In a process of its own, which can be ended at any time."""
    split: Mapping[str, Any] | None = None
    """`by` sections or files, `most` pieces, `whole`: one long answer as several, after a plan."""
    output: str = ""
    """Its file in the workspace; else its name, with an ending by what it puts out."""
    called: str = field(default="", compare=False)
    """How its function is named in a file: `module:function`."""
    source: str = field(default="", compare=False)
    """Where it stands: `quarkus.yaml:7`."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # it is frozen for everybody else
        for name, check in OF_A_STEP.items():
            put(self, name, check(getattr(self, name)))
        if "total" in self.limits:
            if not isinstance(self.timeout, Unset):
                raise SettingsError(f"{self.name}.timeout", self.timeout, "given once: limits.total is the same")
            put(self, "timeout", self.limits["total"])
            put(self, "limits", {name: value for name, value in self.limits.items() if name != "total"})
        if not {Kind.GENERATE: self.prompt, Kind.TOOL: self.command, Kind.PYTHON: self.function}[self.kind]:
            raise SettingsError(f"{self.name}.{self.kind}", None, WANTED[self.kind])
        for name, kinds in ONLY.items():
            if self.kind not in kinds and getattr(self, name) not in (None, "", False, {}):
                wanted = f"left out: a step of {self.kind} has no use for it"
                raise SettingsError(f"{self.name}.{name}", getattr(self, name), wanted)

    @property
    def places(self) -> tuple[str, ...]:
        """What stands in its texts between `${` and `}`."""
        return tuple(place for text in self.texts for place in PLACE.findall(text))

    @property
    def texts(self) -> tuple[str, ...]:
        """In which places may stand."""
        return (self.prompt, self.system, *self.command)

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that it waits for."""
        named = (place.partition(".")[0] for place in self.places)
        return tuple(dict.fromkeys((*self.after, *(name for name in named if name != INPUT))))


WANTED: Final = {
    Kind.GENERATE: "the text of a prompt",
    Kind.TOOL: "a command with its words",
    Kind.PYTHON: "a function, in a file as module:function",
}
ENDINGS: Final = {Kind.GENERATE: (".md",), Kind.TOOL: (".txt",), Kind.PYTHON: (".txt", ".json")}
"""Of the files that steps write which name none."""
OF_MODELS: Final = (Kind.GENERATE, Kind.PYTHON)
ONLY: Final = {
    "system": (Kind.GENERATE,),
    "fallback": (Kind.GENERATE,),
    "split": (Kind.GENERATE,),
    "isolate": (Kind.PYTHON,),
    "model": OF_MODELS,
    "mode": OF_MODELS,
    "limits": OF_MODELS,
}
"""Settings that would do nothing in a step of another kind."""


def left_open(text: str, steps: Container[str]) -> Iterator[str]:
    """Places of ours, by how they begin, that have no closing brace. What a shell may mean stays its text."""
    for place, of_a_shell in OPEN.findall(text):
        head, dot, _ = place.partition(".")
        if (head == INPUT and dot) or (head in steps and (dot or not of_a_shell)):
            yield place


def filled(text: str, value: Callable[[str], str]) -> str:
    """The text with what `value` says for `plan`, `input.idea`, ... in its places. What is put in is left as it is."""
    return TO_FILL.sub(lambda found: found[0][1:] if found[1] else value(found[2]), text)


def step_of(made_of: Step | Callable[..., Any]) -> Step:
    """A step as it is, that of a function under `@step`, or one made of a plain function."""
    if isinstance(made_of, Step):
        return made_of
    kept = getattr(made_of, STEP, None)
    if isinstance(kept, Step):
        return kept
    name = getattr(made_of, "__name__", None)
    if not isinstance(name, str):
        raise SettingsError("steps", made_of, "a step, or a function with a name")
    return Step(name, Kind.PYTHON, function=made_of)


@dataclass(frozen=True, slots=True, init=False)
class Flow:
    """Steps by name, in an order in which they can run. Refuses cycles and references to nothing."""

    name: str
    steps: Mapping[str, Step]
    total: float | None = None
    """Of a whole run: only this makes a budget that the steps share."""
    timeout: float | Unset | None = UNSET
    """Of each step that has none; unset is the engine's."""
    heartbeat: float | Unset | None = UNSET
    inputs: tuple[str, ...] = ()
    """What a run has to be given; found in the places, and in the parameters of functions."""
    source: str = field(default="", compare=False)
    total_at: str = field(default="", compare=False)
    """Where the total stands in a file."""

    def __init__(
        self,
        name: str,
        steps: Iterable[Step | Callable[..., Any]],
        *,
        total: float | None = None,
        timeout: float | Unset | None = UNSET,
        heartbeat: float | Unset | None = UNSET,
        source: str = "",
        total_at: str = "",
    ) -> None:
        ordered = in_order(name, _by_name(map(step_of, steps)))
        put = object.__setattr__  # it is frozen for everybody else
        put(self, "name", _printable(name))
        put(self, "steps", {step.name: step for step in ordered})
        put(self, "total", OF_A_FLOW["total"](total))
        put(self, "timeout", OF_A_FLOW["timeout"](timeout))
        put(self, "heartbeat", OF_A_FLOW["heartbeat"](heartbeat))
        put(self, "inputs", tuple(name for name, must in inputs_of(ordered).items() if must))
        put(self, "source", source)
        put(self, "total_at", total_at)

    def with_step(self, name: str, **changes: Any) -> Flow:
        """The same with one step changed: another model keeps the limits of the step that it works for."""
        if name not in self.steps:
            raise SettingsError("step", name, one_of(self.steps, name))
        steps = [replace(step, **changes) if step.name == name else step for step in self.steps.values()]
        return self.changed(steps=steps)

    def changed(self, **changes: Any) -> Flow:
        """The same with another total, timeout or heartbeat, other steps, or found elsewhere."""
        steps = changes.pop("steps", self.steps.values())
        kept = {key: getattr(self, key) for key in ("total", "timeout", "heartbeat", "source", "total_at")}
        return Flow(self.name, steps, **{**kept, **changes})


def in_order(flow: str, steps: Mapping[str, Step]) -> list[Step]:
    """The steps so that each stands behind those it needs; as they were written, where that is free."""
    for step in steps.values():
        for place in step.places:
            if place in (INPUT, f"{INPUT}."):
                raise SettingsError(f"{flow}.{step.name}", f"${{{place}}}", "with a name, like ${input.idea}")
        for place in (place for text in step.texts for place in left_open(text, steps)):
            raise SettingsError(f"{flow}.{step.name}", f"${{{place}", f"closed: ${{{place}}}")
        for need in step.needs:
            if need not in steps:
                raise SettingsError(f"{flow}.{step.name}", need, one_of([*steps, f"{INPUT}.NAME"], need))
    needs = {step.name: step.needs for step in steps.values()}
    if around := graph.circle(needs):
        raise SettingsError(flow, " -> ".join(around), "without a circle: each of these waits for the next one")
    return [steps[name] for name in graph.ordered(needs)]


def inputs_of(steps: Iterable[Step]) -> dict[str, bool]:
    """The inputs that these steps know, and whether a run must be given each."""
    steps = tuple(steps)
    names = tuple(step.name for step in steps)
    wanted: dict[str, bool] = {}
    for step in steps:
        for place in step.places:
            head, _, rest = place.partition(".")
            if head == INPUT and rest:
                wanted[rest] = True
        if step.function is not None:
            for name, must in inputs_in(step.function, names, step.name).items():
                wanted[name] = must or wanted.get(name, False)
    return wanted


def _by_name(steps: Iterable[Step]) -> dict[str, Step]:
    """The steps, each waiting also for those that the parameters of its function name."""
    steps = tuple(steps)
    known: dict[str, Step] = {}
    names = tuple(step.name for step in steps)
    for step in steps:
        if step.name in known:
            raise SettingsError("steps", step.name, "the name of one step, and here are two of it")
        named = () if step.function is None else steps_in(step.function, names, step.name)
        after = tuple(dict.fromkeys((*step.after, *named)))
        known[step.name] = step if after == step.after else replace(step, after=after)
    if not known:
        raise SettingsError("steps", [], "one step or more")
    _files_of_their_own(steps)
    return known


def _files_of_their_own(steps: Iterable[Step]) -> None:
    """No two steps write the same file; on some systems `Plan.md` and `plan.md` are the same."""
    written: dict[str, str] = {}
    for step in sorted(steps, key=lambda step: bool(step.output)):  # those that chose their file are to blame
        for file in (step.output,) if step.output else (step.name + ending for ending in ENDINGS[step.kind]):
            if (other := written.setdefault(file.casefold(), step.name)) != step.name:
                name = f"{step.name}.output" if step.output else "steps"
                raise SettingsError(name, file, f"a file of its own: step {other} writes this one")
    _no_file_is_a_folder(steps, written)
    for step in steps:
        folder = f"{step.name}/".casefold()
        for file, other in written.items() if step.split and step.split["by"] == "files" else ():
            if (file.startswith(folder) and other != step.name) or file == folder[:-1]:
                raise SettingsError(f"{other}.output", file, f"another file: {folder} is the folder of a step")


def _no_file_is_a_folder(steps: Iterable[Step], written: Mapping[str, str]) -> None:
    for step in steps:
        for folder in list(PurePosixPath(step.output.casefold()).parents)[:-1]:
            if (other := written.get(str(folder))) is not None:
                wanted = f"a file elsewhere: {folder} is no folder, step {other} writes it"
                raise SettingsError(f"{step.name}.output", step.output, wanted)


def _printable(name: object) -> str:
    if isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= LONGEST_NAME:
        return name
    raise SettingsError("flow", name, f"a name of at most {LONGEST_NAME} characters that can be printed")
