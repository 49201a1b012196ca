"""The terms of a call: what was given for it, nearest first, on top of the settings, inside the budget around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from hangtight.core.intents import Intent, meant
from hangtight.core.layers import Layer, Rank, Resolved, Situation, Value
from hangtight.core.limits import AUTO, BOUNDED
from hangtight.core.resolve import inside, keeping_free, resolve
from hangtight.core.telling import LONGER
from hangtight.core.time import FOREVER, Seconds, spoken
from hangtight.drivers.budget.shares import Share, current
from hangtight.drivers.standing import paces, settings

if TYPE_CHECKING:
    from hangtight.core.attempts import Attempts
    from hangtight.core.pace import Learned, Predicted
    from hangtight.core.telling import Door
    from hangtight.drivers.given import Given
    from hangtight.intent.findings import Finding
    from hangtight.rules.settings import Settings

ROUND_PROMPTS_TO = 50  # tokens: a second of reading nearby
SOONEST = 0.001  # seconds: what a call gets that is under way when its budget is spent
MOST_REMEMBERED = 64


class Found(NamedTuple):
    """A resolution, and what it was made from."""

    resolved: Resolved
    situation: Situation
    layers: tuple[Layer, ...]
    learned: Mapping[str, Learned]
    cuts: bool
    version: int
    """Of what was learned, where something here is."""


class Cap(NamedTuple):
    """Silence before the first token ends here, because what comes after is kept for another model."""

    most: float
    told: str
    change: str


class Wanted(NamedTuple):
    """Whether the text moves the deadline, who said so, and who is asked about a loop."""

    intent: Intent
    source: str
    on_loop: Callable[[Finding], object] | None


class Terms:
    """What holds for a call, and the line by which to ask for more. May be shared by many generations."""

    __slots__ = ("_cap", "_found", "_named", "_wanted", "door", "mode", "places", "settings", "share", "situation")

    def __init__(
        self,
        places: tuple[Given, ...],
        *,
        door: Door,
        settings: Settings,
        situation: Situation | None = None,
    ) -> None:
        self.places = places
        """The nearest first."""
        self.door = door
        self.settings = settings
        self.situation = situation or Situation()
        self.share: Share | None = None
        """The budget around the call."""
        self._cap: Cap | None = None
        self._named = next((place for place in places if place.mode is not None), None)
        """The place that named the mode."""
        self.mode = self._named.mode if self._named is not None else settings.default_mode
        self._wanted: dict[str, Wanted] = {}
        self._found: dict[tuple[bool | None, bool, str, int], Found] = {}

    @property
    def run(self) -> str:
        """The task that it belongs to, for the journal."""
        own = "" if self.share is None else self.share.budget.name
        return next((place.run for place in self.places if place.run), own)

    @property
    def step(self) -> str:
        """The step of that task."""
        own = "" if self.share is None else self.share.step or self.share.budget.of_step
        return next((place.step for place in self.places if place.step), own)

    def resolved(self, warm: bool | None, heard: bool, model: str = "", spent: float = 0.0) -> Resolved:
        """The limits and clocks for a model in this state. Without a listener there is no heartbeat to wake for.

        A call that began `spent` seconds ago, in its budget, has its clocks from then.
        """
        found = self._find(warm, heard, model)
        resolved = found.resolved if self.share is None else self._inside(self.share, found, heard, spent)
        return resolved if self._cap is None else keeping_free(resolved, *self._cap)

    def _inside(self, share: Share, found: Found, heard: bool, spent: float) -> Resolved:
        left, before = share.left() + spent, self.situation.left
        if before is not None and before < left:
            left = before
        left = max(left, SOONEST)

        def anew() -> Resolved:
            name, change = share.parent
            situation = replace(found.situation, remaining=left, parent=name, change=change)
            resolved = resolve(found.layers, situation, found.learned)
            return resolved if heard else resolved.unheard()

        return anew() if found.cuts else inside(found.resolved, found.situation, left, anew)

    def _find(self, warm: bool | None, heard: bool, model: str) -> Found:
        stands = 0 if self.share is None else 1 if self.share.step is None else 2
        key = (warm, heard, model, stands)
        found = self._found.get(key)
        if found is None or (found.version >= 0 and found.version != paces().version):
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            found = self._found[key] = self._look(warm, heard, model)
        return found

    def _look(self, warm: bool | None, heard: bool, model: str) -> Found:
        share, situation = self.share, self._known(warm, model)
        layers = self._layers(self.mode, model)
        if self._named is not None and self._named.mode_cuts:
            layers = (*self._without_its_mode(model), *layers)
        learns = any(value is AUTO for layer in layers for value in layer.values.values())
        version = paces().version if learns else -1
        learned = self._learned(layers, model) if learns else {}
        endless = situation if share is None else replace(situation, remaining=FOREVER)
        resolved = resolve(layers, endless, learned)
        cuts = any(layer.cuts for layer in layers)
        return Found(resolved if heard else resolved.unheard(), situation, layers, learned, cuts, version)

    def _layers(self, mode: str | None, model: str) -> tuple[Layer, ...]:
        """What all places say, the highest first."""
        of_call = (Layer(Rank.CALL, p.source, dict(p.values), p.change, cuts=p.cuts) for p in self.places if p.values)
        in_step = self.share is not None and self.share.step is not None
        return (*of_call, *self.settings.layers(mode, model, in_step))

    def without_its_mode(self, model: str) -> Mapping[str, Value] | None:
        """What would hold, outside of any budget, if the call had named no mode; None where it named none."""
        if self._named is None:
            return None
        layers = self._layers(None, model)
        return resolve(layers, replace(self.situation, left=None), self._learned(layers, model)).values

    def _without_its_mode(self, model: str) -> Iterator[Layer]:
        """The same, as the most that it may have. Each number keeps its rank and its source."""
        values = self.without_its_mode(model) or {}
        for name, value in values.items():
            if name in BOUNDED:
                yield Layer(value.rank, value.source, {name: value.value}, value.change, cuts=True)

    def _known(self, warm: bool | None, model: str) -> Situation:
        """The situation of a call to this model."""
        known = self.situation
        reasons = known.reasons or bool(self.settings.reasons(model))
        if known.warm is not None or (warm is None and reasons is known.reasons):
            return known if reasons is known.reasons else replace(known, reasons=reasons)
        return replace(known, warm=warm, reasons=reasons)

    def _learned(self, layers: tuple[Layer, ...], model: str) -> dict[str, Learned]:
        """What is known for the limits that somebody wants learned."""
        wanted = {name for layer in layers for name, value in layer.values.items() if value is AUTO}
        learning, found = self.settings.learning, {}
        for name in wanted:
            told = paces().learned(
                name, model, self.mode or "", self.situation.prompt_tokens, learning.floors, learning.samples
            )
            if told is not None:
                found[name] = told
        return found

    def intent(self, model: str) -> Wanted:
        """Whether the text of such a call moves its deadline, and who says so."""
        found = self._wanted.get(model)
        if found is None:
            found = self._wanted[model] = self._wish(model)
        return found

    def _wish(self, model: str) -> Wanted:
        hook = next((place.on_loop for place in self.places if place.on_loop is not None), None)
        for place in self.places:
            if place.intent is not None:
                return Wanted(place.intent, place.source, hook)
        said = self.settings.intent(self.mode, model)
        return Wanted(*meant(said, self._find(None, False, model).layers, self.mode), hook)

    def admit(self, model: str) -> None:
        """Raises BudgetSpent where a call that began now could not fit into the budget around it."""
        if self.share is not None:
            known = self._predicted(model)
            self.share.admit(0.0 if known is None else known.least)

    def fallback(self, model: str) -> tuple[str, ...]:
        """The models that the settings name for the case that this one fails."""
        return self.settings.fallback(self.mode, model)

    @property
    def preferred(self) -> str | None:
        """The model that the settings prefer in this mode, for a call that names none."""
        mode = self.settings.mode(self.mode)
        return mode.models[0] if mode is not None and mode.models else None

    def predict(self, model: str) -> float | None:
        """About how many seconds such a call to this model takes, where that was learned."""
        known = self._predicted(model)
        return None if known is None else known.seconds

    def _predicted(self, model: str) -> Predicted | None:
        """What other models take says nothing about this one."""
        known = paces().predicted(model, self.mode or "", self.situation.prompt_tokens, self.settings.learning.samples)
        return None if known is None or known.pooled else known

    def within(self, left: float) -> Terms:
        """The same for an attempt that has so many seconds left of the call."""
        left = left if self.situation.left is None else min(left, self.situation.left)
        return self._with(self.places, replace(self.situation, left=left))

    def on_top_of(self, others: Terms, *, silent: bool) -> Terms:
        """The same where something else was given farther away, and more is known of the situation.

        As long as nothing was said, what is kept free for another model is kept free beneath, too.
        """
        terms = self._with((*self.places, *others.places), replace(others.situation, left=self.situation.left))
        terms._cap = self._cap if silent else None
        return terms

    def _with(self, places: tuple[Given, ...], situation: Situation) -> Terms:
        terms = Terms(places, door=self.door, settings=self.settings, situation=situation)
        terms.share = self.share
        return terms

    def here(self) -> Terms:
        """The same for a call that begins now, in the budget around the code that asks."""
        share = current()
        return self if share is None and self.share is None else self._alike(share, self._cap)

    def for_turn(self, attempts: Attempts) -> Terms:
        """The same for the model whose turn it is, with time kept free for one that stands behind it."""
        if not attempts.may_change:
            return self
        left: float = self.resolved(None, False, attempts.model).clocks.total
        if self.situation.left is not None:
            left = min(left, self.situation.left)
        kept = attempts.kept(Seconds(left))
        if kept is None:
            return self
        told = f"the {spoken(kept.seconds)} of {spoken(left)} that are kept free for {kept.model}"
        change = f"total={LONGER * left:g}, or another order of models"
        return self._alike(self.share, Cap(left - kept.seconds, told, change))

    def _alike(self, share: Share | None, cap: Cap | None) -> Terms:
        """What was resolved once need not be resolved again."""
        terms = Terms.__new__(Terms)
        terms.places, terms.door, terms.settings, terms.mode = self.places, self.door, self.settings, self.mode
        terms.situation, terms.share, terms._cap, terms._found = self.situation, share, cap, self._found
        terms._wanted, terms._named = self._wanted, self._named
        return terms


def terms_of(*places: Given, door: Door, situation: Situation | None = None) -> Terms:
    """The terms of calls to which these places gave something, the nearest first."""
    return _terms(places, door, situation or Situation(), settings())


def rounded(tokens: int) -> int:
    """About the length of a prompt, so that calls that are nearly equal share their terms."""
    return tokens // ROUND_PROMPTS_TO * ROUND_PROMPTS_TO


@lru_cache(maxsize=256, typed=True)
def _terms(places: tuple[Given, ...], door: Door, situation: Situation, settings: Settings) -> Terms:
    return Terms(places, door=door, situation=situation, settings=settings)
