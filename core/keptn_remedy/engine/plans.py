"""What an author returned as a plan: it is one, and small enough to be stored whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeGuard

from keptn_remedy.action import Change, PermanentError, Plan
from keptn_remedy.events.bounds import shortened

MAX_CHANGES: Final = 1_000
MAX_NAME_CHARACTERS: Final = 1_024
MAX_NOTE_CHARACTERS: Final = 500
MAX_PLAN_KIB: Final = 1_024


def checked_plan(returned: object) -> Plan:
    """The plan, with notes that are not too long.

    Nothing else is cut: what is stored is what is applied and undone.

    Raises:
        TypeError: it is no plan, or no JSON.
        PermanentError: it is too large.
    """
    if not isinstance(returned, Plan):
        raise TypeError(f"plan returned {type(returned).__name__} instead of a Plan")
    _check_parts(returned)
    if (number := len(returned.changes)) > MAX_CHANGES:
        raise PermanentError(f"the plan has {number:,} changes, and may have {MAX_CHANGES:,}")
    for change in returned.changes:
        # Both are also columns and labels of what is counted for guard-rails.
        if (length := len(f"{change.target}{change.field}")) > MAX_NAME_CHARACTERS:
            name = shortened(str(change.target), 100)
            limit = f"{MAX_NAME_CHARACTERS:,}"
            raise PermanentError(
                f"a target and its field have {length:,} characters, and may have {limit}: {name}"
            )
    plan = _with_short_notes(returned)
    if (size := _size(plan) / 1024) > MAX_PLAN_KIB:
        limit = f"{MAX_PLAN_KIB:,}"
        raise PermanentError(f"the plan takes {size:,.0f} KiB as JSON, and may take {limit}")
    return plan


def _check_parts(plan: Any) -> None:
    for name, kind, of in (("changes", Change, "Change"), ("notes", str, "text")):
        part: Any = getattr(plan, name)
        if not _is_listed(part) or not all(isinstance(each, kind) for each in part):
            raise TypeError(f"the {name} of a plan must be a tuple of {of}")
    if not all(isinstance(change.target, str) for change in plan.changes):
        raise TypeError("the target of a change must be text")


def _is_listed(part: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(part, tuple | list)


def _size(plan: Plan) -> int:
    try:
        return len(plan.to_json())
    except TypeError as error:
        raise TypeError(f"the plan can't be stored as JSON: {error}") from None


def _with_short_notes(plan: Plan) -> Plan:
    if all(len(note) <= MAX_NOTE_CHARACTERS for note in plan.notes):
        return plan
    return replace(plan, notes=tuple(shortened(note, MAX_NOTE_CHARACTERS) for note in plan.notes))
