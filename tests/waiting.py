"""Waiting for a condition, never for a duration."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable

from keptn_remedy.journal import Records, Since
from tests.commands import COVERAGE

LOOK_SECONDS = 0.002
PAGE = 100
PATIENCE = 3 if COVERAGE in os.environ else 1  # what is measured is slow


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, within_seconds: float = 20
) -> None:
    """Return once the condition holds; TimeoutError if it doesn't in time."""
    async with asyncio.timeout(within_seconds * PATIENCE):
        while not await _holds(condition):  # noqa: ASYNC110  what is waited for sets no event
            await asyncio.sleep(LOOK_SECONDS)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    held = condition()
    return await held if inspect.isawaitable(held) else held


async def is_finished(journal: Records, execution_id: str, *, within_seconds: float = 20) -> None:
    """Follow the journal's changes until that execution is finished; TimeoutError as in `until`."""
    since: Since | None = None

    async def is_reported() -> bool:
        nonlocal since
        found, since = await journal.changes(since, PAGE, from_start=since is None)
        return any(each.id == execution_id and each.state == "finished" for each in found)

    await until(is_reported, within_seconds=within_seconds)
