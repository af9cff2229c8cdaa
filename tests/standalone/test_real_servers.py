"""A real Prometheus and a real Alertmanager: from an alert to a judged remedy, and to its undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy.service import Service, running
from keptn_remedy.settings import Settings
from keptn_remedy.standalone import prometheus as asked
from keptn_remedy.testing import registry_of
from tests.monitoring import Alertmanager, AlertmanagerProgram, Prometheus, webhook_config
from tests.standalone.rig import REMEDIATION, SECRET, SOURCES, Switch
from tests.waiting import until

LADDER = "ladder: {{act_after: 0s, wait: 1s, window: 30s, hold_for: 2s, quiet_for: 3s}}"
UNDO = "version: 1\nrules: [{name: all, undo: {on_closed: true}}]\n"


@asynccontextmanager
async def exporter() -> AsyncIterator[str]:
    """A target with errors until the switch is set; yields its address."""

    async def metrics(_: web.Request) -> web.Response:
        errors = 0 if Switch.applied else 9
        return web.Response(text=f'errors{{service="carts"}} {errors}\n')

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


def watched(folder: Path, target: str, alertmanager: Alertmanager) -> dict[str, Any]:
    """The configuration of Prometheus: the target, and a rule on its errors."""
    rules = folder / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: TooManyErrors, expr: errors > 5}]}]")
    to = f"127.0.0.1:{alertmanager.port}"
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "carts", "static_configs": [{"targets": [target]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [to]}]}]},
    }


@asynccontextmanager
async def served(folder: Path, sources: str, intake_port: int) -> AsyncIterator[Service]:
    (folder / "secret").write_text(SECRET)
    (folder / "policy.yaml").write_text(UNDO)
    (folder / "sources.yaml").write_text(sources)
    (folder / "remediations/sockshop").mkdir(parents=True)
    (folder / "remediations/sockshop/remediation.yaml").write_text(REMEDIATION)
    settings = Settings(
        transport="standalone",
        ops_port=0,
        intake_port=intake_port,
        journal=folder / "journal.db",
        sources=folder / "sources.yaml",
        remediations=folder / "remediations",
        policy=folder / "policy.yaml",
    )
    async with running(settings, registry_of(Switch)) as service:
        yield service


async def test_an_alert_of_real_servers_is_remedied_judged_closed_and_undone(
    tmp_path: Path,
    alertmanager_program: AlertmanagerProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asked, "DISTRUST_SECONDS", 5.0)
    Switch.applied, Switch.undone, Switch.outcomes = [], [], []
    alertmanager = Alertmanager(tmp_path / "am", alertmanager_program, {})
    async with exporter() as target:
        server = Prometheus(tmp_path / "prom", watched(tmp_path, target, alertmanager))
        text = SOURCES[: SOURCES.index("ladder:")] + LADDER
        text = text.replace("{url}/am", alertmanager.url).replace("{url}/prom", server.url)
        try:
            async with served(tmp_path, text.format(folder=tmp_path), 0) as service:
                assert service.standalone
                at = f"http://127.0.0.1:{service.standalone.listener.port}/intake/shop"
                alertmanager.configure(webhook_config(at, SECRET, group_interval="1s"))
                await alertmanager.start()
                await server.start()
                await until(lambda: Switch.applied == ["one"], within_seconds=40)
                await until(lambda: Switch.undone == ["one"], within_seconds=60)
                episodes = await service.journal.episodes()
                rungs = await service.journal.rungs(episodes[-1])
        finally:
            server.kill()
            alertmanager.kill()

    assert (episodes[-1].state, episodes[-1].closing) == ("closed", "confirmed")
    assert [each.verdict for each in rungs] == ["helped"]
    assert rungs[0].reason == "the alert TooManyErrors is gone; 0 is measured"
