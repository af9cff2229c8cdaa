"""The servers of `monitoring`: that a real alert comes from one to the other, and to a webhook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from keptn_remedy.testing.http_peer import http_peer
from tests.monitoring import Alertmanager, AlertmanagerProgram, Prometheus, webhook_config
from tests.waiting import until


async def test_an_alert_of_a_real_prometheus_reaches_a_webhook_of_a_real_alertmanager(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    async with http_peer() as webhook, aiohttp.ClientSession() as session:
        alertmanager = Alertmanager(
            tmp_path / "am", alertmanager_program, webhook_config(webhook.url, "s3cret")
        )
        prometheus = Prometheus(tmp_path / "prom", _always_firing(tmp_path, alertmanager.port))
        try:
            await alertmanager.start()
            await prometheus.start()
            await until(lambda: bool(webhook.requests), within_seconds=30)
            async with session.get(f"{alertmanager.url}/api/v2/alerts") as answer:
                listed = await answer.json()
        finally:
            prometheus.kill()
            alertmanager.kill()

    [alert] = webhook.requests[0].json["alerts"]
    assert alert["labels"]["alertname"] == "Always"
    assert alert["status"] == "firing"
    assert webhook.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert [each["fingerprint"] for each in listed] == [alert["fingerprint"]]


def _always_firing(folder: Path, alertmanager_port: int) -> dict[str, Any]:
    rules = folder / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: Always, expr: vector(1)}]}]")
    target = {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [target]},
    }
