"""What a replica writes after its lease has ended: each method of the journal that writes is
refused for what it lost, or has no owner.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf

import pytest
import pytest_asyncio

from keptn_remedy.journal import (
    Ending,
    Execution,
    Journal,
    NotOwner,
    Question,
    Unsent,
)
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_schema import TABLES
from tests.core.journal.test_sharing import PLAN, freeze, taken_over
from tests.core.journals import (
    DONE,
    FAILED,
    REPLIES,
    SetClock,
    accepted,
    allow,
    effect,
    reports_of,
    trigger,
)
from tests.core.places import PostgresPlace
from tests.postgres_server import PostgresServer
from tests.waiting import until

LEASE_SECONDS = 2.0
# Of what any replica does, and is told by a clock.
_PASSING = ("replicas", "leases")


@dataclass
class Late:
    """A replica whose lease has ended and which does not know it, and what it had: an execution
    that another one has now, its report, and an undo that the other one carries out now.
    """

    journal: PostgresJournal
    place: PostgresPlace
    clock: SetClock
    mine: Execution
    unsent: Unsent
    undone: Execution

    def stored(self) -> dict[str, list[str]]:
        """All that the database holds, but for leases."""
        tables = [table for table in TABLES if table not in _PASSING]
        return {t: sorted(map(str, self.place.look(f"SELECT * FROM {t}"))) for t in tables}  # noqa: S608


Write = Callable[[Late], Awaitable[object]]
QUESTION = Question(
    plan=PLAN, rule="a rule", asked_at=1_000_000.0, expires_at=1_000_600.0, default="deny"
)

FENCED: dict[str, Write] = {
    "admit": lambda late: late.journal.admit(late.mine, PLAN, [effect(late.mine)], allow),
    "ask": lambda late: late.journal.ask(late.mine, QUESTION),
    "begin": lambda late: late.journal.begin(late.mine, reports_of(late.mine, late.clock)[0]),
    "begin_undo": lambda late: late.journal.begin_undo(late.undone.id),
    "claim": lambda late: late.journal.claim(9),
    "claim_reports": lambda late: late.journal.claim_reports(9),
    "close_question": lambda late: late.journal.close_question(late.mine),
    "end_undo": lambda late: late.journal.end_undo(late.undone.id, "failed", "too late"),
    "finish": lambda late: late.journal.finish(
        late.mine, Ending(DONE), attempts=1, reports=[reports_of(late.mine, late.clock)[1]]
    ),
    "keep_failure": lambda late: late.journal.keep_failure(late.mine, FAILED),
    "note_failed_attempt": lambda late: late.journal.note_failed_attempt(
        late.mine, "apply", 1, "too late"
    ),
    "note_left": lambda late: late.journal.note_left([late.mine.handle]),
    "note_waiting": lambda late: late.journal.note_waiting(late.mine),
    "park": lambda late: late.journal.park(
        late.unsent, "refused", REPLIES.error_log(None, late.clock.utc(), "it was refused")
    ),
    "postpone": lambda late: late.journal.postpone(late.unsent, 2_000_000.0, "Keptn is away"),
    "put_off_undo": lambda late: late.journal.put_off_undo(late.undone.id),
    "remember": lambda late: late.journal.remember("wait", "key", None, by=late.mine),
    "remember_within": lambda late: late.journal.remember_within(
        9, "wait", "key", "late", by=late.mine
    ),
    "set_timer": lambda late: late.journal.set_timer(late.mine, 60),
}

_NEW = "it stores what nobody has yet, once by its id"
_ANY = "any replica may, once: the change asks in its own transaction whether it is so already"
_PEOPLE = "people order it, of whichever replica they ask"
_DUTY = "one replica does it for all; twice would be no more than once"
_TOLD = "it says what Keptn or a person has received, which is so whoever sent it"
_SHARED = "all replicas keep it together: it is refused where another has changed it since"
_OPEN_EPISODES = "episodes have no owner: a change is refused where another has changed it since"
_ITSELF = "it is about this process, or about the journal"
OF_NO_OWNER = {
    "accept": _NEW,
    "accept_and_begin": _NEW,
    "announce": _ANY,
    "answer": _PEOPLE,
    "answer_aborted": _ANY,
    "compare_with_listing": _OPEN_EPISODES,
    "drop_notifications": _DUTY,
    "drop_old_notifications": _DUTY,
    "finish_lost": _NEW,
    "forget": _TOLD,
    "forget_notifications": _DUTY,
    "forgive": _PEOPLE,
    "look_at_execution": _OPEN_EPISODES,
    "move": _OPEN_EPISODES,
    "note_abort": _ANY,
    "note_heard": _ITSELF,
    "note_listed": _ANY,
    "note_notified": _TOLD,
    "note_reading": _ITSELF,
    "note_ready": _ANY,
    "notify": _DUTY,
    "owe": _ITSELF,
    "owe_again": _ANY,
    "pause": _PEOPLE,
    "problem_closed": _ANY,
    "prune": _DUTY,
    "prune_episodes": _DUTY,
    "recover": _ITSELF,
    "rehearse": _ITSELF,
    "remember_instead": _SHARED,
    "resend": _PEOPLE,
    "resume": _PEOPLE,
    "take_alerts": _OPEN_EPISODES,
    "take_failure": _ITSELF,
    "take_over": _ITSELF,
    "take_word": _OPEN_EPISODES,
    "want_undo": _PEOPLE,
}


@pytest_asyncio.fixture
async def late(postgres: PostgresServer, clock: SetClock) -> AsyncIterator[Late]:
    place = PostgresPlace(postgres, clock.now)
    first, second = (place.open(lease_seconds=LEASE_SECONDS) for _ in range(2))
    await until(first.ownership.has_duty)
    undone = await accepted(first, "undone", "orders")
    await first.admit(undone, PLAN, [effect(undone)], allow)
    await first.finish(undone, Ending(DONE), attempts=1)
    await first.want_undo(undone.id, "an order", "ann")
    assert await first.begin_undo(undone.id)
    mine = await accepted(first, "mine")
    unsent = await first.begin(mine, reports_of(mine, clock)[0])
    assert unsent
    await first.ask(mine, QUESTION)
    await first.remember_within(9, "wait", "key", "in time", by=mine)
    await first.remember_within(9, "wait", "undone", "in time", by=undone)
    freeze(first)
    await taken_over(second)
    await until(second.ownership.has_duty)
    assert await second.begin_undo(undone.id)
    await first.accept(trigger("left", "users"), "wait")
    number = first._number
    theirs = "SELECT 1 FROM executions WHERE owner = ? AND state <> 'finished'"
    await until(lambda: not place.look(theirs, (number,)))
    clock.time += 10
    # It believes in its lease: nothing but the database can refuse it.
    assert first._replica
    first._replica._deadline = first._replica._duty_until = inf
    yield Late(first, place, clock, mine, unsent, undone)
    await first.close()
    await second.close()


async def test_whose_lease_has_ended_changes_nothing_of_what_it_had(late: Late) -> None:
    before = late.stored()
    for name, write in FENCED.items():
        with suppress(NotOwner):
            await write(late)
        assert late.stored() == before, name


async def test_what_runs_by_it_is_told(late: Late) -> None:
    for name in ("ask", "close_question", "note_failed_attempt", "remember", "remember_within"):
        with pytest.raises(NotOwner):
            await FENCED[name](late)


async def test_an_undo_that_another_replica_carries_out_remembers_nothing_more(late: Late) -> None:
    with pytest.raises(NotOwner):
        await late.journal.remember("wait", "undone", "late", by=late.undone)
    assert await late.journal.recall("wait", "undone") == "in time"


def test_each_method_that_writes_is_refused_to_strangers_or_has_no_owner() -> None:
    """What a method writes by is found in its source, and in what that calls."""
    methods = {name for name in dir(Journal) if not name.startswith("_")}
    writing = {name for name in methods if "_writer" in _reached_from(name, set())}
    assert writing == FENCED.keys() | OF_NO_OWNER.keys()
    assert not FENCED.keys() & OF_NO_OWNER.keys()


def _reached_from(name: str, seen: set[str]) -> set[str]:
    if name not in seen:
        seen.add(name)
        for used in re.findall(r"(?:self|super\(\))\.(\w+)", _source(name)):
            _reached_from(used, seen)
    return seen


def _source(name: str) -> str:
    """Of this member, in each class that the journal is made of."""
    found = [vars(cls)[name] for cls in PostgresJournal.__mro__ if name in vars(cls)]
    functions = [getattr(each, "fget", None) or getattr(each, "__func__", each) for each in found]
    return "\n".join(inspect.getsource(each) for each in functions if inspect.isfunction(each))
