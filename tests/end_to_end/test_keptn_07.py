"""Keptn 0.7: CloudEvents 0.2, the outcome in `data.action`, and nothing that could be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.testing import FakeKeptn
from tests.providing import event_url, provider

EVENT = Path(__file__).parents[1] / "events" / "action-triggered-legacy-0.7.json"
SCOPE = {"project": "webshop", "stage": "prod", "service": "checkout", "labels": {}}


class Scaling(Action):
    """Ends as its test wants."""

    name = "scaling"
    Value = str
    passes: bool

    async def run(self, context: Context, value: str) -> Outcome:
        return Outcome.passed("scaled") if self.passes else Outcome.errored("no")


@pytest.mark.parametrize(
    ("passes", "outcome"),
    [
        (True, {"status": "succeeded", "result": "pass"}),
        (False, {"status": "errored", "result": "failed"}),
    ],
)
async def test_it_is_answered_as_it_expects_and_asked_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, passes: bool, outcome: dict[str, str]
) -> None:
    monkeypatch.setattr(Scaling, "passes", passes, raising=False)
    trigger = orjson.loads(EVENT.read_bytes())
    dialect: dict[str, Any] = {"keptn_dialect": "0.7", "watch_seconds": 0.02}
    async with FakeKeptn("0.7") as keptn:
        async with provider(tmp_path / "journal.db", keptn, Scaling, **dialect) as service:
            await keptn.deliver(trigger, to=event_url(service))
            await keptn.task_finished(trigger["id"])
        started, finished = keptn.events_of(trigger["id"])[:2]
        assert not keptn.asked
    assert started.data == SCOPE
    assert finished.data == {**SCOPE, "action": outcome}
    for report in (started, finished):
        assert (report.event["specversion"], report.event["contenttype"]) == (
            "0.2",
            "application/json",
        )
