"""What was given for a call, and where: at the call itself, in its headers, by `limits()` around it, at its client.

Nearest first, these places become the layers of one resolution.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked, length
from hangtight.core.resolve import Layer, Rank, Resolved, Situation, inside, resolve
from hangtight.core.telling import Door
from hangtight.core.time import FOREVER, spoken
from hangtight.drivers.shares import CURRENT, Share
from hangtight.drivers.standing import paces, settings
from hangtight.errors import SettingsError
from hangtight.rules.settings import Settings

if TYPE_CHECKING:
    from typing import Unpack

    from hangtight.core.attempts import Attempts, Kept
    from hangtight.core.heartbeat import Heartbeat
    from hangtight.core.pace import Learned, Predicted

ROUND_PROMPTS_TO = 50  # tokens: a second of reading nearby
BEFORE_THE_FIRST = ("first_token", "load")
SOONEST = 0.001  # seconds: what a call gets that is under way when its budget is spent
MOST_REMEMBERED = 64

Listener = Callable[["Heartbeat"], object]


class LimitArgs(TypedDict, total=False):
    """What may be given for one call, in seconds; `None` is no limit, `"auto"` one that is learned."""

    first_token: float | Literal["auto"] | None
    idle: float | Literal["auto"] | None
    total: float | Literal["auto"] | None
    heartbeat: float | None
    load: float | None
    thinking: float | None
    unstreamed: float | None
    cancel: float | None
    cold: float | None


@dataclass(frozen=True, slots=True)
class Given:
    """What one place gave for a call."""

    source: str = "the call"
    values: tuple[tuple[str, Setting], ...] = ()
    mode: str | None = None
    change: str = ""
    cuts: bool = False
    run: str = ""
    step: str = ""

    def __bool__(self) -> bool:
        return bool(self.values or self.run or self.step) or self.mode is not None


def given(limits: Mapping[str, Any], mode: str | None = None, *, source: str = "the call", change: str = "") -> Given:
    """Limits and a mode as somebody wrote them. Refuses what cannot be meant."""
    values = tuple((name, _known(name, value)) for name, value in limits.items())
    if mode is not None:
        settings().mode(mode)
    return Given(source, values, mode, change)


def _known(name: str, value: Any) -> Setting:
    names = list(LimitArgs.__annotations__)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(name, value, f"one of the limits {', '.join(names)}{hint}")
    if name in LEARNABLE and value in (AUTO, AUTO.value):
        return AUTO
    return checked(name, value)


class Found(NamedTuple):
    """A resolution, and what it was made from."""

    resolved: Resolved
    situation: Situation
    layers: tuple[Layer, ...]
    learned: Mapping[str, Learned]
    cuts: bool
    version: int
    """Of what was learned, where something here is."""


class Terms:
    """What holds for a call, and the line by which to ask for more. May be shared by many generations."""

    __slots__ = ("_found", "door", "mode", "places", "settings", "share", "situation")

    def __init__(
        self,
        places: tuple[Given, ...],
        *,
        door: Door,
        settings: Settings,
        situation: Situation | None = None,
        share: Share | None = None,
    ) -> None:
        self.places = places
        """The nearest first."""
        self.door = door
        self.settings = settings
        self.situation = situation or Situation()
        self.share = share
        """The budget around the call."""
        named = next((place.mode for place in places if place.mode is not None), None)
        self.mode = named if named is not None else settings.default_mode
        self._found: dict[tuple[bool | None, bool, str, int], Found] = {}

    @property
    def run(self) -> str:
        """The task that it belongs to, for the journal."""
        own = "" if self.share is None else self.share.budget.name
        return next((place.run for place in self.places if place.run), own)

    @property
    def step(self) -> str:
        """The step of that task."""
        own = "" if self.share is None else self.share.step or ""
        return next((place.step for place in self.places if place.step), own)

    def resolved(self, warm: bool | None, heard: bool, model: str = "") -> Resolved:
        """The limits and clocks for a model in this state. Without a listener there is no heartbeat to wake for."""
        share = self.share
        found = self._find(warm, heard, model)
        if share is None:
            return found.resolved
        left, before = share.left(), self.situation.left
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
        of_call = (Layer(Rank.CALL, p.source, dict(p.values), p.change, cuts=p.cuts) for p in self.places if p.values)
        in_step = share is not None and share.step is not None
        layers = (*of_call, *self.settings.layers(self.mode, model, in_step))
        learns = any(value is AUTO for layer in layers for value in layer.values.values())
        version = paces().version if learns else -1
        learned = self._learned(layers, model) if learns else {}
        endless = situation if share is None else replace(situation, remaining=FOREVER)
        resolved = resolve(layers, endless, learned)
        cuts = any(layer.cuts for layer in layers)
        return Found(resolved if heard else resolved.unheard(), situation, layers, learned, cuts, version)

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

    def keeping(self, kept: Kept, total: float) -> Terms:
        """The same where time is kept free for a lighter model, should this one stay silent."""
        left, told = total - kept.seconds, f"the {spoken(kept.seconds)} that are kept free for {kept.model}"
        place = Given(told, tuple((name, left) for name in BEFORE_THE_FIRST), cuts=True)
        return self._with((*self.places, place), self.situation, self.share)

    def within(self, left: float) -> Terms:
        """The same for an attempt that has so many seconds left of the call."""
        left = left if self.situation.left is None else min(left, self.situation.left)
        return self._with(self.places, replace(self.situation, left=left), self.share)

    def on_top_of(self, others: Terms) -> Terms:
        """The same where something else was given farther away, and more is known of the situation."""
        situation = replace(others.situation, left=self.situation.left)
        return self._with((*self.places, *others.places), situation, self.share or others.share)

    def shared(self, share: Share) -> Terms:
        """The same inside a budget; what was resolved once need not be resolved again."""
        terms = Terms.__new__(Terms)
        terms.places, terms.door, terms.settings, terms.mode = self.places, self.door, self.settings, self.mode
        terms.situation, terms.share, terms._found = self.situation, share, self._found
        return terms

    def _with(self, places: tuple[Given, ...], situation: Situation, share: Share | None) -> Terms:
        return Terms(places, door=self.door, settings=self.settings, situation=situation, share=share)


def terms_of(*places: Given, door: Door, situation: Situation | None = None) -> Terms:
    """The terms of a call to which these places gave something, the nearest first; what is around it counts too."""
    terms = _terms(places, door, situation or Situation(), settings())
    share = CURRENT.get()
    return terms if share is None else terms.shared(share)


def kept_free(terms: Terms, attempts: Attempts) -> Terms:
    """The terms of the model whose turn it is, with time kept free for one that stands behind it."""
    if not attempts.may_change:
        return terms
    total = length(terms.resolved(None, False, attempts.model).limits.total)
    kept = attempts.kept(total)
    return terms if kept is None else terms.keeping(kept, total)


def rounded(tokens: int) -> int:
    """About the length of a prompt, so that calls that are nearly equal share their terms."""
    return tokens // ROUND_PROMPTS_TO * ROUND_PROMPTS_TO


@lru_cache(maxsize=256, typed=True)
def _terms(places: tuple[Given, ...], door: Door, situation: Situation, settings: Settings) -> Terms:
    return Terms(places, door=door, situation=situation, settings=settings)


# -- around the call --------------------------------------------------------------------------------------------------

AROUND: ContextVar[tuple[Given, ...]] = ContextVar("hangtight-limits", default=())
"""What `limits()` gave, the innermost first."""


@contextmanager
def limits(*, mode: str | None = None, **limits: Unpack[LimitArgs]) -> Iterator[None]:
    """Inside the block these limits hold for each call that gives none of its own: our clients', and `watch`.

    >>> with limits(idle=60, total=1200):
    ...     pass
    """
    place = given(limits, mode, source="hangtight.limits", change="hangtight.limits({name}={value})")
    token = AROUND.set((place, *AROUND.get()))
    try:
        yield
    finally:
        AROUND.reset(token)
