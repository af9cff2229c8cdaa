"""A trigger's value as remediation.yaml has it, untouched by what Keptn merges (contract §7.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
import yaml

from keptn_remedy.action import JSON, PermanentError
from keptn_remedy.events import ActionTriggered
from keptn_remedy.events.cloud_event import is_array
from keptn_remedy.registry import key

FILE: Final = "remediation.yaml"
MAX_BYTES: Final = 64_000
# Aliases let a short file stand for a very long one.
MAX_NODES: Final = 20_000
_MOST_TOLD: Final = 10
_TAG: Final = "tag:yaml.org,2002:"

Fetch = Callable[[str, str, str, str, str], Awaitable[bytes | None]]
"""`ControlPlane.resource`: from project, stage, service, name and commit to the content, or None
where there is none. Raises TemporaryError where it can't be learnt.
"""


async def value_of(trigger: ActionTriggered, fetch: Fetch) -> JSON:
    """The value of the entry that the trigger came from; None where the entry has none.

    Raises:
        TemporaryError: the file can't be fetched now.
        PermanentError: there is no file, or no single entry of it fits.
    """
    return _chosen(_entries(await _fetched(trigger, fetch)), _Sought.by(trigger))


async def _fetched(trigger: ActionTriggered, fetch: Fetch) -> bytes:
    scope = trigger.project, trigger.stage, trigger.service
    content = await fetch(*scope, FILE, trigger.git_commit_id)
    if content is None:
        raise PermanentError(f"there is no {FILE} for {'/'.join(scope)}")
    return content


@dataclass(frozen=True, slots=True)
class _Entry:
    """An action that the file lists for a type of problem; `index` counts within that type."""

    problem_type: str
    index: int
    action: str
    name: str
    value: JSON

    def __str__(self) -> str:
        return f"{self.action} {self.name!r} ({self.problem_type})"


@dataclass(frozen=True, slots=True)
class _Sought:
    """What a trigger tells of its entry; `index` is None from the second round on, where Keptn
    freezes it (contract §4.6).
    """

    action: str
    name: str
    problems: tuple[str, ...]
    index: int | None

    @classmethod
    def by(cls, trigger: ActionTriggered) -> _Sought:
        data, problem = trigger.data, trigger.problem
        is_first_round = "evaluation" not in data and "remedy" not in data
        return cls(
            action=trigger.action,
            name=_text(data["action"].get("name")),
            problems=(problem.root_cause, problem.title, "default"),
            index=_index(data.get("get-action")) if is_first_round else None,
        )

    def is_met_by(self, entry: _Entry) -> bool:
        return key(entry.action) == key(self.action) and entry.name == self.name

    def __str__(self) -> str:
        return f"{self.action} {self.name!r}"


def _index(told: Any) -> int | None:
    """Where the entry stands; Keptn tells the next one, as `actionIndex` or `ActionIndex`."""
    fields = {name.lower(): value for name, value in _map(told).items()}
    next_one = fields.get("actionindex")
    return int(next_one) - 1 if isinstance(next_one, int | float) else None


def _chosen(entries: Sequence[_Entry], sought: _Sought) -> JSON:
    fitting = [entry for entry in entries if sought.is_met_by(entry)]
    if not fitting:
        there = ", ".join(map(str, entries[:_MOST_TOLD])) or "nothing"
        raise PermanentError(f"{FILE} has no {sought}; it has {there}")
    for narrowed in (fitting, *_narrowed(fitting, sought)):
        if len({orjson.dumps(e.value, option=orjson.OPT_SORT_KEYS) for e in narrowed}) == 1:
            return narrowed[0].value
    raise PermanentError(
        f"{FILE} has {len(fitting)} entries {sought} with different values;"
        " give each a name of its own"
    )


def _narrowed(fitting: Sequence[_Entry], sought: _Sought) -> Iterator[list[_Entry]]:
    """The entries for the trigger's problem; and the one of these at its index."""
    of_problem = next(filter(None, (_of_type(fitting, p) for p in sought.problems)), list(fitting))
    yield of_problem
    yield [entry for entry in of_problem if entry.index == sought.index]


def _of_type(entries: Sequence[_Entry], problem: str) -> list[_Entry]:
    wanted = problem.strip().casefold()
    return [e for e in entries if wanted and e.problem_type.casefold() == wanted]


def _entries(content: bytes) -> list[_Entry]:
    """What the file lists, in the form of any release: what isn't understood is left out."""
    document = _map(_parsed(content))
    remediations = _map(document.get("spec", document)).get("remediations")
    return [
        _Entry(
            problem_type=_text(remediation.get("problemType", remediation.get("name"))),
            index=index,
            action=_text(entry.get("action")),
            name=_text(entry.get("name")),
            value=entry.get("value", entry.get("values")),
        )
        for remediation in map(_map, _list(remediations))
        for index, entry in enumerate(
            map(_map, _list(remediation.get("actionsOnOpen", remediation.get("actions"))))
        )
    ]


def _map(found: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _list(found: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", found) if isinstance(found, list) else ()


def _text(found: Any) -> str:
    if found is None:
        return ""
    return (found if isinstance(found, str) else orjson.dumps(found).decode()).strip()


def _parsed(content: bytes) -> JSON:
    if len(content) > MAX_BYTES:
        raise PermanentError(f"{FILE} has {len(content)} bytes; {MAX_BYTES} are read at most")
    try:
        # The loader in C would crash the process where nesting is too deep.
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        parsed = _Reading().json(node)
        orjson.dumps(parsed)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise PermanentError(f"{FILE} can't be read: {' '.join(str(error).split())}") from None
    return parsed


class _Reading:
    """Turns YAML into the JSON that Keptn makes of it: names are text, dates stay text."""

    def __init__(self) -> None:
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def json(self, node: yaml.Node | None) -> JSON:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} items")
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
                    merged.update(_map(each))
            else:
                own[str(name.value)] = self.json(item)
        return {**merged, **own}

    def _scalar(self, node: yaml.ScalarNode) -> JSON:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind == "null":
            return None
        if kind == "bool":
            return self._scalars.construct_yaml_bool(node)
        # 1:30 is a text for Go, and 90 for Python.
        if kind == "int" and ":" not in text:
            return self._scalars.construct_yaml_int(node)
        if kind == "float" and not any(sign in text.lower() for sign in (":", "inf", "nan")):
            return self._scalars.construct_yaml_float(node)
        return text
