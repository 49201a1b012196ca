"""What may stand in `hangtight.yaml` about the gateway: how it serves models, and how it treats its clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, WrapValidator

from hangtight.errors import SettingsError
from hangtight.rules.schema_parts import (
    NUMBER,
    OR_NULL,
    TEXT,
    TRUTH,
    Json,
    Section,
    limit_of,
    or_nothing,
    positive,
    text_like,
    told,
    truth,
    whole,
)
from hangtight.rules.schema_shown import ShownModel
from hangtight.rules.serving import BODY, CONNECT, FORMS, HEAD, MANY, PATIENCE, PROXY_SILENCE, CircuitSettings

MOST_AT_ONCE = 1_000_000
MOST_BYTES = 2**40
NAME_OF_ONE = r"^[^*]*[^*\s][^*]*$"
SHOWN = r"^[!-~]+$"
"""A key travels in a header, where white space around it is lost and a line end would begin another header."""
HEADER = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
HEADER_VALUE = r"^[!-~]([ -~]*[!-~])?$"
OF_THE_CONNECTION = (
    "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
)  # fmt: skip
"""Whoever writes these must know where the request ends: that is not for a file to say."""
HOST = r"^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]?)$"
ORIGIN = r"^[a-z][a-z0-9+.-]*://[^/\s*?#@]+$"
FILE = r"^.*\S.*$"
PATH = r"^/[^\s*?#]*\*?$"


# -- checks -----------------------------------------------------------------------------------------------------------


def _texts(pattern: str, wanted: str) -> Callable[[Any], tuple[str, ...] | None]:
    """A list of texts that look like this, each once."""
    looks = re.compile(pattern)

    def check(value: Any) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(one, str) and looks.fullmatch(one) for one in value):
            raise SettingsError("texts", value, wanted)
        return tuple(dict.fromkeys(value))

    return check


def _text_or_texts(pattern: str, wanted: str) -> Callable[[Any], tuple[str, ...] | None]:
    """The same, where one text is a list of one."""
    check = _texts(pattern, wanted)
    return lambda value: check([value] if isinstance(value, str) else value)


def _text(pattern: str, wanted: str) -> Callable[[Any], str]:
    looks = re.compile(pattern)

    def check(value: Any) -> str:
        if isinstance(value, str) and looks.fullmatch(value):
            return value
        raise SettingsError("text", value, wanted)

    return check


def _header(name: Any) -> str:
    if isinstance(name, str) and re.fullmatch(HEADER, name) and name.lower() not in OF_THE_CONNECTION:
        return name
    raise SettingsError("headers", name, "under the name of a header that is not about the connection itself")


def _one_of(*words: str) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if value is None or (isinstance(value, str) and value in words):
            return value
        raise SettingsError("word", value, f"one of {', '.join(words)}")

    return check


def _queue(value: Any) -> int | None:
    """How many may wait; true is a usual number, false is none."""
    if value is None or isinstance(value, bool):
        return None if value is None else MANY * value
    wanted = "a number of requests, 0 or more, or true or false"
    return whole(0, MOST_AT_ONCE, wanted)(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise SettingsError("share", value, "a number above 0, at most 1")
    return float(value)


def _circuit(value: Any, section: Callable[[Any], CircuitSection]) -> CircuitSettings | Literal[False] | None:
    """What comes out is for those who build; the section is for those who read the schema."""
    if value is None or value is False:
        return value
    if value is True:
        return CircuitSettings()
    if not isinstance(value, dict):
        raise SettingsError("circuit", value, "true, false, or keys and values, like {in_a_row: 5}")
    said = section(value).model_dump()
    if said["first"] > said["longest"]:
        raise SettingsError("circuit", value, "open for `first` seconds that are not more than `longest`")
    return CircuitSettings(**said)


# -- for editors ------------------------------------------------------------------------------------------------------


def _list_of(pattern: str) -> Json:
    return {"type": ["array", "null"], "items": {"type": "string", "pattern": pattern}}


def _whole(least: int, most: int) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most}


def _any(*kinds: Json) -> Json:
    return {"anyOf": [*kinds, {"type": "null"}]}


KEY: Json = {"type": ["string", "null"], "pattern": SHOWN}
QUEUE: Json = _any(_whole(0, MOST_AT_ONCE), {"type": "boolean"})
FORM: Json = {"enum": [*FORMS]}
SHARE: Json = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
HEADERS: Json = {
    "type": ["object", "null"],
    "propertyNames": {"pattern": HEADER},
    "additionalProperties": {"type": "string", "pattern": HEADER_VALUE},
}
ROUTES: Json = {"type": ["object", "null"], "propertyNames": {"pattern": PATH}, "additionalProperties": FORM}


# -- models -----------------------------------------------------------------------------------------------------------

Truth = Annotated[bool | None, PlainValidator(truth), WithJsonSchema(TRUTH)]
Queue = Annotated[int | None, PlainValidator(_queue), WithJsonSchema(QUEUE)]
Silence = Annotated[float | None, PlainValidator(limit_of("proxy_silence")), WithJsonSchema(OR_NULL)]
Aliases = Annotated[
    tuple[str, ...] | None,
    PlainValidator(_texts(NAME_OF_ONE, "a list of names, none with *")),
    WithJsonSchema(_list_of(NAME_OF_ONE)),
]
Slots = Annotated[
    int | None,
    PlainValidator(
        lambda value: None if value is None else whole(0, MOST_AT_ONCE, "a number of requests; 0 is no limit")(value)
    ),
    WithJsonSchema(_any(_whole(0, MOST_AT_ONCE))),
]
FormOfModel = Annotated[str | None, PlainValidator(_one_of(*FORMS)), WithJsonSchema({"enum": [*FORMS, None]})]
Form = Annotated[str, PlainValidator(_text("|".join(FORMS), f"one of {', '.join(FORMS)}")), WithJsonSchema(FORM)]
WANTED_KEY = "text without white space, not empty"
Key = Annotated[
    str | None,
    PlainValidator(lambda value: None if value is None else _text(SHOWN, WANTED_KEY)(value)),
    WithJsonSchema(KEY),
]
HeaderName = Annotated[str, PlainValidator(_header), WithJsonSchema({"type": "string"})]
HeaderValue = Annotated[
    str, PlainValidator(_text(HEADER_VALUE, "text on one line, in quotes where it is a number")),
    WithJsonSchema({"type": "string"}),
]  # fmt: skip
Seconds = Annotated[float, PlainValidator(positive), WithJsonSchema(NUMBER)]


class TimeoutsSection(Section):
    """llama-swap's limits of a connection."""

    connect: Seconds = Field(
        default=CONNECT, description="Seconds until the connection to the server stands.", examples=[30]
    )


