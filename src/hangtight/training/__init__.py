"""A guard for generations inside training: `generate()` cannot hang a run.

>>> answer = hangtight.training.guarded_generate(model, inputs, limit=60)          # doctest: +SKIP
>>> with hangtight.training.guard(60, model=model) as g:                           # doctest: +SKIP
...     out = model.generate(**inputs)
>>> Trainer(..., callbacks=[hangtight.training.EvalSamples.from_config("config.json", samples, tokenizer)])
...                                                                                # doctest: +SKIP

torch and transformers are loaded when something here is used that needs them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hangtight.training.eval_samples import EvalSamples as EvalSamples
    from hangtight.training.generating import guarded_generate as guarded_generate
    from hangtight.training.guarding import guard as guard
    from hangtight.training.hanging import Hang as Hang
    from hangtight.training.hanging import end_this_rank as end_this_rank
    from hangtight.training.outcome import Generated as Generated
    from hangtight.training.outcome import Layer as Layer
    from hangtight.training.outcome import Verdict as Verdict

_WHERE = {
    "EvalSamples": "eval_samples",
    "Generated": "outcome",
    "Hang": "hanging",
    "Layer": "outcome",
    "Verdict": "outcome",
    "end_this_rank": "hanging",
    "guard": "guarding",
    "guarded_generate": "generating",
}

__all__ = [*_WHERE]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> object:
    """As the front door of the house does it: PEP 562."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hangtight.training' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"hangtight.training.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
