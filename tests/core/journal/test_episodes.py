"""Alerts folded into episodes, on real SQLite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.journal import Episode, Ignored, Move, SeenAlert, Taken
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Reading
from tests.core.journals import SetClock
from tests.core.places import Place, SqlitePlace


@pytest.fixture
def place(path: Path, clock: SetClock) -> Place:
    """Episodes are kept in SQLite alone."""
    return SqlitePlace(path, clock.now)


def alert(fingerprint: str = "f", *, fires: bool = True, key: str = "k", **more: Any) -> SeenAlert:
    place = {"project": "p", "stage": "s", "service": "v"}
    given = {"names": ("Slow",), "labels": {"a": "b"}, "annotations": {}, **place, **more}
    return SeenAlert(source="shop", key=key, fingerprint=fingerprint, is_firing=fires, **given)


async def take(journal: SqliteJournal, *alerts: SeenAlert) -> Taken:
    return await journal.take_alerts(alerts, first_look_seconds=10, relapse_seconds=1800)


async def only(journal: SqliteJournal) -> Episode:
    [episode] = await journal.episodes()
    return episode


async def test_alerts_of_one_key_are_one_episode_and_repeats_change_nothing_of_its_ladder(
    journal: SqliteJournal, clock: SetClock
) -> None:
    assert await take(journal, alert("a"), alert("b")) == Taken(opened=1, repeated=1)
    before = await only(journal)
    clock.time += 100
    assert await take(journal, alert("a", starts_at="later")) == Taken(repeated=1)
    after = await only(journal)
    assert (after.version, after.due_at) == (before.version, before.due_at)
    assert after.firing_at == before.firing_at + 100


async def test_an_episode_is_quiet_once_all_of_its_members_are_resolved(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await take(journal, alert("a"), alert("b"))
    assert await take(journal, alert("a", fires=False)) == Taken(resolved=1)
    assert (await only(journal)).is_firing
    await take(journal, alert("b", fires=False, starts_at="never told as firing"))
    assert (await only(journal)).quiet_since == clock.time
    clock.time += 1
    assert await take(journal, alert("b")) == Taken(repeated=1)
    assert (await only(journal)).is_firing


async def test_in_one_message_firing_wins_over_resolved(journal: SqliteJournal) -> None:
    await take(journal, alert("critical"), alert("warning", fires=False))
    await take(journal, alert("critical", fires=False), alert("warning"))
    assert (await only(journal)).is_firing


async def test_what_is_resolved_and_was_never_told_opens_nothing(journal: SqliteJournal) -> None:
    assert await take(journal, alert(fires=False)) == Taken(unknown=1)
    assert await journal.episodes() == []


@pytest.mark.parametrize(("after", "episodes"), [(1799, 1), (1801, 2)])
async def test_a_relapse_goes_on_at_the_next_rung_and_what_comes_later_is_new(
    journal: SqliteJournal, clock: SetClock, after: float, episodes: int
) -> None:
    await take(journal, alert())
    first = await only(journal)
    closed = {"state": "closed", "closed_at": clock.time, "helped_at": clock.time}
    assert await journal.move(first, Move({**closed, "closing": "confirmed"}))
    clock.time += after
    await take(journal, alert())
    found = await journal.episodes()
    assert len(found) == episodes
    assert (found[0].index, found[0].state) == ((1, "waiting") if episodes == 1 else (0, "open"))


async def test_a_change_is_refused_if_the_episode_has_changed_meanwhile(
    journal: SqliteJournal,
) -> None:
    await take(journal, alert())
    read = await only(journal)
    assert await journal.move(read, Move({"state": "waiting"}, text="first"))
    assert await journal.move(read, Move({"state": "escalated"}, text="second")) is None
    whole = await journal.whole_episode(read.id[:8])
    assert whole
    assert [note.text for note in whole.notes] == ["it began: Slow", "first"]


async def test_ignored_alerts_are_folded_by_their_reason(
    journal: SqliteJournal, clock: SetClock
) -> None:
    ignored = [Ignored("shop", "Slow", "no stage")] * 3
    await journal.take_alerts((), ignored, first_look_seconds=0, relapse_seconds=0)
    assert await journal.ignored(9) == [(ignored[0], 3, clock.time)]


async def test_timers_keep_their_length_when_the_clock_was_set_between_two_processes(
    path: Path, clock: SetClock
) -> None:
    opened = SqliteJournal.open(path, now=clock.now)
    await opened.take_over(Reading("boot", 100.0, clock.time))
    await take(opened, alert())
    due_at = (await only(opened)).due_at
    await opened.close()

    clock.time += 86_400
    later = SqliteJournal.open(path, now=clock.now)
    await later.take_over(Reading("boot", 101.0, clock.time))
    assert (await only(later)).due_at - clock.time == pytest.approx(due_at - (clock.time - 86_399))
    await later.close()


async def test_closed_episodes_are_forgotten_and_open_ones_are_not(
    journal: SqliteJournal, clock: SetClock
) -> None:
    await take(journal, alert(key="open"))
    await take(journal, alert(key="closed"))
    newest = (await journal.episodes())[0]
    await journal.move(newest, Move({"state": "closed", "closed_at": clock.time}))
    clock.time += 10
    assert await journal.prune_episodes(clock.time - 11, 9) == 0
    assert await journal.prune_episodes(clock.time, 9) == 1
    assert [each.key for each in await journal.episodes()] == ["open"]
    assert await journal.fingerprints("shop") == {(await only(journal)).handle: frozenset("f")}
