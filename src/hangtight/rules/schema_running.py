"""What may stand in `hangtight.yaml` about model servers that are run by us: their commands, clocks, macros, groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from hangtight.errors import SettingsError
from hangtight.rules.commands import words_of
from hangtight.rules.lengths import AT_MOST
from hangtight.rules.macros import NAME_OF_A_MACRO, RESERVED
from hangtight.rules.running import CEILING, FIRST_PORT, KINDS, LEVELS, SIGNALS, STREAMS
from hangtight.rules.schema_parts import (
    MACRO,
    NUMBER,
    OR_NULL,
    SAID,
    TEXT,
    TRUTH,
    Json,
    Section,
    bounded,
    limit_of,
    names_of,
    one_of_words,
    or_macro,
    or_nothing,
    positive,
    text_like,
    told,
    truth,
    whole,
    word,
)
from hangtight.rules.schema_sleeping import SleepingFile, SleepingModel

STALL = 300.0
LAST_PORT = 65535
PATH = r"(?![^/?]*:)[!-\"$-~]+"
"""Of the model's own server: in ASCII, without a fragment and without a scheme."""


# -- checks -----------------------------------------------------------------------------------------------------------


def _command(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    wanted = "a command with its words, as text"
    if not isinstance(value, str) or "\0" in value:
        raise SettingsError("command", value, wanted)
    try:
        words = words_of(value)
    except ValueError as error:  # shlex says in a word or two which sign is missing
        raise SettingsError("command", value, f"{wanted}, and here is {str(error).lower()}") from None
    if not words:
        raise SettingsError("command", value, f"{wanted}, and here is none")
    return words


def _environment(value: Any) -> tuple[tuple[str, str], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) and _is_variable(one) for one in value):
        raise SettingsError("env", value, "a list of texts, each like NAME=value")
    pairs = [one.partition("=") for one in value]
    return tuple((name, text) for name, _, text in pairs)


def _is_variable(text: str) -> bool:
    return re.fullmatch(r"[^=\s\0]+=[^\0]*", text, re.DOTALL) is not None


def _endpoint(value: Any) -> str | None:
    """Without a path it is that of the address itself."""
    if value is None:
        return None
    if value == "none":
        return "none"
    if isinstance(value, str) and re.fullmatch(PATH, value):
        return value if value.startswith("/") else f"/{value}"
    raise SettingsError("checkEndpoint", value, "a path like /health in plain ASCII, or none")


def _never_or(value: Any, *others: float, wanted: str) -> float | None:
    try:
        if value is None or (not isinstance(value, bool) and value in (0, *others)):
            return value
        return bounded("ttl", value, "")
    except (SettingsError, TypeError):
        raise SettingsError("ttl", value, f"a number of seconds, {AT_MOST}, {wanted}") from None


def _ttl(value: Any) -> float | None:
    return _never_or(value, -1, wanted="0 for never, or -1 for globalTTL")


def _global_ttl(value: Any) -> float | None:
    return _never_or(value, wanted="or 0 for never")


def _signal(value: Any) -> str | None:
    name = value.upper() if isinstance(value, str) else value
    return word(SIGNALS)(f"SIG{name}" if f"SIG{name}" in SIGNALS else name)


def _name_of_a_macro(name: Any) -> str:
    if isinstance(name, str) and re.fullmatch(NAME_OF_A_MACRO, name) and name not in RESERVED:
        return name
    wanted = f"under a name of letters, digits, - and _ that is none of {', '.join(RESERVED)}"
    raise SettingsError("macros", name, wanted)


def _macro(value: Any) -> str | float | bool:
    if isinstance(value, str | int | float) and value == value:  # noqa: PLR0124 - only NaN is not itself
        return value
    raise SettingsError("macros", value, "text, a number, true or false")


def stall_or_section(value: Any) -> Any:
    """A bare number is the stall."""
    return or_nothing(value) if value is None or isinstance(value, dict) else {"stall": value}


def _can_get_stuck(load: LoadSection) -> LoadSection:
    """A stall that could never be seen is a mistake."""
    if "stall" in load.model_fields_set and load.stall >= load.ceiling:
        raise SettingsError("load", load.stall, f"with a `stall` below its `ceiling`, which is {load.ceiling:g}")
    return load


