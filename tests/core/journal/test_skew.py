"""Two replicas change at one moment what belongs together: neither misses what the other did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from keptn_remedy.journal import Arm, Ending, postgres_changes
from keptn_remedy.journal.postgres import PostgresJournal
from tests.core.journal.test_episodes import alert, take
from tests.core.journals import DONE, SetClock, admitted, done
from tests.core.places import PostgresPlace
from tests.postgres_server import PostgresServer
from tests.waiting import until

# Longer than any of these tests: nothing here is about a lease that ends.
LEASE_SECONDS = 300.0
Two = tuple[PostgresJournal, PostgresJournal]


@pytest.fixture
def shared(postgres: PostgresServer, clock: SetClock) -> PostgresPlace:
    return PostgresPlace(postgres, clock.now)


@pytest_asyncio.fixture
async def two(shared: PostgresPlace) -> AsyncIterator[Two]:
    journals = [shared.open(lease_seconds=LEASE_SECONDS) for _ in range(2)]
    yield journals[0], journals[1]
    for journal in journals:
        await journal.close()


class Late:
    """Holds a commit back until the other replica has done what it can without it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shared: PostgresPlace) -> None:
        self._shared = shared
        self._is_on, self._is_made, self._may_commit = Event(), Event(), Event()
        self._committing = postgres_changes._committing
        monkeypatch.setattr(postgres_changes, "_committing", self._late)

    @contextmanager
    def _late(self, raw: psycopg.Connection[Any]) -> Iterator[None]:
        if self._is_on.is_set() and not self._is_made.is_set():
            self._is_made.set()
            self._may_commit.wait(30)
        with self._committing(raw):
            yield

    async def both(self, first: Any, second: Any) -> list[Any]:
        """What both return; the second begins when the first has made its change."""
        self._is_on.set()
        making = [asyncio.create_task(first)]
        await until(self._is_made.is_set)
        making.append(asyncio.create_task(second))
        await until(lambda: making[1].done() or waits_for_a_lock(self._shared))
        self._may_commit.set()
        return await asyncio.gather(*making)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch, shared: PostgresPlace) -> Late:
    return Late(monkeypatch, shared)


def waits_for_a_lock(shared: PostgresPlace) -> bool:
    return bool(shared.look("SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_a_problem_that_closes_as_its_execution_finishes_has_it_undone(
    two: Two, late: Late
) -> None:
    first, second = two
    execution = await admitted(first, "1", "flag", context="problem")
    ending = Ending(DONE, arm=Arm(on_closed=True))
    await late.both(first.finish(execution, ending, attempts=1), second.problem_closed("problem"))
    undo = await first.undo_of("1")
    assert undo
    assert undo.state == "wanted"


async def test_an_undo_is_not_wanted_again_once_another_has_begun_it(two: Two, late: Late) -> None:
    first, second = two
    await until(first.ownership.has_duty)
    await done(first, "1", "flag")
    assert await first.want_undo("1", "an order", "ada") is None
    said = await late.both(first.begin_undo("1"), second.want_undo("1", "an order", "bob"))
    assert said == [True, "it is being undone"]


async def test_an_episode_whose_last_alerts_resolve_at_one_moment_is_quiet(
    two: Two, late: Late
) -> None:
    first, second = two

    await take(first, alert("a"), alert("b"))
    await late.both(take(first, alert("a", fires=False)), take(second, alert("b", fires=False)))
    [episode] = await first.episodes()
    assert episode.quiet_since is not None