class ServedModel(ShownModel):
    """How the gateway serves a model."""

    aliases: Aliases = told("Other names of the model.", ["gpt", "default"])
    useModelName: Annotated[
        str | None, PlainValidator(text_like("what its server calls the model")), WithJsonSchema(TEXT)
    ] = told("What the server calls the model.", "qwen3-coder:30b-a3b-q4_K_M")  # fmt: skip
    unlisted: Truth = told("The model is served, but in no list.", True)
    key: Key = told("The key that the server wants; `${env.NAME}` is filled in.", "${env.OPENAI_API_KEY}")
    headers: Annotated[dict[HeaderName, HeaderValue], BeforeValidator(or_nothing), WithJsonSchema(HEADERS)] = Field(
        default={},
        description="Sent to the server with each request; `${env.NAME}` is filled in.",
        examples=[{"X-Team": "${env.TEAM}"}],
    )
    concurrencyLimit: Slots = told("How many requests it works on at once; 0 is no limit.", 8)
    queue: Queue = told(f"How many more may wait; true is {MANY}.", 32, True)
    heartbeat_form: FormOfModel = told("How a heartbeat looks to a waiting client.", "comment")
    proxy_silence: Silence = told("How long a proxy between us and the client endures silence.", 50)
    timeouts: Annotated[TimeoutsSection, BeforeValidator(or_nothing, json_schema_input_type=TimeoutsSection | None)] = (
        TimeoutsSection()
    )


# -- clients ----------------------------------------------------------------------------------------------------------

Most = Annotated[float | None, PlainValidator(limit_of("most")), WithJsonSchema(OR_NULL)]
Bytes = Annotated[
    int, PlainValidator(whole(1, MOST_BYTES, "a number of bytes above 0")), WithJsonSchema(_whole(1, MOST_BYTES))
]
Count = Annotated[
    int,
    PlainValidator(whole(1, MOST_AT_ONCE, "a number of requests above 0")),
    WithJsonSchema(_whole(1, MOST_AT_ONCE)),
]
Path = Annotated[
    str, PlainValidator(_text(PATH, "under a path, like /v1/messages or /v1/*")), WithJsonSchema({"type": "string"})
]


