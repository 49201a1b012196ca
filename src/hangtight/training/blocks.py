"""What people see of a training run: the fast line, the block of a full evaluation, the warnings.

Text only: nothing here prints, and nothing here needs torch. Each line about a broken limit says TIMEOUT, so that
`tail -f training_output.log | grep -i timeout` finds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hangtight.core.time import plain

LONGEST_PROMPT = 2000  # characters: a prompt of a whole file would push everything else off the screen
WIDEST_GAP = 0.5  # nats: above this the model knows the training data much better than the rest
MINUTE, HOUR = 60, 3600
NOT_KNOWN = "n/a"
HINT = "   "


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the model said, and how it ended."""

    text: str
    tokens: int
    stopped: str = ""
    """The warning of a generation that was ended, as `exceeded` writes it; empty where it ended by itself."""
    match: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FullEval:
    """One full evaluation, as it is shown."""

    step: int
    prompt: str
    golden: str
    golden_tokens: int
    spoken: Spoken | None = None
    """None where the generation failed."""
    error: str = ""
    loss: float | None = None
    val_loss: float | None = None

    @property
    def gap(self) -> float | None:
        if self.loss is None or self.val_loss is None:
            return None
        return self.val_loss - self.loss


def fast_line(
    step: int, total: int, *, loss: float | None, pace: float | None, elapsed: float, eta: float | None
) -> str:
    """`Step 210/2600 | loss 0.7942 | 3.1 it/s | 2m 5s elapsed | eta 12m`, without what is not known."""
    parts = [f"Step {step}/{total}" if total > 0 else f"Step {step}"]
    if loss is not None:
        parts.append(f"loss {loss:.4f}")
    if pace:
        parts.append(f"{pace:.1f} it/s" if pace >= 1 else f"{1 / pace:.1f} s/it")
    parts.append(f"{length(elapsed)} elapsed")
    if eta is not None:
        parts.append(f"eta {length(eta)}")
    return " | ".join(parts)


def length(seconds: float) -> str:
    """A length that is read at a glance: `45s`, `2m 5s`, `12m`, `3h 20m`."""
    whole = int(seconds + 0.5)
    hours, minutes, rest = whole // HOUR, whole % HOUR // MINUTE, whole % MINUTE
    if hours:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m {rest}s" if rest else f"{minutes}m"
    return f"{rest}s"


def exceeded(limit: float, step: int) -> str:
    return f"⚠️  TIMEOUT: Model generation exceeded {plain(limit)}s at step {step}"


def went_silent(waited: float, step: int) -> str:
    return f"⚠️  TIMEOUT: Model generation stuck - no token for {plain(waited)}s at step {step}"


def not_begun(step: int) -> str:
    return f"⚠️  TIMEOUT: Model generation not begun at step {step} - the budget around it is spent"


def looped(step: int) -> str:
    return f"⚠️  TIMEOUT: Model generation stuck - repeats itself at step {step}"


def failed(step: int, error: str) -> str:
    return f"⚠️  Generation error at step {step}: {error}"


def skipped(step: int, why: str) -> str:
    return f"⚠️  Skipping the example of step {step}: {why}"


def cut(step: int, wanted: int, room: int) -> str:
    return f"⚠️  max_new_tokens is {room} instead of {wanted} at step {step}: the model has no more positions"


def not_isolated(why: str) -> str:
    return f"⚠️  eval_isolate is off from now on: {why}"


def shared_status(file: str, own: str) -> str:
    return f"⚠️  {file} is the status file of another EvalSamples of this training: this one writes {own}"


NO_TOKENIZER = (
    "⚠️  EvalSamples has no tokenizer, so nothing is evaluated: "
    "EvalSamples(samples, tokenizer), or Trainer(processing_class=tokenizer)"
)
SKIPPING = f"{HINT}Skipping model output for this example"


def block(shown: FullEval, *, longest_prompt: int = LONGEST_PROMPT, widest_gap: float = WIDEST_GAP) -> str:
    """A full evaluation, one fact a line."""
    lines = [
        f"🔍 FULL EVAL - Step {shown.step}",
        f"📝 PROMPT: {bounded(shown.prompt, longest_prompt)}",
        f"✅ GOLDEN ({shown.golden_tokens} tokens): {shown.golden}",
        *_said(shown),
        f"📉 LOSS ON THIS EXAMPLE: {_number(shown.loss)}",
    ]
    if shown.gap is not None:
        fine = "✅" if shown.gap <= widest_gap else "⚠️"  # also for nan, which is no gap that anybody may trust
        lines.append(
            f"📊 Loss Comparison: Train={_number(shown.loss)} | Val={_number(shown.val_loss)} | "
            f"Gap={shown.gap:+.4f} {fine}"
        )
    return "\n".join(lines)


def _said(shown: FullEval) -> Iterable[str]:
    spoken = shown.spoken
    if spoken is None:
        yield failed(shown.step, shown.error)
    elif spoken.stopped:
        yield spoken.stopped
        yield SKIPPING
        yield f"🤖 MODEL ({spoken.tokens} tokens, stopped): {spoken.text}"
    else:
        yield f"🤖 MODEL ({spoken.tokens} tokens): {spoken.text}"
        yield "✅ MATCH" if spoken.match else "❌ NO MATCH"


def bounded(text: str, longest: int) -> str:
    """The text, or its two ends: what is asked often stands at the end of a long prompt."""
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    half = longest // 2
    return f"{text[:half]} ... ({left_out} characters left out) ... {text[len(text) - (longest - half) :]}"


def many_timeouts(timeouts: int, evaluations: int) -> str:
    """The warning that something other than the clock is wrong."""
    return (
        f"⚠️  TIMEOUT: {timeouts} of {evaluations} evaluations timed out ({100 * timeouts / evaluations:.0f} %; "
        "1 to 5 % is normal)\n"
        f"{HINT}The model or the data need a look. Training will still complete."
    )


def _number(loss: float | None) -> str:
    return NOT_KNOWN if loss is None else f"{loss:.4f}"
