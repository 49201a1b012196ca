"""Other models and settings for one run: `--model coder=qwen3:1.7b`, `--set coder.total=900`, `--set total=3600`.

A model that takes the place of another one keeps the limits of the step that it works for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hangtight.errors import SettingsError
from hangtight.flows.definition.checks import LIMITS, OF_A_FLOW, OF_A_STEP, limit
from hangtight.flows.definition.steps import Flow
from hangtight.rules.errors import Problem, SettingsErrors, not_installed, one_of
from hangtight.rules.lengths import NO_LIMIT, seconds_in

FROM_A_FILE: Final = "@"
OF_STEPS: Final = ("timeout", *LIMITS, "model", "mode", "fallback", "retries", "weight", "critical", "minimum")
"""What may be set of a step. Its work, and where it stands, are its own."""
WORDS: Final = {"true": True, "false": False}
AS_WRITTEN: Final = ("model", "mode")


def overridden(flow: Flow, models: Mapping[str, str] | None = None, changes: Mapping[str, Any] | None = None) -> Flow:
    """The flow of a run for which these were given."""
    for step, model in (models or {}).items():
        if model is None:
            raise SettingsError(f"the model of step {step}", model, "the name of a model")
        flow = flow.with_step(step, model=model)
    for place, value in (changes or {}).items():
        flow = _changed(flow, place, value)
    return flow


def models_in(words: Iterable[str]) -> dict[str, str]:
    """Of `coder=qwen3:1.7b`, the later one wins; `@models.yaml` is a file of such lines: `coder: qwen3:1.7b`."""
    models: dict[str, str] = {}
    for word in words:
        if word.startswith(FROM_A_FILE):
            models |= _models_of(Path(word.removeprefix(FROM_A_FILE)))
            continue
        step, sign, model = word.partition("=")
        if not (sign and step.strip() and model.strip()):
            raise SettingsError("--model", word, "step=model, like coder=qwen3:1.7b, or @file")
        models[step.strip()] = model.strip()
    return models


def changes_in(words: Iterable[str]) -> dict[str, Any]:
    """Of `coder.total=900`, `coder.idle=20m`, `total=none`: as JSON has them, not yet looked at."""
    changes: dict[str, Any] = {}
    for word in words:
        place, sign, value = word.partition("=")
        if not (sign and place.strip()):
            raise SettingsError("--set", word, "step.setting=value, like coder.total=900")
        changes[place.strip()] = value_of(place.strip(), value.strip())
    return changes


def value_of(place: str, text: str) -> Any:
    """What a text means for a setting; one that means nothing there stays a text, and is refused there."""
    name = place.rpartition(".")[2]
    if name == "fallback":
        return [model.strip() for model in text.split(",") if model.strip()]
    if name in AS_WRITTEN:
        return text
    if name == "critical":
        return WORDS.get(text.lower(), text)
    if text.lower() in (*NO_LIMIT, "null"):
        return None
    try:
        number = seconds_in(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _changed(flow: Flow, place: str, value: Any) -> Flow:
    name, dot, key = place.partition(".")
    if not dot:
        if name not in OF_A_FLOW:
            raise SettingsError(place, value, one_of([*OF_A_FLOW, *(f"{step}.total" for step in flow.steps)], name))
        return flow.changed(**{name: value})
    if name not in flow.steps:
        raise SettingsError(place, value, f"a setting of {one_of(flow.steps, name)}")
    key = key.removeprefix("limits.")
    if key not in OF_STEPS:
        raise SettingsError(place, value, one_of(OF_STEPS, key))
    try:
        if key in ("timeout", "total"):
            return flow.with_step(name, timeout=value)
        if key in LIMITS:
            return flow.with_step(name, limits={**flow.steps[name].limits, key: limit(key, value)})
        return flow.with_step(name, **{key: OF_A_STEP[key](value)})
    except SettingsError as error:
        raise SettingsError(place, value, error.wanted) from None


def _models_of(path: Path) -> dict[str, str]:
    try:
        from hangtight.rules.reading import read
    except ImportError as missing:
        raise not_installed(missing) from missing
    tree = read(path, str(path))
    wrong = [
        Problem(tree.file, tree.line(step), step, model, "the name of a model")
        for step, model in tree.data.items()
        if not isinstance(model, str) or not model.strip()
    ]
    if wrong:
        raise SettingsErrors(wrong)
    return dict(tree.data)
