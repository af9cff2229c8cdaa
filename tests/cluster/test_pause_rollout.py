"""pause-rollout on a real API server; for Argo Rollouts the tests are the controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from keptn_remedy import Denied
from keptn_remedy.testing import run_action, triggered
from keptn_remedy_actions.pause_rollout import PauseRollout, PauseRolloutSettings
from tests.actions.driving import driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.driving import Patient
from tests.cluster.namespace import IMAGES, Namespace
from tests.deploy.charts import needs_helm, the

PAGE = Path(__file__).parents[2] / "docs/actions/pause-rollout.md"


def settings(namespace: Namespace, **others: Any) -> PauseRolloutSettings:
    given: Any = {"pause_rollout_kinds": "deployments", "settle_seconds": 0, **others}
    given = {"kubeconfig": str(namespace.cluster.kubeconfig), **given}
    return PauseRolloutSettings(namespace_template=namespace.name, **given)


@asynccontextmanager
async def acting(
    namespace: Namespace, *, seconds: float = 60, **others: Any
) -> AsyncIterator[Patient]:
    made = PauseRollout(settings(namespace, **others))
    async with driven(made, seconds=seconds) as drive:
        try:
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await made.close()


async def test_a_paused_deployment_gives_no_pod_a_new_template_until_undone(
    namespace: Namespace,
) -> None:
    workload = await namespace.deployment()
    async with acting(namespace) as drive:
        plan = await drive.plan({})
        assert "paused" not in (await workload.live())["spec"]
        for _ in range(3):  # as after crashes
            await drive.apply(plan)
        assert (await drive.verify(plan)).result == "pass"
        await workload.set_image(IMAGES[1])
        await workload.observed()
        assert len(await workload.history()) == 1
        again = await drive.plan({})
        assert not again.changes
        assert await drive.undo(again) == "there was nothing to undo"
        assert await drive.undo(plan) == "undone"
        assert await drive.undo(plan) == "it is as it was before"
    await workload.rolled_out()
    assert "paused" not in (await workload.live())["spec"]
    reasons = [event["reason"] for event in await namespace.events("carts")]
    assert {"RemedyPaused", "RemedyUndone"} <= {*reasons}


async def test_an_argo_rollout_is_paused_once_its_controller_has_seen_it(
    namespace: Namespace, reduced_crds: None
) -> None:
    workload = await namespace.rollout()
    async with acting(namespace, pause_rollout_kinds="deployments, rollouts", seconds=5.5) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        assert "has not seen the pause yet" in (await drive.verify(plan)).message
        generation = (await workload.live())["metadata"]["generation"]
        await workload.set_status({"observedGeneration": str(generation), "phase": "Paused"})
        assert (await drive.verify(plan)).result == "pass"
        assert (await workload.live())["spec"]["paused"] is True
        assert await drive.undo(plan) == "undone"


async def test_what_somebody_changed_since_is_left_alone(namespace: Namespace) -> None:
    workload = await namespace.deployment()
    async with acting(namespace) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        await workload.patch({"spec": {"paused": False}})
        assert "overridden: " in (await drive.verify(plan)).message
        assert await drive.undo(plan) == "it is as it was before"
        await workload.delete()
        await namespace.until("deployments", "carts", lambda live: not live)
        await namespace.deployment(ready=False, paused=True)
        with pytest.raises(Denied, match="was deleted and recreated since"):
            await drive.undo(plan)


async def test_what_can_not_be_paused_is_told(namespace: Namespace, reduced_crds: None) -> None:
    await namespace.stateful_set()
    await namespace.rollout("orders")
    async with acting(namespace) as drive:
        for value, message in (
            (None, "no Deployment named carts"),
            ({"kind": "StatefulSet"}, "a StatefulSet can't be the target of this action"),
            ({"name": "orders"}, "no Deployment named orders"),
            ({"name": "orders", "kind": "Rollout"}, "a Rollout can't be the target"),
            ({"names": "orders"}, "did you mean 'name'?"),
            ({"name": ""}, "must not be empty"),
            ({"name": "Not/Valid"}, "is not a valid name"),
        ):
            assert message in await drive.refusal(value)


@pytest.mark.parametrize("kinds", ["", "pods", "deployments,", "Deployment"])
def test_bad_kinds_turn_it_off(kinds: str) -> None:
    given: Any = {"service_host": "h", "service_port": "1"}
    with pytest.raises(ValidationError):
        PauseRolloutSettings(**{**given, "pause_rollout_kinds": kinds})


@needs_helm
async def test_the_role_of_the_chart_is_enough_and_what_is_missing_is_named(
    namespace: Namespace, tmp_path: Path
) -> None:
    await namespace.deployment()
    values = {
        "actions": {"toggle-feature": False, "pause-rollout": True},
        "rbac": {"targetNamespaces": [namespace.name]},
    }
    rules = the("Role", values)["rules"]
    lacking = [{**rule, "verbs": [v for v in rule["verbs"] if v != "patch"]} for rule in rules]
    for name, granted in (("all", rules), ("lacking", lacking)):
        account = await service_account(namespace, granted, name=name)
        kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
        async with acting(namespace, kubeconfig=str(kubeconfig)) as drive:
            outcome = await drive.run(None)
            if name == "all":
                assert outcome.result == "pass", outcome
                await namespace.patch("deployments", "carts", {"spec": {"paused": None}})
            else:
                assert "not allowed: patch deployments.apps carts in" in outcome.message


async def test_the_remediation_of_the_page_runs_and_its_dry_run_changes_nothing(
    namespace: Namespace,
) -> None:
    text = PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    [action] = yaml.safe_load(text)["spec"]["remediations"][0]["actionsOnOpen"]
    workload = await namespace.deployment()
    event = triggered(action["action"], action.get("value"))
    given = settings(namespace)
    await run_action(PauseRollout, event=event, settings=given, dry_run=True)
    assert "paused" not in (await workload.live())["spec"]
    outcome = await run_action(PauseRollout, event=event, settings=given)
    assert outcome.result == "pass", outcome
