"""Finds the entry of remediation.yaml that a trigger came from (docs/keptn.md#k37)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from keptn_remedy.action import JSON, PermanentError
from keptn_remedy.events import ActionTriggered
from keptn_remedy.registry import key
from keptn_remedy.remediation.file import FILE, ListedAction, as_map, as_text, entries

_MOST_LISTED: Final = 10

Fetch = Callable[[str, str, str, str, str], Awaitable[bytes | None]]
"""Fetches a resource from Keptn, by project, stage, service, file name and commit.

None: there is no such resource. Raises TemporaryError where Keptn can't be reached.
"""


async def value_of(trigger: ActionTriggered, fetch: Fetch) -> JSON:
    """The value of the entry that the trigger came from; None where the entry has none.

    Raises:
        TemporaryError: the file can't be fetched now.
        PermanentError: there is no file, or not exactly one value that fits the trigger.
    """
    return _chosen(entries(await _fetched(trigger, fetch)), _Sought.by(trigger))


async def _fetched(trigger: ActionTriggered, fetch: Fetch) -> bytes:
    scope = trigger.project, trigger.stage, trigger.service
    content = await fetch(*scope, FILE, trigger.git_commit_id)
    if content is None:
        raise PermanentError(f"there is no {FILE} for {'/'.join(scope)}")
    return content


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
        if len({orjson.dumps(e.value, option=orjson.OPT_SORT_KEYS) for e in narrowed}) == 1:
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
