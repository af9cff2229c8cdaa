"""One undo, attempted: how it ended, and what the action said about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from keptn_remedy.action import Denied, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.cancellation import LEAVING
from keptn_remedy.engine.runtime import text_of
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.guardrails.guard import Guard

UndoEnding = tuple[Literal["done", "refused", "failed"], str]


async def attempted(
    attempts: Attempts,
    action: PlannedAction,
    plan: Plan,
    text: Callable[[object], str | None],
    guard: Guard,
) -> UndoEnding:
    """Call the action's `undo`, again while that may help. `text` makes text of what it returned,
    and may raise; the text is empty where the action said nothing.

    Raises:
        NotBegun: a pause came while it waited for a thread.
    """

    def ask_pause() -> None:
        if refusal := guard.paused():
            raise NotBegun(refusal)

    try:
        said = await attempts.until_done(action.undo, plan, may_begin=ask_pause)
        return "done", text(said) or ""
    except Denied as denied:
        return "refused", text_of(denied)
    except LEAVING:
        raise
    except BaseException as error:  # noqa: BLE001  an author's code may fail in any way
        return "failed", attempts.explained(error).message
