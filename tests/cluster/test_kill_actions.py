"""`kill -9` of the real process while nine actions act at once: each has one effect, and one end.

Each round gives every action a target of its own, and hits all of them with one kill. `KILLS`
raises the number of rounds: 20 are 20 kills of each action.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.testing import FakeKeptn, triggered
from tests.cluster.applications import application, deployed
from tests.cluster.kill_points import MOMENTS, KillingGateway, Moment, hooked
from tests.cluster.namespace import IMAGES, Namespace
from tests.end_to_end.provider_process import ProviderProcess

KILLS = max(int(os.environ.get("KILLS", "0")), 2)
AT: tuple[Moment, ...] = (
    ("planned", "landed") if KILLS == 2 else tuple(MOMENTS[n % 3] for n in range(KILLS))
)
SECONDS = 120
SIZE = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
TEMPLATE = """\
apiVersion: batch/v1
kind: Job
spec: {template: {spec: {containers: [{name: main, image: pause:3.9}]}}}
"""


@dataclass(frozen=True)
class Place:
    """Where the actions of one round act."""

    namespace: Namespace
    round: int
    moment: Moment
    hooks: str

    def name(self, action: str) -> str:
        return f"{action}-{self.round}-of-{self.namespace.name[-6:]}"


async def nothing(_: Place) -> None:
    """Neither preparation nor an end is needed."""


async def workload(place: Place, name: str, replicas: int = 1) -> None:
    container = {"name": "main", "image": IMAGES[0], "resources": SIZE}
    spec = {"automountServiceAccountToken": False, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    await place.namespace.deployment(name, replicas=replicas, template=template)


async def node(place: Place, action: str, **spec: Any) -> None:
    meta = {"name": place.name(action), "labels": {"of": place.namespace.name}}
    taints = [{"key": "test", "effect": "NoSchedule"}]
    await place.namespace.cluster.create(
        "/api/v1/nodes", {"metadata": meta, "spec": {"taints": taints, **spec}}
    )


async def end_the_job(place: Place) -> None:
    """Its pod ends well, which the stand-in for kubelets never lets it."""

    def has_news(found: Any) -> bool:
        """Whether a pod runs, or those of this round and of all before it have ended."""
        phases = [pod["status"].get("phase") for pod in found.get("items") or ()]
        return "Running" in phases or phases.count("Succeeded") > place.round

    path = f"{place.namespace.path('pods')}?labelSelector=job-name"
    while True:
        found = await place.namespace.cluster.until(path, has_news, within_seconds=60)
        running = [pod for pod in found["items"] if pod["status"]["phase"] == "Running"]
        if not running:
            return
        status = {"status": {"phase": "Succeeded"}}
        await place.namespace.patch("pods", running[0]["metadata"]["name"], status, "status")


@dataclass(frozen=True)
class Case:
    """An action: its value, what it needs, who carries it out, and which URLs belong to it."""

    value: Callable[[Place], Any]
    prepare: Callable[[Place], Awaitable[object]] = nothing
    carry_out: Callable[[Place], Awaitable[object]] = nothing
    urls: Callable[[Place], tuple[str, ...]] = lambda _: ()


def on_workload(action: str, replicas: int = 1, **value: Any) -> Case:
    """A case whose target is a Deployment of the action's name."""
    return Case(
        lambda place: {"name": place.name(action), "kind": "Deployment", **value},
        lambda place: workload(place, place.name(action), replicas),
        urls=lambda place: (place.name(action),),
    )


def webhook(place: Place) -> Any:
    """What never came, `verify` need not wait for."""
    url, seconds = f"{place.hooks}/{place.name('webhook')}", 60.0
    verify = {"url": url, "timeout": seconds, "expect": {"json": {"$.done": True}}}
    verify["seconds"] = 0.1 if place.moment == "planned" else seconds
    return {"url": url, "timeout": seconds, "verify": verify}


CASES: Mapping[str, Case] = {
    "webhook": Case(webhook),
    "wait": Case(lambda _: "1s"),
    "run-job": Case(
        lambda _: {"template": "task"}, carry_out=end_the_job, urls=lambda _: ("/jobs", "job-name")
    ),
    "evict": on_workload("evict", 2),
    "resize": on_workload("resize", cpu="x2"),
    "pause-rollout": on_workload("pause-rollout"),
    "drain-node": Case(
        lambda place: place.name("drain"),
        lambda place: node(place, "drain"),
        urls=lambda place: (place.name("drain"),),
    ),
    "uncordon": Case(
        lambda place: place.name("uncordon"),
        lambda place: node(place, "uncordon", unschedulable=True),
        urls=lambda place: (place.name("uncordon"),),
    ),
    "argocd": Case(
        lambda place: {"operation": "sync", "application": place.name("argocd")},
        lambda place: application(place.namespace, name=place.name("argocd")),
        lambda place: deployed(place.namespace, place.name("argocd")),
        lambda place: (place.name("argocd"),),
    ),
}
# At these moments the change of an action can't be held: a timer has none.
UNHELD = ("wait",)


