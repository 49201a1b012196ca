"""One attempt of a step: a question to a model, a command, a function. The clocks around it are kept elsewhere."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hangtight.core.time import spoken
from hangtight.drivers.child import ChildOutput
from hangtight.drivers.generating import Answer
from hangtight.errors import SettingsError
from hangtight.flows.definition.parameters import arguments
from hangtight.flows.definition.steps import INPUT, Kind, filled
from hangtight.flows.events import EventType
from hangtight.flows.run import isolated, processes, time_limit
from hangtight.flows.run.heartbeats import looked_at, waiting_on, with_generations

if TYPE_CHECKING:
    from hangtight.drivers.session import Session
    from hangtight.flows.definition.steps import Step
    from hangtight.flows.port import RunSpec
    from hangtight.flows.run.workspace import Draft, Workspace

FILE = "file"
Tell = Callable[..., None]
"""As a `Teller` is called."""
UNNAMED = "the model"


@dataclass(frozen=True, slots=True)
class Part:
    """One of the generations of a step that is split."""

    name: str
    draft: Draft
    asks: Callable[[str], str]
    """Of the step's own prompt."""
    made: Callable[[str], Any] = str
    """Of the answer. Raises where it is of no use."""


@dataclass(slots=True)
class Doing:
    """A step at work: all that its attempts share."""

    spec: RunSpec
    step: Step
    workspace: Workspace
    tell: Tell
    outputs: Mapping[str, Any]
    """By step, of those that have ended."""
    steps: Mapping[str, Step]
    """All of the flow."""
    piece: Part | None = None
    """What it is of the step, if not the whole of it."""
    answer: Answer | None = None
    tokens: int = 0
    draft: Draft = field(init=False)

    def __post_init__(self) -> None:
        self.draft = self.workspace.draft(self.step) if self.piece is None else self.piece.draft

    @property
    def name(self) -> str:
        """By which it is told of."""
        return self.step.name if self.piece is None else f"{self.step.name}/{self.piece.name}"

    @property
    def model(self) -> str:
        """Who is asked, as far as that is known."""
        return (self.answer.model if self.answer else "") or self.step.model or ""

    async def attempt(self) -> Any:
        """What the step puts out, as JSON would give it back."""
        self.answer, self.tokens = None, 0
        self.draft.begin()
        with with_generations(self.spec.heartbeat, self._beat):
            match self.step.kind:
                case Kind.GENERATE:
                    return await self._generate()
                case Kind.TOOL:
                    return await self._run()
                case Kind.PYTHON:  # pragma: no branch - mypy holds that there is no other
                    return await self._call()

    # -- a model ----------------------------------------------------------------------------------------------

    async def _generate(self) -> Any:
        step = self.step
        answer = self.answer = Answer(self._prompt(), {"model": step.model, "fallback": step.fallback}, holds=True)
        looks = Looks(self, answer)
        try:
            async with looked_at(looks):
                text = "".join([piece async for piece in answer])
                value = text if self.piece is None else self.piece.made(text)
        except BaseException:
            self.draft.update(answer.partial)
            raise
        finally:
            self.tokens = answer.tokens
        self.draft.finish(value if isinstance(value, str) else text)
        return value

    def _prompt(self) -> str | list[dict[str, str]]:
        prompt = filled(self.step.prompt, self._value)
        if self.piece is not None:
            prompt = self.piece.asks(prompt)
        if not self.step.system:
            return prompt
        return [
            {"role": "system", "content": filled(self.step.system, self._value)},
            {"role": "user", "content": prompt},
        ]

    def _beat(self, session: Session, elapsed: float) -> None:
        model = session.model or self.model or UNNAMED
        told = {"elapsed": elapsed, "model": model, "tokens": session.tokens}
        self.tell(EventType.HEARTBEAT, self.name, waiting_on(model, elapsed), told)

    # -- a command --------------------------------------------------------------------------------------------

    async def _run(self) -> str:
        words = [filled(word, self._value) for word in self.step.command]
        pieces: list[str] = []
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        output = ChildOutput(
            words,
            text=True,
            env=None,
            cwd=str(self.workspace.folder),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=None,
            keeps=False,
        )
        try:
            async with looked_at(lambda: self.draft.add(pieces)):
                async for piece in output:
                    pieces.append(str(piece))  # noqa: PERF401 - what has come is kept, however this ends
        except BaseException:
            self.draft.add(pieces)
            raise
        finally:
            await processes.ended(output)
        text = "".join(pieces)
        self.draft.finish(text)
        return text

    # -- a function -------------------------------------------------------------------------------------------

    async def _call(self) -> Any:
        function = self.step.function
        assert function is not None, "a step in Python has a function"
        needed = {name: self.outputs[name] for name in self.step.needs}
        given = {"model": self.step.model, "workspace": self.workspace.folder}
        asked = arguments(function, needed, self.spec.inputs, given)
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        value = as_json(self.step.name, await self._returned(function, asked))
        self.workspace.keep(self.step, value)
        self.draft.done()
        return value

    async def _returned(self, function: Callable[..., Any], asked: Mapping[str, Any]) -> Any:
        if self.step.isolate:
            return await isolated.call(function, self.step.called, asked, self.workspace.folder)
        if inspect.iscoroutinefunction(function):
            return await function(**asked)
        value = await time_limit.in_thread(lambda: function(**asked))
        return await value if inspect.isawaitable(value) else value

    # -- places -----------------------------------------------------------------------------------------------

    def _value(self, place: str) -> str:
        """The text for `plan`, `plan.title`, `plan.file`, `input.idea`."""
        head, _, rest = place.partition(".")
        if head == INPUT:
            if rest not in self.spec.inputs:
                raise SettingsError(f"{INPUT}.{rest}", None, "given to the run")
            return as_text(self.spec.inputs[rest])
        value = self.outputs[head]
        for part in rest.split(".") if rest else ():
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif part == FILE and part is rest:
                return self.workspace.file_of(self.steps[head], value)
            else:
                raise SettingsError(f"{self.step.name}: ${{{place}}}", None, f"something that {head} has put out")
        return as_text(value)


class Looks:
    """What is told of a generation between its heartbeats, and written of it."""

    def __init__(self, doing: Doing, answer: Answer) -> None:
        self._doing, self._answer = doing, answer
        self._seen = 0
        self._total: float | None = None

    def __call__(self) -> bool:
        """True where there was something new."""
        doing, answer, now = self._doing, self._answer, self._answer.snapshot()
        told: dict[str, Any] = {"elapsed": answer.elapsed, "model": doing.model}
        is_new = answer.tokens != self._seen
        if is_new:
            self._seen = answer.tokens
            doing.draft.update(answer.partial)
            seen = {"doing": str(now.doing)} if now is not None and now.doing else {}
            doing.tell(EventType.PROGRESS, doing.name, told={**told, "tokens": answer.tokens, **seen})
        before, self._total = self._total, self._total if now is None else now.total
        after = self._total
        if before is not None and after is not None and after > before:
            words = f"{doing.name} may take {spoken(after)} instead of {spoken(before)}"
            doing.tell(EventType.EXTENDED, doing.name, words, {**told, "before": before, "after": after})
        return is_new


def as_text(value: Any) -> str:
    """What stands in a text for what was put out, or given."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_json(name: str, value: Any) -> Any:
    """The same as a record gives it back: a run that is resumed goes on with just that."""
    try:
        return json.loads(json.dumps(value, default=_path))
    except (TypeError, ValueError, RecursionError):
        raise SettingsError(name, value, "what JSON can write: text, numbers, lists, mappings") from None


def _path(value: Any) -> str:
    return str(os.fspath(value))
