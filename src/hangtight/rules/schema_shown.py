"""What may stand in `hangtight.yaml` about how a model is shown to clients, and what of their requests is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from hangtight.errors import SettingsError
from hangtight.rules.schema_parts import TEXT, TRUTH, Json, Section, or_nothing, text_like, told, truth


def _mapping(value: Any) -> Mapping[str, Any] | None:
    if value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return value
    raise SettingsError("mapping", value, "keys and values")


def _mapping_of_mappings(value: Any) -> Mapping[str, Mapping[str, Any]] | None:
    if value is None:
        return None
    if isinstance(value, dict) and all(isinstance(one, dict | None) for one in value.values()):
        return {key: one or {} for key, one in value.items()}
    raise SettingsError("mapping", value, "names of the model, and for each keys and values")


def _parameters(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SettingsError("stripParams", value, "names with commas between them, as one text")
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


FREE: Json = {"type": ["object", "null"]}
Free = Annotated[Mapping[str, Any] | None, PlainValidator(_mapping), WithJsonSchema(FREE)]
Truth = Annotated[bool | None, PlainValidator(truth), WithJsonSchema(TRUTH)]


class FiltersSection(Section):
    """What of a request is changed on its way; `model` never is."""

    stripParams: Annotated[
        tuple[str, ...] | None, PlainValidator(_parameters), WithJsonSchema({"type": ["string", "null"]})
    ] = told("Parameters that are taken out of a request, with commas between.", "temperature, top_p")  # fmt: skip
    setParams: Free = told("Parameters that each request gets.", {"temperature": 0.7})
    setParamsByID: Annotated[
        Mapping[str, Mapping[str, Any]] | None,
        PlainValidator(_mapping_of_mappings),
        WithJsonSchema({**FREE, "additionalProperties": {"type": ["object", "null"]}}),
    ] = told(
        "More of them by the name under which the model is asked; each name is an alias.",
        {"${MODEL_ID}:high": {"reasoning_effort": "high"}},
    )


class ShownModel(Section):
    """How clients see a model."""

    name: Annotated[str | None, PlainValidator(text_like("a name to be shown")), WithJsonSchema(TEXT)] = told(
        "Its name in the list of models, beside the one by which it is asked.", "GPT-OSS 20B"
    )
    description: Annotated[str | None, PlainValidator(text_like("text")), WithJsonSchema(TEXT)] = told(
        "Its description in the list of models.", "A model that thinks."
    )
    metadata: Free = told("Whatever you like; it is shown in the list of models.", {"context": 8192})
    capabilities: Free = told("What it can do; it is shown in the list of models.", {"vision": True})
    sendLoadingState: Truth = told("A waiting client is told in the reasoning text how the load gets on.", True)
    filters: Annotated[FiltersSection, BeforeValidator(or_nothing, json_schema_input_type=FiltersSection | None)] = (
        FiltersSection()
    )


def shown_in(section: ShownModel) -> dict[str, Any]:
    """What is written about it, by key; what stands in a section of it under its own key."""
    said = {key: getattr(section, key) for key in ShownModel.model_fields if key in section.model_fields_set}
    filters = said.pop("filters", None)
    if filters is not None:
        said |= {key: getattr(filters, key) for key in type(filters).model_fields if key in filters.model_fields_set}
    return said
