"""Every setting that we accept has a check in which it takes effect: this walks the schema and misses none.

A check writes its setting into a file and looks at what comes out at the other end. To hold a setting to more than
that, replace its entry in EFFECTS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from hangtight.core.intents import OFF, Intent
from hangtight.core.limits import AUTO, LEARNABLE
from hangtight.core.resolve import resolve
from hangtight.rules.keys import KEYS
from hangtight.rules.running import CLOCKS, COMMANDS, Errand
from hangtight.rules.schema import LIMITS, ConfigFile, RulesFile
from hangtight.rules.serving import CircuitSettings, Gateway
from hangtight.rules.settings import DAY
from tests.rules.kit import Place, values

Effect = Callable[[Place, str], None]
"""Writes the setting into the file of this name, and sees that it takes effect."""


def leaves(kind: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """`modes.*.idle`, ..."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is dict:
        yield from leaves(get_args(kind)[1], (*path, "*"))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from leaves(field.annotation, (*path, name))
    else:
        yield ".".join(path)


def written(path: str, value: str) -> str:
    """A line with the value at a path: `limits: {idle: 7}`."""
    first, *others = path.split(".")
    for part in reversed(others):
        value = f"{{{part}: {value}}}"
    return f"{first}: {value}"


def a_limit(path: str, name: str, *, mode: str | None, model: str = "m") -> Effect:
    def effect(place: Place, file: str) -> None:
        for number in (3, None, *(["auto"] if name in LEARNABLE else [])):
            text = "null" if number is None else str(number)
            place.write(file, f"{written(path, text)}\n{'' if mode else 'default_mode: null'}")
            layers = place.load().layers(mode, model)
            if number == "auto":
                assert layers[0].values[name] is AUTO
                continue
            resolved = resolve(layers)
            assert getattr(resolved.limits, name) == number or (number is None and mode is not None)
            assert layers[0].values[name] == number
            if number is not None:
                assert resolved.values[name].source == f"{file}:1"

    return effect


def a_heartbeat(path: str) -> Effect:
    def effect(place: Place, file: str) -> None:
        for text, seconds in (("7", 7), ("0", None), ("null", None)):
            place.write(file, f"{written(path, text)}\n")
            assert values(place.load())["heartbeat"].value == seconds

    return effect


def an_intent(path: str, text: str, meant: Intent) -> Effect:
    def effect(place: Place, file: str) -> None:
        place.write(file, written(path, text))
        assert place.load().intent("own" if path.startswith("modes") else None, "m") == (meant, f"{file}:1")
        place.write(file, written(path.rpartition(".")[0], "false"))
        assert place.load().intent("own" if path.startswith("modes") else None, "m") == (OFF, f"{file}:1")

    return effect


INTENTS = {"shorten": ("true", Intent(shorten=True)), "ladder": ("[notify, cut]", Intent(ladder=("notify", "cut")))}


def default_mode(place: Place, file: str) -> None:
    place.write(file, "default_mode: fast")
    assert values(place.load())["total"].value == 30


def step_timeout(place: Place, file: str) -> None:
    place.write(file, "step_timeout: 7")
    settings = place.load()
    assert values(settings, in_step=True)["total"].value == 7
    assert values(settings, in_step=True)["total"].change.format(value=14) == f"step_timeout: 14  in {file}"
    assert values(settings, in_step=False)["total"].value != 7
    place.write(file, "step_timeout: null")
    assert place.load().step is None


def priorities(place: Place, file: str) -> None:
    place.write(file, "priorities: {plan: low, look: normal, write: high, run: critical}")
    assert place.load().priorities == {"plan": "low", "look": "normal", "write": "high", "run": "critical"}


def models_of_a_mode(place: Place, file: str) -> None:
    place.write(file, "modes: {deep: {models: [a, b, c]}}")
    assert place.load().fallback("deep", "a") == ("b", "c")


def preferred_models(place: Place, file: str) -> None:
    place.write(file, "preferred_models: {deep: [a, b, c]}")
    assert place.load().fallback("deep", "b") == ("c",)


def budgets(place: Place, file: str) -> None:
    place.write(file, "budgets: {deep: 7, own: null}")
    settings = place.load()
    assert values(settings, "deep")["total"].value == 7
    assert values(settings, "own")["total"].value is None


