"""A pause, in the journal or by a file, refuses everything that would act, and says who paused."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy.guardrails.pauses import MAX_REASON_CHARACTERS, PauseFile, Pauses
from keptn_remedy.journal import Pause
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.mounted_files import MountedFile
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

RULE = "global stop"


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


async def left_paused(rig: Rig, by: str = "ann") -> None:
    """As `remedy pause` leaves it while no service runs."""
    journal = SqliteJournal.open(rig.journal, now=rig.clock.now)
    await journal.pause(by, "release freeze")
    await journal.close()


@pytest.mark.parametrize("action", ["turn", "greet"])
@pytest.mark.parametrize("policy", [None, "cooldown: 1m"], ids=["no policy", "a policy"])
async def test_a_pause_refuses_what_would_act_and_says_who_paused_and_why(
    rig: Rig, action: str, policy: str | None
) -> None:
    rig.write(*[policy] if policy else [])
    async with rig.serving():
        await rig.pause()
        ask = Ask(action=action)
        ended = await rig.refused(ask, "pause", RULE, paused_by="ann")
        assert "paused by ann since 2026-03-02T12:00:" in ended.message
        assert "release freeze; the sequence stops here" in ended.message
        await rig.resume()
        assert (await rig.ask(ask)).result == "pass"


@pytest.mark.parametrize("action", ["turn", "greet"])
async def test_a_pause_lasts_through_a_restart(rig: Rig, action: str) -> None:
    async with rig.serving():
        await rig.pause()
    async with rig.serving():
        await rig.refused(Ask(action=action), "pause", RULE, paused_by="ann")
        await rig.resume()
    async with rig.serving():
        assert (await rig.ask(Ask(action=action))).result == "pass"


@pytest.mark.parametrize("action", ["turn", "greet"])
async def test_a_service_that_starts_paused_carries_out_nothing_that_waited_for_it(
    rig: Rig, action: str
) -> None:
    async with rig.serving(drain_seconds=2) as service:
        service.engine.dispatcher.stop_starting()
        left = [await rig.deliver(Ask(action=action, service=f"s {n}")) for n in range(5)]
    await left_paused(rig)
    async with rig.serving():
        for execution_id in left:
            ended = await rig.ended(execution_id)
            assert ended.details["rail"] == "pause"


async def test_a_pause_written_this_very_moment_is_not_overlooked(rig: Rig) -> None:
    async with rig.serving() as service:
        await service.journal.pause("ann", "now")
        await rig.refused(Ask(), "pause", RULE, paused_by="ann")


async def test_what_is_carried_out_when_the_pause_comes_goes_on_to_its_end(rig: Rig) -> None:
    gate = rig.knobs.shut()
    async with rig.serving():
        running = await rig.deliver()
        await gate.until_entered(1)
        await rig.pause()
        gate.open()
        assert (await rig.ended(running)).result == "pass"


async def test_what_failed_during_a_pause_is_not_undone_but_may_be_later(rig: Rig) -> None:
    gate = rig.knobs.shut()
    async with rig.serving():
        running = await rig.deliver(Ask(in_vain=True))
        await gate.until_entered(1)
        await rig.pause()
        gate.open()
        ended = await rig.ended(running)
        assert "; to be undone after the pause: refused by guard-rail pause" in ended.message
        assert rig.knobs.numbers == {"a": 2}
        await rig.resume()
        await until(lambda: rig.knobs.numbers == {"a": 1})


async def test_a_plan_that_a_restart_cut_off_is_not_applied_again_during_a_pause(
    rig: Rig,
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving(drain_seconds=2):
        running = await rig.deliver()
        await gate.until_entered(1)
    await left_paused(rig)
    gate.open()
    async with rig.serving():
        ended = await rig.ended(running)
        assert ended.details["rail"] == "pause"
        assert "; to be undone after the pause: " in ended.message
    assert rig.knobs.steps == ["plan", "apply"]


async def test_a_file_pauses_for_as_long_as_it_is_there(rig: Rig) -> None:
    file = rig.folder / "pause"
    async with rig.serving(pause_file=file):
        file.write_text("cluster upgrade\n")
        await until(rig.is_paused)
        ended = await rig.refused(Ask(), "pause", RULE, paused_by=f"file {file}")
        assert "cluster upgrade" in ended.message
    async with rig.serving(pause_file=file):
        await rig.refused(Ask(), "pause", RULE, paused_by=f"file {file}")
        file.unlink()
        await until(lambda: not rig.is_paused())
        await rig.acts(Ask())


async def test_a_pause_is_shown_as_degraded_in_the_metric_and_in_the_log(rig: Rig) -> None:
    async with rig.serving() as service:
        await rig.pause()
        ready = await service.readiness.look()
        assert ready.ready
        assert ready.degraded[0].startswith("paused by ann")
        registry = service.engine.runtime.metrics.registry
        await until(lambda: registry.get_sample_value("remedy_paused") == 1)
        await rig.resume()
        await until(lambda: registry.get_sample_value("remedy_paused") == 0)
    assert [(line["by"], line["reason"]) for line in rig.log.saying("paused")] == [
        ("ann", "release freeze")
    ]
    assert len(rig.log.saying("resumed")) == 1


# What is known between two looks


@dataclass
class Desk:
    """Pauses of a journal that reads at once and answers late, when it is let go."""

    journal: SqliteJournal
    pauses: Pauses
    was_read: asyncio.Event
    let_go: asyncio.Event

    async def order_during_refresh(self, order: Callable[[], Awaitable[object]]) -> None:
        refresh = asyncio.create_task(self.pauses.refresh())
        await self.was_read.wait()
        await order()
        self.let_go.set()
        await refresh


@pytest_asyncio.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    journal = SqliteJournal.open(tmp_path / "journal.db")
    desk = Desk(journal, Pauses(journal), asyncio.Event(), asyncio.Event())
    paused = journal.paused

    async def answered_late() -> Pause | None:
        found = await paused()
        desk.was_read.set()
        await desk.let_go.wait()
        return found

    monkeypatch.setattr(journal, "paused", answered_late)
    yield desk
    await journal.close()


async def test_a_pause_set_between_two_looks_is_not_overwritten(desk: Desk) -> None:
    await desk.order_during_refresh(lambda: desk.pauses.pause("ann", "release freeze"))
    pause = desk.pauses.current
    assert pause
    assert pause.by == "ann"


async def test_a_pause_ended_between_two_looks_does_not_come_back(desk: Desk) -> None:
    await desk.journal.pause("another process", "release freeze")
    await desk.order_during_refresh(desk.pauses.resume)
    assert desk.pauses.current is None


async def test_what_another_process_wrote_is_known_after_a_refresh(desk: Desk) -> None:
    desk.let_go.set()
    pause = await desk.journal.pause("another process", "release freeze")
    known = [desk.pauses.current]
    await desk.pauses.refresh()
    known.append(desk.pauses.current)
    await desk.journal.resume()
    await desk.pauses.refresh()
    assert [*known, desk.pauses.current] == [None, pause, None]


# The file alone


async def pause_of(file: Path) -> Pause | None:
    return await PauseFile(file).look()


@pytest.mark.parametrize("text", ["false", "No\n", "off", " 0 "])
async def test_a_file_that_says_no_does_not_pause(tmp_path: Path, text: str) -> None:
    (tmp_path / "pause").write_text(text)
    assert await pause_of(tmp_path / "pause") is None


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no reason given"), ("true", "true"), ("one\n two", "one two")]
)
async def test_any_other_text_is_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "pause").write_text(text)
    pause = await pause_of(tmp_path / "pause")
    assert pause
    assert pause.reason == reason


async def test_a_file_that_cannot_be_read_pauses(tmp_path: Path) -> None:
    (tmp_path / "pause").mkdir()
    pause = await pause_of(tmp_path / "pause")
    assert pause
    assert "can't be read" in pause.reason


async def test_a_file_that_waits_for_a_writer_pauses_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pause")
    pause = await pause_of(tmp_path / "pause")
    assert pause
    assert pause.reason == "it can't be read: it isn't a regular file"


async def test_a_file_whose_mount_hangs_pauses_until_it_answers(
    tmp_path: Path, answer_mount: Callable[[], None]
) -> None:
    (tmp_path / "pause").write_text("no")
    file = PauseFile(tmp_path / "pause")
    reasons = [pause.reason for _ in range(3) if (pause := await file.look())]
    answer_mount()
    assert reasons == ["it can't be read: it takes too long"] * 3

    async def is_over() -> bool:
        return await file.look() is None

    await until(is_over)


async def test_nobody_complains_of_a_failure_that_comes_too_late(
    tmp_path: Path, answer_mount: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    file = MountedFile(tmp_path / "missing", 9)
    with pytest.raises(TimeoutError):
        await file.read(anew=True)
    answer_mount()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    (tmp_path / "missing").write_text("found")
    assert (await file.read(anew=True)).text == "found"
    gc.collect()
    assert caplog.messages == []


async def test_a_pause_is_the_same_for_as_long_as_its_file_says_the_same(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pause")
    file = PauseFile(tmp_path / "pause")
    first = await file.look()
    assert await file.look() == first
    (tmp_path / "pause").unlink()
    (tmp_path / "pause").write_text("another")
    assert await file.look() != first


async def test_a_file_of_a_year_that_no_calendar_has_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: not every file system can store such a time."""
    (tmp_path / "pause").write_text("stop")
    found = (tmp_path / "pause").stat()
    for late in (1e13, 1e300):
        status = os.stat_result([*found[:8], late, found.st_ctime])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fstat", lambda _, status=status: status)
            pause = await pause_of(tmp_path / "pause")
        assert pause
        assert pause.reason == "stop"


async def test_a_long_or_odd_text_pauses_and_is_cut(tmp_path: Path) -> None:
    (tmp_path / "pause").write_bytes(b"\xff" + b"x" * 5_000)
    pause = await pause_of(tmp_path / "pause")
    assert pause
    assert len(pause.reason) <= MAX_REASON_CHARACTERS


async def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    with (tmp_path / "pause").open("wb") as file:
        file.truncate(1 << 40)  # it takes no room
    pause = await pause_of(tmp_path / "pause")
    assert pause
    assert len(pause.reason) <= MAX_REASON_CHARACTERS
