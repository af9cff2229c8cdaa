"""Undos that agents ask for: people find them in the inbox, and decide there by one click."""

import re
import time
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
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


@dataclass
class Kept:
    """A journal of executions by id, and of their undos. `meanwhile` is done once, after a list was
    recalled: what another replica does.
    """

    undos: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def recall(self, _: str, key: str) -> Any:
        found = deepcopy(self.values.get(key))
        if then := self.meanwhile:
            self.meanwhile = None
            await then()
        return found

    async def remember_instead(self, was: Any, _: str, key: str, value: Any) -> bool:
        if self.values.get(key) != was:
            return False
        self.values[key] = value
        return True

    async def record(self, execution_id: str) -> Any:
        self.looked_up.append(execution_id)
        if execution_id == "pruned":
            return None
        return SimpleNamespace(id=execution_id, undo=self.undos.get(execution_id))

    def replica(self, at: float = 1.0) -> AskedUndos:
        journal: Any = self
        return AskedUndos(journal, lambda: at)


def undo(state: str, at: float) -> Any:
    return SimpleNamespace(state=state, asked_at=datetime.fromtimestamp(at, UTC))


async def names(asked: AskedUndos) -> list[str]:
    return [ask.execution for ask, _ in await asked.waiting()]


async def test_what_is_asked_for_waits_through_a_restart_and_has_a_bound() -> None:
    journal = Kept()
    asked = journal.replica()
    for number in range(MOST_WAITING - 1):
        assert await asked.ask(str(number), "please")
    assert await asked.ask("pruned", "please")
    assert await asked.ask("0", "now")
    assert await asked.ask("last", "please")
    assert not await asked.ask("more", "please")
    waiting = [(ask.execution, ask.reason) for ask, _ in await journal.replica().waiting()]
    assert len(waiting) == MOST_WAITING
    assert waiting[-2:] == [("0", "now"), ("last", "please")]


async def test_what_two_replicas_are_asked_at_once_is_kept_by_both() -> None:
    journal = Kept()
    one, other = journal.replica(), journal.replica()
    journal.meanwhile = lambda: other.ask("b", "please")
    assert await one.ask("a", "please")
    assert await names(one) == ["b", "a"]
    at = repr(1.0)
    journal.meanwhile = lambda: other.deny("b", "cleo", "", at)
    assert await one.deny("a", "ben", "", at)
    assert await names(one) == []
    for execution in ("a", "b"):
        assert await one.denied(execution)
    journal.meanwhile = lambda: other.ask("c", "please")  # while the settled ones leave
    assert await names(one) == []
    assert await names(one) == ["c"]


async def test_what_is_settled_is_looked_up_once() -> None:
    journal = Kept()
    asked = journal.replica()
    for execution in ("denied", "pruned", "done", "ordered", "fails", "open"):
        await asked.ask(execution, "please")
    await asked.deny("denied", "cleo", "", repr(1.0))
    journal.undos |= {"done": undo("done", 0.5), "ordered": undo("failed", 2.0)}
    journal.undos |= {"fails": undo("running", 0.5)}  # ordered before it was asked for
    assert await names(asked) == ["open"]
    journal.looked_up.clear()
    assert await names(asked) == ["open"]
    assert journal.looked_up == ["fails", "open"]
    journal.undos["fails"] = undo("failed", 0.5)
    assert await names(asked) == ["fails", "open"]