def reasons(place: Place, file: str) -> None:
    place.write(file, "models: {m: {reasons: true}, n: {reasons: false}}")
    settings = place.load()
    assert [settings.reasons(model) for model in "mno"] == [True, False, None]


def fallback(place: Place, file: str) -> None:
    place.write(file, "models: {m: {fallback: [a, b]}}")
    assert place.load().fallback(None, "m") == ("a", "b")


def proxy(place: Place, file: str) -> None:
    place.write(file, "models: {m: {proxy: 'http://127.0.0.1:1'}}")
    assert place.load().proxy("m") == ("http://127.0.0.1:1" if file == "hangtight.yaml" else None)


def journal_url(place: Place, file: str) -> None:
    for text in ("journal: {url: 'off'}", "journal: 'off'"):
        place.write(file, text)
        assert place.load().journal == "off"


def journal_keep(place: Place, file: str) -> None:
    for text, seconds in (("7", 7 * DAY), ("null", None)):
        place.write(file, f"journal: {{keep: {text}}}")
        assert place.load().keep == seconds


def samples(place: Place, file: str) -> None:
    place.write(file, "learning: {samples: 200}")
    assert place.load().learning.samples == 200


def flows(place: Place, file: str) -> None:
    """Meant from where it is written."""
    place.write(file, "flows: mine")
    found = place.load().flows
    assert found is not None
    assert found.endswith("/mine")


def training(place: Place, file: str) -> None:
    """Meant from where it is written; an empty list is none, and not the usual one."""
    place.write(file, "training: [status/a.json, /b.json]")
    found = place.load().gateway.training
    assert found is not None
    assert found[0].endswith("/status/a.json")
    assert (found[0].startswith("/"), found[1]) == (True, "/b.json")
    place.write(file, "training: status/a.json")
    assert place.load().gateway.training == found[:1], "one path is a list of one"
    place.write(file, "training: []")
    assert place.load().gateway.training == ()


def a_floor(name: str) -> Effect:
    def effect(place: Place, file: str) -> None:
        place.write(file, f"learning: {{floors: {{{name}: 7}}}}")
        floors = place.load().learning.floors
        assert floors == {"first_token": 5, "idle": 3, "total": 10, name: 7}

    return effect


def of_gateway(path: str, text: str, name: str, meant: object) -> Effect:
    """A setting of the gateway as a whole; `.qwencoderules` cannot say it."""

    def effect(place: Place, file: str) -> None:
        assert getattr(Gateway(), name) != meant
        place.write(file, written(path, text))
        assert getattr(place.load().gateway, name) == meant

    return effect


def of_serving(key: str, text: str, name: str, meant: object) -> Effect:
    """How one model is served; the rules of a project say nothing about it."""

    def effect(place: Place, file: str) -> None:
        usual = getattr(place.load().serving("m"), name)
        assert usual != meant
        place.write(file, written(f"models.m.{key}", text))
        assert getattr(place.load().serving("m"), name) == (meant if file == "hangtight.yaml" else usual)

    return effect


def circuit(name: str, text: str) -> Effect:
    return of_gateway(f"circuit.{name}", text, "circuit", CircuitSettings(**{name: float(text)}))  # type: ignore[arg-type]


def of_running(key: str, text: str, name: str, meant: object) -> Effect:
    """How a model is run: the rules of a project say nothing about it."""

    def effect(place: Place, file: str) -> None:
        place.write("hangtight.yaml", "models: {m: {cmd: 'serve ${PORT}'}}")
        usual = place.load().running("m")
        assert usual is not None
        assert getattr(usual, name) != meant
        line = written(key, text) if key.partition(".")[0] != "models" else ""
        own = f", {written(key.partition('.')[2].partition('.')[2], text)}" if not line else ""
        place.write("hangtight.yaml", f"{line}\nmodels: {{m: {{cmd: 'serve ${{PORT}}'{own}}}}}")
        running = place.load().running("m")
        assert running is not None
        assert getattr(running, name) == meant

    return effect


