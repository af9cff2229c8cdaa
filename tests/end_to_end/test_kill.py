"""`kill -9` of the real process, again and again at random moments: nothing lost, nothing doubled.

`KILLS` raises the number of kills, `KILL_SEED` repeats a run that failed.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import ClientConnectorError, ClientError

from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess, eventually

Aim = Literal["anywhere", "accepting", "running", "reporting"]
AIMS: tuple[Aim, ...] = ("anywhere", "accepting", "running", "reporting")

KILLS = max(int(os.environ.get("KILLS", "0")), 208)
KILLS_WITHOUT_READ_BACK = KILLS // 4
TESTS, TESTS_WITHOUT_READ_BACK = 4, 2
# Providers that one test drives at the same time, each with a Keptn of its own.
SIDE_BY_SIDE = 2
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

# Work is short beside the life of a process: what brings down 10 of them in a row is given up.
LONGEST_WORK_SECONDS = 0.05
LONGEST_PEACE_SECONDS = 0.3
# Counted from the launch, of which about half a second is the start.
LONGEST_LIFE_SECONDS = 1.5
# Beyond the grace after which Keptn is asked what it counted.
LONG_LIFE_SECONDS = 3.5
LONG_LIVES = 0.1
BURST = 12
SERVICES = 30
GATE = "gate"
MARGIN_SECONDS = 120
STORED = """
SELECT id, state = 'finished' AND id NOT IN (
    SELECT execution FROM reports WHERE execution IS NOT NULL) FROM executions"""
"""The executions, and whether each has ended and is told."""


@dataclass
class Life:
    """What one kill hit, told by the clients, the journal and Keptn right after it.

    What an earlier kill left and nobody took up since is not counted again.
    """

    cut_off: int
    """Deliveries whose connection the kill cut."""
    stored_unacknowledged: int
    """Of these, those whose event is in the journal all the same."""
    running: int
    """Executions begun and not finished whose action has left a trace in this life."""
    in_doubt: int
    """Reports that Keptn got in this life, while the journal doesn't know that."""

    def phases(self) -> Iterator[str]:
        if self.cut_off:
            yield "accepting"
        if self.running:
            yield "running"
        if self.in_doubt:
            yield "reporting"
        if self.stored_unacknowledged:
            yield "stored, not acknowledged"


