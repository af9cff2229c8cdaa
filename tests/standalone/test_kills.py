"""`kill -9` of the real process in each state of an episode: no rung twice, none skipped.

`STANDALONE_KILLS` raises the number of kills.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn
from tests.end_to_end.provider_process import ProviderProcess, eventually
from tests.standalone.rig import SECRET, SOURCES, World, stand_ins, write_files

STATES = ("open", "waiting", "acting", "settling", "judging", "escalated")
# What is held is looked at after 15 seconds, so only the long form has it.
WITH_HELD = ("open", "waiting", "held", "acting", "settling", "judging", "escalated")
KILLS = max(int(os.environ.get("STANDALONE_KILLS", "0")), 6)
QUICK = "ladder: {{act_after: 1s, wait: 1s, window: 1s, hold_for: 1s, quiet_for: 1h}}"
GATE = "gate"
REMEDIATION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - {action: set-file, value: {gate: gate}}
        - {action: set-file}
"""


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
        }
        return {**given, **ours}

    async def tell(self, *alerts: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {SECRET}"}
        body = orjson.dumps({"version": "4", "alerts": list(alerts)})
        async with ClientSession() as http:
            url = f"{self.url}intake/shop"
            async with http.post(url, data=body, headers=headers) as answer:
                assert answer.status == 202

    def episode_state(self) -> str:
        found = self.rows("SELECT state FROM episodes")
        return str(found[0][0]) if found else ""


@pytest.mark.timeout(300)
async def test_a_kill_in_any_state_neither_repeats_nor_skips_a_rung(tmp_path: Path) -> None:
    world = World(Clock())
    write_at = SOURCES[: SOURCES.index("ladder:")] + QUICK
    for lap in range(-(-KILLS // len(STATES))):
        folder = tmp_path / str(lap)
        folder.mkdir()
        world.alerts.clear()
        async with FakeKeptn() as keptn, stand_ins(world) as url:
            write_files(folder, url, write_at, REMEDIATION)
            async with StandaloneProcess(folder, keptn) as process:
                await killed_in_each_state(process, world, STATES if lap % 2 == 0 else WITH_HELD)


async def killed_in_each_state(
    process: StandaloneProcess, world: World, states: tuple[str, ...]
) -> None:
    await process.start()
    process.shut(GATE)
    alert = world.fire("f1")
    alert["silenced"] = "held" in states
    await process.tell(alert)
    for state in states:
        if state == "settling":
            process.open(GATE)
        if state == "acting":
            alert["silenced"] = False
        later = states[states.index(state) :]  # what is passed quickly may be over
        await eventually(lambda: process.episode_state() in later, state)  # noqa: B023
        process.kill()
        await process.start()
    look = "SELECT rung, number, execution, verdict FROM episode_rungs ORDER BY number"
    rungs = process.rows(look)
    assert [(rung, number, verdict) for rung, number, _, verdict in rungs] == [
        (0, 0, "failed"),
        (1, 1, "failed"),
    ]
    assert len(process.rows("SELECT 1 FROM executions")) == 2
    for _, _, execution, _ in rungs:
        # What was applied again after a kill was the same plan.
        assert len(set(process.traces("ran", execution))) == 1
        assert process.effect(execution) == process.traces("ran", execution)[0]
    await eventually(lambda: bool(world.posted), "a person told")
