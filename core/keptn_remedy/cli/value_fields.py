"""What the `value:` of an action may hold: its JSON schema in words, and its fields in rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import orjson

Schema = Mapping[str, Any]
_PLAIN = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "null": "null",
}


class Field(NamedTuple):
    """One field; those of a map within the value are called `outer.inner`."""

    name: str
    types: str
    default: str
    description: str


def in_words(schema: Schema) -> str:
    """The types that the value may have, such as `whole number, text or map`."""
    return _or(_types(schema, schema))


def fields(schema: Schema) -> list[Field]:
    """The fields of the value where it is a map, the required ones first; what is within a field
    stands below it.
    """
    found = dict.fromkeys(_fields(schema, schema, "", ()))
    required = {field.name for field in found if field.default == "required"}
    return sorted(found, key=lambda field: _outer(field.name) not in required)


def _outer(name: str) -> str:
    """The field of the value itself in which a field is."""
    found = re.match(r"(\[\]\.)?[^.\[]*", name)
    return found[0] if found else name


def _fields(schema: Schema, root: Schema, prefix: str, within: Sequence[Schema]) -> Iterator[Field]:
    for variant in _variants(schema, root):
        if variant.get("type") == "array" and isinstance(variant.get("items"), dict):
            yield from _fields(variant["items"], root, f"{prefix}[]", within)
        if variant in within:
            continue  # a model that holds itself
        required = variant.get("required", ())
        for key, field in variant.get("properties", {}).items():
            name = f"{prefix}.{key}" if prefix else key
            default = "required" if key in required else _default(field)
            yield Field(name, _type_of_field(field, root), default, field.get("description", ""))
            yield from _fields(field, root, name, [*within, variant])


def _type_of_field(field: Schema, root: Schema) -> str:
    """Without the null that stands for leaving it out."""
    types = _types(field, root)
    optional = field.get("default", ...) is None
    return _or([words for words in types if words != "null" or not optional])


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default is None else _json(default)


def _variants(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The alternatives that a schema allows, without references."""
    if isinstance(reference := schema.get("$ref"), str):
        schema = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
    alternatives = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if schema.get(key)), ())
    if not alternatives:
        yield schema
    for alternative in alternatives:
        yield from _variants(alternative, root)


def _types(schema: Schema, root: Schema) -> list[str]:
    """In words, each once, maps and lists last."""
    found = [words for variant in _variants(schema, root) for words in _words(variant, root)]
    if "number" in found:
        found = [words for words in found if words != "whole number"]
    return sorted(dict.fromkeys(found), key=lambda words: words.startswith(("list", "map")))


def _words(schema: Schema, root: Schema) -> list[str]:
    if "const" in schema:
        return [_json(schema["const"])]
    if "enum" in schema:
        return list(map(_json, schema["enum"]))
    kinds = schema.get("type", "any value")
    listed = [kinds] if isinstance(kinds, str) else kinds
    return [words for kind in listed for words in _of_kind(kind, schema, root)]


def _of_kind(kind: str, schema: Schema, root: Schema) -> list[str]:
    match kind:
        case "boolean":
            return ["true", "false"]
        case "array":
            return [_collection("list", schema.get("items"), root)]
        case "object":
            return [_collection("map", schema.get("additionalProperties"), root)]
        case _:
            return [_PLAIN.get(kind, kind) + _limits(schema)]


def _collection(name: str, held: Any, root: Schema) -> str:
    if not isinstance(held, dict) or not held:
        return name
    return f"{name} of {_plural(_or(_types(cast('Schema', held), root)))}"


def _plural(words: str) -> str:
    return re.sub(r"\b(number|list|map)\b", r"\1s", words)


def _limits(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f" from {least} up"
    if most is not None:
        return f" up to {most}"
    return f" ({schema['format']})" if "format" in schema else ""


def _or(words: Sequence[str]) -> str:
    *others, last = words or ["any value"]
    comma = "," if " of " in last else ""
    return f"{', '.join(others)}{comma} or {last}" if others else last


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