@dataclass
class Ordeal:
    """One provider that is killed a number of times, and what its senders know of it."""

    keptn: FakeKeptn
    provider: ProviderProcess
    dice: random.Random
    actions: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    cut: list[dict[str, Any]] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    sending: dict[str, asyncio.Task[bool]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    kills: list[str] = field(default_factory=list)
    runs_before: dict[str, int] = field(default_factory=dict)

    async def run(self, kills: int) -> None:
        aims: list[Aim] = [AIMS[i % len(AIMS)] for i in range(kills)]
        self.dice.shuffle(aims)
        self.provider.launch()
        for aim in aims:
            await self._live_and_die(aim)
            self.provider.launch()
        await self.provider.ready()
        await self._send_again(share=0.5)
        await asyncio.gather(*self.sending.values())
        await self.provider.quiet()

    async def _live_and_die(self, aim: Aim) -> None:
        launched = time.monotonic()
        if aim != "anywhere":
            await self.provider.ready()
            await self._send_again(share=0.3)
            await asyncio.sleep(self.dice.uniform(0, LONGEST_PEACE_SECONDS))
        await getattr(self, f"_aim_at_{aim}")(launched)
        self.kills.append(f"{time.monotonic() - self.began:.3f} {aim}")
        self.phases.update((await self._killed(launched)).phases())

    # Where the kill is to hit. All of them leave the exact moment to chance.

    async def _aim_at_anywhere(self, launched: float) -> None:
        is_long = self.dice.random() < LONG_LIVES
        life = LONG_LIFE_SECONDS if is_long else self.dice.uniform(0, LONGEST_LIFE_SECONDS)
        while (left := launched + life - time.monotonic()) > 0:
            if await self.provider.readiness() == 200:
                self._send(1)
            await asyncio.sleep(min(left, self.dice.uniform(0, 0.1)))

    async def _aim_at_accepting(self, _: float) -> None:
        before = len(self.acknowledged)
        self._send(BURST)
        # The first answers mean that a group commit is through and the next one is on its way.
        if self.dice.random() < 0.5:
            await eventually(lambda: len(self.acknowledged) > before)
            self._send(BURST)
        await asyncio.sleep(self.dice.uniform(0, 0.01))

    async def _aim_at_running(self, _: float) -> None:
        self.provider.shut(GATE)
        sent = self._send(3, gate=GATE)
        await eventually(lambda: any(self.provider.traces("ran", event) for event in sent))
        await asyncio.sleep(self.dice.uniform(0, 0.05))

    async def _aim_at_reporting(self, _: float) -> None:
        posts = self.keptn.posts
        if self.dice.random() < 0.5:
            self.keptn.hold(counted=self.dice.random() < 0.5)
        else:
            # Keptn has the report, and the answer gets lost: we don't know.
            self.keptn.drop_next(counted=True, times=2)
        self._send(3)
        await self.keptn.wait_until(lambda: self.keptn.posts > posts)
        await asyncio.sleep(self.dice.uniform(0, 0.02))

    async def _killed(self, launched: float) -> Life:
        under_way = dict(self.sending)
        self.provider.kill()
        self.keptn.release()
        cut = [trigger for trigger, task in under_way.items() if not await task]
        rows = self.provider.rows("SELECT id, state FROM executions")
        begun = [trigger for trigger, state in rows if state == "started"]
        runs = {trigger: len(self.provider.traces("ran", trigger)) for trigger in begun}
        posted = {event.id for event in self.keptn.received if event.at > launched}
        life = Life(
            cut_off=len(cut),
            stored_unacknowledged=sum(trigger in cut for trigger, _ in rows),
            running=sum(runs[trigger] > self.runs_before.get(trigger, 0) for trigger in begun),
            in_doubt=sum(report["id"] in posted for report in self.provider.unsent()),
        )
        self.runs_before = runs
        if self.provider.is_shut(GATE):
            self.provider.open(GATE)
        return life

    # The senders

    def _send(self, count: int, *, gate: str = "") -> list[str]:
        events = [self._event(gate) for _ in range(count)]
        for event in events:
            self._deliver(event)
        return [event["id"] for event in events]

    def _event(self, gate: str) -> dict[str, Any]:
        action = self.dice.choice(("set-file", "run-often", "run-once"))
        value = {"seconds": self.dice.uniform(0, LONGEST_WORK_SECONDS), "gate": gate}
        service = f"service-{self.dice.randrange(SERVICES)}"
        event = triggered(action, value, service=service)
        self.actions[event["id"]] = action
        return event

    def _deliver(self, event: dict[str, Any]) -> None:
        self.sending[event["id"]] = asyncio.create_task(self._delivered(event))

    async def _delivered(self, event: dict[str, Any]) -> bool:
        """Send an event; False when the connection was cut before the answer came."""
        try:
            answer = await self.keptn.deliver(event, to=self.provider.url)
        except ClientConnectorError:  # nobody listens: the event never got there
            self.cut.append(event)
            return True
        except (ClientError, TimeoutError):
            self.cut.append(event)
            return False
        finally:
            del self.sending[event["id"]]
        assert answer.status in (200, 202), answer
        self.acknowledged.add(event["id"])
        return True

    async def _send_again(self, *, share: float) -> None:
        """What got no answer is sent again, as some users would do, or left."""
        unanswered, self.cut = self.cut, []
        for event in unanswered:
            if self.dice.random() < share:
                self._deliver(event)

    # What must be true in the end

    def undelivered(self) -> set[str]:
        """The events that never arrived, and that nobody sends again; what the sweep has just taken
        up is among them.
        """
        stored: dict[str, int] = dict(self.provider.rows(STORED))
        return {trigger for trigger in self.actions if not stored.get(trigger)}

    def complaints(self, *, repeats: bool) -> Iterator[str]:
        stored: dict[str, int] = dict(self.provider.rows(STORED))
        if lost := self.acknowledged - stored.keys():
            yield f"acknowledged, but not in the journal: {lost}"
        if not self.provider.is_intact():
            yield "the journal is damaged"
        for trigger in self.actions:
            is_over = stored.get(trigger)
            if is_over:
                yield from self._wrongly_told(trigger, repeats=repeats)
                yield from self._wrongly_done(trigger)
            elif is_over is None and self.keptn.events_of(trigger):
                yield f"{trigger} is not in the journal, but Keptn heard of it"
            elif is_over is not None and trigger in self.acknowledged:
                yield f"{trigger} is open, though all was quiet"
            # Else it was never delivered, and the sweep has taken it up since all was quiet.

    def _wrongly_told(self, trigger: str, *, repeats: bool) -> Iterator[str]:
        for kind, told in (
            (STARTED, self.keptn.started(trigger)),
            (FINISHED, self.keptn.finished(trigger)),
        ):
            reports = {(event.id, event.source, event.context) for event in told}
            if len(reports) != 1 or (len(told) != 1 and not repeats):
                at = [round(event.at - self.began, 3) for event in told]
                yield f"{trigger} got {kind} at {at} with {len(reports)} ids; kills {self.kills}"

    def _wrongly_done(self, trigger: str) -> Iterator[str]:
        action, runs = self.actions[trigger], self.provider.traces("ran", trigger)
        told = {(e.data["status"], e.data["message"]) for e in self.keptn.finished(trigger)}
        if len(told) > 1:
            yield f"{trigger} was told to have ended in different ways: {told}"
        for status, message in told:
            if status == "succeeded":
                continue
            if action != "run-once" or "interrupted" not in message:
                yield f"{trigger} ({action}) ended as {status}: {message}"
        if action == "run-once":
            if len(runs) > 1:
                yield f"{trigger} must not be repeated, but ran {len(runs)} times"
        elif not runs:
            yield f"{trigger} ({action}) never ran"
        if action == "set-file" and {self.provider.effect(trigger)} != set(runs):
            yield f"{trigger} has the effect {self.provider.effect(trigger)} after runs {runs}"


def _shares(kills: int, tests: int) -> list[int]:
    """How many kills each provider of a test gets."""
    return [-(-kills // (tests * SIDE_BY_SIDE))] * SIDE_BY_SIDE


def _time_limit(kills: int, tests: int) -> pytest.MarkDecorator:
    return pytest.mark.timeout(MARGIN_SECONDS + 5 * _shares(kills, tests)[0])


async def _suffer(folder: Path, seed: str, kills: int, *, api_status: int | None) -> Counter[str]:
    """Kill one provider that often, judge what came of it, and tell where the kills hit."""
    async with FakeKeptn() as keptn, ProviderProcess(folder, keptn) as provider:
        keptn.api_status = api_status
        ordeal = Ordeal(keptn, provider, random.Random(seed))  # noqa: S311 - no secret
        await ordeal.run(kills)
        if repeats := api_status is not None:
            for trigger in ordeal.actions:
                keptn.expect_unanswered(trigger)
        assert list(ordeal.complaints(repeats=repeats)) == []
        for trigger in ordeal.undelivered():  # the sweep may take it up while the provider leaves
            keptn.expect_unanswered(trigger)
        ordeal.phases["kills"] = kills
        ordeal.phases["events"] = len(ordeal.actions)
        ordeal.phases["acknowledged"] = len(ordeal.acknowledged)
        ordeal.phases["repeated reports"] = sum(
            len(told) - 1
            for trigger in ordeal.actions
            for told in (keptn.started(trigger), keptn.finished(trigger))
            if told
        )
        return ordeal.phases


async def _suffer_side_by_side(
    folder: Path, number: str, shares: list[int], *, api_status: int | None = None
) -> Counter[str]:
    seeds = [f"{SEED} {number} {i}" for i in range(len(shares))]
    folders = [folder / str(i) for i in range(len(shares))]
    for each in folders:
        each.mkdir()
    try:
        found = await asyncio.gather(
            *(
                _suffer(each, seed, kills, api_status=api_status)
                for each, seed, kills in zip(folders, seeds, shares, strict=True)
            )
        )
    except BaseException as error:
        error.add_note(f"to repeat this: KILL_SEED={SEED} KILLS={KILLS}")
        raise
    return sum(found, Counter())


def _assert_all_phases_were_hit(found: Counter[str]) -> None:
    for phase in ("accepting", "running", "reporting"):
        assert found[phase] >= found["kills"] / 10, found


@_time_limit(KILLS, TESTS)
@pytest.mark.parametrize("number", range(TESTS))
async def test_kills_at_random_moments_lose_nothing_and_double_nothing(
    tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    found = await _suffer_side_by_side(tmp_path, str(number), _shares(KILLS, TESTS))
    record_property("kills", dict(found))
    assert found["repeated reports"] == 0
    _assert_all_phases_were_hit(found)


@_time_limit(KILLS_WITHOUT_READ_BACK, TESTS_WITHOUT_READ_BACK)
@pytest.mark.parametrize("api_status", [401, 404])
async def test_where_keptn_cannot_be_asked_reports_are_repeated_with_the_same_id_but_never_lost(
    tmp_path: Path, api_status: int, record_property: Callable[[str, object], None]
) -> None:
    shares = _shares(KILLS_WITHOUT_READ_BACK, TESTS_WITHOUT_READ_BACK)
    found = await _suffer_side_by_side(tmp_path, str(api_status), shares, api_status=api_status)
    record_property("kills", dict(found))
    assert found["repeated reports"] > 0
    _assert_all_phases_were_hit(found)
