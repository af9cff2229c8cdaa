"""An entry of remediation.yaml to copy: how it asks for an action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from keptn_remedy.events.cloud_event import is_object

DEEPEST = 4
_TEXT = "TEXT"


def example(name: str, schema: Mapping[str, Any]) -> str:
    """How remediation.yaml asks for the action, with the fields that its value must have."""
    asked: dict[str, Any] = {"action": name, "name": name}
    made = value_of(schema, schema.get("$defs", {}), 0)
    if made is not None and made != {}:
        asked["value"] = made
    return yaml.safe_dump([asked], sort_keys=False, allow_unicode=True)


def value_of(schema: Any, known: Mapping[str, Any], depth: int) -> Any:
    """A value that fits a JSON Schema, as far as people need one to copy."""
    if not is_object(schema) or depth > DEEPEST:
        return None
    for given in ("const", "default"):
        if schema.get(given) is not None:
            return schema[given]
    if found := schema.get("examples") or schema.get("enum"):
        return found[0]
    if "$ref" in schema:
        return value_of(known.get(str(schema["$ref"]).rpartition("/")[2]), known, depth + 1)
    for several in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(several, ()):
            if (made := value_of(each, known, depth + 1)) is not None:
                return made
    return _of_type(schema, known, depth)


def _named(name: str, schema: Any, known: Mapping[str, Any], depth: int) -> Any:
    made = value_of(schema, known, depth)
    return name.upper() if made == _TEXT else made


def _of_type(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {})
        wanted = schema.get("required", ())
        made = {name: _named(name, fields.get(name), known, depth + 1) for name in wanted}
        if not made and isinstance(more := schema.get("additionalProperties"), Mapping):
            made = {"NAME": value_of(more, known, depth + 1)}
        return made
    if kind == "array":
        return [value_of(schema.get("items", {}), known, depth + 1)]
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    plain: dict[Any, Any] = {
        "string": schema.get("title", _TEXT).upper().replace(" ", "_"),
        "integer": int(least) + 1,
        "number": float(least) + 1,
        "boolean": True,
    }
    return plain.get(kind)
