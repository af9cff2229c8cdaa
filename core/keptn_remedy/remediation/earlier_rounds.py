"""Drops from a trigger's value what earlier rounds of its Keptn context left in it.

Keptn merges the data of all rounds (docs/keptn.md#k23). The trigger of a later round has the value
of its own remediation entry, merged into the values of earlier entries, and the `remedy.execution`
that we sent. docs/decisions/0010 says when an item counts as left over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from keptn_remedy.action import JSON
from keptn_remedy.events import ActionTriggered
from keptn_remedy.events.cloud_event import is_array, is_object
from keptn_remedy.registry import Entry

# A remediation that repeats one action for days. After so many rounds the value stays as it came.
MAX_ROUNDS: Final = 1_000
_NOTHING: Final = object()

Find = Callable[[str], Awaitable[ActionTriggered | None]]
"""Returns the trigger of an execution by id, None if it is unknown: `journal.trigger`."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A value without its leftovers, and the paths of those."""

    value: JSON
    dropped: tuple[str, ...] = ()


async def without_leftovers(
    trigger: ActionTriggered, entry: Entry, find: Find
) -> tuple[JSON, tuple[str, ...]]:
    """The trigger's value without leftovers, and a note for each of these.

    A round with the same action and value as the round before it has the same leftovers, so it is
    compared with the newest round that differs.
    """
    latest = trigger
    for _ in range(MAX_ROUNDS):
        earlier = await _round_before(latest, find)
        if earlier is None:
            break
        same_action = entry.goes_by(earlier.action)
        if not (same_action and _same(latest.value, earlier.value)):
            found = cleaned(
                latest.value,
                earlier.value,
                same_action=same_action,
                parameters=_parameters(entry),
            )
            return found.value, tuple(_note(name, earlier) for name in found.dropped)
        latest = earlier
    return trigger.value, ()


def cleaned(
    value: JSON,
    earlier: JSON,
    *,
    same_action: bool,
    parameters: frozenset[str] = frozenset(),
) -> Cleaned:
    """The value without what it has in common with the value of the round before.

    It stays as it is where the same action asks for nothing new: that is a repeated request.
    `parameters` stay as well: they say how and where to act, not what to do. From Keptn 0.14 on,
    numbers and booleans keep their oldest value in a merge: an equal one may stand for any other,
    so it is dropped, too.
    """
    once_more = same_action and not _has_news(value, earlier)
    comparison = _Comparison(keeps_same=once_more, parameters=parameters)
    left = comparison.left(value, earlier)
    return Cleaned(None if left is _NOTHING else left, tuple(comparison.dropped))


async def _round_before(trigger: ActionTriggered, find: Find) -> ActionTriggered | None:
    """The trigger of our previous execution in this context; None in a first round."""
    execution = _execution_before(trigger)
    earlier = await find(execution) if execution else None
    if earlier and earlier.id != trigger.id and _scope(earlier) == _scope(trigger):
        return earlier
    return None


def _execution_before(trigger: ActionTriggered) -> str:
    # Most triggers are of a first round. This saves decoding their body again.
    if trigger.value is None or not trigger.may_hold_answers:
        return ""
    sent = trigger.data.get("remedy")
    execution = sent.get("execution") if is_object(sent) else None
    return execution if isinstance(execution, str) else ""


def _scope(trigger: ActionTriggered) -> tuple[str, ...]:
    return trigger.context, trigger.project, trigger.stage, trigger.service


def _note(name: str, earlier: ActionTriggered) -> str:
    return f"{name}: left over from the round before (execution {earlier.id}), ignored"


@dataclass(slots=True)
class _Comparison:
    """Compares a value with an earlier round's, and notes the paths that it drops."""

    keeps_same: bool
    parameters: frozenset[str]
    dropped: list[str] = field(default_factory=list[str])

    def left(self, value: JSON, earlier: JSON) -> JSON:
        """What is not left over; `_NOTHING` where all of it is."""
        if is_object(value) and is_object(earlier):
            return self._map(value, earlier)
        return self._item(value, earlier)

    def _map(self, value: Mapping[str, JSON], earlier: Mapping[str, JSON], path: str = "") -> JSON:
        left: dict[str, JSON] = {}
        for key, item in value.items():
            rest = item
            if key in earlier and not self._is_parameter(key, item, earlier[key], path):
                rest = self._item(item, earlier[key], f"{path}.{key}" if path else key)
            if rest is not _NOTHING:
                left[key] = rest
        return left if left or not value else _NOTHING

    def _is_parameter(self, key: str, item: JSON, earlier: JSON, path: str) -> bool:
        return not path and key in self.parameters and _same(item, earlier)

    def _item(self, value: JSON, earlier: JSON, path: str = "") -> JSON:
        if _same(value, earlier):
            return value if self.keeps_same else self._drop(path or "value")
        if is_object(value) and is_object(earlier):
            return self._map(value, earlier, path)
        if is_array(value) and is_array(earlier):
            return self._list(value, earlier, path)
        return value

    def _list(self, value: list[JSON], earlier: list[JSON], path: str) -> JSON:
        own = _own(value, earlier)
        if len(own) < len(value):
            self._drop(f"{len(earlier)} of the {len(value)} entries of {path or 'value'}")
        return own

    def _drop(self, name: str) -> object:
        self.dropped.append(name)
        return _NOTHING


def _own(value: list[JSON], earlier: list[JSON]) -> list[JSON]:
    """The list without the earlier one, which Keptn puts after (0.14: before) the new items."""
    own = len(value) - len(earlier)
    if own <= 0 or not earlier:
        return value
    if _same(value[own:], earlier):
        return value[:own]
    return value[len(earlier) :] if _same(value[: len(earlier)], earlier) else value


def _has_news(value: JSON, earlier: JSON) -> bool:
    """Whether the value asks for something that the earlier one did not."""
    if is_object(value) and is_object(earlier):
        return any(k not in earlier or _has_news(item, earlier[k]) for k, item in value.items())
    if is_array(value) and is_array(earlier):
        own = _own(value, earlier)
        return not (_same(own, earlier[: len(own)]) or _same(own, earlier[-len(own) :]))
    return not _same(value, earlier)


def _same(value: JSON, other: JSON) -> bool:
    """Whether both are the same JSON; `==` would not do, as in Python True equals 1."""
    return _written(value) == _written(other)


def _written(value: JSON) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _parameters(entry: Entry) -> frozenset[str]:
    """The field names that the action's `Value` declares, mostly those of targets and limits."""
    schema = entry.schema()
    return frozenset(_properties(schema, schema.get("$defs", {})))


def _properties(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    if reference := schema.get("$ref"):
        schema = definitions[reference.rpartition("/")[2]]
    yield from schema.get("properties", ())
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _properties(part, definitions)
