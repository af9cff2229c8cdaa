"""argocd on a real API server; the tests are Argo CD's controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from keptn_remedy import Denied
from keptn_remedy.testing import run_action, triggered
from keptn_remedy_actions.argocd import ArgoCd, ArgoCdSettings, ArgoCdValue
from tests.actions.driving import driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.applications import AUTOMATED, SOURCE, application, begun, deployed, live
from tests.cluster.client import Json
from tests.cluster.driving import Patient
from tests.cluster.namespace import Namespace
from tests.deploy.charts import needs_helm, the

PAGE = Path(__file__).parents[2] / "docs/actions/argocd.md"
on_a_cluster = pytest.mark.usefixtures("reduced_crds")


def settings(namespace: Namespace, **others: Any) -> ArgoCdSettings:
    given: Any = {"kubeconfig": str(namespace.cluster.kubeconfig), **others}
    given = {"argocd_application_template": "{service}", "argocd_namespace": namespace.name} | given
    return ArgoCdSettings(**given)


@asynccontextmanager
async def acting(
    namespace: Namespace, *, seconds: float = 60, **others: Any
) -> AsyncIterator[Patient]:
    made = ArgoCd(settings(namespace, **others))
    async with driven(made, seconds=seconds) as drive:
        try:
            yield Patient(drive.action, drive.event, drive.context, drive.logged)
        finally:
            await made.close()


def is_terminating(found: Json) -> bool:
    return bool(found["status"]["operationState"]["phase"] == "Terminating")


@on_a_cluster
async def test_a_rollback_ends_the_automated_sync_until_it_is_undone(namespace: Namespace) -> None:
    await application(namespace, automated=AUTOMATED)
    async with acting(namespace) as drive:
        plan = await drive.plan("rollback")
        assert [str(change).partition(" ")[2] for change in plan.changes] == [
            "deployed revision: c -> b",
            'automated sync policy: {"prune":true,"selfHeal":true} -> null',
        ]
        assert "operation" not in await live(namespace)
        for _ in range(2):  # as after crashes, before Argo CD begins and after it has ended
            await drive.apply(plan)
        asked = (await live(namespace))["operation"]
        assert asked["sync"] == {
            "prune": False,
            "revision": "b",
            "source": SOURCE,
            "syncOptions": ["CreateNamespace=true"],
        }
        await deployed(namespace)
        await drive.apply(plan)
        outcome = await drive.verify(plan)
        assert outcome.result == "pass", outcome
        assert "deployed b, and it is healthy; it is not synced automatically" in outcome.message
        found = await live(namespace)
        assert "operation" not in found
        assert found["spec"]["syncPolicy"] == {"syncOptions": ["CreateNamespace=true"]}
        assert "syncs Application carts" in await drive.undo(plan)
        assert await drive.undo(plan) == "it is as it was before"
    assert (await live(namespace))["spec"]["syncPolicy"]["automated"] == AUTOMATED


@on_a_cluster
async def test_without_automated_sync_undo_deploys_what_was_there(namespace: Namespace) -> None:
    await application(namespace)
    async with acting(namespace, argocd_prune=True) as drive:
        plan = await drive.plan({"operation": "sync", "revision": "v2", "prune": True})
        await drive.apply(plan)
        await deployed(namespace)
        assert (await drive.verify(plan)).result == "pass"
        assert "Argo CD was told to deploy c again" in await drive.undo(plan)
        assert await drive.undo(plan) == "undone"
        asked = (await live(namespace))["operation"]["sync"]
        assert (asked["revision"], asked["prune"]) == ("c", False)
        await deployed(namespace)
        assert await drive.undo(plan) == "undone"
        assert "operation" not in await live(namespace)


@on_a_cluster
async def test_an_operation_that_has_not_begun_is_withdrawn(namespace: Namespace) -> None:
    await application(namespace, automated={})
    async with acting(namespace, seconds=5.2) as drive:
        plan = await drive.plan({"operation": "rollback", "id": 0})
        await drive.apply(plan)
        assert "Argo CD has not begun yet" in (await drive.verify(plan)).message
        assert await drive.undo(plan) == "undone: Argo CD had not begun the operation"
    found = await live(namespace)
    assert "operation" not in found
    assert found["spec"]["syncPolicy"]["automated"] == {}


@pytest.mark.parametrize("automated", [AUTOMATED, None])
@on_a_cluster
async def test_an_operation_that_is_under_way_is_ended_before_it_is_undone(
    automated: Any, namespace: Namespace
) -> None:
    await application(namespace, automated=automated)
    async with acting(namespace) as drive:
        plan = await drive.plan("rollback")
        await drive.apply(plan)
        await begun(namespace)
        undoing = asyncio.create_task(drive.undo(plan))  # it is tried again and again
        found = await namespace.until("applications", "carts", is_terminating)
        assert "automated" not in found["spec"].get("syncPolicy", {})
        ended = {"phase": "Failed", "message": "Operation terminated"}
        await namespace.patch("applications", "carts", {"status": {"operationState": ended}})
        said = "syncs Application carts" if automated else "told to deploy c again"
        assert said in await undoing


@on_a_cluster
async def test_a_sync_policy_that_somebody_else_ended_is_not_restored(namespace: Namespace) -> None:
    await application(namespace, automated=AUTOMATED)
    ended = {"spec": {"syncPolicy": {"automated": None}}}
    async with acting(namespace) as drive:
        plan = await drive.plan("rollback")
        await namespace.patch("applications", "carts", ended)
        with pytest.raises(Denied, match=r"sync policy of Application carts in .* was changed"):
            await drive.apply(plan)
        with pytest.raises(Denied, match="so its sync policy is left alone"):
            await drive.undo(plan)
        assert "automated" not in (await live(namespace))["spec"]["syncPolicy"]


@on_a_cluster
async def test_a_sync_policy_is_not_restored_after_an_operation_of_somebody_else(
    namespace: Namespace,
) -> None:
    await application(namespace, automated=AUTOMATED)
    async with acting(namespace) as drive:
        plan = await drive.plan("rollback")
        await drive.apply(plan)
        await deployed(namespace)
        theirs = {"operation": {"sync": {"revision": "a"}, "info": []}}
        await namespace.patch("applications", "carts", theirs)
        await deployed(namespace)  # as `argocd app rollback`, which automated sync would revert
        with pytest.raises(Denied, match="so its sync policy is left alone"):
            await drive.undo(plan)
        assert "automated" not in (await live(namespace))["spec"]["syncPolicy"]


@on_a_cluster
async def test_how_an_operation_fails_is_told(namespace: Namespace) -> None:
    await application(namespace)
    async with acting(namespace, seconds=5.5) as drive:
        plan = await drive.plan("sync")
        await drive.apply(plan)
        await begun(namespace)
        assert "the operation is Running: as told" in (await drive.verify(plan)).message
        state = {"operationState": {"phase": "Failed", "message": "one resource is invalid"}}
        await namespace.patch("applications", "carts", {"status": state})
        outcome = await drive.verify(plan)
        assert "the operation ended as Failed: one resource is invalid" in outcome.message
        state = {"operationState": {"phase": "Succeeded", "finishedAt": "2026-01-02T00:00:00Z"}}
        status = {**state, "reconciledAt": "2026-01-01T00:00:00Z", "health": {"status": "Healthy"}}
        await namespace.patch("applications", "carts", {"status": status})
        assert "has not looked at its health since" in (await drive.verify(plan)).message
        degraded = {"reconciledAt": "2026-01-03T00:00:00Z", "health": {"status": "Degraded"}}
        await namespace.patch("applications", "carts", {"status": degraded})
        assert "deployed, but not healthy: Degraded" in (await drive.verify(plan)).message


@on_a_cluster
async def test_after_a_foreign_change_nothing_is_touched(namespace: Namespace) -> None:
    await application(namespace, automated=AUTOMATED)
    async with acting(namespace) as drive:
        plan = await drive.plan("rollback")
        other = {"initiatedBy": {"username": "somebody"}, "sync": {"revision": "d"}}
        await namespace.patch("applications", "carts", {"operation": other})
        with pytest.raises(Denied, match="another operation of it waits"):
            await drive.apply(plan)
        await begun(namespace)
        with pytest.raises(Denied, match="another operation of it is under way: as told"):
            await drive.plan("rollback")
        state = {"status": {"operationState": {"phase": "Succeeded"}}}
        await namespace.patch("applications", "carts", state)
        with pytest.raises(Denied, match="another operation changed Application carts"):
            await drive.apply(plan)
        again = await drive.plan("rollback")
        await namespace.patch(
            "applications", "carts", {"spec": {"syncPolicy": {"automated": {"prune": False}}}}
        )
        with pytest.raises(Denied, match=r"sync policy of Application carts in .* was changed"):
            await drive.apply(again)
        with pytest.raises(Denied, match="another sync policy since: left alone"):
            await drive.undo(again)
        automatic = await drive.plan("sync")
        with pytest.raises(Denied, match="by itself, so a sync can't be undone"):
            await drive.undo(automatic)


@on_a_cluster
async def test_what_can_not_be_done_is_told(namespace: Namespace) -> None:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": "all"}
    owned = {"ownerReferences": [{**owner, "uid": "1", "controller": True}]}
    await asyncio.gather(
        application(namespace, automated={}, name="owned", metadata=owned),
        application(namespace),
    )
    async with acting(namespace) as drive:
        for value, message in (
            ({"operation": "rollback", "application": "gone"}, "applications.argoproj.io gone in"),
            ({"operation": "rollback", "id": 9}, "its history has no id 9; there are 0, 1, 2"),
            ({"operation": "sync", "application": "No/Name"}, "not a valid name"),
            ({"operation": "remove"}, "value.operation"),
        ):
            assert message in await drive.refusal(value)
        with pytest.raises(Denied, match="owned by ApplicationSet all"):
            await drive.plan({"operation": "rollback", "application": "owned"})
        with pytest.raises(Denied, match="pruning needs ARGOCD_PRUNE=true"):
            await drive.plan({"operation": "sync", "prune": True})


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "delete", 3, [], {}, {"operation": None}, {"operation": "sync", "id": 1}),
        *({"operation": "rollback", "revision": "x"}, {"operation": "rollback", "id": -1}),
        *({"operation": "rollback", "id": "newest"}, {"operation": "sync", "revision": ""}),
        *({"operation": "sync", "app": "carts"}, {"operation": "sync", "prune": "perhaps"}),
    ],
)
def test_bad_values_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ArgoCdValue).validate_python(value)


@needs_helm
@on_a_cluster
async def test_the_role_of_the_chart_is_enough_and_what_is_missing_is_named(
    namespace: Namespace, tmp_path: Path
) -> None:
    await application(namespace)
    values = {
        "actions": {"toggle-feature": False, "argocd": True},
        "argocd": {"namespace": namespace.name},
    }
    rules = the("Role", values)["rules"]
    lacking = [{**rule, "verbs": [v for v in rule["verbs"] if v != "patch"]} for rule in rules]
    for name, granted in (("all", rules), ("lacking", lacking)):
        account = await service_account(namespace, granted, name=name)
        kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
        async with acting(namespace, kubeconfig=str(kubeconfig)) as drive:
            if name == "all":
                outcome, _ = await asyncio.gather(drive.run("rollback"), deployed(namespace))
                assert outcome.result == "pass", outcome
            else:
                refusal = await drive.refusal("rollback")
                assert "not allowed: patch applications.argoproj.io carts in" in refusal


@on_a_cluster
async def test_the_remediation_of_the_page_runs_and_its_dry_run_changes_nothing(
    namespace: Namespace,
) -> None:
    text = PAGE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    [action] = yaml.safe_load(text)["spec"]["remediations"][0]["actionsOnOpen"]
    before = await application(namespace)
    event = triggered(action["action"], action["value"])
    given = settings(namespace)
    await run_action(ArgoCd, event=event, settings=given, dry_run=True)
    assert (await live(namespace))["metadata"]["resourceVersion"] == (
        before["metadata"]["resourceVersion"]
    )
    outcome, _ = await asyncio.gather(
        run_action(ArgoCd, event=event, settings=given), deployed(namespace)
    )
    assert outcome.result == "pass", outcome
