"""One attempt of a step: a question to a model, a command, a function. The clocks around it are kept elsewhere."""

from __future__ import annotations

import errno
import inspect
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hangtight.core.telling import Door
from hangtight.core.time import spoken
from hangtight.drivers.generating import Answer
from hangtight.errors import SettingsError
from hangtight.flows.definition.parameters import arguments
from hangtight.flows.definition.steps import INPUT, Kind, filled
from hangtight.flows.events import EventType
from hangtight.flows.port import Hold
from hangtight.flows.run import isolated, processes, time_limit
from hangtight.flows.run.heartbeats import looked_at, waiting_on, with_generations
from hangtight.flows.run.workspace import LARGE, well_formed

if TYPE_CHECKING:
    from hangtight.drivers.generating import Asked
    from hangtight.drivers.session import Session
    from hangtight.flows.definition.steps import Step
    from hangtight.flows.port import RunSpec
    from hangtight.flows.run.workspace import Draft, Workspace

FILE = "file"
Tell = Callable[..., None]
"""As a `Teller` is called."""
UNNAMED = "the model"
TOO_LONG = 206
"""What Windows says of a command line, where others say E2BIG."""


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
    hold: Hold = field(default_factory=Hold)
    stopped: Callable[[], str] = Hold().stopped
    """What its cancellation is told as; nothing where nobody should be told."""
    line: str = ""
    """To change a limit of the step, as a template."""
    answer: Answer | None = None
    tokens: int = 0
    draft: Draft = field(init=False)
    _is_large: bool = field(default=False, init=False)

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

    async def place(self, value: Any, *, recorded: bool) -> None:
        """What it has put out takes its place, once it is in the record. One that was `recorded` in a life before may
        not have come to that, or have done it on another machine."""
        if self.piece is not None:
            if isinstance(value, str) and not recorded:
                self.draft.finish(value)
        elif not (recorded and self.workspace.stands(self.step, value, self.spec.began)):
            if self.step.kind is Kind.PYTHON:
                keep = partial(self.workspace.keep, self.step, value)
                await time_limit.in_thread(keep) if self._is_large else keep()
                self.draft.done()
            else:
                self.draft.finish(value)

    async def attempt(self) -> Any:
        """What the step puts out, as JSON would give it back."""
        self.answer, self.tokens = None, 0
        self.draft.begin()
        if (self.step.kind is Kind.TOOL or self.step.isolate) and self.workspace.sure():
            await processes.swept(self._mark)
        with with_generations(self.spec.heartbeat, self._beat) as begun:
            match self.step.kind:
                case Kind.GENERATE:
                    return await self._generate()
                case Kind.TOOL:
                    return await self._run()
                case Kind.PYTHON:  # pragma: no branch - mypy holds that there is no other
                    try:
                        return await self._call()
                    finally:
                        self.tokens = sum(generation.tokens for generation in begun)

    # -- a model ----------------------------------------------------------------------------------------------

    async def _generate(self) -> Any:
        step = self.step
        asked: Asked = {"model": step.model, "fallback": step.fallback}
        answer = self.answer = Answer(self._prompt(), asked, holds=True, door=Door(self.line))
        looks = Looks(self, answer)
        try:
            async with looked_at(looks):
                text = well_formed("".join([piece async for piece in answer]))
                value = text if self.piece is None else self.piece.made(text)
        except BaseException:
            with suppress(OSError):
                self.draft.update(answer.partial)
            raise
        finally:
            self.tokens = answer.tokens
        self.draft.update(text)
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
        waiting = 0

        def hear(text: str) -> None:
            nonlocal waiting
            pieces.append(text)
            waiting += len(text)
            if waiting > LARGE:
                self.draft.add(pieces)
                waiting = 0

        try:
            async with looked_at(lambda: self.draft.add(pieces)):
                await processes.heard(words, self._mark, hear, cwd=str(self.workspace.folder))
        except BaseException as error:
            with suppress(OSError):
                self.draft.add(pieces)
            if isinstance(error, OSError) and (error.errno == errno.E2BIG or _on_windows(error) == TOO_LONG):
                raise self._too_long() from error
            raise
        return self.draft.close(pieces)

    @property
    def _mark(self) -> str:
        return processes.mark_of(self.workspace.folder, self.spec.id, self.name)

    def _too_long(self) -> SettingsError:
        """What to write instead, where the system takes no command as long as this."""
        place = max(self.step.places, key=lambda place: len(self._value(place)), default="")
        wanted = "a shorter command: the system takes none as long as this"
        if place and place.partition(".")[0] != INPUT:
            wanted += f"; use ${{{place.partition('.')[0]}.{FILE}}}, the name of its file"
        return SettingsError(f"{self.name}.{Kind.TOOL}", f"${{{place}}}" if place else None, wanted)

    # -- a function -------------------------------------------------------------------------------------------

    async def _call(self) -> Any:
        function = self.step.function
        assert function is not None, "a step in Python has a function"
        needed = {name: self.outputs[name] for name in self.step.needs}
        given = {"model": self.step.model, "workspace": self.workspace.folder}
        asked = arguments(function, needed, self.spec.inputs, given)
        self.workspace.folder.mkdir(parents=True, exist_ok=True)
        returned = await self._returned(function, asked)
        time_limit.check_in_time()
        value, size = _as_json(self.step.name, returned)
        self._is_large = size > LARGE
        return value

    async def _returned(self, function: Callable[..., Any], asked: Mapping[str, Any]) -> Any:
        if self.step.isolate:
            return await isolated.call(function, self.step.called, asked, self.workspace.folder, self._mark)
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
        if self.steps[head].kind is Kind.TOOL and not rest:
            return as_text(value).rstrip("\r\n")  # as in a shell: `$(git --version)` ends with the line
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
    return _as_json(name, value)[0]


def _as_json(name: str, value: Any) -> tuple[Any, int]:
    """And how many characters that is."""
    try:
        text = value if type(value) is str else json.dumps(value, default=_path, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise SettingsError(name, value, "what JSON can write: text, numbers, lists, mappings") from None
    text = well_formed(text)
    return text if type(value) is str else json.loads(text), len(text)


def _on_windows(error: OSError) -> int | None:
    number: int | None = getattr(error, "winerror", None)
    return number


def _path(value: Any) -> str:
    return str(os.fspath(value))
