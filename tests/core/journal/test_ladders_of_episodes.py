"""What a ladder reads and stores of episodes: when to look, what is listed, words, and storms."""

from __future__ import annotations

import pytest

from keptn_remedy.journal import Move, OpenMember, PersonsWord, Rung
from tests.core.journal.test_episodes import alert, only, take
from tests.core.journals import SetClock
from tests.core.places import AnyJournal


async def test_open_episodes_are_due_in_their_order_and_an_outcome_makes_its_own_due_now(
    journal: AnyJournal, clock: SetClock
) -> None:
    assert await journal.next_due() is None
    for key in ("first", "second"):
        await take(journal, alert(key=key))
        clock.time += 5
    second, first = await journal.episodes()
    assert await journal.next_due() == first.due_at
    assert await journal.due_episodes(first.due_at - 1, 9) == []
    assert [each.key for each in await journal.due_episodes(second.due_at, 9)] == [
        "first",
        "second",
    ]
    assert [each.key for each in await journal.due_episodes(second.due_at, 1)] == ["first"]
    others = await journal.due_episodes(second.due_at, 9, but=[first.handle])
    assert [each.key for each in others] == ["second"]

    rung = Rung(number=0, index=0, execution="x", action="scale", began_at=clock.time)
    later = {"state": "acting", "due_at": clock.time + 99}
    acting = await journal.move(first, Move(later, rung))
    assert acting
    assert await journal.rungs(acting) == [rung]
    assert not await journal.look_at_execution("another")
    assert await journal.look_at_execution("x")
    assert [each.key for each in await journal.due_episodes(clock.time, 9)] == ["first"]


async def test_what_is_not_listed_is_absent_until_it_is_listed_or_fires_again(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert("a", key="a"), alert("b", key="b"))
    b, a = await journal.episodes()
    clock.time += 1
    # Both began before it was asked.
    await journal.compare_with_listing([a.handle], [b.handle], asked_at=clock.time)
    b, a = await journal.episodes()
    assert (a.absent_since, b.absent_since) == (None, clock.time)
    members = await journal.open_members("shop")
    assert sorted(members, key=lambda each: each.fingerprint) == [
        OpenMember(a.handle, "a", True, False),
        OpenMember(b.handle, "b", True, True),
    ]
    await journal.compare_with_listing([b.handle], [], asked_at=clock.time)
    assert (await journal.episodes())[0].absent_since is None
    # It fired after it was asked.
    await journal.compare_with_listing([], [a.handle], asked_at=clock.time - 2)
    assert (await journal.episodes())[1].absent_since is None
    # What fires for long is known to.
    clock.time += 700
    await journal.compare_with_listing([a.handle], [], asked_at=clock.time)
    assert (await journal.episodes())[1].firing_at == clock.time
    assert [each.fingerprint for each in await journal.members(a)] == ["a"]


def said(
    at: float, *, holds: bool = True, title: str = "[FIRING:1] slow", episode: str = ""
) -> PersonsWord:
    says = "acknowledged" if holds else "resolved"
    word = PersonsWord(title=title, episode=episode, by="Ada", says=says, holds=holds, at=at)
    return word.of("p", "s", "v")


async def test_the_last_word_of_a_person_counts_for_what_it_names(
    journal: AnyJournal, clock: SetClock
) -> None:
    await take(journal, alert(key="a"), alert(key="b", names=("Full",)))
    other, named = await journal.episodes()
    assert await journal.take_word(said(10), by_name=True) == 1
    assert (await journal.episodes())[1].acknowledged == "Ada"
    # Sent again, it is older than what was said since.
    assert await journal.take_word(said(12, holds=False), by_name=True) == 1
    assert await journal.take_word(said(10), by_name=True) == 1
    assert (await journal.episodes())[1].acknowledged is None
    assert await journal.take_word(said(13), by_name=False) == 0
    assert await journal.take_word(said(13, episode=other.id, title=""), by_name=False) == 1
    assert (await journal.episodes())[0].acknowledged == "Ada"
    whole = await journal.whole_episode(named.id)
    assert whole
    assert [note.text for note in whole.notes] == [
        "it began: Slow",
        "acknowledged by Ada",
        "resolved by Ada",
    ]


@pytest.mark.parametrize("state", ["acting", "settling", "judging"])
async def test_of_a_storm_one_begins_while_no_other_of_its_stage_runs(
    journal: AnyJournal, clock: SetClock, state: str
) -> None:
    await take(journal, alert(key="a"), alert(key="b"), alert(key="c", stage="other"))
    now = clock.time
    assert await journal.opened_between(now, now, "p", "s") == 2
    assert await journal.opened_between(now + 1, now + 9, "p", "s") == 0
    assert await journal.opened_between(now - 9, now - 1, "p", "s") == 0
    elsewhere, b, a = await journal.episodes()
    assert await journal.move(elsewhere, Move({"state": state}))
    stormed = await journal.move(b, Move({"in_storm": True}))
    assert stormed
    assert await journal.storm("p", "s") == (0, 1)
    assert await journal.move(a, Move({"state": state, "tries": 1}))
    assert await journal.storm("p", "s") == (1, 1)
    begins = Move({"state": "acting", "tries": 1}, alone=True)
    assert await journal.move(stormed, begins) is None
    over = next(each for each in await journal.episodes() if each.key == "a")
    assert await journal.move(over, Move({"state": "escalated"}))
    assert await journal.move(stormed, begins)
    assert await journal.storm("p", "s") == (1, 0)
    assert [each.key for each in await journal.escalated_episodes(9)] == ["a"]


async def test_an_episode_is_found_by_the_beginning_of_its_id_alone(journal: AnyJournal) -> None:
    await take(journal, alert())
    episode = await only(journal)
    assert await journal.whole_episode("nothing") is None
    found = await journal.whole_episode(episode.id[:6])
    assert found
    assert found.episode == episode
