"""`make run-standalone`: a real Prometheus, a real Alertmanager, and a remedy that is judged.

An exporter has many errors while a flag is on. The alert fires, the flag is switched off, the judge
sees the errors go, the problem is closed, and the flag is switched on again.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, web

from keptn_remedy.cli.terminal import say_folded
from tests.monitoring import (
    Alertmanager,
    AlertmanagerProgram,
    Prometheus,
    monitoring_missing,
    webhook_config,
)
from tests.nats_server import free_port
from tests.processes import die_with_parent

FOLDER = Path("var/standalone")
SECRET = "the secret of the demonstration"
FLAG = "PromotionCampaign"
TRUSTED_SECONDS = 31.0
SOURCES = """version: 1
sources:
  alerts:
    kind: alertmanager
    secret_file: {folder}/secret
    project: {{default: sockshop}}
    stage: {{default: production}}
    service: {{label: service}}
    allow: {{projects: sockshop}}
    alertmanagers: ["{alertmanager}"]
prometheus: {{url: "{prometheus}"}}
ladder: {{act_after: 1s, wait: 2s, window: 30s, hold_for: 5s, quiet_for: 5s}}
"""
REMEDIATION = """apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: carts}
spec:
  remediations:
    - problemType: TooManyErrors
      actionsOnOpen:
        - action: toggle-feature
          name: End the campaign
          value: {PromotionCampaign: "off"}
          evaluation: {promql: {query: "sum(error_rate)", want: "< 0.05"}}
"""
POLICY = "version: 1\nrules: [{name: flags, undo: {on_closed: true}}]\n"
RULES = "groups: [{name: carts, rules: [{alert: TooManyErrors, expr: error_rate > 0.05}]}]\n"


class Shop:
    """A service whose error rate a flag governs, while many customers come."""

    def __init__(self, flags: Path) -> None:
        self.flags = flags
        self.is_busy = True
        self.switch("off")

    def switch(self, variant: str) -> None:
        states = {"on": True, "off": False}
        flag = {"state": "ENABLED", "variants": states, "defaultVariant": variant}
        self.flags.write_text(json.dumps({"flags": {FLAG: flag}}))

    @property
    def is_on(self) -> bool:
        flag = json.loads(self.flags.read_text())["flags"][FLAG]
        return bool(flag["defaultVariant"] == "on" and flag["state"] == "ENABLED")

    @property
    def error_rate(self) -> float:
        return 0.31 if self.is_on and self.is_busy else 0.002

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=f'error_rate{{service="carts"}} {self.error_rate}\n')


async def main() -> int:
    if reason := monitoring_missing():
        print(reason)
        return 1
    folder = _empty_folder()
    shop = Shop(folder / "flags.json")
    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/metrics", shop.metrics)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    program, intake = AlertmanagerProgram(), free_port()
    hook = webhook_config(f"http://127.0.0.1:{intake}/intake/alerts", SECRET, group_interval="1s")
    alertmanager = Alertmanager(folder / "alertmanager", program, hook)
    prometheus = Prometheus(
        folder / "prometheus", _watched(folder, runner.addresses[0][1], alertmanager.port)
    )
    service = None
    try:
        await alertmanager.start()
        await prometheus.start()
        service = _serve(folder, intake, alertmanager, prometheus)
        await _play(folder, shop, f"http://127.0.0.1:{service[1]}", prometheus)
    finally:
        if service:
            service[0].terminate()
            service[0].wait(30)
        prometheus.kill()
        alertmanager.kill()
        program.remove()
        await runner.cleanup()
    return 0


def _empty_folder() -> Path:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    return FOLDER.absolute()


def _watched(folder: Path, target: int, alertmanager: int) -> dict[str, Any]:
    (folder / "rules.yml").write_text(RULES)
    to, carts = f"127.0.0.1:{alertmanager}", f"127.0.0.1:{target}"
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [{"job_name": "carts", "static_configs": [{"targets": [carts]}]}],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [to]}]}]},
    }


def _serve(
    folder: Path, intake: int, alertmanager: Alertmanager, prometheus: Prometheus
) -> tuple[subprocess.Popen[bytes], int]:
    (folder / "secret").write_text(SECRET)
    (folder / "policy.yaml").write_text(POLICY)
    urls = {"alertmanager": alertmanager.url, "prometheus": prometheus.url}
    (folder / "sources.yaml").write_text(SOURCES.format(folder=folder, **urls))
    place = folder / "remediations/sockshop/production/carts"
    place.mkdir(parents=True)
    (place / "remediation.yaml").write_text(REMEDIATION)
    ops = free_port()
    settings = {
        "REMEDY_INTAKE_PORT": intake,
        "REMEDY_OPS_PORT": ops,
        "REMEDY_PAGE_PUBLIC": "true",
        "REMEDY_JOURNAL": folder / "journal.db",
        "REMEDY_SOURCES": folder / "sources.yaml",
        "REMEDY_REMEDIATIONS": folder / "remediations",
        "REMEDY_POLICY": folder / "policy.yaml",
        "FLAGD_FILE": folder / "flags.json",
    }
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("remedy")), "serve", "--standalone"],
            env={"PATH": os.environ["PATH"], **{name: str(v) for name, v in settings.items()}},
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
        )
    return process, ops


async def _play(folder: Path, shop: Shop, ops: str, prometheus: Prometheus) -> None:
    print(f"Watch it on the page: {ops}/problems")
    print(f"Episodes: {ops}/api/episodes")
    print(f"Prometheus: {prometheus.url}")
    print(f"Files: {folder}")
    print(f"Prometheus must run for {TRUSTED_SECONDS:.0f} s before the judge trusts it.")
    await asyncio.sleep(TRUSTED_SECONDS)
    began, told = time.monotonic(), 0
    shop.switch("on")
    print(f"\n  0 s  {FLAG} is switched on: the error rate is {shop.error_rate}")
    async with ClientSession() as http:
        while time.monotonic() - began < 120:
            told, state = await _tell_news(http, ops, began, told)
            if state == "helped":
                shop.is_busy = False  # so that the problem does not return with the campaign
            if state == "closed" and shop.is_on:
                print(f"{time.monotonic() - began:3.0f} s  the flag is on again")
                if sys.stdin.isatty():
                    await asyncio.to_thread(input, "Look at the page; Enter ends it. ")
                return
            await asyncio.sleep(0.3)
    print(f"It was not closed within 2 minutes; {folder}/service.log tells why.")


async def _tell_news(http: ClientSession, ops: str, began: float, told: int) -> tuple[int, str]:
    try:
        async with http.get(f"{ops}/api/episodes") as answer:
            listed = (await answer.json())["episodes"]
        if not listed:
            return told, ""
        async with http.get(f"{ops}/api/episodes/{listed[0]['id']}") as answer:
            episode = await answer.json()
    except ClientError:
        return told, ""  # it starts
    for note in episode["history"][told:]:
        head = f"{time.monotonic() - began:3.0f} s  {note['state']:9}  "
        say_folded(note["text"], head, " " * len(head))
    return len(episode["history"]), str(episode["state"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
