"""`intent` as it stands in a file: true, false, or a section. Its checks are those of `core.intents`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, WrapValidator

from hangtight.core.intents import RUNGS, Intent
from hangtight.errors import SettingsError

WANTED = f"true, false, or keys and values, like {{shorten: true, ladder: [{', '.join(RUNGS)}]}}"
LADDERS = [list(rungs) for count in range(len(RUNGS) + 1) for rungs in combinations(RUNGS, count)]
LADDER = {"type": "array", "items": {"enum": list(RUNGS)}, "enum": LADDERS}


def _one(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        try:
            return getattr(Intent.of({name: value}), name)
        except SettingsError as error:
            wanted = error.wanted.removesuffix(f" for {name}").replace(f" for {name}:", ":")
            raise SettingsError(name, value, wanted.replace("True or False", "true or false")) from None

    return check


class IntentSection(BaseModel):
    """What may be done for what the text shows. Bare true has the defaults, false is nothing at all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shorten: Annotated[bool, PlainValidator(_one("shorten")), WithJsonSchema({"type": "boolean"})] = Field(
        default=False, description="What remains is halved where the model seems to be stuck.", examples=[True]
    )
    ladder: Annotated[tuple[str, ...], PlainValidator(_one("ladder")), WithJsonSchema(LADDER)] = Field(
        default=RUNGS,
        description="What is done about a loop, in this order; without the last three it ends nothing.",
        examples=[["notify", "cut"]],
    )


def _intent(value: Any, section: Callable[[Any], IntentSection]) -> Intent | None:
    """A section of which every line is commented out says nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return Intent.of(value)
    if not isinstance(value, dict):
        raise SettingsError("intent", value, WANTED)
    said = section(value)
    return Intent(shorten=said.shorten, ladder=said.ladder)


IntentHere = Annotated[IntentSection, WrapValidator(_intent, json_schema_input_type=bool | IntentSection | None)]
"""What comes out is an `Intent` or None; the section is for those who read the schema."""
INTENT: Any = Field(
    default=None, description="Whether what the model writes moves its deadline.", examples=[True, False]
)
