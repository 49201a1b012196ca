"""What may stand in `hangtight.yaml` and in `.qwencoderules`: the sections, their checks, and a schema for editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from hangtight.core.limits import AUTO, LEARNABLE, Setting, checked
from hangtight.errors import SettingsError
from hangtight.rules.intents import INTENT, IntentHere
from hangtight.rules.journals import OFF, WANTED, can_be_a_journal, is_off
from hangtight.rules.lengths import AT_MOST, LONGEST
from hangtight.rules.settings import DAY, FLOORS, PRIORITIES, SAMPLES

LEAST_SAMPLES, MOST_SAMPLES = 20, 1_000_000

SLEEPING = ("cmdSleepTimeout", "cmdWakeTimeout", "sleepRequestTimeout", "wakeRequestTimeout")
SERVING = ("healthCheckTimeout", "unloadTimeout", "sendLoadingState", "macros")
NOT_YET: Mapping[str, tuple[str, ...]] = {
    "": (
        *SLEEPING, *SERVING, "globalTTL", "logLevel", "logTimeFormat", "logToStdout", "logRequests", "store",
        "metricsMaxInMemory", "captureBuffer", "ui", "performance", "startPort", "includeAliasesInList", "apiKeys",
        "upstream", "profiles", "selectors", "hooks", "peers", "groups", "matrix", "routing",
        "headers", "proxy_silence", "routes",
    ),
    "models": (
        *SLEEPING, *SERVING, "cmd", "cmdStop", "checkEndpoint", "ttl", "env", "aliases", "name", "description",
        "unlisted", "useModelName", "metadata", "concurrencyLimit", "filters", "timeouts", "compat", "capabilities",
        "cmdSleep", "cmdWake", "sleepMode", "sleepEndpoints", "wakeEndpoints", "headers", "proxy_silence",
    ),
    "modes": ("queue",),
    "limits": ("queue",),
}  # fmt: skip
"""Keys of later versions, and of llama-swap's configuration, by the section they stand in: allowed, and told about."""

