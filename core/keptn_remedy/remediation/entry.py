"""Finds the entry of remediation.yaml that a trigger came from (docs/keptn.md#k37)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from keptn_remedy.action import JSON, PermanentError, TemporaryError
from keptn_remedy.events import ACTION, ActionTriggered
from keptn_remedy.registry import key
from keptn_remedy.remediation.file import FILE, ListedAction, as_map, as_text, entries

_MOST_LISTED: Final = 10
_MOST_SHOWN: Final = 200
_NEWEST: Final = ""

Fetch = Callable[[str, str, str, str, str], Awaitable[bytes | None]]
"""Fetches a file of a service from Keptn, by project, stage, service, name and commit.

None: there is no such resource. Raises TemporaryError where Keptn can't be reached.
"""


async def value_of(trigger: ActionTriggered, fetch: Fetch) -> tuple[JSON, tuple[str, ...]]:
    """The value of the entry that the trigger came from, None where the entry has none; and a note
    where it was another one at the sequence's commit.

    It is that of the newest file, from which Keptn took the action (docs/keptn.md#k37). Of other
    tasks the file says nothing.

    Raises:
        TemporaryError: the file can't be fetched now.
        PermanentError: there is no file, or not exactly one value that fits the trigger.
    """
    if trigger.task != ACTION:
        return trigger.value, ()
    sought = _Sought.by(trigger)
    value = await _value_at(trigger, _NEWEST, sought, fetch)
    commit = trigger.git_commit_id
    return value, await _difference(trigger, commit, sought, value, fetch) if commit else ()


async def _difference(
    trigger: ActionTriggered, commit: str, sought: _Sought, value: JSON, fetch: Fetch
) -> tuple[str, ...]:
    try:
        earlier = await _value_at(trigger, commit, sought, fetch)
    except TemporaryError:
        return ()
    except PermanentError as error:
        was = str(error)
    else:
        if _written(earlier) == _written(value):
            return ()
        was = f"the value was {_written(earlier).decode()[:_MOST_SHOWN]}"
    return (f"{FILE} has changed since the sequence began: at commit {commit[:12]} {was}",)


async def _value_at(trigger: ActionTriggered, commit: str, sought: _Sought, fetch: Fetch) -> JSON:
    scope = trigger.project, trigger.stage, trigger.service
    content = await fetch(*scope, FILE, commit)
    if content is None:
        raise PermanentError(f"there is no {FILE} for {'/'.join(scope)}")
    return _chosen(entries(content), sought)


@dataclass(frozen=True, slots=True)
class _Sought:
    """What a trigger says about its entry.

    `index` is None from the second round on, where Keptn sends a stale one (docs/keptn.md#k23).
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
            name=as_text(data["action"].get("name")),
            problems=(problem.root_cause, problem.title, "default"),
            index=_index(data.get("get-action")) if is_first_round else None,
        )

    def is_met_by(self, entry: ListedAction) -> bool:
        return key(entry.action) == key(self.action) and entry.name == self.name

    def __str__(self) -> str:
        return f"{self.action} {self.name!r}"


def _index(sent: Any) -> int | None:
    """The index of the entry; Keptn sends that of the next, as `actionIndex` or `ActionIndex`."""
    fields = {name.lower(): value for name, value in as_map(sent).items()}
    next_one = fields.get("actionindex")
    return int(next_one) - 1 if isinstance(next_one, int | float) else None


def _chosen(listed: Sequence[ListedAction], sought: _Sought) -> JSON:
    fitting = [entry for entry in listed if sought.is_met_by(entry)]
    if not fitting:
        there = ", ".join(map(str, listed[:_MOST_LISTED])) or "nothing"
        raise PermanentError(f"{FILE} has no entry {sought}; it has {there}")
    for narrowed in (fitting, *_narrowed(fitting, sought)):
        if len({_written(entry.value) for entry in narrowed}) == 1:
            return narrowed[0].value
    raise PermanentError(
        f"{FILE} has {len(fitting)} entries {sought} with different values;"
        " give each a name of its own"
    )


def _narrowed(fitting: Sequence[ListedAction], sought: _Sought) -> Iterator[list[ListedAction]]:
    """First the entries of the trigger's problem type, then the one of these at its index."""
    of_problem = next(filter(None, (_of_type(fitting, p) for p in sought.problems)), list(fitting))
    yield of_problem
    yield [entry for entry in of_problem if entry.index == sought.index]


def _of_type(entries: Sequence[ListedAction], problem: str) -> list[ListedAction]:
    wanted = problem.strip().casefold()
    return [e for e in entries if wanted and e.problem_type.casefold() == wanted]


def _written(value: JSON) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
