"""One full evaluation: an example is generated and scored, and nothing that happens in it is longer than its limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hangtight.core.time import between
from hangtight.drivers import clock
from hangtight.errors import BudgetSpent, GenerationTimeout
from hangtight.training import blocks
from hangtight.training.eval_settings import EvalSettings
from hangtight.training.outcome import Generated, Verdict
from hangtight.training.samples import Rotation, Sample
from hangtight.training.scoring import Encoded, as_before, encoded, loss_of, prompt_tensors

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

    @property
    def timed_out(self) -> bool:
        return self.verdict not in (Verdict.FINISHED, FAILED)

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

    def evaluate(self, step: int, samples: Rotation, val: Rotation | None, *, turn: int) -> Evaluated:
        """The example of this turn. An example that is none raises; a generation that fails does not."""
        sample = samples.at(turn)
        example = encoded(self._tokenizer, sample)
        with as_before(self._model):
            began = clock.now()
            verdict, spoken, error = self._said(step, sample, example)
            elapsed = between(began, clock.now())
            loss = self._bounded("the loss of the example", lambda: loss_of(self._model, example))
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
        return Evaluated(shown=shown, verdict=verdict, elapsed=elapsed, troubles=self._troubles)

    def _said(self, step: int, sample: Sample, example: Encoded) -> tuple[str, blocks.Spoken | None, str]:
        try:
            generated = self._generate(example)
        except Exception as error:  # noqa: BLE001 - told in the block, where it belongs
            return FAILED, None, str(error) or type(error).__name__
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
        try:
            return bool(self._settings.match(said, golden))
        except Exception as error:  # noqa: BLE001 - a function of the user's, and the loss is still wanted
            self._troubles.append(("match", error))
            return False

    def _generate(self, example: Encoded) -> Generated:
        from hangtight.training.generating import guarded_generate

        settings = self._settings
        ids, mask = prompt_tensors(self._model, example)
        tokenizer = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        options: dict[str, Any] = {
            "max_new_tokens": settings.max_new_tokens,
            "do_sample": False,
            "pad_token_id": tokenizer.eos_token_id,
            "attention_mask": mask,
        }
        if getattr(getattr(self._model, "config", None), "use_cache", None) is not None:
            options["use_cache"] = (
                True  # gradient checkpointing switches it off, and each token would cost the whole text
            )
        generated: Generated = (settings.generate or guarded_generate)(
            self._model,
            ids,
            tokenizer=tokenizer,
            limit=settings.eval_timeout_seconds,
            idle=settings.eval_idle_seconds,
            intent=settings.intent,
            isolate=settings.eval_isolate,
            on_hang=settings.on_hang,
            **(options | dict(settings.eval_generation)),
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
        return loss_of(self._model, encoded(self._tokenizer, val.at(turn)))

    def _bounded(self, what: str, work: Callable[[], float]) -> float | None:
        """One pass through the model; it may hang like any other."""
        from hangtight.training.hanging import named_after
        from hangtight.training.interrupting import interrupted_after

        limit = self._settings.eval_timeout_seconds
        try:
            if limit is None:
                return work()
            with named_after(2 * limit, self._settings.on_hang):
                if self._in_step:
                    return work()
                with interrupted_after(limit, where=what):  # swallows what it raised
                    return work()
            raise TimeoutError(f"timed out after {limit:g}s")
        except Exception as error:  # noqa: BLE001 - the other numbers are still worth showing
            self._troubles.append((what, error))
        return None
