"""Writes the tables of `docs/settings.md` and `docs/configuration.md`: each key, read from the schema that checks it.

Run it as `make docs`. `tests/test_docs.py` fails if a page is not what this makes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hangtight.core.layers import MODES
from hangtight.core.limits import LEARNABLE, Limits
from hangtight.rules import keys as keys_of
from hangtight.rules.building import DEFAULT_MODE_OF_A_PROJECT
from hangtight.rules.running import CEILING, CHECK, CLOCKS, FIRST_PORT, Group, Logging, Running
from hangtight.rules.schema import LIMITS, NOT_YET, ConfigFile, RulesFile
from hangtight.rules.schema_running import STALL, RunningFile, RunningModel
from hangtight.rules.schema_serving import ServedFile, ServedModel
from hangtight.rules.schema_shown import ShownModel
from hangtight.rules.serving import BODY, CONNECT, FORMS, HEAD, PATIENCE, PROXY_SILENCE, CircuitSettings
from hangtight.rules.settings import DAY, FLOORS, KEEP, PRIORITIES, SAMPLES

PAGE = Path(__file__).with_name("settings.md")
CONFIGURATION = Path(__file__).with_name("configuration.md")
PAGES = (PAGE, CONFIGURATION)
MADE = re.compile(r"(<!-- made: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
PLACES = ("limits", "modes.NAME", "models.NAME.limits")
"""Where a limit may stand."""
PLACES_OF_INTENT = ("", "modes.NAME.", "models.NAME.")

USUAL = Running(name="", command=())
DEFAULTS: Mapping[str, str] = {
    "limits.extend_to": "as `total`; in a mode 2 x its `total`",
    "intent.shorten": "false",
    "intent.ladder": "all four",
    "heartbeat": f"{Limits().heartbeat:g}",
    "default_mode": f"none; `{DEFAULT_MODE_OF_A_PROJECT}` where the project has a `.qwencoderules`",
    "modes.NAME.models": "none",
    "models.NAME.heartbeat": "that of the file",
    "models.NAME.reasons": "what the request shows",
    "models.NAME.fallback": "those after it in the list of the mode",
    "models.NAME.proxy": "the server that is found",
    "step_timeout": "none",
    "priorities.NAME": "normal",
    "journal.url": "the user's data folder",
    "journal.keep": f"{KEEP / DAY:g}",
    "learning.samples": f"{SAMPLES}",
    **{f"learning.floors.{name}": f"{seconds:g}" for name, seconds in FLOORS.items()},
    "flows": "none",
    "budgets.NAME": "the total of the mode",
    "preferred_models.NAME": "none",
    "apiKeys": "none",
    "includeAliasesInList": "false",
    "headers": "`raise` on a loopback address for a client of this machine without a proxy between; else `cut`",
    **dict.fromkeys(("most.total", "most.first_token", "most.idle"), "none"),
    "proxy_silence": f"{PROXY_SILENCE:g}",
    "routes.NAME": "`comment`",
    "queue": "none",
    "gateway.hosts": "none",
    "gateway.origins": "none",
    "gateway.body": f"{BODY}",
    "gateway.headers": f"{HEAD}",
    "gateway.patience": f"{PATIENCE:g}",
    "training": "`status/training_status.json`, if it is there",
    **{f"circuit.{field.name}": f"{getattr(CircuitSettings(), field.name):g}" for field in fields(CircuitSettings)},
    "models.NAME.aliases": "none",
    "models.NAME.useModelName": "the name itself",
    "models.NAME.unlisted": "false",
    "models.NAME.key": "none",
    "models.NAME.headers.NAME": "none",
    "models.NAME.concurrencyLimit": "no limit",
    "models.NAME.queue": "that of the file",
    "models.NAME.heartbeat_form": "that of the route",
    "models.NAME.proxy_silence": "that of the file",
    "models.NAME.timeouts.connect": f"{CONNECT:g}",
    **{key: f"{seconds:g}" for key, (_, seconds) in CLOCKS.items()},
    "models.NAME.cmd": "none: the model is run by somebody else",
    "models.NAME.cmdStop": "none: a signal",
    "models.NAME.cmdSleep": "none: it is stopped",
    "models.NAME.cmdWake": "none",
    "sleepMode": "none: by commands, where there are any",
    **dict.fromkeys(("sleepRequestTimeout", "wakeRequestTimeout"), "none: the clock of the whole"),
    **dict.fromkeys(
        (f"models.NAME.{key}" for key in ("sleepMode", "sleepRequestTimeout", "wakeRequestTimeout")), "that of the file"
    ),
    **dict.fromkeys(("models.NAME.sleepEndpoints", "models.NAME.wakeEndpoints"), "none"),
    "models.NAME.canary": "false",
    "models.NAME.env": "none",
    "models.NAME.checkEndpoint": f"`{CHECK}`",
    "models.NAME.load.stall": f"none; {STALL:g} where only `ceiling` is said",
    "models.NAME.load.ceiling": f"{CEILING:g}",
    "models.NAME.ttl": "-1",
    "models.NAME.stopSignal": f"`{USUAL.signal}`",
    "models.NAME.kind": f"`{USUAL.kind}`",
    "models.NAME.macros.NAME": "none",
    "macros.NAME": "none",
    "globalTTL": "0",
    "startPort": f"{FIRST_PORT}",
    **{
        f"groups.NAME.{name}": str(getattr(Group("", ()), name)).lower() for name in ("swap", "exclusive", "persistent")
    },
    "groups.NAME.members": "must be said",
    "hooks.on_startup.preload": "none",
    "logLevel": f"`{Logging().level}`",
    "logToStdout": f"`{Logging().to_stdout}`",
    "sendLoadingState": "false",
    "models.NAME.sendLoadingState": "that of the file",
    **dict.fromkeys(
        (
            *(f"models.NAME.{key}" for key in ("name", "description", "metadata", "capabilities")),
            *(f"models.NAME.filters.{key}" for key in ("stripParams", "setParams", "setParamsByID")),
        ),
        "none",
    ),
}
TOLD: Mapping[str, tuple[str, str]] = {
    "step_timeout": ("The `total` of each call inside a step of a budget.", "`300`"),
    **{f"learning.floors.{name}": (f"A learned `{name}` is never shorter.", f"`{FLOORS[name]:g}`") for name in FLOORS},
    "priorities.NAME": (f"Who is given the time that other steps save: {', '.join(PRIORITIES)}.", "`critical`"),
    "budgets.NAME": ("The total of this mode.", "`30`"),
    "preferred_models.NAME": ("The models of this mode; the order is the fallback.", '`["qwen3:1.7b"]`'),
    "macros.NAME": ("What `${NAME}` stands for in the section of a model: text, a number, true or false.", "`8192`"),
    "models.NAME.macros.NAME": ("The same for this model; it goes before that of the file.", "`16384`"),
    "routes.NAME": (f"How a heartbeat looks on this path, which may end in `*`: {', '.join(FORMS)}.", "`ping`"),
    "models.NAME.headers.NAME": (
        "Sent to the server with each request; `${env.NAME}` is filled in.",
        "`team ${env.TEAM}`",
    ),
}
"""Meaning and example where the schema, which editors show beside the key, says too little for a table."""
VARIABLES: Mapping[str, tuple[str, str]] = {
    "HANGTIGHT_FIRST_TOKEN": ("`first_token`", "`60`, `none`, `auto`"),
    "HANGTIGHT_IDLE": ("`idle`", "`45`, `none`, `auto`"),
    "HANGTIGHT_TOTAL": ("`total`", "`600`, `none`, `auto`"),
    "HANGTIGHT_HEARTBEAT": ("`heartbeat`", "`15`, `0`"),
    "OLLAMA_HEARTBEAT_INTERVAL": ("`heartbeat`, where the one above is not set", "`15`, `0`"),
    "HANGTIGHT_INTENT": ("`intent`", "`on`, `off`"),
    "HANGTIGHT_MODE": ("`default_mode`", "`deep`, `none`"),
    "HANGTIGHT_STEP_TIMEOUT": ("`step_timeout`", "`300`, `none`"),
    "HANGTIGHT_CONFIG": ("the settings file; it is read then, in a library too", "`team/hangtight.yaml`"),
    "HANGTIGHT_JOURNAL": ("`journal.url`; a journal is kept then, in a library too", "`off`, `journal.db`"),
}


class Leaf(NamedTuple):
    """One key of the schema."""

    path: str
    field: FieldInfo | None


def leaves(kind: Any, path: tuple[str, ...] = (), field: FieldInfo | None = None) -> Iterator[Leaf]:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is dict:
        yield from leaves(get_args(kind)[1], (*path, "NAME"))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, inner in kind.model_fields.items():
            yield from leaves(inner.annotation, (*path, name), inner)
    else:
        yield Leaf(".".join(path), field)


def of_limits(leaf: Leaf) -> bool:
    return leaf.path.rpartition(".")[0] in PLACES and leaf.path.rpartition(".")[2] in LIMITS


def limits() -> str:
    """The limits, which may stand in three places."""
    every = list(leaves(ConfigFile))
    rows = []
    for name in LIMITS:
        fields = [leaf.field for leaf in every if leaf.path in {f"{place}.{name}" for place in PLACES}]
        assert len(fields) == len(PLACES), f"{name} does not stand in all of {PLACES}"
        default = DEFAULTS.get(f"limits.{name}", f"{getattr(Limits(), name):g}")
        rows.append((f"`{name}`", meaning(name, fields[0]), default, example(name, fields[0])))
    assert set(LEARNABLE) <= set(LIMITS)
    return table(("key", "meaning", "default", "example"), rows)


def keys() -> str:
    """All other keys of both files."""
    others = (of_limits, of_intent, of_gateway, of_running, of_shown)
    return rows_of(leaf for leaf in leaves(ConfigFile) if not any(is_one(leaf) for is_one in others))


def of_gateway(leaf: Leaf) -> bool:
    path = leaf.path.split(".")
    is_one = path[0] in ServedFile.model_fields or (path[0] == "models" and path[2] in ServedModel.model_fields)
    return is_one and not of_shown(leaf)


def of_running(leaf: Leaf) -> bool:
    path = leaf.path.split(".")
    return path[0] in RunningFile.model_fields or (path[0] == "models" and path[2] in RunningModel.model_fields)


def of_shown(leaf: Leaf) -> bool:
    path = leaf.path.split(".")
    return path[0] == "sendLoadingState" or (path[0] == "models" and path[2] in ShownModel.model_fields)


def clocks() -> str:
    """The clocks of a model server, which may stand at the top and in a model."""
    every = {leaf.path: leaf for leaf in leaves(ConfigFile)}
    assert {f"models.NAME.{key}" for key in CLOCKS} <= set(every)
    return rows_of(every[key] for key in CLOCKS)


def running() -> str:
    """All other keys about how models are run."""
    clock = {*CLOCKS, *(f"models.NAME.{key}" for key in CLOCKS)}
    return rows_of(leaf for leaf in leaves(ConfigFile) if of_running(leaf) and leaf.path not in clock)


def shown() -> str:
    """The keys about what clients see of a model, and what of their requests is changed."""
    return rows_of(leaf for leaf in leaves(ConfigFile) if of_shown(leaf))


def gateway() -> str:
    """The keys that only the gateway reads."""
    return rows_of(leaf for leaf in leaves(ConfigFile) if of_gateway(leaf))


def of_intent(leaf: Leaf) -> bool:
    return any(leaf.path.startswith(f"{place}intent.") for place in PLACES_OF_INTENT)


def intent() -> str:
    """The keys of intent, which may stand in three places."""
    own = [leaf for leaf in leaves(ConfigFile) if leaf.path.startswith("intent.")]
    every = {f"{place}{leaf.path}" for place in PLACES_OF_INTENT for leaf in own}
    assert every == {leaf.path for leaf in leaves(ConfigFile) if of_intent(leaf)}
    return rows_of(own)


def rules() -> str:
    """The keys that only the rules of a project have."""
    known = {leaf.path for leaf in leaves(ConfigFile)}
    return rows_of(leaf for leaf in leaves(RulesFile) if leaf.path not in known)


def rows_of(found: Iterable[Leaf]) -> str:
    rows = (
        (f"`{leaf.path}`", meaning(leaf.path, leaf.field), DEFAULTS[leaf.path], example(leaf.path, leaf.field))
        for leaf in found
    )
    return table(("key", "meaning", "default", "example"), rows)


def meaning(path: str, field: FieldInfo | None) -> str:
    told = TOLD[path][0] if path in TOLD else field.description if field is not None else None
    assert told, f"{path} has no description in the schema"
    return told


def example(path: str, field: FieldInfo | None) -> str:
    if path in TOLD:
        return TOLD[path][1]
    assert field is not None
    assert field.examples, f"{path} has no example in the schema"
    return ", ".join(f"`{one if isinstance(one, str) else json.dumps(one)}`" for one in field.examples)


def variables() -> str:
    assert set(VARIABLES) == set(keys_of.KEYS), "the table and the variables differ"
    rows = ((f"`{key}`", *VARIABLES[key]) for key in keys_of.KEYS)
    return table(("variable", "sets", "example"), rows)


def modes() -> str:
    return ", ".join(f"`{name}` {total:g}" for name, total in MODES.items()) + "\n"


def not_yet() -> str:
    where = {"": "at the top", "models": "in a model", "timeouts": "in `timeouts` of a model"}
    lines = (f"- {where[place]}: {', '.join(f'`{key}`' for key in names)}" for place, names in NOT_YET.items())
    return "\n".join(lines) + "\n"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "limits": limits,
    "modes": modes,
    "keys": keys,
    "intent": intent,
    "gateway": gateway,
    "clocks": clocks,
    "running": running,
    "shown": shown,
    "rules": rules,
    "variables": variables,
    "not yet": not_yet,
}


def page(path: Path = PAGE) -> str:
    """A page with every table of it made anew."""
    texts = {each: each.read_text(encoding="utf-8") for each in PAGES}
    missing = set(TABLES) ^ {found[1] for text in texts.values() for found in MADE.findall(text)}
    if missing:
        raise RuntimeError(f"the pages and this script do not agree on {missing}")
    text = texts[path]
    return MADE.sub(lambda marks: marks[1] + TABLES[marks[2]]() + marks[3], text)


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(page(each), encoding="utf-8")
        sys.stdout.write(f"{each.name} is up to date\n")
