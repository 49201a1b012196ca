"""The settings of `EvalSamples`, and how they are read from the `config.json` of a training run.

Such a file belongs to the run: most of its keys are none of ours and are left alone. A key that is nearly one of ours,
or stands where nobody reads it, is told: a limit that nothing reads is how a run hangs for hours.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any

from hangtight.errors import SettingsError
from hangtight.rules.errors import Problem, SettingsErrors, nearest, unreadable
from hangtight.rules.lengths import AT_MOST, LONGEST
from hangtight.training.blocks import LONGEST_PROMPT, WIDEST_GAP
from hangtight.training.status import STATUS_FILE

LIMIT = 60.0  # seconds: most evaluations take 2 to 10
EVAL_STEPS, LOGGING_STEPS, NEW_TOKENS = 200, 10, 512


def same_words(said: str, golden: str) -> bool:
    """Whether an answer is the expected one; how it is spaced does not count."""
    return said.split() == golden.split()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """What `EvalSamples` does, and how long it may take. None is off, or no limit."""

    eval_timeout_seconds: float | None = LIMIT
    """One generation, and one loss."""
    eval_idle_seconds: float | None = None
    """Silence between two tokens."""
    eval_steps: int | None = EVAL_STEPS
    """A full evaluation, with generation, every so many steps."""
    logging_steps: int | None = LOGGING_STEPS
    """The fast line, without generation, every so many steps."""
    max_new_tokens: int = NEW_TOKENS
    eval_isolate: bool = False
    """In a process of its own, which can be killed whatever hangs in it."""
    eval_seed: int | None = None
    """Of the order of the examples; None takes them in theirs."""
    eval_generation: Mapping[str, Any] = field(default_factory=dict)
    """What `generate` is given beside, as `{"do_sample": true, "temperature": 0.7}`."""
    status_file: str = STATUS_FILE
    longest_prompt: int = LONGEST_PROMPT
    """Characters of a prompt that are shown."""
    widest_gap: float = WIDEST_GAP
    """Of the losses; a wider one is shown with a warning sign."""
    intent: Any = None
    match: Callable[[str, str], bool] = same_words
    on_hang: Callable[[Any], object] | None = None
    """Told when a generation hangs that nothing in this process can end; the default ends nothing."""
    logger: logging.Logger | None = None
    """Is told what is printed, too."""
    generate: Callable[..., Any] | None = None
    """What generates, in the place of `guarded_generate`."""

    def __post_init__(self) -> None:
        for name, (fits, wanted) in KEYS.items():
            found = getattr(self, name)
            if not fits(found):
                raise SettingsError(name, found, wanted)


def _seconds(found: object) -> bool:
    return found is None or (_number(found) and 0 < found <= LONGEST)  # type: ignore[operator]


def _number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and isfinite(found)


def _count(found: object) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found > 0


def _count_or_off(found: object) -> bool:
    return found is None or _count(found)


def _whole(found: object) -> bool:
    return found is None or (isinstance(found, int) and not isinstance(found, bool))


def _options(found: object) -> bool:
    return isinstance(found, Mapping) and all(isinstance(name, str) and name not in NOT_THERE for name in found)


SECONDS = f"a number of seconds above 0, {AT_MOST}, or null for no limit"
STEPS = "a whole number of steps above 0 (a share of all steps is not understood here), or null for never"
NOT_THERE = frozenset(
    ("model", "inputs", "input_ids", "attention_mask", "tokenizer", "limit", "idle", "intent", "isolate", "on_hang")
)
"""What `generate` is given by us, or what has a setting of its own."""
KEYS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "eval_timeout_seconds": (_seconds, SECONDS),
    "eval_idle_seconds": (_seconds, SECONDS),
    "eval_steps": (_count_or_off, STEPS),
    "logging_steps": (_count_or_off, STEPS),
    "max_new_tokens": (_count, "a whole number above 0"),
    "eval_isolate": (lambda found: isinstance(found, bool), "true or false"),
    "eval_seed": (_whole, "a whole number, or null for the order of the examples"),
    "eval_generation": (_options, f"options of generate, by name; none of {', '.join(sorted(NOT_THERE))}"),
    "status_file": (lambda found: isinstance(found, str) and bool(found), "the name of a file"),
    "longest_prompt": (_count, "a whole number of characters above 0"),
    "widest_gap": (lambda found: _number(found) and found >= 0, "a number, 0 or more"),  # type: ignore[operator]
}
"""What may stand in the file: the key, what it has to be, and how that is said."""


def settings_from(path: str | Path, *, tell: Callable[[str], object], foreign: Iterable[str] = (), **more: Any) -> Any:
    """The settings that stand in a file, and `more`, which win. `foreign` are the keys of others, never a slip."""
    file = str(path)
    found, twice = _read(Path(path), file)
    given = {key: value for key, value in found.items() if key in KEYS}
    problems = [Problem(file, 0, key, value, KEYS[key][1]) for key, value in given.items() if not KEYS[key][0](value)]
    if problems:
        raise SettingsErrors(problems)
    for key in twice:
        tell(f"⚠️  {file}: {key} stands there twice; the last one counts: {found.get(key)!r}")
    others = frozenset(foreign)
    for slip in _slips({key: value for key, value in found.items() if key not in others}):
        tell(f"⚠️  {file}: {slip}")
    known = {each.name for each in fields(EvalSettings)}
    for name, value in more.items():
        if name not in known:
            raise SettingsError(name, value, f"one of {', '.join(sorted(known))}")
    return EvalSettings(**(given | more))


def _read(path: Path, file: str) -> tuple[Mapping[str, Any], list[str]]:
    """What stands there, and which keys of ours stand twice."""
    twice: list[str] = []

    def whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(key for key in KEYS if names.count(key) > 1)
        return dict(pairs)

    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=whole)
    except (OSError, ValueError) as error:
        raise unreadable(file, str(error), "a file of JSON that can be read") from error
    if not isinstance(found, dict):
        raise unreadable(file, type(found).__name__, "a JSON object: {...}")
    return found, twice


def _slips(found: Mapping[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        if key not in KEYS and (meant := nearest(key, KEYS)) is not None:
            yield f"{key} is not read; did you mean {meant}?"
        if key not in KEYS and isinstance(value, Mapping):
            yield from (f"{key}.{name} is not read; {name} stands at the top" for name in value if name in KEYS)
