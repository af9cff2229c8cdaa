"""A process that serves the page beside many executions, and measures what each screen takes of the
event loop: `python -m bench.screens FOLDER EXECUTIONS` prints it as JSON, in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from keptn_remedy.journal.sqlite import SqliteJournal
from tests.browser.town import fill
from tests.core.ops.page.loop_time import LoopTime
from tests.core.ops.page.surfing import house

SCREENS = (
    "/",
    "/inbox",
    "/rails",
    "/executions",
    "/executions?service=service-7&result=fail",
    "/executions?service=nobody",
    "/executions?since=1h",
    "/executions?action=scale&stage=staging&result=pass",
)
ROUNDS = 5


async def measured(folder: Path, executions: int) -> dict[str, tuple[float, float]]:
    """By screen: in all, and the longest slice; the median of some rounds."""
    await SqliteJournal.open(folder / "journal.db").close()
    await asyncio.to_thread(fill, folder / "journal.db", executions, hours=24 * 14)
    taken: dict[str, tuple[float, float]] = {}
    async with house(folder, page_public=True) as home:
        guest = home.somebody()
        for screen in SCREENS:
            await guest.get(screen)  # what is kept between two looks
            rounds: list[LoopTime] = []
            for _ in range(ROUNDS):
                with LoopTime() as spent:
                    seen = await guest.get(screen)
                if seen.status != 200:
                    raise RuntimeError(f"{screen} is answered by {seen.status}")
                rounds.append(spent)
            middle = sorted(rounds, key=lambda spent: spent.all)[ROUNDS // 2]
            taken[screen] = middle.all * 1000, middle.longest * 1000
    return taken


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(Path(sys.argv[1]), int(sys.argv[2])))))
