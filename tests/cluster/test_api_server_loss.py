"""The API server, or one answer of it, is lost during a scaling: it scales once all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keptn_remedy.testing import FakeKeptn, triggered
from tests.cluster.client import Cluster
from tests.cluster.control_plane import PrivateControlPlane
from tests.cluster.cutting_proxy import CuttingProxy
from tests.cluster.gateway import Gateway, Moment
from tests.cluster.namespace import Namespace
from tests.cluster.workload import Workload
from tests.end_to_end.provider_process import ProviderProcess
from tests.waiting import until

BEFORE, STEP = 2, 1
# Longer than it takes to lose an API server while a scaling is being verified.
SETTLE_SECONDS = 2
OUTCOME_SECONDS = 60


@dataclass(frozen=True)
class Scaling:
    """One `scaling` under way, of a Deployment that it changes from BEFORE by STEP."""

    keptn: FakeKeptn
    provider: ProviderProcess
    carts: Workload
    trigger: str

    @property
    def is_planned(self) -> bool:
        sql = "SELECT 1 FROM executions WHERE id = ? AND plan IS NOT NULL"
        return bool(self.provider.rows(sql, self.trigger))

    @property
    def is_open(self) -> bool:
        return self.provider.state(self.trigger) == "started"

    async def has_landed(self) -> None:
        await self.carts.until(lambda live: live["spec"]["replicas"] != BEFORE)

    async def passes_having_scaled_once(self) -> None:
        await self.keptn.task_finished(self.trigger, timeout=OUTCOME_SECONDS)
        told = self.keptn.finished(self.trigger)[0].data
        assert told["result"] == "pass", told["message"]
        live = await self.carts.rolled_out()
        assert live["spec"]["replicas"] == BEFORE + STEP
        assert live["metadata"]["generation"] == 2, "its spec was changed once"


@asynccontextmanager
async def scaling(kubeconfig: Path, carts: Workload, folder: Path) -> AsyncIterator[Scaling]:
    """A trigger that was accepted, by a provider that uses this kubeconfig."""
    environment = {
        "KUBECONFIG": str(kubeconfig),
        "KUBERNETES_NAMESPACE_TEMPLATE": carts.namespace.name,
        "KUBERNETES_SETTLE_SECONDS": str(SETTLE_SECONDS),
    }
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(folder / carts.name, keptn, environment) as provider,
    ):
        await provider.start()
        event = triggered("scaling", f"+{STEP}", service=carts.name)
        assert (await keptn.deliver(event, to=provider.url)).status == 202
        yield Scaling(keptn, provider, carts, event["id"])


async def test_losing_the_api_server_at_any_step_delays_scalings_and_doubles_none(
    private_control_plane: PrivateControlPlane, tmp_path: Path
) -> None:
    direct = private_control_plane.kubeconfig
    async with (
        Cluster.connected(direct) as cluster,
        Gateway.before(direct, tmp_path) as to_server,
        Gateway.before(direct, tmp_path) as from_server,
    ):
        to_server.hold(Moment.REQUEST)
        from_server.hold(Moment.ANSWER)
        namespace = await Namespace.made(cluster)
        names = ("planned", "patched", "verified")
        made = await asyncio.gather(*(namespace.deployment(it, replicas=BEFORE) for it in names))
        async with (
            scaling(to_server.kubeconfig, made[0], tmp_path) as planned,
            scaling(from_server.kubeconfig, made[1], tmp_path) as patched,
            scaling(direct, made[2], tmp_path) as verified,
        ):
            await until(lambda: to_server.holds() == from_server.holds() == 1)
            await verified.has_landed()
            await private_control_plane.kill_api_server()
            to_server.lose()
            from_server.lose()
            assert [each.is_planned for each in (planned, patched, verified)] == [True] * 3
            await private_control_plane.start()
            for each in (planned, patched, verified):
                await each.passes_having_scaled_once()


async def test_an_increment_whose_answer_is_lost_is_not_added_again(
    namespace: Namespace, tmp_path: Path
) -> None:
    carts = await namespace.deployment(replicas=BEFORE)
    async with Gateway.before(namespace.cluster.kubeconfig, tmp_path) as gateway:
        gateway.hold(Moment.ANSWER)
        async with scaling(gateway.kubeconfig, carts, tmp_path) as under_way:
            await until(lambda: gateway.holds() == 1)
            await under_way.has_landed()
            gateway.lose()
            await under_way.passes_having_scaled_once()
            assert "attempt failed" in under_way.provider.log_tail()


@pytest.mark.parametrize("lose", [CuttingProxy.cut, CuttingProxy.lose_answers])
async def test_a_connection_that_is_lost_and_mended_while_a_scaling_is_verified_does_not_fail_it(
    namespace: Namespace, tmp_path: Path, lose: Callable[[CuttingProxy], None]
) -> None:
    carts = await namespace.deployment(replicas=BEFORE)
    async with (
        CuttingProxy.before(namespace.cluster.kubeconfig, tmp_path) as proxy,
        scaling(proxy.kubeconfig, carts, tmp_path) as under_way,
    ):
        await under_way.has_landed()
        lose(proxy)
        await carts.rolled_out()
        assert under_way.is_open
        proxy.mend()
        await under_way.passes_having_scaled_once()
