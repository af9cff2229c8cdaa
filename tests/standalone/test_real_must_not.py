"""What must not happen, on a real Prometheus and a real pair of Alertmanagers: one long story."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from keptn_remedy.service import Service
from keptn_remedy.standalone import prometheus as asked
from tests.monitoring import Alertmanager, AlertmanagerProgram, Prometheus, webhook_config
from tests.nats_server import free_port
from tests.standalone import test_real_servers as real
from tests.standalone.rig import REMEDIATION, SECRET, SOURCES, Switch
from tests.waiting import until

LADDER = "ladder: {{act_after: 10s, wait: 1s, window: 25s, hold_for: 5s, quiet_for: 1h}}"
ONE_RUNG = REMEDIATION.replace("        - {action: switch, name: second}\n", "")
SERVICES = ("a", "b", "c")
SERIES = "".join(f'errors{{service="{name}"}} 9\n' for name in SERVICES)
# The same trouble at two severities, and our own alert, which a careless route sends back.
RULES = """groups: [{name: g, rules: [
  {alert: TooManyErrors, expr: errors > 5, labels: {severity: warning}},
  {alert: TooManyErrors, expr: errors > 8, labels: {severity: critical}}]}]"""


@asynccontextmanager
async def target() -> AsyncIterator[tuple[str, web.AppRunner]]:
    """A target that has errors for as long as it lives; its address, and what ends it."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=SERIES)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "{}:{}".format(*runner.addresses[0]), runner
    finally:
        await runner.cleanup()


def watched(folder: Path, address: str, pair: Sequence[Alertmanager]) -> dict[str, Any]:
    """The configuration of Prometheus, which tells both Alertmanagers."""
    config = real.watched(folder, address, pair[0])
    (folder / "rules.yml").write_text(RULES)
    to = [f"127.0.0.1:{each.port}" for each in pair]
    return {**config, "alerting": {"alertmanagers": [{"static_configs": [{"targets": to}]}]}}


class Story:
    """The servers and the service, and what is looked at in them."""

    def __init__(self, service: Service, http: ClientSession, pair: Sequence[Alertmanager]) -> None:
        self.journal: Any = service.journal
        self.http = http
        self.pair = pair

    async def states(self) -> dict[str, str]:
        return {each.service: each.state for each in await self.journal.episodes()}

    async def rungs(self) -> dict[str, list[Any]]:
        found = await self.journal.episodes()
        return {each.service: await self.journal.rungs(each) for each in found}

    async def silence(self, service: str) -> None:
        now = datetime.now(UTC)
        silence = {
            "matchers": [{"name": "service", "value": service, "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "ada",
            "comment": "not now",
        }
        for each in self.pair:
            async with self.http.post(f"{each.url}/api/v2/silences", json=silence) as answer:
                assert answer.status == 200, await answer.text()


@pytest.mark.timeout(400)
async def test_pairs_silences_kills_and_a_dead_target_lead_to_no_second_act_and_no_false_help(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "DISTRUST_SECONDS", 5.0)
    Switch.applied, Switch.undone, Switch.outcomes = [], [], []
    ports = [free_port(), free_port()]
    pair = [
        Alertmanager(tmp_path / f"am{n}", alertmanager_program, {}, ports[n], ports)
        for n in range(2)
    ]
    async with AsyncExitStack() as stack:
        address, exporter = await stack.enter_async_context(target())
        server = Prometheus(tmp_path / "prom", watched(tmp_path, address, pair))
        for each in (*pair, server):
            stack.callback(each.kill)
        text = SOURCES[: SOURCES.index("ladder:")] + LADDER
        urls = '", "'.join(each.url for each in pair)
        text = text.replace("{url}/am", urls).replace("{url}/prom", server.url)
        service = await stack.enter_async_context(
            real.served(tmp_path, text.format(folder=tmp_path), 0)
        )
        (tmp_path / "remediations/sockshop/remediation.yaml").write_text(ONE_RUNG)
        assert service.standalone
        at = f"http://127.0.0.1:{service.standalone.listener.port}/intake/shop"
        http = await stack.enter_async_context(ClientSession())
        story = Story(service, http, pair)
        for each in pair:
            each.configure(webhook_config(at, SECRET, group_interval="1s", group_by=["alertname"]))
            await each.start()
        await server.start()

        async def all_three_began() -> bool:
            return set(await story.states()) == set(SERVICES)

        await until(all_three_began, within_seconds=60)
        await story.silence("c")
        await until(lambda: len(Switch.applied) == 2, within_seconds=90)

        async def is_held() -> bool:
            return (await story.states())["c"] == "held"

        await until(is_held, within_seconds=60)
        # Killed, they forget all: the same alerts come with another start, and without a silence.
        for each in (server, *pair):
            each.kill()
        for each in (*pair, server):
            await each.start()
        await until(lambda: len(Switch.applied) == 3, within_seconds=90)
        await exporter.cleanup()

        async def all_are_given_to_a_person() -> bool:
            return set((await story.states()).values()) == {"escalated"}

        await until(all_are_given_to_a_person, within_seconds=120)

        async def our_own_alert_came_back() -> bool:
            found = await story.journal.ignored(9)
            return any(what.reason == "it is an alert of our own" for what, _, _ in found)

        await until(our_own_alert_came_back, within_seconds=60)
        rungs, episodes = await story.rungs(), await story.journal.episodes()

    assert {name: [each.index for each in found] for name, found in rungs.items()} == {
        name: [0] for name in SERVICES
    }
    verdicts = {found[0].verdict for found in rungs.values()}
    assert verdicts <= {"unknown", "failed"}
    assert len(episodes) == 3
    assert (Switch.applied, Switch.undone) == (["one"] * 3, [])
