"""A service in standalone mode, in this process, with stand-ins for Alertmanager and Prometheus.

The stand-ins answer as the real ones were seen to (docs/standalone.md). The clock is moved by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, cast

import orjson
from aiohttp import ClientSession, web
from pydantic import BaseModel

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.journal import Episode, Note, Rung, WholeEpisode
from keptn_remedy.service import Service, running
from keptn_remedy.settings import Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import registry_of
from tests.clocks import MovedClock
from tests.waiting import until

SECRET = "a secret of 16 and more"
ALWAYS_OLD = "2020-01-01T00:00:00Z"
SOURCES = """
version: 1
sources:
  shop:
    kind: alertmanager
    secret_file: {folder}/secret
    project: {{label: team, default: sockshop}}
    stage: {{label: env, default: production}}
    service: {{label: service}}
    allow: {{projects: sockshop}}
    alertmanagers: ["{url}/am"]
prometheus: {{url: "{url}/prom"}}
ladder: {{act_after: 10s, wait: 20s, window: 30s, hold_for: 10s, quiet_for: 5m}}
"""
REMEDIATION = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - {action: switch, name: first, value: {to: "one"}}
        - {action: switch, name: second}
"""

PROMQL = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: default
      actionsOnOpen:
        - action: switch
          value: {to: "one"}
          evaluation: {promql: {query: QUERY, want: "< 5"}, on_unknown: hold}
        - {action: switch}
