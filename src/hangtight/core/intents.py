"""What may be done to a generation for what its text shows: the setting `intent`, and where it holds unasked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hangtight.core.layers import Layer, Rank, Value
from hangtight.core.limits import AUTO
from hangtight.errors import SettingsError

RUNGS = ("notify", "ask", "fallback", "cut")
"""What is done about a loop, in the order in which it is tried."""
KEYS = ("shorten", "ladder")
WANTED = "True, False, or a mapping of shorten and ladder"


@dataclass(frozen=True, slots=True)
class Intent:
    """Whether the text moves the deadline, and what else it may do."""

    on: bool = True
    shorten: bool = False
    """What remains is halved where the model seems to be stuck."""
    ladder: tuple[str, ...] = RUNGS
    """The rungs that may be taken. With `notify` alone nothing is ended for what it says."""

    def __post_init__(self) -> None:
        for name in ("on", "shorten"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError("intent", getattr(self, name), f"True or False for {name}")
        object.__setattr__(self, "ladder", _ladder(self.ladder))

    @classmethod
    def of(cls, value: Any) -> Intent:
        """What somebody wrote: True, False, a mapping, or an Intent. What a mapping does not say has its default.

        >>> Intent.of({"ladder": ["notify", "cut"]})
        Intent(on=True, shorten=False, ladder=('notify', 'cut'))
        """
        if isinstance(value, Intent):
            return value
        if isinstance(value, bool):
            return ON if value else OFF
        if not isinstance(value, Mapping) or not set(value) <= set(KEYS):
            raise SettingsError("intent", value, WANTED)
        return cls(**value)


def _ladder(value: Any) -> tuple[str, ...]:
    rungs = tuple(value) if isinstance(value, list | tuple) else None
    if rungs is None or rungs != tuple(rung for rung in RUNGS if rung in rungs):
        raise SettingsError("intent", value, f"a list of {', '.join(RUNGS)} for ladder: some of them, in this order")
    return rungs


ON, OFF = Intent(), Intent(on=False)
Placed = tuple[Intent, str]
"""What was said, and where: `hangtight.yaml:14`."""


def total_said(layers: Iterable[Layer]) -> Value:
    """The total of the highest place that says one, before a parent cuts it. One that is to be learned is said, too."""
    saying = [layer for layer in layers if "total" in layer.values and not layer.cuts]
    if not saying:
        return Value(None, Rank.DEFAULT, "default")
    highest = max(saying, key=lambda layer: layer.rank)
    value = highest.values["total"]
    return Value(None if value is AUTO else value, highest.rank, highest.sources.get("total", highest.source))


def meant(said: Placed | None, layers: Iterable[Layer], mode: str | None) -> Placed:
    """What holds for a call, and why: what was said, else on where a mode sets the total, or somebody extends it.

    Before a parent cuts it: inside a budget the mode has set the total all the same.
    """
    if said is not None:
        return said
    layers = [layer for layer in layers if not layer.cuts]
    total = total_said(layers)
    if total.rank is Rank.MODE:
        return ON, f"mode {mode} sets the total"
    extending = [layer for layer in layers if "extend_to" in layer.values]
    highest = max(extending, key=lambda layer: layer.rank, default=None)
    if highest is not None and highest.rank >= total.rank and highest.rank is not Rank.MODE:
        return ON, f"{highest.sources.get('extend_to', highest.source)} gives extend_to"
    return OFF, "no mode sets the total"