def of_command(key: str, name: str) -> Effect:
    def effect(place: Place, file: str) -> None:
        others = {"cmdSleep": "cmdWake: b", "cmdWake": "cmdSleep: b"}
        own = ", ".join(
            filter(None, ["cmd: 'serve ${PORT}'", f"{key}: 'a ${{PORT}}'", others.get(key)][key == "cmd" :])
        )
        place.write(file, f"models: {{m: {{{own}}}}}")
        running = place.load().running("m")
        if file != "hangtight.yaml":
            assert running is None
            return
        assert running is not None
        assert getattr(running, name) == ("a", "5800")

    return effect


def macros(path: str) -> Effect:
    def effect(place: Place, file: str) -> None:
        line = "macros: {A: serve}" if path == "macros" else ""
        own = "macros: {A: serve}, " if path != "macros" else ""
        place.write(file, f"{line}\nmodels: {{m: {{{own}cmd: '${{A}} ${{PORT}}'}}}}")
        running = place.load().running("m")
        if file != "hangtight.yaml":
            assert running is None
            return
        assert running is not None
        assert running.command == ("serve", "5800")

    return effect


def of_group(key: str, text: str, name: str, meant: object) -> Effect:
    def effect(place: Place, file: str) -> None:
        members = "members: [m], " if key != "members" else ""
        place.write(file, f"groups: {{g: {{{members}{key}: {text}}}}}\nmodels: {{m: {{cmd: 'a ${{PORT}}'}}}}")
        settings = place.load()
        running = settings.running("m")
        assert getattr(settings.groups["g"], name) == meant
        assert running is not None
        assert running.group == "g"

    return effect


def preload(place: Place, file: str) -> None:
    place.write(file, "hooks: {on_startup: {preload: [m]}}\nmodels: {m: {cmd: 'a ${PORT}'}}")
    settings = place.load()
    running = settings.running("m")
    assert settings.preload == ("m",)
    assert running is not None
    assert running.preload


def of_logging(key: str, text: str, name: str) -> Effect:
    def effect(place: Place, file: str) -> None:
        place.write(file, f"{key}: {text}")
        assert getattr(place.load().logging, name) == text

    return effect


def of_requests(path: str, text: str, meant: object) -> Effect:
    """How a model sleeps by requests, where something else is said already: the last word counts."""
    key = path.removeprefix("models.m.")

    def effect(place: Place, file: str) -> None:
        top: dict[str, Any] = {}
        own: dict[str, Any] = {"cmd": "serve ${PORT}", "sleepMode": "enable"}
        own |= {"sleepEndpoints": [{"endpoint": "/s"}], "wakeEndpoints": [{"endpoint": "/w"}]}
        if key == "sleepMode":
            del own["sleepMode"]
        (own if path != key else top)[key] = json.loads(text)
        place.write("hangtight.yaml", json.dumps({**top, "models": {"m": own}}))
        running = place.load().running("m")
        assert running is not None
        assert (*running.sleep_errands, *running.wake_errands) == meant

    return effect


RUN_CLOCKS = {key: name for key, (name, _) in CLOCKS.items()}

