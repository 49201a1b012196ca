"""What may stand in `hangtight.yaml` about models that sleep by requests to their own server, as llmsnap has it."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from hangtight.errors import SettingsError
from hangtight.rules.running import METHODS, SLEEP_MODES, Errand
from hangtight.rules.schema_parts import (
    NUMBER,
    TRUTH,
    Json,
    Section,
    one_of_words,
    or_macro,
    positive,
    told,
    truth,
    word,
)

KEYS = ("endpoint", "method", "body", "timeout")


def _errands(value: Any) -> tuple[Errand, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise SettingsError("endpoints", value, "a list of requests, each like {endpoint: /sleep, method: POST}")
    return tuple(_errand(place, said) for place, said in enumerate(value, 1))


def _errand(place: int, said: Any) -> Errand:
    def refused(wanted: str) -> SettingsError:
        return SettingsError("endpoints", said, f"a list of requests, and number {place} {wanted}")

    if not isinstance(said, dict) or set(said) - set(KEYS):
        raise refused(f"must have no other keys than {', '.join(KEYS)}")
    path, method, body = said.get("endpoint"), said.get("method") or "POST", said.get("body")
    if not isinstance(path, str) or not re.fullmatch(r"[^\s#]+", path):
        raise refused("must have an `endpoint` that is a path, like /sleep?level=1")
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise refused(f"must have a `method` of {', '.join(METHODS)}")
    if not isinstance(body, str | dict | list | None):
        raise refused("must have a `body` that is text, or what becomes JSON")
    seconds = said.get("timeout")
    try:
        seconds = None if seconds is None else positive(seconds)
    except SettingsError as error:
        raise refused(f"must have a `timeout` that is {error.wanted}") from None
    text = body if isinstance(body, str) else "" if body is None else _as_json(body, refused)
    return Errand(path if path.startswith("/") else f"/{path}", method.upper(), text, seconds)


def _as_json(body: Any, refused: Any) -> str:
    try:
        return json.dumps(body, allow_nan=False)
    except ValueError:  # YAML has a number that is none, and JSON has not
        raise refused("must have a `body` that is text, or what becomes JSON") from None


ENDPOINTS: Json = {
    "type": ["array", "null"],
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "endpoint": {"type": "string", "pattern": r"^[^\s#]+$"},
            "method": {"type": ["string", "null"]},
            "body": {"type": ["string", "object", "array", "null"]},
            "timeout": {"anyOf": [*or_macro(NUMBER)["anyOf"], {"type": "null"}]},
        },
        "required": ["endpoint"],
        "additionalProperties": False,
    },
}
Errands = Annotated[tuple[Errand, ...] | None, PlainValidator(_errands), WithJsonSchema(ENDPOINTS)]
Clock = Annotated[float | None, PlainValidator(positive), WithJsonSchema(or_macro(NUMBER))]


class SleepingFile(Section):
    """What holds for all models that sleep by requests; that of a model goes before it."""

    sleepMode: Annotated[
        str | None, PlainValidator(word(SLEEP_MODES)), WithJsonSchema(one_of_words(SLEEP_MODES))
    ] = told("enable: by `sleepEndpoints`. disable: it is stopped, whatever else is said.", "enable")  # fmt: skip
    sleepRequestTimeout: Clock = told("Seconds for each request of `sleepEndpoints`.", 20)
    wakeRequestTimeout: Clock = told("Seconds for each request of `wakeEndpoints`.", 20)


class SleepingModel(SleepingFile):
    """How one model is put to sleep and woken without a command, and looked at after that."""

    sleepEndpoints: Errands = told(
        "Requests to its server, one after the other, that put it to sleep.", [{"endpoint": "/sleep?level=1"}]
    )
    wakeEndpoints: Errands = told("Those that wake it.", [{"endpoint": "/wake_up"}])
    canary: Annotated[bool | None, PlainValidator(truth), WithJsonSchema(TRUTH)] = told(
        "After a wake it must answer one token as it did after its start, else it is started anew.", True
    )
