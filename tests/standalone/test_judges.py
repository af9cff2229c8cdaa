"""Several Prometheus: nothing has helped unless all of them say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from yarl import URL

from keptn_remedy.standalone.judge import Before, Judge
from keptn_remedy.standalone.judges import Judges
from keptn_remedy.standalone.ladder import Finding
from keptn_remedy.standalone.rules import Criterion
from tests.clocks import MovedClock
from tests.standalone.rig import SOURCES, Switch, World, stand_ins, standalone

GOOD, BAD = Finding(True, "gone", 0.0), Finding(False, "still there", 9.0)
WORSE, NOTHING = Finding(False, "more", 20.0, is_worse=True), Finding(None, "no data")


@dataclass
class Said:
    """A judge that says always the same."""

    finding: Finding

    async def look(self, *_: object) -> Finding:
        return self.finding

    async def before(self, *_: object) -> Before:
        return Before(self.finding.value)


def several(*findings: Finding) -> Judges:
    return Judges([(f"p{n}", cast("Judge", Said(each))) for n, each in enumerate(findings)])


@pytest.mark.parametrize(
    ("findings", "good", "text"),
    [
        ((GOOD, GOOD), True, "all Prometheus agree: gone"),
        ((GOOD, BAD), False, "p1: still there"),
        ((NOTHING, BAD), False, "p1: still there"),
        ((BAD, WORSE), False, "p1: more"),
        ((GOOD, NOTHING), None, "p1: no data"),
        ((GOOD,), True, "gone"),
    ],
)
async def test_what_several_say(
    findings: tuple[Finding, ...], good: bool | None, text: str
) -> None:
    judges = several(*findings)
    found = await judges.look(Criterion(), cast("Any", None))
    assert (found.good, found.text, found.is_worse) == (good, text, WORSE in findings)
    before = await several(NOTHING, BAD).before(Criterion(), 600)
    assert before.value == 9.0


async def test_one_prometheus_that_cannot_tell_keeps_a_remedy_from_having_helped(
    tmp_path: Path,
) -> None:
    clock = MovedClock()
    other = World(clock)
    async with stand_ins(other) as url:
        both = SOURCES.replace('url: "{url}/prom"', f'urls: ["{{url}}/prom", "{url}/prom"]')
        async with standalone(tmp_path, sources=both, clock=clock) as rig:
            await rig.send(rig.world.fire("f1"))
            await rig.until_acts(1)
            await rig.send(rig.world.resolve("f1"))
            other.series["errors"] = None
            episode = await rig.until_state("escalated", step=5)

    assert episode.reason == (
        "the judge can't tell whether switch helped:"
        f" {URL(url) / 'prom'}: no evidence: errors answers nothing"
    )


async def test_a_source_may_name_a_prometheus_of_its_own(tmp_path: Path) -> None:
    clock = MovedClock()
    other = World(clock)
    async with stand_ins(other) as url:
        own = SOURCES.replace(
            "    allow:", f'    prometheus: {{{{url: "{url}/prom"}}}}\n    allow:'
        )
        async with standalone(tmp_path, sources=own, clock=clock) as rig:
            rig.world.series["errors"] = None
            await rig.send(rig.world.fire("f1"))
            await rig.until_acts(1)
            await rig.send(rig.world.resolve("f1"))
            await rig.until_state("helped", step=5)

    assert Switch.applied == ["one"]
    assert rig.world.asked == []
