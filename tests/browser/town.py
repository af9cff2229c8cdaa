"""A provider in which something of each kind has happened, for the screens to show."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import orjson

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction, TemporaryError
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.testing import triggered
from tests.core.ops.page.surfing import House, house
from tests.providing import Gate, ops_url

POLICY = """\
version: 1
timezone: Europe/Berlin
rules:
  - name: production waits for a person
    match: {stage: production, action: scale}
    mode: approve
    approve_within: 12m
  - name: calm down
    cooldown: 20m
    at_most: [{executions: 3, within: 1h, per: [action, target]}]
  - name: no storms
    storm: {targets: 5, within: 10m}
"""


class _Kept(PlannedAction):
    """Keeps what it is told, as a cluster or a flag server would."""

    state: ClassVar[dict[str, Any]] = {}

    async def apply(self, context: Context, plan: Plan) -> None:
        for change in plan.changes:
            self.state[change.target] = change.after

    async def undo(self, context: Context, plan: Plan) -> None:
        for change in plan.changes:
            self.state[change.target] = change.before


class Scale(_Kept):
    """Scale a workload by a number of replicas, bounded by the policy."""

    name = "scale"
    aliases = ("scaling",)
    Value = str

    async def plan(self, context: Context, value: str) -> Plan:
        trigger = context.trigger
        target = f"deployments.apps/{trigger.project}-{trigger.stage}/{trigger.service}"
        now = int(self.state.get(target, 3))
        return Plan(
            (Change(target, "replicas", now, now + int(value)),), replicas=(now, now + int(value))
        )

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed(
            f"{plan.changes[0].after} of {plan.changes[0].after} replicas are ready"
        )


class ToggleFeature(_Kept):
    """Switch a feature flag on or off for one environment."""

    name = "toggle-feature"
    aliases = ("feature-toggle",)
    Value = dict[str, bool]

    async def plan(self, context: Context, value: dict[str, bool]) -> Plan:
        where = context.trigger.stage
        return Plan(
            tuple(
                Change(f"flag {name} in {where}", "enabled", self.state.get(name, not on), on)
                for name, on in value.items()
            )
        )

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("applications see the flag as it should be")


def held(gate: Gate) -> type[PlannedAction]:
    """An action that restarts for as long as the gate is closed."""

    class Restart(_Kept):
        """Restart the pods of a workload, one after the other."""

        name = "restart"

        async def plan(self, context: Context, value: Any) -> Plan:
            return Plan(
                (Change("deployments.apps/shop-production/cart", "restarted", None, "now"),)
            )

        async def verify(self, context: Context, plan: Plan) -> Outcome:
            await gate.passage(context.trigger.id)
            if context.attempt == 1:
                raise TemporaryError("1 of 4 pods is not ready yet")
            return Outcome.passed("4 of 4 pods were restarted")

    return Restart


@dataclass
class Town:
    """The provider, and the executions in it by what became of them."""

    home: House
    gate: Gate
    url: str
    asking: str
    refused: str
    done: str
    running: str


def numbered(number: int) -> str:
    """The same id in each run, so that pictures differ only where the page does."""
    return str(UUID(int=random.Random(number).getrandbits(128), version=4))  # noqa: S311


def problem(title: str) -> dict[str, Any]:
    return {"problem": {"ProblemTitle": title, "State": "OPEN", "ProblemID": "P-4711"}}


@asynccontextmanager
async def town(folder: Path, **settings: Any) -> AsyncIterator[Town]:
    """One execution asks, one runs, one was refused, one is done, and there is a past."""
    _Kept.state.clear()
    gate = Gate()
    SqliteJournal.open(folder / "journal.db")._lock.release()  # type: ignore[union-attr]
    fill(folder / "journal.db", 700)
    links = {
        "link_bridge": "https://keptn.example/bridge/project/{project}/sequence/{context}",
        "link_dashboard": "https://grafana.example/d/service?var-service={service}",
    }
    actions = (Scale, ToggleFeature, held(gate))
    async with house(folder, policy=POLICY, actions=actions, **{**links, **settings}) as home:
        scope = {"project": "shop", "stage": "production"}
        done = await home.send(
            "toggle-feature",
            {"PromotionCampaign": False},
            id=numbered(1),
            service="frontend",
            **scope,
            **problem("Response time degradation"),
        )
        await home.has_ended(done)
        refused = await home.send(
            "toggle-feature",
            {"PromotionCampaign": False},
            id=numbered(2),
            service="frontend",
            **scope,
            **problem("Response time degradation"),
        )
        await home.has_ended(refused)
        running = await home.send("restart", id=numbered(3), service="cart", **scope)
        await gate.until_entered(1)
        asking = await home.send(
            "scale",
            "+2",
            id=numbered(4),
            service="checkout",
            **scope,
            **problem("CPU saturation of checkout"),
        )
        await home.asks(asking)
        yield Town(home, gate, ops_url(home.service, ""), asking, refused, done, running)
        gate.open()


_FILL = """
INSERT INTO executions (id, lane, state, action, context, project, stage, service, accepted_at,
    started_at, finished_at, reported_at, runs, attempts, status, result, message, details, event)
VALUES (?, ?, 'finished', ?, ?, 'shop', ?, ?, ?, ?, ?, ?, 1, 1, ?, ?, ?, ?, ?)"""
_REFUSED = (
    "refused by guard-rail at-most (calm down): 3 executions with the same action and target within"
    " 1h; the limit is 3; the sequence stops here"
)
_BY = '{"rail":"at-most","rule":"calm down"}'
_ENDS = (
    (("succeeded", "pass", "applications see the flag as it should be", "{}"), 76),
    (("succeeded", "warning", "already so: 5 replicas", "{}"), 8),
    (("succeeded", "fail", _REFUSED, _BY), 6),
    (("succeeded", "fail", "2 of 5 replicas are ready after 300 s; undone", "{}"), 6),
    (("errored", "fail", "Unleash answered 503 (after 5 attempts)", "{}"), 4),
)


def fill(path: Path, executions: int, *, hours: float = 24.0) -> None:
    """Give a journal a past, written straight into its table."""
    chance, now = random.Random(executions), time.time()  # noqa: S311
    ends, weights = [end for end, _ in _ENDS], [weight for _, weight in _ENDS]
    rows: list[tuple[Any, ...]] = []
    for number in range(executions):
        # More of it by day than by night, and least of all right now.
        at = now - hours * 3600 * (1 - number / executions) - 120
        service, stage = f"service-{number % 40}", "production" if number % 3 else "staging"
        action = chance.choice(("toggle-feature", "scale", "restart"))
        event = orjson.dumps(triggered(action, id=f"past-{number}", project="shop"))
        seconds = chance.lognormvariate(2.2, 1.4)
        status, result, message, details = chance.choices(ends, weights)[0]
        rows.append(
            (
                f"past-{number}",
                f"shop\n{stage}\n{service}",
                action,
                numbered(number + 1000) if executions < 5000 else "context",
                stage,
                service,
                at,
                at + 0.1,
                min(at + seconds, now - 60),
                at + seconds + 1,
                status,
                result,
                message,
                details.encode(),
                event,
            )
        )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executemany(_FILL, rows)
        connection.commit()
