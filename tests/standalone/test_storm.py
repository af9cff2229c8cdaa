"""After a storm of problems, remedies begin one at a time."""

from __future__ import annotations

from pathlib import Path

from keptn_remedy.journal import RUNNING
from tests.standalone.rig import REMEDIATION, SOURCES, Switch, standalone

FEW = SOURCES.replace(
    "wait: 20s, window: 30s, hold_for: 10s",
    "wait: 5s, window: 5s, hold_for: 5s, storm: {{episodes: 2, within: 1m}}",
)
ONLY = REMEDIATION.replace("        - {action: switch, name: second}\n", "")


async def test_after_a_storm_remedies_begin_one_at_a_time(tmp_path: Path) -> None:
    most = 0
    async with standalone(tmp_path, sources=FEW, remediation=ONLY) as rig:
        names = [f"carts{n}" for n in range(3)]
        await rig.send(*(rig.world.fire(name, service=name) for name in names))

        async def look() -> list[str]:
            nonlocal most
            states: list[str] = [each.state for each in await rig.episodes()]
            most = max(most, sum(state in RUNNING for state in states))
            return states

        await rig.pass_by(30)
        assert Switch.applied == []
        assert await look() == ["held"] * 3
        for _ in range(400):
            if await look() == ["escalated"] * 3:
                break
            await rig.pass_by(5)
        states, ladders = await look(), await rig.journal.episodes()

    assert states == ["escalated"] * 3
    assert len(Switch.applied) == 3
    assert most == 1
    assert all(each.in_storm for each in ladders)
