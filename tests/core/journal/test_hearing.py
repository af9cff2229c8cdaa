"""Orders: what the service has heard, as the commands read it."""

from __future__ import annotations

from tests.core.places import AnyJournal


async def test_an_order_is_heard_once_the_service_says_so(journal: AnyJournal) -> None:
    assert await journal.all_heard()
    await journal.pause("ann", "fire drill")
    assert not await journal.all_heard()
    given = await journal.orders_given()
    await journal.resume()  # while the service takes up the first one
    await journal.note_heard(given)
    assert not await journal.all_heard()
    await journal.note_heard(await journal.orders_given())
    assert await journal.all_heard()
