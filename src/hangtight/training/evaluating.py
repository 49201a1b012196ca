"""One full evaluation: an example is generated and scored, and nothing that happens in it is longer than its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hangtight.core.time import between
from hangtight.drivers import clock
from hangtight.errors import BudgetSpent, GenerationTimeout, SettingsError
from hangtight.training import blocks
from hangtight.training.bounding import OwnTimeoutError, within
from hangtight.training.eval_settings import EvalSettings
from hangtight.training.fitting import refuse_a_loss_without_room, room_for
from hangtight.training.outcome import Generated, Verdict
from hangtight.training.samples import Rotation, Sample
from hangtight.training.scoring import Encoded, as_before, encoded, loss_of, prompt_tensors

T = TypeVar("T")
FAILED = "failed"
"""The verdict where `generate` raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What came of it: as it is shown, and as a monitor reads it."""

    shown: blocks.FullEval
    verdict: str
    elapsed: float
    """Seconds of the generation."""
    troubles: list[tuple[str, Exception]] = field(default_factory=list)
    late: bool = False
    """Something beside the generation broke the limit: a loss, a function of the user's."""
    notes: list[str] = field(default_factory=list)

    @property
    def timed_out(self) -> bool:
        return self.late or self.verdict not in (Verdict.FINISHED, FAILED)

    def facts(self) -> dict[str, Any]:
        shown, spoken = self.shown, self.shown.spoken
        return {
            "step": shown.step,
            "verdict": str(self.verdict),
            "tokens": None if spoken is None else spoken.tokens,
            "match": None if spoken is None or spoken.stopped else spoken.match,
            "loss": shown.loss,
            "val_loss": shown.val_loss,
            "gap": shown.gap,
            "elapsed": round(self.elapsed, 3),
        }


class Evaluator:
    """A model under these settings. `in_step`: the ranks need each other, so none of them may be interrupted alone."""

    def __init__(self, model: Any, tokenizer: Any, settings: EvalSettings, *, in_step: bool = False) -> None:
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._in_step = in_step
        self._troubles: list[tuple[str, Exception]] = []
        self._notes: list[str] = []
        self._late = False
        self.refused: SettingsError | None = None
        """Why there is no process of its own, where one was asked for."""

    def evaluate(self, step: int, samples: Rotation, val: Rotation | None, *, turn: int) -> Evaluated:
        """The example of this turn. An example that is none raises; a generation that fails does not."""
        sample, example = self._example(samples, turn)
        room = room_for(self._model, example)
        with as_before(self._model):
            began = clock.now()
            verdict, spoken, error = self._said(step, sample, example, room)
            elapsed = between(began, clock.now())
            loss = self._bounded("the loss of the example", lambda: self._loss(example))
            val_loss = (
                None if val is None else self._bounded("the loss of the val sample", lambda: self._other(val, turn))
            )
        shown = blocks.FullEval(
            step=step,
            prompt=sample.shown,
            golden=sample.golden,
            golden_tokens=len(example.golden),
            spoken=spoken,
            error=error,
            loss=loss,
            val_loss=val_loss,
        )
        return Evaluated(
            shown=shown,
            verdict=verdict,
            elapsed=elapsed,
            troubles=self._troubles,
            late=self._late,
            notes=self._notes,
        )

    def _example(self, samples: Rotation, turn: int) -> tuple[Sample, Encoded]:
        """A function or a data set of the user's, and a tokenizer: either may hang like a model."""
        sample = self._within("the example", lambda: samples.at(turn))
        return sample, self._within("the tokenizer", lambda: encoded(self._tokenizer, sample))

    def _said(
        self, step: int, sample: Sample, example: Encoded, room: int | None
    ) -> tuple[str, blocks.Spoken | None, str]:
        try:
            generated = self._generated(step, example, room)
        except Exception as error:  # noqa: BLE001 - told in the block, where it belongs
            return FAILED, None, str(error) or type(error).__name__
        self._troubles.extend(("the tokenizer", row.unread) for row in generated.rows if row.unread is not None)
        stopped = "" if generated.finished else self._why(generated, step)
        text = generated.partial if stopped else (generated.text or "")
        spoken = blocks.Spoken(
            text=text,
            tokens=generated.tokens,
            stopped=stopped,
            match=not stopped and self._matches(text, sample.golden),
        )
        return generated.verdict, spoken, ""

    def _matches(self, said: str, golden: str) -> bool:
        return bool(self._bounded("match", lambda: self._within("match", lambda: self._settings.match(said, golden))))

    def _generated(self, step: int, example: Encoded, room: int | None) -> Generated:
        options = self._options(example)
        if room is not None and (options["max_new_tokens"] or 0) > room:
            self._notes.append(blocks.cut(step, options["max_new_tokens"], room))
            options["max_new_tokens"] = room
        if not self._settings.eval_isolate:
            return self._generate(options, isolate=False)
        try:
            return self._generate(options, isolate=True)
        except SettingsError as refused:
            self.refused = refused
        try:
            return self._generate(options, isolate=False)
        except SettingsError:  # then it was no matter of the process
            self.refused = None
            raise

    def _options(self, example: Encoded) -> dict[str, Any]:
        """What `generate` is called with."""
        settings = self._settings
        ids, mask = prompt_tensors(self._model, example)
        tokenizer = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        options: dict[str, Any] = {
            "inputs": ids,
            "max_new_tokens": settings.max_new_tokens,
            "do_sample": False,
            "pad_token_id": tokenizer.eos_token_id,
            "attention_mask": mask,
        }
        if getattr(getattr(self._model, "config", None), "use_cache", None) is not None:
            options["use_cache"] = (
                True  # gradient checkpointing switches it off, and each token would cost the whole text
            )
        return options | dict(settings.eval_generation)

    def _generate(self, options: dict[str, Any], *, isolate: bool) -> Generated:
        from hangtight.training.generating import guarded_generate

        settings, options = self._settings, dict(options)
        generated: Generated = (settings.generate or guarded_generate)(
            self._model,
            options.pop("inputs"),
            tokenizer=getattr(self._tokenizer, "tokenizer", self._tokenizer),
            limit=settings.eval_timeout_seconds,
            idle=settings.eval_idle_seconds,
            intent=settings.intent,
            isolate=isolate,
            on_hang=settings.on_hang,
            **options,
        )
        return generated

    def _why(self, generated: Generated, step: int) -> str:
        late, limit = generated.error, self._settings.eval_timeout_seconds
        if generated.verdict is Verdict.LOOPING:
            return blocks.looped(step)
        if isinstance(late, BudgetSpent):
            return blocks.not_begun(step)
        if isinstance(late, GenerationTimeout) and (late.limit == "idle" or limit is None):
            return blocks.went_silent(late.waited, step)
        return blocks.exceeded(limit or generated.elapsed, step)

    def _other(self, val: Rotation, turn: int) -> float:
        _, example = self._example(val, turn)
        return self._loss(example)

    def _loss(self, example: Encoded) -> float:
        refuse_a_loss_without_room(self._model, example)
        return self._within("the loss", lambda: loss_of(self._model, example))

    def _within(self, what: str, work: Callable[[], T]) -> T:
        settings = self._settings
        return within(settings.eval_timeout_seconds, what, work, on_hang=settings.on_hang, alone=not self._in_step)

    def _bounded(self, what: str, work: Callable[[], T]) -> T | None:
        """One part of it, which may hang or fail: the others are still worth showing."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - as it says
            self._late = self._late or isinstance(error, OwnTimeoutError)
            self._troubles.append((what, error))
        return None
