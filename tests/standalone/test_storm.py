"""After a storm of problems, remedies begin one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from keptn_remedy.journal import RUNNING
from keptn_remedy.journal.episodes import SqlEpisodes
from tests.standalone.rig import REMEDIATION, SOURCES, Switch, standalone
from tests.waiting import until

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


@pytest.mark.parametrize("first_look", ["10s", "5m"])
async def test_a_storm_counts_however_late_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_look: str
) -> None:
    reads = 0
    count = SqlEpisodes.opened_between

    async def counted(self: SqlEpisodes, begin: float, end: float, project: str, stage: str) -> int:
        nonlocal reads
        reads += 1
        return await count(self, begin, end, project, stage)

    monkeypatch.setattr(SqlEpisodes, "opened_between", counted)
    late = FEW.replace("act_after: 10s", f"act_after: {first_look}")
    async with standalone(tmp_path, sources=late, remediation=ONLY) as rig:
        names = [f"carts{n}" for n in range(100)]
        await rig.send(*(rig.world.fire(name, service=name) for name in names))
        rig.clock.forward(301)

        async def all_are_held() -> bool:
            return {each.in_storm for each in await rig.journal.episodes()} == {True}

        await until(all_are_held)
        assert Switch.applied == []
        assert reads < len(names) / 2  # all of them share what is read