# -- for editors ------------------------------------------------------------------------------------------------------


MACROS: Json = {
    "type": ["object", "null"],
    "propertyNames": {"pattern": f"^(?!({'|'.join(RESERVED)})$){NAME_OF_A_MACRO}$"},
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
VARIABLES: Json = {"type": ["array", "null"], "items": {"type": "string", "pattern": r"^[^=\s]+="}}
ENDPOINT: Json = {"type": ["string", "null"], "pattern": f"^{PATH}$"}


def _lasting(*others: float) -> Json:
    return {"anyOf": [NUMBER, {"enum": [0, *others]}, {"type": "null"}, MACRO]}


# -- models -----------------------------------------------------------------------------------------------------------

Command = Annotated[tuple[str, ...] | None, PlainValidator(_command), WithJsonSchema(TEXT)]
Clock = Annotated[float | None, PlainValidator(positive), WithJsonSchema(or_macro(NUMBER))]
ClockOrNone = Annotated[float | None, PlainValidator(limit_of("hang")), WithJsonSchema(or_macro(OR_NULL))]
MacroName = Annotated[str, PlainValidator(_name_of_a_macro), WithJsonSchema({"type": "string"})]
MacroValue = Annotated[str | float | bool, PlainValidator(_macro), WithJsonSchema({})]
Macros = Annotated[dict[MacroName, MacroValue], BeforeValidator(or_nothing), WithJsonSchema(MACROS)]
Truth = Annotated[bool | None, PlainValidator(truth), WithJsonSchema(TRUTH)]
NamesOfModels = Annotated[
    tuple[str, ...] | None,
    PlainValidator(names_of),
    WithJsonSchema({"type": ["array", "null"], "items": {"type": "string", "pattern": SAID}}),
]


class LoadSection(Section):
    """A load that is watched by its progress. A bare number is `stall`."""

    stall: Annotated[float, PlainValidator(positive), WithJsonSchema(NUMBER)] = Field(
        default=STALL, description="Seconds for which a load may show no progress.", examples=[60]
    )
    ceiling: Annotated[float, PlainValidator(positive), WithJsonSchema(NUMBER)] = Field(
        default=CEILING, description="Seconds for the whole start, however it gets on.", examples=[1800]
    )


class Clocks(Section):
    """The clocks of a model server's phases; those of a model go before those of the file."""

    healthCheckTimeout: Clock = told("Seconds from its start until it is ready.", 120)
    cmdSleepTimeout: Clock = told("Seconds for `cmdSleep`; after that it is stopped.", 60)
    cmdWakeTimeout: Clock = told("Seconds for `cmdWake`; after that it is started anew.", 60)
    unloadTimeout: Clock = told("Seconds for a stop; after that it is ended by force.", 10)
    drainTimeout: Clock = told("Seconds for which requests in flight may hold up a swap.", 300)
    hang: ClockOrNone = told(
        "Seconds in which requests run and no token comes from any: then it hangs; null is never.",
        300,
    )


class RunningModel(SleepingModel, Clocks):
    """How a model is run."""

    cmd: Command = told(
        "The command that starts its server. No shell reads it.", "llama-server --port ${PORT} -m a.gguf"
    )
    cmdStop: Command = told("The command that stops it, instead of a signal.", "docker stop ${MODEL_ID}")
    cmdSleep: Command = told(
        "The command that puts it to sleep.", "curl -fsX POST http://localhost:${PORT}/sleep?level=1"
    )
    cmdWake: Command = told("The command that wakes it.", "curl -fsX POST http://localhost:${PORT}/wake_up")
    env: Annotated[
        tuple[tuple[str, str], ...] | None, PlainValidator(_environment), WithJsonSchema(VARIABLES)
    ] = told("Added to the environment of its command.", ["CUDA_VISIBLE_DEVICES=0"])  # fmt: skip
    checkEndpoint: Annotated[str | None, PlainValidator(_endpoint), WithJsonSchema(ENDPOINT)] = told(
        "The path that answers 200 when it is ready, or none.", "/health", "none"
    )
    load: Annotated[
        LoadSection,
        BeforeValidator(stall_or_section, json_schema_input_type=float | LoadSection | None),
        AfterValidator(_can_get_stuck),
    ] = LoadSection()  # fmt: skip
    ttl: Annotated[float | None, PlainValidator(_ttl), WithJsonSchema(_lasting(-1))] = told(
        "Seconds without a request until it is unloaded; 0 is never, -1 is globalTTL.", 300
    )
    stopSignal: Annotated[str | None, PlainValidator(_signal), WithJsonSchema({"type": ["string", "null"]})] = told(
        "The signal that stops it.", "SIGINT"
    )
    kind: Annotated[str | None, PlainValidator(word(KINDS)), WithJsonSchema(one_of_words(KINDS))] = told(
        "server, or process: one process for each request.", "process"
    )
    macros: Macros = Field(
        default={}, description="Macros of this model; they go before those of the file.", examples=[{"context": 8192}]
    )


# -- the file ---------------------------------------------------------------------------------------------------------


class GroupSection(Section):
    """Models that share a machine."""

    swap: Truth = told("One of its models runs at a time.", True)
    exclusive: Truth = told("When one of its models comes, those of other groups go.", True)
    persistent: Truth = told("Other groups cannot make its models go.", True)
    members: NamesOfModels = told("Its models.", ["gpt-oss-20b", "qwen3-coder"])


class OnStartupSection(Section):
    """What is done at the start."""

    preload: NamesOfModels = told("Models that are started with us.", ["qwen3-coder"])


class HooksSection(Section):
    """What is done by itself."""

    on_startup: Annotated[
        OnStartupSection, BeforeValidator(or_nothing, json_schema_input_type=OnStartupSection | None)
    ] = OnStartupSection()  # fmt: skip


GroupHere = Annotated[GroupSection, BeforeValidator(or_nothing, json_schema_input_type=GroupSection | None)]


class RunningFile(SleepingFile, Clocks):
    """What the file says about all models that are run."""

    globalTTL: Annotated[float | None, PlainValidator(_global_ttl), WithJsonSchema(_lasting())] = told(
        "The `ttl` of each model that has none; 0 is never.", 600
    )
    startPort: Annotated[
        int | None,
        PlainValidator(lambda value: None if value is None else whole(1, LAST_PORT, "a port")(value)),
        WithJsonSchema({"type": ["integer", "null"], "minimum": 1, "maximum": LAST_PORT}),
    ] = told("The first port for `${PORT}`; the models that use it get one each.", FIRST_PORT)
    macros: Macros = Field(
        default={},
        description="`${NAME}` in the section of a model. A macro may use those above it.",
        examples=[{"llama": "llama-server --port ${PORT}"}],
    )
    groups: Annotated[
        dict[Annotated[str, PlainValidator(text_like("a name")), WithJsonSchema({"type": "string"})], GroupHere],
        BeforeValidator(or_nothing, json_schema_input_type=dict[str, GroupHere] | None),
    ] = Field(default={}, description="Models that share a machine.", examples=[{"small": {"members": ["a"]}}])
    hooks: Annotated[HooksSection, BeforeValidator(or_nothing, json_schema_input_type=HooksSection | None)] = (
        HooksSection()
    )
    logLevel: Annotated[str | None, PlainValidator(word(LEVELS)), WithJsonSchema(one_of_words(LEVELS))] = told(
        "The least that is written to the log: debug, info, warn or error.", "info"
    )
    logToStdout: Annotated[str | None, PlainValidator(word(STREAMS)), WithJsonSchema(one_of_words(STREAMS))] = told(
        "What is printed: proxy (what we say), upstream (what the servers print), both or none.", "proxy"
    )


def said_in(section: Section, kind: type[Section]) -> Mapping[str, Any]:
    """What is written in a section about how models are run, by key."""
    said = {key: getattr(section, key) for key in kind.model_fields if key in section.model_fields_set}
    load = said.pop("load", None)
    if load is not None:
        said["load"] = (load.stall, load.ceiling) if load.model_fields_set else None
    return said
