"""What a remedy changed is undone when it made things worse, and when the problem is closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from keptn_remedy import Context, Denied, Plan
from tests.standalone.rig import REMEDIATION, Switch, standalone
from tests.standalone.test_ladder_runs import UNDO
from tests.waiting import until

WORSE = REMEDIATION.replace(
    'value: {to: "one"}',
    'value: {to: "one"}, evaluation: {promql: {query: errors, want: "< 5", worse_by: 3}}',
)


async def test_what_made_it_worse_is_undone_before_the_next_remedy_is_judged(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path, remediation=WORSE) as rig:
        rig.world.series["errors"] = 9
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        rig.world.series["errors"] = 13
        await rig.until_acts(2)
        await until(lambda: Switch.undone == ["one"])
        first = (await rig.rungs())[0]

    assert (first.verdict, first.start_value) == ("worse", 9.0)
    assert first.reason == "13 is not < 5"


async def test_what_somebody_changed_since_is_left_alone_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def undo(self: Switch, context: Context, plan: Plan) -> None:
        raise Denied("the switch was changed since: it is at three")

    monkeypatch.setattr(Switch, "undo", undo)
    channels = """
version: 1
channels: {{hook: {{type: webhook, url: "{url}/told/hook"}}}}
"""
    async with standalone(tmp_path, policy=UNDO, channels=channels) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("closed", step=10)
        await rig.until_holds(lambda: bool(rig.world.told))
        [rung] = await rig.rungs()
        record = await rig.journal.record(rung.execution)

    assert episode.closing == "confirmed"
    assert record.undo.state == "refused"
    [(_, event)] = rig.world.told
    assert event["type"] == "keptn-remedy.notification.undone"
    assert "changed since: it is at three" in event["data"]["text"]


async def test_what_was_closed_unverified_is_not_undone(tmp_path: Path) -> None:
    async with standalone(tmp_path, policy=UNDO) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)
        rig.world.series["errors"] = None
        episode = await rig.until_state("closed", step=10)
        await rig.pass_by(30)

    assert episode.closing == "unverified"
    assert Switch.undone == []
