"""`remedy score`: what remedies without Keptn were worth, by service and action."""

from __future__ import annotations

import time
from dataclasses import asdict

from keptn_remedy.cli.opened_journal import with_episodes
from keptn_remedy.cli.terminal import GOOD, is_terminal, say, show_json, table
from keptn_remedy.journal import Episodes

DAY_SECONDS = 86_400.0
_COLUMNS = (
    "PROJECT/STAGE/SERVICE",
    "ACTION",
    "ACTED",
    "HELPED",
    "FAILED",
    "WORSE",
    "CAN'T TELL",
    "WOULD HAVE ACTED",
    "WENT AWAY BY ITSELF",
)


def score(days: int, *, as_json: bool) -> int:
    """Show the scores of the last days; returns the exit code."""

    async def show(journal: Episodes) -> int:
        found = await journal.scores(time.time() - days * DAY_SECONDS)
        if as_json:
            show_json([asdict(each) for each in found])
        elif found:
            rows = [
                (
                    f"{each.project}/{each.stage}/{each.service}",
                    each.action,
                    *map(
                        str,
                        (
                            each.acted,
                            each.helped,
                            each.failed,
                            each.worse,
                            each.unknown,
                            each.would_have_acted,
                            each.gone,
                        ),
                    ),
                )
                for each in found
            ]
            table(_COLUMNS, rows)
        elif is_terminal():
            say(f"Nothing was tried without Keptn in the last {days} days.")
        return GOOD

    return with_episodes(show)
