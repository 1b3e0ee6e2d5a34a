"""The JSON Schema of the configuration file, for editors that complete and check YAML."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from relayd.config.models import File
from relayd.config.shape import NOTHING_MEANS_ABSENT

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _FileSchema(GenerateJsonSchema):
    """Says what the file may hold: most optional keys may be absent, but never null."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # A section's would be told as one of nulls, which the file may not hold.
        if isinstance(schema.get("default"), BaseModel | None):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        described = super().dict_schema(schema)
        if "patternProperties" in described:
            described["additionalProperties"] = False
        return described

    def generate(
        self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation"
    ) -> JsonSchemaValue:
        generated = super().generate(schema, mode)
        for section in (generated, *generated["$defs"].values()):
            properties = section["properties"]
            for key in properties.keys() & NOTHING_MEANS_ABSENT:
                properties[key] = _or_nothing(properties[key])
        return {"$schema": DIALECT, **generated, "title": "relayd's configuration"}


def _or_nothing(described: JsonSchemaValue) -> JsonSchemaValue:
    """Allow a section whose every line is commented out."""
    outside: dict[str, Any] = {
        key: described.pop(key) for key in ("title", "description") if key in described
    }
    return {**outside, "anyOf": [described, {"type": "null"}]}


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of the file's shape. What needs more is `check`'s."""
    return File.model_json_schema(schema_generator=_FileSchema)
