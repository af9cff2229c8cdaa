"""The screen Actions: what there is, an example of each value, and why one is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from keptn_remedy.action import PlannedAction
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.registry import Broken, Entry

DEEPEST = 4
_TEXT = "TEXT"


@dataclass(frozen=True, slots=True)
class ActionView:
    """One action. `example` is its entry of remediation.yaml."""

    name: str
    aliases: Sequence[str]
    kind: str
    is_on: bool
    why_off: str
    origin: str
    description: str
    example: str


def actions(entries: Sequence[Entry], broken: Sequence[Broken]) -> list[ActionView]:
    """Those that are on first, then by name; what can't be used comes last."""
    shown = [_view(entry) for entry in entries]
    shown.sort(key=lambda it: (not it.is_on, it.name))
    return shown + [
        ActionView(it.name, (), "can't be used", False, it.why, it.origin, "", "") for it in broken
    ]


def _view(entry: Entry) -> ActionView:
    kind = "planned: plans, verifies, can be undone"
    if not issubclass(entry.cls, PlannedAction):
        kind = "listens only" if entry.cls.subscriptions else "plain: runs, can't be undone"
    return ActionView(
        name=entry.name,
        aliases=entry.aliases,
        kind=kind,
        is_on=entry.action is not None,
        why_off=entry.off or "",
        origin=entry.origin,
        description=" ".join((entry.cls.__doc__ or "").split()),
        example=example(entry.name, entry.schema()),
    )


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
