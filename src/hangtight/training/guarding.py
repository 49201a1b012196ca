"""`guard`: a block in which `generate()` cannot hang. All of it has one deadline."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hangtight.core.time import Instant, Seconds, after, between
from hangtight.errors import SettingsError
from hangtight.training.hanging import Hang, named_after
from hangtight.training.interrupting import Rung, interrupted_after
from hangtight.training.leaving import Exit
from hangtight.training.outcome import Generated, Layer, Row, Verdict
from hangtight.training.run import Run
from hangtight.training.vigil import Vigil, grace_of
from hangtight.training.wrapping import Wrapping

if TYPE_CHECKING:
    from typing import Self

    from hangtight.core.intents import Intent
    from hangtight.errors import HangtightError
    from hangtight.training.rows import Loop

P = ParamSpec("P")
T = TypeVar("T")

LIMIT = 60.0
"""Seconds: what most evaluations stay far below."""
READING = 1.0
"""Seconds that the tokens of an answer may take to become text, also where time is over: its tokenizer may hang."""
CHECK_EVERY = 32
"""Tokens between two looks at what a row says."""
UNKNOWN = "the model"
SOURCE = "hangtight.training.guard"


class guard:
    """A block, or a function, in which generations are bounded. `limit` is for all of them together, in seconds.

    >>> with guard(60, model=model) as g:                                           # doctest: +SKIP
    ...     out = model.generate(**inputs)

    Between two tokens the generation is asked to stop, so that `generate` returns what there is and the block goes on;
    at its end the timeout is raised, with `.partial`; `g.output` is what `generate` returned. Code that does not come
    to a next token is interrupted a little later. A C call or a GPU that does not return is only named: its stacks are
    written, and `on_hang` is called. Without `model` the `generate` of all models of transformers is meant, as far as
    this context calls it: other threads are left alone.
    """

    def __init__(
        self,
        limit: float | None = LIMIT,
        *,
        model: Any = None,
        tokenizer: Any = None,
        idle: float | None = None,
        intent: bool | Intent | None = None,
        check_every: int = CHECK_EVERY,
        on_hang: Callable[[Hang], object] | None = None,
    ) -> None:
        if type(check_every) is not int or check_every < 1:
            raise SettingsError("check_every", check_every, "a number of tokens, 1 or more")
        self._given: dict[str, Any] = {
            "limit": limit,
            "model": model,
            "tokenizer": tokenizer,
            "idle": idle,
            "intent": intent,
            "check_every": check_every,
            "on_hang": on_hang,
        }
        self.source = SOURCE
        """What the error says is to be changed."""
        self._block: Block | None = None
        self.output: Any = None
        """What the last `generate` returned; None where it was interrupted."""
        self.verdict = Verdict.FINISHED
        self.rows: tuple[Row, ...] = ()
        """Of the last generation."""
        self.tokens = 0
        """Of all generations and rows."""
        self.layers: tuple[Layer, ...] = ()
        self.ended_by: Layer | None = None
        self.error: HangtightError | None = None
        self.elapsed = 0.0

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """As a decorator: each call is a block of its own."""
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{SOURCE} is for plain functions: {function.__qualname__} returns before it has run")

        @functools.wraps(function)
        def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
            with guard(**self._given):
                result = function(*args, **kwargs)
            return result  # noqa: RET504 - a block that may swallow has an end that returns nothing

        return bounded

    def __enter__(self) -> Self:
        if self._block is not None:
            raise RuntimeError(f"{SOURCE} is a block of its own: make another one for the next")
        self._block = Block(self, **self._given)
        self._block.enter()
        return self

    __exit__ = Exit(first="_disarm", then="_swallows")

    def _disarm(self) -> None:
        if self._block is not None:
            self._block.disarm()

    def _swallows(self, error: BaseException | None) -> bool:
        assert self._block is not None, "a block that is left was entered"
        return self._block.leave(error)

    def generated(self) -> Generated:
        """All that is to be told of it."""
        return Generated(
            verdict=self.verdict,
            rows=self.rows,
            output=self.output,
            elapsed=self.elapsed,
            layers=self.layers,
            ended_by=self.ended_by,
            error=self.error,
        )


class Block:
    """One run through a guarded block: the layers around it, and what came of it."""

    def __init__(
        self, told: guard, *, limit: float | None, model: Any, idle: float | None, intent: Any, **rest: Any
    ) -> None:
        self.told = told
        self._model = with_generate(model)
        _load_what_is_needed()
        self._tokenizer, self._every = rest["tokenizer"], rest["check_every"]
        self.vigil = vigil = Vigil(limit, idle=idle, intent=intent, model=name_of(self._model), source=told.source)
        self._wrapping = Wrapping(self._model, self.generate)
        self._naming = named_after(vigil.total + 2 * grace_of(vigil.total), rest["on_hang"])
        first = vigil.first_over
        self._interruption = interrupted_after(first + grace_of(first), where=told.source, moves=self._hard_at)
        self._runs: list[Run] = []
        self._inside: set[int] = set()
        """The threads that generate."""
        self._reads_until: Instant | None = None
        self._left = False

    # -- around it --------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The interruption last: what it raises is raised in the block."""
        try:
            self._wrapping.begin()
            self._naming.__enter__()
            self._interruption.__enter__()
        except BaseException as error:
            self.disarm()
            self.vigil.close(error, tokens=0, partial="")
            raise

    def disarm(self) -> None:
        """May be asked twice, and begun anew where it was interrupted."""
        self._interruption.__exit__(None, None, None)
        self._wrapping.end()
        self._naming.__exit__(None, None, None)

    def generate(self, model: Any, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In the place of `generate` of that model."""
        here = threading.get_ident()
        if here in self._inside:  # an assistant, or a model inside this one
            return call(*args, **kwargs)
        run = Run(model, call, args, kwargs)
        run.guarded(self.vigil, self._tokenizer, self._every)
        if run.in_step:
            self._interruption.__exit__(None, None, None)  # a rank that leaves alone leaves the others waiting for it
        self._runs.append(run)
        self.told.output = None
        self._inside.add(here)
        self.vigil.begins()
        try:
            with run.lockstep(self.vigil):
                run.output = self.told.output = call(*run.args, **run.kwargs)
        except BaseException:
            if self._interruption.rang:
                self.vigil.rings()  # now, while its silence still counts
            raise
        finally:
            self._inside.discard(here)
            if not self._inside:
                self.vigil.rests()
            self._read(run)
        return run.output

    def _read(self, run: Run) -> None:
        """Its tokens become text in here, where a tokenizer that hangs is interrupted like anything else."""
        began = self.vigil.now()
        self._reads_until = after(began, Seconds(max(READING, grace_of(self.vigil.total))))
        try:
            run.read(self._tokenizer)
        except Rung as rung:
            if not self._interruption.is_own(rung):
                raise
            run.read(None, TimeoutError("timed out"))
        finally:
            self._reads_until = None
            self.vigil.excuse(between(began, self.vigil.now()))

    def _hard_at(self) -> Instant:
        """When to interrupt what did not come to a next token."""
        hard = self.vigil.hard_at()
        return hard if self._reads_until is None else max(hard, self._reads_until)

    # -- the end ----------------------------------------------------------------------------------------------

    def leave(self, error: BaseException | None) -> bool:
        """Whether that error is ours alone. Raises the timeout, if it is one and nobody's error stands above it."""
        own = None if self._interruption.has_made(error) else error
        if not self._left:
            self._left = True
            try:
                self._tell()
            finally:
                self._close(own)
        ours = self.told.error
        if own is not None:
            if ours is not None:
                own.add_note(f"{type(ours).__name__}: {ours}")
            return False
        if ours is not None:
            raise ours from None
        return error is not None

    def _tell(self) -> None:
        """What there is, put where the caller looks for it."""
        told = self.told
        told.layers = self._layers()
        told.ended_by = self._ended_by()
        for run in self._runs:
            if run.rows is None:  # interrupted before it was read; it is too late for text
                run.read(None)
            told.rows = run.rows or ()
            told.tokens += sum(row.tokens for row in told.rows)
            run.forget()

    def _close(self, error: BaseException | None) -> None:
        told, vigil = self.told, self.vigil
        loop = self._loop()
        if told.ended_by is not None:
            if self._interruption.rang or loop is None:
                vigil.rings()
            elif not vigil.rang:
                vigil.loops(loop.found, loop.attention)
        partial = next((row.partial for row in told.rows if not row.whole), "")
        vigil.close(error, tokens=told.tokens, partial=partial)
        told.elapsed = vigil.elapsed
        if told.ended_by is not None:
            told.error = vigil.verdict()
            told.verdict = self._verdict()
        if told.error is not None:
            for unread in {repr(row.unread): row.unread for row in told.rows if row.unread is not None}.values():
                told.error.add_note(f"the tokenizer made no text of it: {type(unread).__name__}: {unread}")

    def _verdict(self) -> Verdict:
        if self._naming.hung and self.told.ended_by is not Layer.CRITERION:
            return Verdict.HUNG
        return Verdict.LOOPING if self.vigil.machine.looped is not None else Verdict.TIMED_OUT

    def _loop(self) -> Loop | None:
        loops = [loop for run in self._runs if run.reading is not None for loop in run.reading.loops.values()]
        return loops[0] if loops else None

    def _layers(self) -> tuple[Layer, ...]:
        runs, layers = self._runs, []
        if any(run.criterion is not None for run in runs):
            layers.append(Layer.CRITERION)
        if any(run.in_step for run in runs):
            layers.append(Layer.RANKS)
        else:
            layers.append(self._interruption.layer)
        return (*layers, Layer.NAMED)

    def _ended_by(self) -> Layer | None:
        if self._interruption.rang:
            layer: Layer = self._interruption.layer
            return layer
        if any(run.stopped for run in self._runs):
            return Layer.RANKS if any(run.in_step and run.stopped for run in self._runs) else Layer.CRITERION
        return None if self._loop() is None else Layer.CRITERION


def with_generate(model: Any) -> Any:
    """The model itself, where somebody has put a wrapper around it that generates nothing (DDP)."""
    while model is not None and not hasattr(model, "generate") and hasattr(model, "module"):
        model = model.module
    if model is not None and not hasattr(model, "generate"):
        raise TypeError(f"{type(model).__name__} has no `generate` to be guarded")
    return model


def _load_what_is_needed() -> None:
    """Before the clocks run: a first import takes long, and is no fault of the model."""
    if "transformers" in sys.modules:
        import hangtight.training.criterion  # noqa: F401


def name_of(model: Any) -> str:
    if model is None:
        return UNKNOWN
    path = getattr(getattr(model, "config", None), "_name_or_path", "")
    return str(path) or type(model).__name__
