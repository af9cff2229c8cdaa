"""The action that the benchmarks trigger: it does nothing, or never ends."""

from __future__ import annotations

import asyncio
from typing import Any

from keptn_remedy import Action, ActionSettings, Context, Outcome

AN_HOUR = 3600.0


class BenchNoop(Action):
    """Passes at once; with `BENCH_NOOP_HOLD=true` it keeps its slot."""

    name = "bench-noop"
    timeout = deadline = AN_HOUR
    Value = Any

    class Settings(ActionSettings):
        """`hold`: an execution never ends."""

        hold: bool = False

    async def run(self, context: Context, value: Any) -> Outcome:
        if self.settings.hold:
            await asyncio.get_running_loop().create_future()
        return Outcome.passed("nothing to do")
