"""What one replica does for all: it runs here only while this one has the duty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from keptn_remedy.journal import Ownership
from keptn_remedy.support.clock import Clock

LOOK_SECONDS = 0.5

Loop = Callable[[], Coroutine[Any, Any, None]]


async def on_duty(ownership: Ownership, clock: Clock, loops: list[Loop]) -> None:
    """Run these loops for as long as this process has the duty, until cancelled. One that fails
    ends this with its error.
    """
    if not ownership.is_shared:
        await asyncio.gather(*(loop() for loop in loops))
        return
    while True:
        while not ownership.has_duty():
            await clock.sleep(LOOK_SECONDS)
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            while ownership.has_duty():
                await clock.sleep(LOOK_SECONDS)
                for task in tasks:
                    if task.done():
                        task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
