"""`remedy score`: what remedies without Keptn were worth, by service and action."""

from __future__ import annotations

from collections.abc import Sequence

from keptn_remedy.cli.episode_desk import EpisodeDesk
from keptn_remedy.cli.opened_journal import with_episodes
from keptn_remedy.cli.terminal import GOOD, is_terminal, paragraphs, say, show_json, table
from keptn_remedy.guardrails.units import counted
from keptn_remedy.ops.episode_models import ScoreInfo

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

    async def show(desk: EpisodeDesk) -> int:
        found = await desk.scores(days)
        if as_json:
            show_json([each.model_dump() for each in found])
        elif found and is_terminal():
            paragraphs(_COLUMNS[:2], map(_paragraph, found))
        elif found:
            table(_COLUMNS, map(_row, found))
        elif is_terminal():
            say(f"Nothing was tried without Keptn in the last {counted(days, 'day')}.")
        return GOOD

    return with_episodes(show)


def _paragraph(each: ScoreInfo) -> tuple[Sequence[str], Sequence[str]]:
    acted = f"acted {each.acted}: helped {each.helped}, failed {each.failed}, worse {each.worse}"
    texts = [f"{acted}, can't tell {each.unknown}"]
    if each.would_have_acted:
        texts.append(f"would have acted {each.would_have_acted}: went away by itself {each.gone}")
    return _row(each)[:2], texts


def _row(each: ScoreInfo) -> tuple[str, ...]:
    counts = (
        each.acted,
        each.helped,
        each.failed,
        each.worse,
        each.unknown,
        each.would_have_acted,
        each.gone,
    )
    return (f"{each.project}/{each.stage}/{each.service}", each.action, *map(str, counts))
