"""What an action's class declares about itself, also where the declaration can't be read."""

from __future__ import annotations

from keptn_remedy.action import AnyAction
from keptn_remedy.engine.runtime import text_of
from keptn_remedy.support import logs


def may_be_repeated(action: AnyAction) -> bool:
    """Whether a run that may have had its effect may be repeated. Planned actions always may."""
    return _flag(action, "idempotent", if_unknown=False)


def undoes_failures(action: AnyAction) -> bool:
    """Whether the action wants its `undo` called after a failure."""
    return _flag(action, "undo_on_failed_verification", if_unknown=True)


def undoes_aborted(action: AnyAction) -> bool:
    """Whether the action wants its `undo` called after Keptn has aborted its sequence."""
    return _flag(action, "undo_when_aborted", if_unknown=False, usual=False)


def _flag(action: AnyAction, name: str, *, if_unknown: bool, usual: bool = True) -> bool:
    try:
        return bool(getattr(action, name, usual))
    except BaseException as error:  # noqa: BLE001  a property of an author's may fail in any way
        logs.logger().error(f"{name} can't be read", action=action.name, error=text_of(error))
        return if_unknown
