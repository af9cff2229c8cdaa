"""`rollback` of Argo Rollouts, on a real API server; the tests are their controller."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven
from tests.cluster.driving import acting
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.updates import ROLLOUT_HASH, before_the_next_patch, reconciled, replica_set
from tests.cluster.workload import Workload

pytestmark = pytest.mark.usefixtures("reduced_crds")
NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace, seconds=20) as drive:
        yield drive


async def updating(namespace: Namespace) -> Workload:
    """From the first image to the second."""
    carts = await namespace.rollout(image=IMAGES[1])
    stable = await replica_set(carts, 1, IMAGES[0])
    canary = await replica_set(carts, 2, IMAGES[1])
    await reconciled(carts, stableRS=stable, currentPodHash=canary, phase="Progressing")
    return carts


async def updated(namespace: Namespace, **spec: Any) -> Workload:
    carts = await namespace.rollout(image=IMAGES[1], **spec)
    await replica_set(carts, 1, IMAGES[0], replicas=0)
    stable = await replica_set(carts, 2, IMAGES[1])
    await reconciled(carts, stableRS=stable, currentPodHash=stable)
    return carts


async def test_an_update_that_is_on_its_way_is_aborted(drive: Driven, namespace: Namespace) -> None:
    carts = await updating(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await drive.apply(plan)
    await reconciled(carts, phase="Degraded", abortedAt=NOW)
    assert (await drive.verify(plan)).result == "pass"
    live = await carts.live()
    assert live["status"]["abort"] is True
    assert await carts.image() == IMAGES[1]
    assert await drive.undo(plan) == "undone"
    assert (await carts.live())["status"]["abort"] is False


async def test_an_abort_that_its_controller_ignores_is_a_failure(namespace: Namespace) -> None:
    carts = await updating(namespace)
    async with acting(Rollback, namespace, seconds=6) as drive:
        plan = await drive.plan({})
        await drive.apply(plan)
        await reconciled(carts, phase="Degraded", message="ProgressDeadlineExceeded")
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "its controller has not aborted the update yet" in outcome.message


async def test_an_update_that_is_promoted_during_the_abort_is_not_aborted(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updating(namespace)
    plan = await drive.plan({})
    promoted = {"stableRS": "hash2", "currentPodHash": "hash2"}
    before_the_next_patch(drive, lambda: reconciled(carts, **promoted))
    await drive.apply(plan)
    assert "abort" not in (await carts.live())["status"]
    assert await carts.image() == IMAGES[0]


async def test_a_stable_revision_goes_before_newer_canaries(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updating(namespace)
    await carts.set_image(IMAGES[2])
    newest = await replica_set(carts, 3, IMAGES[2])
    await reconciled(carts, currentPodHash=newest, phase="Progressing")
    assert (await drive.plan({})).changes[0].after == f"revision 1 (image {IMAGES[0]})"


async def test_what_was_aborted_gets_the_stable_template(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updating(namespace)
    await reconciled(carts, abort=True, phase="Degraded")
    plan = await drive.plan({})
    await drive.apply(plan)
    assert await carts.image() == IMAGES[0]


async def test_what_was_promoted_gets_the_former_template(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    template = (await carts.live())["spec"]["template"]
    assert ROLLOUT_HASH not in template["metadata"]["labels"]
    assert template["spec"]["containers"][0]["image"] == IMAGES[0]
    await reconciled(carts, stableRS="hash1", currentPodHash="hash1")
    assert (await drive.verify(plan)).result == "pass"
    with pytest.raises(Denied, match=r"known to be bad: revision 2"):
        await drive.plan({})


async def test_an_update_that_was_promoted_after_the_plan_gets_the_former_template(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updating(namespace)
    plan = await drive.plan({})
    await reconciled(carts, stableRS="hash2")
    await drive.apply(plan)
    assert await carts.image() == IMAGES[0]
    await reconciled(carts, stableRS="hash1", currentPodHash="hash1")
    assert (await drive.verify(plan)).result == "pass"


async def test_what_its_controller_says_is_told(drive: Driven, namespace: Namespace) -> None:
    carts = await updated(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await reconciled(carts, currentPodHash="hash1", phase="Degraded", message="analysis failed")
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "Degraded: analysis failed" in outcome.message


async def test_a_pause_without_an_end_is_told_at_once(drive: Driven, namespace: Namespace) -> None:
    steps = [{"setWeight": 20}, {"pause": {}}]
    carts = await updated(namespace, strategy={"canary": {"steps": steps}})
    plan = await drive.plan({})
    await drive.apply(plan)
    pause = {"reason": "CanaryPauseStep", "startTime": NOW}
    paused = {"phase": "Paused", "message": "CanaryPauseStep", "pauseConditions": [pause]}
    await reconciled(carts, currentPodHash="hash1", currentStepIndex=1, **paused)
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert "Paused: CanaryPauseStep; promote it, or set rollbackWindow" in outcome.message


async def test_labels_lent_to_canaries_stay_with_them(drive: Driven, namespace: Namespace) -> None:
    carts = await updated(namespace)
    name = "carts-hash1"
    lent = {"rollout.argoproj.io/ephemeral-metadata": '{"labels": {"role": "canary"}}'}
    labels = {"metadata": {"labels": {"role": "canary"}}}
    body = {"metadata": {"annotations": lent}, "spec": {"template": labels}}
    await namespace.patch("replicasets", name, body)
    await drive.apply(await drive.plan({}))
    assert (await carts.live())["spec"]["template"]["metadata"]["labels"] == {"app": "carts"}


async def test_a_template_in_a_deployment_is_put_there(drive: Driven, namespace: Namespace) -> None:
    lender = await namespace.deployment(replicas=0, image=IMAGES[1])
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "carts"}
    carts = await updated(namespace, workloadRef=reference, template=None, selector=None)
    plan = await drive.plan({})
    assert plan.targets == {
        f"rollouts.argoproj.io/{namespace.name}/carts",
        f"deployments.apps/{namespace.name}/carts",
    }
    await drive.apply(plan)
    assert await lender.image() == IMAGES[0]
    generation = str((await lender.live())["metadata"]["generation"])
    await reconciled(
        carts, stableRS="hash1", currentPodHash="hash1", workloadObservedGeneration=generation
    )
    assert (await drive.verify(plan)).result == "pass"


async def test_a_template_in_another_kind_is_refused(drive: Driven, namespace: Namespace) -> None:
    reference = {"apiVersion": "v1", "kind": "PodTemplate", "name": "carts"}
    await namespace.rollout(workloadRef=reference)
    with pytest.raises(Denied, match="has its template in a PodTemplate"):
        await drive.plan({})
