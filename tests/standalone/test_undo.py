"""What a remedy changed is undone when it made things worse, and when the problem is closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from keptn_remedy import Context, Denied, Plan
from tests.standalone.rig import REMEDIATION, SOURCES, Switch, standalone
from tests.standalone.test_ladder_runs import UNDO
from tests.waiting import until

WORSE = REMEDIATION.replace(
    'value: {to: "one"}',
    'value: {to: "one"}, evaluation: {promql: {query: errors, want: "< 5", worse_by: 3}}',
)

HOOK = """
version: 1
channels: {{hook: {{type: webhook, url: "{url}/told/hook"}}}}
"""


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
    async with standalone(tmp_path, policy=UNDO, channels=HOOK) as rig:
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


@pytest.mark.parametrize("to", ["alertmanagers", "hook"])
async def test_of_what_was_closed_unverified_a_person_is_told_in_place_of_an_undo(
    tmp_path: Path, to: str
) -> None:
    sources = SOURCES + f"escalate_to: [{to}]\n"
    async with standalone(tmp_path, policy=UNDO, sources=sources, channels=HOOK) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)
        rig.world.series["errors"] = None
        episode = await rig.until_state("closed", step=10)
        [rung] = await rig.rungs()
        told = rig.world.posted if to == "alertmanagers" else rig.world.told
        await rig.until_holds(lambda: bool(told))
        await rig.pass_by(90)

    assert (episode.closing, Switch.undone) == ("unverified", [])
    why = (
        "switch is not undone, as it is unverified that it helped:"
        " no evidence: errors answers nothing"
    )
    assert episode.reason == why
    assert len(told) == 1
    assert why in str(told[0])
    assert f"remedy undo {rung.execution}" in str(told[0])
    if to == "alertmanagers":
        alert = rig.world.posted[0]
        assert alert["endsAt"] > alert["startsAt"]
        assert alert["labels"]["alertname"] == "RemedyNotUndone"
        assert rig.world.told == []


async def test_what_cannot_be_told_of_an_unverified_end_is_tried_again(tmp_path: Path) -> None:
    # The clock runs while the service waits for its disk: it must not give up meanwhile.
    sources = SOURCES.replace("quiet_for: 5m", "quiet_for: 5m, confirm_for: 1d")
    async with standalone(tmp_path, policy=UNDO, sources=sources) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)
        rig.world.series["errors"] = None
        rig.world.takes_alerts = False
        await rig.until_holds(lambda: rig.world.refused > 1)
        [episode] = await rig.episodes()
        assert episode.closed_at is None
        rig.world.takes_alerts = True
        await rig.until_told()
        await rig.until_state("closed", step=5)
