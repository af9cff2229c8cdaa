"""Orders and a running service: what people say, by command or over HTTP, is what happens."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.log_lines import captured_logs
from tests.ordering import JOURNAL, say
from tests.providing import Dial, event_url, ops_url, provider
from tests.waiting import until

TOKEN = "correct-horse-battery-staple"
POLICY = """
version: 1
rules:
  - name: careful
    match: {stage: production}
    mode: approve
"""


@dataclass(frozen=True)
class Shop:
    """A provider whose dial is turned in `dev` at once, and in `production` when approved."""

    folder: Path
    service: Service
    keptn: FakeKeptn
    session: ClientSession

    async def turn(self, value: int, stage: str) -> str:
        event = triggered("dial", value, stage=stage)
        answer = await self.keptn.deliver(event, to=event_url(self.service))
        assert answer.status == 202
        return str(event["id"])

    async def turned(self, value: int) -> str:
        """An execution that has turned the dial, and ended."""
        execution_id = await self.turn(value, "dev")
        await self.keptn.task_finished(execution_id)
        assert Dial.state["dial"] == value
        return execution_id

    async def asking(self, value: int) -> str:
        """An execution that waits for approval."""
        execution_id = await self.turn(value, "production")

        async def asks() -> bool:
            return bool((await self.told(execution_id))["waiting"])

        await until(asks)
        return execution_id

    async def told(self, execution_id: str) -> Any:
        url = ops_url(self.service, f"/api/executions/{execution_id}")
        async with self.session.get(url) as answer:
            return await answer.json()

    async def order(self, path: str, reason: str) -> int:
        url = ops_url(self.service, path)
        async with self.session.post(url, json={"reason": reason}) as answer:
            return answer.status

    async def undo_state(self, execution_id: str) -> Any:
        return (await self.told(execution_id))["undo"]["state"]

    async def ended(self, execution_id: str) -> Any:
        """An execution once Keptn has heard its end."""
        await self.keptn.task_finished(execution_id)
        return await self.told(execution_id)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    policy, token = tmp_path / "policy.yaml", tmp_path / "token"
    policy.write_text(POLICY)
    token.write_text(TOKEN)
    with captured_logs():  # the commands write to the same stdout
        async with (
            FakeKeptn() as keptn,
            provider(
                tmp_path / JOURNAL, keptn, Dial, policy=policy, operator_token_file=token
            ) as service,
            ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        ):
            yield Shop(tmp_path, service, keptn, session)


async def test_what_is_approved_by_command_is_done(shop: Shop) -> None:
    execution_id = await shop.asking(5)
    assert (await shop.told(execution_id))["question"]["rule"] == "careful"
    said = await say(shop.folder, "approve", execution_id, "--reason", "looks right")
    assert (said.code, said.err) == (0, "")
    assert (await shop.ended(execution_id))["result"] == "pass"
    assert Dial.state["dial"] == 5


async def test_what_is_approved_over_http_is_done(shop: Shop) -> None:
    execution_id = await shop.asking(5)
    assert await shop.order(f"/api/executions/{execution_id}/approve", "looks right") == 200
    assert (await shop.ended(execution_id))["result"] == "pass"
    assert Dial.state["dial"] == 5


async def test_what_is_denied_by_command_is_refused_with_the_reason(shop: Shop) -> None:
    execution_id = await shop.asking(5)
    said = await say(shop.folder, "deny", execution_id, "--reason", "not today")
    assert (said.code, said.err) == (0, "")
    assert "not today" in said.out
    told = await shop.ended(execution_id)
    assert (told["status"], told["result"]) == ("succeeded", "fail")
    assert "not today" in told["message"]
    assert Dial.state == {}


async def test_what_is_denied_over_http_is_refused(shop: Shop) -> None:
    execution_id = await shop.asking(5)
    assert await shop.order(f"/api/executions/{execution_id}/deny", "not today") == 200
    assert "not today" in (await shop.ended(execution_id))["message"]
    assert Dial.state == {}


async def test_what_would_do_something_else_by_now_is_asked_again(shop: Shop) -> None:
    execution_id = await shop.asking(5)
    Dial.state["dial"] = 3
    said = await say(shop.folder, "approve", execution_id)
    assert (said.code, said.out) == (1, "")
    assert "it asks again" in said.err
    assert Dial.state["dial"] == 3
    said = await say(shop.folder, "approve", execution_id)
    assert (said.code, said.err) == (0, "")
    assert (await shop.ended(execution_id))["result"] == "pass"
    assert Dial.state["dial"] == 5


async def test_an_undo_by_command_returns_when_it_is_done(shop: Shop) -> None:
    await shop.turned(3)
    execution_id = await shop.turned(5)
    said = await say(shop.folder, "undo", execution_id, "--reason", "too much")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("undone: ")
    assert Dial.state["dial"] == 3
    again = await say(shop.folder, "undo", execution_id)
    assert (again.code, again.out) == (1, "")
    assert "it is undone already" in again.err


async def test_an_undo_over_http_is_told_by_the_execution(shop: Shop) -> None:
    await shop.turned(3)
    execution_id = await shop.turned(5)
    assert await shop.order(f"/api/executions/{execution_id}/undo", "too much") == 202

    async def is_done() -> bool:
        return bool(await shop.undo_state(execution_id) == "done")

    await until(is_done)
    assert Dial.state["dial"] == 3


async def test_nothing_is_done_or_undone_while_paused(shop: Shop) -> None:
    before = await shop.turned(3)
    assert (await say(shop.folder, "pause", "--reason", "release freeze")).code == 0
    await until(lambda: shop.service.pauses.current is not None)
    told = await shop.ended(await shop.turn(5, "dev"))
    assert told["result"] == "fail"
    assert "release freeze" in told["message"]
    undo = await say(shop.folder, "undo", before)
    assert (undo.code, undo.out) == (1, "")
    assert "release freeze" in undo.err
    assert Dial.state["dial"] == 3
    assert await shop.order("/api/resume", "over") == 200
    await shop.turned(5)