@dataclass
class Ordeal:
    """One provider, killed once in each round."""

    keptn: FakeKeptn
    provider: ProviderProcess
    gateway: KillingGateway
    namespace: Namespace
    hooks: str

    async def round(self, number: int, moment: Moment) -> None:
        place = Place(self.namespace, number, moment, self.hooks)
        self.gateway.owners = {
            part: place.name(action) for action, case in CASES.items() for part in case.urls(place)
        }
        for case in CASES.values():
            await case.prepare(place)
        self.gateway.points.aim_at(moment)
        events = {action: self._event(place, action) for action in CASES}
        for event in events.values():
            answer = await self.keptn.deliver(event, to=self.provider.url)
            assert answer.status in (200, 202), answer
        held = {place.name(action) for action in CASES if action not in UNHELD}
        await self.gateway.points.all_reached(held, within_seconds=SECONDS)
        self.provider.kill()
        self.gateway.points.killed()
        await self.provider.start()
        for case in CASES.values():
            await case.carry_out(place)
        await self.provider.quiet(seconds=SECONDS)
        self._check(place, moment, events)

    def _event(self, place: Place, action: str) -> dict[str, Any]:
        return triggered(action, CASES[action].value(place), service=place.name(action))

    def _check(self, place: Place, moment: Moment, events: Mapping[str, dict[str, Any]]) -> None:
        found = {
            action: (
                self.gateway.points.effects[place.name(action)],
                self.provider.rows(
                    "SELECT result, message FROM executions WHERE id = ?", event["id"]
                ),
            )
            for action, event in events.items()
        }
        for action, (effects, [(result, message)]) in found.items():
            # A POST that was noted as sent is never sent again: `verify` tells that nothing came.
            is_lost = action == "webhook" and moment == "planned"
            expected = (0, "fail") if is_lost else (action not in UNHELD, "pass")
            assert (effects, result) == expected, (moment, action, effects, result, message)


class Provider(ProviderProcess):
    """One that may take its time to start: as many act at once as on a busy machine."""

    start_seconds = 120.0


@asynccontextmanager
async def ordeal(namespace: Namespace, folder: Path) -> AsyncIterator[Ordeal]:
    jobs = folder / "jobs"
    jobs.mkdir()
    (jobs / "task.yaml").write_text(TEMPLATE)
    async with (
        KillingGateway.before(namespace.cluster.kubeconfig, folder) as gateway,
        FakeKeptn() as keptn,
    ):
        assert isinstance(gateway, KillingGateway)
        environment = {
            "KUBECONFIG": str(gateway.kubeconfig),
            "KUBERNETES_NAMESPACE_TEMPLATE": namespace.name,
            "KUBERNETES_SETTLE_SECONDS": "0",
            "WEBHOOK_HOSTS": "127.0.0.1",
            "WEBHOOK_LOOPBACK_HOSTS": "127.0.0.1",
            "WAIT_LONGEST": "1h",
            "RUN_JOB_IMAGES": "pause:*",
            "RUN_JOB_TEMPLATES": str(jobs),
            "EVICT_MOST_PODS": "1",
            "DRAIN_MOST_NODES": "1000",
            "RESIZE_MOST_CPU": "2",
            "RESIZE_MOST_MEMORY": "2Gi",
            "PAUSE_ROLLOUT_KINDS": "deployments",
            "ARGOCD_NAMESPACE": namespace.name,
        }
        async with (
            hooked(gateway.points) as hooks,
            Provider(folder / "provider", keptn, environment) as provider,
        ):
            await provider.start()
            yield Ordeal(keptn, provider, gateway, namespace, hooks)
    nodes = await namespace.cluster.items("/api/v1/nodes", labelSelector=f"of={namespace.name}")
    for each in nodes:
        await namespace.cluster.delete(f"/api/v1/nodes/{each['metadata']['name']}")


@pytest.mark.timeout(120 + 60 * KILLS)
async def test_a_kill_between_plan_apply_and_verify_doubles_no_effect_and_loses_none(
    namespace: Namespace, reduced_crds: None, tmp_path: Path
) -> None:
    async with ordeal(namespace, tmp_path) as killed:
        for number, moment in enumerate(AT):
            await killed.round(number, moment)
        assert killed.provider.is_intact()
