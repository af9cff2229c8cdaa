"""Reads the entries of a remediation.yaml, as the JSON that Keptn makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
import yaml

from keptn_remedy.action import JSON, PermanentError
from keptn_remedy.events.cloud_event import is_array

FILE: Final = "remediation.yaml"
MAX_BYTES: Final = 64_000
# Counted with every alias written out: a short file can stand for a very long one.
MAX_NODES: Final = 20_000
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class ListedAction:
    """One action of a problem type; `index` counts the actions of that type from 0."""

    problem_type: str
    index: int
    action: str
    name: str
    value: JSON

    def __str__(self) -> str:
        return f"{self.action} {self.name!r} ({self.problem_type})"


def entries(content: bytes) -> list[ListedAction]:
    """The entries of a file in the format of any Keptn release; parts in other formats are skipped.

    Raises:
        PermanentError: the file is too large, is not YAML, or has what JSON can't express.
    """
    document = as_map(parsed(content))
    remediations = as_map(document.get("spec", document)).get("remediations")
    return [
        ListedAction(
            problem_type=as_text(remediation.get("problemType", remediation.get("name"))),
            index=index,
            action=as_text(entry.get("action")),
            name=as_text(entry.get("name")),
            value=entry.get("value", entry.get("values")),
        )
        for remediation in map(as_map, _list(remediations))
        for index, entry in enumerate(
            map(as_map, _list(remediation.get("actionsOnOpen", remediation.get("actions"))))
        )
    ]


def as_map(found: Any) -> Mapping[str, Any]:
    """The map; anything else counts as an empty map."""
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _list(found: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", found) if isinstance(found, list) else ()


def as_text(found: Any) -> str:
    """Text without surrounding white space; None as empty text, anything else as JSON."""
    if found is None:
        return ""
    return (found if isinstance(found, str) else orjson.dumps(found).decode()).strip()


def parsed(content: bytes, name: str = FILE) -> JSON:
    """The whole file, as the JSON that Keptn makes of it. `name` is what errors call it.

    Raises:
        PermanentError: the file is too large, is not YAML, or has what JSON can't express.
    """
    if len(content) > MAX_BYTES:
        raise PermanentError(f"{name} has {len(content)} bytes; the limit is {MAX_BYTES}")
    try:
        # The loader in C crashes the process where nesting is too deep.
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        parsed = _Reading().json(node)
        orjson.dumps(parsed)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise PermanentError(f"{name} can't be read: {' '.join(str(error).split())}") from None
    return parsed


class _Reading:
    """Turns YAML into the JSON that Keptn makes of it: keys become text, dates stay text."""

    def __init__(self) -> None:
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def json(self, node: yaml.Node | None) -> JSON:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} items, with aliases written out")
        if isinstance(node, yaml.MappingNode):
            return self._map(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.json(item) for item in node.value]
        return self._scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _map(self, node: yaml.MappingNode) -> dict[str, JSON]:
        own: dict[str, JSON] = {}
        merged: dict[str, JSON] = {}
        for name, item in node.value:
            if name.tag == f"{_TAG}merge":
                found = self.json(item)
                several = found if is_array(found) else [found]
                for each in reversed(several):
                    merged.update(as_map(each))
            else:
                own[str(name.value)] = self.json(item)
        return {**merged, **own}

    def _scalar(self, node: yaml.ScalarNode) -> JSON:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "null":
            return None
        if kind == "bool":
            return self._scalars.construct_yaml_bool(node)
        # Keptn's Go reads 1:30 as text, Python as 90.
        if kind == "int" and ":" not in text:
            return self._scalars.construct_yaml_int(node)
        if kind == "float" and not any(sign in text.lower() for sign in (":", "inf", "nan")):
            return self._scalars.construct_yaml_float(node)
        return text
