"""What may stand in `hangtight.yaml` and in `.qwencoderules`: the sections, their checks, and a schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from hangtight.core.limits import Setting
from hangtight.rules.intents import INTENT, IntentHere
from hangtight.rules.lengths import LONGEST
from hangtight.rules.schema_parts import (
    ADDRESS,
    DAYS,
    JOURNAL,
    LEAST_SAMPLES,
    MOST_SAMPLES,
    NAMES,
    NUMBER,
    OR_AUTO,
    OR_NULL,
    TEXT,
    TRUTH,
    WHOLE,
    Section,
    address,
    days,
    interval,
    journal_or_url,
    limit_of,
    mode_or_total,
    names_of,
    or_nothing,
    place_of_journal,
    positive,
    priority,
    text_like,
    told,
    truth,
    whole,
)
from hangtight.rules.schema_running import RunningFile, RunningModel
from hangtight.rules.schema_serving import ServedFile, ServedModel
from hangtight.rules.settings import FLOORS, PRIORITIES, SAMPLES

NOT_YET: Mapping[str, tuple[str, ...]] = {
    "": (
        "logTimeFormat", "logRequests", "store", "metricsMaxInMemory", "captureBuffer", "ui", "performance", "upstream",
        "profiles", "selectors", "peers", "matrix", "routing",
    ),
    "models": ("compat",),
    "timeouts": ("keepalive", "responseHeader", "tlsHandshake", "expectContinue", "idleConn"),
}  # fmt: skip
"""Keys of later versions, and of llama-swap's configuration, by the section they stand in: allowed, and told about."""


class LimitsSection(Section):
    """Limits in seconds; null is no limit, auto is learned from what was measured."""

    first_token: Annotated[Setting, PlainValidator(limit_of("first_token")), WithJsonSchema(OR_AUTO)] = told(
        "Silence before the first piece.", 60, "auto"
    )
    idle: Annotated[Setting, PlainValidator(limit_of("idle")), WithJsonSchema(OR_AUTO)] = told(
        "Silence in the middle; every piece restarts it.", 45, "auto"
    )
    total: Annotated[Setting, PlainValidator(limit_of("total")), WithJsonSchema(OR_AUTO)] = told(
        "The whole call.", 600, "auto"
    )
    extend_to: Annotated[float | None, PlainValidator(limit_of("extend_to")), WithJsonSchema(OR_NULL)] = told(
        "How far `intent` may move `total` for a model that gets on.", 900
    )
    queue: Annotated[float | None, PlainValidator(limit_of("queue")), WithJsonSchema(OR_NULL)] = told(
        "Waiting for a slot at the gateway.", 300
    )
    load: Annotated[float | None, PlainValidator(limit_of("load")), WithJsonSchema(OR_NULL)] = told(
        "A load that the server shows, without load progress.", 300
    )
    thinking: Annotated[float | None, PlainValidator(limit_of("thinking")), WithJsonSchema(OR_NULL)] = told(
        "Silence while the model reasons.", 300
    )
    unstreamed: Annotated[float | None, PlainValidator(limit_of("unstreamed")), WithJsonSchema(OR_NULL)] = told(
        "An answer of a server that refuses to stream.", 300
    )
    cancel: Annotated[float | None, PlainValidator(limit_of("cancel")), WithJsonSchema(OR_NULL)] = told(
        "From asking a server to stop until it has.", 5
    )
    cold: Annotated[float | None, PlainValidator(limit_of("cold")), WithJsonSchema(OR_NULL)] = told(
        "What the first piece may take longer where a load cannot be seen; null is nothing.", 60
    )


LIMITS = tuple(LimitsSection.model_fields)
LimitsHere = Annotated[LimitsSection, BeforeValidator(or_nothing, json_schema_input_type=LimitsSection | None)]
Interval = Annotated[
    float | None,
    PlainValidator(interval),
    WithJsonSchema({"type": ["number", "null"], "minimum": 0, "maximum": LONGEST}),
]
Length = Annotated[float | None, PlainValidator(limit_of("total of a step")), WithJsonSchema(OR_NULL)]
Names = Annotated[tuple[str, ...] | None, PlainValidator(names_of), WithJsonSchema(NAMES)]


class ModeSection(LimitsSection):
    """The limits of a mode, and the models that it prefers. A bare number is its total."""

    models: Names = told("The first is preferred; the order is the fallback.", ["qwen3-coder", "qwen3:1.7b"])
    intent: IntentHere = INTENT


class TimedModel(Section):
    """The limits of a model, and where it is asked."""

    limits: LimitsHere = LimitsSection()
    heartbeat: Interval = told("How often a sign of life is given; 0 is off.", 15, 0)
    reasons: Annotated[bool | None, PlainValidator(truth), WithJsonSchema(TRUTH)] = told(
        "The model reasons before it answers: `thinking` holds until then.", True
    )
    fallback: Names = told("The models to turn to when this one fails.", ["qwen3:1.7b"])
    proxy: Annotated[str | None, PlainValidator(address), WithJsonSchema(ADDRESS)] = told(
        "The server that has the model.", "http://127.0.0.1:11434"
    )
    intent: IntentHere = INTENT


