"""Thousands of messages as Alertmanagers really send them: one ladder for each trouble.

`STANDALONE_MESSAGES` is their number: a few hundred by default, 10,000 in the long form.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.standalone.rig import SOURCES, Rig, Switch, standalone

MESSAGES = int(os.environ.get("STANDALONE_MESSAGES", "150"))
SERVICES = 8
# A group has so many alerts at most; most of them are of other teams.
GROUP = 500
# The rails are tried elsewhere.
FREE = (
    "version: 1\nrules: [{name: free, at_most: [{executions: 1000, within: 1h, per: [target]}]}]\n"
)
CALM = SOURCES.replace("quiet_for: 5m", "quiet_for: 5m, storm: {{episodes: 1000}}")


class Alertmanagers:
    """A pair of them, and what they know. A flap is shorter than `quiet_for`."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self._rig = rig
        self._chance = random.Random(seed)  # noqa: S311
        self._alerts: dict[str, dict[str, Any]] = {}
        self._last: list[dict[str, Any]] = []
        for number in range(SERVICES):
            self._fire(f"f{number}", f"carts{number}")
            # Of a pair of Prometheus; both are one trouble.
            self._fire(f"g{number}", f"carts{number}", replica="b")
        self._foreign = [
            {**alert, "labels": {"alertname": "Other", "team": "bank"}, "fingerprint": f"x{n}"}
            for n, alert in enumerate([self._alerts["f0"]] * (GROUP - 2 * SERVICES))
        ]

    def _fire(self, fingerprint: str, service: str, **labels: str) -> None:
        world = self._rig.world
        self._alerts[fingerprint] = world.fire(fingerprint, service=service, **labels)

    async def next(self) -> None:
        """The next message."""
        chance = self._chance
        pick = chance.random()
        if pick < 0.3 and self._last:
            # The other one of the pair, or a restart that lost its log: the same once more.
            await self._send(self._last, externalURL=f"http://am-{chance.randint(0, 1)}")
        elif pick < 0.35:
            every = [*self._alerts.values(), *self._foreign]
            await self._send(every)
        elif pick < 0.45:
            await self._send(chance.sample(list(self._alerts.values()), 5), truncatedAlerts=7)
        elif pick < 0.6:
            await self._flap(chance.choice(list(self._alerts)))
        else:
            await self._send(chance.sample(list(self._alerts.values()), chance.randint(1, 4)))

    async def _flap(self, fingerprint: str) -> None:
        """It ends and fires again, with a start that nobody was told of."""
        alert = self._alerts[fingerprint]
        began = f"2026-03-02T12:{self._chance.randint(10, 59)}:00Z"
        await self._send([{**alert, "status": "resolved", "startsAt": began}])
        self._alerts[fingerprint] = {**alert, "startsAt": began}
        self._rig.world.alerts[fingerprint] = self._alerts[fingerprint]
        await self._send([self._alerts[fingerprint]])

    async def _send(self, alerts: list[dict[str, Any]], **more: Any) -> None:
        self._last = alerts
        assert await self._rig.send(*alerts, **more) == 202


@pytest.mark.timeout(max(120, MESSAGES))
async def test_thousands_of_messages_make_one_ladder_of_each_trouble(tmp_path: Path) -> None:
    async with standalone(tmp_path, sources=CALM, policy=FREE) as rig:
        rig.world.series["errors"] = 9
        pair = Alertmanagers(rig, MESSAGES)
        for number in range(MESSAGES):
            await pair.next()
            if number % 3 == 0:
                rig.clock.forward(2)

        async def all_are_told() -> bool:
            return {each.state for each in await rig.episodes()} == {"escalated"}

        await rig.until_true(all_are_told)
        episodes = await rig.episodes()
        tried = [
            (each.service, rung.index)
            for each in episodes
            for rung in (await rig.journal.whole_episode(each.id)).rungs
            if rung.status == "succeeded"
        ]
    assert Counter(each.service for each in episodes) == {f"carts{n}": 1 for n in range(SERVICES)}
    # Each rung of each ladder once, and nothing else acted.
    assert Counter(tried) == {(f"carts{n}", i): 1 for n in range(SERVICES) for i in range(2)}
    assert Counter(Switch.applied) == {"one": SERVICES, "two": SERVICES}
