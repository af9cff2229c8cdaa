"""Alerts folded into episodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keptn_remedy.journal import Episode, Ignored, Move, Rung, SeenAlert, Taken
from keptn_remedy.support.clock import Reading
from tests.core.journals import SetClock
from tests.core.places import AnyJournal, Place


def alert(fingerprint: str = "f", *, fires: bool = True, key: str = "k", **more: Any) -> SeenAlert:
    place = {"project": "p", "stage": "s", "service": "v"}
    given = {"names": ("Slow",), "labels": {"a": "b"}, "annotations": {}, **place, **more}
    return SeenAlert(source="shop", key=key, fingerprint=fingerprint, is_firing=fires, **given)


async def take(journal: AnyJournal, *alerts: SeenAlert) -> Taken:
    return await journal.take_alerts(alerts, first_look_seconds=10, relapse_seconds=1800)


async def only(journal: AnyJournal) -> Episode:
    [episode] = await journal.episodes()
    return episode


async def test_alerts_of_one_key_are_one_episode_and_repeats_change_nothing_of_its_ladder(
    journal: AnyJournal, clock: SetClock
) -> None:
    assert await take(journal, alert("a"), alert("b")) == Taken(opened=1, repeated=1)
    before = await only(journal)
    clock.time += 100
    assert await take(journal, alert("a", starts_at="later")) == Taken(repeated=1)
    after = await only(journal)
    assert (after.version, after.due_at) == (before.version, before.due_at)
    assert after.firing_at == before.firing_at + 100


async def test_an_episode_is_quiet_once_all_of_its_members_are_resolved(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert("a"), alert("b"))
    assert await take(journal, alert("a", fires=False)) == Taken(resolved=1)
    assert (await only(journal)).is_firing
    await take(journal, alert("b", fires=False, starts_at="never told as firing"))
    assert (await only(journal)).quiet_since == clock.time
    clock.time += 1
    assert await take(journal, alert("b")) == Taken(repeated=1)
    assert (await only(journal)).is_firing


async def test_what_was_sent_before_its_end_and_comes_after_it_begins_nothing(
    journal: AnyJournal, clock: SetClock
) -> None:
    fired = alert("a", starts_at="noon", fires_once=True)
    await take(journal, fired)
    await take(journal, alert("a", fires=False))
    assert await take(journal, fired) == Taken(repeated=1)
    ended = await only(journal)
    assert not ended.is_firing
    closed = {"state": "closed", "closing": "unverified", "closed_at": clock.time}
    assert await journal.move(ended, Move(closed))
    assert await take(journal, fired) == Taken(repeated=1)
    later = alert("a", starts_at="later", fires_once=True)
    assert await take(journal, fired, later) == Taken(opened=1, repeated=1)


async def test_in_one_message_firing_wins_over_resolved(journal: AnyJournal) -> None:
    await take(journal, alert("critical"), alert("warning", fires=False))
    await take(journal, alert("critical", fires=False), alert("warning"))
    assert (await only(journal)).is_firing


async def test_a_helped_problem_that_only_changes_its_severity_does_not_begin_again(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert("warning"))
    helped = {"state": "helped", "helped_at": clock.time}
    assert await journal.move(await only(journal), Move(helped))
    both = await take(journal, alert("warning", fires=False), alert("critical"))
    assert both == Taken(repeated=1, resolved=1)
    found = await only(journal)
    assert (found.state, found.index, found.is_firing) == ("helped", 0, True)


async def test_many_alerts_of_one_message_are_each_folded_by_their_own_key(
    journal: AnyJournal,
) -> None:
    many = [alert(str(n), key=str(n % 90), names=(f"n{n}",)) for n in range(100)]
    twice = alert("0", key="0", starts_at="later")
    assert await take(journal, *many, twice) == Taken(opened=90, repeated=11)
    never_told = alert("x", key="0", fires=False)
    assert await take(journal, *many, twice, never_told) == Taken(repeated=101, unknown=1)
    episodes = await journal.episodes(limit=1000)
    assert {each.key: each.names for each in episodes} == {
        each.key: each.names for each in many[:90]
    }
    assert len(await journal.open_members("shop")) == 100
    [first] = [each for each in episodes if each.key == "0"]
    members = {each.fingerprint: each.starts_at for each in await journal.members(first)}
    assert members == {"0": "later", "90": ""}
    whole = await journal.whole_episode(first.id)
    assert whole
    assert [note.text for note in whole.notes] == ["it began: n0"]


async def test_what_is_resolved_and_was_never_told_opens_nothing(journal: AnyJournal) -> None:
    assert await take(journal, alert(fires=False)) == Taken(unknown=1)
    assert await journal.episodes() == []


@pytest.mark.parametrize(("after", "episodes"), [(1799, 1), (1801, 2)])
async def test_a_relapse_goes_on_at_the_next_rung_and_what_comes_later_is_new(
    journal: AnyJournal, clock: SetClock, after: float, episodes: int
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


@pytest.mark.parametrize("gone", ["quiet_since", "absent_since"])
async def test_what_was_helped_and_is_still_open_goes_on_when_it_fires_again_however_late(
    journal: AnyJournal, clock: SetClock, gone: str
) -> None:
    await take(journal, alert())
    helped = {"state": "helped", "helped_at": clock.time, gone: clock.time}
    assert await journal.move(await only(journal), Move(helped))
    clock.time += 7200
    assert await take(journal, alert()) == Taken(reopened=1)
    found = await only(journal)
    assert (found.state, found.index, found.absent_since) == ("waiting", 1, None)


async def test_a_change_is_refused_if_the_episode_has_changed_meanwhile(
    journal: AnyJournal,
) -> None:
    await take(journal, alert())
    read = await only(journal)
    assert await journal.move(read, Move({"state": "waiting"}, text="first"))
    assert await journal.move(read, Move({"state": "escalated"}, text="second")) is None
    whole = await journal.whole_episode(read.id[:8])
    assert whole
    assert [note.text for note in whole.notes] == ["it began: Slow", "first"]


async def test_ignored_alerts_are_folded_by_their_reason(
    journal: AnyJournal, clock: SetClock
) -> None:
    ignored = [Ignored("shop", "Slow", "no stage")] * 3
    await journal.take_alerts((), ignored, first_look_seconds=0, relapse_seconds=0)
    assert await journal.ignored(9) == [(ignored[0], 3, clock.time)]


# The clock of a database's server is believed when it goes ahead.
@pytest.mark.parametrize(
    ("place", "step"),
    [("sqlite", 86_400), ("sqlite", -86_400), ("postgres", -86_400)],
    indirect=["place"],
)
async def test_timers_keep_their_length_when_the_clock_was_set_between_two_processes(
    place: Place, clock: SetClock, step: float
) -> None:
    opened = place.open()
    await opened.take_over(Reading("boot", 100.0, clock.time))
    await take(opened, alert())
    left = (await only(opened)).due_at - clock.time
    await opened.close()

    clock.time += step
    later = place.open()
    await later.take_over(Reading("boot", 101.0, clock.time))
    assert (await only(later)).due_at - clock.time == pytest.approx(left, abs=1.5)
    await later.close()


async def test_what_lies_in_the_future_counts_as_new(place: Place, clock: SetClock) -> None:
    opened = place.open()
    await opened.take_over(Reading("boot", 100.0, clock.time))
    await take(opened, alert())
    await opened.close()
    place.change("UPDATE episodes SET firing_at = firing_at + 999, due_at = due_at + 999")

    clock.time += 1
    later = place.open()
    await later.take_over(Reading("boot", 101.0, clock.time))
    found = await only(later)
    assert (found.firing_at, found.due_at) == (clock.time, clock.time)
    assert (found.opened_at, found.quiet_since) == (clock.time - 1, None)
    await later.close()


async def test_how_rungs_were_judged_is_counted_by_service_and_action(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert())
    for number, (acted, verdict) in enumerate(
        [(True, "helped"), (True, "worse"), (True, None), (False, "helped"), (False, "unknown")]
    ):
        rung = Rung(
            number=number,
            index=0,
            execution=str(number),
            action="scale",
            began_at=clock.time,
            status="succeeded",
            acted=acted,
            verdict=verdict,  # type: ignore[arg-type]  # one of them
        )
        assert await journal.move(await only(journal), Move({"tries": number}, rung))
    [score] = await journal.scores(clock.time)
    assert (score.service, score.action) == ("v", "scale")
    assert (score.acted, score.helped, score.failed, score.worse, score.unknown) == (3, 1, 0, 1, 0)
    assert (score.would_have_acted, score.gone) == (2, 1)
    assert await journal.scores(clock.time + 1) == []


async def test_open_and_closed_episodes_are_told_apart(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert(key="open"), alert(key="closed"))
    closed = (await journal.episodes())[0]
    await journal.move(closed, Move({"state": "closed", "closed_at": clock.time}))
    found = {
        is_open: [each.key for each in await journal.episodes(is_open=is_open)]
        for is_open in (True, False, None)
    }
    assert found == {True: ["open"], False: ["closed"], None: ["closed", "open"]}
    assert [each.key for each in await journal.episodes(before=closed.handle)] == ["open"]


@pytest.mark.parametrize("place", ["postgres"], indirect=True)
async def test_an_alert_that_reaches_two_replicas_opens_one_episode(place: Place) -> None:
    replicas = [place.open() for _ in range(2)]
    for number in range(20):
        taken = await asyncio.gather(*(take(one, alert(key=str(number))) for one in replicas))
        assert sorted(each.opened for each in taken) == [0, 1]
    assert len(await replicas[0].episodes()) == 20
    for one in replicas:
        await one.close()


async def test_closed_episodes_are_forgotten_and_open_ones_are_not(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert(key="open"))
    await take(journal, alert(key="closed"))
    newest = (await journal.episodes())[0]
    await journal.move(newest, Move({"state": "closed", "closed_at": clock.time}))
    clock.time += 10
    assert await journal.prune_episodes(clock.time - 11, 9) == 0
    assert await journal.prune_episodes(clock.time, 9) == 1
    assert [each.key for each in await journal.episodes()] == ["open"]
    [member] = await journal.open_members("shop")
    assert member == ((await only(journal)).handle, "f", True, False)
