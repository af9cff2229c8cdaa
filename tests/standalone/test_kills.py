"""`kill -9` of the real service in each state of an episode: the right next state, no rung twice,
none skipped.

`STANDALONE_KILLS` raises the number of kills.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiohttp import ClientSession

from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn
from tests.end_to_end.provider_process import ProviderProcess, eventually
from tests.standalone.rig import SECRET, SOURCES, World, stand_ins, write_files

SHORT = 40
KILLS = max(int(os.environ.get("STANDALONE_KILLS", "0")), SHORT)
SIDE_BY_SIDE = 2
GATES = ("gate-1", "gate-2")
"""One for each rung, shut until it may go on: it can't slip through while a process starts."""
QUICK = "ladder: {{act_after: 1s, wait: 1s, window: 1s, hold_for: 1s, quiet_for: QUIET}}"
REMEDIATION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - {action: set-file, value: {gate: gate-1}}
        - {action: set-file, value: {gate: gate-2}}
"""
TOLD = "\nescalate_to: [alertmanagers, hook]\n"
CHANNELS = """
version: 1
channels: {{hook: {{type: webhook, url: "{url}/told/hook"}}}}
"""
UNDO = "version: 1\nrules: [{name: all, undo: {on_closed: true}}]\n"


class Step(NamedTuple):
    """A state in which it is killed, and the rung that it is about."""

    rung: int
    state: str


class Story(NamedTuple):
    """What an episode goes through, and the verdicts of its rungs."""

    steps: tuple[Step, ...]
    verdicts: tuple[str, ...]
    quiet_for: str


TRIED = ("acting", "settling", "judging")
GIVEN_UP = Story(
    (
        *(Step(0, state) for state in ("open", "waiting", "held", *TRIED)),
        *(Step(1, state) for state in (*TRIED, "escalated")),
    ),
    ("failed", "failed"),
    "1h",
)
REMEDIED = Story(
    (
        *(Step(0, state) for state in ("open", *TRIED)),
        *(Step(1, state) for state in (*TRIED, "helped", "closed")),
    ),
    ("failed", "helped"),
    "2s",
)


class StandaloneProcess(ProviderProcess):
    """The real `remedy serve` in standalone mode; its event port is the intake port."""

    start_seconds = 90.0

    def _environment(self) -> dict[str, str]:
        given = super()._environment()
        ours = {
            "REMEDY_TRANSPORT": "standalone",
            "REMEDY_INTAKE_PORT": given["REMEDY_PORT"],
            "REMEDY_SOURCES": str(self.folder / "sources.yaml"),
            "REMEDY_REMEDIATIONS": str(self.folder / "remediations"),
            "REMEDY_POLICY": str(self.folder / "policy.yaml"),
            "REMEDY_CHANNELS": str(self.folder / "channels.yaml"),
        }
        return {**given, **ours}

    async def tell(self, *alerts: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {SECRET}"}
        body = orjson.dumps({"version": "4", "alerts": list(alerts)})
        async with ClientSession() as http:
            url = f"{self.url}intake/shop"
            async with http.post(url, data=body, headers=headers) as answer:
                assert answer.status == 202

    def step(self) -> Step | None:
        found = self.rows("SELECT rung, state FROM episodes")
        return Step(*found[0]) if found else None


@asynccontextmanager
async def served(folder: Path, story: Story, world: World) -> AsyncIterator[StandaloneProcess]:
    ladder = QUICK.replace("QUIET", story.quiet_for)
    async with FakeKeptn() as keptn, stand_ins(world) as url:
        write_files(folder, url, SOURCES[: SOURCES.index("ladder:")] + ladder + TOLD, REMEDIATION)
        (folder / "policy.yaml").write_text(UNDO)
        (folder / "channels.yaml").write_text(CHANNELS.format(url=url))
        async with StandaloneProcess(folder, keptn) as process:
            await process.start()
            yield process


@pytest.mark.timeout(600 + 10 * KILLS)
async def test_a_kill_in_any_state_neither_repeats_nor_skips_a_rung(tmp_path: Path) -> None:
    stories: list[Story] = []
    while sum(len(each.steps) for each in stories) < KILLS:
        stories.append((GIVEN_UP, REMEDIED)[len(stories) % 2])
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def told(number: int, story: Story) -> list[Step | None]:
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(Clock())
        async with room, served(folder, story, world) as process:
            return await killed_in_each_state(process, world, story)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(told(*each)) for each in enumerate(stories)]
    killed = [step for task in tasks for step in task.result()]
    # A state that a gate, or an answer, holds until the kill.
    assert {
        Step(0, "held"),
        Step(0, "acting"),
        Step(1, "acting"),
        Step(1, "escalated"),
        Step(1, "closed"),
    } <= set(killed)
    if KILLS > SHORT:
        met = Counter(f"{step.state} {step.rung + 1}" for step in killed if step)
        sys.stdout.write(f"{len(killed)} kills: {dict(met)}\n")


async def killed_in_each_state(
    process: StandaloneProcess, world: World, story: Story
) -> list[Step | None]:
    """The states in which it was killed, in fact."""
    for gate in GATES:
        process.shut(gate)
    alert = world.fire("f1")
    if Step(0, "waiting") in story.steps:
        world.alerts.clear()  # not listed yet: it is waited for
    await process.tell(alert)
    killed: list[Step | None] = []
    for step in story.steps:
        await prepare(process, world, story, step, alert)
        later = story.steps[story.steps.index(step) :]  # what is passed quickly may be over
        await eventually(lambda: process.step() in later, f"{step}", seconds=60)  # noqa: B023
        process.kill()
        killed.append(process.step())
        await process.start()
    await went_as_ever(process, story)
    if story is GIVEN_UP:

        def escalations() -> set[str]:
            told = (event for _, event in world.told)
            return {each["id"] for each in told if each["type"].endswith(".escalation")}

        await eventually(
            lambda: bool(world.posted) and bool(escalations()), "a person told", seconds=60
        )
        assert len(escalations()) == 1  # what is sent again after a kill is the same
    return killed


async def prepare(
    process: StandaloneProcess, world: World, story: Story, step: Step, alert: dict[str, Any]
) -> None:
    """Let the episode come to a state, and not beyond it where that can be."""
    if step.state == "held":
        world.alerts["f1"], world.alertmanager_is_away = alert, True
    if step == Step(0, "acting"):
        world.alertmanager_is_away = False
    if step == Step(1, "settling") and story is REMEDIED:
        await process.tell(world.resolve("f1"))  # before its window can begin
    if step.state == "settling":
        process.open(GATES[step.rung])


def rungs_of(process: StandaloneProcess) -> list[tuple[Any, ...]]:
    look = "SELECT rung, number, execution, verdict FROM episode_rungs ORDER BY number"
    return process.rows(look)


async def went_as_ever(process: StandaloneProcess, story: Story) -> None:
    """One execution of each rung, one effect of each, and the states as they follow each other."""
    rungs = rungs_of(process)
    assert [(rung, number, verdict) for rung, number, _, verdict in rungs] == [
        (number, number, verdict) for number, verdict in enumerate(story.verdicts)
    ]
    assert len(process.rows("SELECT 1 FROM executions")) == 2
    for _, _, execution, _ in rungs:
        # What was applied again after a kill was the same plan.
        assert len(set(process.traces("ran", execution))) == 1
        left = process.traces("ran", execution)[0] if story is GIVEN_UP else None  # or undone
        await eventually(lambda: process.effect(execution) == left, "its effect", seconds=60)  # noqa: B023
    noted = process.rows("SELECT state FROM episode_notes ORDER BY rowid")
    passed = [state for state, _ in groupby(state for (state,) in noted)]
    ended = [step.state for step in story.steps if step.rung == 1]
    begun = [step.state for step in story.steps if step.rung == 0]
    begun = begun if "waiting" in begun else ["open", "waiting", *begun[1:]]
    assert passed == [*begun, "waiting", *ended]
