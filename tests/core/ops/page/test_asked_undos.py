"""Undos that agents ask for: people find them in the inbox, and decide there by one click."""

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from keptn_remedy.ops.asked_undos import MOST_WAITING, AskedUndos
from tests.core.ops.page.surfing import House, Seen, house
from tests.log_lines import captured_logs
from tests.providing import Dial
from tests.waiting import until

EMPTY = "Nothing waits for a person."


async def acted(home: House) -> str:
    """An execution that has set the dial."""
    event_id = await home.send("dial", 5)
    await home.has_ended(event_id)
    return event_id


def stamp_in(seen: Seen) -> str:
    [stamp] = re.findall(r'name="asked" value="([\d.]+)"', seen.text)
    return str(stamp)


async def test_an_operator_orders_the_undo_in_the_inbox(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        event_id = await acted(home)
        asked = AskedUndos(home.service.journal, time.time)
        assert await asked.ask(event_id, "it <did> not help")
        cleo = await home.visitor("operator")
        inbox = await cleo.get("/inbox")
        assert "it &lt;did&gt; not help" in inbox.text
        assert '<span>1</span><span class="unseen"> waiting' in inbox.text
        seen = await cleo.post(f"/executions/{event_id}/undo", form_token=inbox.form_token)
        assert seen.headers["Location"].endswith("?told=undo")

        async def is_undone() -> bool:
            undo = await home.service.journal.undo_of(event_id)
            return bool(undo and undo.state == "done" and undo.by == "cleo")

        await until(is_undone)
        assert Dial.state == {"dial": 0}
        assert EMPTY in (await cleo.get("/inbox")).text


async def test_an_operator_denies_the_undo_by_name_and_once(tmp_path: Path) -> None:
    with captured_logs() as log:
        async with house(tmp_path) as home:
            event_id = await acted(home)
            asked = AskedUndos(home.service.journal, time.time)
            await asked.ask(event_id, "it did not help")
            ben, cleo = await home.visitor("approver"), await home.visitor("operator")
            assert "An operator decides; your role is approver." in (await ben.get("/inbox")).text
            inbox = await cleo.get("/inbox")
            path, given = f"/executions/{event_id}/deny-undo", {"asked": stamp_in(inbox)}
            refused = await ben.post(path, form_token=await ben.form_token(), **given)
            assert refused.status == 403
            given |= {"form_token": inbox.form_token, "reason": "it did"}
            assert (await cleo.post(path, **given)).headers["Location"].endswith("told=deny-undo")
            assert EMPTY in (await cleo.get("/inbox")).text
            assert (await cleo.post(path, **given)).status == 409
            await asked.ask(event_id, "look again")
            assert (await cleo.post(path, **given)).status == 409
            assert "look again" in (await cleo.get("/inbox")).text
            assert Dial.state == {"dial": 5}
            lines = [line for line in log.saying("operator order") if line["order"] == "deny-undo"]
            assert [(line["by"], line["reason"]) for line in lines] == [("cleo", "it did")]


async def test_what_is_asked_for_waits_through_a_restart_and_has_a_bound() -> None:
    kept: dict[str, object] = {}

    async def recall(_: str, key: str) -> object:
        return kept.get(key)

    async def remember(_: str, key: str, value: object) -> None:
        kept[key] = value

    async def record(execution_id: str) -> object:
        return None if execution_id == "pruned" else SimpleNamespace(id=execution_id, undo=None)

    journal: Any = SimpleNamespace(recall=recall, remember=remember, record=record)
    asked = AskedUndos(journal, lambda: 1.0)
    for number in range(MOST_WAITING - 1):
        assert await asked.ask(str(number), "please")
    assert await asked.ask("pruned", "please")
    assert await asked.ask("0", "now")
    assert await asked.ask("last", "please")
    assert not await asked.ask("more", "please")
    again = AskedUndos(journal, lambda: 1.0)
    waiting = [(ask.execution, ask.reason) for ask, _ in await again.waiting()]
    assert len(waiting) == MOST_WAITING
    assert waiting[-2:] == [("0", "now"), ("last", "please")]
