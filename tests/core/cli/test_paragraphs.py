"""Lists for people: the id first and whole, everything within 80 columns."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keptn_remedy.cli import episode_commands, report_commands, score_command
from keptn_remedy.cli.episode_commands import list_episodes, list_ignored
from keptn_remedy.cli.report_commands import list_reports
from keptn_remedy.cli.score_command import score
from keptn_remedy.journal import OwedReport
from keptn_remedy.ops.episode_models import EpisodeInfo, IgnoredInfo, ScoreInfo

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PLACE = {"project": "sockshop", "stage": "production", "service": "recommendation-engine"}
LONG = "the judge could not tell within its window whether the error rate went down; " * 3
THEN = datetime.now(UTC) - timedelta(hours=3)


class LongTexts:
    """A desk whose every text is long."""

    async def episodes(self, **_: Any) -> list[EpisodeInfo]:
        given = dict.fromkeys(EpisodeInfo.model_fields) | PLACE | {"id": ID}
        given |= {"state": "escalated", "problem": "The failure rate is far too high " * 3}
        given |= {"source": "alerts", "opened_at": THEN, "reason": LONG}
        return [EpisodeInfo.model_validate({**given, "rung": 2, "rungs": 3, "firing": True})]

    async def ignored(self, limit: int) -> list[IgnoredInfo]:
        many = {"source": "a" * 40, "alert": "TooManyErrors" * 3, "times": 12_345}
        return [IgnoredInfo(**many, reason=LONG, seen_at=THEN)] * min(limit, 2)

    async def scores(self, _: int) -> list[ScoreInfo]:
        fields = [name for name, field in ScoreInfo.model_fields.items() if field.annotation is int]
        given = {**PLACE, "action": "toggle-feature", **dict.fromkeys(fields, 12_345)}
        return [ScoreInfo.model_validate(given)]

    async def owed_reports(self, _: int) -> list[OwedReport]:
        report: dict[str, Any] = dict.fromkeys(OwedReport.__dataclass_fields__)
        report |= {"execution": ID}
        report |= {"kind": "status.changed", "state": "parked", "created_at": THEN}
        return [OwedReport(**report | {"reason": LONG, "is_blocked": False})]


@pytest.mark.parametrize(
    ("shown", "first"),
    [
        (lambda: list_episodes(20, is_open=False, as_json=False), f"{ID}  escalated  3 h ago"),
        (lambda: list_ignored(20, as_json=False), ""),
        (lambda: score(30, as_json=False), "sockshop/production/recommendation-engine  toggle-fea"),
        (lambda: list_reports(20, as_json=False), f"{ID}  status.changed  parked  3 h ago"),
    ],
)
def test_people_read_lists_in_80_columns(
    shown: Callable[[], int],
    first: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def asked(ask: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
        return asyncio.run(ask(LongTexts()))

    for commands in (episode_commands, score_command):
        monkeypatch.setattr(commands, "with_episodes", asked)
    monkeypatch.setattr(report_commands, "with_desk", asked)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert shown() == 0
    _heading, line, *below = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert line.startswith(first)
    assert below
    assert max(map(len, [line, *below])) <= 80
