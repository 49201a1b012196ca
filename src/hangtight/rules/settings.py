"""What the files and the environment say, as the rest of the house uses it: immutable, and ready to be resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from hangtight.core.intents import Placed
from hangtight.core.layers import MODES, Layer, mode_layer
from hangtight.errors import SettingsError
from hangtight.rules.errors import one_of
from hangtight.rules.finding import Origin
from hangtight.rules.running import PROCESS, Group, Logging, Running
from hangtight.rules.serving import Gateway, Serving, serving_of

DAY = 86400.0
KEEP = 30 * DAY
PRIORITIES = ("low", "normal", "high", "critical")
SAMPLES = 100
FLOORS: Mapping[str, float] = {"first_token": 5.0, "idle": 3.0, "total": 10.0}
MOST_REMEMBERED = 1024  # combinations of mode and model; a program that makes up names must not fill the memory


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode: what it says about the limits, and the models that it prefers."""

    name: str
    layers: tuple[Layer, ...]
    """The highest first; what is shipped stands last."""
    models: tuple[str, ...] = ()
    """The first is preferred; the order is the fallback."""
    intent: Placed | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What is said about one model, or about all whose names match a pattern with `*`."""

    name: str
    layers: tuple[Layer, ...] = ()
    fallback: tuple[str, ...] | None = None
    """None where nothing is said; empty where there shall be none."""
    proxy: str | None = None
    reasons: bool | None = None
    intent: Placed | None = None
    serving: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What is written about how the gateway serves it, by key."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How limits that are `auto` are learned."""

    samples: int = SAMPLES
    floors: Mapping[str, float] = field(default_factory=lambda: dict(FLOORS))


