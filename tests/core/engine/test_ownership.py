"""An execution that is another replica's by now, or whose targets are: what becomes of its run, its
lane and its reports. The journal of these tests is a file; it is told to say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy.journal import NotOwner, TargetHeld
from keptn_remedy.journal.ownership import Alone
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

LEFT = "an execution is left to another replica"
OTHER = Ask(("b",), service="orders")


class Lease(Alone):
    """A lease that a test lets end."""

    def __init__(self) -> None:
        self.holds = True

    def may_act(self) -> bool:
        return self.holds


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> Lease:
    found = Lease()
    monkeypatch.setattr(SqliteJournal, "ownership", found)
    return found


def once(monkeypatch: pytest.MonkeyPatch, name: str, error: Callable[[], BaseException]) -> None:
    """The first call of this method of the journal fails so."""
    method = getattr(SqliteJournal, name)
    failed: list[bool] = []

    async def fail_once(self: SqliteJournal, *given: Any, **named: Any) -> Any:
        if not failed:
            failed.append(True)
            raise error()
        return await method(self, *given, **named)

    monkeypatch.setattr(SqliteJournal, name, fail_once)


async def test_a_plan_whose_target_is_held_elsewhere_is_made_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, "admit", lambda: TargetHeld("a"))
    async with rig.serving():
        ended = await rig.ask()
    assert ended.result == "pass"
    assert rig.knobs.steps == ["plan", "plan", "apply"]
    assert len(rig.keptn.started(ended.id)) == 1


@pytest.mark.parametrize("name", ["admit", "finish"])
async def test_a_run_that_lost_its_execution_ends_without_a_word_and_its_lane_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It stays open for whoever owns it, here for the next look; nothing overtakes it."""
    once(monkeypatch, name, NotOwner)
    async with rig.serving():
        first, second = await rig.deliver(), await rig.deliver()
        ended = [await rig.ended(each) for each in (first, second)]
        (line,) = rig.log.saying(LEFT)
    assert line["execution"] == first
    assert [each.result for each in ended] == ["pass", "pass"]
    assert all(len(rig.keptn.finished(each)) == 1 for each in (first, second))
    assert len(rig.keptn.started(first)) == 1


async def test_without_a_lease_nothing_is_applied_and_nothing_reported(
    rig: Rig, lease: Lease
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving() as service:
        first = await rig.deliver()
        await gate.until_entered(1)
        lease.holds = False
        second = await rig.deliver(OTHER)
        await until(lambda: bool(rig.log.saying(LEFT)))
        assert rig.knobs.numbers == {"a": 2}
        gate.open()
        detail = await rig.detail(second)
        assert detail["state"] != "finished"
        assert not rig.keptn.finished(first)
        lease.holds = True
        service.engine.look_again()
        service.outbox.look_again()
        assert [(await rig.ended(each)).result for each in (first, second)] == ["pass", "pass"]


async def test_what_runs_is_cut_off_when_the_lease_is_lost_and_goes_on_where_it_was(
    rig: Rig,
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving() as service:
        first = await rig.deliver()
        await gate.until_entered(1)
        service.engine.lose()
        service.outbox.lose()
        await until(lambda: not service.engine.dispatcher.running)
        assert not rig.keptn.finished(first)
        gate.open()
        service.engine.look_again()
        assert (await rig.ended(first)).result == "pass"
    assert rig.knobs.numbers == {"a": 2}
    assert len(rig.keptn.started(first)) == 1