"""


class Switch(PlannedAction):
    """Sets a switch, and remembers each time."""

    name = "switch"

    class Value(BaseModel):
        to: str = "two"

    applied: ClassVar[list[str]] = []
    undone: ClassVar[list[str]] = []
    outcomes: ClassVar[list[Outcome]] = []

    async def plan(self, context: Context, value: Any) -> Plan:
        return Plan((Change("switch", "position", "zero", value.to),))

    async def apply(self, context: Context, plan: Plan) -> None:
        self.applied.append(plan.changes[0].after)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return self.outcomes.pop(0) if self.outcomes else Outcome.passed("switched")

    async def undo(self, context: Context, plan: Plan) -> None:
        self.undone.append(plan.changes[0].after)


@dataclass
class World:
    """What the stand-ins answer. `series` are the answers by query; a query that is missing is
    answered by no data. `rule_health` and `since` are the rule's and Prometheus'. Their clock is
    `ahead` of ours by so many seconds; where it `tells_time`, answers say what it shows.
    """

    clock: Clock
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, Any] = field(default_factory=dict)
    posted: list[dict[str, Any]] = field(default_factory=list)
    ahead: float = 0.0
    tells_time: bool = True
    rule: str = "errors > 5"
    rule_health: str = "ok"
    evaluated: datetime | None = None
    alertmanager_began: str = ALWAYS_OLD
    prometheus_began: str = ALWAYS_OLD
    alertmanager_is_away: bool = False
    receivers: Sequence[str] = ("default", "remedy")
    takes_alerts: bool = True
    refused: int = 0
    alertmanager_answer: Callable[[], web.Response] | None = None
    prometheus_answer: Callable[[], web.Response] | None = None
    asked: list[str] = field(default_factory=list)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def fire(self, fingerprint: str, **labels: str) -> dict[str, Any]:
        """An alert as it is listed and sent; Prometheus has it too."""
        every = {"alertname": "TooManyErrors", "service": "carts", **labels}
        alert = {
            "labels": every,
            "annotations": {"summary": "too many errors"},
            "startsAt": "2026-03-02T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint,
            "status": "firing",
            "generatorURL": "http://prometheus/graph",
        }
        self.alerts[fingerprint] = alert
        return alert

    def resolve(self, fingerprint: str) -> dict[str, Any]:
        """The same alert, resolved: it is not listed any more."""
        return {**self.alerts.pop(fingerprint), "status": "resolved"}

    def listed(self) -> list[dict[str, Any]]:
        return [
            {
                **alert,
                "receivers": [{"name": "remedy"}],
                "status": {
                    "state": "suppressed" if alert.get("silenced") else "active",
                    "silencedBy": [],
                    "inhibitedBy": [],
                },
            }
            for alert in self.alerts.values()
        ]

    async def hear(self, request: web.Request) -> web.Response:
        """What channels are sent."""
        self.told.append((request.match_info["channel"], await request.json()))
        return web.Response(status=202)

    def shows(self) -> datetime:
        """What the clock of the stand-ins shows."""
        return datetime.fromtimestamp(self.clock.now() + self.ahead, UTC)

    async def date(self, _: web.Request, answer: web.StreamResponse) -> None:
        """Have an answer say when it was given."""
        if self.tells_time:
            answer.headers["Date"] = format_datetime(self.shows(), usegmt=True)
        else:
            answer.headers["Date"] = "unknown"  # without one, aiohttp writes its own

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path
        if path.startswith("/am") and self.alertmanager_is_away:
            return (self.alertmanager_answer or _away)()
        if path == "/am/api/v2/alerts" and request.method == "POST":
            return self._take(await request.json())
        if path.startswith("/am/api/v2/"):
            return web.json_response(self._alertmanager(path.removeprefix("/am/api/v2/")))
        if self.prometheus_answer:
            return self.prometheus_answer()
        return self._prometheus(path, request.query)

    def _alertmanager(self, path: str) -> Any:
        if path == "alerts":
            return self.listed()
        if path == "receivers":
            return [{"name": each} for each in self.receivers]
        return {"uptime": self.alertmanager_began, "versionInfo": {"version": "0.25.0"}}

    def _take(self, alerts: list[dict[str, Any]]) -> web.Response:
        if not self.takes_alerts:
            self.refused += 1
            return web.Response(status=500)
        self.posted += alerts
        return web.Response()

    def _prometheus(self, path: str, query: Mapping[str, str]) -> web.Response:
        if path.endswith("runtimeinfo"):
            return _success({"startTime": self.prometheus_began})
        if path.endswith("rules"):
            evaluated = (self.evaluated or self.shows()).isoformat()
            rule = {"name": "TooManyErrors", "query": self.rule, "health": self.rule_health}
            return _success({"groups": [{"rules": [{**rule, "lastEvaluation": evaluated}]}]})
        asked = query["query"]
        self.asked.append(asked)
        if asked.startswith("ALERTS"):
            found = [
                {"metric": {**each["labels"], "alertstate": "firing"}, "value": [0, "1"]}
                for each in self.alerts.values()
            ]
            return _success({"resultType": "vector", "result": found})
        if asked.startswith("time() - timestamp(") and asked not in self.series:
            inner = asked.removeprefix("time() - timestamp(").removesuffix(")")
            return _vector(1 if inner in self.series else None)
        return _vector(self.series.get(asked))


def _away() -> web.Response:
    return web.Response(status=502)


def _vector(value: Any) -> web.Response:
    if callable(value):
        return cast("web.Response", value())
    values = [] if value is None else value if isinstance(value, list) else [value]
    found = [
        {"metric": {"pod": str(n)} if len(values) > 1 else {}, "value": [0, str(each)]}
        for n, each in enumerate(values)
    ]
    return _success({"resultType": "vector", "result": found})


def _success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})


class Rig:
    """The service, the stand-ins, and shortcuts to both."""

    def __init__(self, service: Service, world: World, clock: MovedClock, folder: Path) -> None:
        self.service, self.world, self.clock, self.folder = service, world, clock, folder

    @property
    def journal(self) -> Any:
        return self.service.journal

    async def send(
        self, *alerts: dict[str, Any], source: str = "shop", secret: str = SECRET, **more: Any
    ) -> int:
        """The status that a message of these alerts is answered with."""
        body = {"version": "4", "alerts": list(alerts), "truncatedAlerts": 0, **more}
        return await self.post(orjson.dumps(body), source=source, secret=secret)

    async def post(
        self, body: bytes, *, source: str = "shop", secret: str = SECRET, **more: str
    ) -> int:
        """The status that a body is answered with; `more` are headers."""
        url = self.intake_url(source)
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json", **more}
        async with (
            ClientSession() as session,
            session.post(url, data=BytesIO(body), headers=headers) as a,
        ):
            self.answer = await a.text()
            return a.status

    def intake_url(self, source: str = "shop") -> str:
        """Where messages of a source are sent to."""
        assert self.service.standalone
        return f"http://127.0.0.1:{self.service.standalone.listener.port}/intake/{source}"

    async def episodes(self) -> list[Episode]:
        found: list[Episode] = await self.journal.episodes()
        return found

    async def whole(self) -> WholeEpisode:
        [episode] = await self.episodes()
        found: WholeEpisode | None = await self.journal.whole_episode(episode.id)
        assert found
        return found

    async def rungs(self) -> list[Rung]:
        return list((await self.whole()).rungs)

    async def notes(self) -> list[Note]:
        return list((await self.whole()).notes)

    async def until_state(self, state: str, *, step: float = 0.0) -> Episode:
        """Wait until the one episode is in this state; the clock moves on by `step` meanwhile."""

        async def is_there() -> bool:
            found = await self.episodes()
            if len(found) == 1 and found[0].state == state:
                return True
            if step:
                self.clock.forward(step)
                await asyncio.sleep(0.01)
            return False

        try:
            await until(is_there)
        except TimeoutError:
            raise AssertionError(f"not {state}: {await self.whole()}") from None
        [episode] = await self.episodes()
        return episode

    async def until_acts(self, times: int) -> None:
        """Move the clock on until there were so many acts."""
        await self.until_holds(lambda: len(Switch.applied) == times)

    async def until_told(self) -> None:
        """Move the clock on until a person was told."""
        await self.until_holds(lambda: bool(self.world.posted))

    async def until_holds(self, holds: Callable[[], bool]) -> None:
        """Move the clock on until this holds."""

        async def is_so() -> bool:
            self.clock.forward(5)
            await asyncio.sleep(0.01)
            return holds()

        await until(is_so)

    async def until_true(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Move the clock on until this is true."""

        async def is_so() -> bool:
            self.clock.forward(5)
            await asyncio.sleep(0.01)
            return await holds()

        await until(is_so)

    async def pass_by(self, seconds: float, step: float = 5.0) -> None:
        """Let so many seconds pass, in steps, each long enough for what is due."""
        for _ in range(int(seconds / step)):
            self.clock.forward(step)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def standalone(
    folder: Path,
    *,
    sources: str = SOURCES,
    remediation: str = REMEDIATION,
    policy: str = "",
    clock: MovedClock | None = None,
    world: World | None = None,
    channels: str = "",
    journal: str | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """Run a service in standalone mode until the block is left; `journal` is the URL of one in a
    database.
    """
    Switch.applied, Switch.undone, Switch.outcomes = [], [], []
    clock = clock or MovedClock()
    world = world or World(clock)
    if channels:
        more["channels"] = folder / "channels.yaml"
    if policy:
        (folder / "policy.yaml").write_text(policy)
        more["policy"] = folder / "policy.yaml"
    more["journal"] = journal or folder / "journal.db"
    made = Settings(
        transport="standalone",
        ops_port=0,
        intake_port=0,
        sources=folder / "sources.yaml",
        remediations=folder / "remediations",
        **more,
    )
    async with stand_ins(world) as url:
        write_files(folder, url, sources, remediation)
        if channels:
            (folder / "channels.yaml").write_text(channels.format(folder=folder, url=url))
            (folder / "slack").write_text(f"{url}/told/slack")
        async with running(made, registry_of(Switch), clock=clock) as service:
            yield Rig(service, world, clock, folder)


@asynccontextmanager
async def stand_ins(world: World) -> AsyncIterator[str]:
    """Serve what stands for Alertmanager and Prometheus; yields the address of both."""
    world.series.setdefault("errors", 0)
    app = web.Application()
    app.on_response_prepare.append(world.date)
    app.router.add_post("/told/{channel}", world.hear)
    app.router.add_route("*", "/{tail:.*}", world.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


def write_files(folder: Path, url: str, sources: str, remediation: str) -> None:
    """Write the secret, sources.yaml and the remediation.yaml of the project."""
    (folder / "secret").write_text(SECRET)
    (folder / "sources.yaml").write_text(sources.format(folder=folder, url=url))
    place = folder / "remediations/sockshop"
    place.mkdir(parents=True, exist_ok=True)
    (place / "remediation.yaml").write_text(remediation)
