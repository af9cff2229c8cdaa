"""Waiting for a condition, never for a duration."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable

from tests.commands import COVERAGE

LOOK_SECONDS = 0.002
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
