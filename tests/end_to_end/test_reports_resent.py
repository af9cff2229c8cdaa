"""Parked reports: listed, and sent again by command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.commands import Said
from tests.log_lines import captured_logs
from tests.ordering import JOURNAL, say
from tests.providing import Greet, event_url, provider
from tests.waiting import until


@dataclass(frozen=True)
class Shop:
    folder: Path
    service: Service
    keptn: FakeKeptn

    async def parked(self, kind: str, reports: int) -> str:
        """An execution of which that report was refused for its content, and what follows it."""
        event = triggered("greet")
        self.keptn.answer_next(422, event_type=kind)
        await self.keptn.deliver(event, to=event_url(self.service))

        async def is_parked() -> bool:
            backlog = await self.service.journal.backlog()
            return (backlog.parked, backlog.unsent) == (reports, 0)

        await until(is_parked)
        return str(event["id"])

    async def reports(self, *words: str) -> Said:
        return await say(self.folder, "reports", *words)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    with captured_logs():  # the commands write to the same stdout
        async with FakeKeptn() as keptn, provider(tmp_path / JOURNAL, keptn, Greet) as service:
            yield Shop(tmp_path, service, keptn)


async def test_parked_reports_are_listed_and_sent_again(shop: Shop) -> None:
    execution_id = await shop.parked(STARTED, reports=2)
    listed = [json.loads(line) for line in (await shop.reports("list", "--json")).out.splitlines()]
    assert [(each["kind"], each["state"]) for each in listed] == [
        ("started", "parked"),
        ("finished", "parked"),
    ]
    assert {each["execution"] for each in listed} == {execution_id}
    assert "answered 422" in listed[0]["reason"]
    assert execution_id in (await shop.reports("list")).out
    said = await shop.reports("resend", execution_id)
    assert (said.code, said.out, said.err) == (0, "sent: 2 reports\n", "")
    assert (await shop.keptn.task_finished(execution_id)).result == "pass"
    assert (await shop.reports("list", "--json")).out == ""
    assert (await shop.reports("resend")).out == "no report is parked\n"


async def test_what_keptn_has_already_is_not_sent_again(shop: Shop) -> None:
    execution_id = await shop.parked(FINISHED, reports=1)
    shop.keptn.answer_as("keptn-remedy", "finished", execution_id)  # it was counted all the same
    said = await shop.reports("resend", "--json")
    assert (said.code, json.loads(said.out)) == (0, {"resent": 1, "sent": 1, "left": []})
    assert not shop.keptn.finished(execution_id)


async def test_what_is_refused_again_is_told(shop: Shop) -> None:
    execution_id = await shop.parked(FINISHED, reports=1)
    shop.keptn.answer_next(400, event_type=FINISHED)
    said = await shop.reports("resend", execution_id)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"remedy: the finished of execution {execution_id} was not taken")
    assert (await shop.reports("resend", execution_id)).code == 0


async def test_an_execution_of_which_nothing_is_parked_is_told(shop: Shop) -> None:
    said = await shop.reports("resend", "typo")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("remedy: no report of execution 'typo' is parked")


async def test_without_a_service_the_next_one_sends_them(tmp_path: Path) -> None:
    with captured_logs():
        async with FakeKeptn() as keptn:
            async with provider(tmp_path / JOURNAL, keptn, Greet) as service:
                shop = Shop(tmp_path, service, keptn)
                execution_id = await shop.parked(STARTED, reports=2)
            said = await shop.reports("resend")
            assert (said.code, said.err) == (0, "")
            assert said.out.endswith("the next one to start sends 2 reports\n")
            keptn.expect_unanswered(execution_id)
    journal = SqliteJournal.open(tmp_path / JOURNAL)
    backlog = await journal.backlog()
    await journal.close()
    assert (backlog.parked, backlog.unsent) == (0, 2)