def shipped_modes() -> dict[str, Mode]:
    return {name: Mode(name, (mode_layer(name),)) for name in MODES}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Settings:
    """All settings of one moment. Two are the same only if they are one object: a new reading is a new one."""

    below: tuple[Layer, ...] = ()
    """What stands below modes and models: the environment, then the files, the highest first."""
    modes: Mapping[str, Mode] = field(default_factory=shipped_modes)
    default_mode: str | None = None
    """Of a call that names none."""
    models: Mapping[str, Model] = field(default_factory=dict)
    of_all: Placed | None = None
    """What is said about the intent of every call."""
    step: Layer | None = None
    """The limit of a step that has none of its own."""
    priorities: Mapping[str, str] = field(default_factory=dict)
    journal: str | None = None
    """A URL, a path, or `off`."""
    keep: float | None = KEEP
    """Seconds for which the journal keeps a generation; None is for ever."""
    learning: Learning = field(default_factory=Learning)
    gateway: Gateway = field(default_factory=Gateway)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The other names of models, and which is meant."""
    runs: Mapping[str, Running] = field(default_factory=dict)
    """The models that we run, by name, and how."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Each model that we run stands in one of them."""
    preload: tuple[str, ...] = ()
    """The models that are started with us."""
    logging: Logging = field(default_factory=Logging)
    flows: str | None = None
    """The folder of the flows that the gateway runs."""
    origin: Origin = Origin.NOWHERE
    """How the settings file was found."""
    files: tuple[str, ...] = ()
    """Those that were read, as people know them."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where what is no limit stands: `{"default_mode": "hangtight.yaml:3"}`."""
    remarks: tuple[str, ...] = ()
    """What is allowed and does nothing, for `check` and `explain`."""
    _layers: dict[tuple[str | None, str, bool], tuple[Layer, ...]] = field(default_factory=dict, init=False, repr=False)
    _matches: dict[str, tuple[Model, ...]] = field(default_factory=dict, init=False, repr=False)
    _fallbacks: dict[tuple[str | None, str], tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)
    _facts: dict[str, tuple[str | None, bool | None]] = field(default_factory=dict, init=False, repr=False)
    _servings: dict[str, Serving] = field(default_factory=dict, init=False, repr=False)

    def layers(self, mode: str | None, model: str, in_step: bool = False) -> tuple[Layer, ...]:
        """What holds for a call below what the call itself gives, the highest first.

        Without a mode the default one is meant. Raises SettingsError for a mode that nobody knows.
        """
        key = (mode, model, in_step)
        known = self._layers.get(key)
        return known if known is not None else _kept(self._layers, key, self._found(mode, model, in_step))

    def _found(self, mode: str | None, model: str, in_step: bool) -> tuple[Layer, ...]:
        named = self.mode(mode)
        step = (self.step,) if in_step and self.step is not None else ()
        of_models = tuple(layer for match in self.matching(model) for layer in match.layers)
        return (*step, *(named.layers if named else ()), *of_models, *self.below)

    def mode(self, name: str | None) -> Mode | None:
        """The mode that holds for a call that names this one, or none."""
        name = self.default_mode if name is None else name
        if name is None:
            return None
        if name not in self.modes:
            raise SettingsError("mode", name, one_of(self.modes, name))
        return self.modes[name]

    def matching(self, model: str) -> tuple[Model, ...]:
        """What is said about a model: under its own name first, then by the patterns in the order of the files."""
        known = self._matches.get(model)
        return known if known is not None else _kept(self._matches, model, self._matching(model))

    def _matching(self, model: str) -> tuple[Model, ...]:
        own = self.models.get(model)
        by_pattern = (other for key, other in self.models.items() if "*" in key and fnmatchcase(model, key))
        return (*([own] if own else []), *(other for other in by_pattern if other is not own))

    def fallback(self, mode: str | None, model: str) -> tuple[str, ...]:
        """The models to turn to when this one fails: its own, else those after it in the list of the mode."""
        key = (mode, model)
        known = self._fallbacks.get(key)
        return known if known is not None else _kept(self._fallbacks, key, self._fallback(mode, model))

    def _fallback(self, mode: str | None, model: str) -> tuple[str, ...]:
        for match in self.matching(model):
            if match.fallback is not None:
                return tuple(name for name in match.fallback if name != model)
        named = self.mode(mode)
        listed = named.models if named else ()
        return listed[listed.index(model) + 1 :] if model in listed else ()

    def proxy(self, model: str) -> str | None:
        """The server that has the model, where the files say it."""
        return (self._facts.get(model) or self._known_of(model))[0]

    def reasons(self, model: str) -> bool | None:
        """Whether the model reasons before it answers, where the files say it."""
        return (self._facts.get(model) or self._known_of(model))[1]

    def canonical(self, name: str) -> str:
        """The model that is meant by a name, which may be an alias."""
        return self.aliases.get(name, name)

    def serving(self, model: str) -> Serving:
        """How the gateway serves a model, under its name or an alias."""
        known = self._servings.get(model)
        return known if known is not None else _kept(self._servings, model, self._serving(self.canonical(model)))

    def _serving(self, model: str) -> Serving:
        said = (match.serving for match in self.matching(model))
        return serving_of(model, self.proxy(model), said, self.gateway)

    def running(self, model: str) -> Running | None:
        """How we run a model, under its name or an alias; None where it is not run by us."""
        return self.runs.get(self.canonical(model))

    def run_models(self) -> tuple[str, ...]:
        """The models that we run, in the order of the file."""
        return tuple(self.runs)

    @property
    def may_run(self) -> bool:
        """Whether commands of the settings file may be started: not if it only lay in the working folder."""
        return self.origin in (Origin.NAMED, Origin.ENVIRONMENT, Origin.OF_THE_USER)

    def is_a_process(self, model: str) -> bool:
        """Whether it is no server: a process is started for each request."""
        found = self.running(model)
        return found is not None and found.kind == PROCESS and self.may_run

    def served(self) -> tuple[str, ...]:
        """The models that the files name, and for which they name a server, or a process."""
        named = (name for name in self.models if "*" not in name)
        return tuple(name for name in named if self.proxy(name) is not None or self.is_a_process(name))

    def intent(self, mode: str | None, model: str) -> Placed | None:
        """What the highest place says about intent, and where it stands; None where nobody says anything.

        Without a mode the default one is meant. Raises SettingsError for a mode that nobody knows.
        """
        named = self.mode(mode)
        if named is not None and named.intent is not None:
            return named.intent
        return next((match.intent for match in self.matching(model) if match.intent is not None), self.of_all)

    def _known_of(self, model: str) -> tuple[str | None, bool | None]:
        matches = self.matching(model)
        proxy = next((match.proxy for match in matches if match.proxy is not None), None)
        reasons = next((match.reasons for match in matches if match.reasons is not None), None)
        return _kept(self._facts, model, (proxy, reasons))


Key = TypeVar("Key")
Kept = TypeVar("Kept")


def _kept(remembered: dict[Key, Kept], key: Key, value: Kept) -> Kept:
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
    remembered[key] = value
    return value


NOTHING = Settings()
