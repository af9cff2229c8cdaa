"""Servers that are asked, whose clocks differ from ours by minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keptn_remedy.standalone.peer_clock import ahead, answered_at
from tests.standalone.rig import Switch, standalone

AT = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
DATE = "Mon, 02 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("its_clock", "up_seconds", "state"),
    # By our clock the first would be up for six minutes, and the second not yet.
    [(-300, 60, "held"), (300, 200, "waiting")],
)
async def test_an_alertmanager_is_as_old_as_its_own_clock_says(
    tmp_path: Path, its_clock: float, up_seconds: float, state: str
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.ahead = its_clock
        began = rig.world.shows() - timedelta(seconds=up_seconds)
        rig.world.alertmanager_began = began.isoformat()
        alert = rig.world.fire("f1")
        rig.world.alerts.clear()
        await rig.send(alert)
        rig.clock.forward(10)

        async def is_confirmed() -> bool:
            [episode] = await rig.episodes()
            return episode.state == "held" or episode.absent_since is not None

        await rig.until_true(is_confirmed)
        [episode] = await rig.episodes()
        assert (episode.state, Switch.applied) == (state, [])


async def test_a_prometheus_that_has_just_started_by_its_own_clock_counts_for_nothing(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.ahead = -600
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        # By our clock it was started minutes ago, by its own it is not even started.
        rig.world.prometheus_began = (rig.world.shows() + timedelta(seconds=300)).isoformat()
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
    assert "Prometheus has just started" in (episode.reason or "")


async def test_an_evaluation_before_the_act_counts_for_nothing_whatever_the_clock_of_prometheus(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.ahead = 600
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        rig.world.evaluated = rig.world.shows()
        await rig.send(rig.world.resolve("f1"))
        episode = await rig.until_state("escalated", step=5)
    assert "was not evaluated since" in (episode.reason or "")


async def test_a_rule_that_a_late_clock_evaluates_still_tells_that_it_helped(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.ahead = -600
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)


async def test_an_answer_without_a_date_is_dated_by_our_clock(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.tells_time = False
        await rig.send(rig.world.fire("f1"))
        await rig.until_acts(1)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)


@pytest.mark.parametrize(
    ("headers", "at"),
    [
        ({"Date": DATE}, AT),
        ({"Date": DATE, "Age": "30"}, AT + 30),
        ({"Date": DATE, "Age": "old"}, AT),
        ({"Date": DATE.replace("GMT", "-0000")}, AT),
        ({"Date": "Mon, 02 Mar 2026 25:00:00 GMT"}, 7.0),
        ({"Date": "now"}, 7.0),
        ({}, 7.0),
    ],
)
def test_an_answer_is_dated_by_its_header(headers: dict[str, str], at: float) -> None:
    assert answered_at(headers, 7.0) == at


def test_what_whole_seconds_cannot_tell_is_no_difference() -> None:
    dated = {"Date": DATE}
    assert [ahead(dated, AT + late) for late in (-2.0, 0.9, 2.0)] == [0.0, 0.0, 0.0]
    # At least: the header may be almost a second early.
    assert [ahead(dated, AT + late) for late in (-300.0, 300.0)] == [-301.0, 299.0]
    assert ahead({}, AT) == 0.0
