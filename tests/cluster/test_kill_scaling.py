"""`kill -9` of the real process, again and again, while it scales: each increment counts once.

`KILLS` raises the number of kills, `KILL_SEED` repeats a run that failed.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import ClientError

from keptn_remedy import Plan
from keptn_remedy.testing import FakeKeptn, triggered
from tests.cluster.gateway import Gateway, Moment
from tests.cluster.namespace import Namespace
from tests.cluster.workload import Workload
from tests.end_to_end.provider_process import ProviderProcess
from tests.waiting import until

Aim = Literal["anywhere", "planned", "patching", "patched", "landed"]
AIMS: tuple[Aim, ...] = ("anywhere", "planned", "patching", "patched", "landed")

KILLS = max(int(os.environ.get("KILLS", "0")), 25)
AS_OFTEN_AS_ASKED = "version: 1\nrules: [{name: ordeal, at_most: null}]\n"
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)

WORKLOADS = ("carts", "catalogue", "orders", "payment")
MULTIPLIED = "user"
REPLICAS, FEWEST, MOST = 4, 1, 8
STEPS: dict[str | int, int] = {"+1": 1, "+2": 2, "-1": -1, 1: 1}
BURST = 3
# An event of another service that names the workload: in no order with the workload's own.
ROUNDABOUT = 0.3

LONGEST_PEACE_SECONDS = 0.3
LONGEST_VERIFICATION_SECONDS = 0.4
# Counted from the launch; the start and the first call to the cluster take about a second.
LONGEST_LIFE_SECONDS = 2.0
MARGIN_SECONDS = 60

# Beyond these the provider gets the time to catch up. An increment fits the bounds only while few
# others are open, and the provider stops resuming an execution that 10 restarts interrupted.
MOST_OPEN = 6
MOST_RUNS = 5


@dataclass(frozen=True)
class Increment:
    """A trigger, and what it adds to the replicas of which workload."""

    event: dict[str, Any]
    workload: str
    adds: int

    @property
    def trigger(self) -> str:
        return str(self.event["id"])


@dataclass(frozen=True)
class Life:
    """How many executions that ran in it one kill hit at which step, told right after it."""

    planned: int
    """The plan is journaled, the replicas are as before."""
    landed: int
    """The replicas are as planned, the outcome is not journaled."""
    unanswered: int
    """The patch landed, its answer was on its way."""

    def phases(self) -> Iterator[str]:
        if self.planned:
            yield "between plan and apply"
        if self.landed:
            yield "between apply and outcome"
        if self.unanswered:
            yield "patch landed, answer lost"


@dataclass
class Ordeal:
    """One provider that is killed a number of times while it scales some Deployments."""

    keptn: FakeKeptn
    provider: ProviderProcess
    gateway: Gateway
    workloads: dict[str, Workload]
    dice: random.Random
    sent: dict[str, Increment] = field(default_factory=dict)
    unanswered: dict[str, Increment] = field(default_factory=dict)
    phases: Counter[str] = field(default_factory=Counter)
    counted: set[tuple[str, int]] = field(default_factory=set)

    async def run(self, kills: int) -> None:
        aims: list[Aim] = [AIMS[i % len(AIMS)] for i in range(kills)]
        self.dice.shuffle(aims)
        self.provider.launch()
        for aim in aims:
            await self._live_and_die(aim)
            self.provider.launch()
        await self.provider.ready()
        await self._deliver(*self.unanswered.values())
        await self.provider.quiet()

    async def _live_and_die(self, aim: Aim) -> None:
        launched = time.monotonic()
        if aim != "anywhere":
            await self.provider.ready()
            await self._deliver(*self.unanswered.values())
            await until(self._has_caught_up)
            await asyncio.sleep(self.dice.uniform(0, LONGEST_PEACE_SECONDS))
        await getattr(self, f"_aim_at_{aim}")(launched)
        self.phases.update((await self._killed()).phases())

    def _has_caught_up(self) -> bool:
        sql = "SELECT count(*), coalesce(max(runs), 0) FROM executions WHERE state <> 'finished'"
        [(opened, runs)] = self.provider.rows(sql)
        return bool(opened <= MOST_OPEN and runs <= MOST_RUNS)

    # Where the kill is to hit. All of them leave the exact moment to chance.

    async def _aim_at_anywhere(self, launched: float) -> None:
        life = self.dice.uniform(0, LONGEST_LIFE_SECONDS)
        while (left := launched + life - time.monotonic()) > 0:
            if await self.provider.readiness() == 200 and self.dice.random() < 0.2:
                await self._send(1)
            await asyncio.sleep(min(left, self.dice.uniform(0, 0.1)))

    async def _aim_at_planned(self, _: float) -> None:
        sent = await self._send(BURST)
        await until(lambda: any(trigger in self._planned() for trigger in sent))
        await asyncio.sleep(self.dice.uniform(0, 0.005))

    async def _aim_at_patching(self, _: float) -> None:
        await self._aim_at_a_patch(Moment.REQUEST)

    async def _aim_at_patched(self, _: float) -> None:
        await self._aim_at_a_patch(Moment.ANSWER)

    async def _aim_at_a_patch(self, moment: Moment) -> None:
        self.gateway.hold(moment)
        await self._send(BURST)
        await until(lambda: self.gateway.holds() > 0)
        await asyncio.sleep(self.dice.uniform(0, 0.05))

    async def _aim_at_landed(self, _: float) -> None:
        changes = self.gateway.changes
        await self._send(BURST)
        await until(lambda: self.gateway.changes > changes)
        await asyncio.sleep(self.dice.uniform(0, LONGEST_VERIFICATION_SECONDS))

    async def _killed(self) -> Life:
        self.provider.kill()
        unanswered = self.gateway.holds(Moment.ANSWER)
        # Of what is on its way to the API server, some gets there all the same.
        self.gateway.pass_on(self.dice.randrange(max(self.gateway.holds(), 1)))
        self.gateway.lose()
        await until(lambda: not self.gateway.under_way)
        steps = Counter([step async for step in self._steps()])
        return Life(steps["planned"], steps["landed"], unanswered)

    async def _steps(self) -> AsyncIterator[str]:
        """How far the executions got that ran in this life and have a plan, but no outcome."""
        for trigger, (runs, plan) in self._planned().items():
            if (trigger, runs) in self.counted:
                continue
            self.counted.add((trigger, runs))
            ordered = await self.workloads[self.sent[trigger].workload].ordered()
            for change in plan.changes:
                # What is neither is told in the end.
                yield {change.before: "planned", change.after: "landed"}.get(ordered, "")

    def _planned(self) -> dict[str, tuple[int, Plan]]:
        """Runs and plan of each execution that is not finished and has a plan."""
        sql = "SELECT id, runs, plan FROM executions WHERE state <> 'finished' AND plan IS NOT NULL"
        found = self.provider.rows(sql)
        return {trigger: (runs, Plan.from_json(plan)) for trigger, runs, plan in found}

    # The senders

    async def _send(self, count: int) -> list[str]:
        """Send increments for that many workloads, those first that have the fewest open."""
        opened = self._open()
        names = self.dice.sample(list(self.workloads), len(self.workloads))
        names.sort(key=lambda name: len(opened[name]))
        increments = [self._increment(name, opened[name]) for name in names]
        chosen = [each for each in increments if each][:count]
        await self._deliver(*chosen)
        return [each.trigger for each in chosen]

    def _open(self) -> dict[str, list[Increment]]:
        """What was sent and is not finished, by workload."""
        rows = self.provider.rows("SELECT id FROM executions WHERE state = 'finished'")
        finished = {trigger for (trigger,) in rows}
        unfinished = [each for each in self.sent.values() if each.trigger not in finished]
        return {
            name: [each for each in unfinished if each.workload == name] for name in self.workloads
        }

    def _increment(self, workload: str, opened: list[Increment]) -> Increment | None:
        """One that stays within the bounds in whatever order those that are open take effect."""
        now = self.expected(workload) - sum(each.adds for each in opened)
        low = now + sum(min(each.adds, 0) for each in opened)
        high = now + sum(max(each.adds, 0) for each in opened)
        steps: dict[str | int, int] = STEPS
        if workload == MULTIPLIED:
            steps = {} if opened else {"x2": now, "x0.5": -now // 2}
        fitting = [
            (value, adds)
            for value, adds in steps.items()
            if low + adds >= FEWEST and high + adds <= MOST
        ]
        if not fitting:
            return None
        value, adds = self.dice.choice(fitting)
        if self.dice.random() < ROUNDABOUT:
            named = {"name": workload, "replicas": value}
            return Increment(triggered("scaling", named, service="front-end"), workload, adds)
        return Increment(triggered("scaling", value, service=workload), workload, adds)

    async def _deliver(self, *increments: Increment) -> None:
        """Send them; what gets no answer is sent again later."""
        for each in increments:
            self.sent[each.trigger] = self.unanswered[each.trigger] = each
            try:
                answer = await self.keptn.deliver(each.event, to=self.provider.url)
            except (ClientError, TimeoutError):
                continue
            assert answer.status in (200, 202), answer
            del self.unanswered[each.trigger]

    # What must be true in the end

    def expected(self, workload: str) -> int:
        """The replicas once all that was sent has taken effect."""
        return REPLICAS + sum(self._adds(workload))

    def _adds(self, workload: str) -> list[int]:
        return [each.adds for each in self.sent.values() if each.workload == workload]

    async def complaints(self) -> str:
        found = [] if self.provider.is_intact() else ["the journal is damaged"]
        for trigger in self.sent:
            found += self._wrongly_told(trigger)
        for name in self.workloads:
            found += [complaint async for complaint in self._wrongly_scaled(name)]
        return "\n".join(found)

    def _wrongly_told(self, trigger: str) -> Iterator[str]:
        started, finished = self.keptn.started(trigger), self.keptn.finished(trigger)
        if (len(started), len(finished)) != (1, 1):
            yield f"{trigger} got {len(started)} started and {len(finished)} finished"
        for report in finished:
            if report.data["result"] != "pass":
                yield f"{trigger} ended otherwise: {report.data['message']}"

    async def _wrongly_scaled(self, name: str) -> AsyncIterator[str]:
        live = await self.workloads[name].live()
        adds, has = self._adds(name), live["spec"]["replicas"]
        if has != self.expected(name):
            yield f"{name} has {has} replicas instead of {self.expected(name)}: {REPLICAS}, {adds}"
        if (changes := live["metadata"]["generation"] - 1) != len(adds):
            yield f"the replicas of {name} were changed {changes} times by {len(adds)} triggers"


async def _suffer(folder: Path, namespace: Namespace) -> Counter[str]:
    """Kill one provider that often, judge what came of it, and tell where the kills hit."""
    made = [namespace.deployment(name, replicas=REPLICAS) for name in (*WORKLOADS, MULTIPLIED)]
    workloads = {workload.name: workload for workload in await asyncio.gather(*made)}
    async with (
        Gateway.before(namespace.cluster.kubeconfig, folder) as gateway,
        FakeKeptn() as keptn,
    ):
        environment = {
            "KUBECONFIG": str(gateway.kubeconfig),
            "KUBERNETES_NAMESPACE_TEMPLATE": namespace.name,
            "KUBERNETES_SETTLE_SECONDS": "0",
        }
        policy = folder / "policy.yaml"
        policy.write_text(AS_OFTEN_AS_ASKED)
        async with ProviderProcess(
            folder / "provider", keptn, environment, policy=policy
        ) as provider:
            dice = random.Random(SEED)  # noqa: S311 - no secret
            ordeal = Ordeal(keptn, provider, gateway, workloads, dice)
            await ordeal.run(KILLS)
            complaints = await ordeal.complaints()
            assert not complaints, complaints
            ordeal.phases["triggers"] = len(ordeal.sent)
            return ordeal.phases


@pytest.mark.timeout(MARGIN_SECONDS + 5 * KILLS)
async def test_kills_at_random_moments_neither_lose_nor_double_an_increment(
    namespace: Namespace, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    try:
        found = await _suffer(tmp_path, namespace)
    except BaseException as error:
        error.add_note(f"to repeat this: KILL_SEED={SEED} KILLS={KILLS}")
        raise
    record_property("kills", {"kills": KILLS, **found})
    for phase in ("between plan and apply", "between apply and outcome"):
        assert found[phase] >= KILLS / 5, found
    assert found["patch landed, answer lost"] >= KILLS / 10, found