Check = Callable[[Any], Any]
MOST_DAYS = int(LONGEST // DAY)


def _bounded(name: str, value: Any, or_else: str) -> float | None:
    number = checked(name, value)
    if number is not None and number > LONGEST:
        raise SettingsError(name, value, f"{AT_MOST}, {or_else}")
    return number


def _limit(name: str) -> Check:
    learnable = name in LEARNABLE

    def check(value: Any) -> Setting:
        if learnable and value == "auto":
            return AUTO
        try:
            return _bounded(name, value, "or None for no limit")
        except SettingsError as error:
            wanted = error.wanted.replace("None", "null") + (", or auto to have it learned" if learnable else "")
            raise SettingsError(name, value, wanted) from None

    return check


def _interval(value: Any) -> float | None:
    try:
        return _bounded("heartbeat", value, "")
    except SettingsError:
        raise SettingsError("heartbeat", value, f"a number of seconds, {AT_MOST}, or 0 or null for none") from None


def _positive(value: Any) -> float:
    wanted = f"a number of seconds above 0, {AT_MOST}"
    try:
        number = _bounded("floor", value, "")
    except SettingsError:
        raise SettingsError("floor", value, wanted) from None
    if number is None:
        raise SettingsError("floor", value, wanted)
    return number


def _days(value: Any) -> float | None:
    wanted = f"a number of days above 0, at most {MOST_DAYS}, or null to keep all"
    try:
        number = checked("keep", value)
    except SettingsError:
        raise SettingsError("keep", value, wanted) from None
    if number is not None and number > MOST_DAYS:
        raise SettingsError("keep", value, wanted)
    return number


def _samples(value: Any) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not LEAST_SAMPLES <= value <= MOST_SAMPLES:
        raise SettingsError("samples", value, f"a whole number of {LEAST_SAMPLES} or more")
    return int(value)


def _truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise SettingsError("reasons", value, "true or false")


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise SettingsError("models", value, "a list of names of models")
    return tuple(value)


def _text(wanted: str) -> Check:
    def check(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise SettingsError("text", value, wanted)

    return check


def _url(value: Any) -> str | None:
    """An address with a macro in it is one that a later version fills in."""
    if value is None or (isinstance(value, str) and "${" in value):
        return value
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return str(value)
    except ValueError:  # a port or a host that is none
        pass
    raise SettingsError("proxy", value, "the address of a server, like http://127.0.0.1:11434")


def _priority(value: Any) -> str:
    if isinstance(value, str) and value in PRIORITIES:
        return value
    raise SettingsError("priority", value, f"one of {', '.join(PRIORITIES)}")


def _or_nothing(value: Any) -> Any:
    """A section of which every line is commented out."""
    return {} if value is None else value


def _mode(value: Any) -> Any:
    """A bare number is the total."""
    return _or_nothing(value) if value is None or isinstance(value, dict) else {"total": value}


def _journal(value: Any) -> Any:
    return {"url": value} if isinstance(value, str | int | float) else _or_nothing(value)


def _place(value: Any) -> str | None:
    """Where the journal stands; YAML's own no and 0 are words for off too."""
    if value is None:
        return None
    text = OFF if isinstance(value, bool | int | float) and not value else value
    if not isinstance(text, str) or not text.strip() or not can_be_a_journal(text):
        raise SettingsError("journal", value, WANTED)
    return OFF if is_off(text) else text


Json = dict[str, Any]
NUMBER: Json = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST}
OR_NULL: Json = {"anyOf": [NUMBER, {"type": "null"}]}
OR_AUTO: Json = {"anyOf": [NUMBER, {"const": "auto"}, {"type": "null"}]}
DAYS: Json = {"anyOf": [{**NUMBER, "maximum": MOST_DAYS}, {"type": "null"}]}
SAID = r"\S"
TEXT: Json = {"type": ["string", "null"], "pattern": SAID}
NAMES: Json = {"type": ["array", "null"], "items": {"type": "string", "pattern": SAID}}
WHOLE: Json = {"type": "integer", "minimum": LEAST_SAMPLES, "maximum": MOST_SAMPLES}
ADDRESS: Json = {"type": ["string", "null"], "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^/]|\$\{"}
SERVER_OR_PATH = r"^\s*(postgres(ql(\+psycopg)?)?://|(sqlite:///|(?!.*://))(?!(.*/)?(\.{0,2}|~)\s*$))"
JOURNAL: Json = {"anyOf": [{**TEXT, "pattern": SERVER_OR_PATH}, {"enum": [False, 0]}]}


def _told(description: str, *examples: Any) -> Any:
    return Field(default=None, description=description, examples=list(examples))


class Section(BaseModel):
    """Keys and values; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsSection(Section):
    """Limits in seconds; null is no limit, auto is learned from what was measured."""

    first_token: Annotated[Setting, PlainValidator(_limit("first_token")), WithJsonSchema(OR_AUTO)] = _told(
        "Silence before the first piece.", 60, "auto"
    )
    idle: Annotated[Setting, PlainValidator(_limit("idle")), WithJsonSchema(OR_AUTO)] = _told(
        "Silence in the middle; every piece restarts it.", 45, "auto"
    )
    total: Annotated[Setting, PlainValidator(_limit("total")), WithJsonSchema(OR_AUTO)] = _told(
        "The whole call.", 600, "auto"
    )
    extend_to: Annotated[float | None, PlainValidator(_limit("extend_to")), WithJsonSchema(OR_NULL)] = _told(
        "How far `intent` may move `total` for a model that gets on.", 900
    )
    load: Annotated[float | None, PlainValidator(_limit("load")), WithJsonSchema(OR_NULL)] = _told(
        "A load that the server shows, without load progress.", 300
    )
    thinking: Annotated[float | None, PlainValidator(_limit("thinking")), WithJsonSchema(OR_NULL)] = _told(
        "Silence while the model reasons.", 300
    )
    unstreamed: Annotated[float | None, PlainValidator(_limit("unstreamed")), WithJsonSchema(OR_NULL)] = _told(
        "An answer of a server that refuses to stream.", 300
    )
    cancel: Annotated[float | None, PlainValidator(_limit("cancel")), WithJsonSchema(OR_NULL)] = _told(
        "From asking a server to stop until it has.", 5
    )
    cold: Annotated[float | None, PlainValidator(_limit("cold")), WithJsonSchema(OR_NULL)] = _told(
        "What the first piece may take longer where a load cannot be seen; null is nothing.", 60
    )


LIMITS = tuple(LimitsSection.model_fields)
LimitsHere = Annotated[LimitsSection, BeforeValidator(_or_nothing, json_schema_input_type=LimitsSection | None)]
Interval = Annotated[
    float | None,
    PlainValidator(_interval),
    WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": LONGEST}),
]
Length = Annotated[float | None, PlainValidator(_limit("total of a step")), WithJsonSchema(OR_NULL)]
Names = Annotated[tuple[str, ...] | None, PlainValidator(_names), WithJsonSchema(NAMES)]


class ModeSection(LimitsSection):
    """The limits of a mode, and the models that it prefers. A bare number is its total."""

    models: Names = _told("The first is preferred; the order is the fallback.", ["qwen3-coder", "qwen3:1.7b"])
    intent: IntentHere = INTENT


class ModelSection(Section):
    """What holds for one model, or for all whose names match a key with `*`."""

    limits: LimitsHere = LimitsSection()
    heartbeat: Interval = _told("How often a sign of life is given; 0 is off.", 15, 0)
    reasons: Annotated[bool | None, PlainValidator(_truth), WithJsonSchema({"type": ["boolean", "null"]})] = _told(
        "The model reasons before it answers: `thinking` holds until then.", True
    )
    fallback: Names = _told("The models to turn to when this one fails.", ["qwen3:1.7b"])
    proxy: Annotated[str | None, PlainValidator(_url), WithJsonSchema(ADDRESS)] = _told(
        "The server that has the model.", "http://127.0.0.1:11434"
    )
    intent: IntentHere = INTENT


class JournalSection(Section):
    """The record of generations and decisions. A bare text is its url."""

    url: Annotated[
        str | None, PlainValidator(_place), WithJsonSchema(JOURNAL)
    ] = _told("A path, postgresql://..., or off.", "postgresql://localhost/hangtight", "off")  # fmt: skip
    keep: Annotated[float | None, PlainValidator(_days), WithJsonSchema(DAYS)] = _told(
        "Days for which a generation is kept; null keeps all.", 30
    )


BareJournal = Annotated[str, WithJsonSchema(JOURNAL)]
Floor = Annotated[float, PlainValidator(_positive), WithJsonSchema(NUMBER)]


class FloorsSection(Section):
    """Learned limits never go below these."""

    first_token: Floor = Field(default=FLOORS["first_token"], description="Seconds.", examples=[5])
    idle: Floor = Field(default=FLOORS["idle"], description="Seconds.", examples=[3])
    total: Floor = Field(default=FLOORS["total"], description="Seconds.", examples=[10])


class LearningSection(Section):
    """How limits that are auto are learned."""

    samples: Annotated[
        int, PlainValidator(_samples), WithJsonSchema(WHOLE)
    ] = Field(default=SAMPLES, description="Generations needed before anything is said.", examples=[100])  # fmt: skip
    floors: Annotated[FloorsSection, BeforeValidator(_or_nothing, json_schema_input_type=FloorsSection | None)] = (
        FloorsSection()
    )


Priority = Annotated[str, PlainValidator(_priority), WithJsonSchema({"enum": list(PRIORITIES)})]
Bare = Annotated[float, WithJsonSchema(OR_AUTO)]
ModeHere = Annotated[ModeSection, BeforeValidator(_mode, json_schema_input_type=Bare | ModeSection | None)]
ModelHere = Annotated[ModelSection, BeforeValidator(_or_nothing, json_schema_input_type=ModelSection | None)]
Modes = Annotated[dict[str, ModeHere], BeforeValidator(_or_nothing, json_schema_input_type=dict[str, ModeHere] | None)]
Models = Annotated[
    dict[str, ModelHere], BeforeValidator(_or_nothing, json_schema_input_type=dict[str, ModelHere] | None)
]
Priorities = Annotated[
    dict[str, Priority], BeforeValidator(_or_nothing, json_schema_input_type=dict[str, Priority] | None)
]


class Common(Section):
    """What both files may say."""

    limits: LimitsHere = LimitsSection()
    heartbeat: Interval = _told("How often a sign of life is given; 0 is off.", 15, 0)
    intent: IntentHere = INTENT
    default_mode: Annotated[
        str | None, PlainValidator(_text("the name of a mode, or null")), WithJsonSchema(TEXT)
    ] = _told("The mode of a call that names none.", "deep")  # fmt: skip
    modes: Modes = Field(
        default={}, description="Modes by name: those shipped, changed, and new ones.", examples=[{"fast": 30}]
    )
    models: Models = Field(
        default={},
        description="Models by name; `*` stands for anything.",
        examples=[{"qwen3*": {"limits": {"idle": 90}}}],
    )
    step_timeout: Length = _told("The total of a step that has none of its own.", 300)
    priorities: Priorities = Field(
        default={}, description="Who is given the time that other steps save.", examples=[{"generate": "critical"}]
    )


class ConfigFile(Common):
    """hangtight.yaml: limits and models, all times in seconds."""

    journal: Annotated[
        JournalSection, BeforeValidator(_journal, json_schema_input_type=BareJournal | JournalSection | None)
    ] = JournalSection()  # fmt: skip
    learning: Annotated[
        LearningSection, BeforeValidator(_or_nothing, json_schema_input_type=LearningSection | None)
    ] = LearningSection()


class RulesFile(Common):
    """.qwencoderules: what a project says about time."""

    budgets: Annotated[dict[str, Length], BeforeValidator(_or_nothing)] = Field(
        default={}, description="The total by mode.", examples=[{"fast": 30, "deep": 120}]
    )
    preferred_models: Annotated[dict[str, Names], BeforeValidator(_or_nothing)] = Field(
        default={}, description="The models by mode; the order is the fallback.", examples=[{"fast": ["qwen3:1.7b"]}]
    )


def json_schema() -> dict[str, Any]:
    """The schema of hangtight.yaml, for editors. Keys of later versions are in it, and say so."""
    schema = ConfigFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    parts = schema["$defs"]
    places = {
        "": schema,
        "models": parts["ModelSection"],
        "modes": parts["ModeSection"],
        "limits": parts["LimitsSection"],
    }
    for section in (schema, *parts.values()):
        for said in section["properties"].values():
            if said.get("default", 0) is None:  # what is not written is not given; null would be no limit
                del said["default"]
    for place, section in places.items():
        for key in NOT_YET[place]:
            section["properties"][key] = {"description": "Does nothing yet: for a later version.", "x-not-yet": True}
    return schema
