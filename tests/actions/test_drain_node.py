"""drain-node and uncordon without a cluster: what else happens to nodes and pods meanwhile."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy import Denied
from keptn_remedy_actions.cluster.nodes import NodeSettings
from keptn_remedy_actions.drain_node import DrainNode
from keptn_remedy_actions.uncordon import Uncordon
from tests.actions.driving import Driven, driven
from tests.actions.objects import _kubeconfig


def node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": {}}


def pod(name: str) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "controller": True}
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": [owner]}
    }


def close(node: dict[str, Any]) -> None:
    node["spec"]["unschedulable"] = True


@asynccontextmanager
async def acting(
    folder: Path,
    nodes: dict[str, Any],
    action: Any = DrainNode,
    *,
    pods: list[dict[str, Any]] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    seconds: float = 60,
) -> AsyncIterator[tuple[Driven, list[str]]]:
    """A server with these nodes and pods, and what it was told to change. `meanwhile` is what
    somebody else does at the moment of the first change.
    """
    changed: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        name = request.path.rpartition("/")[2]
        if request.method == "PATCH" and "dryRun" not in request.query:
            changed.append(name)
            for each in await request.json():
                if each["op"] != "test":
                    nodes[name]["spec"]["unschedulable"] = each.get("value")
            if len(changed) == 1:
                meanwhile()
        listed = {"nodes": [*nodes.values()], "pods": pods or []}
        if name in listed:
            return web.json_response({"metadata": {}, "items": listed[name]})
        found = nodes.get(name)
        return web.json_response(found or {"message": "gone"}, status=200 if found else 404)

    runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = "http://{}:{}".format(*runner.addresses[0])
    given: Any = {"kubeconfig": _kubeconfig(folder, server), "drain_most_nodes": 1}
    made = action(NodeSettings(**given))
    try:
        async with driven(made, seconds=seconds) as drive:
            yield drive, changed
    finally:
        await made.close()
        await runner.cleanup()


async def test_nodes_that_were_closed_since_the_plan_count(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    async with acting(tmp_path, nodes) as (drive, changed):
        plan = await drive.plan("a")
        close(nodes["b"])
        with pytest.raises(Denied, match="DRAIN_MOST_NODES allows 1: Node a stays open"):
            await drive.apply(plan)
        assert changed == []


async def test_a_node_that_it_closed_before_a_crash_is_drained_all_the_same(
    tmp_path: Path,
) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    async with acting(tmp_path, nodes) as (drive, changed):
        plan = await drive.plan("a")
        await drive.apply(plan)
        close(nodes["b"])
        await drive.apply(plan)
    assert changed[0] == "a"


def test_an_aborted_drain_opens_the_node_again() -> None:
    assert DrainNode.undo_when_aborted


async def test_of_two_that_close_nodes_at_once_no_more_stay_closed_than_may(
    tmp_path: Path,
) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    async with acting(tmp_path, nodes, meanwhile=lambda: close(nodes["b"])) as (drive, _):
        plan = await drive.plan("a")
        with pytest.raises(Denied, match="DRAIN_MOST_NODES allows 1: Node a stays open"):
            await drive.apply(plan)
        assert await drive.undo(plan) == "undone"
    assert not nodes["a"]["spec"]["unschedulable"]


async def test_the_last_node_that_works_is_not_closed(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("a", "b")}
    nodes["b"]["status"] = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    async with acting(tmp_path, nodes) as (drive, _):
        with pytest.raises(Denied, match="Node a is the last node that takes pods"):
            await drive.plan("a")


async def test_a_node_to_which_pods_came_after_the_plan_is_not_empty(tmp_path: Path) -> None:
    nodes, pods = {name: node(name) for name in ("a", "b")}, list[dict[str, Any]]()
    async with acting(tmp_path, nodes, pods=pods, seconds=5.5) as (drive, _):
        plan = await drive.plan("a")
        pods.append(pod("late"))
        await drive.apply(plan)
        outcome = await drive.verify(plan)
    assert outcome.result == "fail"
    assert outcome.message == "Node a still has pods late, which came after the plan"


async def test_a_node_that_an_autoscaler_removed_was_drained(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("a", "b")}
    async with acting(tmp_path, nodes) as (drive, _):
        plan = await drive.plan("a")
        await drive.apply(plan)
        del nodes["a"]
        outcome = await drive.verify(plan)
    assert outcome.message == "Node a was removed after 0 pods left it"
    assert outcome.result == "pass"


async def test_an_undone_uncordon_closes_no_more_nodes_than_a_drain_may(tmp_path: Path) -> None:
    nodes = {name: node(name) for name in ("a", "b", "c")}
    close(nodes["a"])
    async with acting(tmp_path, nodes, Uncordon) as (drive, changed):
        plan = await drive.plan("a")
        await drive.apply(plan)
        close(nodes["b"])
        with pytest.raises(Denied, match="DRAIN_MOST_NODES allows 1: Node a stays open"):
            await drive.undo(plan)
    assert changed.count("a") == 1
