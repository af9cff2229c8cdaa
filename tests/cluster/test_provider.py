"""The real process, from Keptn's trigger to the cluster and back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy.testing import FakeKeptn, triggered
from tests.cluster.namespace import IMAGES, Namespace
from tests.cluster.updates import updated_twice
from tests.end_to_end.provider_process import ProviderProcess
from tests.waiting import until


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


@pytest.fixture
async def provider(
    namespace: Namespace, keptn: FakeKeptn, tmp_path: Path
) -> AsyncIterator[ProviderProcess]:
    environment = {
        "KUBECONFIG": str(namespace.cluster.kubeconfig),
        "KUBERNETES_NAMESPACE_TEMPLATE": namespace.name,
        "KUBERNETES_SETTLE_SECONDS": "0.3",
    }
    async with ProviderProcess(tmp_path, keptn, environment) as provider:
        await provider.start()
        yield provider


async def outcome(
    keptn: FakeKeptn, provider: ProviderProcess, action: str, value: Any = None, **data: Any
) -> Any:
    event = triggered(action, value, **data)
    await keptn.deliver(event, to=provider.url)
    await until(lambda: bool(keptn.finished(event["id"])), within_seconds=60)
    [finished] = keptn.finished(event["id"])
    return finished.data


async def test_a_second_rollback_never_returns_to_the_bad_version_not_even_after_a_restart(
    keptn: FakeKeptn, provider: ProviderProcess, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    first = await outcome(keptn, provider, "rollback")
    assert (first["result"], await carts.image()) == ("pass", IMAGES[1])
    await provider.stop()
    await provider.start()
    second = await outcome(keptn, provider, "rollback")
    assert (second["result"], await carts.image()) == ("pass", IMAGES[0])
    third = await outcome(keptn, provider, "rollback")
    assert (third["status"], third["result"]) == ("succeeded", "fail")
    assert "known to be bad" in third["message"]
    assert await carts.image() == IMAGES[0]


async def test_a_ladder_of_remedies_climbs_one_workload(
    keptn: FakeKeptn, provider: ProviderProcess, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace, replicas=2)
    for action, value in (("scaling", "1"), ("restart", None), ("rollback", None)):
        assert (await outcome(keptn, provider, action, value))["result"] == "pass"
    assert (await carts.ready(), await carts.image()) == (3, IMAGES[1])


async def test_a_value_that_keptn_inherited_from_an_earlier_round_is_no_obstacle(
    keptn: FakeKeptn, provider: ProviderProcess, namespace: Namespace
) -> None:
    carts = await updated_twice(namespace)
    told = await outcome(keptn, provider, "rollback", {"PromotionCampaign": "off"})
    assert told["result"] == "warning"
    assert "ignored in value, as it is not for this action: PromotionCampaign" in told["message"]
    assert await carts.image() == IMAGES[1]


async def test_actions_of_other_services_on_the_same_workload_wait_for_each_other(
    keptn: FakeKeptn, provider: ProviderProcess, namespace: Namespace
) -> None:
    carts = await namespace.deployment(replicas=1)
    events = [
        triggered("scale", {"replicas": "+1", "name": "carts"}, service=f"service-{number}")
        for number in range(4)
    ]
    for event in events:
        await keptn.deliver(event, to=provider.url)
    await until(lambda: all(keptn.finished(event["id"]) for event in events), within_seconds=60)
    assert await carts.ready() == 5