EFFECTS: dict[str, Effect] = {
    **{key: of_running(key, "7", name, 7) for key, name in RUN_CLOCKS.items()},
    **{f"models.*.{key}": of_running(f"models.m.{key}", "7", name, 7) for key, name in RUN_CLOCKS.items()},
    **{f"models.*.{key}": of_command(key, name) for key, name in COMMANDS.items()},
    "globalTTL": of_running("globalTTL", "7", "ttl", 7),
    "models.*.ttl": of_running("models.m.ttl", "7", "ttl", 7),
    "models.*.env": of_running("models.m.env", "[A=b]", "env", (("A", "b"),)),
    "models.*.checkEndpoint": of_running("models.m.checkEndpoint", "/ready", "check", "/ready"),
    "models.*.load.stall": of_running("models.m.load.stall", "7", "stall", 7),
    "models.*.load.ceiling": of_running("models.m.load.ceiling", "7", "start", 7),
    **{
        f"{at}{key}": of_requests(f"{at.replace('*', 'm')}{key}", text, meant)
        for at in ("", "models.*.")
        for key, text, meant in (
            ("sleepMode", '"enable"', (Errand("/s"), Errand("/w"))),
            ("sleepRequestTimeout", "7", (Errand("/s", seconds=7), Errand("/w"))),
            ("wakeRequestTimeout", "7", (Errand("/s"), Errand("/w", seconds=7))),
        )
    },
    "models.*.sleepEndpoints": of_requests(
        "models.m.sleepEndpoints", '[{"endpoint": "a"}]', (Errand("/a"), Errand("/w"))
    ),
    "models.*.wakeEndpoints": of_requests(
        "models.m.wakeEndpoints", '[{"endpoint": "a"}]', (Errand("/s"), Errand("/a"))
    ),
    "models.*.canary": of_running("models.m.canary", "true", "canary", True),
    "models.*.stopSignal": of_running("models.m.stopSignal", "SIGINT", "signal", "SIGINT"),
    "models.*.kind": of_running("models.m.kind", "process", "kind", "process"),
    "models.*.macros.*": macros("models.m.macros"),
    "macros.*": macros("macros"),
    "startPort": of_running("startPort", "7", "command", ("serve", "7")),
    "groups.*.swap": of_group("swap", "false", "swap", False),
    "groups.*.exclusive": of_group("exclusive", "false", "exclusive", False),
    "groups.*.persistent": of_group("persistent", "true", "persistent", True),
    "groups.*.members": of_group("members", "[m]", "members", ("m",)),
    "hooks.on_startup.preload": preload,
    "logLevel": of_logging("logLevel", "warn", "level"),
    "logToStdout": of_logging("logToStdout", "both", "to_stdout"),
    "sendLoadingState": of_gateway("sendLoadingState", "true", "loading_state", True),
    "models.*.sendLoadingState": of_serving("sendLoadingState", "true", "loading_state", True),
    "models.*.name": of_serving("name", "M", "title", "M"),
    "models.*.description": of_serving("description", "a b", "description", "a b"),
    "models.*.metadata": of_serving("metadata", "{a: [1]}", "metadata", {"a": [1]}),
    "models.*.capabilities": of_serving("capabilities", "{a: true}", "capabilities", {"a": True}),
    "models.*.filters.stripParams": of_serving("filters.stripParams", "'a, b'", "strip", ("a", "b")),
    "models.*.filters.setParams": of_serving("filters.setParams", "{a: 1}", "set", {"a": 1}),
    "models.*.filters.setParamsByID": of_serving("filters.setParamsByID", "{x: {a: 1}}", "set_by_id", {"x": {"a": 1}}),
    **{f"limits.{name}": a_limit(f"limits.{name}", name, mode=None) for name in LIMITS},
    **{f"modes.*.{name}": a_limit(f"modes.own.{name}", name, mode="own") for name in LIMITS},
    **{f"models.*.limits.{name}": a_limit(f"models.m.limits.{name}", name, mode=None) for name in LIMITS},
    **{f"learning.floors.{name}": a_floor(name) for name in LEARNABLE},
    **{f"intent.{name}": an_intent(f"intent.{name}", *said) for name, said in INTENTS.items()},
    **{f"modes.*.intent.{name}": an_intent(f"modes.own.intent.{name}", *said) for name, said in INTENTS.items()},
    **{f"models.*.intent.{name}": an_intent(f"models.m.intent.{name}", *said) for name, said in INTENTS.items()},
    "heartbeat": a_heartbeat("heartbeat"),
    "models.*.heartbeat": a_heartbeat("models.m.heartbeat"),
    "default_mode": default_mode,
    "step_timeout": step_timeout,
    "priorities.*": priorities,
    "modes.*.models": models_of_a_mode,
    "models.*.reasons": reasons,
    "models.*.fallback": fallback,
    "models.*.proxy": proxy,
    "journal.url": journal_url,
    "journal.keep": journal_keep,
    "learning.samples": samples,
    "flows": flows,
    "training": training,
    "budgets.*": budgets,
    "preferred_models.*": preferred_models,
    "apiKeys": of_gateway("apiKeys", "[a, b]", "keys", ("a", "b")),
    "includeAliasesInList": of_gateway("includeAliasesInList", "true", "lists_aliases", True),
    "headers": of_gateway("headers", "cut", "may_raise", False),
    "most.total": of_gateway("most.total", "7", "most", {"total": 7}),
    "most.first_token": of_gateway("most.first_token", "7", "most", {"first_token": 7}),
    "most.idle": of_gateway("most.idle", "7", "most", {"idle": 7}),
    "proxy_silence": of_gateway("proxy_silence", "7", "proxy_silence", 7),
    "routes.*": of_gateway("routes", "{/a/*: ping}", "routes", (("/a/*", "ping"),)),
    "queue": of_gateway("queue", "7", "places", 7),
    "gateway.hosts": of_gateway("gateway.hosts", "[A.example]", "hosts", ("a.example",)),
    "gateway.origins": of_gateway("gateway.origins", "['https://a']", "origins", ("https://a",)),
    "gateway.body": of_gateway("gateway.body", "7", "body", 7),
    "gateway.headers": of_gateway("gateway.headers", "7", "head", 7),
    "gateway.patience": of_gateway("gateway.patience", "7", "patience", 7),
    **{f"circuit.{name}": circuit(name, "7") for name in ("in_a_row", "least", "window", "first")},
    "circuit.longest": circuit("longest", "70"),
    "circuit.share": circuit("share", "0.7"),
    "models.*.aliases": of_serving("aliases", "[a, b]", "aliases", ("a", "b")),
    "models.*.useModelName": of_serving("useModelName", "other", "upstream_name", "other"),
    "models.*.unlisted": of_serving("unlisted", "true", "unlisted", True),
    "models.*.key": of_serving("key", "a", "key", "a"),
    "models.*.headers.*": of_serving("headers", "{X-A: b}", "headers", (("X-A", "b"),)),
    "models.*.concurrencyLimit": of_serving("concurrencyLimit", "7", "slots", 7),
    "models.*.queue": of_serving("queue", "7", "places", 7),
    "models.*.heartbeat_form": of_serving("heartbeat_form", "ping", "form", "ping"),
    "models.*.proxy_silence": of_serving("proxy_silence", "7", "proxy_silence", 7),
    "models.*.timeouts.connect": of_serving("timeouts.connect", "7", "connect", 7),
}


