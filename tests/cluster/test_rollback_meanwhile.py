"""`rollback` on a real API server while others change the workload, too, or after a crash."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.swap import AnotherTemplate
from keptn_remedy_actions.rollback import Rollback
from tests.actions.driving import Driven, InMemory
from tests.cluster.driving import acting
from tests.cluster.namespace import BROKEN_IMAGE, IMAGES, Namespace
from tests.cluster.updates import before_the_next_patch, rolled_back, updated_twice
from tests.cluster.workload import Workload

KINDS = pytest.mark.parametrize("kind", ["deployment", "stateful_set", "daemon_set"])


@pytest.fixture
async def drive(namespace: Namespace) -> AsyncIterator[Driven]:
    async with acting(Rollback, namespace) as drive:
        yield drive


def remembered(drive: Driven) -> dict[str, Any]:
    assert isinstance(drive.context.memory, InMemory)
    return drive.context.memory.values


async def another_second() -> None:
    """The API server records writers with times in whole seconds."""
    await asyncio.sleep(1 - time.time() % 1)


async def test_a_conflict_is_tried_again(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    labels = {"metadata": {"labels": {"team": "checkout"}}}
    before_the_next_patch(drive, lambda: carts.patch(labels))
    await drive.apply(plan)
    assert await carts.image() == IMAGES[1]
    assert (await carts.live())["metadata"]["labels"] == {"team": "checkout"}


async def test_another_template_that_wins_the_race_is_left(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    before_the_next_patch(drive, lambda: carts.update(IMAGES[0]))
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


@pytest.mark.parametrize("kind", ["stateful_set", "daemon_set"])
async def test_defaults_that_are_newer_than_the_record_are_no_other_template(
    drive: Driven, namespace: Namespace, kind: str
) -> None:
    carts: Workload = await getattr(namespace, kind)()
    await carts.update(IMAGES[1])
    await _record_without_defaults(carts)
    plan = await drive.plan({})
    await drive.apply(plan)
    generation = (await carts.rolled_out())["metadata"]["generation"]
    remembered(drive).clear()  # as after a crash in between
    await drive.apply(plan)
    assert (await carts.live())["metadata"]["generation"] == generation
    outcome = await drive.verify(plan)
    assert (outcome.result, await carts.image()) == ("pass", IMAGES[0])
    assert await drive.undo(plan) == "undone"
    assert await carts.image() == IMAGES[1]


async def _record_without_defaults(carts: Workload) -> None:
    """Have its first revision as an API server without these defaults would have recorded it."""
    [first, _] = await carts.history()
    name, metadata = first["metadata"]["name"], first["metadata"]
    for field in ("schedulerName", "dnsPolicy"):
        del first["data"]["spec"]["template"]["spec"][field]
    await carts.namespace.delete("controllerrevisions", name)
    kept = {field: metadata[field] for field in ("labels", "ownerReferences")}
    await carts.namespace.create(
        "controllerrevisions", name, metadata=kept, revision=1, data=first["data"]
    )


async def test_more_in_the_template_than_was_wanted_is_not_that(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update_template({"metadata": {"annotations": {"flag": "on"}}})
    plan = await drive.plan({})
    await drive.apply(plan)
    assert not (await carts.live())["spec"]["template"]["metadata"].get("annotations")
    await another_second()
    await carts.update_template({"metadata": {"annotations": {"other": "on"}}})
    assert (await drive.verify(plan)).message.startswith("overridden: ")


async def test_what_we_put_there_ourselves_is_not_taken_for_what_it_contains(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await namespace.deployment()
    await carts.update_template({"metadata": {"annotations": {"flag": "on"}}})
    await carts.update(IMAGES[1])
    await rolled_back(drive)
    assert (await rolled_back(drive)).result == "pass"
    assert not (await carts.live())["spec"]["template"]["metadata"].get("annotations")


async def test_who_puts_it_back_while_we_are_dead_is_left_and_told(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await carts.update(IMAGES[2])
    await drive.apply(plan)
    assert await carts.image() == IMAGES[2]
    assert (await drive.verify(plan)).message.startswith("overridden: ")


async def test_what_was_not_there_any_more_is_not_bad(drive: Driven, namespace: Namespace) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await carts.update(IMAGES[0])
    with pytest.raises(AnotherTemplate):
        await drive.apply(plan)
    assert remembered(drive) == {}


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
    [kept] = remembered(drive).values()
    assert len(kept["bad"]) == 1
    await drive.apply(plan)
    await drive.apply(plan)
    assert await carts.image() == IMAGES[1]
    [kept] = remembered(drive).values()
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
    assert await drive.undo(plan) == "it is as it was before"


async def test_a_revision_that_a_person_wanted_back_is_not_bad_any_more(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await drive.undo(plan)
    await carts.rolled_out()
    await carts.set_image(BROKEN_IMAGE)
    await carts.observed()
    assert IMAGES[2] in (await drive.plan({})).changes[0].after


async def test_what_somebody_deployed_since_is_not_undone(
    drive: Driven, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    plan = await drive.plan({})
    await drive.apply(plan)
    await carts.update(IMAGES[0])
    with pytest.raises(Denied, match=rf"another template, with image {IMAGES[0]}, and revision 2"):
        await drive.undo(plan)
    assert await carts.image() == IMAGES[0]