class MostSection(Section):
    """What the headers of a request may give at most."""

    total: Most = told("Seconds, for `X-Hangtight-Total`.", 1800)
    first_token: Most = told("Seconds, for `X-Hangtight-First-Token`.", 600)
    idle: Most = told("Seconds, for `X-Hangtight-Idle`.", 300)


class GatewaySection(Section):
    """Whom the gateway lets in, and how much of him."""

    hosts: Annotated[
        tuple[str, ...] | None,
        PlainValidator(_texts(HOST, "a list of bare names, like models.example.org, without http:// and port")),
        WithJsonSchema(_list_of(HOST)),
    ] = told("Names by which it may be called, besides its own address.", ["models.example.org"])
    origins: Annotated[
        tuple[str, ...] | None,
        PlainValidator(_texts(ORIGIN, "a list of origins, like https://app.example.org, without a path")),
        WithJsonSchema(_list_of(ORIGIN)),
    ] = told("Web pages that may call it.", ["https://app.example.org"])
    body: Bytes = Field(default=BODY, description="Bytes that a request may have.", examples=[BODY])
    headers: Bytes = Field(
        default=HEAD, description="Bytes that the head of a request may have. Read at the start.", examples=[HEAD]
    )
    patience: Seconds = Field(
        default=PATIENCE,
        description="Seconds for a request's head and body to arrive. Read at the start.",
        examples=[30],
    )


class CircuitSection(Section):
    """When an upstream that fails is left alone. Bare true has the defaults, false asks it all the same."""

    in_a_row: Count = Field(default=5, description="Failures one after the other that open it.", examples=[5])
    share: Annotated[float, PlainValidator(_share), WithJsonSchema(SHARE)] = Field(
        default=0.5, description="The share of failures that opens it.", examples=[0.5]
    )
    least: Count = Field(default=10, description="Requests of which the share is counted, at least.", examples=[10])
    window: Seconds = Field(default=60.0, description="Seconds over which the share is counted.", examples=[60])
    first: Seconds = Field(
        default=15.0,
        description="Seconds for which it is open the first time, and twice as long each time after that.",
        examples=[15],
    )
    longest: Seconds = Field(default=300.0, description="Seconds for which it is open at most.", examples=[300])


class ServedFile(Section):
    """What the file says about the gateway as a whole."""

    apiKeys: Annotated[
        tuple[str, ...] | None, PlainValidator(_texts(SHOWN, f"a list of keys, each {WANTED_KEY}")),
        WithJsonSchema(_list_of(SHOWN)),
    ] = told("Keys of which a client must show one; `${env.NAME}` is filled in.", ["${env.GATEWAY_KEY}"])  # fmt: skip
    sendLoadingState: Truth = told("A waiting client is told in the reasoning text how the load gets on.", True)
    includeAliasesInList: Truth = told("Aliases stand in the list of models, too.", True)
    headers: Annotated[
        str | None, PlainValidator(_one_of("raise", "cut")), WithJsonSchema({"enum": ["raise", "cut", None]})
    ] = told("Whether the headers of a request may raise a limit, or only cut it.", "cut")
    most: Annotated[MostSection, BeforeValidator(or_nothing, json_schema_input_type=MostSection | None)] = MostSection()
    proxy_silence: Silence = Field(
        default=PROXY_SILENCE,
        description="How long a proxy between us and the client endures silence; null is for ever.",
        examples=[50],
    )
    routes: Annotated[dict[Path, Form], BeforeValidator(or_nothing), WithJsonSchema(ROUTES)] = Field(
        default={},
        description="How a heartbeat looks, by path.",
        examples=[{"/v1/messages": "ping"}],
    )
    queue: Queue = told(f"How many may wait for a slot of a model; true is {MANY}.", 32, True)
    gateway: Annotated[GatewaySection, BeforeValidator(or_nothing, json_schema_input_type=GatewaySection | None)] = (
        GatewaySection()
    )
    training: Annotated[
        tuple[str, ...] | None,
        PlainValidator(_text_or_texts(FILE, "the path of a status file, or a list of them")),
        WithJsonSchema(
            _any({"type": "string", "pattern": FILE}, {"type": "array", "items": {"type": "string", "pattern": FILE}})
        ),
    ] = told("Status files of training runs, for the dashboard: one path, or a list.", "status/training_status.json")
    circuit: Annotated[
        CircuitSection, WrapValidator(_circuit, json_schema_input_type=bool | CircuitSection | None)
    ] = Field(default=None, description="When an upstream that fails is left alone.", examples=[True, False])  # type: ignore[assignment]  # fmt: skip
