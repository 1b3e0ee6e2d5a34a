"""What JSON Schemas of documents are made of."""

from collections.abc import Mapping
from typing import Any, Final

from relayd.core.delivery import State
from relayd.core.hold import Hold
from relayd.core.outcome import Cause, Failure

Schema = Mapping[str, Any]


def ref(name: str) -> Schema:
    """Return the reference to a schema of the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


def document(says: str, properties: Mapping[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object that has all of these keys but the optional ones."""
    return {
        "type": "object",
        "description": says,
        "required": [each for each in properties if each not in optional],
        "properties": dict(properties),
    }


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def by_name(values: Schema, says: str) -> Schema:
    """Return the schema of values by name."""
    return {"type": "object", "additionalProperties": values, "description": says}


def or_null(schema: Schema) -> Schema:
    """Return the schema that takes null, too."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def moment(name: str, says: str, *, never_null: bool = False) -> dict[str, Schema]:
    """Return the two keys of a time: ISO 8601 in UTC, and Unix seconds."""
    text = {"type": "string", "format": "date-time", "description": says}
    seconds = {"type": "number", "description": "The same in Unix seconds."}
    if never_null:
        return {name: text, f"{name}_unix": seconds}
    return {name: or_null(text), f"{name}_unix": or_null(seconds)}


TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
YES_OR_NO: Final[Schema] = {"type": "boolean"}
STATE: Final[Schema] = {"type": "string", "enum": list(map(str, State))}
HOLD: Final[Schema] = {"enum": [*map(str, Hold), None], "description": "Why it is held."}
FAILURE: Final[Schema] = {"enum": [*map(str, Failure), None], "description": "How it failed."}
CAUSE: Final[Schema] = {
    "enum": [*map(str, Cause), *map(str, Failure), None],
    "description": "Why it failed: the failure itself where no more is known.",
}
SUBJECT: Final[Schema] = {
    "type": ["string", "null"],
    "description": "The host, the address and port, or the addresses that this is about.",
}
WORDS: Final[Schema] = list_of(TEXT)
