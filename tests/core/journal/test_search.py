"""Finding executions: by what they are about, by the beginning of their id, by their event."""

from typing import Any

import orjson
import pytest

from keptn_remedy import Outcome, events
from keptn_remedy.journal import Criteria, Ending, Question
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.testing import triggered
from tests.core.journals import PLAN, SetClock


async def stored(
    journal: SqliteJournal, execution_id: str, action: str = "scale", **of: Any
) -> Any:
    context = of.pop("context", execution_id)
    event = triggered(action, **of) | {"id": execution_id, "shkeptncontext": context}
    return await journal.accept(events.stored_trigger(orjson.dumps(event)), action)


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        (Criteria(), ["carts-3", "orders-2", "carts-1"]),
        (Criteria(service="carts"), ["carts-3", "carts-1"]),
        (Criteria(service="carts", action="scale"), ["carts-1"]),
        (Criteria(project="sockshop", stage="staging"), ["carts-3"]),
        (Criteria(state="accepted"), ["carts-3", "orders-2"]),
        (Criteria(state="finished", result="fail"), ["carts-1"]),
        (Criteria(result="errored"), ["carts-1"]),
        (Criteria(result="pass"), []),
        (Criteria(asking=True), ["orders-2"]),
        (Criteria(asking=True, service="carts"), []),
        (Criteria(context="context-3"), ["carts-3"]),
        (Criteria(since=1005.0), ["carts-3", "orders-2"]),
        (Criteria(service="nobody's"), []),
    ],
    ids=str,
)
async def test_executions_are_found_by_what_they_are_about(
    journal: SqliteJournal, clock: SetClock, criteria: Criteria, found: list[str]
) -> None:
    began = clock.now()
    first = await stored(journal, "carts-1", service="carts")
    await journal.finish(first, Ending(Outcome.errored("no"), is_failure=True), attempts=1)
    clock.time += 10
    second = await stored(journal, "orders-2", service="orders")
    await journal.ask(second, Question(PLAN, "production", clock.now(), clock.now() + 9))
    event = {"service": "carts", "stage": "staging", "context": "context-3"}
    await stored(journal, "carts-3", "restart", **event)
    if criteria.since is not None:
        criteria = Criteria(since=began + 5)
    assert [record.id for record in await journal.search(criteria)] == found


async def test_pages_of_what_is_found_meet_without_gap_or_overlap(journal: SqliteJournal) -> None:
    for number in range(6):
        await stored(journal, str(number), service=("carts", "orders")[number % 2])
    first = await journal.search(Criteria(service="carts"), limit=2)
    rest = await journal.search(Criteria(service="carts"), before=first[-1].cursor, limit=9)
    assert [r.id for r in first + rest] == ["4", "2", "0"]


async def test_ids_are_found_by_their_beginning(journal: SqliteJournal) -> None:
    for execution_id in ("abcd-1", "abcd-2", "abce-1", "ab%", "ABCD"):
        await stored(journal, execution_id)
    assert await journal.ids_from("abcd", 9) == ["abcd-1", "abcd-2"]
    assert await journal.ids_from("abc", 2) == ["abcd-1", "abcd-2"]
    assert await journal.ids_from("ab%", 9) == ["ab%"]
    assert await journal.ids_from("xyz", 9) == []


async def test_an_execution_has_the_type_of_its_event(journal: SqliteJournal) -> None:
    await stored(journal, "1")
    assert await journal.event_types(["1", "nope"]) == {"1": "sh.keptn.event.action.triggered"}
