"""A problem comes in, its remedies are tried and judged in turn; then a person is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.standalone import ladder
from tests.clocks import MovedClock
from tests.postgres_server import PostgresServer
from tests.standalone.rig import PROMQL, REMEDIATION, SOURCES, Switch, World, standalone
from tests.waiting import until

UNDO = """
version: 1
rules:
  - {name: all, undo: {on_closed: true}}
"""


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty one; None: the journal is a file."""
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)


async def test_a_remedy_that_helps_ends_the_ladder_and_is_undone_once_the_problem_is_closed(
    tmp_path: Path, database: str | None
) -> None:
    async with standalone(tmp_path, policy=UNDO, journal=database) as rig:
        assert await rig.send(rig.world.fire("f1")) == 202
        await rig.until_state("settling", step=5)
        assert Switch.applied == ["one"]
        assert await rig.send(rig.world.resolve("f1")) == 202
        episode = await rig.until_state("helped", step=5)
        assert Switch.undone == []
        assert episode.closed_at is None
        episode = await rig.until_state("closed", step=10)
        await until(lambda: Switch.undone == ["one"])
        [rung] = await rig.rungs()

    assert episode.closing == "confirmed"
    assert (rung.verdict, rung.status, rung.result) == ("helped", "succeeded", "pass")
    assert rung.reason == "the alert TooManyErrors is gone; 0 is measured"
    assert rig.world.posted == []


async def test_news_of_the_alert_does_not_cut_short_the_time_an_effect_is_given(
    tmp_path: Path,
) -> None:
    patient = SOURCES.replace("wait: 20s", "wait: 2m")  # a stall must not let it pass
    async with standalone(tmp_path, sources=patient) as rig:
        await rig.send(rig.world.fire("f1"))
        before = await rig.until_state("settling", step=5)
        resolved = rig.world.resolve("f1")
        for message in (resolved, rig.world.fire("f1"), resolved):
            await rig.send(message)
        del rig.world.alerts["f1"]
        await rig.pass_by(0)
        after = (await rig.whole()).episode
        assert (after.state, after.due_at) == ("settling", before.due_at)
        await rig.until_state("helped", step=5)
        [rung] = await rig.rungs()
        assert (rung.numbers or {}).get("unknown") == 0


@pytest.mark.parametrize("until_it_fires_again", ["helped", "closed"])
async def test_a_relapse_after_the_last_remedy_is_told_to_a_person(
    tmp_path: Path, until_it_fires_again: str
) -> None:
    only = REMEDIATION.replace("        - {action: switch, name: second}\n", "")
    async with standalone(tmp_path, remediation=only) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state(until_it_fires_again, step=10)
        await rig.send(rig.world.fire("f1"))
        episode = await rig.until_state("escalated", step=5)
        await rig.until_told()

    assert episode.reason == "no remedy is left: it fires again after the last one"
    assert Switch.applied == ["one"]


async def test_remedies_that_do_not_help_follow_each_other_to_a_person_who_is_told(
    tmp_path: Path,
) -> None:
    async with standalone(tmp_path) as rig:
        rig.world.series["errors"] = 9
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("escalated", step=5)
        assert Switch.applied == ["one", "two"]
        await until(lambda: bool(rig.world.posted))
        first, second = await rig.rungs()
        told = rig.world.posted[0]

    assert (first.verdict, second.verdict) == ("failed", "failed")
    assert first.numbers
    assert (first.numbers["bound"], {value for _, value in first.numbers["curve"]}) == (5, {9})
    assert told["labels"]["alertname"] == "RemedyGaveUp"
    assert told["labels"]["remedy_self"] == "true"
    assert (
        "1. switch: switched; failed: the alert TooManyErrors is firing"
        in (told["annotations"]["description"])
    )


async def test_a_relapse_of_which_no_message_tells_is_found_by_asking(tmp_path: Path) -> None:
    async with standalone(tmp_path) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        rig.world.resolve("f1")  # the message of it is lost

        async def is_absent() -> bool:
            found = (await rig.whole()).episode
            return found.state == "helped" and found.absent_since is not None

        await rig.until_true(is_absent)
        rig.world.fire("f1")
        await rig.until_acts(2)
    assert Switch.applied == ["one", "two"]


async def test_what_fires_on_although_it_was_helped_is_told_to_a_person(tmp_path: Path) -> None:
    remediation = PROMQL.replace("QUERY", "errors")
    async with standalone(tmp_path, remediation=remediation) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("helped", step=5)
        episode = await rig.until_state("escalated", step=60)
    assert episode.reason == "it fires on 30m after the judge said that it was helped"
    assert Switch.applied == ["one"]


async def test_what_nobody_can_be_asked_about_is_closed_at_last(tmp_path: Path) -> None:
    sources = SOURCES.replace("quiet_for: 5m", "quiet_for: 5m, max_open: 2h")
    async with standalone(tmp_path, sources=sources) as rig:
        await rig.send(rig.world.fire("f1"))
        await rig.until_state("settling", step=5)
        await rig.send(rig.world.resolve("f1"))
        await rig.until_state("helped", step=5)
        rig.world.alertmanager_is_away = True
        episode = await rig.until_state("closed", step=60)
    assert episode.closing == "unknown"
    assert (episode.closed_at or 0.0) - episode.firing_at >= 7200


async def test_what_a_person_has_acknowledged_meanwhile_is_not_handed_over_after_a_restart(
    tmp_path: Path,
) -> None:
    clock = MovedClock()
    world = World(clock)
    async with standalone(tmp_path, clock=clock, world=world) as rig:
        rig.world.alertmanager_is_away = True
        await rig.send(rig.world.fire("f1"))
        episode = await rig.until_state("held", step=5)
    journal = SqliteJournal.open(tmp_path / "journal.db", now=clock.now)
    begun = ladder.begun(episode, None, clock.now())
    acknowledged = replace(begun, fields={**begun.fields, "acknowledged": "ada"})
    [read] = await journal.episodes()
    assert await journal.move(read, acknowledged)
    await journal.close()
    clock.forward(60)
    world.alertmanager_is_away = False
    async with standalone(tmp_path, clock=clock, world=world) as rig:
        episode = await rig.until_state("held", step=5)
    assert (episode.reason, Switch.applied) == ("acknowledged by ada", [])
