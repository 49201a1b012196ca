"""What the files say about model servers that we run ourselves: their commands, the clock of each phase, their groups.

Commands and their environment may hold secrets: they are in no `repr`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

START, SLEEP, WAKE, STOP, DRAIN, HANG = 120.0, 60.0, 60.0, 10.0, 300.0, 300.0  # seconds
CEILING = 1800.0
"""Seconds for a start that is watched by its progress, where nobody says another number."""
CHECK = "/health"
SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGKILL")
SERVER, PROCESS = KINDS = ("server", "process")
LEVELS = ("debug", "info", "warn", "error")
STREAMS = ("proxy", "upstream", "both", "none")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SLEEP_MODES = ("enable", "disable")
FIRST_PORT = 5800
GATEWAY_PORT = 8383
"""Where our own gateway listens, if nobody says otherwise: no model gets it."""
OTHERS = "(default)"
"""The group of all models that stand in no other, as in llama-swap."""
UNSAID = "default"
CLOCKS: Mapping[str, tuple[str, float]] = {
    "healthCheckTimeout": ("start", START),
    "cmdSleepTimeout": ("sleep", SLEEP),
    "cmdWakeTimeout": ("wake", WAKE),
    "unloadTimeout": ("stop", STOP),
    "drainTimeout": ("drain", DRAIN),
    "hang": ("hang", HANG),
}
"""The keys of lengths that may stand in a model and at the top: the field each becomes, and what holds unsaid."""
OF_A_MODEL = {"stopSignal": "signal", "checkEndpoint": "check", "kind": "kind", "useModelName": "asked_as"}
COMMANDS = {"cmd": "command", "cmdStop": "stop_command", "cmdSleep": "sleep_command", "cmdWake": "wake_command"}

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Errand:
    """One request to a model's own server, which changes how it stands."""

    path: str
    method: str = "POST"
    body: str = field(default="", repr=False)
    seconds: float | None = None
    """None: only the clock of the whole sleep or wake counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How one model is run. Lengths are seconds; two are the same wherever in the file they stand."""

    name: str
    command: Argv = field(repr=False)
    """What is started, as its words: no shell reads it."""
    shown: Argv = field(default=(), compare=False)
    """The same for people: a variable of the environment stands there by its name. It may hold a secret."""
    stop_command: Argv = field(default=(), repr=False)
    """Instead of a signal; `${PID}` in it is the process. Empty is none, as below."""
    sleep_command: Argv = field(default=(), repr=False)
    wake_command: Argv = field(default=(), repr=False)
    sleep_errands: tuple[Errand, ...] = field(default=(), repr=False)
    """Instead of a command: these requests, one after the other."""
    wake_errands: tuple[Errand, ...] = field(default=(), repr=False)
    canary: bool = False
    """After a wake it must answer as it did after its start."""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Added to the environment of what is started."""
    proxy: str | None = None
    """Where the server is asked; None of a process that answers one request and ends."""
    asked_as: str = ""
    """By which name its server knows it; empty is its own."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent with what we ask its server ourselves."""
    check: str | None = CHECK
    """The path that answers 200 when it is ready; None is not asked."""
    start: float = START
    """From its start until it is ready; with `stall` this is the ceiling."""
    stall: float | None = None
    """How long a load may show no progress; None where only `start` counts."""
    sleep: float = SLEEP
    wake: float = WAKE
    stop: float = STOP
    """From the signal, or from its command, until it is ended by force."""
    drain: float = DRAIN
    """How long requests in flight may hold up a swap."""
    ttl: float | None = None
    """From the end of the last request until it is unloaded; None is never."""
    hang: float | None = HANG
    """Requests are running, and no token came from any: for so long it is not called hung. None: never."""
    signal: str = "SIGTERM"
    kind: str = SERVER
    """`server`, or `process`: one for each request."""
    preload: bool = False
    """It is started with us."""
    group: str = OTHERS
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Where each length stands, by its key in the file: `{"cmdSleepTimeout": "hangtight.yaml:3"}`, or `default`."""

    @property
    def sleeps(self) -> bool:
        """It can be put to sleep instead of being stopped."""
        return bool(self.sleep_command or self.sleep_errands)

    def starts_like(self, other: Running) -> bool:
        """What runs already may stay: only clocks and the like differ, if anything."""
        return all(getattr(self, name) == getattr(other, name) for name in ("command", "env", "proxy", "kind", "check"))


@dataclass(frozen=True, slots=True)
class Group:
    """Models that share a machine, and whom they leave room."""

    name: str
    members: tuple[str, ...]
    swap: bool = True
    """One of them runs at a time."""
    exclusive: bool = True
    """When one of them comes, the models of other groups go."""
    persistent: bool = False
    """Other groups cannot make them go."""


@dataclass(frozen=True, slots=True)
class Logging:
    """What is written down, and what of it goes to our own output."""

    level: str = "info"
    to_stdout: str = "proxy"
    """`proxy` is what we say, `upstream` what the servers print; `both`, `none`."""


class Changes(NamedTuple):
    """What another reading of the files means for the models that we run. Each in the order of the names."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    """Those that are run in another way than before, `restarted` among them."""
    restarted: tuple[str, ...]
    """Those of which what runs now is not what shall run."""


def changes(before: Mapping[str, Running], after: Mapping[str, Running]) -> Changes:
    """What differs between the models that were run (`Settings.runs`) and those that are run from now on."""
    both = sorted(before.keys() & after.keys())
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(name for name in both if before[name] != after[name]),
        restarted=tuple(name for name in both if not after[name].starts_like(before[name])),
    )


class Written(NamedTuple):
    """What one section says, by key, checked; and where each key of it stands."""

    said: Mapping[str, Any]
    places: Mapping[str, str]


def running_of(name: str, written: Iterable[Written], of_all: Written, group: str, preload: bool) -> Running | None:
    """How a model is run by what its sections say, its own first; None where they have no command.

    What stands there has been checked: see `schema_running.RunningModel`, whose keys these are.
    """
    said: dict[str, Any] = {}
    places: dict[str, str] = {}
    for each in written:
        said, places = {**each.said, **said}, {**each.places, **places}
    if not said.get("cmd"):
        return None
    sources = {key: places.get(key) or of_all.places.get(key) or UNSAID for key in CLOCKS}
    commands: dict[str, Any] = {field: said.get(key) or () for key, field in COMMANDS.items()}
    commands |= _by_mode(said, of_all.said)
    lengths: dict[str, Any] = {
        field: _length(key, default, said, of_all.said) for key, (field, default) in CLOCKS.items()
    }
    ttl, sources["ttl"] = _ttl(said, places, of_all)
    stall, ceiling = said.get("load") or (None, None)
    if stall is not None:
        lengths["start"] = ceiling
        sources["healthCheckTimeout"] = sources["load"] = places["load"]
    others: dict[str, Any] = {field: said[key] for key, field in OF_A_MODEL.items() if said.get(key) is not None}
    if others.get("check") == "none" or others.get("kind") == PROCESS:
        others["check"] = None
    return Running(
        name=name,
        **commands,
        env=said.get("env") or (),
        proxy=said.get("proxy"),
        canary=bool(said.get("canary")),
        headers=_headers(said),
        stall=stall,
        ttl=ttl,
        preload=preload,
        group=group,
        sources=sources,
        **lengths,
        **others,
    )


def sleep_mode(said: Mapping[str, Any], of_all: Mapping[str, Any]) -> str | None:
    """Whether requests put it to sleep; None where nobody says."""
    return said.get("sleepMode") or of_all.get("sleepMode")


def _by_mode(said: Mapping[str, Any], of_all: Mapping[str, Any]) -> dict[str, Any]:
    """What the mode makes of sleep and wake: nothing of them, or requests; else the commands hold."""
    mode = sleep_mode(said, of_all)
    if mode == "disable":
        return {"sleep_command": (), "wake_command": ()}
    if mode is None or said.get("cmdSleep"):
        return {}
    return {f"{what}_errands": _errands(what, said, of_all) for what in ("sleep", "wake")}


def _errands(what: str, said: Mapping[str, Any], of_all: Mapping[str, Any]) -> tuple[Errand, ...]:
    """The requests, each with what it may take."""
    seconds = _length(f"{what}RequestTimeout", None, said, of_all)
    errands: tuple[Errand, ...] = said.get(f"{what}Endpoints") or ()
    return tuple(each if each.seconds is not None else replace(each, seconds=seconds) for each in errands)


def _headers(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The key of its server as OpenAI's API has it, and the headers that each request to it gets."""
    headers: dict[str, str] = {name.lower(): value for name, value in (said.get("headers") or {}).items()}
    own = {"authorization": f"Bearer {said['key']}"} if said.get("key") else {}
    return tuple((own | headers).items())


def _length(key: str, default: float | None, *said: Mapping[str, Any]) -> Any:
    """The nearest that is written down, also where it says null."""
    return next((each[key] for each in said if key in each), default)


def _ttl(said: Mapping[str, Any], places: Mapping[str, str], of_all: Written) -> tuple[float | None, str]:
    """0 is never, -1 is what holds for all."""
    own = said.get("ttl", -1)
    if own != -1:
        return own or None, places["ttl"]
    return of_all.said.get("globalTTL") or None, of_all.places.get("globalTTL", UNSAID)