@pytest.mark.parametrize("path", sorted(leaves(ConfigFile)))
def test_every_setting_of_the_config_takes_effect(place: Place, path: str) -> None:
    assert path in EFFECTS, f"{path} is accepted, and nothing shows that it does anything"
    EFFECTS[path](place, "hangtight.yaml")


@pytest.mark.parametrize("path", sorted(leaves(RulesFile)))
def test_every_setting_of_the_rules_of_a_project_takes_effect(place: Place, path: str) -> None:
    assert path in EFFECTS, f"{path} is accepted, and nothing shows that it does anything"
    EFFECTS[path](place, ".qwencoderules")


def test_nothing_is_checked_that_nobody_can_set() -> None:
    assert set(EFFECTS) == {*leaves(ConfigFile), *leaves(RulesFile)}


VARIABLES: dict[str, tuple[str, Callable[[Place], object], object]] = {
    "HANGTIGHT_FIRST_TOKEN": ("7", lambda place: values(place.load())["first_token"].value, 7),
    "HANGTIGHT_IDLE": ("7", lambda place: values(place.load())["idle"].value, 7),
    "HANGTIGHT_TOTAL": ("7", lambda place: values(place.load())["total"].value, 7),
    "HANGTIGHT_HEARTBEAT": ("7", lambda place: values(place.load())["heartbeat"].value, 7),
    "OLLAMA_HEARTBEAT_INTERVAL": ("7", lambda place: values(place.load())["heartbeat"].value, 7),
    "HANGTIGHT_INTENT": ("off", lambda place: place.load().intent(None, "m"), (OFF, "HANGTIGHT_INTENT")),
    "HANGTIGHT_MODE": ("fast", lambda place: values(place.load())["total"].value, 30),
    "HANGTIGHT_STEP_TIMEOUT": ("7", lambda place: values(place.load(), in_step=True)["total"].value, 7),
    "HANGTIGHT_JOURNAL": ("off", lambda place: place.load().journal, "off"),
    "HANGTIGHT_CONFIG": ("other.yaml", lambda place: values(place.load(search=False))["load"].value, 9),
}


@pytest.mark.parametrize("key", KEYS)
def test_every_variable_takes_effect(place: Place, key: str) -> None:
    place.write("other.yaml", "limits: {load: 9}")
    text, effect, wanted = VARIABLES[key]
    assert effect(place) != wanted
    place.environment[key] = text
    assert effect(place) == wanted
