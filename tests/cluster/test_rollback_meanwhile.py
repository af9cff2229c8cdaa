"""`rollback` on a real API server while others change the workload, too, or after a crash."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.swap import AnotherTemplate
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven, InMemory
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.updates import updated_twice

KINDS = pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


async def test_a_conflict_is_tried_again(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    assert isinstance(drive.action, Rollback)
    api: Any = drive.action.api
    patch = api.patch

    async def patch_after_another(*request: Any) -> Any:
        api.patch = patch
        await carts.patch({"metadata": {"labels": {"team": "checkout"}}})
        return await patch(*request)

    api.patch = patch_after_another
    await drive.apply(plan)
    assert await carts.image() == IMAGES[1]
    assert (await carts.live())["metadata"]["labels"] == {"team": "checkout"}


async def test_another_template_that_wins_the_race_is_left(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    assert isinstance(drive.action, Rollback)
    api: Any = drive.action.api
    patch = api.patch

    async def patch_after_another(*request: Any) -> Any:
        api.patch = patch
        await carts.update(IMAGES[0])
        return await patch(*request)

    api.patch = patch_after_another
    with pytest.raises(AnotherTemplate):
        await drive.apply(plan)
    assert await carts.image() == IMAGES[0]


@KINDS
async def test_a_template_that_came_before_us_is_left(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    carts = await updated_twice(namespace, kind)
    plan = await drive.plan({})
    await carts.update(IMAGES[0])
    with pytest.raises(AnotherTemplate, match=rf"gave .* another template, with image {IMAGES[0]}"):
        await drive.apply(plan)
    assert await carts.image() == IMAGES[0]


async def test_a_template_that_came_after_us_is_told(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await carts.set_image(IMAGES[0])
    outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert outcome.message.startswith("overridden: ")
    assert f"another template, with image {IMAGES[0]}" in outcome.message


async def test_what_is_rolled_back_from_is_remembered_however_that_ends(
    drive: Driven, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})

    async def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ClusterApi, "patch", crash)
        with pytest.raises(KeyboardInterrupt):
            await drive.apply(plan)
    memory = drive.context.memory
    assert isinstance(memory, InMemory)
    [kept] = memory.values.values()
    assert len(kept["bad"]) == 1
    await drive.apply(plan)
    await drive.apply(plan)
    assert await carts.image() == IMAGES[1]
    [kept] = memory.values.values()
    assert len(kept["bad"]) == 1


# Undoing it


@KINDS
async def test_a_person_may_have_it_undone(drive: Driven, namespace: Namespace, kind: str) -> None:
    carts = await updated_twice(namespace, kind)
    plan = await drive.plan({})
    await drive.apply(plan)
    await drive.verify(plan)
    assert await drive.undo(plan) == "undone"
    assert await carts.image() == IMAGES[2]
    assert await drive.undo(plan) == "undone"


async def test_a_revision_that_a_person_wanted_back_is_not_bad_any_more(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await drive.undo(plan)
    await carts.rolled_out()
    await carts.set_image(BROKEN_IMAGE)
    await carts.until(lambda it: it["status"]["observedGeneration"] == it["metadata"]["generation"])
    assert IMAGES[2] in (await drive.plan({})).changes[0].after


async def test_what_somebody_deployed_since_is_not_undone(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await carts.update(IMAGES[0])
    assert (await drive.undo(plan)).startswith("not undone: ")
    assert await carts.image() == IMAGES[0]
