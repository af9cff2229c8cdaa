"""Which revision `rollback` chooses, on a real API server with its controllers."""

from collections.abc import AsyncIterator

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven, InMemory
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.updates import rolled_back, stuck, updated_twice
from tests.cluster.workload import Workload

RESTARTED = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


async def planned(drive: Driven) -> str:
    """What a rollback would return to."""
    return str((await drive.plan({})).changes[0].after)


async def test_what_serves_now_is_preferred_to_a_newer_revision_that_does_not(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment(replicas=2)
    await carts.set_image(BROKEN_IMAGE)
    await carts.until(lambda it: it["status"].get("updatedReplicas") == 1)
    await carts.set_image(f"{BROKEN_IMAGE}-2")
    await carts.observed()
    assert (await rolled_back(drive)).result == "pass"
    assert await carts.image() == IMAGES[0]


async def test_what_is_left_of_a_former_revision_in_a_stuck_update_serves(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment(replicas=4)
    await stuck(carts, BROKEN_IMAGE)
    await carts.has_available(3, 0)
    assert await planned(drive) == f"revision 1 (image {IMAGES[0]})"


async def test_a_revision_that_replaced_the_former_in_part_is_not_preferred_to_it(
    drive: Driven, namespace: Namespace
) -> None:
    one_by_one = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    carts = await namespace.deployment(replicas=3, strategy=one_by_one)
    await carts.set_image(BROKEN_IMAGE)
    await carts.until(lambda it: it["status"].get("updatedReplicas") == 1)
    await _one_gets_ready(carts)
    await carts.until(lambda it: it["status"].get("updatedReplicas") == 2)
    await carts.set_image(f"{BROKEN_IMAGE}-2")
    await carts.observed()
    await carts.has_available(2, 1, 0)
    assert await planned(drive) == f"revision 1 (image {IMAGES[0]})"


async def _one_gets_ready(carts: Workload) -> None:
    pods = carts.namespace.path("pods")
    await carts.namespace.cluster.until(pods, lambda it: "ImagePullBackOff" in str(it))
    [broken] = [pod for pod in await carts.pods() if "ImagePullBackOff" in str(pod)]
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
    name = broken["metadata"]["name"]
    await carts.namespace.patch("pods", name, {"status": ready}, "status")


async def test_a_restart_in_between_is_no_revision_to_go_back_to(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update(IMAGES[1])
    await carts.update_template({"metadata": {"annotations": RESTARTED}})
    assert (await rolled_back(drive)).result == "pass"
    assert await carts.image() == IMAGES[0]
    with pytest.raises(Denied, match="known to be bad"):
        await drive.plan({})


async def test_a_number_overrides_what_is_remembered(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    await rolled_back(drive)
    outcome = await rolled_back(drive, revision="3")
    assert (outcome.result, await carts.image()) == ("pass", IMAGES[2])


async def test_a_revision_that_was_seen_available_is_no_doubtful_choice(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    assert (await drive.plan({})).changes[0].after == (
        f"revision 2 (image {IMAGES[1]}), not known to have been available"
    )
    assert "not known" not in (await rolled_back(drive)).message
    await carts.update(IMAGES[0])
    assert (
        (await drive.plan({}))
        .changes[0]
        .after.startswith(f"revision 4 (image {IMAGES[1]}), seen available at 20")
    )


async def test_a_revision_that_was_seen_available_goes_before_one_that_never_was(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update(IMAGES[1])
    await rolled_back(drive)
    await stuck(carts, BROKEN_IMAGE)
    await carts.update(IMAGES[2])
    assert (await planned(drive)).startswith(f"revision 3 (image {IMAGES[0]}), seen available at")


async def test_what_was_bad_comes_back_neither_with_a_restart(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update(IMAGES[1])
    await rolled_back(drive)
    template = {
        "metadata": {"annotations": RESTARTED},
        "spec": {"containers": [{"name": "main", "image": IMAGES[1]}]},
    }
    await carts.update_template(template)
    await carts.update(IMAGES[2])
    assert IMAGES[0] in await planned(drive)


async def test_a_revision_that_a_person_named_and_that_got_available_is_bad_no_longer(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update(IMAGES[1])
    await rolled_back(drive)
    assert (await rolled_back(drive, revision=2)).result == "pass"
    await carts.update(IMAGES[2])
    assert IMAGES[1] in await planned(drive)


async def test_a_workload_that_was_made_anew_starts_without_a_memory(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    await rolled_back(drive)  # from the third image
    await carts.delete()
    await namespace.cluster.until(namespace.path("replicasets"), lambda it: not it["items"])
    again = await namespace.deployment(image=IMAGES[2])
    await again.update(IMAGES[0])
    assert (await rolled_back(drive)).result == "pass"
    assert await again.image() == IMAGES[2]
    assert isinstance(drive.context.memory, InMemory)
    assert len(drive.context.memory.values) == 1
