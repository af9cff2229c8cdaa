"""`rollback` on a real API server with its controllers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster import stateful as stateful_sets
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven
from tests.cluster.access import kubeconfig_of, service_account
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.updates import rolled_back, runs_only, stuck, updated_twice
from tests.cluster.workload import Workload

KINDS = pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stateful_sets, "STUCK_SECONDS", 1)


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


# Which revision


@KINDS
async def test_rollbacks_in_a_row_go_back_step_by_step_and_never_return(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    first = await rolled_back(drive)
    assert (first.result, await carts.image()) == ("pass", IMAGES[1])
    second = await rolled_back(drive)
    assert (second.result, await carts.image()) == ("pass", IMAGES[0])
    await runs_only(carts, IMAGES[0])
    with pytest.raises(Denied, match=r"known to be bad: revision \d .* was rolled back from at 20"):
        await drive.plan({})
    assert len(await carts.history()) == 3


@KINDS
async def test_a_broken_image_is_replaced_by_the_revision_that_served_before(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    replicas = {} if kind == "daemon_set" else {"replicas": 2}
    carts: Workload = await getattr(namespace, kind)(**replicas)
    await carts.update(IMAGES[1])
    await carts.set_image(BROKEN_IMAGE)
    await namespace.cluster.until(
        namespace.path("pods"), lambda it: "ImagePullBackOff" in str(it), within_seconds=60
    )
    await carts.observed()
    outcome = await rolled_back(drive)
    assert outcome.message == (
        f"{carts.kind} carts in {namespace.name}: revision 3 (image {BROKEN_IMAGE}) ->"
        f" revision 2 (image {IMAGES[1]}), which is revision 4 now"
    )
    assert outcome.result == "pass"
    await runs_only(carts, IMAGES[1])


async def test_a_number_that_is_not_there_is_refused_with_those_that_are(
    drive: Driven, namespace: Namespace
) -> None:
    await updated_twice(namespace)
    there = f"there are: revision 3 (image {IMAGES[2]}), revision 2 (image {IMAGES[1]}), revision 1"
    with pytest.raises(PermanentError) as refused:
        await drive.plan({"revision": 7})
    assert there in str(refused.value)


async def test_the_number_of_the_live_revision_changes_nothing(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    outcome = await rolled_back(drive, revision=1)
    assert (outcome.result, outcome.message) == (
        "warning",
        f"Deployment carts in {namespace.name} is already at revision 1 (image {IMAGES[0]})",
    )
    assert (await carts.live())["metadata"]["generation"] == 1


# What is refused


@KINDS
async def test_without_a_history_there_is_nothing_to_go_back_to(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    await getattr(namespace, kind)()
    with pytest.raises(Denied, match=r"no other revision than revision 1 \(image .*removed it"):
        await drive.plan({})


async def test_a_paused_deployment_is_refused(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    await carts.patch({"spec": {"paused": True}})
    outcome = await drive.run({})
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert "is paused, so a new template would have no effect; resume it first" in outcome.message


@pytest.mark.parametrize("kind", ["stateful_set", "daemon_set"])
async def test_workloads_that_wait_for_deletions_are_refused(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    await carts.patch({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
    with pytest.raises(Denied, match="OnDelete"):
        await drive.plan({})


async def test_who_would_revert_it_is_asked_for_first(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    await carts.patch({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop"}}})
    with pytest.raises(Denied, match=r"belongs to Argo CD .*KUBERNETES_OWNER_POLICY"):
        await drive.plan({})
    async with acting(Rollback, namespace, owner_policy="argocd=warn") as bolder:
        outcome = await bolder.run({})
    assert outcome.result == "warning"
    assert "belongs to Argo CD (annotation argocd.argoproj.io/tracking-id: shop)" in outcome.message
    assert await carts.image() == IMAGES[1]


# How


async def test_a_dry_run_changes_nothing_and_tells_no_secrets(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    container = {"name": "main", "env": [{"name": "PASSWORD", "value": "hunter2"}]}
    patch = {"spec": {"template": {"spec": {"containers": [container | {"image": IMAGES[1]}]}}}}
    await carts.patch(patch)
    before = await carts.rolled_out()
    outcome = await drive.run({}, dry_run=True)
    assert outcome.message.startswith("dry run: deployments.apps/")
    assert "hunter2" not in (await drive.plan({})).to_json().decode()
    assert (await carts.live())["metadata"]["generation"] == before["metadata"]["generation"]


async def test_live_annotations_stay_and_the_cause_is_the_revisions(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    cause = "kubernetes.io/change-cause"
    await carts.patch({"metadata": {"annotations": {cause: "one"}}})
    await namespace.cluster.until(
        namespace.path("replicasets"), lambda it: "'one'" in str(it), within_seconds=20
    )
    container = {"name": "main", "image": IMAGES[1]}
    template = {"spec": {"containers": [container]}}
    await carts.patch({"metadata": {"annotations": {cause: "two"}}, "spec": {"template": template}})
    await carts.rolled_out()
    await carts.patch({"metadata": {"annotations": {"team": "checkout"}}})
    await carts.rolled_out()
    assert (await rolled_back(drive)).result == "pass"
    annotations = (await carts.live())["metadata"]["annotations"]
    assert (annotations["team"], annotations[cause]) == ("checkout", "one")


async def test_an_event_on_the_workload_tells_of_it(drive: Driven, namespace: Namespace) -> None:
    await updated_twice(namespace)
    await rolled_back(drive)
    told = [it for it in await namespace.events("carts") if it["reason"] == "RemedyRolledBack"]
    assert [drive.context.trigger.id in it["message"] for it in told] == [True]
    assert f"-> revision 2 (image {IMAGES[1]})" in told[0]["message"]


async def test_a_revision_that_does_not_get_available_is_a_failure_with_its_reasons(
    namespace: Namespace,
) -> None:
    carts = await namespace.deployment(image=BROKEN_IMAGE, ready=False)
    await carts.observed()
    await carts.update(IMAGES[0])
    async with acting(Rollback, namespace, seconds=8) as drive:
        plan = await drive.plan({})
        assert plan.changes[0].after.endswith("not known to have been available")
        await drive.apply(plan)
        pods = namespace.path("pods")
        await namespace.cluster.until(pods, lambda it: "ImagePullBackOff" in str(it))
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "is not available after revision 2" in outcome.message
    assert "ImagePullBackOff" in outcome.message


async def test_a_deadline_that_the_bad_revision_exceeded_does_not_count(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await stuck(carts, BROKEN_IMAGE)
    await carts.patch({"spec": {"progressDeadlineSeconds": 60}})
    assert "ProgressDeadlineExceeded" in str(await carts.observed())
    assert (await rolled_back(drive)).result == "pass"
    await runs_only(carts, IMAGES[0])


async def test_a_deadline_that_the_chosen_revision_exceeds_ends_the_wait(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment(image=BROKEN_IMAGE, ready=False, progressDeadlineSeconds=2)
    await carts.observed()
    await carts.update(IMAGES[0])
    plan = await drive.plan({})
    await drive.apply(plan)
    await times_out(carts)
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert outcome.message.count("has timed out progressing") == 1


async def times_out(carts: Workload) -> None:
    """Say so for its controller, which itself does only if it was quick enough to see the rollback
    begin (`DeploymentTimedOut` passes over what was complete before).
    """
    [broken] = [it for it in await carts.history() if BROKEN_IMAGE in str(it["spec"]["template"])]
    told = f'ReplicaSet "{broken["metadata"]["name"]}" has timed out progressing.'
    condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    await carts.set_status({"conditions": [{**condition, "message": told}]})


# With which rights

READ = ["get", "list"]
RIGHTS = [
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"]}
    | {"verbs": [*READ, "patch"]},
    {"apiGroups": ["apps"], "resources": ["replicasets", "controllerrevisions"], "verbs": READ},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "create"]},
]


@KINDS
async def test_these_rights_are_enough(namespace: Namespace, tmp_path: Path, kind: str) -> None:
    carts: Workload = await getattr(namespace, kind)()
    await carts.set_image(BROKEN_IMAGE)
    await carts.observed()
    account = await service_account(namespace, RIGHTS)
    kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
    async with acting(Rollback, namespace, kubeconfig) as drive:
        outcome = await drive.run({})
    assert outcome.result == "pass"
    await runs_only(carts, IMAGES[0])
    assert [it["reason"] for it in await namespace.events("carts")].count("RemedyRolledBack") == 1
