"""Carries episodes on: what is due is looked at, asked about, and moved by the ladder's rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from keptn_remedy.journal import Episode, Execution, JournalError, Move, Rung, WholeRecord, insist
from keptn_remedy.standalone import ladder, remedy_files
from keptn_remedy.standalone.ending import Ending
from keptn_remedy.standalone.events import trigger_event
from keptn_remedy.standalone.facts import Facts
from keptn_remedy.standalone.ladder import Ended
from keptn_remedy.standalone.rules import LadderRules, remedies
from keptn_remedy.standalone.storms import Storms
from keptn_remedy.standalone.world import World
from keptn_remedy.support import logs

AT_ONCE = 32
LOOK_SECONDS = 1.0
ABORTED = "the alert is gone"
WORSE = "it made the problem worse"
DRY_RUN = "dry run"
TAKEN_OVER = 100


class Climber:
    """Looks at each open episode when it is due: one step at a time, episodes side by side."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._journal = world.journal
        self._facts = Facts(world)
        self._storms = Storms(world)
        self._ending = Ending(world, self._facts)
        self._wake = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look now: something new is stored."""
        self._wake.set()

    async def execution_ended(self, execution_id: str) -> None:
        """An execution has ended: the episode that waits for it is looked at."""
        # If this can't be stored, the episode's own look finds the outcome, every 5 s.
        with suppress(JournalError):
            if await self._journal.look_at_execution(execution_id):
                self.wake()

    async def gives_up(self, execution: Execution) -> bool:
        """Whether an execution that has waited for a person must not act any more."""
        ask = partial(self._facts.is_unconfirmed, execution)
        return await insist(ask, self._world.clock.sleep)

    async def run(self) -> None:
        """Carry episodes on, until cancelled."""
        await insist(self._take_over, self._world.clock.sleep)
        try:
            while True:
                try:
                    due_at = await self._begin_due()
                except JournalError:
                    due_at = None
                now = self._world.clock.now()
                pause = LOOK_SECONDS if due_at is None else min(LOOK_SECONDS, due_at - now)
                await self._world.clock.wait(self._wake, max(pause, 0.01))
                self._wake.clear()
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin_due(self) -> float | None:
        now = self._world.clock.now()
        room = AT_ONCE - len(self._under_way)
        if room > 0:
            # Read are those alone that can be begun: of thousands that are due, it may be one.
            for episode in await self._journal.due_episodes(now, room, but=[*self._under_way]):
                self._begin(episode)
        return await self._journal.next_due() if not self._under_way else None

    def _begin(self, episode: Episode) -> None:
        task = asyncio.create_task(self._carry_on(episode))
        self._under_way[episode.handle] = task

        def done(_: asyncio.Task[None]) -> None:
            del self._under_way[episode.handle]
            self._wake.set()

        task.add_done_callback(done)

    async def _carry_on(self, episode: Episode) -> None:
        """Take all steps that can be taken now."""
        try:
            following: Episode | None = episode
            while following is not None and following.closed_at is None:
                following = await self._step(following)
        except JournalError as error:
            logs.logger().error("an episode can't go on", episode=episode.id, reason=str(error))
            await self._world.clock.sleep(LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001  one episode must not stop the others
            logs.logger().error("an episode failed", episode=episode.id, exc_info=error)
            await self._world.clock.sleep(ladder.LOOK_SECONDS)

    async def _step(self, episode: Episode) -> Episode | None:
        """One step; the episode after it, None where it has to wait or was changed meanwhile."""
        rules, now = self._world.configuration.rules, self._world.clock.now()
        steps: dict[ladder.Need, Callable[[Episode, LadderRules], Awaitable[Move]]] = {
            "remedy": self._find_remedy,
            "confirmation": self._confirm_and_begin,
            "outcome": self._look_at_outcome,
            "reading": self._read,
            "closing": self._ending.close,
            "lasting": self._ending.see_that_it_lasts,
            "telling": self._tell,
        }
        step = steps.get(ladder.need(episode, now, rules))
        move = await step(episode, rules) if step else ladder.rest(episode, now, rules)
        move = await self._with_notice(episode, move)
        moved = await self._journal.move(episode, move)
        if moved is None:
            self._wake.set()
            return None
        if moved.state != episode.state:
            self._log(moved, move.text)
        if moved.closing == "confirmed":
            await self._undo_what_is_armed(moved)
        return moved if moved.due_at <= self._world.clock.now() else None

    async def _with_notice(self, episode: Episode, move: Move) -> Move:
        """The move, with what channels are to be told of it: stored together, it is told once."""
        state, why = move.fields.get("state"), str(move.fields.get("reason"))
        if state == "closed" and episode.escalated_at is not None:
            return replace(move, notice=self._world.escalation.over(episode, why))
        if state != "escalated":
            return move
        rungs = {each.number: each for each in await self._journal.rungs(episode)}
        if move.rung:
            rungs[move.rung.number] = move.rung
        tried = list(rungs.values())
        is_told = _disturbs(tried)
        notice = self._world.escalation.notice(episode, tried, why) if is_told else None
        return replace(move, notice=notice)

    async def _find_remedy(self, episode: Episode, rules: LadderRules) -> Move:
        place = episode.project, episode.stage, episode.service
        found = await asyncio.to_thread(
            remedy_files.find, self._world.remediations, place, episode.names, episode.labels
        )
        return ladder.with_remedy(found.entry, found.digest, found.why, self._now())

    async def _confirm_and_begin(self, episode: Episode, rules: LadderRules) -> Move:
        now = self._now()
        if episode.tries == 0 and (waits := await self._storms.holds(episode, rules)):
            return waits
        said = await self._facts.confirmation(episode)
        if waits := ladder.confirmed(episode, said, now, rules):
            return waits
        rungs = remedies(episode.remedy)
        if episode.index >= len(rungs):
            return ladder.escalated("no remedy is left: it fires again after the last one", now)
        remedy = rungs[episode.index]
        window = rules.window if remedy.window is None else remedy.window
        judge = self._world.configuration.judge_of(episode.source)
        before = await judge.before(remedy.criterion, window)
        begun = ladder.begun(episode, before.value, self._now(), before.values)
        return replace(begun, alone=episode.in_storm and episode.tries == 0)

    async def _look_at_outcome(self, episode: Episode, rules: LadderRules) -> Move:
        rung = (await self._journal.rungs(episode))[-1]
        record = await self._journal.record(rung.execution)
        if record is None:
            return await self._hand_over(episode, rung, rules)
        if record.state == "finished":
            return ladder.ended(episode, rung, _end_of(record), self._now(), rules)
        asks = record.state == "accepted" or (record.question and not record.question.verdict)
        if asks and ladder.is_quiet(episode, self._now(), rules):
            await self._world.abort(rung.execution, ABORTED)
        return Move({"due_at": self._now() + ladder.LOOK_SECONDS})

    async def _hand_over(self, episode: Episode, rung: Rung, rules: LadderRules) -> Move:
        """Have the rung carried out. After a restart, what was confirmed may not hold any more."""
        now = self._now()
        if now - rung.began_at > ladder.LOOK_SECONDS:
            said = await self._facts.confirmation(episode)
            if said != "firing" or episode.acknowledged:
                text = "it was never begun"
                never = Ended("errored", "fail", text, is_aborted=True)
                return ladder.ended(episode, rung, never, now, rules)
        remedy = remedies(episode.remedy)[rung.index]
        event = trigger_event(episode, rung, remedy, self._world.clock.utc())
        receipt = await self._world.accept(event)
        if receipt.kind == "ignored":
            failed = Ended("errored", "fail", receipt.text)
            return ladder.ended(episode, rung, failed, self._now(), rules)
        return Move({"due_at": self._now() + ladder.LOOK_SECONDS})

    async def _read(self, episode: Episode, rules: LadderRules) -> Move:
        rung = (await self._journal.rungs(episode))[-1]
        remedy = remedies(episode.remedy)[rung.index]
        if remedy.criterion.kind == "slo" and (
            waits := ladder.measuring(episode, rung, self._now(), rules)
        ):
            return waits
        reading = await self._facts.reading(episode, remedy, rung, rules)
        move, verdict = ladder.judged(episode, rung, reading, self._now(), rules)
        if verdict:
            self._world.metrics.verdicts(verdict).inc()
        if verdict == "worse" and rung.acted:
            # Before the verdict is stored: a crash in between asks the judge once more.
            await self._journal.want_undo(rung.execution, WORSE)
            self._world.undo_due()
        return move

    async def _tell(self, episode: Episode, rules: LadderRules) -> Move:
        now = self._now()
        rungs = await self._journal.rungs(episode)
        if not _disturbs(rungs):
            return ladder.rest(episode, now, rules)
        is_told = await self._world.escalation.tell(episode, rungs)
        if not is_told:
            return Move({"due_at": now + ladder.HELD_SECONDS})
        again: dict[str, Any] = {"due_at": now + ladder.TELL_SECONDS}
        if episode.told_at is None:
            return Move({**again, "told_at": now}, text="a person was told")
        return Move(again)

    async def _undo_what_is_armed(self, episode: Episode) -> None:
        if await self._journal.problem_closed(episode.id):
            self._world.undo_due()

    async def _take_over(self) -> None:
        """Begin the undos of episodes whose closing a crash cut off."""
        for episode in await self._journal.episodes(is_open=False, limit=TAKEN_OVER):
            if episode.closing == "confirmed":
                await self._undo_what_is_armed(episode)

    def _now(self) -> float:
        return self._world.clock.now()

    def _log(self, episode: Episode, text: str) -> None:
        self._world.metrics.episodes(episode.state).inc()
        logs.logger().info(
            f"episode {episode.state}",
            episode=episode.id,
            project=episode.project,
            stage=episode.stage,
            service=episode.service,
            problem=episode.name,
            reason=text,
        )


def _disturbs(rungs: Sequence[Rung]) -> bool:
    """Whether a person is told: a dry run disturbs nobody."""
    return not rungs or any(each.acted for each in rungs)


def _end_of(record: WholeRecord) -> Ended:
    message = record.message or ""
    return Ended(
        status=record.status or "",
        result=record.result or "",
        message=message,
        rail=str(record.details.get("rail", "")),
        acted=not message.startswith(DRY_RUN),
        is_aborted=record.status == "aborted",
    )