class ModelSection(RunningModel, ServedModel, TimedModel):
    """What holds for one model, or for all whose names match a key with `*`."""


class JournalSection(Section):
    """The record of generations and decisions. A bare text is its url."""

    url: Annotated[
        str | None, PlainValidator(place_of_journal), WithJsonSchema(JOURNAL)
    ] = told("A path, postgresql://..., or off.", "postgresql://localhost/hangtight", "off")  # fmt: skip
    keep: Annotated[float | None, PlainValidator(days), WithJsonSchema(DAYS)] = told(
        "Days for which a generation is kept; null keeps all.", 30
    )


BareJournal = Annotated[str, WithJsonSchema(JOURNAL)]
Floor = Annotated[float, PlainValidator(positive), WithJsonSchema(NUMBER)]


class FloorsSection(Section):
    """Learned limits never go below these."""

    first_token: Floor = Field(default=FLOORS["first_token"], description="Seconds.", examples=[5])
    idle: Floor = Field(default=FLOORS["idle"], description="Seconds.", examples=[3])
    total: Floor = Field(default=FLOORS["total"], description="Seconds.", examples=[10])


SAMPLES_WANTED = f"a whole number of {LEAST_SAMPLES} or more"


class LearningSection(Section):
    """How limits that are auto are learned."""

    samples: Annotated[
        int, PlainValidator(whole(LEAST_SAMPLES, MOST_SAMPLES, SAMPLES_WANTED)), WithJsonSchema(WHOLE)
    ] = Field(default=SAMPLES, description="Generations needed before anything is said.", examples=[100])  # fmt: skip
    floors: Annotated[FloorsSection, BeforeValidator(or_nothing, json_schema_input_type=FloorsSection | None)] = (
        FloorsSection()
    )


Priority = Annotated[str, PlainValidator(priority), WithJsonSchema({"enum": list(PRIORITIES)})]
Bare = Annotated[float, WithJsonSchema(OR_AUTO)]
ModeHere = Annotated[ModeSection, BeforeValidator(mode_or_total, json_schema_input_type=Bare | ModeSection | None)]
ModelHere = Annotated[ModelSection, BeforeValidator(or_nothing, json_schema_input_type=ModelSection | None)]
Modes = Annotated[dict[str, ModeHere], BeforeValidator(or_nothing, json_schema_input_type=dict[str, ModeHere] | None)]
Models = Annotated[
    dict[str, ModelHere], BeforeValidator(or_nothing, json_schema_input_type=dict[str, ModelHere] | None)
]
Priorities = Annotated[
    dict[str, Priority], BeforeValidator(or_nothing, json_schema_input_type=dict[str, Priority] | None)
]


class Common(Section):
    """What both files may say."""

    limits: LimitsHere = LimitsSection()
    heartbeat: Interval = told("How often a sign of life is given; 0 is off.", 15, 0)
    intent: IntentHere = INTENT
    default_mode: Annotated[
        str | None, PlainValidator(text_like("the name of a mode, or null")), WithJsonSchema(TEXT)
    ] = told("The mode of a call that names none.", "deep")  # fmt: skip
    modes: Modes = Field(
        default={}, description="Modes by name: those shipped, changed, and new ones.", examples=[{"fast": 30}]
    )
    models: Models = Field(
        default={},
        description="Models by name; `*` stands for anything.",
        examples=[{"qwen3*": {"limits": {"idle": 90}}}],
    )
    step_timeout: Length = told("The total of a step that has none of its own.", 300)
    priorities: Priorities = Field(
        default={}, description="Who is given the time that other steps save.", examples=[{"generate": "critical"}]
    )


class ConfigFile(RunningFile, ServedFile, Common):
    """hangtight.yaml: limits and models, all times in seconds."""

    journal: Annotated[
        JournalSection, BeforeValidator(journal_or_url, json_schema_input_type=BareJournal | JournalSection | None)
    ] = JournalSection()  # fmt: skip
    learning: Annotated[LearningSection, BeforeValidator(or_nothing, json_schema_input_type=LearningSection | None)] = (
        LearningSection()
    )
    flows: Annotated[str | None, PlainValidator(text_like("the name of a folder, or null")), WithJsonSchema(TEXT)] = (
        told("The folder of the flows that `hangtight serve` runs.", "flows")
    )


class RulesFile(Common):
    """.qwencoderules: what a project says about time."""

    budgets: Annotated[dict[str, Length], BeforeValidator(or_nothing)] = Field(
        default={}, description="The total by mode.", examples=[{"fast": 30, "deep": 120}]
    )
    preferred_models: Annotated[dict[str, Names], BeforeValidator(or_nothing)] = Field(
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
        "timeouts": parts["TimeoutsSection"],
    }
    for section in (schema, *parts.values()):
        for said in section["properties"].values():
            if said.get("default", 0) is None:  # what is not written is not given; null would be no limit
                del said["default"]
    for place, section in places.items():
        for key in NOT_YET[place]:
            section["properties"][key] = {"description": "Does nothing yet: for a later version.", "x-not-yet": True}
    return schema
