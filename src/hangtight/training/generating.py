"""`guarded_generate`: one generation that cannot hang, and that never raises for time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hangtight.errors import BudgetSpent, GenerationTimeout
from hangtight.training.guarding import CHECK_EVERY, LIMIT, guard, name_of, with_generate
from hangtight.training.outcome import Generated, Verdict

if TYPE_CHECKING:
    from hangtight.core.intents import Intent
    from hangtight.training.hanging import Hang

SOURCE = "hangtight.training.guarded_generate"
NEEDS_A_TOKENIZER = ("stop_strings", "assistant_tokenizer")


def guarded_generate(
    model: Any,
    inputs: Any = None,
    *,
    tokenizer: Any = None,
    limit: float | None = LIMIT,
    idle: float | None = None,
    intent: bool | Intent | None = None,
    isolate: bool = False,
    check_every: int = CHECK_EVERY,
    on_hang: Callable[[Hang], object] | None = None,
    **generate_kwargs: Any,
) -> Generated:
    """`model.generate(inputs, **generate_kwargs)` that ends in `limit` seconds, with what there is by then.

    Time is never raised: look at `.verdict`, or at `.text`, which is None where it was stopped; `.partial` is what
    came. With `tokenizer` there is text, else tokens alone. Any other error passes. With `isolate=True` it runs in
    another process, so that also a C call or a GPU that does not return is ended.
    """
    given = {"limit": limit, "idle": idle, "intent": intent, "tokenizer": tokenizer, "check_every": check_every}
    kwargs = _asked(inputs, tokenizer, generate_kwargs)
    model = with_generate(model)
    try:
        return _apart(model, kwargs, given) if isolate else _here(model, kwargs, {**given, "on_hang": on_hang})
    except BudgetSpent as spent:
        return Generated(Verdict.TIMED_OUT, error=spent)


def _asked(inputs: Any, tokenizer: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """What `generate` is called with."""
    if isinstance(inputs, Mapping):
        kwargs = {**inputs, **kwargs}
    elif inputs is not None:
        kwargs = {"inputs": inputs, **kwargs}
    if tokenizer is not None and any(kwargs.get(name) is not None for name in NEEDS_A_TOKENIZER):
        kwargs["tokenizer"] = tokenizer
    return kwargs


def _here(model: Any, kwargs: dict[str, Any], given: dict[str, Any]) -> Generated:
    guarding = guard(model=model, **given)
    guarding.source = SOURCE
    first = () if "inputs" not in kwargs else (kwargs.pop("inputs"),)  # not every `generate` gives it that name
    try:
        with guarding:
            model.generate(*first, **kwargs)
    except GenerationTimeout as late:
        if late is not guarding.error:
            raise
    return guarding.generated()


def _apart(model: Any, kwargs: dict[str, Any], given: dict[str, Any]) -> Generated:
    from hangtight.training.isolating import generate_apart

    return generate_apart(model, kwargs, name=name_of(model), source=SOURCE, **given)
