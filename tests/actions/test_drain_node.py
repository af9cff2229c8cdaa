"""drain-node without a cluster: what it does when other nodes were closed since the plan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy import Denied
from keptn_remedy_actions.cluster.nodes import NodeSettings
from keptn_remedy_actions.drain_node import DrainNode
from tests.actions.driving import Driven, driven
from tests.actions.objects import _kubeconfig


def node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": {}}


@asynccontextmanager
async def draining(folder: Path, nodes: dict[str, Any]) -> AsyncIterator[tuple[Driven, list[str]]]:
    """A server with these nodes, which have no pods, and what it was told to change."""
    changed: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        name = request.path.rpartition("/")[2]
        if request.method == "PATCH" and "dryRun" not in request.query:
            changed.append(name)
            nodes[name]["spec"]["unschedulable"] = True
        listed = {"nodes": [*nodes.values()], "pods": []}
        is_list = name in listed
        return web.json_response(
            {"metadata": {}, "items": listed[name]} if is_list else nodes[name]
        )

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = "http://{}:{}".format(*runner.addresses[0])
    given: Any = {"kubeconfig": _kubeconfig(folder, server), "drain_most_nodes": 1}
    action = DrainNode(NodeSettings(**given))
    try:
        async with driven(action) as drive:
            yield drive, changed
    finally:
        await action.close()
        await runner.cleanup()


async def test_nodes_that_were_closed_since_the_plan_count(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    async with draining(tmp_path, nodes) as (drive, changed):
        plan = await drive.plan("a")
        nodes["b"]["spec"]["unschedulable"] = True
        with pytest.raises(Denied, match="DRAIN_MOST_NODES allows 1: Node a stays open"):
            await drive.apply(plan)
        assert changed == []


async def test_a_node_that_it_closed_before_a_crash_is_drained_all_the_same(
    tmp_path: Path,
) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    async with draining(tmp_path, nodes) as (drive, changed):
        plan = await drive.plan("a")
        await drive.apply(plan)
        nodes["b"]["spec"]["unschedulable"] = True
        await drive.apply(plan)
    assert changed[0] == "a"


def test_an_aborted_drain_opens_the_node_again() -> None:
    assert DrainNode.undo_when_aborted
