"""What the built-in actions tell `remedy doctor`: their rights in the cluster and in Unleash."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from pydantic import HttpUrl, SecretStr

from keptn_remedy.testing import http_peer
from keptn_remedy_actions.cluster.nodes import NodeSettings
from keptn_remedy_actions.cluster.rights import RIGHTS
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.drain_node import DrainNode
from keptn_remedy_actions.scale import Scale
from keptn_remedy_actions.toggle_feature import ToggleFeature, ToggleFeatureSettings
from tests.actions.test_cluster_api import kubeconfig


async def diagnosed(action: Any, *namespaces: str) -> list[tuple[bool | None, str]]:
    async with ClientSession() as http:
        try:
            found = await action.diagnose(http, namespaces)
        finally:
            if closing := action.close():
                await closing
    return [(finding.is_good, finding.message) for finding in found]


async def test_each_right_is_reviewed_in_each_namespace(tmp_path: Path) -> None:
    rights = RIGHTS["scale"]
    async with http_peer() as peer:
        peer.answer(201, json={"status": {"allowed": True}}, times=len(rights))
        peer.answer(201, json={"status": {"allowed": False}}, times=1)
        peer.answer(201, json={"status": {"allowed": True}}, times=None)
        scale = Scale(KubernetesSettings(kubeconfig=kubeconfig(tmp_path, peer.url)))
        found = await diagnosed(scale, "shop-production", "shop-staging")
        asked = [orjson.loads(r.body)["spec"]["resourceAttributes"] for r in peer.requests]
    assert found == [
        (True, "scale has its rights in shop-production"),
        (False, f"scale lacks in shop-staging: {rights[0]}"),
    ]
    patched = {"group": "apps", "resource": "deployments", "subresource": "scale", "verb": "patch"}
    assert {"namespace": "shop-production", **patched} in asked
    assert len(asked) == 2 * len(rights)


async def test_rights_on_nodes_are_reviewed_in_the_cluster(tmp_path: Path) -> None:
    given: Any = {"drain_most_nodes": 1}
    async with http_peer() as peer:
        peer.answer(201, json={"status": {"allowed": False}})
        peer.answer(201, json={"status": {"allowed": True}}, times=None)
        made = NodeSettings(kubeconfig=kubeconfig(tmp_path, peer.url), **given)
        found = await diagnosed(DrainNode(made))
        asked = [orjson.loads(r.body)["spec"]["resourceAttributes"] for r in peer.requests]
    assert found == [(False, "drain-node lacks in the cluster: get nodes")]
    assert {attributes["namespace"] for attributes in asked} == {""}
    assert {"namespace": "", "group": "", "resource": "nodes", "verb": "patch"} in asked


async def test_rights_are_looked_at_where_the_namespace_is_known(tmp_path: Path) -> None:
    async with http_peer() as peer:
        peer.answer(401, json={"message": "Unauthorized"}, times=None)
        config = kubeconfig(tmp_path, peer.url)
        ((is_good, why),) = await diagnosed(Scale(KubernetesSettings(kubeconfig=config)))
        assert (is_good, why) == (
            None,
            "rights are not looked at: the namespace depends on the trigger",
        )
        fixed = KubernetesSettings(kubeconfig=config, namespace_template="shop")
        ((is_good, why),) = await diagnosed(Scale(fixed))
    assert is_good is False
    assert "401" in why


FEATURES: dict[str, list[str]] = {"features": []}
MAY = {"permission": "UPDATE_FEATURE_ENVIRONMENT", "project": "default"}


@pytest.mark.parametrize(
    ("status", "flags", "me", "expected"),
    [
        (200, FEATURES, {"permissions": [{"permission": "ADMIN"}]}, [True, True, True]),
        (
            200,
            FEATURES,
            {"permissions": [{**MAY, "environment": "production"}]},
            [True, False, True],
        ),
        (200, FEATURES, {"permissions": []}, [True, False, False]),
        (200, FEATURES, {"oddly": "else"}, [True, None]),
        (401, {"message": "no"}, {}, [False]),
        (404, {"message": "no"}, {}, [False]),
        (200, "a login page", {}, [False]),
    ],
)
async def test_unleash_is_asked_what_the_token_may(
    status: int, flags: Any, me: Any, expected: list[bool | None]
) -> None:
    async with http_peer() as peer:
        peer.answer(status, json=flags)
        peer.answer(json=me)
        settings = ToggleFeatureSettings(
            unleash_url=HttpUrl(peer.url),
            unleash_api_token=SecretStr("*:*.token"),
            unleash_environment="prod=production,dev=development",
        )
        found = await diagnosed(ToggleFeature(settings))
        assert peer.requests[0].headers["Authorization"] == "*:*.token"
    assert [is_good for is_good, _ in found] == expected


async def test_unleash_that_can_not_be_reached_is_told() -> None:
    settings = ToggleFeatureSettings(
        unleash_url=HttpUrl("http://127.0.0.1:1"), unleash_api_token=SecretStr("*:*.token")
    )
    ((is_good, why),) = await diagnosed(ToggleFeature(settings))
    assert is_good is False
    assert "http://127.0.0.1:1 can't be reached: Connection refused" in why


async def test_a_flag_file_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    assert [good for good, _ in await diagnosed(toggling(path))] == [False]
    path.write_text("{}")
    assert await diagnosed(toggling(path)) == [(True, f"{path} can be written")]


def toggling(path: Path) -> ToggleFeature:
    return ToggleFeature(ToggleFeatureSettings(flagd_file=path))
