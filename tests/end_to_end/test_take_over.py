"""What an earlier process or a restored backup left is compared with Keptn before it acts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Dial, event_url, provider
from tests.waiting import until

ASKS = "version: 1\nrules: [{name: careful, mode: approve}]\n"


async def left_in_journal(folder: Path, event: dict[str, Any], *, seconds_ago: float) -> str:
    """Accept a trigger as an earlier process did, which died before it began."""
    journal = SqliteJournal.open(folder / "journal.db", now=lambda: time.time() - seconds_ago)
    assert await journal.accept(events.stored_trigger(orjson.dumps(event)), "dial")
    await journal.close()
    return str(event["id"])


@asynccontextmanager
async def serving(folder: Path, keptn: FakeKeptn, **settings: Any) -> AsyncIterator[Service]:
    journal = folder / "journal.db"
    async with provider(journal, keptn, Dial, watch_seconds=3600, **settings) as service:
        yield service


async def aborted(service: Service, execution: str) -> str:
    """Why it was aborted, once it is closed as such."""
    closed: list[str] = []

    async def is_closed() -> bool:
        record = await service.journal.record(execution)
        if record and record.state == "finished":
            assert record.status == "aborted"
            closed.append(record.message or "")
        return bool(closed)

    await until(is_closed)
    return closed[0]


@pytest.mark.parametrize("seconds_ago", [1, 36_000])
@pytest.mark.parametrize("ending", ["aborted", "timedOut", "answered"])
async def test_what_keptn_ended_meanwhile_is_closed_without_a_deed_or_a_word(
    ending: Any, seconds_ago: float, tmp_path: Path
) -> None:
    event = triggered("dial", 5)
    async with FakeKeptn() as keptn:
        id_ = keptn.open(event)
        await left_in_journal(tmp_path, event, seconds_ago=seconds_ago)
        if ending == "answered":
            keptn.answer_as("keptn-remedy", "started", id_)
            keptn.answer_as("keptn-remedy", "finished", id_)
        else:
            keptn.end_task(id_, ending)
        async with serving(tmp_path, keptn) as service:
            assert "nothing was done" in await aborted(service, id_)
        assert keptn.received == []
    assert Dial.log == []


async def test_what_keptn_still_waits_for_is_carried_out(tmp_path: Path) -> None:
    event = triggered("dial", 5)
    async with FakeKeptn() as keptn:
        id_ = keptn.open(event)
        await left_in_journal(tmp_path, event, seconds_ago=36_000)
        async with serving(tmp_path, keptn):
            assert (await keptn.task_finished(id_)).result == "pass"
    assert Dial.log == ["plan", "apply", "verify"]


async def test_an_approval_never_acts_on_a_dead_sequence(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(ASKS)
    event = triggered("dial", 5)
    async with FakeKeptn() as keptn, serving(tmp_path, keptn, policy=policy) as service:
        await keptn.deliver(event, to=event_url(service))

        async def is_asking() -> bool:
            return bool(await service.journal.questions(1))

        await until(is_asking)
        keptn.abort(event["id"])
        assert await service.journal.answer(event["id"], "approved", "ann", "go on") is None
        service.engine.look()
        assert "nothing was done" in await aborted(service, event["id"])
        assert not keptn.finished(event["id"])
    assert "apply" not in Dial.log


async def test_an_approval_of_what_keptn_waits_for_acts(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(ASKS)
    event = triggered("dial", 5)
    async with FakeKeptn() as keptn, serving(tmp_path, keptn, policy=policy) as service:
        await keptn.deliver(event, to=event_url(service))

        async def is_asking() -> bool:
            return bool(await service.journal.questions(1))

        await until(is_asking)
        assert await service.journal.answer(event["id"], "approved", "ann", "go on") is None
        service.engine.look()
        assert (await keptn.task_finished(event["id"])).result == "pass"
